"""Convert prompts of the original TCP code (htyao89/Textual-based_Class-aware_prompt_tuning, `trainers/tcp.py`).

Its checkpoints contain the context, `ctx`, the network that makes the class tokens, and the embeddings of the other
tokens in the prompts. They do not contain the layer of the class tokens, which is 8 in the original code.
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
from hf_prompt_models.models.tcp.modeling_tcp import TCPForImageClassification


FOLDER = "prompt_learner"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments of `hf-prompt convert tcp`."""
    add_conversion_arguments(parser, FOLDER)
    add_teacher_argument(parser, "a photo of a {}.")
    parser.add_argument(
        "--prompt_template", default="{}.", help="text after the context, with {} for the class name (default: {}.)"
    )
    parser.add_argument(
        "--class_token_layer",
        type=int,
        default=8,
        help="layer of the text encoder, from 0, at which the class tokens replace the context (default: 8)",
    )


def convert(arguments: argparse.Namespace) -> list[str]:
    """Convert the checkpoint given on the command line, and return the lines to print."""

    def choices(tensors: Tensors) -> dict[str, Any]:
        return {
            "n_ctx": len(tensors["context"]),
            "templates": arguments.templates,
            "prompt_template": arguments.prompt_template,
            "class_token_layer": arguments.class_token_layer,
        }

    return convert_prompt(arguments, TCPForImageClassification, FOLDER, original_names, choices)


def original_names(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Map our names of the trained tensors to those in the file."""
    layers = [f"meta_net.linear{number}.{kind}" for number in (1, 2) for kind in ("weight", "bias")]
    return {"context": "ctx"} | {name: name for name in layers}
