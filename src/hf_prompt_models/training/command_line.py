"""A run's command line, as it may be written down and shown to others."""

import os
import re
import shlex
from pathlib import Path


HIDDEN = "…"
ABSOLUTE_PATH = re.compile(r"""(?<![\w.~])(?:file:)?[~/][^\s"',;\]}]*/[^\s"',;\]}]*""")


def without_tokens(command: str) -> str:
    """A command line without secrets: what stands behind `--hub_token`, and whatever looks like a token of the Hub."""
    words: list[str] = []
    for word in shlex.split(command):
        name, equals, value = word.partition("=")
        if words and _names_token(words[-1]):
            word = HIDDEN
        elif equals and _names_token(name):
            word = f"{name}={HIDDEN}"
        elif re.fullmatch(r"hf_\w{8,}", value or word):
            word = f"{name}={HIDDEN}" if equals else HIDDEN
        words.append(word)
    return shlex.join(words)


def for_strangers(command: str) -> str:
    """A command line in one line, without secrets; of paths, which are nowhere for others, the last parts alone."""
    program, *words = shlex.split(without_tokens(command))
    return " ".join(shlex.join([_last_part(program), *map(_last_parts, words)]).split()).replace("```", "'''")


def _names_token(flag: str) -> bool:
    """argparse takes the beginning of a name for all of it."""
    flag = flag.replace("-", "_")
    return len(flag) > len("__hub_") and "__hub_token".startswith(flag)


def _last_parts(word: str) -> str:
    if word.startswith("--") and "=" in word:
        name, _, value = word.partition("=")
        return f"{name}={_last_parts(value)}"
    if word.startswith("scripts/"):
        return word
    if os.path.isabs(word) or word.startswith(("~", "./", "../")) or os.path.exists(word.partition(":")[0]):
        return _last_part(word)
    return ABSOLUTE_PATH.sub(lambda found: _last_part(found[0]), word)


def _last_part(path: str) -> str:
    return Path(path).name or "."
