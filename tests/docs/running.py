"""Runs a page's code blocks from top to bottom in the working folder, as a reader would.

    python -m tests.docs.running docs/publish.md

does so in a process of its own.
"""

import io
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from hf_prompt_cli.main import main
from tests.docs.pages import ROOT, Block, blocks


SHORT = ["--max_steps", "2", "--disable_tqdm", "true"]
"""Given to every training, which is otherwise as it is written."""


def run_page(page: Path) -> int:
    """The number of blocks that were run; those that are a file are written first.

    Raises:
        RuntimeError: with a command and its output, if it ends badly.
    """
    todo = [block for block in blocks(page) if block.language in ("python", "bash") and block.not_run is None]
    for block in blocks(page):
        if block.title is not None:
            Path(block.title).write_text(block.code, encoding="utf-8")
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in todo:
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), names)
        else:
            _run_commands(block)
    return len(todo)


def _run_commands(block: Block) -> None:
    ours = block.ours()
    if len(ours) != len(block.commands()):
        raise RuntimeError(f"{block}: commands of other programs stand in blocks below `<!-- not run: … -->`.")
    for command in ours:
        _run_command(command, block)


def _run_command(command: list[str], block: Block) -> None:
    arguments = command[1:] + (SHORT if command[1] == "train" else [])
    output = io.StringIO()
    try:
        with redirect_stdout(output), redirect_stderr(output):
            code: Any = main(arguments)
    except SystemExit as stop:
        code = stop.code
    if code:
        raise RuntimeError(f"{block}: {shlex.join(command)} ended with {code}\n{output.getvalue()}")


if __name__ == "__main__":
    run_page(ROOT / sys.argv[1])
