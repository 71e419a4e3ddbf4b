"""Everything that README, documentation, notebooks and model cards import is public, and nothing else is public."""

import ast
import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

import hf_prompt_models
from tests.programs import run_program


ROOT = Path(__file__).parents[1]
PACKAGES = tuple(f"hf_prompt_models.{name}" for name in ("data", "training", "tasks", "prompts", "metrics"))
PUBLIC = ("hf_prompt_models", *PACKAGES)
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "model_cards").glob("*.md")),
    *sorted((ROOT / "examples").iterdir()),
]

IMPORT = re.compile(
    r"^ *(?:from (hf_prompt_models[\w.]*) import (\([^)]*\)|[^\n]*)|import (hf_prompt_models[\w.]*))", re.MULTILINE
)
PATH = re.compile(r"(?<![\w/])hf_prompt_models((?:\.\w+)+)")


def text_of(page: Path) -> str:
    """The text of a page, or of all cells of a notebook."""
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])


def imported(text: str) -> Iterator[tuple[str, str | None]]:
    """Yield each import of this package as module and name; the name is `None` where the module is imported."""
    for module, names, alone in IMPORT.findall(text):
        code = re.sub(r"#[^\n]*", "", names)
        yield from ((module, name.strip()) for name in code.strip("() ").split(",") if name.strip())
        if alone:
            yield alone, None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_name_public_modules_and_names_only(page: Path) -> None:
    text = text_of(page)
    for module, name in imported(text):
        assert module in PUBLIC, f"{page.name} imports from {module}"
        assert name is None or name in import_module(module).__all__, f"{module} does not export {name}"
    for path in PATH.findall(text):
        package, _, name = f"hf_prompt_models{path}".rpartition(".")
        assert package + "." + name in PUBLIC or (package in PUBLIC and name in import_module(package).__all__), (
            f"{page.name} names hf_prompt_models{path}"
        )


def test_imports_are_found_in_every_form() -> None:
    text = (
        "from hf_prompt_models import (\n    A,  # a\n    B,\n)\nimport hf_prompt_models  # c\n"
        "    from hf_prompt_models.data import C, D\n"
    )
    assert list(imported(text)) == [
        ("hf_prompt_models", "A"),
        ("hf_prompt_models", "B"),
        ("hf_prompt_models", None),
        ("hf_prompt_models.data", "C"),
        ("hf_prompt_models.data", "D"),
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_a_docstring(package: str) -> None:
    module = import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        assert name in dir(module)
        if isinstance(value, type) or callable(value):
            assert value.__doc__, name
        else:
            assert name in documented_constants(module._MODULES[name]), name


def documented_constants(module: str) -> set[str]:
    """Return the names that a module assigns with a docstring below."""
    body = ast.parse(Path(str(import_module(module).__file__)).read_text(encoding="utf-8")).body
    found = set()
    for statement, following in pairwise(body):
        match statement, following:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)), ast.Expr():
                found.add(name)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_see_the_names_that_are_imported_lazily(package: str) -> None:
    module = import_module(package)
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    checked = next(statement for statement in tree.body if isinstance(statement, ast.If)).body
    seen = {alias.asname: each.module for each in checked if isinstance(each, ast.ImportFrom) for alias in each.names}
    assert seen == module._MODULES


def test_a_name_that_is_missing_is_refused_as_usual() -> None:
    for package in PUBLIC:
        with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Missing'"):
            _ = import_module(package).Missing
    assert "PromptAveragingCallback" in dir(hf_prompt_models)


def test_importing_the_public_packages_imports_nothing_else() -> None:
    code = (
        "import sys, hf_prompt_models; before = set(sys.modules)\n"
        f"import {', '.join(PACKAGES)}\n"
        f"print(sorted(set(sys.modules) - before - {set(PACKAGES)!r}), 'datasets' in sys.modules)"
    )
    assert run_program([sys.executable, "-c", code]).stdout.strip() == "[] False"
