"""Convert prompts of the original PromptSRC code (https://github.com/muzairkhattak/PromptSRC, trainers/promptsrc.py).

Its checkpoints contain the complete CLIP with the prompts in its layers, and a second image tower for the teacher. The
last checkpoint contains the average over the epochs. The original code also averages CLIP's own weights, rounded to
fp16, so its logits differ slightly from those of the converted prompts with the published backbone.
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
    deep_prompt_names,
)
from hf_prompt_models.models.promptsrc.modeling_promptsrc import PromptSRCForImageClassification


FOLDER = "VLPromptLearner"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments of `hf-prompt convert promptsrc`."""
    add_conversion_arguments(parser, FOLDER)
    add_teacher_argument(parser, "the 60 of the released code")


def convert(arguments: argparse.Namespace) -> list[str]:
    """Convert the checkpoint given on the command line, and return the lines to print."""

    def choices(tensors: Tensors) -> dict[str, Any]:
        return {
            "n_ctx": len(tensors["context"]),
            "prompt_depth": 1 + len(tensors.get("deep_context", [])),
            "templates": arguments.templates,
        }

    return convert_prompt(arguments, PromptSRCForImageClassification, FOLDER, original_names, choices)


def original_names(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Map our names of the trained tensors to those in the file."""
    return deep_prompt_names(state)
