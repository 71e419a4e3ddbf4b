"""Benchmark CoCoOp of this package against CoCoOp as in the released code, both in the same run.

Both implementations use the same random weights in the shapes of CLIP, the same prompts and the same images. The
full-length implementation computes what the released code computes: one image after the other, with a row of 77 tokens
for every class.
"""

import argparse
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch.nn import functional as F

from hf_prompt_models.models.cocoop.modeling_cocoop import CoCoOpForImageClassification

from .measuring import (
    CLIP_SHAPES,
    MIB,
    activation_bytes,
    build_random_clip,
    describe_machine,
    fastest,
    fastest_in_turn,
    markdown_table,
    random_tensor,
    relative_difference,
    transformers_activations,
)
from .text_side import (
    Arm,
    build_random_model,
    full_length_text_features,
    take_gradients,
)
from .text_side import (
    add_arguments as add_shared_arguments,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the benchmark."""
    add_shared_arguments(parser)
    parser.add_argument("--images", type=int, default=100, help="number of test images in one batch (default: 100)")
    parser.add_argument(
        "--measured_images",
        type=int,
        default=2,
        help="number of test images for the full-length implementation, whose time is extrapolated to all test images "
        "(default: 2)",
    )


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Run the benchmark and yield its results as Markdown, part by part."""
    yield f"{describe_machine()} Class names have {arguments.name_length} tokens."
    clip = build_random_clip(CLIP_SHAPES["vit-b-32"])
    size = clip.config.vision_config.image_size
    steps, evaluations = [], []
    for num_classes in arguments.classes:
        model = build_random_model(CoCoOpForImageClassification, clip, num_classes, arguments.name_length)
        steps.append(step_row(model, random_tensor(1, 3, size, size, seed=2), arguments.repeats))
        evaluations.append(evaluation_row(model, random_tensor(arguments.images, 3, size, size, seed=3), arguments))
    header = ["classes", "full-length s", "ours s", "times faster", "full-length MiB", "ours MiB", "times less"]
    header += ["logits differ", "gradients differ"]
    yield (
        (
            "### Training step\n\nOne image, all classes, the gradients of all trained tensors. Memory is what "
            "the forward pass keeps for the backward pass.\n\n"
        )
        + markdown_table(header, steps)
    )
    header = ["classes", "full-length s", "ours s", "times faster", "logits differ"]
    yield (
        (
            f"### Evaluation\n\n{arguments.images} images in one batch. Full length is measured on "
            f"{arguments.measured_images} of them and multiplied by "
            f"{arguments.images / arguments.measured_images:g}.\n\n"
        )
        + markdown_table(header, evaluations)
    )


def step_row(model: CoCoOpForImageClassification, pixels: torch.Tensor, repeats: int) -> list[str]:
    """Measure a training step and return the row of the table."""
    labels, arms = torch.zeros(len(pixels), dtype=torch.long), (full_length_logits, logits)
    (theirs, expected), (ours, result) = fastest_in_turn(
        [partial(logits_and_gradients, arm, model, pixels, labels) for arm in arms], repeats
    )
    their_kept, kept = (activation_bytes(partial(arm, model, pixels), list(model.parameters())) for arm in arms)
    cells = [str(model.config.num_labels), f"{theirs:.2f}", f"{ours:.3f}", f"{theirs / ours:.1f}"]
    cells += [f"{their_kept / MIB:.0f}", f"{kept / MIB:.0f}", f"{their_kept / kept:.1f}"]
    return [*cells, *map(relative_difference, result, expected)]


@torch.no_grad()
def evaluation_row(
    model: CoCoOpForImageClassification, pixels: torch.Tensor, arguments: argparse.Namespace
) -> list[str]:
    """Measure the evaluation of a batch and return the row of the table."""
    measured = pixels[: arguments.measured_images]
    theirs, expected = fastest(partial(full_length_logits, model, measured), 1)
    theirs *= len(pixels) / len(measured)
    ours, result = fastest(partial(logits, model, pixels), arguments.repeats)
    difference = relative_difference(result[: len(measured)], expected)
    return [str(model.config.num_labels), f"{theirs:.1f}", f"{ours:.2f}", f"{theirs / ours:.1f}", difference]


# -- the two implementations -----------------------------------------------------------------------------------------


def logits(model: CoCoOpForImageClassification, pixels: torch.Tensor) -> torch.Tensor:
    """Return the logits of our implementation."""
    return model(pixel_values=pixels).logits


def full_length_logits(model: CoCoOpForImageClassification, pixels: torch.Tensor) -> torch.Tensor:
    """Return the logits of the full-length implementation."""
    with torch.no_grad(), transformers_activations(model.clip):
        images = F.normalize(model.clip.get_image_features(pixel_values=pixels).pooler_output, dim=-1)
    rows = []
    for image in images:
        context = model.prompt_learner.context + model.prompt_learner.meta_net(image)
        rows.append(model.clip.logit_scale.exp() * image @ full_length_text_features(model, context).T)
    return torch.stack(rows)


def logits_and_gradients(
    arm: Arm, model: CoCoOpForImageClassification, pixels: torch.Tensor, labels: torch.Tensor
) -> Sequence[torch.Tensor]:
    """Return the logits and the concatenated gradients of all trained tensors."""
    result = arm(model, pixels)
    F.cross_entropy(result, labels).backward()
    return result.detach(), take_gradients(model)
