"""Run the code blocks of a page from top to bottom in the working folder, as a reader would.

    python -m tests.docs.running docs/publish.md

does this in a separate process.
"""

import io
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

from transformers import TrainingArguments

from hf_prompt_cli.main import main
from tests.docs.pages import ROOT, Block, blocks


STEPS = 2
"""Number of steps of every training, which is otherwise as it is written."""
QUIET = ["--disable_tqdm", "true"]
SHORT = ["--max_steps", str(STEPS), *QUIET]
PRINTED = re.compile(r"^print\(.*\)  # (.+)$", re.MULTILINE)
"""What a page shows behind a call of `print`."""


def run_page(page: Path, with_commands: bool = True) -> None:
    """Write the files that a page shows, and then run its blocks.

    Args:
        page: the page.
        with_commands: whether to run the commands. Otherwise the blocks of Python that read what they write are left
            out, too.

    Raises:
        RuntimeError: with a command and its output, if it ends badly; if a block prints something else than the
            page shows.
    """
    for block in blocks(page):
        if block.title is not None:
            Path(block.title).write_text(block.code, encoding="utf-8")
    names: dict[str, Any] = {"__name__": "__main__"}
    missing: set[str] = set()
    for block in filter(lambda each: each.is_run, blocks(page)):
        if block.language == "bash" and with_commands:
            _run_commands(block)
        elif block.language == "bash":
            missing |= _outputs(block)
        elif not any(output in block.code for output in missing):
            output = io.StringIO()
            with redirect_stdout(output), short_trainings():
                exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), names)
            shown = PRINTED.findall(block.code)
            if shown and output.getvalue().splitlines() != shown:
                raise RuntimeError(f"{block}: the page shows {shown}, and printed was {output.getvalue()!r}")


@contextmanager
def short_trainings() -> Iterator[None]:
    """Give every `TrainingArguments` the number of steps that `SHORT` gives to commands."""
    finish = TrainingArguments.__post_init__

    def shorten(arguments: TrainingArguments) -> None:
        arguments.max_steps = STEPS
        finish(arguments)

    with patch.object(TrainingArguments, "__post_init__", shorten):
        yield


def _outputs(block: Block) -> set[str]:
    """Return the files and folders that the commands of a block write."""
    pairs = (pair for command in block.ours() for pair in pairwise(command))
    return {value for flag, value in pairs if flag in ("--output_dir", "--output")}


def _run_commands(block: Block) -> None:
    ours = block.ours()
    if len(ours) != len(block.commands()):
        raise RuntimeError(f"{block}: commands of other programs stand in blocks below `<!-- not run: … -->`.")
    for command in ours:
        _run_command(command, block)


def _run_command(command: list[str], block: Block) -> None:
    # The heads of feature adapters are fitted in seconds, without steps of the Trainer.
    short = QUIET if command[2:3] in (["auto"], ["feature_adapter"]) else SHORT
    arguments = command[1:] + (short if command[1] == "train" else [])
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
