"""The two-tower models of transformers that support prompts, and how they differ.

A model is listed by the type of its text configuration. A model can be added if its text tower either is causal and
pooled at the end token, as in CLIP, or attends to all positions, as in SigLIP.
"""

from dataclasses import dataclass, replace

from transformers import (
    CLIPModel,
    CLIPTextConfig,
    MetaClip2Model,
    MetaClip2TextConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Siglip2Model,
    Siglip2TextConfig,
    SiglipModel,
    SiglipTextConfig,
)


@dataclass(frozen=True)
class Backbone:
    """The properties in which a type of backbone differs from others.

    Attributes:
        model_class: class of the model.
        packs_prompts: whether its text tower is causal and pooled at the end token, so that prompts can share rows
            (`prompts.text_encoding`). Otherwise, each prompt is padded to all positions and pooled at the last one
            (`prompts.padded_encoding`).
        has_class_token: whether its image tower is pooled at a class token, as in CLIP.
        start_tokens: number of tokens that its tokenizer adds before a text.
        has_logit_bias: whether a learned bias is added to the scaled similarities.
        image_inputs: keyword arguments of its image tower.
        fingerprint_weights: names of small tensors that distinguish checkpoints of this type.
    """

    model_class: type[PreTrainedModel]
    packs_prompts: bool
    has_class_token: bool
    start_tokens: int
    has_logit_bias: bool
    image_inputs: tuple[str, ...]
    fingerprint_weights: tuple[str, ...]


_CLIP = Backbone(
    model_class=CLIPModel,
    packs_prompts=True,
    has_class_token=True,
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
    packs_prompts=False,
    has_class_token=False,
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

BACKBONES: dict[type[PreTrainedConfig], Backbone] = {
    CLIPTextConfig: _CLIP,
    MetaClip2TextConfig: replace(_CLIP, model_class=MetaClip2Model),
    SiglipTextConfig: _SIGLIP,
    # For NaFlex checkpoints. SigLIP 2 with a fixed resolution is a SiglipModel.
    Siglip2TextConfig: replace(
        _SIGLIP, model_class=Siglip2Model, image_inputs=("pixel_values", "pixel_attention_mask", "spatial_shapes")
    ),
}


def find_backbone(text_config: PreTrainedConfig) -> Backbone:
    """Return the backbone for a text configuration.

    Raises:
        TypeError: if its type is not listed, so that it is unknown how the model encodes a prompt.
    """
    backbone = BACKBONES.get(type(text_config))
    if backbone is None:
        known = ", ".join(backbone.model_class.__name__ for backbone in BACKBONES.values())
        raise TypeError(
            f"Prompts cannot be encoded by a text tower with a {type(text_config).__name__}: the backbone must be "
            f"one of {known}."
        )
    return backbone
