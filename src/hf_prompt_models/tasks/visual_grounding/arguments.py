"""Flags for the data and the protocol of visual grounding."""

from dataclasses import dataclass, field

from hf_prompt_models.data.grounding.referring_expressions import DEFAULT_SEEDS
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
