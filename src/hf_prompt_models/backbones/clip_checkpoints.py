"""Read CLIPs that OpenAI's code or open_clip saved as models of transformers, without executing code from them.

OpenAI's files are TorchScript archives or state dicts. Their sizes follow from the shapes of their tensors, as in
OpenAI's `build_model`. Folders and repositories of open_clip have an `open_clip_config.json` next to the weights.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.image_processing_backends import PilBackend
from transformers.utils import CONFIG_NAME
from transformers.utils.hub import cached_file

from hf_prompt_models.backbones.clip_resnet import ClipResNetConfig, ClipResNetModel
from hf_prompt_models.backbones.open_clip import (
    CONFIG_FILE,
    HEAD_WIDTH,
    MAX_CONFIG_BYTES,
    WEIGHT_FILES,
    OpenClipConfig,
    make_image_processor,
    read_open_clip_config,
    special_tokens,
)
from hf_prompt_models.backbones.openai_names import find_source
from hf_prompt_models.checkpoints.state_dicts import read_state_dict
from hf_prompt_models.checkpoints.untrusted import check_config, reading
from hf_prompt_models.utils.files import read_json


OPENAI_SCALARS = frozenset({"input_resolution", "context_length", "vocab_size"})
"""Numbers in the state dict of OpenAI's archives, which tell them from other files with the same tensors."""
NOT_OF_THE_MODEL = ("attn_mask", "position_ids")
"""Last parts of the names of tensors that are computed from the sizes of the model."""
OTHER_HEAD_WIDTHS = (1280, 1408, 1664, 1792)
"""Widths of open_clip's image towers whose attention heads are wider than OpenAI's. No tensor's shape shows it."""
RESNET_POSITIONS = "visual.attnpool.positional_embedding"
FAMILIES = {
    r"text_decoder\.|visual\.attn_pool\.": "a CoCa",
    r"visual\.trunk\.": "a CLIP whose image tower is timm's, such as a ConvNeXt, EVA, SigLIP, MobileCLIP or PE-Core",
    r"text\.(transformer\.(embeddings|encoder)|proj)\.": "a CLIP whose text tower is transformers', such as a RoBERTa",
    r"(text_model|vision_model)\.": "a model with transformers' own names, which from_pretrained loads",
}
"""Other models, by patterns of the names of their tensors."""
TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json", "vocab.json")
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
LISTED = 5


@dataclass(frozen=True)
class ClipCheckpoint:
    """A CLIP of another library in the terms of transformers.

    Args:
        file: the file of weights.
        model_class: class of the model.
        config: its configuration.
        state_dict: its tensors, in float32 but for counts.
        image_processor: its image processor.
        dtypes: data types of the tensors in the file.
        activation_source: what the activation was read from.
    """

    file: Path
    model_class: type[PreTrainedModel]
    config: PreTrainedConfig
    state_dict: dict[str, torch.Tensor]
    image_processor: PilBackend
    dtypes: tuple[str, ...]
    activation_source: str

    def build(self, **kwargs: Any) -> PreTrainedModel:
        """Return the model.

        Args:
            kwargs: keyword arguments of `from_pretrained`: `dtype`, `device_map`, `attn_implementation`, ….
        """
        return self.model_class.from_pretrained(None, config=self.config, state_dict=self.state_dict, **kwargs)


def is_open_clip(name_or_path: str | os.PathLike, **hub_kwargs: Any) -> bool:
    """Return whether a folder or repository has a model of open_clip and none of transformers.

    Args:
        name_or_path: Hub id or folder.
        hub_kwargs: `revision`, `token`, … of the repository.
    """
    config = _find(name_or_path, CONFIG_NAME, hub_kwargs)
    if config is not None:
        content = read_json(config, MAX_CONFIG_BYTES, "configurations")
        if not isinstance(content, dict) or "model_type" in content:
            return False
    return has_open_clip_config(name_or_path, **hub_kwargs)


def has_open_clip_config(name_or_path: str | os.PathLike, **hub_kwargs: Any) -> bool:
    """Return whether a folder or repository has an `open_clip_config.json`, as far as can be found out.

    Args:
        name_or_path: Hub id or folder.
        hub_kwargs: `revision`, `token`, … of the repository.
    """
    try:
        return _find(name_or_path, CONFIG_FILE, hub_kwargs) is not None
    except OSError:
        return False


def read_clip_checkpoint(
    checkpoint: str | os.PathLike, activation: str | None = None, **hub_kwargs: Any
) -> ClipCheckpoint:
    """Read a CLIP of OpenAI's code or of open_clip.

    Args:
        checkpoint: a file of weights, its folder, or the Hub id of a repository of open_clip. The
            `open_clip_config.json` in the folder is read; next to one of OpenAI's files, it is ignored.
        activation: "quick_gelu" or "gelu". Default: what the configuration says; OpenAI's files have "quick_gelu".
        hub_kwargs: `revision`, `token`, … of a repository.

    Raises:
        OSError: if there is no such file or repository.
        ValueError: if a file is damaged, is of a family that transformers does not have, does not record its
            activation, or has missing, unknown or misshapen tensors. The message names the file.
    """
    is_file = Path(checkpoint).is_file()
    folder = Path(checkpoint).parent if is_file else checkpoint
    config_file = _find(folder, CONFIG_FILE, hub_kwargs)
    model = None
    if config_file is not None and not is_file:  # before the weights, so that other families are refused by name
        model = read_open_clip_config(config_file, activation)
    file = Path(checkpoint) if is_file else _find_weights(checkpoint, hub_kwargs)
    content = read_state_dict(file)
    tensors = _named_tensors(content, file)
    is_openai = content.keys() >= OPENAI_SCALARS
    source = f"from {CONFIG_FILE}"
    if model is None and config_file is not None and not is_openai:
        model = read_open_clip_config(config_file, activation)
    if model is None:
        if activation is None and not is_openai:
            raise ValueError(
                f"{file} does not record its activation: it is not one of OpenAI's files, and has no {CONFIG_FILE} "
                "next to it. Pass --activation quick_gelu or --activation gelu."
            )
        with reading(file, "The state dict"):
            model = _infer_config(tensors, activation or "quick_gelu", is_openai, file)
        source = "OpenAI's files have it"
    return ClipCheckpoint(
        file=file,
        model_class=model.model_class,
        config=model.config,
        state_dict=_translate_tensors(model, tensors, file),
        image_processor=model.image_processor,
        dtypes=tuple(sorted({str(each.dtype).removeprefix("torch.") for each in tensors.values()})),
        activation_source=source if activation is None else "as given",
    )


def read_image_processor(checkpoint: str | os.PathLike, **hub_kwargs: Any) -> PilBackend:
    """Return the image processor of a folder or repository of open_clip.

    Args:
        checkpoint: Hub id or folder.
        hub_kwargs: `revision`, `token`, … of the repository.

    Raises:
        OSError: if there is no `open_clip_config.json`.
        ValueError: as `read_open_clip_config` does.
    """
    config_file = _find(checkpoint, CONFIG_FILE, hub_kwargs)
    if config_file is None:
        raise FileNotFoundError(f"{str(checkpoint)!r} has no {CONFIG_FILE}.")
    return read_open_clip_config(config_file).image_processor


def load_tokenizer(place: str | os.PathLike, **hub_kwargs: Any) -> PreTrainedTokenizerBase | None:
    """Return the tokenizer in a folder or repository, or `None` if there is none.

    Args:
        place: Hub id or folder.
        hub_kwargs: `revision`, `token`, … of the repository.
    """
    found = [name for name in TOKENIZER_FILES if _find(place, name, hub_kwargs) is not None]
    if not found:
        return None
    # Without this file, the class of the tokenizer is not recorded. It is CLIP's, as in OpenAI's repositories.
    tokenizer_class = AutoTokenizer if found[0] == TOKENIZER_FILES[0] else CLIPTokenizer
    return tokenizer_class.from_pretrained(place, **hub_kwargs)


# -- files -----------------------------------------------------------------------------------------------------------


def _find(place: str | os.PathLike, name: str, hub_kwargs: Mapping[str, Any]) -> str | None:
    return cached_file(place, name, _raise_exceptions_for_missing_entries=False, **hub_kwargs)


def _find_weights(place: str | os.PathLike, hub_kwargs: Mapping[str, Any]) -> Path:
    """Return the file of weights in a folder or repository."""
    found = [file for name in WEIGHT_FILES if (file := _find(place, name, hub_kwargs)) is not None]
    path = Path(place)
    if not found and path.is_dir():
        found = [str(file) for file in sorted(path.iterdir()) if file.suffix in WEIGHT_SUFFIXES]
        if len(found) > 1:
            names = ", ".join(Path(file).name for file in found[:LISTED])
            raise ValueError(f"{path} contains {len(found)} files of weights ({names}). Pass one of them.")
    if not found:
        raise FileNotFoundError(
            f"{str(place)!r} contains no weights. Pass a file, or a folder with a {CONFIG_FILE} and "
            f"{' or '.join(WEIGHT_FILES)}."
        )
    return Path(found[0])


# -- tensors ---------------------------------------------------------------------------------------------------------


def _named_tensors(content: Mapping[str, torch.Tensor | int], file: Path) -> dict[str, torch.Tensor]:
    """Return the weights by the names of OpenAI's code, without what is computed from the sizes of the model."""
    for pattern, family in FAMILIES.items():
        if any(re.match(pattern, name) for name in content):
            raise ValueError(
                f"{file} is {family}. Only the vision transformers and the ResNets with the text tower of CLIP can be "
                "converted."
            )
    prefix = "text." if "text.positional_embedding" in content else ""  # of open_clip's models with `custom_text`
    tensors = {}
    for name, value in content.items():
        if name in OPENAI_SCALARS or name.rpartition(".")[2] in NOT_OF_THE_MODEL:
            continue
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{file} is not a CLIP: {name[:100]!r} is a number. Expected a tensor.")
        tensors[name.removeprefix(prefix)] = value
    return tensors


def _infer_config(tensors: Mapping[str, torch.Tensor], activation: str, is_openai: bool, file: Path) -> OpenClipConfig:
    """Return the model that has tensors of these shapes."""

    def size(name: str, dim: int) -> int:
        if name not in tensors:
            raise ValueError(f"{file} is not a CLIP of OpenAI's code or of open_clip: it has no {name!r}.")
        return tensors[name].shape[dim]

    def transformer(prefix: str, width: int) -> dict[str, Any]:
        heads = width // HEAD_WIDTH
        if not heads or width % heads or (width in OTHER_HEAD_WIDTHS and not is_openai):
            raise ValueError(
                f"{file} does not record the number of attention heads of a tower that is {width} wide. Put its "
                f"{CONFIG_FILE} next to it."
            )
        return {
            "hidden_act": activation,
            "projection_dim": projection_dim,
            "hidden_size": width,
            "intermediate_size": size(f"{prefix}0.mlp.c_fc.weight", 0),
            "num_hidden_layers": _count(tensors, prefix),
            "num_attention_heads": heads,
        }

    projection_dim = size("text_projection", 1)
    text_config = {
        **transformer("transformer.resblocks.", size("ln_final.weight", 0)),
        "vocab_size": size("token_embedding.weight", 0),
        "max_position_embeddings": size("positional_embedding", 0),
        **special_tokens(),
    }
    if RESNET_POSITIONS in tensors:
        image_size = 32 * round((size(RESNET_POSITIONS, 0) - 1) ** 0.5)
        vision_config = {
            "layers": [_count(tensors, f"visual.layer{stage}.") for stage in (1, 2, 3, 4)],
            "width": size("visual.layer1.0.conv1.weight", 0),
            "image_size": image_size,
            "output_dim": projection_dim,
        }
        config: PreTrainedConfig = ClipResNetConfig(text_config=text_config, vision_config=vision_config)
        return OpenClipConfig(ClipResNetModel, config, make_image_processor({}, image_size))
    patch_size = size("visual.conv1.weight", 3)
    image_size = patch_size * round((size("visual.positional_embedding", 0) - 1) ** 0.5)
    vision_config = {
        **transformer("visual.transformer.resblocks.", size("visual.conv1.weight", 0)),
        "image_size": image_size,
        "patch_size": patch_size,
    }
    config = CLIPConfig(projection_dim=projection_dim, text_config=text_config, vision_config=vision_config)
    return OpenClipConfig(CLIPModel, config, make_image_processor({}, image_size))


def _count(tensors: Mapping[str, torch.Tensor], prefix: str) -> int:
    """Return the number of layers whose names follow a prefix."""
    return len({name.removeprefix(prefix).partition(".")[0] for name in tensors if name.startswith(prefix)})


def _translate_tensors(model: OpenClipConfig, tensors: dict[str, torch.Tensor], file: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of the model, after checking that the file has exactly these."""
    with reading(file, "The configuration"):
        check_config(model.config.to_dict())
        with torch.device("meta"):
            expected = model.model_class(model.config).state_dict()
    if "logit_scale" in tensors and tensors["logit_scale"].numel() == 1:
        tensors["logit_scale"] = tensors["logit_scale"].reshape(())  # some of open_clip's models have a vector
    sources = {name: find_source(name) for name in expected}
    shapes = {source.name: source.original_shape(expected[name]) for name, source in sources.items()}
    problems = {
        "it lacks": [name for name in shapes if name not in tensors],
        "it has the unknown": [name for name in tensors if name not in shapes],
        "of another shape:": [
            f"{name} is {tuple(tensors[name].shape)}, not {shape}"
            for name, shape in shapes.items()
            if name in tensors and tensors[name].shape != shape
        ],
        "of another kind of numbers:": [
            source.name
            for name, source in sources.items()
            if source.name in tensors
            and expected[name].is_floating_point() != tensors[source.name].is_floating_point()
        ],
    }
    if any(problems.values()):
        said = "; ".join(f"{what} {_listed(names)}" for what, names in problems.items() if names)
        raise ValueError(f"{file} does not hold the weights of the model that its configuration describes: {said}.")
    return {name: source.take(tensors).contiguous() for name, source in sources.items()}


def _listed(names: list[str]) -> str:
    shown = ", ".join(name[:100] for name in names[:LISTED])
    return f"{shown} and {len(names) - LISTED} more" if len(names) > LISTED else shown
