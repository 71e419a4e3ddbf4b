"""Base class of methods that encode prompts with the text tower of a CLIP-like backbone: encoding and caching."""

import logging
import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.processing_utils import Unpack
from transformers.utils.generic import TransformersKwargs

from hf_prompt_models.checkpoints.fingerprint import value_marks
from hf_prompt_models.modeling_two_tower_utils import TwoTowerModel
from hf_prompt_models.modeling_utils import at_least_float32
from hf_prompt_models.prompts.class_names import get_tokenizer
from hf_prompt_models.prompts.packing import PackedPrompts, lay_out_apart, pack_prompts
from hf_prompt_models.prompts.padded_encoding import (
    PaddedPrompts,
    encode_padded_prompts,
    pad_and_mask_prompts,
    pad_prompts,
    run_padded_prompts,
)
from hf_prompt_models.prompts.text_encoding import encode_prompts, run_prompts_apart
from hf_prompt_models.utils.forward_options import asks_for_states, captured, forward_options


logger = logging.getLogger(__name__)

CHECKPOINTED_CHUNK_SIZE = 64
"""Default number of prompts to encode at a time with gradient checkpointing."""


_SHARED_TEXTS: ContextVar[dict[Hashable, torch.Tensor] | None] = ContextVar("shared texts", default=None)


@contextmanager
def shared_texts(kept: dict[Hashable, torch.Tensor]) -> Iterator[None]:
    """Encode hand-written prompts once for all models in this context, on a CPU.

    Features are found by the values of the text tower and of the prompts, so that models with other weights have
    their own.

    Args:
        kept: Features of earlier contexts, to which new ones are added.
    """
    token = _SHARED_TEXTS.set(kept)
    try:
        yield
    finally:
        _SHARED_TEXTS.reset(token)


class TextPromptModel(TwoTowerModel):
    """Base class of methods that encode prompts with the text tower of a backbone in `backbones.BACKBONES`.

    A subclass defines the prompts and how class features are made from their features.
    """

    names_its_classes = True
    supports_gradient_checkpointing = True

    def __init__(self, config: PreTrainedConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        self._prompts: tuple[Any, PackedPrompts | PaddedPrompts, list[int]] | None = None
        self._text_cache: tuple[Any, list[torch.Tensor], torch.Tensor] | None = None
        self._own_text_names = set(self._text_tensors())
        self._prompted_classes = self._named_classes()

    def _change_classes(self, class_names: list[str]) -> None:
        self.set_classes(class_names)

    def _named_classes(self) -> tuple[Any, ...]:
        """Return the names that the prompts in the configuration were made from."""
        return (dict(self.config.id2label),)

    def _note_classes(self) -> None:
        """Note the names of new prompts, and reset a calibration that was fitted for other ones."""
        named, config = self._named_classes(), self.config
        if named != self._prompted_classes and config.calibration_temperature != 1.0:
            logger.warning(
                f"calibration_temperature {config.calibration_temperature:.4g} was fitted for other classes or "
                "prompts and is reset to 1. Probabilities of the new ones are not calibrated."
            )
            config.calibration_temperature = 1.0
        self._prompted_classes = named

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """Save a checkpoint, as every model of a prompt method does.

        Args:
            save_directory: folder to save to.
            args: further arguments of `save_pretrained`.
            kwargs: further keyword arguments of `save_pretrained`.

        Raises:
            ValueError: also if the class names in the configuration are not those of the prompts.
        """
        if self._named_classes() != self._prompted_classes:
            raise ValueError(
                f"The configuration has other classes or templates ({self.config.class_names[:3]}) than its "
                "prompts. Call set_classes(names) on the model instead of changing the configuration."
            )
        super().save_pretrained(save_directory, *args, **kwargs)

    @property
    def fixed_classes(self) -> str | None:
        """Reason why the classes cannot be replaced, or `None` if they can."""
        return None

    def set_classes(self, class_names: Sequence[str], tokenizer: Any = None) -> None:
        """Replace the classes.

        Args:
            class_names: the new class names, in the order of the labels.
            tokenizer: the backbone's tokenizer, or a processor. Default: the tokenizer of the model's processor.
        """
        raise NotImplementedError

    def _tokenizer_or_own(self, tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None) -> PreTrainedTokenizerBase:
        found = tokenizer if tokenizer is not None else self._find_processor()
        if found is None:
            raise ValueError("No processor was saved with this model. Pass tokenizer=....")
        return get_tokenizer(found)

    # -- to be defined by the method ---------------------------------------------------------------------------------

    def prompt_token_ids(self) -> list[list[int]]:
        """Return the token ids of all prompts; ids past the vocabulary are context vectors."""
        raise NotImplementedError

    def class_features(self, prompt_features: torch.Tensor) -> torch.Tensor:
        """Return the class features, (classes, dim).

        Args:
            prompt_features: (prompts, dim) projected features of all prompts.
        """
        raise NotImplementedError

    @property
    def context(self) -> torch.Tensor | None:
        """Learned context, or `None` if the method has none."""
        raise NotImplementedError

    @property
    def layer_context(self) -> Mapping[int, torch.Tensor]:
        """Deep prompts of the text tower, by the layer into whose input they are inserted."""
        return {}

    @property
    def first_layer(self) -> int:
        """First layer of the text tower in which the class name attends to the context."""
        return 0

    @property
    def num_labels(self) -> int:
        """Number of classes."""
        return self.config.num_labels

    @property
    def text_chunk_size(self) -> int | None:
        """Number of prompts to encode at a time in training, or `None` for all; chunks save memory, not time."""
        encoder = self.clip.text_model.base_model.encoder
        return CHECKPOINTED_CHUNK_SIZE if encoder.gradient_checkpointing else None

    @property
    def token_embedding(self) -> nn.Embedding:
        """Token embedding of the text tower."""
        return self.clip.text_model.get_input_embeddings()

    @property
    def vocab_size(self) -> int:
        """Vocabulary size of the text tower, which is also the first id of context vectors."""
        return self.token_embedding.num_embeddings

    def calibrated(self, logits: torch.Tensor) -> torch.Tensor:
        """Return logits divided by `config.calibration_temperature`, as `forward` returns them.

        Args:
            logits: (batch, classes)
        """
        temperature = self.config.calibration_temperature
        return logits if temperature == 1.0 else logits / temperature

    # -- features ----------------------------------------------------------------------------------------------------

    def prompt_fields(self) -> tuple[Any, ...]:
        """Return the configuration fields that the prompts and the class features depend on."""
        raise NotImplementedError

    def _text_tensors(self) -> dict[str, torch.Tensor]:
        """Return the tensors of the text side, by name."""
        tensors = [*self.clip.named_parameters(), *self.clip.named_buffers()]
        return {name: tensor for name, tensor in tensors if name.startswith("text_")}

    def learned_text_tensors(self) -> list[torch.Tensor]:
        """Return the trained tensors outside of the backbone that the class features depend on."""
        return [] if self.context is None else [self.context]

    def _trains_text(self) -> bool:
        """Return whether any tensor that the class features depend on is trained."""
        return any(tensor.requires_grad for tensor in (*self.learned_text_tensors(), *self._text_tensors().values()))

    def _wants_text_gradient(self) -> bool:
        return torch.is_grad_enabled() and self._trains_text()

    @forward_options
    def get_text_features(self, **kwargs: Unpack[TransformersKwargs]) -> BaseModelOutputWithPooling:
        """Return the class features.

        They are differentiable with respect to the trained tensors. If no gradient is needed, they are computed once
        and cached as long as nothing changes that they depend on: the values of the context and of the weights of the
        text side, its modules and configuration, the classes, the dtype, the device and autocast.

        Args:
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.

        Returns:
            `.pooler_output`, (classes, dim), L2-normalised. With `output_hidden_states=True` or
            `output_attentions=True` also those of the text tower, with a row for each prompt, and its
            `.last_hidden_state`, (prompts, length, width).
        """
        if asks_for_states(kwargs):
            outputs: Any = self._run_prompts_apart(self._prompts_apart(), self.context, captured(kwargs))
            outputs.pooler_output = self.class_features(at_least_float32(outputs.pooler_output))
            return outputs
        # An exporter needs the computation, not cached features.
        if self._wants_text_gradient() or self._is_text_adapted() or torch.compiler.is_exporting():
            return BaseModelOutputWithPooling(pooler_output=self._encode_classes())
        setting, values = self._text_state()
        if self._text_cache is None or self._text_cache[0] != setting or not same_tensors(self._text_cache[1], values):
            # Tensors made in inference mode could not be used in a later autograd graph.
            with torch.inference_mode(False), torch.no_grad():
                features = self._encode_classes()
            # The state is read again, because encoding may change the attention implementation of the tower.
            self._text_cache = (*self._text_state(), features)
        return BaseModelOutputWithPooling(pooler_output=self._text_cache[2].clone())

    @torch.compiler.disable
    def _text_state(self) -> tuple[Any, list[torch.Tensor]]:
        """Return settings and values that change if anything changes that the class features depend on.

        Values are compared instead of version counters, because `tensor.data` changes values without changing the
        counter. Only those rows of the token embeddings, which are most of the weights, are compared whose tokens are
        in the prompts.
        """
        laid_out, _, token_ids = self._laid_out_prompts()
        return self._state_of_text(laid_out, token_ids, self.learned_text_tensors())

    def _state_of_text(
        self, setting: Any, token_ids: Sequence[int], others: Sequence[torch.Tensor] = ()
    ) -> tuple[Any, list[torch.Tensor]]:
        """Return everything that the features of prompts depend on: `setting`, the text side and `others`.

        Args:
            setting: settings of the prompts.
            token_ids: tokens of the vocabulary in the prompts, whose embeddings are compared.
            others: further tensors to compare.
        """
        clip, device_type = self.clip, self.clip.device.type
        autocast = torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else None
        parts = [part for name, part in clip.named_children() if name.startswith("text_")]
        modules = [module for part in parts for module in part.modules()]
        setting = (setting, clip.dtype, autocast, modules, dict(vars(clip.text_model.config)))
        embeddings = self.token_embedding.weight
        tensors = [tensor for tensor in self._text_tensors().values() if tensor is not embeddings]
        tensors += others
        if not embeddings.is_meta:
            tensors.append(embeddings.detach()[torch.tensor(token_ids, device=embeddings.device)])
        return setting, value_marks(tensors)

    def _text_embeds(self) -> torch.Tensor:
        """Return the class features for `forward`, whose hidden states are those of the image tower."""
        return self.get_text_features(
            output_hidden_states=False, output_attentions=False, return_dict=True
        ).pooler_output

    def _is_text_adapted(self) -> bool:
        """Return whether PEFT has added layers to the text side, whose scale and state the cache cannot track."""
        return set(self._text_tensors()) != self._own_text_names

    def _encode_classes(self) -> torch.Tensor:
        _, prompts, _ = self._laid_out_prompts()
        return self.class_features(self._encode_prompts(prompts, self.context, self.layer_context, self.first_layer))

    @torch.compiler.disable
    def _laid_out_prompts(self) -> tuple[Any, PackedPrompts | PaddedPrompts, list[int]]:
        """Return the settings of the prompts, the prompts laid out as rows, and the vocabulary tokens in them."""
        vocabulary = self.vocab_size
        pad_token_id = self.config.pad_token_id
        setting = (self.clip.device, self.text_chunk_size, vocabulary, pad_token_id, self.prompt_fields())
        if self._prompts is not None and self._prompts[0] == setting:
            return self._prompts
        ids = self.prompt_token_ids()
        tokens = {token for prompt in ids for token in prompt} | {pad_token_id or 0}
        with torch.inference_mode(False):  # its tensors could not be used in a later autograd graph
            prompts = self._lay_out_prompts(ids)
        found = (setting, prompts, sorted(token for token in tokens if token < vocabulary))
        if not torch.compiler.is_exporting():  # an exporter makes fake tensors
            self._prompts = found
        return found

    def _encode_prompts(
        self,
        prompts: PackedPrompts | PaddedPrompts,
        context: torch.Tensor | None = None,
        layer_context: Mapping[int, torch.Tensor] | None = None,
        first_layer: int = 0,
    ) -> torch.Tensor:
        """Return the projected features of prompts, (prompts, dim). The arguments are those of `encode_prompts`."""
        kept = _SHARED_TEXTS.get()
        is_fixed = context is None and not layer_context and not torch.is_grad_enabled()
        if kept is None or not is_fixed or self._is_text_adapted() or self.clip.device.type != "cpu":
            return self._run_prompts(prompts, context, layer_context, first_layer)
        key = self._key_of_prompts(prompts)
        if key not in kept:
            kept[key] = self._run_prompts(prompts, context, layer_context, first_layer)
        return kept[key].clone()

    def _key_of_prompts(self, prompts: PackedPrompts | PaddedPrompts) -> Hashable:
        """Return a key of everything that the features of prompts without context depend on."""
        rows = [tensor for tensor in vars(prompts).values() if tensor is not None]
        tensors = [*self._text_tensors().values(), *self.learned_text_tensors(), *rows]
        marks = value_marks([tensor.detach() for tensor in tensors])
        config = sorted(map(repr, vars(self.clip.text_model.config).items()))
        setting = (type(self.clip), type(prompts), self.clip.dtype, self.text_chunk_size, *config)
        return (*setting, *(mark.numpy().tobytes() for mark in marks))

    def _run_prompts(
        self,
        prompts: PackedPrompts | PaddedPrompts,
        context: torch.Tensor | None,
        layer_context: Mapping[int, torch.Tensor] | None,
        first_layer: int,
    ) -> torch.Tensor:
        """Return the projected features of prompts, as `_encode_prompts` does."""
        tower = self.encoding_backbone("text_model").text_model
        if isinstance(prompts, PackedPrompts):
            pooled = encode_prompts(tower, prompts, context, self.text_chunk_size, layer_context, first_layer)
        else:
            pooled = encode_padded_prompts(tower, prompts, context, self.text_chunk_size)
        # Full precision from here on: at CLIP's temperature 16 bits would round logits to multiples of a half.
        return at_least_float32(self._project(pooled))

    def _project(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return text features, (prompts, dim), from the pooled output of the text tower."""
        projected_by_tower = self.backbone_type.text_pooling == "last position"
        return pooled if projected_by_tower else self.clip.text_projection(pooled)

    def _prompts_apart(self) -> PackedPrompts | PaddedPrompts:
        """Return all prompts, each in its own row."""
        prompts = self.prompt_token_ids()
        if not self.backbone_type.packs_prompts:
            return self._lay_out_prompts(prompts)
        return self._placed(lay_out_apart(prompts)).to(self.clip.device)

    def _run_prompts_apart(
        self, rows: PackedPrompts | PaddedPrompts, context: torch.Tensor | None, options: dict[str, Any]
    ) -> BaseModelOutputWithPooling:
        """Return the complete output of the text tower for prompts in separate rows, with projected pooled output."""
        tower = self.encoding_backbone("text_model").text_model
        if isinstance(rows, PackedPrompts):
            deep = (self.layer_context, self.first_layer)
            outputs = run_prompts_apart(tower, rows, context, *deep, return_dict=True, **options)
        else:
            outputs = run_padded_prompts(tower, rows, context, **options)
        outputs.pooler_output = self._project(outputs.pooler_output)
        return outputs

    def _placed(self, prompts: PackedPrompts) -> PackedPrompts:
        """Return prompts with the position ids of the method; by default the place of each token in its prompt."""
        return prompts

    def _lay_out_prompts(self, prompts: list[list[int]]) -> PackedPrompts | PaddedPrompts:
        """Lay prompts out as few packed rows if the text tower allows it, else padded."""
        pad_token_id = self.config.pad_token_id
        if self.backbone_type.packs_prompts:
            return self._placed(pack_prompts(prompts, prompts_per_row=self.text_chunk_size)).to(self.clip.device)
        if self.backbone_type.text_pooling == "first position":
            return pad_and_mask_prompts(prompts).to(self.clip.device)
        if pad_token_id is None:
            raise ValueError(
                "The configuration of this model has no pad_token_id to pad its prompts with. Call "
                "set_classes(names, tokenizer=...) with the tokenizer of the backbone."
            )
        length = self.config.clip_config.text_config.max_position_embeddings
        return pad_prompts(prompts, length, pad_token_id).to(self.clip.device)

    def _classes_changed(self) -> None:
        """Clear the caches of prompts and features, such as for benchmarks; changes are detected without it."""
        self._prompts = None
        self._text_cache = None


def same_tensors(some: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> bool:
    """Return whether two sequences contain equal tensors in the same order."""
    return len(some) == len(others) and all(map(torch.equal, some, others))
