"""Convert prompts of the original IVLP and VPT code (MaPLe's repository, `trainers/independentVL.py` and `vpt.py`).

Its checkpoints contain the complete CLIP with the prompts in its layers. Those of VPT have no prompts in the text
tower and are in a folder named `prompt_learner`.
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
    """Add the command-line arguments of `hf-prompt convert ivlp`."""
    add_conversion_arguments(parser, FOLDER)


def convert(arguments: argparse.Namespace) -> list[str]:
    """Convert the checkpoint given on the command line, and return the lines to print."""

    def choices(tensors: Tensors) -> dict[str, Any]:
        return {
            "n_ctx": len(tensors.get("context", [0])),
            "text_depth": ("context" in tensors) + len(tensors.get("deep_context", [])),
            "n_vision_ctx": len(tensors.get("vision_context", [0])),
            "vision_depth": ("vision_context" in tensors) + len(tensors.get("deep_vision_context", [])),
        }

    return convert_prompt(arguments, IVLPForImageClassification, FOLDER, original_names, choices)


def original_names(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Map our names of the trained tensors to those in the file."""
    return deep_prompt_names(state)
