"""Convert prompts of the original KgCoOp code (https://github.com/htyao89/KgCoOp, trainers/kgcoop.py).

Only `ctx` is read from its checkpoints, because `bias_vectors` and `meta_net` are not used in the forward pass.
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
from hf_prompt_models.models.kgcoop.modeling_kgcoop import KgCoOpForImageClassification


FOLDER = "prompt_learner"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments of `hf-prompt convert kgcoop`."""
    add_conversion_arguments(parser, FOLDER)
    add_teacher_argument(parser, "a photo of a {}.")


def convert(arguments: argparse.Namespace) -> list[str]:
    """Convert the checkpoint given on the command line, and return the lines to print."""

    def choices(tensors: Tensors) -> dict[str, Any]:
        return {"n_ctx": len(tensors["context"]), "context_init": None, "templates": arguments.templates}

    return convert_prompt(arguments, KgCoOpForImageClassification, FOLDER, original_names, choices)


def original_names(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Map our names of the trained tensors to those in the file."""
    return {"context": "ctx"}
