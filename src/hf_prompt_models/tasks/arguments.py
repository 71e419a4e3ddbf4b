"""Command lines of training: the recipe's settings apply where no flag gives another."""

import argparse
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


NOT_GIVEN = object()
DEFAULT_TOP_K = 5


@dataclass
class RunArguments:
    """The arguments of a training run: what the command line gives, above the recipe's settings.

    Attributes:
        method: the method's own, of the recipe's `arguments_class`.
        data: the task's, of its `data_arguments`.
        training: keyword arguments for `TrainingArguments`.
        run: options of the run itself.
        own_schedule: whether CoOp's learning rate schedule applies: neither the recipe nor a flag names another.
    """

    method: Any
    data: Any
    training: dict[str, Any]
    run: RunOptions = field(default_factory=RunOptions)
    own_schedule: bool = False


class TrainerArguments(TrainingArguments):
    """`TrainingArguments`, under a heading of their own in the help."""

    _argument_group_name = "training (transformers' TrainingArguments)"


MOST_CHOICES_SHOWN = 12


class SourcedDefaultsFormatter(argparse.RawDescriptionHelpFormatter):
    """Help in which each default stands with where it is from.

    Args:
        sources: by the names of arguments.
        args, kwargs: as for argparse's formatters.
    """

    def __init__(self, *args: Any, sources: Mapping[str, str], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.sources = sources

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """The flag once (`--n_ctx` is `--n-ctx`, too), and no list of what it takes that nobody reads to its end."""
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
    default = getattr(default, "value", default)  # of an enumeration
    return (" ".join(map(str, default)) if isinstance(default, list) else str(default)).replace("%", "%%")


def build_parser(recipe: Recipe[Any], data: type, settings: Mapping[str, Any], prog: str) -> HfArgumentParser:
    """The parser of a method's command line: its own flags, those for data and protocol, then the Trainer's.

    Args:
        recipe: the method's.
        data: the dataclass of the arguments for data and protocol.
        settings: the recipe's, in place of what the dataclasses have as defaults.
        prog: what the program is called.
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
    """Return the arguments that a command line gives itself, without defaults.

    Args:
        parser: from `build_parser`.
        argv: the command line.
    """
    names = {each.name for cls in parser.dataclass_types for each in fields(cls)}
    unset = argparse.Namespace(**dict.fromkeys(names, NOT_GIVEN))  # a default only fills a name that is not there
    parsed = vars(parser.parse_args(list(argv), namespace=unset))
    given = {name: value for name, value in parsed.items() if value is not NOT_GIVEN}
    if "output_dir" not in given:
        parser.error("the following arguments are required: --output_dir")
    if "seed" in given:
        if "seeds" in given:
            parser.error("--seed n means --seeds n: give one of the two")
        given["seeds"] = [given["seed"]]
    return given


def training_settings(recipes: dict[str, Any], explicit: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments for `TrainingArguments`: this package's, above them the recipe's, above them the flags'.

    Raises:
        ValueError: if flags contradict each other, or train nothing.
    """
    check_numbers(explicit)
    defaults = recipes | {
        "logging_strategy": "epoch",
        "save_strategy": "steps",
        "save_steps": 0.1,
        "save_total_limit": 1,
        "hub_strategy": "end",
        "remove_unused_columns": False,
        # Of a CLIP's image tower the last norm, of others the pooler: no loss reaches them, also with checkpointing.
        "ddp_find_unused_parameters": True,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }
    if "optim" in explicit:
        defaults.pop("optim_args", None)  # they are the recipe's optimizer's
    if explicit.get("save_strategy") not in (None, "steps"):
        defaults.pop("save_steps")
    return defaults | implied_strategies(explicit) | explicit


def recipe_arguments(recipe: dict[str, Any], output_dir: str, **settings: Any) -> TrainingArguments:
    """A recipe's `TrainingArguments` for code of one's own: what `train.py` trains with, but for `settings`.

    Args:
        recipe: what the `training_defaults` of a `recipe_<method>` module returned.
        output_dir: where checkpoints go.
        settings: further arguments of `TrainingArguments`, above the recipe's.
    """
    return build_training_arguments(training_settings(recipe, {"output_dir": output_dir, **settings}))


def fields_of(cls: type, given: dict[str, Any]) -> dict[str, Any]:
    """Those of the arguments that a dataclass has."""
    return {f.name: given[f.name] for f in fields(cls) if f.name in given}


def run_arguments(
    recipe: Recipe[Any], given: dict[str, Any], data: Any, settings: dict[str, Any], method: dict[str, Any]
) -> RunArguments:
    """Return the arguments of a run.

    Args:
        recipe: the method's.
        given: the flags that the command line gives.
        data: of the task's `data_arguments`.
        settings: the recipe's `training_defaults`.
        method: the recipe's defaults of the method's own flags, where they depend on others.
    """
    return RunArguments(
        method=recipe.arguments_class(**method | fields_of(recipe.arguments_class, given)),
        data=data,
        training=training_settings(settings, fields_of(TrainingArguments, given)),
        run=RunOptions(**fields_of(RunOptions, given)),
    )


# -- flags that several tasks have in `hf-prompt evaluate` and `hf-prompt predict` -----------------------------------


def add_backbone_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--backbone`."""
    parser.add_argument(
        "--backbone",
        metavar="DIR",
        help="current location of the backbone, if it moved since training; `playground`: the tiny model "
        "that ships with the package",
    )


def add_top_k_argument(parser: argparse.ArgumentParser, answers: str) -> None:
    """Add `--top_k`; `answers` is what is given for each file, such as "classes"."""
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
        default=0,
        help="number of processes that decode files (default: 0, the main process)",
    )


def positive(text: str) -> int:
    """Return a number that is at least 1, as the type of a flag."""
    if (number := natural(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return number


def natural(text: str) -> int:
    """Return a number that is at least 0, as the type of a flag."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text}")
    return number


def output_file(name: str) -> str:
    """Return the name of a file to write, as the type of a flag.

    Raises:
        argparse.ArgumentTypeError: if it has the suffix of an image or a video, as one of several files that a shell's
            pattern stands for: it would be replaced.
    """
    if (suffix := Path(name).suffix.lower()) in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
        raise argparse.ArgumentTypeError(f"{name!r} is the name of an image or a video ({suffix}); name a text file.")
    return name
