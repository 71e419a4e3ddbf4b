"""Task "visual-grounding", which finds the region of an image that a phrase means."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser, TrainingArguments

from hf_prompt_models.hub.model_card import RunOnCard
from hf_prompt_models.recipe_utils import VisualGroundingRecipe
from hf_prompt_models.tasks.accuracy_tables import accuracy_sections
from hf_prompt_models.tasks.arguments import (
    RunArguments,
    add_backbone_argument,
    add_top_k_argument,
    fields_of,
    run_arguments,
)
from hf_prompt_models.tasks.base import Entries, Task
from hf_prompt_models.tasks.classification.card import run_on_card
from hf_prompt_models.tasks.visual_grounding.arguments import GroundingDataArguments
from hf_prompt_models.tasks.visual_grounding.evaluation import evaluate_grounding, summarise_evaluation
from hf_prompt_models.tasks.visual_grounding.prediction import ground_phrase
from hf_prompt_models.tasks.visual_grounding.run import VisualGroundingRun
from hf_prompt_models.tasks.visual_grounding.summary import summarise_grounding
from hf_prompt_models.utils.boxes import BOX_FORMATS


class VisualGrounding(Task[VisualGroundingRecipe[Any]]):
    """Find the region of an image that a phrase means."""

    name = "visual-grounding"
    does = "grounds phrases"
    kind = "expression"
    page = "hf_prompt_models.app.visual_grounding"
    data_arguments = GroundingDataArguments
    build_sections = staticmethod(accuracy_sections)
    evaluation_examples = ("runs/cpt --test_dir scenes/test",)
    prediction_examples = ('runs/cpt photo.jpg --text "the horse on the left" --box 10 20 90 120 --box 95 30 180 140',)

    def shown_defaults(self, recipe: VisualGroundingRecipe[Any]) -> dict[str, Any]:
        """Return the recipe's defaults that `--help` shows."""
        return recipe.training_defaults(recipe.default_shots)

    def run_arguments(
        self, recipe: VisualGroundingRecipe[Any], parser: HfArgumentParser, given: dict[str, Any]
    ) -> RunArguments:
        """Return the arguments of a run; calls `parser.error` if they do not go together."""
        data = GroundingDataArguments(**fields_of(GroundingDataArguments, given))
        if data.shots < 0:
            parser.error(
                f"expected --shots, the number of training expressions, to be at least 0 (0: all), got {data.shots}"
            )
        defaults = recipe.argument_defaults(fields_of(recipe.arguments_class, given))
        return run_arguments(recipe, given, data, recipe.training_defaults(data.shots), defaults)

    def backbones(self, recipe: VisualGroundingRecipe[Any], arguments: RunArguments) -> list[str | None]:
        """Return the backbones that a run loads."""
        return [arguments.data.backbone]

    def prepare(
        self,
        recipe: VisualGroundingRecipe[Any],
        arguments: RunArguments,
        training: Mapping[int, TrainingArguments],
    ) -> VisualGroundingRun:
        """Read and check the data of a run and compute its baselines."""
        return VisualGroundingRun(recipe, arguments, training)

    def summarise_run(self, results: dict[str, Any], arguments: RunArguments) -> str:
        """Return the text that `hf-prompt train` prints at the end."""
        data, model = arguments.data, next(iter(results["seeds"].values()))["model"]
        again = ["hf-prompt", "evaluate", model, "--test_dir", data.test_dir]
        for flag, value in (
            ("--test_images", data.test_images or data.train_images),
            ("--test_proposals", data.test_proposals or data.train_proposals),
            ("--box_format", None if data.box_format == "xywh" else data.box_format),
        ):
            again += [] if value is None else [flag, value]
        return summarise_grounding(results, model, again)

    def run_on_card(self, results: dict[str, Any], card_task: str, seed: str) -> RunOnCard:
        """Return the part of a seed's model card that describes the run."""
        return run_on_card(results, card_task, seed)

    def add_evaluation_arguments(
        self, parser: argparse.ArgumentParser, recipe: VisualGroundingRecipe[Any] | None
    ) -> None:
        """Add the task's flags of `hf-prompt evaluate`."""
        add_backbone_argument(parser)
        parser.add_argument(
            "--test_images", metavar="DIR", help="folder of the images that --test_dir names, if it is a file"
        )
        parser.add_argument("--test_proposals", metavar="FILE", help="JSON file of candidate regions")
        parser.add_argument(
            "--box_format",
            choices=BOX_FORMATS,
            default="xywh",
            help="format of boxes in files, in pixels: xywh is [x, y, width, height] (default), xyxy is [x1, "
            "y1, x2, y2]",
        )

    def evaluate(
        self,
        directories: Mapping[str, Path],
        recipe: VisualGroundingRecipe[Any] | None,
        arguments: argparse.Namespace,
    ) -> dict[str, Any]:
        """Test saved models and return what `--json` writes."""
        return evaluate_grounding(
            directories,
            arguments.test_dir,
            arguments.test_images,
            arguments.test_proposals,
            arguments.backbone,
            arguments.batch_size or 8,
            arguments.num_workers,
            arguments.predictions,
            arguments.on_unreadable,
            arguments.box_format,
        )

    def summarise_evaluation(self, results: dict[str, Any]) -> str:
        """Return the text that `hf-prompt evaluate` prints."""
        return summarise_evaluation(results)

    def add_prediction_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the task's flags of `hf-prompt predict`."""
        add_backbone_argument(parser)
        add_top_k_argument(parser, "regions")
        parser.add_argument("--text", metavar="PHRASE", help="phrase to find in the image")
        parser.add_argument(
            "--box",
            dest="boxes",
            nargs=4,
            type=float,
            action="append",
            metavar=("X1", "Y1", "X2", "Y2"),
            help="a candidate region in pixels; repeat the flag for several regions",
        )
        parser.add_argument(
            "--box_format",
            choices=BOX_FORMATS,
            default="xyxy",
            help="format of --box: X1 Y1 X2 Y2 for xyxy (default), X Y WIDTH HEIGHT for xywh",
        )
        parser.add_argument(
            "--masks",
            nargs="+",
            metavar="FILE",
            help="candidate regions as one mask image each, whose pixels inside the region are not black; "
            "instead of --box",
        )
        parser.add_argument(
            "--proposals",
            metavar="MODEL",
            help="object-detection or mask-generation model that finds candidate regions; instead of --box",
        )
        parser.add_argument(
            "--drawing",
            metavar="FILE",
            help="image to write with the answer drawn in (default: IMAGE-grounded.png in the current folder)",
        )

    def predict(self, directory: str, arguments: argparse.Namespace) -> Entries | str:
        """Run a saved model on files."""
        if arguments.text is None or len(arguments.files) != 1:
            raise ValueError(
                f"{arguments.model} grounds phrases in an image. Pass one image, and the phrase with --text."
            )
        regions = [arguments.boxes, arguments.masks, arguments.proposals]
        if sum(each is not None for each in regions) != 1:
            raise ValueError(
                "The candidate regions are missing. Pass --box once per region, or --masks, or --proposals."
            )
        image = arguments.files[0]
        drawing = arguments.drawing or f"{Path(image).stem}-grounded.png"
        answers = ground_phrase(
            directory,
            image,
            arguments.text,
            drawing,
            boxes=arguments.boxes,
            masks=arguments.masks,
            proposals=arguments.proposals,
            backbone=arguments.backbone,
            box_format=arguments.box_format,
        )
        if arguments.json:
            return [{"image": image, "predictions": answers}]
        lines = [f"{image}: {arguments.text}; regions as (x1, y1, x2, y2)"]
        for answer in answers[: arguments.top_k]:
            corners = ", ".join(f"{answer['box'][side]:g}" for side in ("xmin", "ymin", "xmax", "ymax"))
            lines.append(f"  {answer['score']:7.2%}  ({corners})")
        return "\n".join([*lines, "", f"The answer is drawn in {drawing}."])


TASK = VisualGrounding()
