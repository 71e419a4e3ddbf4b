"""Run a trained model on files: classify, ground a phrase, find videos, answer, or generate text.

The flags depend on the model's task; `hf-prompt predict MODEL --help` shows them. With --class_names, the model can be
a backbone, which then classifies with hand-written prompts, without training. A trained prompt that all classes share
can also classify into new class names.

A video is a file, or a folder with its frames as images. For files, the best classes are printed; for folders, the
number of files per class. Scores are the probabilities of pipeline("image-classification") or
pipeline("video-classification"); if a video can have several labels, each class has its own probability.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers.utils import logging

import hf_prompt_models  # noqa: F401  registers the methods with the Auto classes
from hf_prompt_cli.console import print_json
from hf_prompt_cli.ending import AGAIN, ending
from hf_prompt_cli.for_models import ModelCommand
from hf_prompt_models.backbones.clip_checkpoints import has_open_clip_config
from hf_prompt_models.backbones.packaged import PLAYGROUND
from hf_prompt_models.data.class_names_file import read_class_names
from hf_prompt_models.recipe_utils import Recipe
from hf_prompt_models.tasks.base import Entries, Task, recipe_of_model, task_named, task_of_saved
from hf_prompt_models.tasks.classification.base import ClassificationTask
from hf_prompt_models.tasks.classification.templates import read_templates
from hf_prompt_models.tasks.classification.zero_shot import is_backbone, kind_of_files
from hf_prompt_models.training.foreign_checkpoints import is_hub_id
from hf_prompt_models.training.run_folder import describe_interrupted, holds_model, model_directory


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that all tasks share."""
    parser.add_argument("model", help="model folder; with --class_names also Hub id or folder of a backbone")
    parser.add_argument(
        "files",
        nargs="*",
        metavar="PATH",
        help="image or video files, folders of a video's frames, or folders that are searched for images "
        "or videos at any depth; or lists of them: .txt with one path per line, .csv or .jsonl with a "
        "column `path`, `image` or `video`",
    )
    parser.add_argument("--json", action="store_true", help="print the predictions as JSON")


def add(parser: argparse.ArgumentParser, task: Task[Any], recipe: Recipe[Any] | None) -> None:
    """Add the flags of a task."""
    task.add_prediction_arguments(parser)


COMMAND = ModelCommand("hf-prompt predict", __doc__.strip(), add_common, add, lambda task: task.prediction_examples)


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser with the flags of all tasks by the word that calls it."""
    return {"predict": COMMAND.parser_of_all()}


def main(argv: Sequence[str]) -> int:
    """Run this command and return its exit code."""
    named = COMMAND.named(argv)
    logging.disable_progress_bar()
    with ending(lambda: kept(named), AGAIN):
        predictions = predict(named, argv)
        if named.json:
            print_json(predictions)
        else:
            print(predictions)
    return 0


def predict(named: argparse.Namespace, argv: Sequence[str]) -> Entries | str:
    """Return the predictions for files.

    Args:
        named: The command line, parsed with the flags of all tasks.
        argv: The command line.

    Raises:
        ValueError: If flags do not go together, or do not apply to the model.
    """
    for flag in ("templates", "class_prompts"):
        if vars(named)[flag] is not None and named.class_names is None:
            raise ValueError(f"--{flag} needs --class_names. Pass both.")
    if (backbone := raw_backbone(named)) is not None:
        task = task_named(f"{kind_of_files(named.files)}-classification")
        assert isinstance(task, ClassificationTask)
        arguments = COMMAND.parse(argv, backbone, task, None)
        arguments.model, arguments.files = backbone, named.files
        check_files(task, arguments)
        templates = None if arguments.templates is None else read_templates(arguments.templates)
        return task.predict_zero_shot(backbone, read_class_names(arguments.class_names), templates, arguments)
    directory = model_directory(named.model)
    if said := describe_interrupted(named.model, {"-": directory}):
        print(said, file=sys.stderr)
    task, config = task_of_saved(directory)
    arguments = COMMAND.parse(argv, str(directory), task, recipe_of_model(config))
    arguments.model = str(directory)
    check_files(task, arguments)
    return task.predict(str(directory), arguments)


def check_files(task: Task[Any], arguments: argparse.Namespace) -> None:
    """Check that files are named, where the task needs some.

    Raises:
        ValueError: If none is named.
    """
    if task.needs_files and not arguments.files:
        raise ValueError("The files to predict on are missing. Pass files or folders after the model.")


def raw_backbone(named: argparse.Namespace) -> str | None:
    """Return the backbone to classify with, or `None` if the command line names a model of this package.

    The backbone is passed as the model, or by --backbone; then all paths are files.
    """
    model = named.model
    if named.class_names is None:
        return None
    if named.backbone is not None and not holds_model(model):
        named.files.insert(0, model)
        named.model = named.backbone
    elif model != PLAYGROUND and os.path.exists(model):
        if not holds_model(model) and not has_open_clip_config(model):
            return None
    elif model != PLAYGROUND and not is_hub_id(model):
        return None
    return named.model if is_backbone(named.model) else None


def kept(named: argparse.Namespace) -> str:
    """Return what an unfinished command leaves: tables and indices are moved into place when they are complete."""
    files = [file for file in (named.csv, named.drawing) if file is not None]
    earlier = [file for file in files if Path(file).exists()]
    unwritten = [file for file in files if file not in earlier]
    said = f"{named.model} was not changed" + (f", and neither was {' and '.join(earlier)}" if earlier else "")
    return f"{said}{'; not written: ' + ' and '.join(unwritten) if unwritten else ''}."
