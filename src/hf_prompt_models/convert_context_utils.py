"""Convert prompts that the original code of a method trained with Dassl, the toolbox of CoOp and related methods.

Such files contain the trained tensors, and copies of CLIP's weights and of token embeddings. `convert_<method>.py` of
a method defines the names of the trained tensors.
"""

import argparse
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch

from hf_prompt_models.checkpoints.dassl_checkpoints import find_dassl_file, read_dassl_checkpoint
from hf_prompt_models.checkpoints.fingerprint import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE
from hf_prompt_models.data.class_names_file import read_class_names
from hf_prompt_models.modeling_context_utils import ContextPromptModel


Tensors = dict[str, torch.Tensor]
PREFIX = "prompt_learner."


def add_conversion_arguments(parser: argparse.ArgumentParser, folder: str) -> None:
    """Add the command-line arguments that all conversions share.

    Args:
        parser: the parser.
        folder: name of the folder that the original code writes.
    """
    parser.add_argument(
        "--checkpoint",
        required=True,
        help=f"{folder}/model.pth.tar-N of the original code, its folder, or the folder of the run",
    )
    parser.add_argument(
        "--backbone", required=True, help="Hub id or folder of the CLIP that the prompt was trained for"
    )
    parser.add_argument(
        "--class_names",
        required=True,
        metavar="FILE",
        help="text file with one class name per line, in the order of the labels",
    )
    parser.add_argument("--output_dir", required=True, help="folder to save the converted checkpoint to")
    parser.add_argument(
        "--epoch", type=int, help="epoch of the file to read from a folder (default: the last file, else the best)"
    )


def add_teacher_argument(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the command-line argument for the hand-written prompts of the teacher, which no checkpoint contains.

    Args:
        parser: the parser.
        default: description of the default in the help.
    """
    help_text = f"hand-written prompts of the teacher (default: {default})"
    parser.add_argument("--templates", nargs="+", metavar="TEMPLATE", help=help_text)


def convert_prompt(
    arguments: argparse.Namespace,
    model_class: type[ContextPromptModel],
    folder: str,
    names: Callable[[Mapping[str, torch.Tensor]], dict[str, str]],
    choices: Callable[[Tensors], dict[str, Any]],
    transposed: Collection[str] = (),
) -> list[str]:
    """Convert the checkpoint given on the command line, and save it to the output folder.

    Args:
        arguments: parsed arguments of `add_conversion_arguments`.
        model_class: model class of the method.
        folder: name of the folder that the original code writes.
        names: function of the tensors in the file that maps names in `model.prompt_learner` to names in the file.
        choices: function of the trained tensors, by their names in `model.prompt_learner`, that returns arguments of
            `from_backbone`.
        transposed: names of tensors that are transposed in the file.

    Returns:
        The lines to print, which report what was read and what was left out.

    Raises:
        OSError: if there is no such file or backbone.
        ValueError: if the file is not a checkpoint of this method, or not for this backbone.
    """
    class_names = read_class_names(arguments.class_names)
    model, report = read_prompt(
        arguments.checkpoint,
        arguments.backbone,
        class_names,
        model_class,
        folder,
        names,
        choices,
        transposed,
        arguments.epoch,
    )
    model.save_pretrained(arguments.output_dir)
    return [*report, f"wrote {arguments.output_dir}"]


def read_prompt(
    checkpoint: str | os.PathLike,
    backbone: str | os.PathLike,
    class_names: Sequence[str],
    model_class: type[Any],
    folder: str,
    names: Callable[[Mapping[str, torch.Tensor]], dict[str, str]],
    choices: Callable[[Tensors], dict[str, Any]],
    transposed: Collection[str] = (),
    epoch: int | None = None,
) -> tuple[Any, list[str]]:
    """Convert a prompt of the original code to a model, with the errors of [`convert_prompt`].

    Args:
        checkpoint: the file, its folder, or the folder of the run.
        backbone: Hub id or folder of the backbone that the prompt was trained for.
        class_names: class names, in the order of the labels.
        model_class: as in `convert_prompt`.
        folder: as in `convert_prompt`.
        names: as in `convert_prompt`.
        choices: as in `convert_prompt`.
        transposed: as in `convert_prompt`.
        epoch: epoch of the file to read from a folder. Default: the last file, else the best.

    Returns:
        The model, and lines that report what was read and what was left out.
    """
    read = read_dassl_checkpoint(find_dassl_file(checkpoint, folder, epoch))
    state = read.state_dict
    sources = names(state)
    if missing := [source for source in sources.values() if source not in state]:
        listed = ", ".join(list(state)[:8])
        raise ValueError(
            f"{read.file} contains no {missing[0]!r}, so it is not a checkpoint of this method. It contains {listed}."
        )
    trained = {name: state[source] for name, source in sources.items()}
    for name, tensor in trained.items():
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            raise ValueError(f"{sources[name]!r} in {read.file} contains no finite floating-point numbers.")
    tensors = {name: tensor.T if name in transposed else tensor for name, tensor in stack_layers(trained).items()}
    model = model_class.from_backbone(backbone, class_names, **choices(tensors))
    _check_start_token(model, state, read.file, backbone)
    own = dict(model.prompt_learner.named_parameters())
    for name in sorted(own.keys() | tensors.keys()):
        found, expected = (tuple(each[name].shape) if name in each else None for each in (tensors, own))
        if found != expected:
            raise ValueError(
                f"{name} of {read.file} has the shape {found}, but the model with the backbone {str(backbone)!r} has "
                f"{expected}. Pass a backbone of the size and depth that the checkpoint was trained with."
            )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(tensors[name])
    report = [f"read {read.file}" + (f", epoch {read.epoch}" if read.epoch else ", without an epoch number")]
    report += [f"  {name}: {' x '.join(map(str, tensor.shape))}" for name, tensor in tensors.items()]
    left = [name for name in state if name not in sources.values()]
    groups = Counter(_group(name) for name in left)
    report += [f"  left out: {count} of {group}" for group, count in sorted(groups.items())]
    if read.ignored:
        report.append(f"  left out: {', '.join(read.ignored)}")
    return model, report


def layers_of(state: Mapping[str, torch.Tensor], before: str, after: str = "") -> list[int]:
    """Return the layer numbers in tensor names, in ascending order.

    Args:
        state: tensors by name.
        before: part of the names before the number.
        after: part of the names after the number.
    """
    numbers = (name.removeprefix(before).removesuffix(after) for name in state if name.startswith(before))
    return sorted({int(number) for number in numbers if number.isdecimal()})


def deep_prompt_names(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Map our names of deep prompts in both towers to those in files of MaPLe's and related repositories.

    Args:
        state: the tensors in the file.

    Raises:
        ValueError: if there are no prompts in the file.
    """
    names = {}
    for ours, first, tower in (("context", f"{PREFIX}ctx", "text"), ("vision_context", "image_encoder.VPT", "image")):
        if first in state:
            names[ours] = first
        blocks = f"{tower}_encoder.transformer.resblocks."
        for layer in layers_of(state, blocks, ".VPT_shallow"):
            names[f"deep_{ours}/{layer}"] = f"{blocks}{layer}.VPT_shallow"
    if not names:
        raise ValueError(f"The checkpoint contains no prompts: neither {PREFIX}ctx nor image_encoder.VPT is in it.")
    return names


def stack_layers(tensors: Tensors) -> Tensors:
    """Return the tensors, with `deep_context/0`, `deep_context/1`, … stacked to `deep_context`.

    Args:
        tensors: tensors by name.

    Raises:
        ValueError: if the shapes of layers differ.
    """
    stacked = {name: tensor for name, tensor in tensors.items() if "/" not in name}
    for name in dict.fromkeys(name.partition("/")[0] for name in tensors if "/" in name):
        layers = [tensor for each, tensor in tensors.items() if each.startswith(f"{name}/")]
        if len({tensor.shape for tensor in layers}) > 1:
            raise ValueError(f"{name} has layers of different shapes: {[tuple(tensor.shape) for tensor in layers]}.")
        stacked[name] = torch.stack(layers)
    return stacked


def _group(name: str) -> str:
    """Return the name of the part that a tensor belongs to, for the report on tensors that are left out."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "prompt_learner" and len(parts) > 1 else parts[0]


def _check_start_token(
    model: ContextPromptModel, state: Mapping[str, torch.Tensor], file: Any, backbone: str | os.PathLike
) -> None:
    """Compare the embedding of the start token in the file with that of the backbone."""
    prefix = state.get(f"{PREFIX}token_prefix", state.get("token_prefix"))
    if prefix is None:
        return
    expected = model._embed_words(model.class_token_ids()[0][:1]).cpu()
    if prefix.shape[-1] != expected.shape[-1] or not torch.allclose(
        prefix.float().reshape(-1, prefix.shape[-1])[:1], expected, rtol=RELATIVE_TOLERANCE, atol=ABSOLUTE_TOLERANCE
    ):
        raise ValueError(
            f"The prompt in {file} was trained with another backbone than {str(backbone)!r}: the embeddings "
            "of the start token differ. Pass the backbone it was trained with."
        )
