"""Code blocks of README.md and docs/, and the commands in them.

A block is run unless the line above it gives a reason: `<!-- not run: needs two GPUs -->`. The flags of its commands
are checked in any case.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n+)?"
    r'```(?P<language>\w*)(?: title="(?P<title>[^"\n]+)")?\n(?P<code>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)
PROGRAM = ("hf-prompt", "hf_prompt_cli")
"""What the command line is called, and as a module for `torchrun -m`."""
SCRIPTS = ("scripts/benchmark.py", "scripts/train_playground.py")
"""Programs of the repository that are not commands of the package."""


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: the file.
        line: line number of the first line of code.
        language: the language after the fence.
        title: the file name in the title, if there is one: `yaml title="run.yaml"`.
        code: the text of the block.
        not_run: the reason why it is not run, or `None` if it is run.
    """

    page: Path
    line: int
    language: str
    title: str | None
    code: str
    not_run: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_run(self) -> bool:
        return self.language in ("python", "bash") and self.not_run is None

    def commands(self) -> list[list[str]]:
        """The words of every command of a shell block, comments left out; loops are taken apart.

        Raises:
            ValueError: naming the place, if a quotation does not end.
        """
        commands: list[list[str]] = [[]]
        try:
            for line in self.code.replace("\\\n", " ").splitlines():
                words = shlex.shlex(line, posix=True, punctuation_chars=True)
                words.whitespace_split = True
                for word in words:
                    if set(word) <= set(";&|()<>"):
                        commands.append([])
                    elif commands[-1] or word not in ("do", "done", "then", "fi", "else"):
                        commands[-1].append(word)
                commands.append([])
        except ValueError as error:
            raise ValueError(f"{self}: {error}") from error
        return [command for command in commands if command]

    def ours(self) -> list[list[str]]:
        """The commands of this project, without what launches them, such as torchrun.

        `["hf-prompt", command, …]`, or `["python", "scripts/benchmark.py", …]` for one of `SCRIPTS`.
        """
        found = []
        for command in self.commands():
            places = [place for place, word in enumerate(command) if word in (*PROGRAM, *SCRIPTS)]
            if places:
                program, arguments = command[places[0]], command[places[0] + 1 :]
                found.append(["python", program, *arguments] if program in SCRIPTS else ["hf-prompt", *arguments])
        return found


def blocks(page: Path) -> list[Block]:
    """Return all fenced blocks of a page in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, match.start("code")) + 1,
            match["language"],
            match["title"],
            match["code"],
            match["reason"],
        )
        for match in _BLOCK.finditer(text)
    ]


def all_blocks(*languages: str) -> Iterator[Block]:
    for page in PAGES:
        yield from (block for block in blocks(page) if block.language in languages)
