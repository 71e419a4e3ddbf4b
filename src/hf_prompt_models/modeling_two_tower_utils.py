"""Base class of methods over a CLIP-like backbone: loading it, and encoding images with its frozen image tower."""

import os
from functools import partial
from typing import Any, ClassVar

import torch
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.processing_utils import Unpack
from transformers.utils.generic import TransformersKwargs

from hf_prompt_models.backbones.activations import replace_quick_gelu
from hf_prompt_models.backbones.packaged import CLIP_DIR
from hf_prompt_models.backbones.two_tower import BACKBONES, find_backbone
from hf_prompt_models.modeling_utils import HUB_KWARGS, PromptPreTrainedModel, at_least_float32
from hf_prompt_models.processing_utils import ClipPromptProcessor
from hf_prompt_models.prompts.class_names import get_tokenizer
from hf_prompt_models.prompts.image_encoding import encode_class_token
from hf_prompt_models.utils.forward_options import asks_for_states, forward_options
from hf_prompt_models.utils.parts import run_in_parts
from hf_prompt_models.utils.precision import in_image_dtype


class TwoTowerModel(PromptPreTrainedModel):
    """Base class of methods over a backbone in `backbones.BACKBONES`, which encodes images and texts separately."""

    backbone_classes = tuple(backbone.model_class for backbone in BACKBONES.values())
    backbone_name = "clip"
    packaged_backbone = CLIP_DIR
    processor_class: ClassVar[type[ClipPromptProcessor]]
    main_input_name = "pixel_values"
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    clip: PreTrainedModel
    image_dtype: torch.dtype | None = None
    """Precision of the image tower's matrix products, such as `torch.bfloat16`. `None`: that of the weights."""

    def __init__(self, config: PreTrainedConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config)
        self.backbone_type = find_backbone(config.clip_config)
        self.clip = self.backbone_type.model_class._from_config(config.clip_config) if backbone is None else backbone
        replace_quick_gelu(self.clip)

    @classmethod
    def fingerprint_weights(cls, backbone: PreTrainedModel) -> tuple[str, ...]:
        """Return the names of the weights that identify the backbone."""
        return find_backbone(backbone.config).fingerprint_weights

    @classmethod
    def _load_parts(
        cls,
        name_or_path: str | os.PathLike,
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None,
        kwargs: dict[str, Any],
    ) -> tuple[PreTrainedModel, ClipPromptProcessor | None, PreTrainedTokenizerBase]:
        """Load what `from_backbone` needs; the processor is `None` only if the backbone has no image processor."""
        clip = cls.load_backbone(name_or_path, **kwargs)
        hub_kwargs = {name: kwargs[name] for name in HUB_KWARGS if name in kwargs}
        if isinstance(tokenizer, ProcessorMixin):
            return clip, cls.processor_class(tokenizer.image_processor, tokenizer.tokenizer), tokenizer.tokenizer
        if tokenizer is None:
            processor = cls.processor_class.from_backbone(name_or_path, **hub_kwargs)
            return clip, processor, processor.tokenizer
        get_tokenizer(tokenizer)
        try:
            return clip, cls.processor_class.from_backbone(name_or_path, tokenizer, **hub_kwargs), tokenizer
        except OSError:
            return clip, None, tokenizer

    def encoding_backbone(self, tower: str) -> PreTrainedModel:
        """Return the model that encodes prompts or images: the backbone, or it with the changes that a method makes.

        Args:
            tower: tower that encodes, "text_model" or "vision_model".
        """
        return self.clip

    def similarity_scale(self) -> torch.Tensor:
        """Return the factor of cosine similarities in the logits, a scalar in full precision."""
        if self.backbone_type.has_temperature:
            return 1 / at_least_float32(self.clip.temperature)
        return at_least_float32(self.clip.logit_scale).exp()

    @property
    def image_feature_size(self) -> int:
        """Size of image and class features."""
        config, is_siglip = self.clip.config, self.backbone_type.text_pooling == "last position"
        return config.text_config.projection_size if is_siglip else config.projection_dim

    @property
    def image_feature(self) -> str:
        """Which features of an image the model reads, as part of the key of cached features."""
        return "projected"

    @forward_options
    def get_image_features(
        self,
        pixel_values: torch.Tensor | None,
        pixel_attention_mask: torch.Tensor | None = None,
        spatial_shapes: torch.Tensor | None = None,
        pooled_only: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Return the image features: `.pooler_output`, (batch, dim), L2-normalised.

        The processor returns all tensors that are needed.

        Args:
            pixel_values: (batch, 3, height, width); for NaFlex backbones (batch, patches, 3 * patch size ** 2).
            pixel_attention_mask: (batch, patches), 0 for padding patches; only for NaFlex backbones.
            spatial_shapes: (batch, 2) rows and columns of patches; only for NaFlex backbones.
            pooled_only: whether to compute only `.pooler_output`, for which the last layer needs less time.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.

        Raises:
            ValueError: if these are not the inputs of the backbone, or attentions are requested from an image tower
                that has none.
        """
        outputs = self.encode_images(pixel_values, pixel_attention_mask, spatial_shapes, pooled_only, **kwargs)
        outputs.pooler_output = F.normalize(outputs.pooler_output, dim=-1)
        return outputs

    @in_image_dtype
    def encode_images(
        self,
        pixel_values: torch.Tensor | None,
        pixel_attention_mask: torch.Tensor | None = None,
        spatial_shapes: torch.Tensor | None = None,
        pooled_only: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Return the output of the frozen image tower; `.pooler_output`, (batch, dim), is not normalised.

        Args:
            pixel_values: as in `get_image_features`.
            pixel_attention_mask: as in `get_image_features`.
            spatial_shapes: as in `get_image_features`.
            pooled_only: as in `get_image_features`, but true by default.
            kwargs: `output_hidden_states`, `output_attentions`.

        Raises:
            ValueError: if these are not the inputs of the backbone.
        """
        inputs = {
            "pixel_values": pixel_values,
            "pixel_attention_mask": pixel_attention_mask,
            "spatial_shapes": spatial_shapes,
        }
        inputs = {name: tensor for name, tensor in inputs.items() if tensor is not None}
        expected = self.backbone_type.image_inputs
        if tuple(inputs) != expected:
            raise ValueError(
                f"{type(self.clip).__name__} needs {', '.join(expected)} for images, got {', '.join(inputs)}. Pass "
                "everything that the processor returns for them."
            )
        outputs = self.run_image_tower(pooled_only, **inputs, **kwargs)
        attentions = outputs.get("attentions")
        if kwargs.get("output_attentions") and attentions is None:
            raise ValueError(
                f"The image encoder of {type(self.clip).__name__} returned no attentions. Leave output_attentions out "
                "for images."
            )
        return BaseModelOutputWithPooling(
            last_hidden_state=outputs.last_hidden_state,
            pooler_output=at_least_float32(outputs.pooler_output),
            hidden_states=outputs.hidden_states,
            attentions=attentions,
        )

    def run_image_tower(self, pooled_only: bool = False, **inputs: Any) -> Any:
        """Return the output of the image tower for its inputs, with the features as `.pooler_output`.

        Args:
            pooled_only: as in `get_image_features`.
            inputs: the inputs, and `output_hidden_states` and `output_attentions`.
        """
        encoder: Any = self.encoding_backbone("vision_model")
        run = encoder.get_image_features
        if pooled_only and self.backbone_type.has_class_token and not asks_for_states(inputs):
            run = partial(_class_token_features, encoder)
        return run_in_parts(run, encoder.config.vision_config, return_dict=True, **inputs)


def _class_token_features(clip: Any, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
    token = encode_class_token(clip.vision_model, pixel_values)
    return BaseModelOutputWithPooling(pooler_output=clip.visual_projection(token))
