"""Convert checkpoints of the original ALPRO code (https://github.com/salesforce/ALPRO) and of LAVIS's copy of it.

The class of a checkpoint (pre-training, retrieval, question answering or the prompter) follows from the names of its
tensors, and the sizes follow from their shapes. All tensors are either used or named in the report.

A checkpoint is a dict of tensors, which LAVIS's files store under `model` (`src/modeling/alpro_models.py`). The names
of the text encoder contain `bert.` if it is a masked language model, but not in question answering or in LAVIS.
"""

import argparse
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from hf_prompt_models.checkpoints.torch_checkpoints import read_torch_checkpoint
from hf_prompt_models.models.alpro.configuration_alpro import AlproConfig, check_entities
from hf_prompt_models.models.alpro.image_processing_alpro import AlproImageProcessor
from hf_prompt_models.models.alpro.modeling_alpro import AlproPreTrainedModel
from hf_prompt_models.models.alpro.modeling_alpro_pretraining import AlproForPreTraining
from hf_prompt_models.models.alpro.modeling_alpro_prompter import MAX_LIST_BYTES, AlproPrompter
from hf_prompt_models.models.alpro.modeling_alpro_question_answering import AlproForVideoQuestionAnswering
from hf_prompt_models.models.alpro.modeling_alpro_retrieval import AlproForVideoTextRetrieval
from hf_prompt_models.models.alpro.processing_alpro import AlproProcessor
from hf_prompt_models.utils.files import read_json, read_text


WRAPPER = "model"
MAX_LAYERS = 100
HEAD_WIDTH = 64
"""Channels of an attention head, which cannot be inferred from the shape of a tensor."""

VIDEO, TEXT = "visual_encoder.model.", "text_encoder."
PROMPTER = "prompter."
PROMPTS = {"video_prompts": "video_prompt_feat", "image_prompts": "image_prompt_feat"}
VIDEO_NAMES = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.time_embeddings": "time_embed",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm": "norm",
}
BLOCK_NAMES = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "temporal_layernorm": "temporal_norm1",
    "temporal_dense": "temporal_fc",
    "temporal_attention.attention.qkv": "temporal_attn.qkv",
    "temporal_attention.output.dense": "temporal_attn.proj",
    "attention.attention.qkv": "attn.qkv",
    "attention.output.dense": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
HEAD_NAMES = {
    "video_projection": "vision_proj",
    "text_projection": "text_proj",
    "temperature": "temp",
    "vtm_head": "itm_head",
    "pem_head": "mpm_head",
    "mlm_head": "text_encoder.cls",
    "classifier": "classifier",
}
PRETRAINING_TEXT_LENGTH, TEXT_LENGTH = 30, 40
WORDS = "text_encoder.embeddings.word_embeddings.weight"
TIED = {"text_encoder.cls.predictions.decoder.weight": WORDS}
TIED["text_encoder.cls.predictions.decoder.bias"] = "text_encoder.cls.predictions.bias"
OPTIONAL = ("alpro.video_projection.", "alpro.text_projection.", "alpro.temperature")
"""Unused in question answering: the original's checkpoints have them, those of LAVIS do not."""
UNREAD = {
    r"(prompter\.)?text_encoder\.embeddings\.position_ids": "consecutive numbers, which need no tensor",
    r"(prompter\.)?visual_encoder\.model\.head\..*": "head for the actions of Kinetics, which is not used",
    r"(prompter\.)?text_encoder\.pooler\..*": "ALPRO uses the first token instead",
    r"(prompter\.)?text_encoder\.cls\..*": "head of the masked language model, which is used only in pre-training",
    r"(prompter\.)?itm_head\..*": "matching head, which is not used here",
    r"mpm_head\..*": "entity head, which cannot be trained without a prompter in the file",
}
"""Other tensors of checkpoints, and why they are dropped if the model has no such tensor."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--checkpoint", required=True, help="checkpoint of the original code or of LAVIS, a .pt file")
    parser.add_argument(
        "--tokenizer", required=True, help="Hub id or folder of the BERT tokenizer that the model was trained with"
    )
    parser.add_argument("--output_dir", required=True, help="folder to write the converted model to")
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="for question answering: train_ans2label.json, a JSON object that maps answers to indices",
    )
    parser.add_argument(
        "--entities", metavar="FILE", help="for a prompter: unigrams.txt, whose lines start with the name of an entity"
    )
    parser.add_argument(
        "--num_frames", type=int, help="number of frames per video (default: as many as the model has time embeddings)"
    )


def convert(arguments: argparse.Namespace) -> list[str]:
    """Run the command and return the lines to print."""
    _, report = convert_from_original(
        arguments.checkpoint,
        arguments.tokenizer,
        arguments.output_dir,
        arguments.labels,
        arguments.entities,
        arguments.num_frames,
    )
    return [*report, f"saved {arguments.output_dir}"]


def convert_from_original(
    checkpoint: str | os.PathLike,
    tokenizer: str | os.PathLike | PreTrainedTokenizerBase,
    output_dir: str | os.PathLike | None = None,
    labels: str | os.PathLike | None = None,
    entities: str | os.PathLike | None = None,
    num_frames: int | None = None,
) -> tuple[AlproPreTrainedModel, list[str]]:
    """Convert a checkpoint of the original code or of LAVIS, in float32, without executing anything in the file.

    Args:
        checkpoint: the checkpoint file.
        tokenizer: the BERT tokenizer, its Hub id or its folder.
        output_dir: folder to save the model with its processor to. Default: it is not saved.
        labels: a JSON file of answers and their indices, for question answering.
        entities: a file with one entity per line, for a checkpoint with a prompter.
        num_frames: number of frames that the model takes. Default: as many as it has time embeddings.

    Returns:
        The model, and the lines of a report on what was read and what was dropped.

    Raises:
        OSError: if there is no such file or tokenizer.
        ValueError: if the file is not an ALPRO checkpoint, lacks tensors or has unknown ones, or other files do not
            fit it.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        tokenizer = AutoTokenizer.from_pretrained(tokenizer)
    read = read_original_checkpoint(checkpoint)
    model_class = infer_class(read)
    config: Any = infer_config(read, model_class)
    if len(tokenizer) > config.text_config.vocab_size:
        raise ValueError(
            f"The tokenizer has {len(tokenizer)} tokens, but the model in {read.file} has "
            f"{config.text_config.vocab_size}. Pass the tokenizer that it was trained with."
        )
    if labels is not None:
        _add_labels(config, labels, model_class)
    if entities is not None:
        _add_entities(config, entities, read)
    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in model_class(config).state_dict().items()}
    taken, dropped = _match_tensors(read, expected, model_class)
    model = model_class(config)
    model.load_state_dict(taken, strict=False)
    report = _report(read, model, taken, dropped)
    if num_frames is not None and num_frames != config.num_frames:
        report.append(f"  frames: {config.num_frames} time embeddings, resized to {num_frames}")
        model.resize_time_embeddings(num_frames)
    model.processor = _processor(config, tokenizer, model_class)
    model.eval()
    if output_dir is not None:
        model.save_pretrained(output_dir)
    return model, report


@dataclass(frozen=True)
class OriginalCheckpoint:
    """A checkpoint of the original code.

    Args:
        file: the checkpoint file.
        tensors: the tensors by name, without `bert.` and without the `module.` of `DataParallel`.
        left_out: names of the other entries of the file.
    """

    file: Path
    tensors: dict[str, torch.Tensor]
    left_out: list[str]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape.

        Raises:
            ValueError: if there is no such tensor.
        """
        if name not in self.tensors:
            raise ValueError(f"{self.file} is not a checkpoint of ALPRO: it has no {name!r}.")
        return tuple(self.tensors[name].shape)

    def has(self, prefix: str) -> bool:
        """Return whether a tensor's name starts with `prefix`."""
        return any(name.startswith(prefix) for name in self.tensors)

    def count_layers(self, prefix: str) -> int:
        """Return the number of layers whose names start with a prefix.

        Raises:
            ValueError: if there are none or too many, or they are not numbered 0, 1, 2, ….
        """
        names = (name.removeprefix(prefix) for name in self.tensors if name.startswith(prefix))
        numbers = {name.partition(".")[0] for name in names}
        if not 0 < len(numbers) <= MAX_LAYERS or numbers != set(map(str, range(len(numbers)))):
            raise ValueError(
                f"{self.file} is not a checkpoint of ALPRO: after {prefix!r} it has the layers "
                f"{', '.join(sorted(numbers))[:100] or 'none'} instead of 0, 1, 2, …."
            )
        return len(numbers)


def read_original_checkpoint(file: str | os.PathLike) -> OriginalCheckpoint:
    """Read a checkpoint without executing anything in it.

    Raises:
        OSError, ValueError: as `read_torch_checkpoint` does, or if it holds no named tensors.
    """
    content = read_torch_checkpoint(file)
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"{file} is not a checkpoint of ALPRO: it is not a dict of named tensors.")
    wrapped = isinstance(content.get(WRAPPER), dict)
    state_dict: dict[Any, Any] = content[WRAPPER] if wrapped else content
    for name, tensor in state_dict.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise ValueError(f"{str(name)[:100]!r} in {file} is not a named tensor.")
    in_parallel = all(name.startswith("module.") for name in state_dict)
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in state_dict.items():
        short = name.removeprefix("module.") if in_parallel else name
        tensors[re.sub(r"(^|\.)text_encoder\.bert\.", r"\1text_encoder.", short)] = tensor
    if len(tensors) < len(state_dict):
        raise ValueError(f"{file} contains tensors of the text encoder twice, with and without 'bert.'.")
    return OriginalCheckpoint(Path(file), tensors, [name for name in content if name != WRAPPER] if wrapped else [])


# -- class and configuration -----------------------------------------------------------------------------------------


def infer_class(read: OriginalCheckpoint) -> type[AlproPreTrainedModel]:
    """Return the model class whose weights a checkpoint contains."""
    if read.has("classifier."):
        return AlproForVideoQuestionAnswering
    if read.has("mpm_head.") or read.has(PROMPTER):
        return AlproForPreTraining
    if any(name in read.tensors for name in PROMPTS.values()):
        return AlproPrompter
    return AlproForVideoTextRetrieval


def infer_config(read: OriginalCheckpoint, model_class: type[AlproPreTrainedModel]) -> AlproConfig:
    """Return the configuration that follows from the shapes of a checkpoint's tensors.

    Raises:
        ValueError: if a tensor is missing.
    """
    patches = read.shape(f"{VIDEO}pos_embed")[1] - 1
    side = round(patches**0.5)
    width, _, patch_size, _ = read.shape(f"{VIDEO}patch_embed.proj.weight")
    if side * side != patches:
        raise ValueError(f"{read.file} has positions for {patches} patches, which do not form a square.")
    layers = read.count_layers(f"{TEXT}encoder.layer.")
    vocabulary, text_width = read.shape(WORDS)
    config: dict[str, Any] = {
        "vision_config": {
            "image_size": side * patch_size,
            "patch_size": patch_size,
            "num_frames": read.shape(f"{VIDEO}time_embed")[1],
            "hidden_size": width,
            "num_hidden_layers": read.count_layers(f"{VIDEO}blocks."),
            "num_attention_heads": max(width // HEAD_WIDTH, 1),
            "intermediate_size": read.shape(f"{VIDEO}blocks.0.mlp.fc1.weight")[0],
        },
        "text_config": {
            "vocab_size": vocabulary,
            "hidden_size": text_width,
            "num_hidden_layers": layers,
            "num_attention_heads": max(text_width // HEAD_WIDTH, 1),
            "intermediate_size": read.shape(f"{TEXT}encoder.layer.0.intermediate.dense.weight")[0],
            "max_position_embeddings": read.shape(f"{TEXT}embeddings.position_embeddings.weight")[0],
            "type_vocab_size": read.shape(f"{TEXT}embeddings.token_type_embeddings.weight")[0],
        },
        "fusion_layer": layers // 2,
        "num_entities": 0,
    }
    if "vision_proj.weight" in read.tensors:
        config["projection_dim"] = read.shape("vision_proj.weight")[0]
    prefix = PROMPTER if model_class is AlproForPreTraining else ""
    if model_class is AlproPrompter or read.has(PROMPTER):
        config["num_entities"] = read.shape(f"{prefix}{PROMPTS['video_prompts']}")[0]
    if model_class is AlproForVideoQuestionAnswering:
        config["num_labels"] = read.shape("classifier.2.weight")[0]
    if model_class is AlproForPreTraining:
        config["tie_word_embeddings"] = all(_equal(read, *pair) for pair in TIED.items())
    return AlproConfig(**config)


def _equal(read: OriginalCheckpoint, name: str, source: str) -> bool:
    """Return whether a tensor is missing or equals the tensor that the original ties it to."""
    return name not in read.tensors or torch.equal(read.tensors[name], read.tensors.get(source, torch.empty(0)))


def _add_labels(config: AlproConfig, file: str | os.PathLike, model_class: type[AlproPreTrainedModel]) -> None:
    if model_class is not AlproForVideoQuestionAnswering:
        raise ValueError(f"{file} lists answers, but the checkpoint is not for question answering. Remove --labels.")
    labels = read_json(file, MAX_LIST_BYTES, "lists of answers")
    known = config.num_labels
    if not isinstance(labels, dict) or not all(type(each) is int and 0 <= each < known for each in labels.values()):
        raise ValueError(f"{file} must be a JSON object that maps answers to indices from 0 to {known - 1}.")
    names = {index: answer for answer, index in labels.items()}
    if len(names) < len(labels):
        raise ValueError(f"{file} maps two answers to the same index. Give each answer its own index.")
    # The original model has more outputs than there are answers.
    config.id2label = {index: names.get(index, f"LABEL_{index}") for index in range(known)}
    config.label2id = {name: index for index, name in config.id2label.items()}


def _add_entities(config: AlproConfig, file: str | os.PathLike, read: OriginalCheckpoint) -> None:
    if not config.num_entities:
        raise ValueError(f"{file} lists entities, but {read.file} contains no prompter. Remove --entities.")
    lines = read_text(file, MAX_LIST_BYTES, "lists of entities").splitlines()
    names = [line.split()[0] for line in lines if line.strip()][: config.num_entities]
    if len(names) < config.num_entities:
        raise ValueError(
            f"{file} lists {len(names)} entities, but the prompter in {read.file} has {config.num_entities}. Pass "
            "the list of entities that it was trained with."
        )
    config.entities = check_entities(names)


# -- tensors ---------------------------------------------------------------------------------------------------------


def original_name(name: str) -> str:
    """Return the original name, without `bert.`, of a tensor of this package's models."""
    if name.startswith(PROMPTER):
        return PROMPTER + original_name(name.removeprefix(PROMPTER))
    if name in PROMPTS:
        return PROMPTS[name]
    name = name.removeprefix("alpro.")
    if name.startswith("video_model."):
        return VIDEO + _video_name(name.removeprefix("video_model."))
    if name.startswith("text_model."):
        return TEXT + name.removeprefix("text_model.")
    head, _, rest = name.partition(".")
    return ".".join(filter(None, (HEAD_NAMES[head], rest)))


def _video_name(name: str) -> str:
    if block := re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)", name):
        return f"blocks.{block[1]}.{BLOCK_NAMES[block[2]]}.{block[3]}"
    if name in VIDEO_NAMES:
        return VIDEO_NAMES[name]
    part, _, kind = name.rpartition(".")
    return f"{VIDEO_NAMES[part]}.{kind}"


def _match_tensors(
    read: OriginalCheckpoint, expected: dict[str, tuple[int, ...]], model_class: type[AlproPreTrainedModel]
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the model's tensors by their names in this package, and a reason for each name that is dropped."""
    sources = {name: original_name(name) for name in expected}
    taken = {}
    for name, source in sources.items():
        found = source if source in read.tensors else TIED.get(source, source)
        if found in read.tensors:
            taken[name] = read.tensors[found]
    is_qa = model_class is AlproForVideoQuestionAnswering
    missing = [
        source for name, source in sources.items() if name not in taken and not (is_qa and name.startswith(OPTIONAL))
    ]
    left = [name for name in read.tensors if name not in set(sources.values())]
    dropped = {name: reason for name in left for rule, reason in UNREAD.items() if re.fullmatch(rule, name)}
    unknown = [name for name in left if name not in dropped]
    wrong = [
        f"{sources[name]!r} is {tuple(tensor.shape)} instead of {expected[name]}"
        for name, tensor in taken.items()
        if tuple(tensor.shape) != expected[name]
    ]
    problems = [
        f"{what} {_listed(names)}"
        for what, names in (("missing tensors:", missing), ("unknown tensors:", unknown), ("other shapes:", wrong))
        if names
    ]
    if problems:
        raise ValueError(
            f"{read.file} is not a checkpoint of ALPRO for {model_class.__name__}: {'; '.join(problems)}."
        )
    for name, tensor in taken.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{sources[name]!r} in {read.file} contains NaN or infinity, so training had diverged.")
    return taken, dropped


def _processor(
    config: AlproConfig, tokenizer: PreTrainedTokenizerBase, model_class: type[AlproPreTrainedModel]
) -> AlproProcessor:
    vision: Any = config.vision_config
    pretraining = model_class in (AlproForPreTraining, AlproPrompter)
    return AlproProcessor(
        AlproImageProcessor(size={"height": vision.image_size, "width": vision.image_size}),
        tokenizer,
        num_frames=vision.num_frames,
        max_text_length=PRETRAINING_TEXT_LENGTH if pretraining else TEXT_LENGTH,
        patch_size=vision.patch_size,
    )


def _report(
    read: OriginalCheckpoint,
    model: AlproPreTrainedModel,
    taken: dict[str, torch.Tensor],
    dropped: dict[str, str],
) -> list[str]:
    config: Any = model.config
    vision, text = config.vision_config, config.text_config
    lines = [
        (
            f"read {read.file}: {type(model).__name__}, used {len(read.tensors) - len(dropped)} of "
            f"{len(read.tensors)} tensors"
        ),
        f"  video: {vision.num_hidden_layers} layers of width {vision.hidden_size}, {config.num_frames} frames of "
        f"{vision.image_size} pixels",
        f"  text: {config.fusion_layer} layers of width {text.hidden_size}, then "
        f"{text.num_hidden_layers - config.fusion_layer} for text and video",
    ]
    if config.num_entities:
        lines.append(f"  entities: {config.num_entities}" + (", without names (--entities)" * (not config.entities)))
    if isinstance(model, AlproForVideoQuestionAnswering):
        lines.append(f"  answers: {config.num_labels}")
    for reason in dict.fromkeys(dropped.values()):
        lines.append(f"  dropped: {_listed([name for name, why in dropped.items() if why == reason])}: {reason}")
    new = [name for name in model.state_dict() if name not in taken]
    if new:
        lines.append(
            f"  newly initialized, because the file has none: {_listed(new)}; {type(model).__name__} does not use them"
        )
    if read.left_out:
        lines.append(f"  left out, because they are not weights of the model: {_listed(read.left_out)}")
    return lines


def _listed(names: list[str]) -> str:
    return ", ".join(name[:100] for name in names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
