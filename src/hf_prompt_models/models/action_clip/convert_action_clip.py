"""Convert checkpoints of the original ActionCLIP code (https://github.com/sallymmx/ActionCLIP) and of mmaction2.

The visual prompts of a checkpoint are inferred from the names of its tensors, and every tensor is either used or named
in the report. A checkpoint does not contain class names or a tokenizer. The sizes of its towers are checked against
those of the backbone, whose weights are not used.
"""

import argparse
import os
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoConfig, CLIPConfig

from hf_prompt_models.data.videos.labelled import read_label_rows
from hf_prompt_models.models.action_clip.configuration_action_clip import ActionClipConfig
from hf_prompt_models.models.action_clip.modeling_action_clip import ActionClipForVideoClassification
from hf_prompt_models.models.action_clip.original_action_clip import (
    OriginalCheckpoint,
    find_source,
    infer_visual_prompts,
    read_original_checkpoint,
)
from hf_prompt_models.models.action_clip.processing_action_clip import ActionClipProcessor
from hf_prompt_models.prompts.templates import ACTION_TEMPLATES


HIDDEN_ACT = "quick_gelu"
LAYER_NORM_EPS = 1e-5
HEAD_SIZE = 64
"""Settings with which the original code builds its CLIP for every checkpoint."""
MAX_PIXEL_DIFFERENCE = 0.01
"""Tolerance for pixel means and deviations from 0 to 255, which configurations give with three decimals."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments of `hf-prompt convert action_clip`."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        help="model_best.pt or another .pt file of the original code, or a .pth file of mmaction2",
    )
    parser.add_argument(
        "--backbone",
        required=True,
        help="Hub id or folder of the CLIP that was fine-tuned, to read its configuration, tokenizer and image "
        "settings; the weights come from the checkpoint",
    )
    parser.add_argument(
        "--labels",
        required=True,
        metavar="FILE",
        help="CSV file with the columns id and name and one row per class, in the order of the class indices, such as "
        "lists/kinetics_400_labels.csv of the original code",
    )
    parser.add_argument("--output_dir", required=True, help="folder to save the converted checkpoint to")
    parser.add_argument(
        "--num_frames",
        type=int,
        help="number of frames to sample from a video (default: inferred from the checkpoint, else 8)",
    )


def convert(arguments: argparse.Namespace) -> list[str]:
    """Convert the checkpoint given on the command line, and return the lines to print."""
    rows = read_label_rows(arguments.labels)
    _, report = convert_from_original(
        arguments.checkpoint,
        arguments.backbone,
        [name for _, name in rows],
        arguments.output_dir,
        arguments.num_frames,
    )
    report.append(f"  classes: {len(rows)}, from {arguments.labels}")
    unlike = [
        f"class {row} has the id {number!r}" for row, (number, _) in enumerate(rows) if number.strip() != str(row)
    ]
    if unlike:
        report.append(
            f"  warning: the ids in {arguments.labels} are not 0, 1, 2, … in this order ({unlike[0]}). The "
            "order of the rows is used, as in the original code, which ignores the ids"
        )
    return [*report, f"saved {arguments.output_dir}"]


def convert_from_original(
    checkpoint: str | os.PathLike,
    backbone: str | os.PathLike,
    class_names: Sequence[str],
    output_dir: str | os.PathLike | None = None,
    num_frames: int | None = None,
) -> tuple[ActionClipForVideoClassification, list[str]]:
    """Convert a checkpoint of the original code or of mmaction2 to a model of this package, in float32.

    No code from the file is executed.

    Args:
        checkpoint: path of the file.
        backbone: Hub id or folder of the CLIP that was fine-tuned, whose configuration and processor are used.
        class_names: class names, in the order of the labels.
        output_dir: folder to save the model and its processor to. Default: they are not saved.
        num_frames: number of frames to sample from a video. Default: inferred from the checkpoint, else 8.

    Returns:
        The model, and lines that report what was read and how it was used.

    Raises:
        OSError: if there is no such file or backbone.
        TypeError: if the backbone is not a CLIP.
        ValueError: if the file is not such a checkpoint, has missing or unknown tensors, or does not fit the backbone;
            or if its head does not accept this number of frames.
    """
    folders = [os.path.realpath(path) for path in (output_dir, backbone) if path is not None and os.path.isdir(path)]
    if len(folders) > len(set(folders)):
        raise ValueError(
            f"{output_dir} is the folder of the backbone, which would be overwritten. Choose another folder."
        )
    clip_config = _load_clip_config(backbone)
    read = read_original_checkpoint(checkpoint)
    _check_sizes(read, clip_config, backbone)
    choices = infer_visual_prompts(read, num_frames)
    config = ActionClipConfig(clip_config=clip_config.to_dict(), **choices)
    with torch.device("meta"):
        expected = ActionClipForVideoClassification(config).state_dict()
    sources = {name: find_source(name, choices) for name in expected}
    dropped = _dropped(read, choices)
    _check_tensors(
        read,
        {sources[name].name: sources[name].original_shape(tensor) for name, tensor in expected.items()},
        dropped,
        backbone,
    )
    processor = ActionClipProcessor.from_backbone(backbone)
    _check_pixels(read, processor)
    model = ActionClipForVideoClassification(config)
    model.load_state_dict({name: source.take(read.tensors) for name, source in sources.items()})
    model.set_classes(class_names, processor, [template.text for template in ACTION_TEMPLATES])
    model.processor = processor
    model.eval()
    if output_dir is not None:
        model.save_pretrained(output_dir)
    return model, _report(read, config, dropped, num_frames) + _warnings(model.clip.config)


# -- checks ----------------------------------------------------------------------------------------------------------


def _load_clip_config(backbone: str | os.PathLike) -> CLIPConfig:
    config = AutoConfig.from_pretrained(backbone)
    if not isinstance(config, CLIPConfig):
        raise TypeError(
            f"The backbone {str(backbone)!r} is of type {config.model_type!r}, but the original ActionCLIP "
            "fine-tunes the CLIP of OpenAI. Pass its repository or folder."
        )
    for part in (config.text_config, config.vision_config):
        if (part.hidden_act, part.layer_norm_eps) != (HIDDEN_ACT, LAYER_NORM_EPS):
            raise ValueError(
                f"The {part.model_type} of {str(backbone)!r} uses {part.hidden_act} and layer_norm_eps "
                f"{part.layer_norm_eps}, but the original ActionCLIP uses {HIDDEN_ACT} and {LAYER_NORM_EPS}, so this "
                "is not the CLIP that was fine-tuned. Pass the repository or folder of the CLIP of OpenAI."
            )
    config.name_or_path = ""  # the converted folder does not depend on the backbone
    return config


def _check_sizes(read: OriginalCheckpoint, config: CLIPConfig, backbone: str | os.PathLike) -> None:
    """Check the sizes in the configuration of the backbone, whose messages are clearer than those about tensors."""
    text, vision = config.text_config, config.vision_config
    sizes = {
        "width of the image encoder": (read.size("clip.visual.class_embedding", 0), vision.hidden_size),
        "layers of the image encoder": (
            read.count_layers("clip.visual.transformer.resblocks."),
            vision.num_hidden_layers,
        ),
        "patch size": (read.size("clip.visual.conv1.weight", -1), vision.patch_size),
        "image positions": (
            read.size("clip.visual.positional_embedding", 0),
            (vision.image_size // vision.patch_size) ** 2 + 1,
        ),
        "width of the text encoder": (read.size("clip.ln_final.weight", 0), text.hidden_size),
        "layers of the text encoder": (read.count_layers("clip.transformer.resblocks."), text.num_hidden_layers),
        "text positions": (read.size("clip.positional_embedding", 0), text.max_position_embeddings),
        "vocabulary": (read.size("clip.token_embedding.weight", 0), text.vocab_size),
        "features": (read.size("clip.text_projection", 1), config.projection_dim),
    }
    differing = [
        f"{what} {found} in the checkpoint, {wanted} in the backbone"
        for what, (found, wanted) in sizes.items()
        if found not in (None, wanted)
    ]
    if differing:
        raise ValueError(
            f"The model in {read.file} was fine-tuned from another CLIP than {str(backbone)!r}: "
            f"{'; '.join(differing)}. Pass the backbone that it was fine-tuned from."
        )


def _dropped(read: OriginalCheckpoint, choices: dict[str, Any]) -> dict[str, str]:
    """Return the tensors that the original code does not use in computations, with the reason why they are there."""
    reasons = {f"data_preprocessor.{name}": "equal to the image settings of the processor" for name in ("mean", "std")}
    if choices["post_network"] not in ("mean", "transf"):
        reasons["adapter.frame_position_embeddings.weight"] = (
            "the original code creates it with every head except meanP, but uses it only in Transf"
        )
    return {name: reason for name, reason in reasons.items() if name in read.tensors}


def _check_tensors(
    read: OriginalCheckpoint,
    expected: dict[str, tuple[int, ...]],
    dropped: dict[str, str],
    backbone: str | os.PathLike,
) -> None:
    missing = [name for name in expected if name not in read.tensors]
    unknown = [name for name in read.tensors if name not in expected and name not in dropped]
    wrong = [
        f"{read.shown(name)} is {tuple(read.tensors[name].shape)} instead of {shape}"
        for name, shape in expected.items()
        if name in read.tensors and read.tensors[name].shape != shape
    ]
    problems = [
        f"{what} {_listed(names)}"
        for what, names in (
            ("missing tensors:", [read.shown(name) for name in missing]),
            ("unknown tensors:", [read.shown(name) for name in unknown]),
            ("other shapes:", wrong),
        )
        if names
    ]
    if problems:
        raise ValueError(
            f"{read.file} is not an ActionCLIP with the backbone {str(backbone)!r}: {'; '.join(problems)}."
        )
    for name in expected:
        if not read.tensors[name].isfinite().all():
            raise ValueError(f"{read.shown(name)} in {read.file} contains NaN or infinity, so training had diverged.")


def _check_pixels(read: OriginalCheckpoint, processor: ActionClipProcessor) -> None:
    """Check the pixel means and deviations, which mmaction2 stores in the model, against the processor's."""
    for kind in ("mean", "std"):
        values = read.tensors.get(f"data_preprocessor.{kind}")
        if values is None:
            continue
        wanted = 255 * torch.tensor(getattr(processor.image_processor, f"image_{kind}"))
        if values.numel() != len(wanted) or (values.flatten() - wanted).abs().max() > MAX_PIXEL_DIFFERENCE:
            raise ValueError(
                f"data_preprocessor.{kind} in {read.file} is {values.flatten().tolist()[:3]}, but the backbone uses "
                f"{wanted.tolist()}, so it was trained on images that were prepared in another way."
            )


# -- report ----------------------------------------------------------------------------------------------------------


def _report(
    read: OriginalCheckpoint, config: ActionClipConfig, dropped: dict[str, str], num_frames: int | None
) -> list[str]:
    lines = [f"read {read.file}: the layout of {read.code}" + ("" if read.epoch is None else f", epoch {read.epoch}")]
    for part in ("clip", "adapter"):
        tensors = {name: tensor for name, tensor in read.tensors.items() if name.startswith(f"{part}.")}
        used = [name for name in tensors if name not in dropped]
        dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()})
        lines.append(
            f"  {read.entry(part)}: used {len(used)} of {len(tensors)} "
            f"tensors{(' of ' if dtypes else '')}{' and '.join(dtypes)}"
        )
    lines.append(f"  visual prompts: pre_network={config.pre_network}, in_network={config.in_network}")
    head = f"  head: post_network={config.post_network}"
    if config.post_network in ("transf", "transf_cls"):
        head += f", {config.head_num_layers} layers of {config.head_num_attention_heads} attention heads"
    lines.append(head + (", with its scrambled layout (legacy_conv1d_layout)" if config.legacy_conv1d_layout else ""))
    if num_frames is not None:
        why = "as requested"
    elif config.pre_network or config.post_network == "transf_cls" or read.is_mmaction2:
        why = "from the checkpoint"
    else:
        why = "which the checkpoint does not contain; pass --num_frames if it was trained with another number"
    lines.append(f"  frames: {config.num_frames}, {why}")
    for name, reason in dropped.items():
        shape = " x ".join(map(str, read.tensors[name].shape))
        lines.append(f"  dropped: {read.shown(name)} ({shape}): {reason}")
    if read.left_out:
        lines.append(f"  left out, because they are not weights of the model: {_listed(read.left_out)}")
    return lines


def _warnings(config: CLIPConfig) -> list[str]:
    """Return warnings about settings that cannot be checked by tensor shapes."""
    return [
        (
            f"  warning: the {part.model_type} of the backbone has {part.num_attention_heads} attention heads, "
            f"but the original code uses one head per {HEAD_SIZE} of its {part.hidden_size} channels"
        )
        for part in (config.text_config, config.vision_config)
        if part.num_attention_heads != max(part.hidden_size // HEAD_SIZE, 1)
    ]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name[:100] for name in names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
