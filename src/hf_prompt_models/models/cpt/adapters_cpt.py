"""Adapters for the backbones of CPT: how each type of model fills in the blanks of a prompt."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F
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

from hf_prompt_models.backbones.clip_resnet import ClipResNetModel
from hf_prompt_models.backbones.two_tower import BACKBONES
from hf_prompt_models.backbones.vilt import embed_patches
from hf_prompt_models.models.cpt.modeling_oscar import OscarForMaskedLM
from hf_prompt_models.utils.padding import run_in_chunks, unpadded_indices


Inputs = Mapping[str, torch.Tensor]
"""Model inputs by name, as far as they apply to the backbone. `CptForVisualGrounding.forward` describes each."""


@dataclass
class BlankOutput(ModelOutput):
    """Output of a backbone at the blanks of a batch's copies.

    Args:
        logits (`torch.FloatTensor` of shape `(copies, texts, blanks, vocabulary)`): of the copies where `copy_mask` is
            1, in order.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*): of the backbone, `(copies * texts, tokens, width)`; for
            a CLIP those of its image tower, `(copies, tokens, width)`.
        attentions (`tuple(torch.FloatTensor)`, *optional*): of the same layers as the hidden states.
    """

    logits: torch.Tensor
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class Adapter(ABC):
    """A type of backbone: the requirements on its prompts, and how it fills in blanks.

    Attributes:
        model_class: the transformers class.
        fingerprint_weights: names of small tensors that distinguish one checkpoint from another.
        reads_regions: whether it reads region features, which the user supplies, instead of pixels.
        matches_sentences: whether it has no blank to fill and compares images with complete sentences instead.
    """

    model_class: ClassVar[type[PreTrainedModel]]
    fingerprint_weights: ClassVar[tuple[str, ...]]
    reads_regions: ClassVar[bool] = False
    matches_sentences: ClassVar[bool] = False

    def text_length(self, config: PreTrainedConfig) -> int:
        """Return the number of tokens that the text tower can read, including special tokens."""
        return config.get_text_config().max_position_embeddings

    def image_side(self, config: PreTrainedConfig) -> int | None:
        """Return the side of the square image that the image tower takes, in pixels, or `None` for any size."""
        return None

    def unread_parts(self, tower: PreTrainedModel) -> Iterable[nn.Module | nn.Parameter]:
        """Return parts of the backbone that do not affect the logits at the blanks, such as poolers.

        They are not trained because they get no gradient, and processes that train together would wait for it.
        """
        return ()

    @abstractmethod
    def fill_blanks(
        self, tower: PreTrainedModel, inputs: Inputs, max_copies: int | None, **kwargs: Any
    ) -> BlankOutput:
        """Return the backbone's output at the blanks of the copies where `copy_mask` is 1, in order.

        Args:
            tower: the backbone.
            inputs: output of the processor; see `CptForVisualGrounding.forward`.
            max_copies: number of copies that go through the backbone at once.
            kwargs: `output_hidden_states`, `output_attentions`.
        """


class MaskedLanguageAdapter(Adapter):
    """A backbone with a masked-language head, which reads a copy and a text and fills in the text's mask tokens."""

    @abstractmethod
    def text_states(self, tower: PreTrainedModel, texts: Inputs, pictures: Inputs, **kwargs: Any) -> BaseModelOutput:
        """Run the backbone and return the hidden states of the texts.

        Args:
            tower: the backbone.
            texts: `input_ids`, `attention_mask` and `token_type_ids`, each (sequences, tokens).
            pictures: image inputs, each (sequences, …): `pixel_values` and `image_sizes`, or `region_features`,
                `region_mask` and `region_geometry`.
            kwargs: `output_hidden_states`, `output_attentions`.

        Returns:
            `.last_hidden_state` of the text tokens only, (sequences, tokens, width).
        """

    @abstractmethod
    def language_head(self, tower: PreTrainedModel) -> nn.Module:
        """Return the module that maps hidden states to vocabulary logits."""

    def fill_blanks(
        self, tower: PreTrainedModel, inputs: Inputs, max_copies: int | None, **kwargs: Any
    ) -> BlankOutput:
        """Return the logits of the masked-language head at the mask tokens; arguments as in [`Adapter`]."""
        example, copy = unpadded_indices(inputs["copy_mask"])
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
        filled = run_in_chunks(run, len(example) * num_texts, most, example.device)
        filled.logits = filled.logits.unflatten(0, (len(example), num_texts))
        return filled


def of_texts(
    states: torch.Tensor,
    texts: Inputs,
    hidden_states: tuple[torch.Tensor, ...] | None,
    attentions: tuple[torch.Tensor, ...] | None,
) -> BaseModelOutput:
    """Return the hidden states of the text tokens, for backbones that put them in front of the image tokens."""
    return BaseModelOutput(states[:, : texts["input_ids"].shape[1]], hidden_states, attentions)


class ViltAdapter(MaskedLanguageAdapter):
    """ViLT: patches of an image of any size, with interpolated position embeddings."""

    model_class = ViltForMaskedLM
    fingerprint_weights = (
        "vilt.layernorm.weight",
        "vilt.embeddings.text_embeddings.LayerNorm.weight",
        "vilt.encoder.layer.0.attention.attention.query.weight",
        "mlm_score.transform.LayerNorm.weight",
    )

    def unread_parts(self, tower: PreTrainedModel) -> Iterable[nn.Module | nn.Parameter]:
        """Return the pooler."""
        return (tower.vilt.pooler,)

    def text_states(self, tower: PreTrainedModel, texts: Inputs, pictures: Inputs, **kwargs: Any) -> BaseModelOutput:
        """Run ViLT on the patches of each image without its padding."""
        patches, patch_mask = embed_patches(tower.vilt, pictures["pixel_values"], pictures["image_sizes"])
        outputs = tower.vilt(**texts, image_embeds=patches, pixel_mask=patch_mask, return_dict=True, **kwargs)
        return of_texts(outputs.last_hidden_state, texts, outputs.hidden_states, outputs.attentions)

    def language_head(self, tower: PreTrainedModel) -> nn.Module:
        """Return the masked-language head."""
        return tower.mlm_score


class BridgeTowerAdapter(MaskedLanguageAdapter):
    """BridgeTower: a square image, and RoBERTa's vocabulary."""

    model_class = BridgeTowerForMaskedLM
    fingerprint_weights = (
        "bridgetower.cross_modal_text_layernorm.weight",
        "bridgetower.text_model.embeddings.LayerNorm.weight",
        "bridgetower.vision_model.visual.ln_pre.weight",
        "mlm_score.transform.LayerNorm.weight",
    )

    def unread_parts(self, tower: PreTrainedModel) -> Iterable[nn.Module | nn.Parameter]:
        """Return the poolers and the last cross-modal image layer."""
        model = tower.bridgetower
        last = model.cross_modal_image_layers[-1]  # only the pooler reads its output
        return (last, model.text_model.pooler, model.cross_modal_image_pooler, model.cross_modal_text_pooler)

    def text_length(self, config: PreTrainedConfig) -> int:
        """Return the number of tokens that RoBERTa's position embeddings allow."""
        return (
            config.text_config.max_position_embeddings - config.text_config.pad_token_id - 1
        )  # RoBERTa's positions start after the padding id

    def image_side(self, config: PreTrainedConfig) -> int:
        """Return the image size of the vision configuration."""
        return config.vision_config.image_size

    def text_states(self, tower: PreTrainedModel, texts: Inputs, pictures: Inputs, **kwargs: Any) -> BaseModelOutput:
        """Run BridgeTower and return the states of its text stream."""
        outputs = tower.bridgetower(**texts, pixel_values=pictures["pixel_values"], return_dict=True, **kwargs)
        # The model always returns both streams. Only the text stream is used: its own layers and the cross-modal ones.
        own, _, cross = outputs.hidden_states
        hidden_states = (*own, *(text for text, _ in cross)) if kwargs.get("output_hidden_states") else None
        attentions = tuple(text for text, _ in outputs.attentions) if kwargs.get("output_attentions") else None
        return of_texts(outputs.text_features, texts, hidden_states, attentions)

    def language_head(self, tower: PreTrainedModel) -> nn.Module:
        """Return the masked-language head."""
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

    def unread_parts(self, tower: PreTrainedModel) -> Iterable[nn.Module | nn.Parameter]:
        """Return the unused heads, the codebook, the projections, and the poolers and last norms of the towers."""
        model = tower.flava
        yield from (tower.image_codebook, tower.mim_head, tower.mlm_head, tower.itm_head, tower.mmm_image_head)
        yield from (model.image_projection, model.text_projection, model.logit_scale, model.multimodal_model.pooler)
        yield model.image_model.embeddings.mask_token
        for part in (model.text_model, model.image_model):  # the encoder reads the output of their layers
            yield from (part.layernorm, part.pooler)

    def image_side(self, config: PreTrainedConfig) -> int:
        """Return the image size of the image configuration."""
        return config.image_config.image_size

    def text_states(self, tower: PreTrainedModel, texts: Inputs, pictures: Inputs, **kwargs: Any) -> BaseModelOutput:
        """Run FLAVA and return the states of the text tokens in the multimodal encoder."""
        # FLAVA needs its towers' hidden states itself and returns none of its multimodal encoder: use the text's.
        attentions = bool(kwargs.get("output_attentions"))
        outputs = tower.flava(
            **texts, pixel_values=pictures["pixel_values"], output_attentions=attentions, return_dict=True
        )
        words = texts["input_ids"].shape[1]
        hidden_states = outputs.text_output.hidden_states if kwargs.get("output_hidden_states") else None
        states = outputs.multimodal_embeddings[:, -words:]
        return BaseModelOutput(states, hidden_states, outputs.text_output.attentions)

    def language_head(self, tower: PreTrainedModel) -> nn.Module:
        """Return the text head of the multimodal encoder."""
        return tower.mmm_text_head


class VisualBertAdapter(MaskedLanguageAdapter):
    """VisualBERT: region features without their positions."""

    model_class = VisualBertForPreTraining
    reads_regions = True
    fingerprint_weights = (
        "visual_bert.embeddings.LayerNorm.weight",
        "visual_bert.embeddings.visual_projection.bias",
        "visual_bert.encoder.layer.0.output.LayerNorm.weight",
        "cls.predictions.bias",
    )

    def unread_parts(self, tower: PreTrainedModel) -> Iterable[nn.Module | nn.Parameter]:
        """Return the pooler and the head for sentence-image matching."""
        return (tower.visual_bert.pooler, tower.cls.seq_relationship)

    def text_states(self, tower: PreTrainedModel, texts: Inputs, pictures: Inputs, **kwargs: Any) -> BaseModelOutput:
        """Run VisualBERT on texts and region features."""
        features, mask = pictures["region_features"], pictures["region_mask"]
        outputs = tower.visual_bert(
            **texts,
            visual_embeds=features,
            visual_attention_mask=mask,
            visual_token_type_ids=torch.ones_like(mask),
            return_dict=True,
            **kwargs,
        )
        return of_texts(outputs.last_hidden_state, texts, outputs.hidden_states, outputs.attentions)

    def language_head(self, tower: PreTrainedModel) -> nn.Module:
        """Return the masked-language head."""
        return tower.cls.predictions


class LxmertAdapter(MaskedLanguageAdapter):
    """LXMERT: region features, and the corners of regions as fractions of the image size."""

    model_class = LxmertForPreTraining
    reads_regions = True
    fingerprint_weights = (
        "lxmert.embeddings.LayerNorm.weight",
        "lxmert.encoder.visn_fc.visn_layer_norm.weight",
        "lxmert.pooler.dense.bias",
        "cls.predictions.bias",
    )

    def unread_parts(self, tower: PreTrainedModel) -> Iterable[nn.Module | nn.Parameter]:
        """Return the image side of the last layer, the pooler, and the other heads."""
        last = tower.lxmert.encoder.x_layers[-1]  # only the text side of the last layer is used
        yield from (last.visn_self_att, last.visn_inter, last.visn_output)
        yield from (tower.lxmert.pooler, tower.cls.seq_relationship)
        heads = (("obj_predict_head", tower.config.task_obj_predict), ("answer_head", tower.config.task_qa))
        yield from (getattr(tower, name) for name, is_there in heads if is_there)

    def text_states(self, tower: PreTrainedModel, texts: Inputs, pictures: Inputs, **kwargs: Any) -> BaseModelOutput:
        """Run LXMERT and return the states of its text stream."""
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
        """Return the masked-language head."""
        return tower.cls.predictions


class OscarAdapter(MaskedLanguageAdapter):
    """Oscar, the backbone of the released code: region features that include the positions of regions."""

    model_class = OscarForMaskedLM
    reads_regions = True
    fingerprint_weights = (
        "bert.embeddings.LayerNorm.weight",
        "bert.img_embedding.bias",
        "bert.encoder.layer.0.output.LayerNorm.weight",
        "cls.predictions.bias",
    )

    def text_states(self, tower: PreTrainedModel, texts: Inputs, pictures: Inputs, **kwargs: Any) -> BaseModelOutput:
        """Run Oscar on texts and region features."""
        features, mask = pictures["region_features"], pictures["region_mask"]
        outputs = tower.bert(**texts, region_features=features, region_attention_mask=mask, return_dict=True, **kwargs)
        return of_texts(outputs.last_hidden_state, texts, outputs.hidden_states, outputs.attentions)

    def language_head(self, tower: PreTrainedModel) -> nn.Module:
        """Return the masked-language head."""
        return tower.cls


class ClipAdapter(Adapter):
    """CLIP: no blank. Its "vocabulary" is the sentence with each word filled in, its logits are the similarities."""

    model_class: ClassVar[type[PreTrainedModel]] = CLIPModel
    matches_sentences = True
    fingerprint_weights = BACKBONES["clip"].fingerprint_weights

    def image_side(self, config: PreTrainedConfig) -> int:
        """Return the image size of the vision configuration."""
        return config.vision_config.image_size

    def fill_blanks(
        self, tower: PreTrainedModel, inputs: Inputs, max_copies: int | None, **kwargs: Any
    ) -> BlankOutput:
        """Compare copies with sentences; `input_ids` are (examples, texts, words, tokens)."""
        example, copy = unpadded_indices(inputs["copy_mask"])

        def run(rows: torch.Tensor) -> BlankOutput:
            pixel_values = inputs["pixel_values"][example[rows], copy[rows]]
            outputs = tower.get_image_features(pixel_values, return_dict=True, **kwargs)
            features = F.normalize(outputs.pooler_output, dim=-1)
            return BlankOutput(features, outputs.hidden_states, outputs.attentions)

        images = run_in_chunks(run, len(example), max_copies, example.device)
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


class ClipResNetAdapter(ClipAdapter):
    """A CLIP with a ResNet as image tower."""

    model_class = ClipResNetModel
    fingerprint_weights = BACKBONES["clip_resnet"].fingerprint_weights


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
        ClipResNetAdapter(),
    )
}
"""Adapters by the backbone's `model_type`."""


def find_adapter(config: PreTrainedConfig) -> Adapter:
    """Return the adapter for a backbone's configuration.

    Raises:
        TypeError: if the type is not supported; the message lists the supported types.
    """
    if config.model_type not in ADAPTERS:
        listed = ", ".join(adapter.model_class.__name__ for adapter in ADAPTERS.values())
        raise TypeError(f"CPT does not support backbones of type {config.model_type!r}. Choose one of {listed}.")
    return ADAPTERS[config.model_type]
