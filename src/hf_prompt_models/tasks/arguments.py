"""Command lines of training. The recipe's settings apply unless a flag overrides them."""

import argparse
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from textwrap import wrap
from typing import Any

import torch
from transformers import HfArgumentParser, TrainingArguments
from transformers.hf_argparser import string_to_bool

from hf_prompt_models.data.images.loading import IMAGE_SUFFIXES
from hf_prompt_models.data.videos.reader import VIDEO_SUFFIXES
from hf_prompt_models.recipe_utils import Recipe
from hf_prompt_models.training.settings import (
    RunOptions,
    build_training_arguments,
    check_numbers,
    implied_strategies,
)
from hf_prompt_models.utils.loading import default_num_workers
from hf_prompt_models.utils.precision import FEATURE_DTYPES


NOT_GIVEN = object()
DEFAULT_TOP_K = 5


@dataclass
class RunArguments:
    """Arguments of a training run: the flags of the command line, with the recipe's settings as defaults.

    Attributes:
        method: Arguments of the method, of the recipe's `arguments_class`.
        data: Arguments of the task, of its `data_arguments`.
        training: Keyword arguments for `TrainingArguments`.
        run: Options of the run itself.
        own_schedule: Whether CoOp's learning rate schedule is used, because neither the recipe nor a flag sets
            another.
    """

    method: Any
    data: Any
    training: dict[str, Any]
    run: RunOptions = field(default_factory=RunOptions)
    own_schedule: bool = False


class TrainerArguments(TrainingArguments):
    """`TrainingArguments`, under a separate heading in the help."""

    _argument_group_name = "training (transformers' TrainingArguments)"


MOST_CHOICES_SHOWN = 12


class SourcedDefaultsFormatter(argparse.RawDescriptionHelpFormatter):
    """Help formatter that shows the source of each default next to it.

    Args:
        sources: Source of the default, by argument name.
        args: As for argparse's formatters.
        kwargs: As for argparse's formatters.
    """

    def __init__(self, *args: Any, sources: Mapping[str, str], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.sources = sources

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Return a flag once, with its value.

        Aliases (`--n-ctx` for `--n_ctx`) and long lists of choices are left out.
        """
        if not action.option_strings or action.nargs == 0:
            return ", ".join(action.option_strings)
        metavar = "true|false" if action.type is string_to_bool else action.dest.upper()
        if (choices := list(action.choices or [])) and len(choices) <= MOST_CHOICES_SHOWN:
            metavar = "|".join(map(str, choices))
        return f"{action.option_strings[0]} {metavar}{' …' if action.nargs == '+' else ''}"

    def _get_help_string(self, action: argparse.Action) -> str:
        help_text = action.help or ""
        if action.required or action.dest == "output_dir":
            return f"{help_text} (required)"
        unset = action.nargs == 0 or action.default in (None, argparse.SUPPRESS)
        return help_text if unset else f"{help_text} (default: {_shown(action.default)}; {self.sources[action.dest]})"


def _shown(default: Any) -> str:
    default = getattr(default, "value", default)  # the value of an enumeration
    return (" ".join(map(str, default)) if isinstance(default, list) else str(default)).replace("%", "%%")


def build_parser(recipe: Recipe[Any], data: type, settings: Mapping[str, Any], prog: str) -> HfArgumentParser:
    """Return the parser of a method's command line: its own flags, those for data and protocol, then the Trainer's.

    Args:
        recipe: Recipe of the method.
        data: Dataclass of the arguments for data and protocol.
        settings: Settings of the recipe, which replace the defaults of the dataclasses.
        prog: Name of the program.
    """
    sources = {each.name: "Trainer" for each in fields(TrainingArguments)}
    ours = [each.name for cls in (recipe.arguments_class, data, RunOptions) for each in fields(cls)]
    sources |= dict.fromkeys([*ours, *training_settings({}, {})], "hf-prompt")
    sources |= {**dict.fromkeys(settings, recipe.source), **recipe.sources}
    examples = "\n".join(" \\\n        ".join(wrap(f"    {prog} {each}", 108)) for each in recipe.examples)
    parser = HfArgumentParser(
        (recipe.arguments_class, data, RunOptions, TrainerArguments),
        prog=prog,
        usage=f"{prog} [FLAGS.yaml] --flag value …",
        description=f"{recipe.__doc__}\n\n{examples}",
        formatter_class=partial(SourcedDefaultsFormatter, sources=sources),
        allow_abbrev=False,
    )
    parser.set_defaults(**training_settings(dict(settings), {}))
    for name, value in recipe.laptop_defaults({}).items():
        sources[name] = f"--recipe laptop; {recipe.source}: {_shown(parser.get_default(name))}"
        parser.set_defaults(**{name: value})
    return parser


def parse_given(parser: HfArgumentParser, argv: Sequence[str]) -> dict[str, Any]:
    """Return the arguments that a command line gives explicitly, without defaults.

    Args:
        parser: Parser from `build_parser`.
        argv: The command line.
    """
    names = {each.name for cls in parser.dataclass_types for each in fields(cls)}
    unset = argparse.Namespace(**dict.fromkeys(names, NOT_GIVEN))  # argparse sets defaults of missing names only
    parsed = vars(parser.parse_args(list(argv), namespace=unset))
    given = {name: value for name, value in parsed.items() if value is not NOT_GIVEN}
    if "output_dir" not in given:
        parser.error("the following arguments are required: --output_dir")
    if "seed" in given:
        if "seeds" in given:
            parser.error("--seed n is the same as --seeds n: pass only one of the two flags")
        given["seeds"] = [given["seed"]]
    return given


def training_settings(recipes: dict[str, Any], explicit: dict[str, Any]) -> dict[str, Any]:
    """Return keyword arguments for `TrainingArguments`. Flags override the recipe, which overrides this package.

    Args:
        recipes: Settings of the recipe.
        explicit: Settings that flags give.

    Raises:
        ValueError: If flags contradict each other, or nothing would be trained.
    """
    check_numbers(explicit)
    defaults = recipes | {
        "logging_strategy": "epoch",
        "save_strategy": "steps",
        "save_steps": 0.1,
        "save_total_limit": 1,
        "hub_strategy": "end",
        "remove_unused_columns": False,
        # The last norm of a CLIP's image tower, or another model's pooler, gets no gradient, also with checkpointing.
        "ddp_find_unused_parameters": True,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "dataloader_num_workers": 0 if explicit.get("use_cpu") else default_num_workers(),
    }
    if "optim" in explicit:
        defaults.pop("optim_args", None)  # they belong to the recipe's optimizer
    if "lr_scheduler_type" in explicit:
        defaults.pop("lr_scheduler_kwargs", None)
    if "num_train_epochs" in explicit:
        defaults.pop("max_steps", None)  # it would take precedence
    if explicit.get("save_strategy") not in (None, "steps"):
        defaults.pop("save_steps")
    settings = defaults | implied_strategies(explicit) | explicit
    # New processes in each epoch would read their images again.
    persists = torch.accelerator.is_available() and settings["dataloader_num_workers"] > 0
    return {"dataloader_persistent_workers": persists} | settings


def recipe_arguments(recipe: dict[str, Any], output_dir: str, **settings: Any) -> TrainingArguments:
    """Return a recipe's `TrainingArguments` for your own code: those of `train.py`, with `settings` applied.

    Args:
        recipe: Result of `training_defaults` of a `recipe_<method>` module.
        output_dir: Folder for checkpoints.
        settings: Additional arguments of `TrainingArguments`, which override the recipe's.
    """
    return build_training_arguments(training_settings(recipe, {"output_dir": output_dir, **settings}))


def fields_of(cls: type, given: dict[str, Any]) -> dict[str, Any]:
    """Return the given arguments that are fields of a dataclass."""
    return {f.name: given[f.name] for f in fields(cls) if f.name in given}


def run_arguments(
    recipe: Recipe[Any], given: dict[str, Any], data: Any, settings: dict[str, Any], method: dict[str, Any]
) -> RunArguments:
    """Return the arguments of a run.

    Args:
        recipe: Recipe of the method.
        given: Flags that the command line gives.
        data: Instance of the task's `data_arguments`.
        settings: The recipe's `training_defaults`.
        method: The recipe's defaults of the method's own flags, where they depend on others.
    """
    return RunArguments(
        method=recipe.arguments_class(**method | fields_of(recipe.arguments_class, given)),
        data=data,
        training=training_settings(settings, fields_of(TrainingArguments, given)),
        run=RunOptions(**fields_of(RunOptions, given)),
    )


# -- flags that several tasks share in `hf-prompt evaluate` and `hf-prompt predict` ----------------------------------


def add_backbone_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--backbone`."""
    parser.add_argument(
        "--backbone",
        metavar="DIR",
        help="current location of the backbone, if it moved since training; `playground`: the tiny model "
        "that ships with the package",
    )


def add_top_k_argument(parser: argparse.ArgumentParser, answers: str) -> None:
    """Add `--top_k`; `answers` is what is returned for each file, such as "classes"."""
    parser.add_argument(
        "--top_k",
        type=positive,
        default=DEFAULT_TOP_K,
        help=f"number of {answers} to return for each file (default: 5)",
    )


def add_on_unreadable_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--on_unreadable`."""
    parser.add_argument(
        "--on_unreadable",
        choices=["refuse", "skip"],
        default="refuse",
        help="how files that cannot be decoded are handled; refuse (default): stop and list them, skip: "
        "report, count and skip them",
    )


def add_loading_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    """Add `--batch_size`, with its default for the help, and `--num_workers`."""
    parser.add_argument("--batch_size", type=positive, help=f"number of files per batch (default: {default})")
    parser.add_argument(
        "--num_workers",
        type=natural,
        default=default_num_workers(),
        help="number of processes that decode files; 0: threads of the main process (default: all cores but one "
        "with an accelerator, else 0)",
    )


def add_precision_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--feature_dtype` and `--bf16`."""
    parser.add_argument(
        "--feature_dtype",
        choices=FEATURE_DTYPES,
        help="precision in which the image encoder computes, as for `hf-prompt train` (default: bfloat16 with "
        "--bf16 true, else float32)",
    )
    parser.add_argument(
        "--bf16",
        type=string_to_bool,
        nargs="?",
        const=True,
        default=False,
        metavar="true|false",
        help="compute the image encoder in bfloat16, as --feature_dtype bfloat16 does",
    )


def positive(text: str) -> int:
    """Parse a number that is at least 1; used as the type of a flag.

    Raises:
        argparse.ArgumentTypeError: For other text.
    """
    if (number := natural(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return number


def natural(text: str) -> int:
    """Parse a number that is at least 0; used as the type of a flag.

    Raises:
        argparse.ArgumentTypeError: For other text.
    """
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected an integer, got {text!r}") from None
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text}")
    return number


def share(text: str) -> float:
    """Parse a number from 0 to 1; used as the type of a flag.

    Raises:
        argparse.ArgumentTypeError: For other text.
    """
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}") from None
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, such as 0.6, got {text}")
    return number


def output_file(name: str) -> str:
    """Return the name of a file to write; used as the type of a flag.

    Raises:
        argparse.ArgumentTypeError: If the name has the suffix of an image or a video. The shell may have expanded a
            pattern to several files, of which one would be overwritten.
    """
    if (suffix := Path(name).suffix.lower()) in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
        raise argparse.ArgumentTypeError(f"{name!r} is the name of an image or a video ({suffix}). Pass a text file.")
    return name


def parse_time(text: str) -> float:
    """Return the seconds of a time such as "1h30m", "5m" or "90s"; a number alone is in seconds.

    Raises:
        ValueError: For other text.

    Example:
        ```python
        >>> from hf_prompt_models.tasks.arguments import parse_time
        >>> parse_time("1h30m")
        5400.0

        ```
    """
    number = r"(\d+(?:\.\d+)?)"
    found = re.fullmatch(f"(?:{number}h)?(?:{number}m)?(?:{number}s?)?", text.strip())
    parts = found.groups() if found else ()
    seconds = sum(float(part) * unit for part, unit in zip(parts, (3600, 60, 1), strict=False) if part)
    if not 0 < seconds < math.inf:
        raise ValueError(f"Expected a time such as 5m, 90s or 1h30m, got {text!r}.")
    return seconds
