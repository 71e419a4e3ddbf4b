"""Build a run's `TrainingArguments`, and refuse flags that contradict each other or train nothing."""

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.integrations import get_available_reporting_integrations

from hf_prompt_models.recipe_utils import Recipe


INTERVALS = {"logging_steps": "logging_strategy", "save_steps": "save_strategy", "eval_steps": "eval_strategy"}
"""Arguments that are a number of steps, each with the strategy that must be "steps" for it to have an effect."""

ABOVE_ZERO = ("num_train_epochs", *INTERVALS)
AT_LEAST = {
    "learning_rate": 0,
    "weight_decay": 0,
    "max_grad_norm": 0,
    "dataloader_num_workers": 0,
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "save_total_limit": 1,
}


@dataclass
class RunOptions:
    """Options of the run itself."""

    _argument_group_name = "run"

    recipe: str = field(
        default="laptop",
        metadata={
            "help": "Default settings to use. laptop: the settings of the paper, except those that take too long on a "
            "laptop; these are shown next to the value of the paper. paper: all settings of the paper.",
            "choices": ["laptop", "paper"],
        },
    )
    allow_shared_files: bool = field(
        default=False,
        metadata={
            "help": "Allow test examples that are also trained on. Without this flag, they are refused, because a "
            "result on them does not show how the model performs on new examples."
        },
    )
    overwrite_output_dir: bool = field(
        default=False,
        metadata={
            "help": "Replace the run in --output_dir: remove the files that it wrote, and no others. Without this "
            "flag, a folder that holds a run is refused."
        },
    )


def implied_strategies(explicit: Mapping[str, Any]) -> dict[str, str]:
    """Return the strategies that explicit numbers of steps imply: `--logging_steps 5` logs every 5 steps.

    Raises:
        ValueError: if a strategy that ignores the number is also explicit.
    """
    implied = {}
    for steps, strategy in INTERVALS.items():
        if explicit.get(steps) is None:
            continue
        chosen = explicit.get(strategy)
        if (name := getattr(chosen, "value", chosen)) not in (None, "steps"):
            raise ValueError(
                f"--{steps} {explicit[steps]} has no effect with --{strategy} {name}. Remove one of the two flags."
            )
        implied[strategy] = "steps"
    return implied


def check_numbers(explicit: Mapping[str, Any]) -> None:
    """Refuse explicit settings that train no step or are out of range.

    Raises:
        ValueError: if a setting is refused; the message names the flag.
    """
    if (steps := explicit.get("max_steps", -1)) < 1 and steps != -1:
        raise ValueError(
            f"--max_steps {steps} would train for no steps. Pass at least 1, or remove the flag to train by epochs."
        )
    for name in ABOVE_ZERO:
        value = explicit.get(name)
        if value is not None and not value > 0 and not (name == "num_train_epochs" and steps > 0):
            raise ValueError(f"--{name} must be above 0, got {value}.")
    for name, least in AT_LEAST.items():
        value = explicit.get(name)
        if value is not None and not value >= least:
            raise ValueError(f"--{name} must be at least {least}, got {value}.")


def build_training_arguments(settings: Mapping[str, Any]) -> TrainingArguments:
    """Return `TrainingArguments` for the given settings; on a machine without an accelerator, for its CPU.

    Raises:
        ValueError: if the machine does not support a setting, a package for `report_to` is missing, or several
            processes would not train together.
    """
    settings = dict(settings)
    if not torch.accelerator.is_available():
        # Otherwise each of several processes would train its own model, and bfloat16 would be refused.
        settings.setdefault("use_cpu", True)
        if settings.get("fp16"):
            raise ValueError(
                "--fp16 true needs a GPU, but none is available. Use --bf16 true, which also works on CPUs."
            )
    arguments = TrainingArguments(**settings)
    missing = sorted(set(arguments.report_to) - {*get_available_reporting_integrations(), "none"})
    if missing:
        raise ValueError(
            f"--report_to {' '.join(missing)}: the package is not installed, or the name is unknown. Install "
            "the package, or remove the flag; each run also plots its own learning curve."
        )
    launched = int(os.environ.get("WORLD_SIZE", 1))
    if launched > 1 and arguments.world_size == 1:
        raise ValueError(
            f"{launched} processes were started, but this process found no GPU to train on with the others. "
            "Pass --use_cpu true to train on the CPU."
        )
    return arguments


def with_laptop_defaults(recipe: Recipe[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a command line, with the defaults of `--recipe laptop` unless it has `--recipe paper`."""
    if given.get("recipe") == "paper":
        return dict(given)
    return {**recipe.laptop_defaults(given), **given}


def number_of_steps(training: TrainingArguments, num_examples: int) -> int:
    """Return the number of optimiser steps of a run.

    Args:
        training: the `TrainingArguments` of the run.
        num_examples: number of training examples.
    """
    if training.max_steps > 0:
        return training.max_steps
    batches = num_examples / (training.train_batch_size * training.world_size)
    batches = math.floor(batches) if training.dataloader_drop_last else math.ceil(batches)
    return math.ceil(training.num_train_epochs * max(math.ceil(batches / training.gradient_accumulation_steps), 1))


def announce(training: Mapping[int, TrainingArguments], examples: Mapping[int, int]) -> None:
    """Print the length of a run in steps before the first one.

    Args:
        training: the `TrainingArguments` of each seed.
        examples: the number of training examples of each seed.
    """
    first = next(iter(training.values()))
    if first.process_index:
        return
    steps = {seed: number_of_steps(settings, examples[seed]) for seed, settings in training.items()}
    each = " each" if len(steps) > 1 else ""
    epochs = "" if first.max_steps > 0 else f" ({first.num_train_epochs:g} epochs)"
    print(
        f"Training: {len(steps)} seed{'s' if each else ''} of {max(steps.values())} steps{epochs}{each}, on "
        f"{max(examples.values())} examples.",
        file=sys.stderr,
    )


def check_batches(training: TrainingArguments, num_examples: int, contrasts: bool) -> None:
    """Refuse batches that train nothing.

    This is the case if there is no batch, or if a batch holds a single example and the loss compares the examples of
    a batch. Accumulated batches are compared separately. Batches of several processes are compared together, and an
    incomplete last batch is filled up in that case.

    Args:
        training: the `TrainingArguments` of the seed.
        num_examples: number of training examples.
        contrasts: whether the loss compares the examples of a batch with each other.

    Raises:
        ValueError: if batches are refused; the message names the flags to change.
    """
    together = training.per_device_train_batch_size * training.world_size
    if training.dataloader_drop_last and num_examples < together:
        raise ValueError(
            f"--dataloader_drop_last true would drop the only batch, because there are {num_examples} training "
            f"examples and the batch size is {together}. Lower --per_device_train_batch_size, or remove the flag."
        )
    if not contrasts:
        return
    if num_examples < 2:
        raise ValueError(
            f"There is {num_examples} training example, for which the loss is constant because it compares "
            "examples with each other. Train on at least 2 examples."
        )
    if together == 1:
        raise ValueError(
            "--per_device_train_batch_size 1 makes batches of a single example, for which the loss is constant "
            "because it compares the examples of a batch. Pass at least 2; accumulating gradients does not help."
        )
    if training.world_size == 1 and not training.dataloader_drop_last and num_examples % together == 1:
        raise ValueError(
            f"The last batch of each epoch would contain a single example ({num_examples} examples in batches "
            f"of {together}), for which the loss is constant. Pass --dataloader_drop_last true or another "
            "--per_device_train_batch_size."
        )
