"""Flags from a file, as in `HfArgumentParser`: `hf-prompt train coop run.yaml --shots 4`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from hf_prompt_cli.parsing import did_you_mean, known_flags
from hf_prompt_models.utils.files import read_text


SUFFIXES = (".yaml", ".yml", ".json")
MAX_BYTES = 2**16
SAME = ("seed", "seeds")
"""Flags for the seed of the Trainer and the seeds of a run. Either one on the command line replaces both."""


def with_flags_of_file(parser: argparse.ArgumentParser, argv: Sequence[str]) -> list[str]:
    """Replace a file of flags at the start of a command line by the flags that it holds.

    The first argument is such a file if it ends in one of `SUFFIXES`. Flags of the command line take precedence.
    Values in a file are text, as on the command line, so that `no` and `2e-3` keep their meaning. Lists are
    several values, mappings are JSON, and empty or null values are left out.

    Args:
        parser: Parser of the command.
        argv: The command line after the command.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file does not hold flags.
        SystemExit: With code 2 and the nearest flag, if a flag does not exist.
    """
    if not argv or argv[0].startswith("-") or not argv[0].endswith(SUFFIXES):
        return list(argv)
    file, rest = Path(argv[0]), list(argv[1:])
    given = {flag.partition("=")[0] for flag in rest if flag.startswith("--")}
    known = {flag: action for flag, action in known_flags(parser).items() if action.nargs != 0}
    said = {known[flag].dest for flag in given if flag in known}
    if said & set(SAME):
        said |= set(SAME)
    flags: list[str] = []
    for key, value in _read(file).items():
        if f"--{key}" not in known:
            names = [flag.removeprefix("--") for flag in known]
            parser.error(f"{file}: there is no flag {key}.{did_you_mean(key, names)}")
        if known[f"--{key}"].dest not in said:
            flags += _flag(file, key, value)
    return flags + rest


def _read(file: Path) -> dict[str, Any]:
    text = read_text(file, MAX_BYTES, "files of flags")
    try:
        if file.suffix == ".json":
            value = json.loads(text, parse_float=str, parse_int=str)
        else:
            value = yaml.load(text, yaml.BaseLoader)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{file} cannot be read as {file.suffix[1:].upper()}: {error}") from error
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{file} is not a file of flags. Write one flag per line, such as `shots: 16`.")
    return value


def _flag(file: Path, key: str, value: Any) -> list[str]:
    match value:
        case None | "" | "null" | "~":
            return []
        case bool():
            return [f"--{key}={str(value).lower()}"]
        case str():
            return [f"--{key}={value}"]
        case dict():
            return [f"--{key}={json.dumps(value)}"]
        case list() if all(isinstance(each, str) and not each.startswith("-") for each in value) and value:
            return [f"--{key}", *value]
    raise ValueError(f"{file}: expected {key} to be a value, a list of values or a mapping, got {str(value)[:80]}.")
