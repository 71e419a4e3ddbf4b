"""Task "image-text-to-text", which generates text about images."""

import argparse
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser, TrainingArguments

from hf_prompt_models.hub.model_card import RunOnCard
from hf_prompt_models.recipe_utils import TextGenerationRecipe
from hf_prompt_models.tasks.arguments import (
    RunArguments,
    add_backbone_argument,
    fields_of,
    run_arguments,
)
from hf_prompt_models.tasks.base import Entries, Task
from hf_prompt_models.tasks.text_generation.arguments import (
    TextGenerationArguments,
    add_decoding_arguments,
    check_data,
    given_decoding,
)
from hf_prompt_models.tasks.text_generation.card import generation_on_card
from hf_prompt_models.tasks.text_generation.evaluation import evaluate_generation, summarise_generation_evaluation
from hf_prompt_models.tasks.text_generation.prediction import generate_about
from hf_prompt_models.tasks.text_generation.run import TextGenerationRun, backbones
from hf_prompt_models.tasks.text_generation.summary import build_sections, summarise_generation


class TextGeneration(Task[TextGenerationRecipe[Any]]):
    """Generate text about images."""

    name = "image-text-to-text"
    does = "generates text"
    kind = "example"
    data_arguments = TextGenerationArguments
    build_sections = staticmethod(build_sections)
    page = "hf_prompt_models.app.product_description"
    needs_files = False
    evaluation_examples = ("runs/mantis --test_file products.jsonl --num_beams 1",)
    prediction_examples = ('runs/mantis --image front.jpg --image back.jpg --title "a mug" --num_beams 4',)

    def shown_defaults(self, recipe: TextGenerationRecipe[Any]) -> dict[str, Any]:
        """Return the recipe's defaults that `--help` shows."""
        return {**recipe.training_defaults(), **recipe.decoding}

    def run_arguments(
        self, recipe: TextGenerationRecipe[Any], parser: HfArgumentParser, given: dict[str, Any]
    ) -> RunArguments:
        """Return the arguments of a run; calls `parser.error` if they do not go together."""
        data = TextGenerationArguments(**{**recipe.decoding, **fields_of(TextGenerationArguments, given)})
        check_data(parser, data)
        settings = recipe.training_defaults() | {
            "eval_strategy": "epoch" if data.holds_out() else "no",
            "prediction_loss_only": True,  # the logits of a complete vocabulary need too much memory
        }
        arguments = run_arguments(recipe, given, data, settings, {})
        if arguments.training["eval_strategy"] != "no" and not data.holds_out():
            parser.error(
                "the data to evaluate on during training is missing: pass --validation_file, or set "
                "--validation_fraction"
            )
        return arguments

    def backbones(self, recipe: TextGenerationRecipe[Any], arguments: RunArguments) -> list[str | None]:
        """Return the backbones that a run loads."""
        return list(backbones(arguments.data, recipe))

    def prepare(
        self,
        recipe: TextGenerationRecipe[Any],
        arguments: RunArguments,
        training: Mapping[int, TrainingArguments],
    ) -> TextGenerationRun:
        """Read and check the data of a run and compute its baselines."""
        return TextGenerationRun(recipe, arguments, training)

    def summarise_run(self, results: dict[str, Any], arguments: RunArguments) -> str:
        """Return the text that `hf-prompt train` prints at the end."""
        return summarise_generation(results)

    def run_on_card(self, results: dict[str, Any], card_task: str, seed: str) -> RunOnCard:
        """Return the part of a seed's model card that describes the run."""
        return generation_on_card(results, card_task, seed)

    def add_evaluation_arguments(
        self, parser: argparse.ArgumentParser, recipe: TextGenerationRecipe[Any] | None
    ) -> None:
        """Add the task's flags of `hf-prompt evaluate`."""
        add_backbone_argument(parser)
        parser.add_argument("--test_images", metavar="DIR", help="folder of the images that --test_file names")
        parser.add_argument("--test_annotations", metavar="FILE", help="file with the answers to VQA's questions")
        parser.add_argument("--blind", action="store_true", help="replace the images with black ones")
        if recipe is not None:
            add_testing_arguments(parser, recipe)
        add_model_arguments(parser)

    def evaluate(
        self,
        directories: Mapping[str, Path],
        recipe: TextGenerationRecipe[Any] | None,
        arguments: argparse.Namespace,
    ) -> dict[str, Any]:
        """Test saved models and return what `--json` writes."""
        assert recipe is not None  # each of these methods is trained
        given = vars(arguments)
        settings = {name: given[name] for name in recipe.testing_arguments if given[name] is not None}
        if arguments.blind:
            settings["blind"] = True
        shots = None
        if given.get("shots_file") is not None:
            shots = (arguments.shots_file, arguments.shots_images, arguments.shots_annotations)
        return evaluate_generation(
            directories,
            recipe,
            arguments.test_dir,
            arguments.test_images,
            arguments.test_annotations,
            shots,
            settings,
            given_decoding(arguments),
            arguments.predictions,
            arguments.on_unreadable,
            arguments.batch_size or 16,
            arguments.num_workers,
            language_model=arguments.backbone,
            **given_loading(arguments),
        )

    def summarise_evaluation(self, results: dict[str, Any]) -> str:
        """Return the text that `hf-prompt evaluate` prints."""
        return summarise_generation_evaluation(results)

    def add_prediction_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the task's flags of `hf-prompt predict`."""
        add_backbone_argument(parser)
        parser.add_argument(
            "--image",
            dest="images",
            action="append",
            metavar="FILE",
            help="an image; repeat the flag for several images",
        )
        parser.add_argument(
            "--title",
            metavar="TEXT",
            help="the product title, or the question; <image> marks the place of an image",
        )
        parser.add_argument(
            "--num_return_sequences", type=int, default=1, help="number of texts to generate (default: 1)"
        )
        parser.add_argument("--blind", action="store_true", help="replace the images with black ones")
        add_model_arguments(parser)

    def predict(self, directory: str, arguments: argparse.Namespace) -> Entries | str:
        """Run a saved model on files."""
        images = [*arguments.files, *(arguments.images or [])]
        if not images and not arguments.title:
            raise ValueError(
                f"{arguments.model} generates text about images, but no image was passed. Pass --image FILE, "
                "and a --title if there is one."
            )
        if arguments.num_return_sequences < 1:
            raise ValueError(
                f"Expected --num_return_sequences to be at least 1, got {arguments.num_return_sequences}."
            )
        texts = generate_about(
            directory,
            images,
            arguments.title or "",
            given_decoding(arguments),
            arguments.num_return_sequences,
            arguments.blind,
            language_model=arguments.backbone,
            **given_loading(arguments),
        )
        if arguments.json:
            return [{"images": images, "title": arguments.title, "generated": texts}]
        return "\n".join(texts)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add flags for loading the language model and for decoding."""
    parser.add_argument(
        "--dtype", choices=["float32", "bfloat16", "float16"], help="data type of the language model's weights"
    )
    parser.add_argument(
        "--device_map",
        help="placement of the language model on devices, as in transformers; auto distributes it with accelerate",
    )
    add_decoding_arguments(parser)


def add_testing_arguments(parser: argparse.ArgumentParser, recipe: TextGenerationRecipe[Any]) -> None:
    """Add the flags of a method that define how it is tested, and those for the examples before questions."""
    for each in fields(recipe.arguments_class):
        if each.name in recipe.testing_arguments:
            kind = int if each.type is int else str
            parser.add_argument(f"--{each.name}", type=kind, help=each.metadata["help"])
    if "shots" in recipe.testing_arguments:
        parser.add_argument(
            "--shots_file", metavar="FILE", help="VQA: file of questions from which the examples are sampled"
        )
        parser.add_argument("--shots_images", metavar="DIR", help="folder of the images that --shots_file names")
        parser.add_argument(
            "--shots_annotations", metavar="FILE", help="file with the answers to the questions of --shots_file"
        )


def given_loading(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments for loading the language model that are given."""
    return {name: getattr(arguments, name) for name in ("dtype", "device_map") if getattr(arguments, name)}


TASK = TextGeneration()
