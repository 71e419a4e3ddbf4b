"""Convert prompts of the original ProGrad code (https://github.com/BeierZhu/Prompt-align, trainers/prograd.py).

Its checkpoints contain the context, `ctx`, and the embeddings of the other tokens in the prompts.
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
)
from hf_prompt_models.models.prograd.modeling_prograd import ProGradForImageClassification


FOLDER = "prompt_learner"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments of `hf-prompt convert prograd`."""
    add_conversion_arguments(parser, FOLDER)
    add_teacher_argument(parser, "a photo of a {}.")


def convert(arguments: argparse.Namespace) -> list[str]:
    """Convert the checkpoint given on the command line, and return the lines to print."""

    def choices(tensors: Tensors) -> dict[str, Any]:
        return {"n_ctx": len(tensors["context"]), "templates": arguments.templates}

    return convert_prompt(arguments, ProGradForImageClassification, FOLDER, original_names, choices)


def original_names(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Map our names of the trained tensors to those in the file."""
    return {"context": "ctx"}
