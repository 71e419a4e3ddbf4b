"""A common interface to vision backbones of any type: pixel values in, feature map out."""

import math
import os
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import logging

from hf_prompt_models.backbones.packaged import CLIP_DIR, locate_backbone
from hf_prompt_models.hub.reachable import check_reachable


logger = logging.get_logger(__name__)


def load_vision_model(
    name_or_path: str | os.PathLike, from_scratch: bool = False, **hub_kwargs: Any
) -> PreTrainedModel:
    """Load a vision backbone in full precision; of a two-tower model (CLIP, SigLIP), load the image tower.

    Args:
        name_or_path: Hub id or folder of any model that `AutoModel` supports and that takes `pixel_values`;
            "playground" is the tiny CLIP in this package.
        from_scratch: whether to use only its configuration, with new weights.
        hub_kwargs: loading arguments such as `token` and `cache_dir`.

    Raises:
        OSError: if there is no such backbone, or it is damaged.
        TypeError: if it does not take images.
    """
    name_or_path = locate_backbone(name_or_path, CLIP_DIR)
    check_reachable(name_or_path, **hub_kwargs)
    config = AutoConfig.from_pretrained(name_or_path, **hub_kwargs)
    if "vision_config" in config.sub_configs:
        config = config.vision_config
    if from_scratch:
        model = AutoModel.from_config(config, dtype=torch.float32)
    else:
        try:
            model = _load_without_heads(name_or_path, config=config, dtype=torch.float32, **hub_kwargs)
        except SafetensorError as error:
            raise OSError(f"The weights of the vision model {str(name_or_path)!r} are damaged ({error}).") from error
    if model.main_input_name != "pixel_values":
        raise TypeError(
            f"The vision model {str(name_or_path)!r} is of type {config.model_type!r}, which takes "
            f"{model.main_input_name} instead of images. Pass a ResNet, ViT, CLIP, ConvNeXt, …."
        )
    model.config.name_or_path = ""  # the weights are saved in the checkpoint, so their source is not needed
    return model.eval()


def _load_without_heads(name_or_path: str | os.PathLike, **kwargs: Any) -> PreTrainedModel:
    """Load a vision model without the report about unused weights.

    Unused text towers and classifiers are expected. Weights that are missing in the checkpoint are reported.
    """
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        model, report = AutoModel.from_pretrained(name_or_path, output_loading_info=True, **kwargs)
    finally:
        logging.set_verbosity(level)
    if missing := sorted(report["missing_keys"]):
        shown = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
        logger.warning(
            f"{len(missing)} weights of the vision model {str(name_or_path)!r} are missing and newly "
            f"initialized: {shown}."
        )
    return model


def feature_width(config: PreTrainedConfig) -> int:
    """Return the number of channels of a vision backbone's last features.

    Convolutional backbones list the widths of all of their stages; the last one counts.
    """
    fields = config.to_dict()
    return fields["hidden_sizes"][-1] if fields.get("hidden_sizes") else config.hidden_size


def encode_feature_map(
    vision_model: PreTrainedModel, pixel_values: torch.Tensor, **kwargs: Any
) -> BaseModelOutputWithPooling:
    """Run the vision backbone and return its last features as a spatial map.

    Vision transformers return a sequence. Its patches are arranged as a square, and tokens in front of the patches
    (class token, registers) are dropped.

    Args:
        vision_model: a model as `load_vision_model` returns it.
        pixel_values: (images, 3, height, width). For vision transformers, height = width.
        kwargs: `output_hidden_states`, `output_attentions`.

    Returns:
        `.last_hidden_state` (images, channels, rows, columns). `.hidden_states` and `.attentions` are those that the
        backbone returns.

    Raises:
        ValueError: if attentions are requested from a backbone that returns none, or images are not square.
    """
    # Backbones without attention, such as a ResNet, may not accept the argument, not even as False.
    options = {name: value for name, value in kwargs.items() if name != "output_attentions" or value}
    outputs = vision_model(pixel_values, return_dict=True, **options)
    if kwargs.get("output_attentions") and outputs.get("attentions") is None:
        raise ValueError(
            f"A {type(vision_model).__name__} returned no attentions. Do not pass output_attentions for images."
        )
    return BaseModelOutputWithPooling(
        last_hidden_state=_as_map(vision_model, outputs.last_hidden_state, pixel_values),
        hidden_states=outputs.get("hidden_states"),
        attentions=outputs.get("attentions"),
    )


def _as_map(vision_model: PreTrainedModel, hidden: torch.Tensor, pixel_values: torch.Tensor) -> torch.Tensor:
    if hidden.dim() == 4:
        return hidden
    if pixel_values.shape[-1] != pixel_values.shape[-2]:
        raise ValueError(
            f"Expected square images for a {type(vision_model).__name__}, got "
            f"{tuple(pixel_values.shape[-2:])}. Let the image processor crop or resize them to equal sides."
        )
    side = math.isqrt(hidden.shape[1])
    patches = hidden[:, hidden.shape[1] - side * side :]
    return patches.transpose(1, 2).unflatten(-1, (side, side))
