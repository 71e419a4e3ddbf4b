"""Convert checkpoints of Oscar, VinVL and CPT's code to `OscarForMaskedLM`, and back.

Sources: microsoft/Oscar, oscar/modeling/modeling_bert.py; thunlp/CPT, Oscar/oscar/modeling/modeling_rec.py. A folder
contains `pytorch_model.bin`, `config.json` and `vocab.txt`. Tensors that `OscarForMaskedLM` does not have, such as the
pooler and the matching head, are saved next to the model and restored in the conversion back to the original.
"""

import argparse
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file, save_file
from transformers import BertTokenizer

from hf_prompt_models.checkpoints.legacy_checkpoints import is_legacy_checkpoint, read_legacy_checkpoint
from hf_prompt_models.checkpoints.torch_checkpoints import read_torch_checkpoint
from hf_prompt_models.models.cpt.configuration_oscar import OscarConfig
from hf_prompt_models.models.cpt.modeling_oscar import OscarForMaskedLM
from hf_prompt_models.utils.files import read_json, replacing, write_json, write_text


WEIGHTS_FILE, CONFIG_FILE, VOCABULARY_FILE = "pytorch_model.bin", "config.json", "vocab.txt"
UNUSED_FILE = "unused.safetensors"
"""File next to a converted checkpoint: tensors of the original that the model does not have."""
RECORD_FILE = "conversion.json"
"""File next to a converted checkpoint: the original file's name, layout and configuration."""
MAX_JSON_BYTES = 2**20
MAX_VOCABULARY_BYTES = 16 * 2**20

Layout = Literal["oscar", "cpt"]
HEADS: dict[Layout, str] = {"oscar": "cls.predictions.", "cpt": "cls."}
"""Prefix of the masked-language head's tensor names, in pretrained checkpoints and in those of CPT."""
WORDS = "bert.embeddings.word_embeddings.weight"
DECODER, DECODER_BIAS, BIAS = (f"cls.predictions.{name}" for name in ("decoder.weight", "decoder.bias", "bias"))
REGION_NORM = "bert.LayerNorm.weight"

CONFIG_FIELDS = {
    "img_feature_dim": "region_feature_size",
    "img_layer_norm_eps": "region_layer_norm_eps",
    **{
        name: name
        for name in (
            "attention_probs_dropout_prob",
            "hidden_act",
            "hidden_dropout_prob",
            "hidden_size",
            "initializer_range",
            "intermediate_size",
            "layer_norm_eps",
            "max_position_embeddings",
            "num_attention_heads",
            "num_hidden_layers",
            "type_vocab_size",
            "vocab_size",
        )
    },
}
"""Fields of the original configuration that this package uses, and their names in this package."""


class OscarCheckpoint(NamedTuple):
    """A checkpoint of the original code.

    Attributes:
        file: the file that was read.
        layout: how the tensors of its head are named.
        state_dict: the tensors of `OscarForMaskedLM`, by their names in that class.
        unused: tensors that the class does not have, by their original names.
        others: names of entries that are not tensors.
    """

    file: Path
    layout: Layout
    state_dict: dict[str, torch.Tensor]
    unused: dict[str, torch.Tensor]
    others: list[str]


# -- the command line ------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        help="folder with pytorch_model.bin, config.json and vocab.txt, or the .bin file; with --to_original, a "
        "converted checkpoint",
    )
    parser.add_argument("--output_dir", required=True, help="folder to write the converted checkpoint to")
    parser.add_argument(
        "--to_original", action="store_true", help="convert back to pytorch_model.bin, config.json and vocab.txt"
    )
    parser.add_argument(
        "--layout",
        choices=list(HEADS),
        help="tensor names for --to_original: those of Oscar's and VinVL's pretrained checkpoints, or those of CPT "
        "(default: as in the file that the checkpoint was converted from, otherwise oscar)",
    )
    parser.set_defaults(backbone=None)


def convert(arguments: argparse.Namespace) -> list[str]:
    """Run the command and return the lines to print."""
    if arguments.to_original:
        return convert_to_original(arguments.checkpoint, arguments.output_dir, arguments.layout)
    if arguments.layout is not None:
        raise ValueError(
            "--layout applies only to writing an original checkpoint. Pass it together with --to_original."
        )
    _, report = convert_from_original(arguments.checkpoint, arguments.output_dir)
    return report


# -- from the original -----------------------------------------------------------------------------------------------


def convert_from_original(
    checkpoint: str | os.PathLike, output_dir: str | os.PathLike | None = None
) -> tuple[OscarForMaskedLM, list[str]]:
    """Convert a checkpoint of the original code to `OscarForMaskedLM`, without executing anything in the file.

    Args:
        checkpoint: the folder, or its `pytorch_model.bin`.
        output_dir: where to save the model, its tokenizer, and the tensors that it does not have.

    Returns:
        The model, and the lines of a report on where each tensor went.

    Raises:
        OSError: if there is no such file.
        ValueError: if it is not a checkpoint with a masked-language head, or its weights do not fit its configuration.
    """
    read = read_oscar_checkpoint(checkpoint)
    config_file = read.file.parent / CONFIG_FILE
    original = _read_config(config_file)
    config = _config(read, original)
    model = OscarForMaskedLM(config)
    _check_shapes(read, model)
    model = model.to(read.state_dict[WORDS].dtype)
    model.load_state_dict(read.state_dict | _tied(config, read.state_dict))
    model.eval()
    report = [
        (
            f"read {read.file}: {len(read.state_dict)} tensors of the model, with the names of "
            f"{('pretraining' if read.layout == 'oscar' else 'CPT')}"
        ),
        *(f"  kept in {UNUSED_FILE}: {name} {tuple(tensor.shape)}" for name, tensor in read.unused.items()),
        *(f"  left out, because it is not a tensor: {name}" for name in read.others),
    ]
    unread = sorted(set(original) - set(CONFIG_FIELDS) - {"use_img_layernorm"})
    if unread:
        report.append(
            f"  settings that the configuration of this model does not have, kept in {RECORD_FILE}: "
            f"{', '.join(unread)}"
        )
    if output_dir is not None:
        report += _save(model, read, original, Path(output_dir))
    return model, report


def read_oscar_checkpoint(checkpoint: str | os.PathLike) -> OscarCheckpoint:
    """Read a `pytorch_model.bin` without executing anything in it, with tensor names as in `OscarForMaskedLM`.

    Raises:
        OSError, ValueError: as in `convert_from_original`.
    """
    file = Path(checkpoint)
    if file.is_dir():
        file = file / WEIGHTS_FILE
    content = read_legacy_checkpoint(file) if is_legacy_checkpoint(file) else read_torch_checkpoint(file)
    if not isinstance(content, dict) or not any(isinstance(value, torch.Tensor) for value in content.values()):
        raise ValueError(f"{file} contains no named tensors, so it is not a {WEIGHTS_FILE} of Oscar.")
    others = [str(name) for name, value in content.items() if not isinstance(value, torch.Tensor)]
    tensors = {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
    renamed = {_modern(name): name for name in tensors}
    if len(renamed) < len(tensors):
        raise ValueError(f"{file} uses two naming schemes for norms, gamma and beta as well as weight and bias.")
    if WORDS not in renamed:
        raise ValueError(
            f"{file} is not a checkpoint of Oscar: it has no {WORDS}, but {', '.join(list(tensors)[:5])}."
        )
    layouts = [layout for layout, head in HEADS.items() if f"{head}transform.dense.weight" in renamed]
    if not layouts:
        heads = ", ".join(sorted({name for name in tensors if not name.startswith("bert.")})[:5])
        raise ValueError(
            f"{file} has no head for masked words, but {heads or 'none at all'}, so it was fine-tuned for another "
            "task (the FT baseline of CPT, or VCR). Pass a pretrained checkpoint, or one that few-shot CPT saved."
        )
    layout = layouts[0]
    state_dict, unused = {}, {}
    for name, original in renamed.items():
        target = name
        if name.startswith(HEADS[layout]):
            target = HEADS["oscar"] + name.removeprefix(HEADS[layout])
        if _is_ours(target):
            state_dict[target] = tensors[original]
        else:
            unused[original] = tensors[original]
    if DECODER_BIAS in state_dict:  # newer versions of BERT save the bias twice
        if not torch.equal(state_dict[DECODER_BIAS], state_dict.get(BIAS, torch.empty(0))):
            raise ValueError(
                f"{file}: the bias of the head and decoder.bias differ, but they are the same vector in Oscar."
            )
        del state_dict[DECODER_BIAS]
        unused |= {original: tensors[original] for name, original in renamed.items() if name.endswith("decoder.bias")}
    dtypes = {tensor.dtype for tensor in state_dict.values()}
    if len(dtypes) > 1 or not state_dict[WORDS].is_floating_point():
        raise ValueError(f"{file}: expected tensors of one floating-point type, got {len(dtypes)} types: {dtypes}.")
    return OscarCheckpoint(file, layout, state_dict, unused, others)


def _modern(name: str) -> str:
    """Return a tensor's PyTorch name; the oldest checkpoints have TensorFlow's names of norms."""
    return re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))


def _is_ours(name: str) -> bool:
    return name.startswith(
        (
            *("bert.embeddings.word", "bert.embeddings.position_embeddings", "bert.embeddings.token"),
            *("bert.embeddings.LayerNorm.", "bert.encoder.layer.", "bert.img_embedding.", "bert.LayerNorm."),
            *(f"cls.predictions.{name}" for name in ("bias", "transform.", "decoder.")),
        )
    )


def _read_config(file: Path) -> dict[str, Any]:
    original = read_json(file, MAX_JSON_BYTES, "configurations")
    if not isinstance(original, dict):
        raise ValueError(f"{file} is not a configuration.")
    if "vocab_size_or_config_json_file" in original and "vocab_size" not in original:  # the oldest code's name
        original["vocab_size"] = original.pop("vocab_size_or_config_json_file")
    return original


def _config(read: OscarCheckpoint, original: Mapping[str, Any]) -> OscarConfig:
    state = read.state_dict
    fields = {ours: original[theirs] for theirs, ours in CONFIG_FIELDS.items() if theirs in original}
    layers = fields.get("num_hidden_layers", 0)
    stored = len({name.split(".")[3] for name in state if name.startswith("bert.encoder.layer.")})
    if layers != stored:  # checked before any weight is allocated
        raise ValueError(f"{read.file} has {stored} layers, but the {CONFIG_FILE} next to it describes {layers}.")
    words = state[WORDS]
    sizes = {"vocab_size": words.shape[0], "hidden_size": words.shape[-1]}
    if wrong := [name for name, size in sizes.items() if fields.get(name) != size]:
        raise ValueError(
            f"{read.file}: {WORDS} has the shape {tuple(words.shape)}, but {CONFIG_FILE} has another {wrong[0]}."
        )
    try:
        return OscarConfig(
            **fields,
            use_region_layer_norm=REGION_NORM in state,
            tie_word_embeddings=DECODER not in state or torch.equal(state[DECODER], words),
            pad_token_id=0,
        )
    except (StrictDataclassError, TypeError, ValueError) as error:
        raise ValueError(f"{read.file.parent / CONFIG_FILE} is not a configuration of Oscar: {error}") from error


def _check_shapes(read: OscarCheckpoint, model: OscarForMaskedLM) -> None:
    needed = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in read.state_dict.items()}
    optional = {DECODER_BIAS, *([DECODER] if model.config.tie_word_embeddings else [])}
    if missing := [name for name in needed if name not in given and name not in optional]:
        raise ValueError(f"{read.file} lacks {len(missing)} tensor(s) of Oscar: {', '.join(missing[:5])}.")
    if unknown := [name for name in given if name not in needed]:
        raise ValueError(
            f"{read.file} has {len(unknown)} tensor(s) that Oscar does not have: {', '.join(unknown[:5])}."
        )
    for name, shape in given.items():
        if shape != needed[name]:
            raise ValueError(
                f"{read.file}: {name} has the shape {shape}, but its configuration requires {needed[name]}."
            )


def _tied(config: OscarConfig, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tied tensors that transformers stores twice."""
    decoder = state[WORDS] if config.tie_word_embeddings else state[DECODER]
    return {DECODER: decoder, DECODER_BIAS: state[BIAS]}


def _save(model: OscarForMaskedLM, read: OscarCheckpoint, original: Mapping[str, Any], output_dir: Path) -> list[str]:
    model.save_pretrained(output_dir)
    if read.unused:
        with replacing(output_dir / UNUSED_FILE) as beside:
            save_file({name: tensor.clone().contiguous() for name, tensor in read.unused.items()}, beside)
    else:
        (output_dir / UNUSED_FILE).unlink(missing_ok=True)  # remove the file of an earlier conversion to this folder
    record = {"converted_from": str(read.file), "layout": read.layout, "config": dict(original)}
    write_json(output_dir / RECORD_FILE, record)
    vocabulary = read.file.parent / VOCABULARY_FILE
    if not vocabulary.is_file():
        return [f"  no {VOCABULARY_FILE} next to it: save the tokenizer of bert-base-uncased to {output_dir}"]
    tokenizer = BertTokenizer(vocab=_read_vocabulary(vocabulary, model.config.vocab_size), do_lower_case=True)
    tokenizer.save_pretrained(output_dir)
    return [f"  {VOCABULARY_FILE}: {len(tokenizer)} words", f"saved {output_dir}"]


def _read_vocabulary(file: Path, size: int) -> dict[str, int]:
    if file.stat().st_size > MAX_VOCABULARY_BYTES:
        raise ValueError(f"{file} has more than {MAX_VOCABULARY_BYTES} bytes, so it is not a vocabulary.")
    words = file.read_text(encoding="utf-8").rstrip("\n").split("\n")
    if len(words) != size or len(set(words)) < size:
        raise ValueError(
            f"{file} has {len(words)} lines, of which {len(set(words))} are different, but the model has {size} words."
        )
    return {word: index for index, word in enumerate(words)}


# -- to the original -------------------------------------------------------------------------------------------------


def convert_to_original(
    checkpoint: str | os.PathLike, output_dir: str | os.PathLike, layout: Layout | None = None
) -> list[str]:
    """Convert `OscarForMaskedLM` to a checkpoint of the original code.

    Args:
        checkpoint: a checkpoint of this package.
        output_dir: the folder for `pytorch_model.bin`, `config.json` and, if there is a tokenizer, `vocab.txt`.
        layout: "oscar" or "cpt". Default: that of the file that the checkpoint was converted from, otherwise "oscar".

    Returns:
        The lines of a report on what was written.

    Raises:
        OSError: if there is no such checkpoint.
        ValueError: if it is not an Oscar checkpoint.
    """
    source, output_dir = Path(checkpoint), Path(output_dir)
    config = read_json(source / CONFIG_FILE, MAX_JSON_BYTES, "configurations")
    if not isinstance(config, dict) or config.get("model_type") != OscarConfig.model_type:
        raise ValueError(f"{source} is not a checkpoint of Oscar that {OscarForMaskedLM.__name__} saved.")
    model = OscarForMaskedLM.from_pretrained(source)
    record = (
        read_json(source / RECORD_FILE, MAX_JSON_BYTES, "configurations") if (source / RECORD_FILE).is_file() else {}
    )
    kept = record.get("layout") if isinstance(record, dict) else None
    head = HEADS[layout or ("cpt" if kept == "cpt" else "oscar")]
    state = {}
    for name, tensor in model.state_dict().items():
        if name != DECODER_BIAS:
            inner = name.removeprefix(HEADS["oscar"])
            state[name if inner == name else head + inner] = tensor.detach().clone()
    unused = load_file(source / UNUSED_FILE) if (source / UNUSED_FILE).is_file() else {}
    output_dir.mkdir(parents=True, exist_ok=True)
    with replacing(output_dir / WEIGHTS_FILE) as beside:
        torch.save(state | unused, beside)
    write_json(output_dir / CONFIG_FILE, _original_config(model.config, record))
    report = [
        (
            f"saved {output_dir / WEIGHTS_FILE}: {len(state)} tensors of the model, and {len(unused)} that are kept "
            "with it"
        )
    ]
    if (source / "tokenizer.json").is_file():
        words = BertTokenizer.from_pretrained(source).get_vocab()
        write_text(output_dir / VOCABULARY_FILE, "".join(f"{word}\n" for word in sorted(words, key=words.__getitem__)))
        report.append(f"saved {output_dir / VOCABULARY_FILE}")
    return report


def _original_config(config: OscarConfig, record: Any) -> dict[str, Any]:
    kept = record.get("config") if isinstance(record, dict) else None
    original = (
        dict(kept) if isinstance(kept, dict) else {"img_feature_type": "faster_r-cnn", "num_contrast_classes": 3}
    )
    original |= {theirs: getattr(config, ours) for theirs, ours in CONFIG_FIELDS.items()}
    return original | {"use_img_layernorm": int(config.use_region_layer_norm)}
