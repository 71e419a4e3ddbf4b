"""Convert prompts of the original CoCoOp code (https://github.com/KaiyangZhou/CoOp, trainers/cocoop.py).

Its checkpoints contain the context, `ctx`, the meta-net, and the embeddings of the other tokens in the prompts.
"""

import argparse
from collections.abc import Mapping
from typing import Any

import torch

from hf_prompt_models.convert_context_utils import Tensors, add_conversion_arguments, convert_prompt
from hf_prompt_models.models.cocoop.modeling_cocoop import CoCoOpForImageClassification


FOLDER = "prompt_learner"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments of `hf-prompt convert cocoop`."""
    add_conversion_arguments(parser, FOLDER)


def convert(arguments: argparse.Namespace) -> list[str]:
    """Convert the checkpoint given on the command line, and return the lines to print."""

    def choices(tensors: Tensors) -> dict[str, Any]:
        return {"n_ctx": len(tensors["context"]), "context_init": None}

    return convert_prompt(arguments, CoCoOpForImageClassification, FOLDER, original_names, choices)


def original_names(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Map our names of the trained tensors to those in the file."""
    layers = [f"meta_net.linear{number}.{kind}" for number in (1, 2) for kind in ("weight", "bias")]
    return {"context": "ctx"} | {name: name for name in layers}
