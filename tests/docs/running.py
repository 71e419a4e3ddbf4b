"""Run the code blocks of a page from top to bottom in the working folder, as a reader would.

    python -m tests.docs.running docs/publish.md

does this in a separate process.
"""

import io
import re
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from hf_prompt_cli.main import main
from tests.docs.pages import ROOT, Block, blocks


SHORT = ["--max_steps", "2", "--disable_tqdm", "true"]
"""Given to every training, which is otherwise as it is written."""
PRINTED = re.compile(r"^print\(.*\)  # (.+)$", re.MULTILINE)
"""What a page shows behind a call of `print`."""


def run_page(page: Path) -> None:
    """Write the files that a page shows, and then run its blocks.

    Raises:
        RuntimeError: with a command and its output, if it ends badly; if a block prints something else than the
            page shows.
    """
    for block in blocks(page):
        if block.title is not None:
            Path(block.title).write_text(block.code, encoding="utf-8")
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in filter(lambda each: each.is_run, blocks(page)):
        if block.language == "python":
            output = io.StringIO()
            with redirect_stdout(output):
                exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), names)
            shown = PRINTED.findall(block.code)
            if shown and output.getvalue().splitlines() != shown:
                raise RuntimeError(f"{block}: the page shows {shown}, and printed was {output.getvalue()!r}")
        else:
            _run_commands(block)


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
