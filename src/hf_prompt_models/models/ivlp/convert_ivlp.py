"""Prompts of the original IVLP and VPT code (MaPLe's repository, `trainers/independentVL.py` and `vpt.py`).

Its checkpoints hold the whole CLIP with the prompts among its layers, of VPT without those of the text tower, in a
folder named `prompt_learner`.
"""

import argparse
from collections.abc import Mapping
from typing import Any

import torch

from hf_prompt_models.convert_context_utils import (
    Tensors,
    add_conversion_arguments,
    convert_prompt,
    deep_prompt_names,
)
from hf_prompt_models.models.ivlp.modeling_ivlp import IVLPForImageClassification


FOLDER = "VLPromptLearner"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `hf-prompt convert ivlp`."""
    add_conversion_arguments(parser, FOLDER)


def convert(arguments: argparse.Namespace) -> list[str]:
    """Convert what the command line names, and return the lines to print."""

    def choices(tensors: Tensors) -> dict[str, Any]:
        return {
            "n_ctx": len(tensors.get("context", [0])),
            "text_depth": ("context" in tensors) + len(tensors.get("deep_context", [])),
            "n_vision_ctx": len(tensors.get("vision_context", [0])),
            "vision_depth": ("vision_context" in tensors) + len(tensors.get("deep_vision_context", [])),
        }

    return convert_prompt(arguments, IVLPForImageClassification, FOLDER, original_names, choices)


def original_names(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return the file's names of the trained tensors, by ours."""
    return deep_prompt_names(state)
