"""Convert representation tokens of the original MMRL code (https://github.com/yunncheng/MMRL, trainers/mmrl.py).

Its checkpoints contain the tokens and their projections under `representation_learner.`, the projection of their
outputs as `image_encoder.proj_rep`, and the complete CLIP.
"""

import argparse
from collections.abc import Mapping
from typing import Any

import torch

from hf_prompt_models.convert_context_utils import (
    Tensors,
    add_conversion_arguments,
    add_teacher_argument,
    convert_prompt,
    layers_of,
)
from hf_prompt_models.models.mmrl.modeling_mmrl import MMRLForImageClassification


FOLDER = "MultiModalRepresentationLearner"
LEARNER, PROJECTION = "representation_learner.", "image_encoder.proj_rep"
TRANSPOSED = ("representation_projection.weight",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments of `hf-prompt convert mmrl`."""
    add_conversion_arguments(parser, FOLDER)
    add_teacher_argument(parser, "a photo of a {}.")
    parser.add_argument(
        "--alpha", type=float, default=0.7, help="weight of the logits of the class token (default: 0.7)"
    )
    parser.add_argument(
        "--first_layer", type=int, default=5, help="first layer with representation tokens, from 0 (default: 5)"
    )


def convert(arguments: argparse.Namespace) -> list[str]:
    """Convert the checkpoint given on the command line, and return the lines to print."""

    def choices(tensors: Tensors) -> dict[str, Any]:
        n_rep, rep_dim = tensors["representation"].shape
        chosen = {"alpha": arguments.alpha, "first_layer": arguments.first_layer, "templates": arguments.templates}
        return {"n_rep": n_rep, "rep_dim": rep_dim, **chosen}

    return convert_prompt(arguments, MMRLForImageClassification, FOLDER, original_names, choices, TRANSPOSED)


def original_names(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Map our names of the trained tensors to those in the file."""
    names = {"representation": f"{LEARNER}compound_rep_tokens", "representation_projection.weight": PROJECTION}
    for ours, theirs in (("text", "r2tproj"), ("vision", "r2vproj")):
        before = f"{LEARNER}compound_rep_tokens_{theirs}."
        for layer in layers_of(state, before, ".weight"):
            for kind in ("weight", "bias"):
                names[f"{ours}_projections.{layer}.{kind}"] = f"{before}{layer}.{kind}"
    return names
