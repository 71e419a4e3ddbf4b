"""Command line arguments: the recipe's settings where no flag says otherwise."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from types import ModuleType
from typing import Any

import torch
from transformers import HfArgumentParser, TrainingArguments

from hf_prompt_models.data.few_shot import read_few_shot_shots


@dataclass
class FewShotArguments:
    """Data and protocol."""

    backbone: str = field(metadata={"help": "Hub id or folder of the backbone; `playground`: the package's own."})
    train_dir: str = field(
        metadata={"help": "Folder with a folder of images for each class, or a `datasets` data set (`name:split`)."}
    )
    test_dir: str = field(metadata={"help": "Images to test on, likewise."})
    shots: int = field(default=16, metadata={"help": "Training images a class."})
    seeds: list[int] = field(
        default_factory=lambda: [1], metadata={"help": "One run each: `--seeds 1 2 3`. `--seed n` means `--seeds n`."}
    )
    few_shot_sample: str | None = field(
        default=None, metadata={"help": "A `few_shot.json` of an earlier run: train on its images, draw none."}
    )
    on_unreadable: str = field(
        default="refuse",
        metadata={"help": "Images that cannot be read: stop, or name and skip them.", "choices": ["refuse", "skip"]},
    )
    templates: list[str] = field(
        default_factory=lambda: ["a photo of a {}."],
        metadata={"help": "Hand-written prompts for the zero-shot result; several make an ensemble."},
    )


SCHEDULER_FLAGS = frozenset({"lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"})


@dataclass
class RunArguments:
    """What the command line says, with the recipe's settings beneath.

    Attributes:
        method: the method's own arguments.
        few_shot: data and protocol.
        training: keyword arguments for `TrainingArguments`.
        own_schedule: whether the recipe's learning rate schedule applies: no flag named another.
    """

    method: Any
    few_shot: FewShotArguments
    training: dict[str, Any]
    own_schedule: bool


def parse_run_arguments(recipe: ModuleType, argv: Sequence[str], prog: str) -> RunArguments:
    """Parse a method's command line. An explicit flag always wins over the recipe.

    Exits with a message, as argparse does, if flags are wrong or missing.
    """
    classes = (recipe.Arguments, FewShotArguments, TrainingArguments)
    parser = HfArgumentParser(classes, prog=prog, description=recipe.__doc__)
    recipe_defaults = recipe.training_defaults(FewShotArguments.shots)
    parser.set_defaults(**recipe_defaults)
    if {"-h", "--help"} & set(argv):
        parser.parse_args(["--help"])
    for action in parser._actions:  # leaves in the namespace what the command line says, and nothing else
        action.default = argparse.SUPPRESS
    parser._defaults.clear()
    given = vars(parser.parse_args(list(argv)))

    if "output_dir" not in given:
        parser.error("the following arguments are required: --output_dir")
    if "seed" in given:
        if "seeds" in given:
            parser.error("--seed n means --seeds n: give one of the two")
        given["seeds"] = [given["seed"]]
    if "few_shot_sample" in given:
        shots = read_few_shot_shots(given["few_shot_sample"])
        if given.setdefault("shots", shots) != shots:
            parser.error(
                f"--few_shot_sample holds {shots} images a class, --shots says {given['shots']}: leave it out"
            )
    few_shot = FewShotArguments(**_of(FewShotArguments, given))
    if few_shot.shots < 1:
        parser.error(f"--shots is the number of training images a class, at least 1; got {few_shot.shots}")
    if len(set(few_shot.seeds)) < len(few_shot.seeds) or not few_shot.seeds:
        parser.error(f"--seeds: name each seed once; got {few_shot.seeds}")
    explicit = _of(TrainingArguments, given)
    defaults = recipe.training_defaults(few_shot.shots) | {
        "logging_strategy": "epoch",
        "save_strategy": "steps",
        "save_steps": 0.1,
        "save_total_limit": 1,
        "remove_unused_columns": False,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }
    if "optim" in explicit:
        defaults.pop("optim_args", None)  # they are the recipe's optimizer's
    if explicit.get("save_strategy") not in (None, "steps"):
        defaults.pop("save_steps")
    return RunArguments(
        method=recipe.Arguments(**_of(recipe.Arguments, given)),
        few_shot=few_shot,
        training=defaults | explicit,
        own_schedule=not SCHEDULER_FLAGS & set(explicit),
    )


def _of(cls: type, given: dict[str, Any]) -> dict[str, Any]:
    return {f.name: given[f.name] for f in fields(cls) if f.name in given}
