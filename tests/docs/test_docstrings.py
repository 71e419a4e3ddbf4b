"""Every public class and function shows an example in its docstring, and examples print what they show."""

import ast
import doctest
import io
import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.docs.pages import ROOT
from tests.test_public_api import PUBLIC


SOURCES = ROOT / "src"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
HEADING = re.compile(r"^ *Example:$", re.MULTILINE)
BLOCK = re.compile(r"^ *```python\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PEFT = (
    pytest.mark.skipif(find_spec("peft") is None, reason="peft is not installed"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Could not find a config file in:UserWarning"),
)
MARKS: dict[str, Any] = {"hf_prompt_models.lora": PEFT}
"""Marks of modules whose examples need some."""


def docstrings(file: Path) -> Iterator[str]:
    """Yield all docstrings of a file."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def files_with(part: str) -> dict[str, Path]:
    """Return the files that have a part in a docstring, by the name of their module."""
    return {
        ".".join(file.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__"): file
        for file in sorted(SOURCES.rglob("*.py"))
        if any(part in docstring for docstring in docstrings(file))
    }


WITH_EXAMPLES = files_with(">>> ")


def examples_of(module: ModuleType) -> list[doctest.DocTest]:
    """Return the examples in the docstrings of a module, which import all that they use."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for test in finder.find(module, globs={"__name__": "__main__"}) if test.examples]


def failures(test: doctest.DocTest) -> str:
    """Run the examples of a docstring and return what differs from the docstring, or an empty string."""
    torch.manual_seed(0)
    report = io.StringIO()
    doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=report.write)
    return report.getvalue()


def has_example(value: Any) -> bool:
    """Return whether a function, or a class, its own `from_backbone` or its own `__init__`, has an example."""
    own = [vars(value)[name] for name in ("from_backbone", "__init__") if name in vars(value)]
    return any(HEADING.search(each.__doc__ or "") for each in (value, *own))


def test_every_public_class_and_function_has_an_example() -> None:
    missing = [
        f"{package}.{name}"
        for package in PUBLIC
        for name in import_module(package).__all__
        if callable(value := getattr(import_module(package), name)) and not has_example(value)
    ]
    assert not missing, f"{len(missing)} docstrings have no `Example:`: {', '.join(missing)}"


def test_every_example_is_executed() -> None:
    blocks = [
        (name, code.strip())
        for name, file in files_with("```python").items()
        for docstring in docstrings(file)
        for code in BLOCK.findall(docstring)
    ]
    assert blocks
    left_out = [(name, code) for name, code in blocks if not code.startswith(">>> ") or "+SKIP" in code]
    assert not left_out, f"{len(left_out)} blocks are not executed: {left_out}"


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in WITH_EXAMPLES])
def test_examples_print_what_they_show(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = examples_of(import_module(name))
    written = [doctest.DocTestParser().get_examples(docstring) for docstring in docstrings(WITH_EXAMPLES[name])]
    assert sum(len(test.examples) for test in tests) == sum(map(len, written)), "doctest does not find all examples"
    for test in tests:
        folder = tmp_path / test.name
        folder.mkdir()
        monkeypatch.chdir(folder)
        assert not (report := failures(test)), report


def test_a_value_that_differs_is_reported() -> None:
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "sum", None, None)
    assert "Expected:\n    3\nGot:\n    2" in failures(wrong)
