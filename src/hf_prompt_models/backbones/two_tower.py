"""The two-tower models that support prompts, by their `model_type`, and how they differ."""

from dataclasses import dataclass, replace
from typing import Literal

from transformers import (
    AlignModel,
    AltCLIPModel,
    ChineseCLIPModel,
    CLIPModel,
    MetaClip2Model,
    PreTrainedConfig,
    PreTrainedModel,
    Siglip2Model,
    SiglipModel,
)

from hf_prompt_models.backbones.clip_resnet import ClipResNetModel


@dataclass(frozen=True)
class Backbone:
    """The properties in which a type of backbone differs from others.

    Attributes:
        model_class: class of the model.
        text_pooling: which output of its text tower is the feature of a text. "end token": the tower is causal, as in
            CLIP. "last position": it is bidirectional, and texts are padded to all of its positions, as in SigLIP.
            "first position": it is bidirectional and does not attend to padding, as in BERT.
        image_tokens: the tokens in the layers of its image tower. "class token": a class token, which is pooled, and
            patches. "patches": patches alone. "none": the tower is convolutional.
        start_tokens: number of tokens that its tokenizer adds before a text.
        has_logit_bias: whether a learned bias is added to the scaled similarities.
        has_temperature: whether similarities are divided by a parameter `temperature`, instead of multiplied with
            `exp(logit_scale)`.
        counts_positions_from_padding: whether the first token has the position after the id of the padding token, as
            in RoBERTa.
        image_inputs: keyword arguments of its image tower.
        fingerprint_weights: names of small tensors that distinguish checkpoints of this type.
    """

    model_class: type[PreTrainedModel]
    text_pooling: Literal["end token", "last position", "first position"]
    image_tokens: Literal["class token", "patches", "none"]
    start_tokens: int
    has_logit_bias: bool
    image_inputs: tuple[str, ...]
    fingerprint_weights: tuple[str, ...]
    has_temperature: bool = False
    counts_positions_from_padding: bool = False

    @property
    def packs_prompts(self) -> bool:
        """Whether prompts can share rows of the text tower (`prompts.text_encoding`)."""
        return self.text_pooling == "end token"

    @property
    def has_class_token(self) -> bool:
        """Whether the image tower is pooled at a class token."""
        return self.image_tokens == "class token"

    def num_positions(self, config: PreTrainedConfig) -> int:
        """Return the largest number of tokens in a prompt.

        Args:
            config: configuration of a backbone of this type.
        """
        text_config = config.text_config
        unused = text_config.pad_token_id + 1 if self.counts_positions_from_padding else 0
        return text_config.max_position_embeddings - unused


_CLIP = Backbone(
    model_class=CLIPModel,
    text_pooling="end token",
    image_tokens="class token",
    start_tokens=1,
    has_logit_bias=False,
    image_inputs=("pixel_values",),
    fingerprint_weights=(
        "text_model.final_layer_norm.weight",
        "vision_model.post_layernorm.weight",
        "text_projection.weight",
        "visual_projection.weight",
    ),
)
_SIGLIP = Backbone(
    model_class=SiglipModel,
    text_pooling="last position",
    image_tokens="patches",
    start_tokens=0,
    has_logit_bias=True,
    image_inputs=("pixel_values",),
    fingerprint_weights=(
        "text_model.final_layer_norm.weight",
        "vision_model.post_layernorm.weight",
        "text_model.head.weight",
        "vision_model.head.probe",
    ),
)

_CHINESE_CLIP = replace(
    _CLIP,
    model_class=ChineseCLIPModel,
    text_pooling="first position",
    fingerprint_weights=(
        "text_model.embeddings.LayerNorm.weight",
        "vision_model.post_layernorm.weight",
        "text_projection.weight",
        "visual_projection.weight",
    ),
)

BACKBONES: dict[str, Backbone] = {
    "clip": _CLIP,
    "clip_resnet": replace(
        _CLIP,
        model_class=ClipResNetModel,
        image_tokens="none",
        fingerprint_weights=(
            "text_model.final_layer_norm.weight",
            "vision_model.embeddings.conv3.normalization.weight",
            "text_projection.weight",
            "vision_model.attention_pool.out_proj.weight",
        ),
    ),
    "metaclip_2": replace(_CLIP, model_class=MetaClip2Model),
    "siglip": _SIGLIP,
    # For NaFlex checkpoints. SigLIP 2 with a fixed resolution is a SiglipModel.
    "siglip2": replace(
        _SIGLIP, model_class=Siglip2Model, image_inputs=("pixel_values", "pixel_attention_mask", "spatial_shapes")
    ),
    "chinese_clip": _CHINESE_CLIP,
    "altclip": replace(
        _CHINESE_CLIP,
        model_class=AltCLIPModel,
        counts_positions_from_padding=True,
        fingerprint_weights=(
            "text_model.pre_LN.weight",
            "vision_model.post_layernorm.weight",
            "text_projection.weight",
            "visual_projection.weight",
        ),
    ),
    "align": replace(
        _CHINESE_CLIP,
        model_class=AlignModel,
        image_tokens="none",
        has_temperature=True,
        fingerprint_weights=(
            "text_model.embeddings.LayerNorm.weight",
            "vision_model.embeddings.batchnorm.weight",
            "text_projection.weight",
        ),
    ),
}


def find_backbone(config: PreTrainedConfig) -> Backbone:
    """Return the backbone of a configuration, such as a `CLIPConfig`.

    Raises:
        TypeError: if its type is not listed, so that it is unknown how the model encodes a prompt.
    """
    backbone = BACKBONES.get(config.model_type)
    if backbone is None:
        known = ", ".join(backbone.model_class.__name__ for backbone in BACKBONES.values())
        raise TypeError(f"Prompts cannot be encoded by a backbone of type {config.model_type!r}. Pass one of {known}.")
    return backbone
