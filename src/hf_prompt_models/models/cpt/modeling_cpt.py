"""CPT: visual grounding as filling in the colour of a painted region (arXiv 2109.11797)."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.processing_utils import Unpack
from transformers.utils import PROCESSOR_NAME, ModelOutput
from transformers.utils.generic import TransformersKwargs

from hf_prompt_models.backbones.packaged import VILT_DIR
from hf_prompt_models.metrics.grounding import IOU_THRESHOLD
from hf_prompt_models.modeling_utils import HUB_KWARGS, PromptPreTrainedModel, at_least_float32
from hf_prompt_models.models.cpt.adapters_cpt import ADAPTERS, BlankOutput, find_adapter
from hf_prompt_models.models.cpt.configuration_cpt import CptConfig
from hf_prompt_models.models.cpt.processing_cpt import CptProcessor
from hf_prompt_models.utils.distributed import mean_over_processes
from hf_prompt_models.utils.forward_options import captured, forward_options
from hf_prompt_models.utils.padding import pad_entries, unpadded_indices


Score = Literal["log_odds", "logit", "logit_ratio", "prob"]


def palette_logits(
    logits: torch.Tensor, color_ids: torch.Tensor, none_ids: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the blank's logits say of the colours in a copy, and of "none".

    Args:
        logits: (copies, texts, vocabulary).
        color_ids: (copies, colours) token ids, -1 where a copy has fewer colours.
        none_ids: (copies,) token id of "none", -1 where sentences have no blank.

    Returns:
        (copies, texts, colours), with -inf for -1; and (copies, texts), with 0 for -1.
    """
    texts = logits.shape[1]
    colors = logits.gather(2, color_ids.clamp(min=0)[:, None].expand(-1, texts, -1))
    none = logits.gather(2, none_ids.clamp(min=0)[:, None, None].expand(-1, texts, 1))[..., 0]
    return colors.masked_fill(color_ids[:, None] < 0, -torch.inf), none.masked_fill(none_ids[:, None] < 0, 0.0)


def color_scores(colors: torch.Tensor, none: torch.Tensor, score: Score) -> torch.Tensor:
    """Scores of the colours in a copy, (copies, texts, colours), from `palette_logits`; -inf for colours not there."""
    absent = colors.isneginf()
    if score == "logit":
        return colors
    if score == "log_odds":
        return colors - none[..., None]
    if score == "logit_ratio":
        return (colors.masked_fill(absent, 0.0) / none[..., None]).masked_fill(absent, -torch.inf)
    return torch.cat([colors, none[..., None]], dim=-1).softmax(dim=-1)[..., :-1].masked_fill(absent, -torch.inf)


def region_scores(
    scores: torch.Tensor, region_index: torch.Tensor, example: torch.Tensor, num_examples: int, num_regions: int
) -> torch.Tensor:
    """Scores of regions from those of colours.

    Args:
        scores: (copies, texts, colours); the mean over the texts behind the first is subtracted from the first's.
        region_index: (copies, colours) which region has the colour, -1 for none. Where copies have several colours
            and one region is the first in all of an example's, it is the anchor: in each copy its score is subtracted,
            and its score in the first copy added. Otherwise a region's score is the mean over the copies that show it.
        example: (copies,) which example a copy belongs to, ascending.
        num_examples, num_regions: how many there are, regions of the example with the most.

    Returns:
        (examples, regions), -inf where an example has fewer.
    """
    painted = region_index >= 0
    # The scores of colours that are not there are -inf: taken out before any arithmetic.
    values = scores.masked_fill(~painted[:, None], 0.0)
    value = values[:, 0] - values[:, 1:].mean(dim=1) if values.shape[1] > 1 else values[:, 0]
    if region_index.shape[1] > 1:
        copies = torch.arange(len(example), device=example.device)
        first_copy = torch.searchsorted(example.contiguous(), example.contiguous())
        repeats_anchor = (region_index[:, 0] == region_index[first_copy, 0]) & (copies != first_copy)
        anchored = value - value[:, :1] + value[first_copy, :1]
        value = torch.where(repeats_anchor[:, None], anchored, value)
        painted = torch.cat([painted[:, :1] & ~repeats_anchor[:, None], painted[:, 1:]], dim=1)
    # What shows no region goes to a place behind all others: shapes then do not depend on values.
    count = num_examples * num_regions
    place = torch.where(painted, example[:, None] * num_regions + region_index, count).flatten()
    zeros = value.new_zeros(count + 1)
    total = zeros.index_add(0, place, value.flatten())[:count]
    shown = zeros.index_add(0, place, torch.ones_like(value).flatten())[:count]
    return (total / shown.clamp(min=1)).masked_fill(shown == 0, -torch.inf).view(num_examples, num_regions)


def copy_targets(labels: torch.Tensor, region_index: torch.Tensor, example: torch.Tensor) -> torch.Tensor:
    """Which colour is right in each copy: that of the region with the highest overlap, if it is positive.

    Args:
        labels: (examples, regions) overlaps (IoU) of regions with the true box.
        region_index: (copies, colours) as in `region_scores`.
        example: (copies,).

    Returns:
        (copies,) index of the colour; the number of colours, where "none" is right.
    """
    overlap = labels[example[:, None], region_index.clamp(min=0)].masked_fill(region_index < 0, -1.0)
    best, color = overlap.max(dim=1)
    return torch.where(best > IOU_THRESHOLD, color, region_index.shape[1])


def vocab_loss(
    logits: torch.Tensor,
    color_ids: torch.Tensor,
    none_ids: torch.Tensor,
    targets: torch.Tensor,
    over_processes: bool = False,
) -> torch.Tensor:
    """Cross-entropy over the vocabulary: logits (copies, vocabulary), targets of `copy_targets`; mean over copies.

    With `over_processes`, as all three losses take it, the mean is over the copies of all processes that train
    together, of which each may have another number.
    """
    words = torch.cat([color_ids, none_ids[:, None]], dim=1).gather(1, targets[:, None])[:, 0]
    return _mean(F.cross_entropy(logits, words, reduction="none"), over_processes)


def palette_loss(
    colors: torch.Tensor, none: torch.Tensor, targets: torch.Tensor, over_processes: bool = False
) -> torch.Tensor:
    """Cross-entropy over a copy's colours (copies, colours) and "none" (copies,); mean over copies."""
    losses = F.cross_entropy(torch.cat([colors, none[:, None]], dim=1), targets, reduction="none")
    return _mean(losses, over_processes)


def listwise_loss(proposal_logits: torch.Tensor, labels: torch.Tensor, over_processes: bool = False) -> torch.Tensor:
    """-log of the probability that softmax over the regions gives the positive ones; mean over examples with any.

    Args:
        proposal_logits: (examples, regions).
        labels: (examples, regions) overlaps with the true box.
        over_processes: as for `vocab_loss`.
    """
    positive = labels > IOU_THRESHOLD
    has_positive = positive.any(dim=1)
    log_probs = proposal_logits[has_positive].log_softmax(dim=1)
    return _mean(-log_probs.masked_fill(~positive[has_positive], -torch.inf).logsumexp(dim=1), over_processes)


def _mean(losses: torch.Tensor, over_processes: bool) -> torch.Tensor:
    """0 of none."""
    return mean_over_processes(losses) if over_processes else losses.sum() / max(len(losses), 1)


@dataclass
class CptVisualGroundingOutput(ModelOutput):
    """
    Output of [`CptForVisualGrounding`].

    Args:
        loss (`torch.FloatTensor` of shape `(1,)`, *optional*): as `config.loss` says, if labels were given.
        proposal_logits (`torch.FloatTensor` of shape `(batch, most regions)`): a score for each region, -inf where an
            example has fewer.
        mask_logits (`torch.FloatTensor` of shape `(batch, most copies, vocabulary)`): what the backbone says at the
            blank of each painted copy; 0 where an example has fewer. With a CLIP the vocabulary is the sentences.
        hidden_states, attentions (`tuple(torch.FloatTensor)`, *optional*): of the backbone, with
            `output_hidden_states=True` and `output_attentions=True`: a row for each text of each copy, in order,
            `(copies * texts, tokens, width)`; with a CLIP those of its image tower, a row for each copy. Attentions
            need `attn_implementation="eager"`.
    """

    loss: torch.Tensor | None = None
    proposal_logits: torch.Tensor | None = None
    mask_logits: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class CptPreTrainedModel(PromptPreTrainedModel):
    """Base of the models: a backbone that fills in blanks, and nothing else; the prompt has no parameters."""

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
        return find_adapter(backbone.config).fingerprint_weights

    def trained_backbone_parameters(self) -> Iterable[nn.Parameter]:
        if self.config.trainable != "all":
            return
        unread: set[nn.Parameter] = set()
        for part in self.adapter.unread_parts(self.tower):
            unread.update([part] if isinstance(part, nn.Parameter) else part.parameters())
        yield from (parameter for parameter in self.tower.parameters() if parameter not in unread)

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing of ours has weights."""

    @classmethod
    def _load_new(
        cls,
        name_or_path: str | os.PathLike,
        fields: dict[str, Any],
        tokenizer: PreTrainedTokenizerBase | None,
        kwargs: dict[str, Any],
        word_fields: Callable[[PreTrainedTokenizerBase], dict[str, Any]] | None = None,
    ) -> Self:
        """A model from a backbone and fields of the configuration, with a processor as the backbone needs it.

        `word_fields` makes further fields, which hold words as token ids.
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
        """As of every prompt method's model; but a processor that is in the folder stays, if none was chosen here.

        `from_backbone` gives a model a processor with the defaults, so that a folder is complete for `pipeline()`. It
        does not take the place of one whose palette and template the user saved there.
        """
        is_unchosen = self.processor is not None and self.processor is self._unchosen_processor
        if is_unchosen and Path(save_directory, PROCESSOR_NAME).is_file():
            with suppress(OSError, ValueError):  # none of ours
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

        The tensors are those of [`CptForVisualGrounding.forward`].

        Args:
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
        """The probability of each word in the blank of a sentence about each picture, (images, words).

        Args:
            processor: the backbone's.
            images: unpainted, or painted by the caller.
            sentence: with one `[MASK]`.
            words: each one piece for the tokenizer. With a CLIP probabilities are among these words alone.
        """
        inputs, ids = processor.for_words(images, sentence, words)
        logits = self.fill_blanks(**inputs.to(self.device)).logits
        return logits[:, 0, 0].softmax(dim=-1)[:, ids]


class CptForVisualGrounding(CptPreTrainedModel):
    """Visual grounding: which of the given regions of a picture a phrase means.

    Regions are painted in colours that words name, and the backbone fills in the blank of "the horse is in [MASK]
    color". [`CptProcessor`] makes the painted copies and the sentences; the model makes scores of what the backbone
    says at the blank.
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
        """A model from a pretrained backbone; it grounds phrases at once (zero-shot).

        Args:
            name_or_path: Hub id or folder of the backbone: a ViLT, BridgeTower, FLAVA, VisualBERT, LXMERT or CLIP;
                "playground" is the tiny ViLT in this package.
            score, max_copies_per_forward, loss, trainable: see [`CptConfig`]; `trainable="all"` for tuning.
            tokenizer: where the backbone's is not beside it.
            kwargs: for the backbone's `from_pretrained`: `revision`, `token`, `dtype`, `device_map`, ….

        Raises:
            TypeError: if the backbone is of another type.
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
        """
        Args:
            input_ids, attention_mask, token_type_ids: (batch, copies, texts, tokens); the first text is the phrase's,
                the mean score of the others is subtracted. For a CLIP (batch, texts, words, tokens): the sentence
                with each word in the blank.
            copy_mask: (batch, copies) 1 where there is a painted copy.
            region_index: (batch, copies, colours) which region has the colour in a copy, -1 for none.
            region_mask: (batch, regions) 1 where there is a region.
            color_token_ids: (batch, copies, colours) the colours' words, -1 for none.
            none_token_ids: (batch, copies) the word for "no region of this copy".
            mask_positions: (batch, copies, texts, 1) where the blank is.
            pixel_values: (batch, copies, 3, height, width), padded at the right and the bottom.
            image_sizes: (batch, 2) height and width of the copies without padding.
            region_features: (batch, copies, regions, dim), for backbones that read regions.
            region_geometry: (batch, regions, 6) their x1/W, y1/H, x2/W, y2/H, (x2 - x1)/W, (y2 - y1)/H.
            labels: (batch, regions) each region's overlap (IoU) with the true box; above 0.5 it is positive.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as of every model of transformers.
        """
        if labels is not None and torch.compiler.is_exporting():
            raise ValueError("A graph for export gives scores and no loss. Leave labels out.")
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
                f"score={self.config.score!r} compares a colour with 'none', and sentences without a blank have "
                "neither: use score='logit'."
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
                    raise ValueError(f"loss={self.config.loss!r} needs sentences with a blank: use loss='listwise'.")
                targets = copy_targets(labels, regions, example)
                if self.config.loss == "vocab_ce":
                    loss = vocab_loss(logits[:, 0], color_ids, none_ids, targets, over_processes=self.training)
                else:
                    loss = palette_loss(colors[:, 0], none[:, 0], targets, over_processes=self.training)
        mask_logits = pad_entries(logits[:, 0], copy_mask)
        return CptVisualGroundingOutput(loss, proposal_logits, mask_logits, filled.hidden_states, filled.attentions)


__all__ = ["CptForVisualGrounding", "CptPreTrainedModel", "CptVisualGroundingOutput"]
