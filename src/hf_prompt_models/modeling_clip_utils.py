"""What the methods over a CLIP or a model like it share: normalised features of both towers, and class logits."""

import os
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import ModelOutput

from hf_prompt_models.backbones import BACKBONES, find_backbone
from hf_prompt_models.modeling_utils import HUB_KWARGS, PromptPreTrainedModel
from hf_prompt_models.processing_utils import ClipPromptProcessor
from hf_prompt_models.prompts.class_names import get_tokenizer
from hf_prompt_models.prompts.packing import PackedPrompts, pack_prompts
from hf_prompt_models.prompts.padded_encoding import encode_padded_prompts, pad_prompts
from hf_prompt_models.prompts.text_encoding import encode_prompts


CHECKPOINTED_CHUNK_SIZE = 64
"""Prompts encoded at a time where gradient checkpointing is switched on and nothing else is said."""


@dataclass
class ClipClassifierOutput(ModelOutput):
    """
    Output of classifiers that compare images with the classes' prompts.

    Args:
        loss (`torch.FloatTensor` of shape `(1,)`, *optional*): cross-entropy, if labels were given.
        logits (`torch.FloatTensor` of shape `(batch, classes)`): cosine similarities times the backbone's temperature,
            plus SigLIP's bias.
        image_embeds (`torch.FloatTensor` of shape `(batch, dim)`): image features, L2-normalised.
        text_embeds (`torch.FloatTensor` of shape `(classes, dim)`): class features, L2-normalised; an attribute alone,
            not part of the tuple.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    image_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None


class ClipPromptModel(PromptPreTrainedModel):
    """Base of methods that put prompts through the text tower of a CLIP, or of another model of `backbones.BACKBONES`.

    A subclass says what a class's features are.
    """

    backbone_classes = tuple(backbone.model_class for backbone in BACKBONES.values())
    backbone_name = "clip"
    processor_class: ClassVar[type[ClipPromptProcessor]]
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    # The prompt is tiny and is trained: it stays in full precision whatever the backbone's.
    _keep_in_fp32_modules_strict: ClassVar[list[str]] = ["prompt_learner"]

    clip: PreTrainedModel

    def __init__(self, config: PreTrainedConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config)
        self.backbone_type = find_backbone(config.clip_config.get_text_config())
        self.clip = self.backbone_type.model_class._from_config(config.clip_config) if backbone is None else backbone
        self._prompts: tuple[Any, PackedPrompts | torch.Tensor] | None = None
        self._text_cache: tuple[Any, torch.Tensor] | None = None

    @classmethod
    def fingerprint_weights(cls, backbone: PreTrainedModel) -> tuple[str, ...]:
        return find_backbone(backbone.config.text_config).fingerprint_weights

    @classmethod
    def _load_parts(
        cls,
        name_or_path: str | os.PathLike,
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None,
        kwargs: dict[str, Any],
    ) -> tuple[PreTrainedModel, ClipPromptProcessor | None, PreTrainedTokenizerBase]:
        """Load what `from_backbone` needs; no processor only where the backbone has no image processor."""
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

    def _tokenizer_or_own(self, tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None) -> PreTrainedTokenizerBase:
        found = tokenizer if tokenizer is not None else self._find_processor()
        if found is None:
            raise ValueError("Pass tokenizer=...: no processor was saved beside this model.")
        return get_tokenizer(found)

    # -- to be said by the method ------------------------------------------------------------------------------------

    def prompt_token_ids(self) -> list[list[int]]:
        """All prompts as token ids; ids past the vocabulary are context vectors."""
        raise NotImplementedError

    def class_features(self, prompt_features: torch.Tensor) -> torch.Tensor:
        """From the projected features of all prompts, (prompts, dim), to those of the classes, (classes, dim)."""
        raise NotImplementedError

    @property
    def context(self) -> torch.Tensor | None:
        """The learned context, or `None` where nothing is learned."""
        raise NotImplementedError

    @property
    def num_labels(self) -> int:
        return self.config.num_labels

    @property
    def text_chunk_size(self) -> int | None:
        """Prompts to encode at a time in training; `None`: all. Bounds memory by computing activations twice."""
        return CHECKPOINTED_CHUNK_SIZE if self.clip.text_model.encoder.gradient_checkpointing else None

    # -- features ----------------------------------------------------------------------------------------------------

    def get_text_features(self) -> BaseModelOutputWithPooling:
        """`.pooler_output`: the classes' features, (classes, dim), L2-normalised, differentiable in the context.

        Where no gradient is wanted they are computed once and kept until the context, the classes, the dtype or the
        device change.
        """
        context = self.context
        if context is not None and context.requires_grad and torch.is_grad_enabled():
            return BaseModelOutputWithPooling(pooler_output=self._encode_classes())
        # Not keyed by version counters: `tensor.data` changes values without them. The context is small to compare.
        device_type = self.clip.device.type
        autocast = torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else None
        setting = (self.clip.device, self.clip.dtype, autocast)
        cached = self._text_cache
        if cached is None or cached[0][0] != setting or not _same(cached[0][1], context):
            # Outside inference mode, whose tensors could take no part in a later graph.
            with torch.inference_mode(False), torch.no_grad():
                kept = None if context is None else context.detach().clone()
                self._text_cache = cached = ((setting, kept), self._encode_classes())
        return BaseModelOutputWithPooling(pooler_output=cached[1].clone())

    def _encode_classes(self) -> torch.Tensor:
        chunk_size = self.text_chunk_size
        setting = (self.clip.device, chunk_size)
        if self._prompts is None or self._prompts[0] != setting:
            self._prompts = (setting, self._lay_out_prompts(chunk_size).to(self.clip.device))
        prompts = self._prompts[1]
        if isinstance(prompts, PackedPrompts):
            pooled = encode_prompts(self.clip.text_model, prompts, self.context, chunk_size)
            features = self.clip.text_projection(pooled)
        else:
            features = encode_padded_prompts(self.clip.text_model, prompts, self.context, chunk_size)
        # In full precision from here on: at CLIP's temperature 16 bits would round logits to the half.
        return self.class_features(features.float())

    def _lay_out_prompts(self, chunk_size: int | None) -> PackedPrompts | torch.Tensor:
        """As few rows where the text tower allows, else padded to all of its positions."""
        prompts, pad_token_id = self.prompt_token_ids(), self.config.pad_token_id
        if self.backbone_type.packs_prompts:
            return pack_prompts(prompts, prompts_per_row=chunk_size)
        if pad_token_id is None:
            raise ValueError(
                "This model's configuration has no pad_token_id to fill its prompts up with: call "
                "set_classes(names, tokenizer=...) with the backbone's own tokenizer."
            )
        return pad_prompts(prompts, self.config.clip_config.text_config.max_position_embeddings, pad_token_id)

    def _classes_changed(self) -> None:
        self._prompts = None
        self._text_cache = None

    def get_image_features(
        self,
        pixel_values: torch.Tensor | None,
        pixel_attention_mask: torch.Tensor | None = None,
        spatial_shapes: torch.Tensor | None = None,
    ) -> BaseModelOutputWithPooling:
        """`.pooler_output`: image features, (batch, dim), L2-normalised.

        All arguments as the processor makes them.

        Args:
            pixel_values: (batch, 3, height, width); for NaFlex backbones (batch, patches, 3 * patch size ** 2).
            pixel_attention_mask: (batch, patches) 0 where a patch is padding; for NaFlex backbones alone.
            spatial_shapes: (batch, 2) rows and columns of patches; for NaFlex backbones alone.

        Raises:
            ValueError: if the backbone takes other inputs.
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
                f"A {type(self.clip).__name__} takes {', '.join(expected)} of images, not {', '.join(inputs)}: pass "
                "everything that the processor returns for them."
            )
        outputs = self.clip.get_image_features(**inputs, return_dict=True)
        outputs.pooler_output = F.normalize(outputs.pooler_output.float(), dim=-1)
        return outputs

    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        image_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        return_dict: bool | None = None,
        pixel_attention_mask: torch.Tensor | None = None,
        spatial_shapes: torch.Tensor | None = None,
    ) -> ClipClassifierOutput | tuple:
        """Class logits of images, or of image features computed before.

        Args:
            pixel_values: as `get_image_features` takes them.
            image_embeds: (batch, dim) image features instead of pixels, normalised or not.
            labels: (batch,) class indices.
            return_dict: `False` returns a tuple.
            pixel_attention_mask, spatial_shapes: as `get_image_features` takes them.
        """
        if (pixel_values is None) == (image_embeds is None):
            raise ValueError("Pass either pixel_values or image_embeds.")
        if image_embeds is not None:
            image_embeds = F.normalize(image_embeds.float(), dim=-1)
        else:
            image_embeds = self.get_image_features(pixel_values, pixel_attention_mask, spatial_shapes).pooler_output
        text_embeds = self.get_text_features().pooler_output
        with torch.autocast(image_embeds.device.type, enabled=False):
            logits = self.clip.logit_scale.float().exp() * image_embeds @ text_embeds.T
        if self.backbone_type.has_logit_bias:
            logits = logits + self.clip.logit_bias.float()
        loss = None if labels is None else F.cross_entropy(logits, labels)
        output = ClipClassifierOutput(loss=loss, logits=logits, image_embeds=image_embeds)
        # An attribute and no item: pipelines and the Trainer take each item for one value an image.
        output.text_embeds = text_embeds
        return_dict = self.config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()


def _same(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    return one is other if one is None or other is None else torch.equal(one, other)
