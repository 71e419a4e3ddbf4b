"""Convert prompts of the original MaPLe code.

The code is `trainers/maple.py` of https://github.com/muzairkhattak/multimodal-prompt-learning. Its checkpoints contain
the prompts and their projections under `prompt_learner.`, and the complete CLIP.
"""

import argparse
from collections.abc import Mapping
from typing import Any

import torch

from hf_prompt_models.convert_context_utils import (
    PREFIX,
    Tensors,
    add_conversion_arguments,
    convert_prompt,
    layers_of,
)
from hf_prompt_models.models.maple.modeling_maple import MaPLeForImageClassification


FOLDER = "MultiModalPromptLearner"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments of `hf-prompt convert maple`."""
    add_conversion_arguments(parser, FOLDER)


def convert(arguments: argparse.Namespace) -> list[str]:
    """Convert the checkpoint given on the command line, and return the lines to print."""

    def choices(tensors: Tensors) -> dict[str, Any]:
        return {"n_ctx": len(tensors["context"]), "prompt_depth": 1 + len(tensors.get("deep_context", []))}

    return convert_prompt(arguments, MaPLeForImageClassification, FOLDER, original_names, choices)


def original_names(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Map our names of the trained tensors to those in the file."""
    names = {"context": f"{PREFIX}ctx"}
    names |= {f"projections.0.{kind}": f"{PREFIX}proj.{kind}" for kind in ("weight", "bias")}
    for layer in layers_of(state, f"{PREFIX}compound_prompts_text."):
        names[f"deep_context/{layer}"] = f"{PREFIX}compound_prompts_text.{layer}"
        for kind in ("weight", "bias"):
            names[f"projections.{layer + 1}.{kind}"] = f"{PREFIX}compound_prompt_projections.{layer}.{kind}"
    return names
