"""Flags for the data and the protocol of visual grounding."""

from dataclasses import dataclass, field

from hf_prompt_models.data.grounding.referring_expressions import DEFAULT_SEEDS
from hf_prompt_models.utils.boxes import BOX_FORMATS


@dataclass
class GroundingDataArguments:
    """Arguments for the data and the protocol of visual grounding."""

    _argument_group_name = "data and protocol"

    backbone: str = field(
        metadata={
            "help": "Hub id or folder of the backbone; `playground`: the tiny model that ships with the package."
        }
    )
    train_dir: str = field(
        metadata={
            "aliases": ["--train_annotations"],
            "help": "Phrases to train on: a folder with annotations.json, proposals.json and the images; a JSON "
            "file of annotations (RefCOCO in CPT's or MDETR's format); or a Hugging Face dataset "
            "(`name:split`).",
        }
    )
    test_dir: str = field(
        metadata={"aliases": ["--test_annotations"], "help": "Phrases to test on, in the same formats as --train_dir."}
    )
    train_images: str | None = field(
        default=None,
        metadata={
            "help": "Folder of the images that --train_dir names, if it is a JSON file. Default: the file's folder."
        },
    )
    test_images: str | None = field(
        default=None,
        metadata={
            "help": "Folder of the images that --test_dir names, if it is a JSON file. Default: --train_images."
        },
    )
    train_proposals: str | None = field(
        default=None,
        metadata={
            "help": 'JSON file of candidate regions, {image: [{"box": [x, y, width, height], "rle": …}, …]}. '
            "Default: the folder's proposals.json."
        },
    )
    test_proposals: str | None = field(
        default=None, metadata={"help": "JSON file of candidate regions for --test_dir. Default: --train_proposals."}
    )
    box_format: str = field(
        default="xywh",
        metadata={
            "help": "Format of boxes in files, in pixels: xywh is [x, y, width, height], xyxy is [x1, y1, x2, y2].",
            "choices": list(BOX_FORMATS),
        },
    )
    shots: int = field(default=16, metadata={"help": "Total number of expressions to train on. 0: all (full tuning)."})
    seeds: list[int] = field(
        default_factory=lambda: list(DEFAULT_SEEDS),
        metadata={
            "help": "Seeds, with one training run per seed, such as `--seeds 0 1 2`. `--seed n` means `--seeds n`."
        },
    )
    few_shot_sample: str | None = field(
        default=None,
        metadata={
            "help": "The `few_shot.json` of an earlier run: train on its expressions instead of sampling new ones."
        },
    )
