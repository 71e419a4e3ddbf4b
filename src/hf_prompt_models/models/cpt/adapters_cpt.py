"""What differs between the backbones that can fill in the blank: one small adapter for each type."""

from collections.abc import Iterable
from typing import Any

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

from hf_prompt_models.models.cpt.base_adapter_cpt import (
    Adapter,
    BlankOutput,
    Inputs,
    MaskedLanguageAdapter,
    find_copies,
    in_parts,
    of_texts,
)
from hf_prompt_models.models.cpt.modeling_oscar import OscarForMaskedLM


class ViltAdapter(MaskedLanguageAdapter):
    """ViLT: patches of a picture of any size, with interpolated positions."""

    model_class = ViltForMaskedLM
    fingerprint_weights = (
        "vilt.layernorm.weight",
        "vilt.embeddings.text_embeddings.LayerNorm.weight",
        "vilt.encoder.layer.0.attention.attention.query.weight",
        "mlm_score.transform.LayerNorm.weight",
    )

    def unread_parts(self, tower: PreTrainedModel) -> Iterable[nn.Module | nn.Parameter]:
        return (tower.vilt.pooler,)

    def text_states(self, tower: PreTrainedModel, texts: Inputs, pictures: Inputs, **kwargs: Any) -> BaseModelOutput:
        patches, patch_mask = self.embed_patches(tower, pictures["pixel_values"], pictures["image_sizes"])
        outputs = tower.vilt(**texts, image_embeds=patches, pixel_mask=patch_mask, return_dict=True, **kwargs)
        return of_texts(outputs.last_hidden_state, texts, outputs.hidden_states, outputs.attentions)

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
        sizes, rows_of_size = rows_by_size(pixel_values, image_sizes)
        most = max((height // patch_height) * (width // patch_width) for height, width in sizes)
        embedded = grid.new_zeros(len(pixel_values), 1 + most, grid.shape[1])
        mask = image_sizes.new_zeros(len(pixel_values), 1 + most)
        for (height, width), rows in zip(sizes, rows_of_size, strict=True):
            patches = embeddings.patch_embeddings(pixel_values[rows, :, :height, :width])
            positions = F.interpolate(grid, size=patches.shape[2:], mode="bilinear", align_corners=True)
            patches = (patches + positions).flatten(2).transpose(1, 2)
            start = (embeddings.cls_token + class_position).expand(len(rows), -1, -1)
            sequence = torch.cat([start, patches], dim=1)
            embedded = embedded.to(sequence.dtype)  # under autocast the projection gives another than the parameters'
            embedded = embedded.index_put((rows,), F.pad(sequence, (0, 0, 0, most + 1 - sequence.shape[1])))
            mask[rows, : sequence.shape[1]] = 1
        return embeddings.dropout(embedded), mask


def rows_by_size(
    pixel_values: torch.Tensor, image_sizes: torch.Tensor
) -> tuple[list[tuple[int, int]], list[torch.Tensor]]:
    """Return the sizes that images have, and which images have each.

    A graph for export has one size, that of the pixels it is exported with; it refuses images of another.

    Args:
        pixel_values: (images, 3, height, width), padded.
        image_sizes: (images, 2) height and width without the padding.
    """
    if torch.compiler.is_exporting():
        height, width = pixel_values.shape[2:]
        same = (image_sizes[:, 0] == height) & (image_sizes[:, 1] == width)
        torch._assert_async(same.all(), f"This graph was exported with images of {height} x {width} pixels.")
        return [(height, width)], [torch.arange(len(pixel_values), device=pixel_values.device)]
    unique, which = image_sizes.unique(dim=0, return_inverse=True)
    sizes = [(height, width) for height, width in unique.tolist()]
    return sizes, [(which == number).nonzero()[:, 0] for number in range(len(sizes))]


class BridgeTowerAdapter(MaskedLanguageAdapter):
    """BridgeTower: a square picture, RoBERTa's vocabulary."""

    model_class = BridgeTowerForMaskedLM
    fingerprint_weights = (
        "bridgetower.cross_modal_text_layernorm.weight",
        "bridgetower.text_model.embeddings.LayerNorm.weight",
        "bridgetower.vision_model.visual.ln_pre.weight",
        "mlm_score.transform.LayerNorm.weight",
    )

    def unread_parts(self, tower: PreTrainedModel) -> Iterable[nn.Module | nn.Parameter]:
        model = tower.bridgetower
        last = model.cross_modal_image_layers[-1]  # whose output is for the pooler alone
        return (last, model.text_model.pooler, model.cross_modal_image_pooler, model.cross_modal_text_pooler)

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
        return of_texts(outputs.text_features, texts, hidden_states, attentions)

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

    def unread_parts(self, tower: PreTrainedModel) -> Iterable[nn.Module | nn.Parameter]:
        model = tower.flava
        yield from (tower.image_codebook, tower.mim_head, tower.mlm_head, tower.itm_head, tower.mmm_image_head)
        yield from (model.image_projection, model.text_projection, model.logit_scale, model.multimodal_model.pooler)
        yield model.image_model.embeddings.mask_token
        for part in (model.text_model, model.image_model):  # the encoder reads their layers' output
            yield from (part.layernorm, part.pooler)

    def text_length(self, config: PreTrainedConfig) -> int:
        return config.text_config.max_position_embeddings

    def image_side(self, config: PreTrainedConfig) -> int:
        return config.image_config.image_size

    def text_states(self, tower: PreTrainedModel, texts: Inputs, pictures: Inputs, **kwargs: Any) -> BaseModelOutput:
        # It needs the hidden states of its towers itself, and returns none of its multimodal encoder: here the text's.
        attentions = bool(kwargs.get("output_attentions"))
        outputs = tower.flava(
            **texts, pixel_values=pictures["pixel_values"], output_attentions=attentions, return_dict=True
        )
        words = texts["input_ids"].shape[1]
        hidden_states = outputs.text_output.hidden_states if kwargs.get("output_hidden_states") else None
        states = outputs.multimodal_embeddings[:, -words:]
        return BaseModelOutput(states, hidden_states, outputs.text_output.attentions)

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

    def unread_parts(self, tower: PreTrainedModel) -> Iterable[nn.Module | nn.Parameter]:
        return (tower.visual_bert.pooler, tower.cls.seq_relationship)

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
        return of_texts(outputs.last_hidden_state, texts, outputs.hidden_states, outputs.attentions)

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

    def unread_parts(self, tower: PreTrainedModel) -> Iterable[nn.Module | nn.Parameter]:
        last = tower.lxmert.encoder.x_layers[-1]  # of which the words' side alone is read
        yield from (last.visn_self_att, last.visn_inter, last.visn_output)
        yield from (tower.lxmert.pooler, tower.cls.seq_relationship)
        heads = (("obj_predict_head", tower.config.task_obj_predict), ("answer_head", tower.config.task_qa))
        yield from (getattr(tower, name) for name, is_there in heads if is_there)

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
        return of_texts(outputs.last_hidden_state, texts, outputs.hidden_states, outputs.attentions)

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
        example, copy = find_copies(inputs["copy_mask"])

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
