"""Code blocks of README.md and docs/ are run, page by page from top to bottom, as a reader would.

By default, most pages run without their commands, which take minutes; `tests/docs/test_flags.py` checks their flags.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hf_prompt_models.models import PACKAGES
from hf_prompt_models.playground import CLIP_DIR
from tests.docs.pages import PAGES, ROOT, blocks
from tests.docs.place import fetched_checkpoints, write_place
from tests.docs.running import run_page
from tests.local_hub import Repository, serve
from tests.tested_method import REPRESENTATIVES


pytestmark = [
    pytest.mark.filterwarnings("ignore:'pin_memory'"),  # torch's, on machines without a GPU
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # peft's
]

PUBLISHING = ROOT / "docs" / "publish.md"
RUN_HERE = [page for page in PAGES if page != PUBLISHING and any(block.is_run for block in blocks(page))]
FIRST = (ROOT / "README.md", ROOT / "docs" / "index.md")
"""Pages that run with all of their commands by default."""
SLOW = [page for page in RUN_HERE if page not in FIRST]
WITH_PYTHON = [page for page in SLOW if any(block.is_run and block.language == "python" for block in blocks(page))]
OF_METHODS = set(PACKAGES) - set(REPRESENTATIVES)


def path(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with fetched_checkpoints(tmp_path_factory.mktemp("checkpoints")):
        yield


@pytest.fixture
def here(place: Path, checkpoints: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(place, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("page", [*FIRST, *(pytest.param(page, marks=pytest.mark.slow) for page in SLOW)], ids=path)
def test_all_blocks_of_a_page_run(page: Path) -> None:
    run_page(page)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.slow] * (page.stem in OF_METHODS)) for page in WITH_PYTHON],
    ids=path,
)
def test_the_python_of_a_page_runs(page: Path) -> None:
    run_page(page, with_commands=False)


@pytest.mark.slow
def test_all_blocks_about_publishing_run_with_a_hub(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place, tmp_path / "here")
    files = {file.name: file.read_bytes() for file in Path(CLIP_DIR).iterdir()}
    with serve() as hub:
        hub.repositories["openai/clip-vit-base-patch16"] = Repository()
        hub.repositories["openai/clip-vit-base-patch16"].commit("main", files)
        done = subprocess.run(
            [sys.executable, "-m", "tests.docs.running", str(PUBLISHING.relative_to(ROOT))],
            env=hub.environment(tmp_path),
            cwd=tmp_path / "here",
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        pushed = {name for name in hub.repositories if name.startswith("user/")}
    assert pushed == {"user/pets-prompt", "user/pets-full", "user/pets-seed-1", "user/pets-seed-2"}
