"""What all backbones that fill in the blank of a prompt have in common; `adapters_cpt.py` has one for each type."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import ModelOutput


Inputs = Mapping[str, torch.Tensor]
"""By name, those that apply to the backbone; `CptForVisualGrounding.forward` describes each."""


@dataclass
class BlankOutput(ModelOutput):
    """
    What a backbone says at the blanks of a batch's copies.

    Args:
        logits (`torch.FloatTensor` of shape `(copies, texts, blanks, vocabulary)`): of the copies where `copy_mask` is
            1, in order.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*): of the backbone, `(copies * texts, tokens, width)`;
            with a CLIP of its image tower, `(copies, tokens, width)`.
        attentions (`tuple(torch.FloatTensor)`, *optional*): the same way.
    """

    logits: torch.Tensor
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class Adapter(ABC):
    """A backbone's type: what its prompts must be like, and how it fills in blanks.

    Attributes:
        model_class: the transformers class.
        fingerprint_weights: small tensors by which one checkpoint is told from another.
        reads_regions: whether it reads features of regions, which the user supplies, in place of pixels.
        matches_sentences: whether it has no blank to fill and compares pictures with whole sentences instead.
    """

    model_class: ClassVar[type[PreTrainedModel]]
    fingerprint_weights: ClassVar[tuple[str, ...]]
    reads_regions: ClassVar[bool] = False
    matches_sentences: ClassVar[bool] = False

    @abstractmethod
    def text_length(self, config: PreTrainedConfig) -> int:
        """Tokens that the text tower takes, special tokens included."""

    def image_side(self, config: PreTrainedConfig) -> int | None:
        """Height and width of the square that the image tower takes; `None` where it takes any size."""
        return None

    def unread_parts(self, tower: PreTrainedModel) -> Iterable[nn.Module | nn.Parameter]:
        """Parts of the backbone that the logits at the blanks do not depend on, such as poolers.

        They are not trained: they would get no gradient, which processes that train together wait for.
        """
        return ()

    @abstractmethod
    def fill_blanks(
        self, tower: PreTrainedModel, inputs: Inputs, max_copies: int | None, **kwargs: Any
    ) -> BlankOutput:
        """What the backbone says at the blanks, for the copies where `copy_mask` is 1, in order.

        Args:
            tower: the backbone.
            inputs: what the processor makes, see `CptForVisualGrounding.forward`.
            max_copies: copies that go through the backbone at once.
            kwargs: `output_hidden_states`, `output_attentions`.
        """


def find_copies(copy_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the example and the place in it, (copies,) each, of all painted copies, in order.

    In a graph for export, whose shapes do not depend on values, the padding is among them.

    Args:
        copy_mask: (examples, places) 1 where there is a painted copy.
    """
    if not torch.compiler.is_exporting():
        example, copy = copy_mask.nonzero(as_tuple=True)
        return example, copy
    example, copy = (torch.arange(size, device=copy_mask.device) for size in copy_mask.shape)
    return example.repeat_interleave(len(copy)), copy.repeat(len(example))


def put_copies(values: torch.Tensor, copy_mask: torch.Tensor) -> torch.Tensor:
    """Return what `find_copies` found, (copies, ...), as (examples, places, ...), with 0 where there is no copy."""
    example, copy = find_copies(copy_mask)
    if torch.compiler.is_exporting():
        values = torch.where(copy_mask[example, copy].view(-1, *[1] * (values.ndim - 1)) > 0, values, 0.0)
    return values.new_zeros(*copy_mask.shape, *values.shape[1:]).index_put((example, copy), values)


def in_parts(
    function: Callable[[torch.Tensor], BlankOutput], count: int, most: int | None, device: torch.device
) -> BlankOutput:
    """A function of row numbers on all rows, at most so many at once; in training each part is computed twice."""
    rows = torch.arange(count, device=device)
    if most is None or count <= most:
        return function(rows)
    if torch.is_grad_enabled():
        parts = [checkpoint(function, part, use_reentrant=False) for part in rows.split(most)]
    else:
        parts = [function(part) for part in rows.split(most)]
    first = parts[0]
    states = {
        name: tuple(map(_cat_padded, zip(*(part[name] for part in parts), strict=True)))
        for name in ("hidden_states", "attentions")
        if name in first
    }
    return BlankOutput(logits=torch.cat([part.logits for part in parts]), **states)


def _cat_padded(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Along the first axis; parts with smaller pictures have fewer tokens."""
    sizes = [max(size) for size in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
    missing = [
        [
            length
            for size, own in zip(reversed(sizes), reversed(tensor.shape[1:]), strict=True)
            for length in (0, size - own)
        ]
        for tensor in tensors
    ]
    return torch.cat([F.pad(tensor, padding) for tensor, padding in zip(tensors, missing, strict=True)])


class MaskedLanguageAdapter(Adapter):
    """A backbone with a masked-language head: reads a copy and a text, and fills in the text's mask tokens."""

    def text_length(self, config: PreTrainedConfig) -> int:
        return config.max_position_embeddings

    @abstractmethod
    def text_states(self, tower: PreTrainedModel, texts: Inputs, pictures: Inputs, **kwargs: Any) -> BaseModelOutput:
        """Run the backbone.

        Args:
            tower: the backbone.
            texts: `input_ids`, `attention_mask` and `token_type_ids`, each (sequences, tokens).
            pictures: (sequences, …) each: `pixel_values` and `image_sizes`; or `region_features`, `region_mask` and
                `region_geometry`.
            kwargs: `output_hidden_states`, `output_attentions`.

        Returns:
            `.last_hidden_state`, the texts' alone, (sequences, tokens, width).
        """

    @abstractmethod
    def language_head(self, tower: PreTrainedModel) -> nn.Module:
        """The module that makes vocabulary logits of hidden states."""

    def fill_blanks(
        self, tower: PreTrainedModel, inputs: Inputs, max_copies: int | None, **kwargs: Any
    ) -> BlankOutput:
        example, copy = find_copies(inputs["copy_mask"])
        num_texts = inputs["mask_positions"].shape[2]

        def run(rows: torch.Tensor) -> BlankOutput:
            of_example, of_copy, of_text = example[rows // num_texts], copy[rows // num_texts], rows % num_texts
            texts = {
                name: inputs[name][of_example, of_copy, of_text]
                for name in ("input_ids", "attention_mask", "token_type_ids")
            }
            pictures = {
                name: inputs[name][of_example, of_copy]
                for name in ("pixel_values", "region_features")
                if name in inputs
            }
            pictures |= {
                name: inputs[name][of_example]
                for name in ("image_sizes", "region_mask", "region_geometry")
                if name in inputs
            }
            pictures = {
                name: value.to(tower.dtype) if value.is_floating_point() else value for name, value in pictures.items()
            }
            outputs = self.text_states(tower, texts, pictures, **kwargs)
            states = outputs.last_hidden_state
            positions = inputs["mask_positions"][of_example, of_copy, of_text].clamp(min=0)
            blanks = states.gather(1, positions[..., None].expand(-1, -1, states.shape[-1]))
            return BlankOutput(self.language_head(tower)(blanks), outputs.hidden_states, outputs.attentions)

        most = None if max_copies is None else max_copies * num_texts
        filled = in_parts(run, len(example) * num_texts, most, example.device)
        filled.logits = filled.logits.unflatten(0, (len(example), num_texts))
        return filled


def of_texts(
    states: torch.Tensor,
    texts: Inputs,
    hidden_states: tuple[torch.Tensor, ...] | None,
    attentions: tuple[torch.Tensor, ...] | None,
) -> BaseModelOutput:
    """Where the texts stand in front of the pictures."""
    return BaseModelOutput(states[:, : texts["input_ids"].shape[1]], hidden_states, attentions)
