"""Benchmark visual grounding against one forward pass per region and phrase, as in the original code, in the same run.

The table shows expressions per second, from images to scores, for three implementations: `ViltForMaskedLM` on one
painted copy after the other, in one colour; the processor and the model of this package in one colour, with all copies
of an expression in one batch; and the same in several colours, which needs fewer copies. All have the same weights and
images and run alternately. The table also shows how much the scores in one colour differ. Without --backbone, the
weights are random, in the shapes of dandelin/vilt-b32-mlm.
"""

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    BertTokenizer,
    PreTrainedModel,
    ViltConfig,
    ViltForMaskedLM,
    ViltImageProcessorPil,
)

from hf_prompt_models.models.cpt.configuration_cpt import CptConfig
from hf_prompt_models.models.cpt.modeling_cpt import CptForVisualGrounding
from hf_prompt_models.models.cpt.processing_cpt import CptProcessor
from hf_prompt_models.models.cpt.processing_cpt_base import single_piece
from hf_prompt_models.prompts.colors import SEARCHED_COLORS, PixelBox, clip_boxes, paint_regions

from .measuring import describe_machine, fastest_in_turn, markdown_table, relative_difference


PHRASE = "the horse on the left watched by the woman"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the benchmark."""
    parser.add_argument("--backbone", metavar="DIR", help="folder or Hub id of a ViLT (default: random weights)")
    parser.add_argument(
        "--regions", type=int, nargs="+", default=[10, 50], help="numbers of regions per image (default: 10 50)"
    )
    parser.add_argument(
        "--colors",
        type=int,
        default=6,
        help="number of colours per painted copy (default: 6, all colours found by CPT's colour search)",
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=[640, 480],
        help="width and height of the image in pixels (default: 640 480)",
    )
    parser.add_argument(
        "--repeats", type=int, default=1, help="number of timed rounds; the fastest is reported (default: 1)"
    )


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Run the benchmark and yield its results as Markdown, part by part.

    Raises:
        ValueError: if a number is out of range.
    """
    if not 1 <= arguments.colors <= len(SEARCHED_COLORS):
        raise ValueError(f"Expected --colors from 1 to {len(SEARCHED_COLORS)}, got {arguments.colors}.")
    for name in ("regions", "size", "repeats"):
        if min(np.atleast_1d(getattr(arguments, name))) < 1:
            raise ValueError(f"Expected --{name} to be at least 1, got {getattr(arguments, name)}.")
    yield describe_machine()
    yield grounding_table(arguments)


@torch.no_grad()
def grounding_table(arguments: argparse.Namespace) -> str:
    """Measure the three implementations and return the table."""
    tower, image_processor, tokenizer = load_parts(arguments.backbone)
    model = CptForVisualGrounding(CptConfig(tower_config=tower.config.to_dict()), backbone=tower).eval()
    length = tower.config.max_position_embeddings
    single, several = (
        CptProcessor(
            image_processor, tokenizer, mode=mode, colors=SEARCHED_COLORS[: arguments.colors], max_length=length
        )
        for mode in ("single_color", "multi_color")
    )
    image = noise(*arguments.size)
    rows = []
    for count in arguments.regions:
        boxes = random_boxes(count, image.size)

        def one_by_one(boxes: list[PixelBox] = boxes) -> torch.Tensor:
            return own_scores(tower, image_processor, tokenizer, image, boxes)

        def in_one_color(boxes: list[PixelBox] = boxes) -> torch.Tensor:
            return model(**single(image, PHRASE, boxes)).proposal_logits[0]

        def in_several_colors(boxes: list[PixelBox] = boxes) -> torch.Tensor:
            return model(**several(image, PHRASE, boxes)).proposal_logits[0]

        timed = fastest_in_turn([one_by_one, in_one_color, in_several_colors], arguments.repeats)
        (slow, expected), (batched, found), (fast, _) = timed
        rows.append(
            [
                str(count),
                f"{1 / slow:.3f}",
                f"{1 / batched:.3f}",
                f"{1 / fast:.3f}",
                f"{slow / batched:.1f} x",
                f"{slow / fast:.1f} x",
                relative_difference(found, expected),
            ]
        )
    header = ["regions", "one by one", "one colour", f"{arguments.colors} colours", "gain", "gain", "difference"]
    return (
        "Expressions per second: one forward pass per region and phrase; all copies in one batch with one "
        "colour, and with several; the speedup of each, and how much scores with one colour "
        f"differ.\n\n{markdown_table(header, rows)}"
    )


def load_parts(backbone: str | None) -> tuple[PreTrainedModel, ViltImageProcessorPil, BertTokenizer]:
    """Load the model, the image processor and the tokenizer of a ViLT, or build them with random weights.

    Raises:
        ValueError: if the backbone is not a ViLT.
    """
    if backbone is not None:
        tower = CptForVisualGrounding.load_backbone(backbone)
        if not isinstance(tower, ViltForMaskedLM):
            raise ValueError(f"Expected a ViLT as --backbone, got {backbone!r}, a {type(tower).__name__}.")
        image_processor = AutoImageProcessor.from_pretrained(backbone, backend="pil")
        return tower.eval(), image_processor, AutoTokenizer.from_pretrained(backbone)
    torch.manual_seed(0)
    words = sorted({*PHRASE.split(), *(name for name, _ in SEARCHED_COLORS), "none", "is", "in", "color", "."})
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    tokenizer = BertTokenizer(vocab={token: index for index, token in enumerate(tokens)})
    return ViltForMaskedLM(ViltConfig()).eval(), ViltImageProcessorPil(), tokenizer


def own_scores(
    tower: PreTrainedModel,
    image_processor: ViltImageProcessorPil,
    tokenizer: BertTokenizer,
    image: Image.Image,
    boxes: list[PixelBox],
) -> torch.Tensor:
    """Return the log-odds of the first colour, with one forward pass of the ViLT per region."""
    (name, rgb), *_ = SEARCHED_COLORS
    text = tokenizer(f"{PHRASE} is in {tokenizer.mask_token} color.", return_tensors="pt")
    place = text["input_ids"][0].tolist().index(tokenizer.mask_token_id)
    red, none = single_piece(name, tokenizer), single_piece("none", tokenizer)
    scores = []
    for box in boxes:
        pixels = image_processor(paint_regions(image, [box], [rgb]), return_tensors="pt")
        logits = tower(**text, **pixels).logits[0, place]
        scores.append(logits[red] - logits[none])
    return torch.stack(scores)


def noise(width: int, height: int) -> Image.Image:
    """Return an image of random pixels."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def random_boxes(count: int, size: tuple[int, int]) -> list[PixelBox]:
    """Sample boxes with a quarter of the width and height of the image."""
    corners = np.random.default_rng(count).uniform(0, 0.75, (count, 2)) * size
    sides = np.maximum(np.array(size) / 4, 1)
    return clip_boxes(np.concatenate([corners, corners + sides], axis=1).tolist(), size)
