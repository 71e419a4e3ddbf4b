"""Convert prompts from and to the original CoOp code (https://github.com/KaiyangZhou/CoOp, trainers/coop.py).

Original checkpoints contain the context, `ctx`, and two buffers for the classes that it was trained on: the embedding
of the start token, `token_prefix`, and the embeddings of `name . end pad pad …`, `token_suffix`. They do not record
the backbone, the class names or the position of the class name. The buffers are used to check what the user passes.
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedConfig

from hf_prompt_models.checkpoints.dassl_checkpoints import (
    DasslCheckpoint,
    find_dassl_file,
    read_dassl_checkpoint,
    write_dassl_checkpoint,
)
from hf_prompt_models.checkpoints.fingerprint import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE
from hf_prompt_models.configuration_utils import ids_from_string
from hf_prompt_models.data.class_names_file import read_class_names
from hf_prompt_models.models.coop.configuration_coop import CoOpConfig
from hf_prompt_models.models.coop.modeling_coop import CoOpForImageClassification
from hf_prompt_models.prompts.context import CLASS_TOKEN_POSITIONS
from hf_prompt_models.utils.files import write_json


MODEL_NAME = "prompt_learner"
"""Name under which CoOp registers its trained tensors, which is also the name of their folder in a run."""
KEYS = ("ctx", "token_prefix", "token_suffix")
RECORD_FILE = "conversion.json"
"""File next to a converted checkpoint with the file that it was converted from, and the epoch of that file."""
DEFAULT_EPOCH = 50
PAD_TOKEN_ID = 0
"""Padding token of OpenAI's tokenizer; that of transformers is the end token. The features do not depend on it."""
MAX_FROZEN_WORDS = 32


# -- command line ----------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments of `hf-prompt convert coop`."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        help="prompt_learner/model.pth.tar-N of the original code, its folder, or the folder of the run; with "
        "--to_original a checkpoint of this package",
    )
    parser.add_argument("--output_dir", required=True, help="folder to save the converted checkpoint to")
    parser.add_argument(
        "--to_original",
        action="store_true",
        help="write OUTPUT_DIR/prompt_learner/model.pth.tar-EPOCH for the original code",
    )
    parser.add_argument("--backbone", help="Hub id or folder of the CLIP that the prompt was trained for")
    parser.add_argument(
        "--class_names",
        metavar="FILE",
        help="text file with one class name per line, in the order of the labels. If every line starts with a "
        "WordNet id (n01440764 tench), the ids are ignored",
    )
    parser.add_argument(
        "--class_token_position",
        choices=CLASS_TOKEN_POSITIONS,
        default="end",
        help="TRAINER.COOP.CLASS_TOKEN_POSITION of the training run, which the checkpoint does not record "
        "(default: end)",
    )
    parser.add_argument(
        "--epoch",
        type=int,
        help="epoch of the file to read from a folder (default: the file named in the text file `checkpoint`, else "
        "the best). With --to_original: epoch to write to the file and its name (default: that of the file that the "
        f"prompt was converted from, else {DEFAULT_EPOCH})",
    )


def convert(arguments: argparse.Namespace) -> list[str]:
    """Convert the checkpoint given on the command line, and return the lines to print."""
    if arguments.epoch is not None and arguments.epoch < 1:
        raise ValueError(f"Expected --epoch to be at least 1, got {arguments.epoch}.")
    if arguments.to_original:
        file = convert_to_original(arguments.checkpoint, arguments.output_dir, arguments.epoch)
        return [f"saved {file}"]
    if arguments.backbone is None or arguments.class_names is None:
        raise ValueError(
            "An original checkpoint contains neither its backbone nor its class names. Pass --backbone and "
            "--class_names."
        )
    _, report = convert_from_original(
        arguments.checkpoint,
        arguments.backbone,
        read_class_names(arguments.class_names),
        arguments.class_token_position,
        arguments.output_dir,
        arguments.epoch,
    )
    return [*report, f"saved {arguments.output_dir}"]


# -- from the original code ------------------------------------------------------------------------------------------


def convert_from_original(
    checkpoint: str | os.PathLike,
    backbone: str | os.PathLike,
    class_names: Sequence[str],
    class_token_position: str = "end",
    output_dir: str | os.PathLike | None = None,
    epoch: int | None = None,
) -> tuple[CoOpForImageClassification, list[str]]:
    """Convert a prompt of the original code to a model of this package, without executing code from the file.

    Args:
        checkpoint: the file `model.pth.tar-N`, its folder `prompt_learner`, or the folder of the run.
        backbone: Hub id or folder of the CLIP that the prompt was trained for.
        class_names: class names, in the order of the labels.
        class_token_position: position of the class name in training: "end", "middle" or "front".
        output_dir: folder to save the model to. Default: the model is not saved.
        epoch: epoch of the file to read from a folder. Default: the last file, else the best.

    Returns:
        The model, and lines that report what was read and what was checked.

    Raises:
        OSError: if there is no such file or backbone.
        ValueError: if the file is not a CoOp prompt or not for this backbone, or if its context is class-specific and
            belongs to other classes.
    """
    read = read_dassl_checkpoint(find_dassl_file(checkpoint, MODEL_NAME, epoch))
    context = _context(read, len(class_names))
    n_ctx = context.shape[-2]
    model = CoOpForImageClassification.from_backbone(
        backbone,
        class_names,
        n_ctx=n_ctx,
        class_token_position=class_token_position,
        class_specific_context=context.dim() == 3,
    )
    _check_backbone(model)
    width = model.context.shape[-1]
    if context.shape[-1] != width:
        raise ValueError(
            f"The context in {read.file} has vectors of {context.shape[-1]} numbers, but the text encoder of "
            f"{str(backbone)!r} has {width}. Pass the backbone that the prompt was trained with."
        )
    kind = "one per class" if context.dim() == 3 else "shared by all classes"
    report = [
        f"read {read.file}" + (f", epoch {read.epoch}" if read.epoch else ", without an epoch number"),
        f"  ctx: {' x '.join(map(str, context.shape))}, {str(context.dtype).removeprefix('torch.')}, {kind}",
        *_check_prefix(model, read, str(backbone)),
    ]
    frozen_words, lines = _check_suffix(model, read, n_ctx)
    report += lines
    ignored = [*read.ignored, *(name for name in read.state_dict if name not in KEYS)]
    if ignored:
        report.append(f"  left out: {_listed(ignored)}")
    context = context.float()
    if len(frozen_words):
        context = torch.cat([context, frozen_words.float()])
        model = CoOpForImageClassification.from_backbone(backbone, class_names, n_ctx=len(context))
    with torch.no_grad():
        model.context.copy_(context)
    if output_dir is not None:
        model.save_pretrained(output_dir)
        write_json(Path(output_dir) / RECORD_FILE, {"converted_from": str(read.file), "epoch": read.epoch})
    return model, report


def _context(read: DasslCheckpoint, num_classes: int) -> torch.Tensor:
    names = list(read.state_dict)
    if any("compound_prompts_text" in name for name in names):
        raise ValueError(
            f"{read.file} is a checkpoint of MaPLe, which has prompts in both encoders. Convert it with "
            "`hf-prompt convert maple`."
        )
    if any(name.startswith("meta_net.") for name in names):
        raise ValueError(
            f"{read.file} is a checkpoint of CoCoOp, whose context depends on the image through meta_net. "
            "Convert it with `hf-prompt convert cocoop`."
        )
    if "ctx" not in read.state_dict:
        raise ValueError(f"{read.file} is not a prompt of CoOp: it contains no 'ctx', but {_listed(names)}.")
    context = read.state_dict["ctx"]
    if not context.is_floating_point() or context.dim() not in (2, 3) or not context.numel():
        raise ValueError(
            f"Expected 'ctx' in {read.file} to have the shape (n_ctx, width), or (classes, n_ctx, width) if it is "
            f"class-specific, and a floating-point dtype, got {tuple(context.shape)} of {context.dtype}."
        )
    if not context.isfinite().all():
        raise ValueError(f"'ctx' in {read.file} contains NaN or infinity, so training had diverged.")
    if context.dim() == 3 and len(context) != num_classes:
        raise ValueError(
            f"The context in {read.file} is class-specific for {len(context)} classes, got {num_classes} "
            "class names. Pass the class names that it was trained with."
        )
    return context


def _check_prefix(model: CoOpForImageClassification, read: DasslCheckpoint, backbone: str) -> list[str]:
    """Compare the embedding of the start token with that of the backbone."""
    prefix = read.state_dict.get("token_prefix")
    if prefix is None:
        return ["  token_prefix: not in the file, so it cannot be checked that this is the right backbone"]
    width = model.context.shape[-1]
    if prefix.dim() != 3 or prefix.shape[1:] != (1, width):
        raise ValueError(
            f"'token_prefix' in {read.file} has the shape {tuple(prefix.shape)} instead of (classes, 1, {width})."
        )
    start = ids_from_string(_class_token_ids(model)[0])[:1]
    if not _close(prefix, _embed(model, start).expand(prefix.shape)):
        raise ValueError(
            f"The prompt in {read.file} was trained with another backbone than {backbone!r}: the widths are equal, "
            "but the embeddings of the start token differ. Pass the backbone that it was trained with."
        )
    return ["  token_prefix: fits the backbone"]


def _check_suffix(
    model: CoOpForImageClassification, read: DasslCheckpoint, n_ctx: int
) -> tuple[torch.Tensor, list[str]]:
    """Compare the embeddings of the class names with those of the backbone.

    If the original code initialises a context from words, it makes one vector per word, although some words have
    several tokens ("itap of a" has four). The remaining tokens stay between the context and each name, and are not
    trained.

    Returns:
        Embeddings of these tokens, (0 or more, width), and lines for the report.
    """
    suffix = read.state_dict.get("token_suffix")
    none = torch.empty(0, model.context.shape[-1])
    if suffix is None:
        return none, ["  token_suffix: not in the file, so it cannot be checked that these are its classes"]
    prompts = [ids_from_string(ids)[1:] for ids in _class_token_ids(model)]
    length = model.clip.text_model.config.max_position_embeddings - 1 - n_ctx
    if suffix.dim() != 3 or suffix.shape[1:] != (length, none.shape[1]):
        raise ValueError(
            f"'token_suffix' in {read.file} has the shape {tuple(suffix.shape)} instead of (classes, "
            f"{length}, {none.shape[1]})."
        )
    embedded = [_embed(model, ids) for ids in prompts]
    if len(suffix) == len(prompts):
        for count in range(MAX_FROZEN_WORDS + 1):
            if not all(
                _close(row[count : count + len(name)], name) for row, name in zip(suffix, embedded, strict=True)
            ):
                continue
            if not count:
                return none, ["  token_suffix: fits the class names"]
            if not bool((suffix[:, :count] == suffix[:1, :count]).all()):
                break
            if model.config.class_token_position != "end":
                raise ValueError(
                    f"The context in {read.file} was initialized from words with more tokens than context "
                    f"vectors, so {count} frozen token(s) precede each name. Such prompts can be converted "
                    "only for the position 'end'."
                )
            return suffix[0, :count], [
                (
                    f"  token_suffix: fits the class names, after {count} token(s) of the initial words that were "
                    f"not trained; they are kept as {count} more context vector(s)"
                )
            ]
    difference = _difference(model, suffix, embedded, prompts)
    if model.config.class_specific_context:
        raise ValueError(
            f"The context in {read.file} is class-specific, but not for these classes: {difference}. Pass the "
            "class names that it was trained with, in the same order."
        )
    return none, [
        (
            f"  token_suffix: for other classes ({difference}). A shared context works with any classes; the "
            "model has the classes that you passed"
        )
    ]


def _difference(
    model: CoOpForImageClassification, suffix: torch.Tensor, embedded: list[torch.Tensor], prompts: list[list[int]]
) -> str:
    if len(suffix) != len(prompts):
        return f"the file has {len(suffix)} classes, got {len(prompts)} class names"
    pairs = enumerate(zip(suffix, embedded, strict=True))
    index = next(index for index, (row, name) in pairs if not _close(row[: len(name)], name))
    table, end = _table(model), prompts[index][-1]
    ids = torch.cdist(suffix[index].float(), table).argmin(-1).tolist()
    ids = ids[: ids.index(end)] if end in ids else ids
    tokenizer = model.processor.tokenizer  # type: ignore[union-attr]
    return (
        f"class {index} is {tokenizer.decode(ids)!r} in the file, but {tokenizer.decode(prompts[index][:-1])!r} here"
    )


# -- to the original code --------------------------------------------------------------------------------------------


def convert_to_original(
    checkpoint: str | os.PathLike, output_dir: str | os.PathLike, epoch: int | None = None
) -> Path:
    """Convert a prompt of this package to a checkpoint of the original code.

    Args:
        checkpoint: a CoOp checkpoint of this package.
        output_dir: folder to write `prompt_learner/model.pth.tar-<epoch>` to.
        epoch: epoch to write. Default: that of the file that the prompt was converted from, else 50.

    Returns:
        The path of the file. The position of the class names is not part of it and must be set in the original code.

    Raises:
        OSError: if there is no such checkpoint.
        ValueError: if it is not a CoOp checkpoint.
    """
    config, _ = PreTrainedConfig.get_config_dict(checkpoint)
    if config.get("model_type") != CoOpConfig.model_type:
        raise ValueError(
            f"{checkpoint} is of type {config.get('model_type')!r} instead of CoOp. Pass a CoOp checkpoint."
        )
    model = CoOpForImageClassification.from_pretrained(checkpoint)
    _check_backbone(model)
    epoch = epoch or _recorded_epoch(Path(checkpoint) / RECORD_FILE) or DEFAULT_EPOCH
    prompts = [ids_from_string(ids) for ids in _class_token_ids(model)]
    length = model.clip.text_model.config.max_position_embeddings - model.config.n_ctx
    padded = [ids + [PAD_TOKEN_ID] * (length - len(ids)) for ids in prompts]
    embedded = torch.stack([_embed(model, ids) for ids in padded])
    state_dict = {
        "ctx": model.context.detach().cpu().clone(),
        "token_prefix": embedded[:, :1].clone(),
        "token_suffix": embedded[:, 1:].clone(),
    }
    return write_dassl_checkpoint(output_dir, MODEL_NAME, state_dict, epoch)


def _recorded_epoch(file: Path) -> int | None:
    if not file.is_file():
        return None
    record = json.loads(file.read_text(encoding="utf-8"))
    epoch = record.get("epoch") if isinstance(record, dict) else None
    return epoch if type(epoch) is int and epoch > 0 else None


# -- common functions ------------------------------------------------------------------------------------------------


def _check_backbone(model: CoOpForImageClassification) -> None:
    if not model.backbone_type.packs_prompts:
        raise ValueError(
            f"Prompts for {type(model.clip).__name__} cannot be converted, because the original code of CoOp prompts "
            "a CLIP. Pass a prompt or a backbone with a causal text tower."
        )


def _class_token_ids(model: CoOpForImageClassification) -> list[str]:
    if model.config.class_token_ids is None:
        raise ValueError("This model has no classes yet. Call set_classes(names, tokenizer=...).")
    return model.config.class_token_ids


def _table(model: CoOpForImageClassification) -> torch.Tensor:
    return model.token_embedding.weight.detach().float().cpu()


def _embed(model: CoOpForImageClassification, ids: list[int]) -> torch.Tensor:
    weight = model.token_embedding.weight
    return weight[torch.tensor(ids, device=weight.device)].detach().float().cpu()


def _close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Return whether embeddings are equal up to the rounding of fp16 and bf16 copies."""
    return found.shape == expected.shape and torch.allclose(
        found.float(), expected, rtol=RELATIVE_TOLERANCE, atol=ABSOLUTE_TOLERANCE
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name[:60] for name in names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
