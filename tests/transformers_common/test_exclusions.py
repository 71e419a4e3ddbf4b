"""The list of exclusions names existing tests. The tests themselves are run by `make test-transformers`."""

import ast
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.transformers_common.exclusions import EXCLUSIONS


HERE = Path(__file__).parent


def test_classes() -> set[str]:
    """Names of the test classes, read without importing transformers' tests, which are fetched when they are run."""
    trees = [ast.parse(file.read_text()) for file in sorted(HERE.glob("check_*.py"))]
    names = {node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}
    return {name for name in names if name.endswith("Test")}


test_classes.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("pattern", EXCLUSIONS)
def test_an_exclusion_names_a_class_and_reports_why(pattern: str) -> None:
    assert any(fnmatch(name, pattern) for name in test_classes())
    for test, reason in EXCLUSIONS[pattern].items():
        assert test.startswith("test_")
        assert len(reason.split()) > 3


def test_every_form_has_tests() -> None:
    assert len(test_classes()) >= 34
