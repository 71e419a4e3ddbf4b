"""Base model of the methods over a language model: image features in its input, its cache and its generation."""

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
from transformers.loss.loss_utils import fixed_cross_entropy
from transformers.modeling_outputs import BaseModelOutputWithPooling, CausalLMOutputWithPast
from transformers.processing_utils import Unpack
from transformers.utils.generic import TransformersKwargs

from hf_prompt_models.backbones.packaged import LM_DIR, locate_backbone, vision_model_for
from hf_prompt_models.hub.reachable import check_reachable
from hf_prompt_models.modeling_utils import HUB_KWARGS, PromptPreTrainedModel, at_least_float32
from hf_prompt_models.prefix_lm.checkpointing import checkpoint_frozen_layers
from hf_prompt_models.prefix_lm.configuration_prefix_lm import PrefixLMConfig
from hf_prompt_models.prefix_lm.processing_prefix_lm import PrefixLMProcessor
from hf_prompt_models.prefix_lm.vision import encode_feature_map, load_vision_model
from hf_prompt_models.utils.forward_options import captured, forward_options


SPECIAL_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


class PrefixLMModel(PromptPreTrainedModel):
    """Base of methods that put images, as vectors in its token space, into the input of a causal language model.

    The backbone is the language model. The vision backbone belongs to the trained weights: checkpoints always contain
    it. A subclass creates `image_projection`, a module that maps feature maps (images, channels, rows, columns) to
    (images, num_image_tokens, dim), and names further special tokens of the method.
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
    accepts_loss_kwargs = True
    # Modules outside the language model stay in full precision, whatever the language model's dtype is.
    _keep_in_fp32_modules_strict: ClassVar[list[str]] = ["vision_model", "image_projection"]

    language_model: PreTrainedModel
    vision_model: PreTrainedModel
    image_projection: nn.Module

    def __init__(self, config: PrefixLMConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config)
        if config.image_token_id is None:
            raise ValueError("The configuration has no image_token_id. Create the model with from_backbone(...).")
        self.image_token_id = config.image_token_id
        for name in SPECIAL_TOKENS:  # copied from the tokenizer, so that the Trainer does not warn about setting them
            if getattr(config, name) is not None:
                setattr(config.text_config, name, getattr(config, name))
        # The language model is created first because the dtype of a model is that of its first parameter.
        self.language_model = AutoModelForCausalLM.from_config(config.text_config) if backbone is None else backbone
        self.vision_model = AutoModel.from_config(config.vision_config)
        self.loss_function = next_token_loss
        # ALiBi models take no position ids: they count positions from the mask.
        self._takes_position_ids = "position_ids" in inspect.signature(self.language_model.forward).parameters

    # -- the language model ------------------------------------------------------------------------------------------

    @classmethod
    def backbone_config_name(cls) -> str:
        """Return the configuration field of the language model."""
        return "text_config"  # the field in which transformers looks for the sizes of the cache

    @property
    def token_dim(self) -> int:
        """Width of a token embedding, which some models project to another width before their first layer."""
        return self.language_model.get_input_embeddings().embedding_dim

    def get_input_embeddings(self) -> nn.Module:
        """Return the input embeddings of the language model."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Set the input embeddings of the language model."""
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """Return the output embeddings of the language model."""
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Set the output embeddings of the language model."""
        self.language_model.set_output_embeddings(new_embeddings)

    @classmethod
    def fingerprint_weights(cls, backbone: PreTrainedModel) -> tuple[str, ...]:
        """Return the names of the token embeddings and of the first and the last norm or bias, also if quantised."""
        names: dict[int, list[str]] = {1: [], 2: []}
        for name, tensor in backbone.state_dict().items():
            names.setdefault(tensor.dim(), []).append(name)
        return tuple(dict.fromkeys((names[2][0], names[1][0], names[1][-1])))

    @classmethod
    def load_backbone(cls, name_or_path: str | os.PathLike, **kwargs: Any) -> PreTrainedModel:
        """Load the language model; `kwargs` are passed to its `from_pretrained`.

        Raises:
            OSError: if there is no such model, or its weights are damaged.
            TypeError: if it is not a causal language model.
        """
        name_or_path = locate_backbone(name_or_path, cls.packaged_backbone)
        hub_kwargs = {name: kwargs[name] for name in HUB_KWARGS if name in kwargs}
        check_reachable(name_or_path, **hub_kwargs)
        config = AutoConfig.from_pretrained(name_or_path, **hub_kwargs)
        if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
            raise TypeError(
                f"{str(name_or_path)!r} is of type {config.model_type!r}, which is not a causal language model. "
                f"{cls.__name__} needs a model that AutoModelForCausalLM loads, such as GPT-2, OPT or Llama."
            )
        try:
            return AutoModelForCausalLM.from_pretrained(name_or_path, **cls._for_backbone(kwargs))
        except SafetensorError as error:
            raise OSError(f"The weights of the backbone {str(name_or_path)!r} are damaged ({error}).") from error

    # -- creating a model --------------------------------------------------------------------------------------------

    @classmethod
    def _from_backbones(
        cls,
        language_model: str | os.PathLike,
        vision_model: str | os.PathLike | None,
        kwargs: dict[str, Any],
        num_image_tokens: int,
        **fields: Any,
    ) -> Self:
        """Create a model from two backbones; `kwargs` load the language model, `fields` go to the configuration."""
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
        model = cls._from_parts(config, backbone, weights, kwargs.get("attn_implementation"))
        model.generation_config = GenerationConfig(**special_tokens, suppress_tokens=sorted(model.own_token_ids))
        model.processor = processor
        return model

    @property
    def own_token_ids(self) -> tuple[int, ...]:
        """Ids of the method's special tokens, which appear in prompts and are never generated."""
        return (self.image_token_id,)

    # -- freezing ----------------------------------------------------------------------------------------------------

    def freeze_backbone(self) -> None:
        """Freeze the language model as in the base class, and the vision backbone if `config.freeze_vision` is set."""
        self.vision_model.requires_grad_(not self.config.freeze_vision)
        super().freeze_backbone()

    def _trains_batch_norm(self) -> bool:
        """Return whether the vision backbone's batch norms update their statistics. Pretrained ones do not."""
        return False

    def train(self, mode: bool = True) -> Self:
        """Set the mode, as `nn.Module.train` does, but keep frozen modules and pretrained batch norms in eval mode."""
        super().train(mode)
        if self.config.freeze_vision:
            self.vision_model.eval()
        elif not self._trains_batch_norm():
            for module in self.vision_model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    # -- images ------------------------------------------------------------------------------------------------------

    @forward_options
    def get_image_features(
        self, pixel_values: torch.Tensor, **kwargs: Unpack[TransformersKwargs]
    ) -> BaseModelOutputWithPooling:
        """Return images as vectors in the language model's token space.

        Args:
            pixel_values: (images, 3, height, width), the images of all examples one after another.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.

        Returns:
            `.pooler_output`: (images, num_image_tokens, dim). `.last_hidden_state`: features of the vision backbone,
            (images, channels, rows, columns). `.hidden_states`, `.attentions`: those of the vision backbone, if
            requested.

        Raises:
            ValueError: if `pixel_values` has another number of dimensions.
        """
        if pixel_values.dim() != 4:
            raise ValueError(
                "Expected pixel_values of shape (images, 3, height, width), with the images of all examples "
                f"in order, as returned by the processor, got {tuple(pixel_values.shape)}."
            )
        like = next(self.vision_model.parameters())
        outputs = encode_feature_map(self.vision_model, pixel_values.to(like.device, like.dtype), **captured(kwargs))
        outputs.pooler_output = self.image_projection(outputs.last_hidden_state)
        return outputs

    def _embed(self, input_ids: torch.Tensor, features: torch.Tensor | None) -> torch.Tensor:
        """Return the vectors of all positions, (batch, length, dim): token embeddings, or image features in slots.

        Args:
            input_ids: (batch, length).
            features: (images, num_image_tokens, dim), or `None` if the placeholders were handled before.
        """
        is_slot = input_ids == self.image_token_id
        # The placeholder has no embedding and may be outside the vocabulary. Token 0 replaces it and is overwritten.
        embeds = self.get_input_embeddings()(input_ids.masked_fill(is_slot, 0))
        if features is None:
            return embeds
        return embeds.masked_scatter(is_slot[..., None], features.to(embeds.device, embeds.dtype))

    def _zero_of_vision_side(self) -> torch.Tensor:
        """Return a zero that depends on all trained parameters of the vision side.

        It gives these parameters zero gradients instead of none: for a batch without images, and for parts of a vision
        backbone that its features do not depend on, such as the pooler of a ViT. Processes that train together wait
        for each other's gradients of all parameters. With a frozen language model there would also be no graph for the
        backward pass.
        """
        parameters = [*self.vision_model.parameters(), *self.image_projection.parameters()]
        zero = torch.zeros((), device=parameters[0].device)
        return sum((0.0 * each.sum() for each in parameters if each.requires_grad), zero)

    def _check_slots(self, input_ids: torch.Tensor, features: torch.Tensor | None) -> None:
        if torch.compiler.is_exporting():  # an export has shapes but no values to count
            return
        slots = int((input_ids == self.image_token_id).sum())
        given = 0 if features is None else features.shape[0] * features.shape[1]
        if slots != given:
            raise ValueError(
                f"The input has {slots} placeholders (id {self.image_token_id}), but the images fill {given}, "
                f"{self.config.num_image_tokens} per image. Pass input_ids and pixel_values of the same call "
                "of the processor."
            )

    def _check_continuation(self, input_ids: torch.Tensor) -> None:
        """Raise an error for tokens that cannot follow tokens that the model has already read."""

    def _check_length(self, length: int, position_ids: torch.Tensor | None) -> None:
        limit = getattr(self.language_model.config, "max_position_embeddings", None)  # ALiBi models have no limit
        if limit is None or length <= limit:
            return
        longest = length if position_ids is None else int(position_ids.max()) + 1
        if longest > limit:
            raise ValueError(
                f"The input has {longest} positions, but the language model has {limit}. Shorten the text, or "
                "pass fewer images."
            )

    # -- forward -----------------------------------------------------------------------------------------------------

    def passed_on_keywords(self) -> frozenset[str]:
        """Return the keyword arguments of `forward` that are passed on to the language model."""
        return frozenset(inspect.signature(self.language_model.forward).parameters)

    @forward_options
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
        **kwargs: Unpack[TransformersKwargs],
    ) -> CausalLMOutputWithPast | tuple:
        """Compute the logits of the next tokens, and the loss if labels are given.

        Args:
            input_ids: (batch, length) token ids, with the placeholder in each slot of an image.
            pixel_values: (images, 3, height, width), the images of all examples in the order of their slots.
            attention_mask: (batch, length), 0 for padding on either side.
            position_ids: (batch, length). Default: counted from the mask, so that padding takes no position.
            past_key_values: a cache, as in transformers.
            inputs_embeds: (batch, length, dim) instead of `input_ids` and images. Images cannot be combined with it
                because the placeholder has no embedding.
            labels: (batch, length) token ids, -100 for tokens that the loss ignores. The loss is the mean over all
                labelled tokens of the batch.
            use_cache: as in transformers.
            logits_to_keep: as in transformers.
            mm_encoder_outputs: images that are already encoded, `{"image": self.get_image_features(...)}`. `generate`
                passes them.
            kwargs: `output_hidden_states` and `output_attentions` of the language model, `return_dict`, its other
                arguments, and `num_items_in_batch` for the loss.

        Raises:
            ValueError: if the number of placeholders does not match the images, the input is too long, or images are
                combined with `inputs_embeds`.
        """
        num_items_in_batch = kwargs.pop("num_items_in_batch", None)
        if use_cache is None and self.training:
            use_cache = False
        if self.training and not self.language_model.training:
            # This runs in each forward pass because checkpointing may be switched on before or after `train()`.
            checkpoint_frozen_layers(self.language_model)
        past_length = 0 if past_key_values is None else int(past_key_values.get_seq_length())
        encoded = (mm_encoder_outputs or {}).get("image")
        if pixel_values is not None:
            encoded = self.get_image_features(
                pixel_values, output_hidden_states=False, output_attentions=False, return_dict=True
            )
        features = None if encoded is None else encoded.pooler_output
        if inputs_embeds is not None and features is not None:
            raise ValueError(
                "Images cannot be combined with inputs_embeds, in which placeholders are not marked. Pass input_ids "
                "with the images, or inputs_embeds that include the image embeddings (get_image_features)."
            )
        if inputs_embeds is None:
            if input_ids is None:
                raise ValueError("Got neither input_ids nor inputs_embeds. Pass one of them.")
            if past_length == 0 or features is not None:
                self._check_slots(input_ids, features)
            if past_length > 0:
                # The first token may have been read before: an assistant model reads the last token of a prompt again.
                self._check_continuation(input_ids[:, 1:])
            inputs_embeds = self._embed(input_ids, features)
            if self.training:
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
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    # -- generation --------------------------------------------------------------------------------------------------

    def generate(self, inputs: torch.Tensor | None = None, *args: Any, **kwargs: Any) -> Any:
        """Generate token ids, as in transformers.

        Raises:
            ValueError: if images are given without `input_ids`, which mark their positions; also as in `forward`.
        """
        texts = (inputs, kwargs.get("input_ids"), kwargs.get("inputs_embeds"))
        if kwargs.get("pixel_values") is not None and all(each is None for each in texts):
            raise ValueError(
                "Images need input_ids with their placeholders. Pass everything that the processor returns "
                'for them: processor(images=[[image]], text=[""]) if there is no text.'
            )
        return super().generate(inputs, *args, **kwargs)

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.Tensor,
        *args: Any,
        inputs_embeds: torch.Tensor | None = None,
        is_first_iteration: bool | None = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Prepare the inputs of a generation step, as in transformers.

        Unlike in transformers, an assistant model (`assistant_model=...`) also gets the images. `inputs_embeds` is a
        named argument because `generate` looks for it in the signature.
        """
        prepared = super().prepare_inputs_for_generation(
            input_ids, *args, inputs_embeds=inputs_embeds, is_first_iteration=is_first_iteration, **kwargs
        )
        prepared.pop("tokenizer", None)  # belongs to stop_strings; transformers passes it on to the model
        cache = kwargs.get("past_key_values")
        past_length = 0 if cache is None else int(cache.get_seq_length())
        encoded = (kwargs.get("mm_encoder_outputs") or {}).get("image")
        if is_first_iteration and past_length > 0 and prepared.get("input_ids") is not None:
            self._check_continuation(prepared["input_ids"])
        if not is_first_iteration and encoded is not None and past_length == 0:
            # For an assistant model this counts as the second iteration, because the main model read the prompt first.
            prepared["mm_encoder_outputs"] = {"image": self._as_own(encoded)}
        return prepared

    def _as_own(self, encoded: BaseModelOutputWithPooling) -> BaseModelOutputWithPooling:
        """Return images that another model encoded, or zeros if the shape does not fit.

        An assistant model may draft without seeing the images, so zeros do no harm.
        """
        vectors = encoded.pooler_output
        shape = (len(vectors), self.config.num_image_tokens, self.token_dim)
        return (
            encoded if vectors.shape == shape else BaseModelOutputWithPooling(pooler_output=vectors.new_zeros(shape))
        )


def next_token_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    vocab_size: int,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """Return the mean cross-entropy of each next token, in at least single precision (transformers': always single).

    `logits` are (batch, length, vocabulary), `labels` (batch, length) with -100 for tokens that the loss ignores.
    """
    logits = at_least_float32(logits)
    shifted = nn.functional.pad(labels, (0, 1), value=-100)[..., 1:].reshape(-1).to(logits.device)
    return fixed_cross_entropy(logits.view(-1, vocab_size), shifted, num_items_in_batch)
