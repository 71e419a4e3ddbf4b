"""Write the `results.json` of a run, read those of many runs, and the flags of their command lines."""

import json
import logging
import os
import platform
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from hf_prompt_models.training.command_line import without_tokens
from hf_prompt_models.training.run_folder import PLAN_FILE, RESULTS_FILE
from hf_prompt_models.utils.files import UNFINISHED, write_json
from hf_prompt_models.version import __version__


logger = logging.getLogger(__name__)

MAX_BYTES = 16 * 2**20
SEARCH = "auto"
"""Method in the results of a search, which have no test set and no place in tables."""
SETTINGS = frozenset(
    {
        "recipe", "num_train_epochs", "max_steps", "learning_rate", "per_device_train_batch_size",
        "gradient_accumulation_steps", "weight_decay", "optim", "optim_args", "lr_scheduler_type", "warmup_steps",
        "max_grad_norm", "label_smoothing_factor", "lora_r", "lora_alpha", "freeze_language_model", "dtype", "dataset",
        "few_shot_sample", "class_names", "test_fraction", "fp16", "bf16", "max_length", "validation_fraction",
    }
)  # fmt: skip
"""Flags that affect the scores of a run. Other values are the recipe's, which can depend on the shots."""


def origin(command: str) -> dict[str, Any]:
    """Return the entries of results that say how they were made: `versions`, and `command` without tokens.

    Args:
        command: The command line.
    """
    versions = {
        "hf_prompt_models": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    return {"versions": versions, "command": without_tokens(command)}


def write_results(directory: Path, results: dict[str, Any]) -> None:
    """Write results to the folder of a run.

    Args:
        directory: Folder of the run.
        results: The results, with those of `origin`.
    """
    write_json(directory / RESULTS_FILE, results)


@dataclass(frozen=True)
class RunResults:
    """Results of one run, as in `results.json`.

    Attributes:
        path: Path of the file.
        value: Its content.
    """

    path: Path
    value: dict[str, Any]

    @property
    def command(self) -> str | None:
        """Command line of the run, or `None` if the results do not have it."""
        command = self.value.get("command")
        return command if isinstance(command, str) else None


def read_results(runs: Sequence[str | os.PathLike]) -> list[RunResults]:
    """Read the results of runs, in the order of their paths.

    Args:
        runs: `results.json` files, or folders to search for them, with their sub-folders.

    Raises:
        ValueError: If a run holds no results, or a file is not written by `hf-prompt train`.
    """
    paths: dict[Path, Path] = {}
    for run in map(Path, runs):
        if not run.exists():
            raise ValueError(f"There is no {run}. Check the path.")
        found = [run] if run.is_file() else find_results(run)
        if not found:
            raise ValueError(
                f"Neither {run} nor a folder in it contains a {RESULTS_FILE}. Pass the output folder of "
                "`hf-prompt train`."
            )
        paths |= {path.resolve(): path for path in found}  # each file once, even if runs overlap
    results = []
    for path in sorted(paths.values()):
        with suppress(FileNotFoundError):  # removed since it was listed
            results.append(read_result(path))
    searches = [each for each in results if each.value.get("method") == SEARCH]
    if searches:
        logger.warning(
            f"Left out {len(searches)} run(s) of `hf-prompt train {SEARCH}`, which test on no images, such as "
            f"{searches[0].path}."
        )
    return [each for each in results if each not in searches]


def read_result(path: Path) -> RunResults:
    """Read one `results.json`.

    Raises:
        ValueError: If it is not a JSON object, or too long.
    """
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has more than {MAX_BYTES} bytes, so it is not a result of `hf-prompt train`.")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise not_a_result(path, error) from error
    if not isinstance(value, dict):
        raise not_a_result(path, f"expected a dict, got {type(value).__name__}.")
    return RunResults(path, value)


def not_a_result(path: Path, problem: object) -> ValueError:
    """Return the error for a file that `hf-prompt train` did not write; a `KeyError` names what is missing."""
    if isinstance(problem, KeyError):
        problem = f"{problem.args[0]} is missing."
    return ValueError(f"{path} is not a result that `hf-prompt train` wrote: {problem}")


def find_results(directory: Path) -> list[Path]:
    """Return the results in a folder and its sub-folders, except those that a run is writing at the moment.

    The table of `hf-prompt compare` is left out, because its runs are found one by one.
    """
    found = []
    for folder, inner, files in os.walk(directory):
        inner[:] = [name for name in inner if not name.startswith(UNFINISHED)]
        found += [Path(folder, RESULTS_FILE)] if RESULTS_FILE in files and PLAN_FILE not in files else []
    return sorted(found)


def given_flags(command: str) -> dict[str, str]:
    """Return those of `SETTINGS` that a command line gives, with their values; numbers have a uniform format."""
    found: dict[str, list[str]] = {}
    name = ""
    try:
        words = shlex.split(command)
    except ValueError:  # a command that was edited by hand
        return {}
    for word in words:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            name = name.replace("-", "_")
            found[name] = [value] if value else []
        elif name:
            found[name].append(word)
    return {name: " ".join(map(_in_one_form, found[name])) for name in sorted(SETTINGS & found.keys())}


def _in_one_form(value: str) -> str:
    try:
        return f"{float(value):g}"
    except ValueError:
        return value
