"""What differs between the backbones that can fill in the blank: one small adapter for each type."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import (
    BridgeTowerForMaskedLM,
    CLIPModel,
    FlavaForPreTraining,
    LxmertForPreTraining,
    PreTrainedConfig,
    PreTrainedModel,
    ViltForMaskedLM,
    VisualBertForPreTraining,
)
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import ModelOutput

from hf_prompt_models.models.cpt.modeling_oscar import OscarForMaskedLM


Inputs = Mapping[str, torch.Tensor]
INPUT_NAMES = (
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "copy_mask",
    "mask_positions",
    "pixel_values",
    "image_sizes",
    "region_features",
    "region_mask",
    "region_geometry",
)
"""What backbones read, as far as it applies to them; `CptForVisualGrounding.forward` says what each is."""


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
        example, copy = inputs["copy_mask"].nonzero(as_tuple=True)
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


def _of_texts(
    states: torch.Tensor,
    texts: Inputs,
    hidden_states: tuple[torch.Tensor, ...] | None,
    attentions: tuple[torch.Tensor, ...] | None,
) -> BaseModelOutput:
    """Where the texts stand in front of the pictures."""
    return BaseModelOutput(states[:, : texts["input_ids"].shape[1]], hidden_states, attentions)


class ViltAdapter(MaskedLanguageAdapter):
    """ViLT: patches of a picture of any size, with interpolated positions."""

    model_class = ViltForMaskedLM
    fingerprint_weights = (
        "vilt.layernorm.weight",
        "vilt.embeddings.text_embeddings.LayerNorm.weight",
        "vilt.encoder.layer.0.attention.attention.query.weight",
        "mlm_score.transform.LayerNorm.weight",
    )

    def text_states(self, tower: PreTrainedModel, texts: Inputs, pictures: Inputs, **kwargs: Any) -> BaseModelOutput:
        patches, patch_mask = self.embed_patches(tower, pictures["pixel_values"], pictures["image_sizes"])
        outputs = tower.vilt(**texts, image_embeds=patches, pixel_mask=patch_mask, return_dict=True, **kwargs)
        return _of_texts(outputs.last_hidden_state, texts, outputs.hidden_states, outputs.attentions)

    def language_head(self, tower: PreTrainedModel) -> nn.Module:
        return tower.mlm_score

    @staticmethod
    def embed_patches(
        tower: PreTrainedModel, pixel_values: torch.Tensor, image_sizes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All patches of each picture, in order, behind the class token.

        As ViLT's own embedding of pixels, which draws patches at random: which ones where `max_image_length` is set,
        and their order always, so that the same input gives different outputs.

        Args:
            tower: a `ViltForMaskedLM`.
            pixel_values: (pictures, 3, height, width), padded at the right and the bottom.
            image_sizes: (pictures, 2) height and width without the padding.

        Returns:
            (pictures, 1 + patches, width) and a mask (pictures, 1 + patches), 0 where a picture has fewer patches.
        """
        embeddings = tower.vilt.embeddings
        patch_height, patch_width = embeddings.patch_embeddings.projection.kernel_size
        class_position, grid = embeddings.position_embeddings.split(
            [1, embeddings.position_embeddings.shape[1] - 1], dim=1
        )
        side = round(grid.shape[1] ** 0.5)
        grid = grid.transpose(1, 2).unflatten(2, (side, side))
        sizes, which = image_sizes.unique(dim=0, return_inverse=True)
        most = int((sizes[:, 0] // patch_height * (sizes[:, 1] // patch_width)).max())
        embedded = grid.new_zeros(len(pixel_values), 1 + most, grid.shape[1])
        mask = image_sizes.new_zeros(len(pixel_values), 1 + most)
        for number, (height, width) in enumerate(sizes.tolist()):
            rows = (which == number).nonzero()[:, 0]
            patches = embeddings.patch_embeddings(pixel_values[rows, :, :height, :width])
            positions = F.interpolate(grid, size=patches.shape[2:], mode="bilinear", align_corners=True)
            patches = (patches + positions).flatten(2).transpose(1, 2)
            start = (embeddings.cls_token + class_position).expand(len(rows), -1, -1)
            sequence = torch.cat([start, patches], dim=1)
            embedded = embedded.to(sequence.dtype)  # under autocast the projection gives another than the parameters'
            embedded = embedded.index_put((rows,), F.pad(sequence, (0, 0, 0, most + 1 - sequence.shape[1])))
            mask[rows, : sequence.shape[1]] = 1
        return embeddings.dropout(embedded), mask


class BridgeTowerAdapter(MaskedLanguageAdapter):
    """BridgeTower: a square picture, RoBERTa's vocabulary."""

    model_class = BridgeTowerForMaskedLM
    fingerprint_weights = (
        "bridgetower.cross_modal_text_layernorm.weight",
        "bridgetower.text_model.embeddings.LayerNorm.weight",
        "bridgetower.vision_model.visual.ln_pre.weight",
        "mlm_score.transform.LayerNorm.weight",
    )

    def text_length(self, config: PreTrainedConfig) -> int:
        return (
            config.text_config.max_position_embeddings - config.text_config.pad_token_id - 1
        )  # RoBERTa counts from there

    def image_side(self, config: PreTrainedConfig) -> int:
        return config.vision_config.image_size

    def text_states(self, tower: PreTrainedModel, texts: Inputs, pictures: Inputs, **kwargs: Any) -> BaseModelOutput:
        outputs = tower.bridgetower(**texts, pixel_values=pictures["pixel_values"], return_dict=True, **kwargs)
        # Both streams are returned, asked for or not: here the text's, of its own layers and of the cross-modal ones.
        own, _, cross = outputs.hidden_states
        hidden_states = (*own, *(text for text, _ in cross)) if kwargs.get("output_hidden_states") else None
        attentions = tuple(text for text, _ in outputs.attentions) if kwargs.get("output_attentions") else None
        return _of_texts(outputs.text_features, texts, hidden_states, attentions)

    def language_head(self, tower: PreTrainedModel) -> nn.Module:
        return tower.mlm_score


class FlavaAdapter(MaskedLanguageAdapter):
    """FLAVA: its multimodal encoder and text head, without the second pass and the codebook of its own `forward`."""

    model_class = FlavaForPreTraining
    fingerprint_weights = (
        "flava.multimodal_model.layernorm.weight",
        "flava.text_model.embeddings.LayerNorm.weight",
        "flava.image_model.layernorm.weight",
        "mmm_text_head.bias",
    )

    def text_length(self, config: PreTrainedConfig) -> int:
        return config.text_config.max_position_embeddings

    def image_side(self, config: PreTrainedConfig) -> int:
        return config.image_config.image_size

    def text_states(self, tower: PreTrainedModel, texts: Inputs, pictures: Inputs, **kwargs: Any) -> BaseModelOutput:
        # Its multimodal encoder reads the hidden states of the others, which it computes by default.
        options = {"output_attentions": kwargs.get("output_attentions", False), "return_dict": True}
        outputs = tower.flava(**texts, pixel_values=pictures["pixel_values"], **options).multimodal_output
        words = texts["input_ids"].shape[1]
        hidden_states = outputs.hidden_states if kwargs.get("output_hidden_states") else None
        return BaseModelOutput(outputs.last_hidden_state[:, -words:], hidden_states, outputs.attentions)

    def language_head(self, tower: PreTrainedModel) -> nn.Module:
        return tower.mmm_text_head


class VisualBertAdapter(MaskedLanguageAdapter):
    """VisualBERT: features of regions, without their places."""

    model_class = VisualBertForPreTraining
    reads_regions = True
    fingerprint_weights = (
        "visual_bert.embeddings.LayerNorm.weight",
        "visual_bert.embeddings.visual_projection.bias",
        "visual_bert.encoder.layer.0.output.LayerNorm.weight",
        "cls.predictions.bias",
    )

    def text_states(self, tower: PreTrainedModel, texts: Inputs, pictures: Inputs, **kwargs: Any) -> BaseModelOutput:
        features, mask = pictures["region_features"], pictures["region_mask"]
        outputs = tower.visual_bert(
            **texts,
            visual_embeds=features,
            visual_attention_mask=mask,
            visual_token_type_ids=torch.ones_like(mask),
            return_dict=True,
            **kwargs,
        )
        return _of_texts(outputs.last_hidden_state, texts, outputs.hidden_states, outputs.attentions)

    def language_head(self, tower: PreTrainedModel) -> nn.Module:
        return tower.cls.predictions


class LxmertAdapter(MaskedLanguageAdapter):
    """LXMERT: features of regions, and their corners as fractions of the picture."""

    model_class = LxmertForPreTraining
    reads_regions = True
    fingerprint_weights = (
        "lxmert.embeddings.LayerNorm.weight",
        "lxmert.encoder.visn_fc.visn_layer_norm.weight",
        "lxmert.pooler.dense.bias",
        "cls.predictions.bias",
    )

    def text_states(self, tower: PreTrainedModel, texts: Inputs, pictures: Inputs, **kwargs: Any) -> BaseModelOutput:
        outputs = tower.lxmert(
            **texts,
            visual_feats=pictures["region_features"],
            visual_pos=pictures["region_geometry"][..., :4],
            visual_attention_mask=pictures["region_mask"],
            return_dict=True,
            **kwargs,
        )
        hidden_states, attentions = outputs.language_hidden_states, outputs.language_attentions
        return BaseModelOutput(outputs.language_output, hidden_states, attentions)

    def language_head(self, tower: PreTrainedModel) -> nn.Module:
        return tower.cls.predictions


class OscarAdapter(MaskedLanguageAdapter):
    """Oscar: features of regions that end with their places; the backbone of the released code."""

    model_class = OscarForMaskedLM
    reads_regions = True
    fingerprint_weights = (
        "bert.embeddings.LayerNorm.weight",
        "bert.img_embedding.bias",
        "bert.encoder.layer.0.output.LayerNorm.weight",
        "cls.predictions.bias",
    )

    def text_states(self, tower: PreTrainedModel, texts: Inputs, pictures: Inputs, **kwargs: Any) -> BaseModelOutput:
        features, mask = pictures["region_features"], pictures["region_mask"]
        outputs = tower.bert(**texts, region_features=features, region_attention_mask=mask, return_dict=True, **kwargs)
        return _of_texts(outputs.last_hidden_state, texts, outputs.hidden_states, outputs.attentions)

    def language_head(self, tower: PreTrainedModel) -> nn.Module:
        return tower.cls


class ClipAdapter(Adapter):
    """CLIP: no blank; the "vocabulary" is the sentences with each word put in, its logits are their similarities."""

    model_class = CLIPModel
    matches_sentences = True
    fingerprint_weights = (
        "text_model.final_layer_norm.weight",
        "vision_model.post_layernorm.weight",
        "text_projection.weight",
        "visual_projection.weight",
    )

    def text_length(self, config: PreTrainedConfig) -> int:
        return config.text_config.max_position_embeddings

    def image_side(self, config: PreTrainedConfig) -> int:
        return config.vision_config.image_size

    def fill_blanks(
        self, tower: PreTrainedModel, inputs: Inputs, max_copies: int | None, **kwargs: Any
    ) -> BlankOutput:
        """`input_ids` are (examples, texts, words, tokens)."""
        example, copy = inputs["copy_mask"].nonzero(as_tuple=True)

        def run(rows: torch.Tensor) -> BlankOutput:
            pixel_values = inputs["pixel_values"][example[rows], copy[rows]]
            outputs = tower.get_image_features(pixel_values, return_dict=True, **kwargs)
            features = F.normalize(outputs.pooler_output, dim=-1)
            return BlankOutput(features, outputs.hidden_states, outputs.attentions)

        images = in_parts(run, len(example), max_copies, example.device)
        shape = inputs["input_ids"].shape[:3]
        sentences = tower.get_text_features(
            inputs["input_ids"].flatten(0, 2),
            inputs["attention_mask"].flatten(0, 2),
            output_hidden_states=False,
            output_attentions=False,
            return_dict=True,
        ).pooler_output
        sentences = F.normalize(sentences, dim=-1).unflatten(0, shape)
        similarity = torch.einsum("cd,ctwd->ctw", images.logits, sentences[example])
        images.logits = (tower.logit_scale.exp() * similarity)[:, :, None]
        return images


ADAPTERS: dict[str, Adapter] = {
    adapter.model_class.config_class.model_type: adapter
    for adapter in (
        ViltAdapter(),
        BridgeTowerAdapter(),
        FlavaAdapter(),
        VisualBertAdapter(),
        LxmertAdapter(),
        OscarAdapter(),
        ClipAdapter(),
    )
}
"""By the backbone's `model_type`."""


def find_adapter(config: PreTrainedConfig) -> Adapter:
    """The adapter for a backbone's configuration.

    Raises:
        TypeError: naming the types that there are.
    """
    if config.model_type not in ADAPTERS:
        listed = ", ".join(adapter.model_class.__name__ for adapter in ADAPTERS.values())
        raise TypeError(f"No backbone for colourful prompts is of type {config.model_type!r}: take one of {listed}.")
    return ADAPTERS[config.model_type]
