"""Test a trained model, or the models of all seeds of a run.

The flags depend on the model's task; `hf-prompt evaluate MODEL --help` shows them.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers.utils import logging

import hf_prompt_models  # noqa: F401  registers the methods with the Auto classes
from hf_prompt_cli.ending import AGAIN, ending
from hf_prompt_cli.for_models import ModelCommand
from hf_prompt_models.recipe_utils import Recipe
from hf_prompt_models.tasks.arguments import add_loading_arguments, add_on_unreadable_argument, output_file
from hf_prompt_models.tasks.base import Task, recipe_of_model, task_of_saved
from hf_prompt_models.training.foreign_checkpoints import check_backbone
from hf_prompt_models.training.run_folder import describe_interrupted, model_directories, predictions_file
from hf_prompt_models.utils.files import write_json


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that all tasks share."""
    parser.add_argument("model", help="model folder, or output folder of a run with several seeds")
    parser.add_argument(
        "--test_dir",
        "--test_file",
        required=True,
        help="data to test on, as for `hf-prompt train`: for labelled images or videos a folder with one "
        "folder per class, or a list; for phrases, products, captions or questions a file",
    )
    parser.add_argument("--json", metavar="FILE", type=output_file, help="also write the metrics to this file")
    parser.add_argument(
        "--predictions",
        metavar="FILE",
        type=output_file,
        help="also write the answer to each test example, from which the metrics can be recomputed: CSV, "
        "or JSONL for generated texts; with several seeds, one file per seed, with the prefix "
        "`seed-<n>.`",
    )
    add_loading_arguments(parser, "100 images, 8 videos or phrases, 16 texts")
    add_on_unreadable_argument(parser)


def add(parser: argparse.ArgumentParser, task: Task[Any], recipe: Recipe[Any] | None) -> None:
    """Add the flags of a task."""
    task.add_evaluation_arguments(parser, recipe)


COMMAND = ModelCommand("hf-prompt evaluate", __doc__.strip(), add_common, add, lambda task: task.evaluation_examples)


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser with the flags of all tasks by the word that calls it."""
    return {"evaluate": COMMAND.parser_of_all()}


def main(argv: Sequence[str]) -> int:
    """Run this command and return its exit code."""
    named = COMMAND.named(argv)
    logging.disable_progress_bar()
    with ending(lambda: f"{named.model} was not changed, and no results were written.", AGAIN):
        evaluate(named, argv)
    return 0


def evaluate(named: argparse.Namespace, argv: Sequence[str]) -> None:
    """Test a model, write the files that the flags name, and print the results.

    Args:
        named: The command line, parsed with the flags of all tasks.
        argv: The command line.
    """
    directories = model_directories(named.model)
    task, config = task_of_saved(next(iter(directories.values())))
    recipe = recipe_of_model(config)
    arguments = COMMAND.parse(argv, named.model, task, recipe)
    if said := describe_interrupted(arguments.model, directories):
        print(said, file=sys.stderr)
    for directory in directories.values():
        check_backbone(directory, vars(arguments).get("backbone"))
    results = task.evaluate(directories, recipe, arguments)
    if arguments.json:
        write_json(arguments.json, results)
    print(task.summarise_evaluation(results))
    if written := written_files(arguments, directories):
        print(f"\nSaved: {', '.join(map(str, written))}")


def written_files(arguments: argparse.Namespace, seeds: Mapping[str, Path]) -> list[Path]:
    """Return the files that a test wrote; with several seeds, each has its own predictions."""
    flags = ("json", "confusion_matrix", "reliability_plot")
    files = [Path(file) for flag in flags if (file := vars(arguments).get(flag)) is not None]
    if arguments.predictions is None:
        return files
    return [*(predictions_file(arguments.predictions, seed, seeds) for seed in seeds), *files]
