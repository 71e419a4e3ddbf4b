"""The command line of training a method that grounds phrases."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import HfArgumentParser, TrainingArguments

from hf_prompt_models.data.grounding.referring_expressions import DEFAULT_SEEDS
from hf_prompt_models.recipe_utils import VisualGroundingRecipe
from hf_prompt_models.tasks.classification.arguments import build_parser, fields_of, parse_given, training_settings
from hf_prompt_models.training.settings import RunOptions, with_laptop_defaults
from hf_prompt_models.utils.boxes import BOX_FORMATS


@dataclass
class GroundingDataArguments:
    """Data and protocol."""

    _argument_group_name = "data and protocol"

    backbone: str = field(metadata={"help": "Hub id or folder of the backbone."})
    train_dir: str = field(
        metadata={
            "aliases": ["--train_annotations"],
            "help": "Phrases to learn from: a folder with annotations.json, proposals.json and the pictures; a JSON "
            "file of annotations (RefCOCO's as CPT or MDETR have them); or a `datasets` data set (`name:split`).",
        }
    )
    test_dir: str = field(metadata={"aliases": ["--test_annotations"], "help": "Phrases to test on, likewise."})
    train_images: str | None = field(
        default=None, metadata={"help": "Folder of the pictures that a JSON file names. Default: the file's own."}
    )
    test_images: str | None = field(default=None, metadata={"help": "Likewise. Default: --train_images."})
    train_proposals: str | None = field(
        default=None,
        metadata={
            "help": 'JSON file of candidate regions, {picture: [{"box": [x, y, width, height], "rle": …}, …]}. '
            "Default: the folder's proposals.json."
        },
    )
    test_proposals: str | None = field(default=None, metadata={"help": "Likewise. Default: --train_proposals."})
    box_format: str = field(
        default="xywh",
        metadata={
            "help": "How files write boxes, in pixels: xywh is [x, y, width, height], xyxy is [x1, y1, x2, y2].",
            "choices": list(BOX_FORMATS),
        },
    )
    shots: int = field(
        default=16, metadata={"help": "Expressions to learn from, in all. 0: all there are (full tuning)."}
    )
    seeds: list[int] = field(
        default_factory=lambda: list(DEFAULT_SEEDS),
        metadata={"help": "One run each: `--seeds 0 1 2`. `--seed n` means `--seeds n`."},
    )
    few_shot_sample: str | None = field(
        default=None, metadata={"help": "A `few_shot.json` of an earlier run: learn from its expressions, draw none."}
    )


@dataclass
class GroundingArguments:
    """What the command line says, with the recipe's settings beneath.

    Attributes:
        method: the method's own arguments.
        data: data and protocol.
        training: keyword arguments for `TrainingArguments`.
        run: what concerns the run itself.
    """

    method: Any
    data: GroundingDataArguments
    training: dict[str, Any]
    run: RunOptions = field(default_factory=RunOptions)


def grounding_parser(recipe: VisualGroundingRecipe[Any], prog: str) -> HfArgumentParser:
    """The parser of a method's command line."""
    return build_parser(recipe, GroundingDataArguments, recipe.training_defaults(recipe.default_shots), prog)


def parse_grounding_arguments(
    recipe: VisualGroundingRecipe[Any], argv: Sequence[str], prog: str
) -> GroundingArguments:
    """Parse a method's command line. An explicit flag always wins over the recipe.

    Exits with a message, as argparse does, if flags are wrong or missing.
    """
    parser = grounding_parser(recipe, prog)
    given = with_laptop_defaults(recipe, parse_given(parser, argv))
    data = GroundingDataArguments(**fields_of(GroundingDataArguments, given))
    if data.shots < 0:
        parser.error(f"--shots is the number of expressions to learn from, or 0 for all; got {data.shots}")
    if len(set(data.seeds)) < len(data.seeds) or not data.seeds:
        parser.error(f"--seeds: name each seed once; got {data.seeds}")
    method = fields_of(recipe.arguments_class, given)
    return GroundingArguments(
        method=recipe.arguments_class(**recipe.argument_defaults(method) | method),
        data=data,
        training=training_settings(recipe.training_defaults(data.shots), fields_of(TrainingArguments, given)),
        run=RunOptions(**fields_of(RunOptions, given)),
    )
