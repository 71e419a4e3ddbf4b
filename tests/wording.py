"""Check that documentation and docstrings use the words of transformers' documentation: `python -m tests.wording`.

It reads the prose of Markdown pages, without code, and the docstrings, comments and messages of the package: the text
in `raise` statements and in calls that warn, print, log or end the program. A line that needs one of the words is
exempt where it ends with `wording: REASON`, in an HTML or a Python comment.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Mapping
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

MESSAGE_WORDS = {
    r"(?<!there )(?:is|are) no(?! longer)": "is not a",
    r"; (?:got|it is|they are|it has)": "Expected …, got …",
    r"^(?:say|name) |say so|give (?:both|one)": "Pass …",
    r"as it was|nothing is|not there": "was not changed, does not exist",
}
"""Words that messages must not contain either, with what to write instead."""

SPEAKING = {"debug", "error", "exit", "info", "print", "warn", "warning", "warning_once"}
"""Calls whose strings are messages."""

PAGES = ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "model_cards/*.md", "examples/*.md")
EXEMPT = "wording: "


def main() -> int:
    """Print each word that is found with its place and what to write, and return the exit code."""
    found = [line for page in pages(*PAGES) for line in check(page, prose(page.read_text("utf-8")))]
    for file in pages("src/**/*.py"):
        code = file.read_text("utf-8")
        found += [*check(file, texts(code)), *check(file, messages(code), WORDS | MESSAGE_WORDS)]
    print("\n".join(found) or "The wording is that of transformers.")
    return 1 if found else 0


def pages(*patterns: str) -> list[Path]:
    """Return the files of the checkout that match, in order."""
    return sorted({path for pattern in patterns for path in ROOT.glob(pattern)})


def check(file: Path, lines: Iterator[tuple[int, str]], words: Mapping[str, str] = WORDS) -> Iterator[str]:
    """Yield a message for each word that is found in numbered lines."""
    for number, line in lines:
        if EXEMPT in line:
            continue
        for word, instead in words.items():
            for match in re.finditer(rf"(?<!\w)(?:{word})(?!\w)", line, re.IGNORECASE):
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


def messages(code: str) -> Iterator[tuple[int, str]]:
    """Yield the strings of messages with their lines, each with the comment at the end of its line."""
    lines = code.splitlines()
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Raise(exc=ast.Call() as call):
                pass
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in SPEAKING:
                call = node
            case _:
                continue
        parts = {id(part) for text in ast.walk(call) if isinstance(text, ast.JoinedStr) for part in text.values}
        for text in ast.walk(call):
            if isinstance(text, ast.JoinedStr):
                shown = "".join(part.value if isinstance(part, ast.Constant) else "…" for part in text.values)
            elif isinstance(text, ast.Constant) and isinstance(text.value, str) and id(text) not in parts:
                shown = text.value
            else:
                continue
            yield text.lineno, f"{shown} {lines[text.lineno - 1].partition('  # ')[2]}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
