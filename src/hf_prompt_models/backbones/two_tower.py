"""The two-tower models of transformers that prompts can be put through, and what differs between them.

A model is listed by the type of its text tower's configuration. To add one: its text tower either is causal and read
at its end token, as CLIP's, or reads all of its positions, as SigLIP's.
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
    """What a type of backbone does in its own way.

    Attributes:
        model_class: the model.
        packs_prompts: whether its text tower is causal and read at the end token, so that prompts can share rows
            (`prompts.text_encoding`). Otherwise each is padded to all positions, and the last is read
            (`prompts.padded_encoding`).
        has_class_token: whether its image tower has a class token, as a CLIP's has, that images are read at.
        start_tokens: tokens that its tokenizer writes before a text.
        has_logit_bias: whether a learned bias is added to the scaled similarities.
        image_inputs: what its image tower takes.
        fingerprint_weights: small tensors by which a checkpoint of this type is told from another.
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
    # NaFlex checkpoints; SigLIP 2 of a fixed resolution is a SiglipModel.
    Siglip2TextConfig: replace(
        _SIGLIP, model_class=Siglip2Model, image_inputs=("pixel_values", "pixel_attention_mask", "spatial_shapes")
    ),
}


def find_backbone(text_config: PreTrainedConfig) -> Backbone:
    """The backbone with such a text tower.

    Raises:
        TypeError: for a type that is not listed: nothing is known then of how it reads a prompt.
    """
    backbone = BACKBONES.get(type(text_config))
    if backbone is None:
        known = ", ".join(backbone.model_class.__name__ for backbone in BACKBONES.values())
        raise TypeError(
            f"Prompts cannot be encoded by a text tower with a {type(text_config).__name__}: the backbone must be "
            f"one of {known}."
        )
    return backbone
