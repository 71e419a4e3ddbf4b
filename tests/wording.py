"""Check that documentation and docstrings use the words of transformers' documentation: `python -m tests.wording`.

It reads the prose of Markdown pages, without code, and the docstrings and comments of the package. A line that needs
one of the words is exempt where it ends with `wording: REASON`, in an HTML or a Python comment.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path


ROOT = Path(__file__).parents[1]
WORDS = {
    r"house|rooms?": "architecture, package, module",
    r"pictures?": "image (a plot or a drawing: figure)",
    r"likewise": "also",
    r"anew": "again",
    r"beside": "next to",
    r"therein": "there",
    r"at hand": "available, or nothing",
    r"(?:written|prompts) by hand": "hand-written",
    r"goes on|go on|gone on": "resumes, continues",
    r"(?:stands?|lies?|lie) in": "is in",
    r"mends?|mended": "fix",
}
"""Words that prose must not contain, with what to write instead."""

PAGES = ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "model_cards/*.md", "examples/*.md")
EXEMPT = "wording: "


def main() -> int:
    """Print each word that is found with its place and what to write, and return the exit code."""
    found = [line for page in pages(*PAGES) for line in check(page, prose(page.read_text("utf-8")))]
    found += [line for file in pages("src/**/*.py") for line in check(file, texts(file.read_text("utf-8")))]
    print("\n".join(found) or "The wording is that of transformers.")
    return 1 if found else 0


def pages(*patterns: str) -> list[Path]:
    """Return the files of the checkout that match, in order."""
    return sorted({path for pattern in patterns for path in ROOT.glob(pattern)})


def check(file: Path, lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    """Yield a message for each word that is found in numbered lines."""
    for number, line in lines:
        if EXEMPT in line:
            continue
        for word, instead in WORDS.items():
            for match in re.finditer(rf"\b(?:{word})\b", line, re.IGNORECASE):
                yield f"{file.relative_to(ROOT)}:{number}: write {instead} in place of {match[0]!r}"


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a Markdown page with their numbers; code, links and comments are blank."""
    parts = (r"^ *```.*?^ *```", r"`[^`\n]*`", r"\]\([^)\n]*\)", r"<!--(?! wording).*?-->", r"^:::.*?$")
    blank = re.compile("|".join(parts), re.MULTILINE | re.DOTALL)
    yield from enumerate(blank.sub(lambda match: "\n" * match[0].count("\n"), text).splitlines(), start=1)


def texts(code: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of docstrings and comments with their numbers, without names of code and of arguments."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                for offset, line in enumerate(text.splitlines()):
                    yield node.lineno + offset, re.sub(r"`[^`]*`|^ +[\w, ]+:|^ *hf-prompt .*", "", line)
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], re.sub(r"`[^`]*`", "", token.string)


if __name__ == "__main__":
    sys.exit(main())
