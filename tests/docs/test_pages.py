"""Every code block of README.md and docs/ is run, page by page from top to bottom, as a reader would."""

import io
import runpy
import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, Block, blocks
from tests.docs.place import fetched_checkpoints, write_place


pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory'")  # torch's, on machines without a GPU

SHORT = ["--max_steps", "2", "--disable_tqdm", "true"]
"""Given to every training, which is otherwise as it is written."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = write_place(tmp_path_factory.mktemp("place"))
    with fetched_checkpoints(tmp_path_factory.mktemp("checkpoints")):
        yield folder


def run_command(command: list[str], where: str) -> None:
    """One of the project's commands in this process; it must end well."""
    program, *arguments = command
    if program == "hf-prompt":
        program, *arguments = f"scripts/{arguments[0]}.py", *arguments[1:]
    if "train" in program:
        arguments += SHORT
    output = io.StringIO()
    try:
        with redirect_stdout(output):
            runpy.run_path(str(ROOT / program))["main"](arguments)
    except SystemExit as stop:
        if stop.code:
            pytest.fail(f"{where}: {' '.join(command)}\n{output.getvalue()}\n{stop.code}", pytrace=False)


def run_block(block: Block, names: dict) -> None:
    """Python in the names that the page's earlier blocks made; commands one after the other."""
    if block.language == "python":
        exec(compile("\n" * (block.line - 1) + block.code, str(block.page), "exec"), names)
        return
    commands = block.commands()
    ours = block.ours()
    if len(ours) != len(commands):
        pytest.fail(f"{block}: commands of other programs are in blocks that say `<!-- not run: … -->`", pytrace=False)
    for command in ours:
        run_command(command, str(block))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_all_blocks_of_a_page_run(page: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    todo = [block for block in blocks(page) if block.language in ("python", "bash") and block.not_run is None]
    if not todo:
        pytest.skip("no code")
    shutil.copytree(place, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    names = {"__name__": "__main__"}
    for block in todo:
        run_block(block, names)
