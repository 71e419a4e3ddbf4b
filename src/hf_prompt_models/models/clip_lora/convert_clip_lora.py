"""Convert updates of the original CLIP-LoRA code (https://github.com/MaxZanella/CLIP-LoRA, `loralib/utils.py`).

A file holds the matrices of each attention layer, of the text encoder first, and the settings of the run. It does not
hold class names, templates or the dropout, which matters in training only.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hf_prompt_models.checkpoints.torch_checkpoints import read_torch_checkpoint
from hf_prompt_models.data.class_names_file import read_class_names
from hf_prompt_models.models.clip_lora.low_rank_clip_lora import PROJECTIONS
from hf_prompt_models.models.clip_lora.modeling_clip_lora import ClipLoraForImageClassification


ENCODERS = ("vision", "text", "both")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments of `hf-prompt convert clip_lora`."""
    parser.add_argument(
        "--checkpoint", required=True, help="lora_weights.pt of the original code, or another name that it was given"
    )
    parser.add_argument(
        "--backbone", required=True, help="Hub id or folder of the CLIP that the updates were trained for"
    )
    parser.add_argument(
        "--class_names",
        required=True,
        metavar="FILE",
        help="text file with one class name per line, in the order of the labels",
    )
    parser.add_argument("--output_dir", required=True, help="folder to save the converted checkpoint to")
    parser.add_argument(
        "--templates",
        nargs="+",
        metavar="TEMPLATE",
        help="hand-written prompts of the run, such as 'a photo of a {}, a type of pet.' (default: a photo of a {}.)",
    )


def convert(arguments: argparse.Namespace) -> list[str]:
    """Convert the file given on the command line, and return the lines to print."""
    names = read_class_names(arguments.class_names)
    model, report = convert_from_original(arguments.checkpoint, arguments.backbone, names, arguments.templates)
    model.save_pretrained(arguments.output_dir)
    return [*report, f"  classes: {len(names)}, from {arguments.class_names}", f"wrote {arguments.output_dir}"]


def convert_from_original(
    checkpoint: str | os.PathLike,
    backbone: str | os.PathLike,
    class_names: Sequence[str],
    templates: Sequence[str] | None = None,
) -> tuple[ClipLoraForImageClassification, list[str]]:
    """Convert updates of the original code to a model of this package.

    No code from the file is executed.

    Args:
        checkpoint: path of the file.
        backbone: Hub id or folder of the CLIP that the updates were trained for.
        class_names: class names, in the order of the labels.
        templates: hand-written prompts of the run. Default: "a photo of a {}.".

    Returns:
        The model, and lines that report what was read.

    Raises:
        OSError: if there is no such file or backbone.
        ValueError: if the file is not of the original code, or its updates are not those of `q`, `k` and `v` in all
            layers of this backbone.
    """
    layers, settings = _read(checkpoint)
    model = ClipLoraForImageClassification.from_backbone(
        backbone,
        class_names,
        templates,
        encoder=settings["encoder"],
        rank=settings["r"],
        lora_alpha=settings["alpha"],
    )
    depths = " and ".join(
        f"{len(getattr(model.low_rank, tower))} {tower.removesuffix('_model')}" for tower in model.config.towers
    )
    own = [updates for tower in model.config.towers for updates in getattr(model.low_rank, tower)]
    if set(layers) != {f"layer_{index}" for index in range(len(own))}:
        raise ValueError(
            f"Expected {checkpoint} to hold updates of {depths} layers, as encoder {settings['encoder']!r} of "
            f"{str(backbone)!r} has, got {len(layers)} layers. Pass the backbone that the updates were trained for."
        )
    with torch.no_grad():
        for index, updates in enumerate(own):
            for each in PROJECTIONS:
                for matrix in ("A", "B"):
                    parameter = updates[each].get_parameter(matrix)
                    tensor = layers[f"layer_{index}"].get(f"{each}_proj", {}).get(f"w_lora_{matrix}")
                    name = f"layer_{index}, {each}_proj, w_lora_{matrix} of {checkpoint}"
                    if not isinstance(tensor, torch.Tensor) or tensor.shape != parameter.shape:
                        found = tuple(tensor.shape) if isinstance(tensor, torch.Tensor) else "missing"
                        raise ValueError(
                            f"Expected {name} to be {tuple(parameter.shape)}, as for rank {settings['r']} and "
                            f"{str(backbone)!r}, got {found}. Pass the backbone that the updates were trained for."
                        )
                    if not tensor.is_floating_point() or not tensor.isfinite().all():
                        raise ValueError(f"Expected {name} to hold finite floating-point numbers.")
                    parameter.copy_(tensor)
    return model, [
        f"read {checkpoint}",
        f"  updates: {depths} layers, rank {settings['r']}, alpha {settings['alpha']:g}",
        f"  templates: {', '.join(model.config.templates or ())}",
    ]


def _read(checkpoint: str | os.PathLike) -> tuple[dict[str, dict[str, dict[str, Any]]], dict[str, Any]]:
    """Return the matrices by layer and projection, and the settings."""
    file = Path(checkpoint)
    content = read_torch_checkpoint(file)
    layers, settings = (content.get(name) if isinstance(content, dict) else None for name in ("weights", "metadata"))
    if not isinstance(settings, dict) or not isinstance(layers, dict):
        raise ValueError(f"{file} is not a file of CLIP-LoRA, which has weights and metadata.")
    if not all(
        isinstance(layer, dict) and all(isinstance(matrices, dict) for matrices in layer.values())
        for layer in layers.values()
    ):
        raise ValueError(f"Expected the weights in {file} to be dictionaries of layers and of their projections.")
    rank, alpha, encoder = (settings.get(name) for name in ("r", "alpha", "encoder"))
    if type(rank) is not int or type(alpha) not in (int, float) or encoder not in ENCODERS:
        raise ValueError(
            f"Expected the metadata of {file} to have an integer r, a number alpha and an encoder out of "
            f"{', '.join(ENCODERS)}, got {rank!r:.40}, {alpha!r:.40} and {encoder!r:.40}."
        )
    position, updated = settings.get("position", "all"), {name for layer in layers.values() for name in layer}
    if position != "all" or updated != {f"{each}_proj" for each in PROJECTIONS}:
        raise ValueError(
            f"Expected updates of q_proj, k_proj and v_proj in all layers (position 'all'), got {file} with those of "
            f"{', '.join(sorted(map(str, updated)))[:80]} at position {position!r:.40}. This model has no others."
        )
    return layers, settings
