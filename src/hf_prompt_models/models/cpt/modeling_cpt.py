"""CPT: visual grounding by filling in the colour of a painted region (arXiv 2109.11797)."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.processing_utils import Unpack
from transformers.utils import PROCESSOR_NAME, ModelOutput
from transformers.utils.generic import TransformersKwargs

from hf_prompt_models.backbones.packaged import VILT_DIR
from hf_prompt_models.modeling_utils import HUB_KWARGS, PromptPreTrainedModel, at_least_float32
from hf_prompt_models.models.cpt.adapters_cpt import ADAPTERS, BlankOutput, find_adapter
from hf_prompt_models.models.cpt.configuration_cpt import CptConfig
from hf_prompt_models.models.cpt.losses_cpt import (
    color_scores,
    copy_targets,
    listwise_loss,
    palette_logits,
    palette_loss,
    region_scores,
    vocab_loss,
)
from hf_prompt_models.models.cpt.processing_cpt import CptProcessor
from hf_prompt_models.utils.forward_options import captured, forward_options
from hf_prompt_models.utils.padding import pad_entries, unpadded_indices


@dataclass
class CptVisualGroundingOutput(ModelOutput):
    """Output of [`CptForVisualGrounding`].

    Args:
        loss (`torch.FloatTensor` of shape `(1,)`, *optional*): the loss that `config.loss` selects, if labels were
            given.
        proposal_logits (`torch.FloatTensor` of shape `(batch, most regions)`): a score for each region, -inf if an
            example has fewer.
        mask_logits (`torch.FloatTensor` of shape `(batch, most copies, vocabulary)`): logits of the backbone at the
            blank of each painted copy, 0 if an example has fewer. For a CLIP, the vocabulary is the sentences.
        hidden_states, attentions (`tuple(torch.FloatTensor)`, *optional*): of the backbone, with
            `output_hidden_states=True` and `output_attentions=True`: a row for each text of each copy, in order,
            `(copies * texts, tokens, width)`; for a CLIP those of its image tower, a row for each copy. Attentions
            need `attn_implementation="eager"`.
    """

    loss: torch.Tensor | None = None
    proposal_logits: torch.Tensor | None = None
    mask_logits: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class CptPreTrainedModel(PromptPreTrainedModel):
    """Base of the CPT models: a backbone that fills in blanks. The prompt has no parameters."""

    config: CptConfig
    backbone_classes = tuple(adapter.model_class for adapter in ADAPTERS.values())
    backbone_name = "tower"
    packaged_backbone = VILT_DIR
    main_input_name = "pixel_values"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    tower: PreTrainedModel
    _unchosen_processor: CptProcessor | None = None

    def __init__(self, config: CptConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config)
        self.adapter = find_adapter(config.tower_config)
        self.tower = self.adapter.model_class._from_config(config.tower_config) if backbone is None else backbone
        self.post_init()
        self.freeze_backbone()

    @classmethod
    def fingerprint_weights(cls, backbone: PreTrainedModel) -> tuple[str, ...]:
        """Return the names of small tensors that distinguish one backbone from another."""
        return find_adapter(backbone.config).fingerprint_weights

    def trained_backbone_parameters(self) -> Iterable[nn.Parameter]:
        """Return the backbone's parameters that affect the logits if `config.trainable` is "all", otherwise none."""
        if self.config.trainable != "all":
            return
        unread: set[nn.Parameter] = set()
        for part in self.adapter.unread_parts(self.tower):
            unread.update([part] if isinstance(part, nn.Parameter) else part.parameters())
        yield from (parameter for parameter in self.tower.parameters() if parameter not in unread)

    def _init_weights(self, module: nn.Module) -> None:
        """No-op: the model has no weights outside the backbone."""

    @classmethod
    def _load_new(
        cls,
        name_or_path: str | os.PathLike,
        fields: dict[str, Any],
        tokenizer: PreTrainedTokenizerBase | None,
        kwargs: dict[str, Any],
        word_fields: Callable[[PreTrainedTokenizerBase], dict[str, Any]] | None = None,
    ) -> Self:
        """Create a model from a backbone and configuration fields, with the processor that the backbone needs.

        `word_fields` returns further fields that store words as token ids, given the tokenizer.
        """
        tower = cls.load_backbone(name_or_path, **kwargs)
        hub_kwargs = {name: kwargs[name] for name in HUB_KWARGS if name in kwargs}
        processor = CptProcessor.from_backbone(name_or_path, tokenizer=tokenizer, **hub_kwargs)
        tokenizer = processor.tokenizer
        config = CptConfig(
            tower_config=tower.config.to_dict(),
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **fields,
            **(word_fields(tokenizer) if word_fields else {}),
            **cls._base_model_fields(name_or_path, tower, kwargs),
        )
        model = cls._from_parts(config, tower, {}, kwargs.get("attn_implementation"))
        model.processor = model._unchosen_processor = processor
        return model

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """Save the checkpoint, and keep the folder's processor unless another one was set on this model.

        `from_backbone` gives a model a default processor, so that the folder is complete for `pipeline()`. The default
        does not overwrite a processor that the user saved there with another palette or template.
        """
        is_unchosen = self.processor is not None and self.processor is self._unchosen_processor
        if is_unchosen and Path(save_directory, PROCESSOR_NAME).is_file():
            with suppress(OSError, ValueError):  # the folder's processor cannot be read as a CPT processor
                kept = CptProcessor.from_pretrained(os.path.abspath(save_directory))
                if kept.backbone_type == self.tower.config.model_type:
                    self.processor = kept
        super().save_pretrained(save_directory, *args, **kwargs)

    def fill_blanks(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        copy_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
        mask_positions: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_sizes: torch.Tensor | None = None,
        region_features: torch.Tensor | None = None,
        region_mask: torch.Tensor | None = None,
        region_geometry: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> BlankOutput:
        """Return the backbone's logits at the blanks of all copies of a batch, in full precision.

        Args:
            input_ids: as in [`CptForVisualGrounding.forward`].
            attention_mask: as in [`CptForVisualGrounding.forward`].
            copy_mask: as in [`CptForVisualGrounding.forward`].
            token_type_ids: as in [`CptForVisualGrounding.forward`].
            mask_positions: as in [`CptForVisualGrounding.forward`].
            pixel_values: as in [`CptForVisualGrounding.forward`].
            image_sizes: as in [`CptForVisualGrounding.forward`].
            region_features: as in [`CptForVisualGrounding.forward`].
            region_mask: as in [`CptForVisualGrounding.forward`].
            region_geometry: as in [`CptForVisualGrounding.forward`].
            kwargs: `output_hidden_states`, `output_attentions`.
        """
        inputs = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "copy_mask": copy_mask,
            "token_type_ids": token_type_ids,
            "mask_positions": mask_positions,
            "pixel_values": pixel_values,
            "image_sizes": image_sizes,
            "region_features": region_features,
            "region_mask": region_mask,
            "region_geometry": region_geometry,
        }
        given = {name: tensor for name, tensor in inputs.items() if tensor is not None}
        most = self.config.max_copies_per_forward
        filled = self.adapter.fill_blanks(self.tower, given, most, **captured(kwargs))
        filled.logits = at_least_float32(filled.logits)
        return filled

    @torch.no_grad()
    def word_probabilities(
        self, processor: CptProcessor, images: Sequence[Image.Image], sentence: str, words: Sequence[str]
    ) -> torch.Tensor:
        """Return the probability of each word in the blank of a sentence about each image, (images, words).

        Args:
            processor: processor for the backbone.
            images: the images, unpainted or already painted.
            sentence: a sentence with one `[MASK]`.
            words: words of one token each. For a CLIP, probabilities are among these words only.
        """
        inputs, ids = processor.for_words(images, sentence, words)
        logits = self.fill_blanks(**inputs.to(self.device)).logits
        return logits[:, 0, 0].softmax(dim=-1)[:, ids]


class CptForVisualGrounding(CptPreTrainedModel):
    """Visual grounding: find which of the given regions of an image a phrase refers to.

    Regions are painted in colours that have names, and the backbone fills in the blank of "the horse is in [MASK]
    color". [`CptProcessor`] creates the painted copies and the sentences. The model computes scores from the
    backbone's logits at the blank.
    """

    pipeline_task = "visual-grounding"

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        score: str = "log_odds",
        max_copies_per_forward: int | None = None,
        loss: str = "vocab_ce",
        trainable: str = "none",
        tokenizer: PreTrainedTokenizerBase | None = None,
        **kwargs: Any,
    ) -> Self:
        """Create a model from a pretrained backbone. It can ground phrases without training (zero-shot).

        Args:
            name_or_path: Hub id or folder of the backbone: a ViLT, BridgeTower, FLAVA, VisualBERT, LXMERT or CLIP;
                "playground" is the tiny ViLT in this package.
            score: as in [`CptConfig`].
            max_copies_per_forward: as in [`CptConfig`].
            loss: as in [`CptConfig`].
            trainable: as in [`CptConfig`]; "all" for training.
            tokenizer: the tokenizer, if it is not stored with the backbone.
            kwargs: arguments of the backbone's `from_pretrained`: `revision`, `token`, `dtype`, `device_map`, ….

        Raises:
            TypeError: if the backbone is of another type.

        Example:
            ```python
            >>> from PIL import Image
            >>> from hf_prompt_models import CptForVisualGrounding, CptProcessor
            >>> model = CptForVisualGrounding.from_backbone("playground")
            >>> processor = CptProcessor.from_backbone("playground")
            >>> boxes = [[0, 0, 30, 30], [30, 30, 60, 60]]
            >>> inputs = processor(images=Image.new("RGB", (64, 64)), text="the red key", boxes=boxes)
            >>> model(**inputs).proposal_logits.shape
            torch.Size([1, 2])

            ```
        """
        fields = {
            "score": score,
            "max_copies_per_forward": max_copies_per_forward,
            "loss": loss,
            "trainable": trainable,
        }
        return cls._load_new(name_or_path, fields, tokenizer, kwargs)

    @forward_options
    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        copy_mask: torch.Tensor,
        region_index: torch.Tensor,
        region_mask: torch.Tensor,
        color_token_ids: torch.Tensor,
        none_token_ids: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
        mask_positions: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_sizes: torch.Tensor | None = None,
        region_features: torch.Tensor | None = None,
        region_geometry: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CptVisualGroundingOutput | tuple:
        """Score the regions of each example, and compute the loss if labels are given.

        Args:
            input_ids: (batch, copies, texts, tokens). The first text is that of the phrase; the mean score of the
                others is subtracted. For a CLIP (batch, texts, words, tokens): the sentence with each word in the
                blank.
            attention_mask: same shape as `input_ids`.
            copy_mask: (batch, copies), 1 for painted copies, 0 for padding.
            region_index: (batch, copies, colours) index of the region that has the colour in a copy, -1 for none.
            region_mask: (batch, regions), 1 for regions, 0 for padding.
            color_token_ids: (batch, copies, colours) token ids of the colours' words, -1 for none.
            none_token_ids: (batch, copies) token id of the word for "no region of this copy".
            token_type_ids: same shape as `input_ids`.
            mask_positions: (batch, copies, texts, 1) position of the blank.
            pixel_values: (batch, copies, 3, height, width), padded at the right and the bottom.
            image_sizes: (batch, 2) height and width of the copies without padding.
            region_features: (batch, copies, regions, dim), for backbones that read regions.
            region_geometry: (batch, regions, 6) x1/W, y1/H, x2/W, y2/H, (x2 - x1)/W, (y2 - y1)/H of each region.
            labels: (batch, regions) overlap (IoU) of each region with the true box. Above 0.5 it is positive.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.
        """
        if labels is not None and torch.compiler.is_exporting():
            raise ValueError("A graph for export returns scores and no loss. Leave labels out.")
        filled = self.fill_blanks(
            input_ids=input_ids,
            attention_mask=attention_mask,
            copy_mask=copy_mask,
            token_type_ids=token_type_ids,
            mask_positions=mask_positions,
            pixel_values=pixel_values,
            image_sizes=image_sizes,
            region_features=region_features,
            region_mask=region_mask,
            region_geometry=region_geometry,
            **kwargs,
        )
        logits = filled.logits[:, :, 0]
        example, copy = unpadded_indices(copy_mask)
        regions, color_ids, none_ids = (t[example, copy] for t in (region_index, color_token_ids, none_token_ids))
        needs_blank = self.config.score in ("logit_ratio", "prob") and not torch.compiler.is_exporting()
        if needs_blank and (none_ids < 0).any():
            raise ValueError(
                f"score={self.config.score!r} compares a colour with 'none', which needs sentences with a "
                "blank. Use score='logit'."
            )
        colors, none = palette_logits(logits, color_ids, none_ids)
        scores = color_scores(colors, none, self.config.score)
        proposal_logits = region_scores(scores, regions, example, *region_mask.shape)
        loss = None
        if labels is not None:
            if self.config.loss == "listwise":
                loss = listwise_loss(proposal_logits, labels, over_processes=self.training)
            else:
                if (none_ids < 0).any():
                    raise ValueError(f"loss={self.config.loss!r} needs sentences with a blank. Use loss='listwise'.")
                targets = copy_targets(labels, regions, example)
                if self.config.loss == "vocab_ce":
                    loss = vocab_loss(logits[:, 0], color_ids, none_ids, targets, over_processes=self.training)
                else:
                    loss = palette_loss(colors[:, 0], none[:, 0], targets, over_processes=self.training)
        mask_logits = pad_entries(logits[:, 0], copy_mask)
        return CptVisualGroundingOutput(loss, proposal_logits, mask_logits, filled.hidden_states, filled.attentions)


__all__ = ["CptForVisualGrounding", "CptPreTrainedModel", "CptVisualGroundingOutput"]
