"""What the models of methods over a language model share: images in its input, its cache, its generation."""

import inspect
import os
from typing import Any, ClassVar, Self

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    Cache,
    GenerationConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling, CausalLMOutputWithPast

from hf_prompt_models.modeling_utils import HUB_KWARGS, PromptPreTrainedModel
from hf_prompt_models.packaged_backbones import LM_DIR, locate_backbone, vision_model_for
from hf_prompt_models.prefix_lm.checkpointing import checkpoint_frozen_layers
from hf_prompt_models.prefix_lm.configuration_prefix_lm import PrefixLMConfig
from hf_prompt_models.prefix_lm.processing_prefix_lm import PrefixLMProcessor
from hf_prompt_models.prefix_lm.vision import encode_feature_map, load_vision_model


SPECIAL_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


class PrefixLMModel(PromptPreTrainedModel):
    """Base of methods that put images, as vectors in its token space, into the input of a causal language model.

    The borrowed backbone is the language model. The vision backbone is part of what was learned: checkpoints always
    hold it. A subclass makes `image_projection`, a module from maps of features (images, channels, rows, columns) to
    (images, num_image_tokens, dim), and says which further tokens the method has.
    """

    config: PrefixLMConfig
    backbone_name = "language_model"
    packaged_backbone = LM_DIR
    processor_class: ClassVar[type[PrefixLMProcessor]]
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    pipeline_task = "image-text-to-text"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    # What is learned beside the language model stays in full precision whatever that is in.
    _keep_in_fp32_modules_strict: ClassVar[list[str]] = ["vision_model", "image_projection"]

    language_model: PreTrainedModel
    vision_model: PreTrainedModel
    image_projection: nn.Module

    def __init__(self, config: PrefixLMConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config)
        if config.image_token_id is None:
            raise ValueError("The configuration names no image_token_id: make the model by from_backbone(...).")
        self.image_token_id = config.image_token_id
        for name in SPECIAL_TOKENS:  # the tokenizer's, lest the Trainer warn that it sets them
            if getattr(config, name) is not None:
                setattr(config.text_config, name, getattr(config, name))
        # First, for a model's dtype is that of its first parameter.
        self.language_model = AutoModelForCausalLM.from_config(config.text_config) if backbone is None else backbone
        self.vision_model = AutoModel.from_config(config.vision_config)
        # ALiBi models have none: they count from the mask, whatever they are told.
        self._takes_position_ids = "position_ids" in inspect.signature(self.language_model.forward).parameters

    # -- the language model ------------------------------------------------------------------------------------------

    @classmethod
    def backbone_config_name(cls) -> str:
        return "text_config"  # where transformers looks for the sizes of the cache

    @property
    def token_dim(self) -> int:
        """Width of a token's vector, which some models project to another before their first layer."""
        return self.language_model.get_input_embeddings().embedding_dim

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.language_model.set_output_embeddings(new_embeddings)

    @classmethod
    def fingerprint_weights(cls, backbone: PreTrainedModel) -> tuple[str, ...]:
        """The token vectors, and the first and the last norm or bias: quantised copies keep these as they are."""
        names: dict[int, list[str]] = {1: [], 2: []}
        for name, tensor in backbone.state_dict().items():
            names.setdefault(tensor.dim(), []).append(name)
        return tuple(dict.fromkeys((names[2][0], names[1][0], names[1][-1])))

    @classmethod
    def load_backbone(cls, name_or_path: str | os.PathLike, **kwargs: Any) -> PreTrainedModel:
        name_or_path = locate_backbone(name_or_path, cls.packaged_backbone)
        hub_kwargs = {name: kwargs[name] for name in HUB_KWARGS if name in kwargs}
        config = AutoConfig.from_pretrained(name_or_path, **hub_kwargs)
        if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
            raise TypeError(
                f"{str(name_or_path)!r} is of type {config.model_type!r}, which is no causal language model: "
                f"{cls.__name__} takes what AutoModelForCausalLM loads, such as GPT-2, OPT or Llama."
            )
        try:
            return AutoModelForCausalLM.from_pretrained(name_or_path, **kwargs)
        except SafetensorError as error:
            raise OSError(f"The weights of the backbone {str(name_or_path)!r} are damaged ({error}).") from error

    # -- making, loading ---------------------------------------------------------------------------------------------

    @classmethod
    def _from_backbones(
        cls,
        language_model: str | os.PathLike,
        vision_model: str | os.PathLike | None,
        kwargs: dict[str, Any],
        num_image_tokens: int,
        **fields: Any,
    ) -> Self:
        """A new model for two backbones; `kwargs` load the language model, `fields` are the configuration's."""
        hub_kwargs = {name: kwargs[name] for name in HUB_KWARGS if name in kwargs}
        vision_kwargs = {name: hub_kwargs[name] for name in hub_kwargs if name not in ("revision", "subfolder")}
        vision_model = vision_model_for(language_model, vision_model, cls.processor_class.default_vision_model)
        processor = cls.processor_class.from_backbone(language_model, vision_model, num_image_tokens, **hub_kwargs)
        vision = load_vision_model(vision_model, fields.get("vision_from_scratch", False), **vision_kwargs)
        backbone = cls.load_backbone(language_model, **kwargs)
        tokenizer = processor.tokenizer
        special_tokens = {name: getattr(tokenizer, name) for name in SPECIAL_TOKENS}
        config = cls.config_class(
            text_config=backbone.config.to_dict(),
            vision_config=vision.config.to_dict(),
            num_image_tokens=num_image_tokens,
            **{name: tokenizer.convert_tokens_to_ids(token) for name, token in processor.own_tokens.items()},
            **special_tokens,
            **fields,
            **cls._base_model_fields(language_model, backbone, kwargs),
        )
        config.vision_config = vision.config
        weights = {f"vision_model.{name}": tensor for name, tensor in vision.state_dict().items()}
        model = cls._from_parts(config, backbone, weights)
        model.generation_config = GenerationConfig(**special_tokens, suppress_tokens=sorted(model.own_token_ids))
        model.processor = processor
        return model

    @property
    def own_token_ids(self) -> tuple[int, ...]:
        """Ids that stand for something in the prompt and are never generated."""
        return (self.image_token_id,)

    # -- frozen means frozen -----------------------------------------------------------------------------------------

    def freeze_backbone(self) -> None:
        self.vision_model.requires_grad_(not self.config.freeze_vision)
        super().freeze_backbone()

    def _trains_batch_norm(self) -> bool:
        """Whether the vision backbone's batch norms gather statistics. A pretrained one keeps those it has."""
        return False

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.config.freeze_vision:
            self.vision_model.eval()
        elif not self._trains_batch_norm():
            for module in self.vision_model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        if mode and not self._trains_backbone():
            checkpoint_frozen_layers(self.language_model)
        return self

    # -- images ------------------------------------------------------------------------------------------------------

    def get_image_features(
        self, pixel_values: torch.Tensor, return_dict: bool | None = None
    ) -> BaseModelOutputWithPooling:
        """Images as vectors in the language model's token space.

        Args:
            pixel_values: (images, 3, height, width), of all examples one after another.
            return_dict: taken for `generate`'s sake; the answer is always an output object.

        Returns:
            `.pooler_output`: (images, num_image_tokens, dim). `.last_hidden_state`: the vision backbone's features,
            (images, channels, rows, columns).
        """
        if pixel_values.dim() != 4:
            raise ValueError(
                "pixel_values are (images, 3, height, width), all examples' images one after another as the processor "
                f"returns them; got {tuple(pixel_values.shape)}."
            )
        like = next(self.vision_model.parameters())
        features = encode_feature_map(self.vision_model, pixel_values.to(like.device, like.dtype))
        return BaseModelOutputWithPooling(last_hidden_state=features, pooler_output=self.image_projection(features))

    def _embed(self, input_ids: torch.Tensor, features: torch.Tensor | None) -> torch.Tensor:
        """Vectors of all positions, (batch, length, dim): the tokens', and the images' where placeholders stand.

        Args:
            input_ids: (batch, length).
            features: (images, num_image_tokens, dim), or `None` where placeholders have been dealt with before.
        """
        is_slot = input_ids == self.image_token_id
        # The placeholder has no row, and need not lie in the vocabulary: any token's row will do to be overwritten.
        embeds = self.get_input_embeddings()(input_ids.masked_fill(is_slot, 0))
        if features is None:
            return embeds
        return embeds.masked_scatter(is_slot[..., None], features.to(embeds.device, embeds.dtype))

    def _zero_of_vision_side(self) -> torch.Tensor:
        """Zero, by way of everything that is trained on images.

        A batch without an image has gradients of zero then, not none: processes that train together wait for all of
        each other's, and with a frozen language model there would be nothing to go backward through.
        """
        parameters = [*self.vision_model.parameters(), *self.image_projection.parameters()]
        return 0.0 * torch.stack([each.sum() for each in parameters if each.requires_grad]).sum()

    def _check_slots(self, input_ids: torch.Tensor, features: torch.Tensor | None) -> None:
        slots = int((input_ids == self.image_token_id).sum())
        given = 0 if features is None else features.shape[0] * features.shape[1]
        if slots != given:
            raise ValueError(
                f"The input has {slots} placeholders (id {self.image_token_id}) and the images fill {given}, "
                f"{self.config.num_image_tokens} each: pass input_ids and pixel_values of one call of the processor."
            )

    def _check_continuation(self, input_ids: torch.Tensor) -> None:
        """Refuse tokens that may not come behind others that have been read before."""

    def _check_length(self, length: int, position_ids: torch.Tensor | None) -> None:
        limit = getattr(self.language_model.config, "max_position_embeddings", None)  # ALiBi models have none
        if limit is None or length <= limit:
            return
        longest = length if position_ids is None else int(position_ids.max()) + 1
        if longest > limit:
            raise ValueError(
                f"The input has {longest} positions and the language model {limit}: shorten the text, or pass fewer "
                "images."
            )

    # -- forward -----------------------------------------------------------------------------------------------------

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast | tuple:
        """Logits of the next tokens, and the loss where labels are given.

        Args:
            input_ids: (batch, length) with the placeholder in each of an image's slots.
            pixel_values: (images, 3, height, width), all examples' images in the order of their slots.
            attention_mask: (batch, length) 0 where there is padding, on either side.
            position_ids: (batch, length). Default: counted from the mask, so that padding takes no position.
            past_key_values: a cache, as in transformers.
            inputs_embeds: (batch, length, dim) instead of `input_ids` and images.
            labels: (batch, length) token ids, -100 where nothing is to be learned. The loss is the mean over all
                labelled tokens of the batch.
            use_cache, logits_to_keep, return_dict: as in transformers.
            mm_encoder_outputs: images encoded before, `{"image": self.get_image_features(...)}`; `generate` does so.
            kwargs: for the language model; `num_items_in_batch` for the loss.

        Raises:
            ValueError: if placeholders and images differ in number, or the input is too long.
        """
        num_items_in_batch = kwargs.pop("num_items_in_batch", None)
        if use_cache is None and self.training:
            use_cache = False
        past_length = 0 if past_key_values is None else int(past_key_values.get_seq_length())
        encoded = (mm_encoder_outputs or {}).get("image")
        if pixel_values is not None:
            encoded = self.get_image_features(pixel_values)
        features = None if encoded is None else encoded.pooler_output
        if inputs_embeds is None:
            if input_ids is None:
                raise ValueError("Pass input_ids, or inputs_embeds.")
            if past_length == 0 or features is not None:
                self._check_slots(input_ids, features)
            if past_length > 0 and input_ids.shape[1] > 1:
                self._check_continuation(input_ids)
            inputs_embeds = self._embed(input_ids, features)
            if features is None and self.training:
                inputs_embeds = inputs_embeds + self._zero_of_vision_side().to(inputs_embeds)
        length = inputs_embeds.shape[1]
        if position_ids is None and attention_mask is not None and attention_mask.dim() == 2:
            position_ids = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, -length:]
        if past_length == 0:
            self._check_length(length, position_ids)
        if self._takes_position_ids:
            kwargs["position_ids"] = position_ids
        outputs = self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            return_dict=True,
            **kwargs,
        )
        logits, loss = outputs.logits, None
        if labels is not None:
            loss = self.loss_function(logits, labels, logits.shape[-1], num_items_in_batch=num_items_in_batch)
        output = CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
        return_dict = self.config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()
