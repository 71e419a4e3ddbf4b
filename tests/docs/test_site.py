"""The documentation is complete and consistent, and the site builds without a warning."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from hf_prompt_models.models import PACKAGES
from tests.docs.pages import PAGES, ROOT, blocks
from tests.test_public_api import PUBLIC


SECTIONS = [
    "What it is",
    "When to choose it",
    "Ten lines",
    "The recipe",
    "Results measured here",
    "Differences from the original code",
    "Limits",
    "Citation",
]


@pytest.mark.parametrize("method", PACKAGES)
def test_every_method_has_a_page_of_the_same_sections(method: str) -> None:
    page = (ROOT / "docs" / f"{method}.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", page, flags=re.MULTILINE) == SECTIONS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_block_of_a_page_is_overlooked(page: Path) -> None:
    text, found = page.read_text(encoding="utf-8"), blocks(page)
    assert len(re.findall(r"^```", text, flags=re.MULTILINE)) == 2 * len(found)
    assert text.count("<!-- not run") == sum(block.not_run is not None for block in found)


def test_every_public_name_has_its_place_in_the_reference() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "api").glob("*.md"))
    placed = re.findall(r"^::: (\S+)$", pages, flags=re.MULTILINE)
    public = {f"{name}.{each}" for name in PUBLIC for each in import_module(name).__all__}
    assert sorted(placed) == sorted(public - {"hf_prompt_models.__version__"})


def test_the_readme_links_to_files_and_sections_that_exist() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        assert (ROOT / path).is_file(), target
        text = (ROOT / path).read_text(encoding="utf-8") if anchor else ""
        titles = [
            re.sub(r"[^\w\- ]", "", title).strip().lower() for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        ]
        assert not anchor or anchor in [title.replace(" ", "-") for title in titles], target


def test_pages_name_no_folder_of_this_machine() -> None:
    for page in PAGES:
        assert not re.search(r"/(?:home|work|tmp|root|Users)/", page.read_text(encoding="utf-8")), page


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """The build checks all links, their sections, and the docstrings of all public names."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "--train_dir" in (tmp_path / "site" / "cli.html").read_text(encoding="utf-8")
    loaded = re.compile(r"<(?:script|link|img)\b[^>]*(?:src|href)=\"https?://")  # nothing is fetched from elsewhere
    assert not [
        page for page in (tmp_path / "site").rglob("*.html") if loaded.search(page.read_text(encoding="utf-8"))
    ]
