"""The command line of a run, in a form that can be stored and shown to others."""

import os
import re
import shlex
from pathlib import Path


HIDDEN = "…"
ABSOLUTE_PATH = re.compile(r"""(?<![\w.~])(?:file:)?[~/][^\s"',;\]}]*/[^\s"',;\]}]*""")


def without_tokens(command: str) -> str:
    """Return a command line with the value of `--hub_token`, and everything that looks like a Hub token, hidden."""
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
    """Return a command line on one line, without secrets and with only the last part of each local path."""
    program, *words = shlex.split(without_tokens(command))
    return " ".join(shlex.join([_last_part(program), *map(_last_parts, words)]).split()).replace("```", "'''")


def _names_token(flag: str) -> bool:
    """Return whether a flag is `--hub_token` or a prefix of it, which `argparse` accepts."""
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
