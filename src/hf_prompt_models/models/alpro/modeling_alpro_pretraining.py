"""ALPRO's pre-training: four losses over videos and captions (paper, section 3; `src/modeling/alpro_models.py`)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F
from transformers import BertForMaskedLM, PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.bert.modeling_bert import BertOnlyMLMHead
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput
from transformers.utils.generic import TransformersKwargs

from hf_prompt_models.modeling_utils import at_least_float32
from hf_prompt_models.models.alpro.modeling_alpro import (
    FEATURES_ALONE,
    AlproModel,
    AlproPreTrainedModel,
    check_pairs,
    two_layer_head,
)
from hf_prompt_models.models.alpro.modeling_alpro_prompter import AlproPrompter
from hf_prompt_models.models.alpro.modeling_alpro_retrieval import contrastive_loss, match_in_batch
from hf_prompt_models.models.alpro.processing_alpro import IGNORED
from hf_prompt_models.utils.forward_options import forward_options


def masked_word_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the loss of masked language modelling (MLM), the mean over the masked words; 0 if there are none.

    Args:
        logits: (batch, length, vocabulary).
        labels: (batch, length) token ids, -100 for unmasked tokens.
    """
    flat = at_least_float32(logits).flatten(0, 1)
    total = F.cross_entropy(flat, labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)


def keep_confident(soft_labels: torch.Tensor, threshold: float, legacy: bool = False) -> torch.Tensor:
    """Return which crops the prompter is confident enough about to train on.

    Args:
        soft_labels: (batch, entities) probabilities of the prompter.
        threshold: least value of the greatest probability.
        legacy: whether to compare the index of the likeliest entity with a threshold of 0.2 instead, as the released
            code does.

    Returns:
        (batch,) bool.
    """
    if legacy:
        return soft_labels.argmax(dim=1) > 0
    return soft_labels.amax(dim=1) >= threshold


def entity_loss(logits: torch.Tensor, soft_labels: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """Return the loss of prompting entity modelling (PEM), the mean over the kept crops; 0 if none is kept.

    Args:
        logits: (batch, entities).
        soft_labels: (batch, entities).
        keep: (batch,) bool.
    """
    costs = -(soft_labels * at_least_float32(logits).log_softmax(dim=1)).sum(dim=1)
    return costs.masked_fill(~keep, 0.0).sum() / keep.sum().clamp(min=1)


def patches_in_boxes(boxes: torch.Tensor, patches_per_side: int, patch_size: int) -> torch.Tensor:
    """Return the patches in boxes whose edges are moved up and left to the patches' grid.

    Args:
        boxes: (batch, 4) left, top, right, bottom in pixels.
        patches_per_side: number of patches in a row or a column of a frame.
        patch_size: side of a patch in pixels.

    Returns:
        (batch, patches) bool, row by row.

    Raises:
        ValueError: if a box is outside the frame, or contains no patch.
    """
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise ValueError(
            f"Expected boxes of shape (batch, 4) with left, top, right and bottom in pixels, got {tuple(boxes.shape)}."
        )
    grid = boxes.div(patch_size, rounding_mode="floor").long()
    left, top, right, bottom = grid.unbind(dim=1)
    bad = (
        (left >= right)
        | (top >= bottom)
        | (boxes.amin(dim=1) < 0)
        | (boxes.amax(dim=1) > patches_per_side * patch_size)
    )
    if bad.any():
        place = int(bad.nonzero()[0])
        raise ValueError(
            f"Box {place} of the batch, {boxes[place].tolist()}, contains no patch of {patch_size} pixels of "
            f"a frame of {patches_per_side * patch_size}. Pass left, top, right and bottom in pixels."
        )
    places = torch.arange(patches_per_side, device=boxes.device)
    rows = (places >= top[:, None]) & (places < bottom[:, None])
    columns = (places >= left[:, None]) & (places < right[:, None])
    return (rows[:, :, None] & columns[:, None, :]).flatten(1)


@dataclass
class AlproForPreTrainingOutput(ModelOutput):
    """Output of [`AlproForPreTraining`]. A loss whose inputs were not given is `None`.

    Args:
        loss (`torch.FloatTensor` of shape `(1,)`, *optional*): the sum of the others.
        vtc_loss, vtm_loss, mlm_loss, pem_loss (`torch.FloatTensor` of shape `(1,)`, *optional*): video-text contrast
            and matching, masked language modelling, prompting entity modelling.
        video_embeds, text_embeds (`torch.FloatTensor` of shape `(batch, projection_dim)`): L2-normalised features.
        entity_logits (`torch.FloatTensor` of shape `(batch, entities)`, *optional*): of the entities in the crops.
        entity_labels (`torch.FloatTensor` of shape `(batch, entities)`, *optional*): the prompter's probabilities.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*): with `output_hidden_states=True`: of the fusion layers,
            `(batch, length + video tokens, width)`, for the captions, or for the masked ones where these are all that
            is given. Where nothing is fused they are the video tower's.
        attentions (`tuple(torch.FloatTensor)`, *optional*): the same, with `output_attentions=True`. They need
            `attn_implementation="eager"`.
    """

    loss: torch.Tensor | None = None
    vtc_loss: torch.Tensor | None = None
    vtm_loss: torch.Tensor | None = None
    mlm_loss: torch.Tensor | None = None
    pem_loss: torch.Tensor | None = None
    video_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    entity_logits: torch.Tensor | None = None
    entity_labels: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class AlproForPreTraining(AlproPreTrainedModel):
    """ALPRO with the heads of its four losses, and the prompter that labels crops for the fourth.

    With `config.num_entities=0`, it has no prompter and no entity head. The prompter itself is trained like this, with
    the contrastive loss.

    Attributes:
        vtm_head: predicts whether a text and a video belong together: 0 no, 1 yes.
        mlm_head: the head of BERT's masked language model.
        pem_head: predicts the entity that the patches inside a crop show.
        prompter: a frozen [`AlproPrompter`], or `None`.

    Example:
        ```python
        >>> import torch
        >>> from PIL import Image
        >>> from hf_prompt_models import AlproForPreTraining
        >>> model = AlproForPreTraining.from_backbone("playground")
        >>> videos = [[Image.new("RGB", (64, 48), color)] * 4 for color in ("red", "blue")]
        >>> inputs = model.processor.prepare_pretraining(videos, ["a red key", "a blue cup"], torch.Generator())
        >>> model(**inputs).entity_logits.shape
        torch.Size([2, 10])

        ```
    """

    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "mlm_head.predictions.decoder.weight": "alpro.text_model.embeddings.word_embeddings.weight",
        "mlm_head.predictions.decoder.bias": "mlm_head.predictions.bias",
    }

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        width = config.text_config.hidden_size
        self.alpro = AlproModel(config)
        self.vtm_head = nn.Linear(width, 2)
        self.mlm_head = BertOnlyMLMHead(config.text_config)
        self.pem_head = two_layer_head(width, config.num_entities) if config.num_entities else None
        self.prompter = AlproPrompter(config) if config.num_entities else None
        self.post_init()

    def freeze(self) -> None:
        """Freeze the prompter, if there is one."""
        if self.prompter is not None:
            self.prompter.freeze()

    def _take_language_model(self, bert: BertForMaskedLM) -> None:
        self.mlm_head.load_state_dict(bert.cls.state_dict())

    def set_prompter(self, prompter: AlproPrompter) -> None:
        """Set the prompter. If its entities differ from those before, the entity head is newly initialised.

        Raises:
            ValueError: if its towers have other sizes.
        """
        if _sizes(prompter) != _sizes(self):
            raise ValueError(
                "The encoders of the prompter have other sizes than those of this model, or another number of "
                "frames. Create the prompter from a model of the same configuration (resize_time_embeddings "
                "changes the number of frames)."
            )
        same = prompter.config.entities is not None and prompter.config.entities == self.config.entities
        self.config.update({"num_entities": prompter.config.num_entities, "entities": prompter.config.entities})
        self.prompter = prompter.to(self.device)
        if not same:
            head = two_layer_head(self.mlm_head.predictions.decoder.in_features, self.config.num_entities)
            for module in head.modules():
                self._init_weights(module)
            self.pem_head = head.to(device=self.device, dtype=self.dtype)

    def get_output_embeddings(self) -> nn.Module:
        """Return the output layer of the masked language model."""
        return self.mlm_head.predictions.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Set the output layer of the masked language model."""
        self.mlm_head.predictions.decoder = new_embeddings
        self.mlm_head.predictions.bias = new_embeddings.bias

    @forward_options
    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        mlm_input_ids: torch.Tensor | None = None,
        mlm_labels: torch.Tensor | None = None,
        crop_pixel_values: torch.Tensor | None = None,
        crop_boxes: torch.Tensor | None = None,
        is_video: torch.Tensor | None = None,
        contrast_only: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> AlproForPreTrainingOutput | tuple:
        """Compute the losses whose inputs are given.

        All processes that train together need the same number of examples. Contrast and matching use the examples of
        all of them.

        Args:
            pixel_values: (batch, frames, 3, height, width) as the processor returns them.
            input_ids: (batch, length) captions, required for contrast, matching and entities.
            attention_mask: (batch, length), 1 for tokens, 0 for padding. It also applies to `mlm_input_ids`.
            mlm_input_ids: (batch, length) captions with masked words.
            mlm_labels: (batch, length) original ids of masked words, -100 for unmasked tokens.
            crop_pixel_values: (batch, frames, 3, height, width) the same videos, black outside the box.
            crop_boxes: (batch, 4) left, top, right, bottom of the box in pixels. Edges are moved up and left to the
                patches' grid.
            is_video: (batch,) bool: false for a repeated still image. Default: all are videos.
            contrast_only: whether to leave out matching and entities, to train the prompter itself.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.

        Raises:
            ValueError: if a loss has only half of its inputs, if crops are passed to a model without a prompter, or if
                a box is outside the video; also as in `get_video_features` and `get_text_features`.
        """
        self._check_inputs(input_ids, mlm_input_ids, mlm_labels, crop_pixel_values, crop_boxes)
        text_model = self.alpro.text_model
        losses: dict[str, torch.Tensor] = {}
        features: dict[str, torch.Tensor] = {}
        fuses = (input_ids is not None and not contrast_only) or mlm_input_ids is not None
        video = self.get_video_features(pixel_values, **(FEATURES_ALONE if fuses else kwargs | {"return_dict": True}))
        states: BaseModelOutput = video
        features["video_embeds"] = video.pooler_output
        if input_ids is not None:
            check_pairs(pixel_values, input_ids)
            mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            text = self.get_text_features(input_ids, mask, **FEATURES_ALONE)
            features["text_embeds"] = text.pooler_output
            temperature = self.alpro.bounded_temperature()
            losses["vtc_loss"] = contrastive_loss(video.pooler_output, text.pooler_output, temperature)
            if not contrast_only:
                losses["vtm_loss"], states = match_in_batch(
                    text_model, self.vtm_head, text, mask, video, temperature, self.training, **kwargs
                )
                if crop_pixel_values is not None and crop_boxes is not None and self.prompter is not None:
                    # Patches follow the text and the first token of the video.
                    patches = states.last_hidden_state[:, input_ids.shape[1] + 1 :]
                    features["entity_logits"] = self._entity_logits(patches, crop_boxes)
                    features["entity_labels"] = self.prompter.soft_labels(crop_pixel_values, is_video)
                    losses["pem_loss"] = self._entity_loss(features["entity_logits"], features["entity_labels"])
        if mlm_input_ids is not None and mlm_labels is not None:
            check_pairs(pixel_values, mlm_input_ids)
            mask = torch.ones_like(mlm_input_ids) if attention_mask is None else attention_mask
            masked = text_model.encode(mlm_input_ids, mask, output_hidden_states=False, output_attentions=False)
            fused = text_model.fuse(masked.last_hidden_state, mask, video.last_hidden_state, **kwargs)
            states = fused if states is video else states
            logits = self.mlm_head(fused.last_hidden_state[:, : mlm_input_ids.shape[1]])
            losses["mlm_loss"] = masked_word_loss(logits, mlm_labels)
        loss = torch.stack(list(losses.values())).sum() if losses else None
        return AlproForPreTrainingOutput(
            loss=loss, **losses, **features, hidden_states=states.hidden_states, attentions=states.attentions
        )

    def _check_inputs(
        self,
        input_ids: torch.Tensor | None,
        mlm_input_ids: torch.Tensor | None,
        mlm_labels: torch.Tensor | None,
        crop_pixel_values: torch.Tensor | None,
        crop_boxes: torch.Tensor | None,
    ) -> None:
        if (mlm_input_ids is None) != (mlm_labels is None):
            raise ValueError(
                "Masked language modeling needs both mlm_input_ids and mlm_labels, got only one of them. Pass "
                "both or neither."
            )
        if (crop_pixel_values is None) != (crop_boxes is None):
            raise ValueError(
                "Entity modeling needs both crop_pixel_values and crop_boxes, got only one of them. Pass both or "
                "neither."
            )
        if crop_boxes is not None and self.prompter is None:
            raise ValueError(
                "This model has no prompter to label crops. Call "
                "model.set_prompter(AlproPrompter.from_entities(...)), or leave the crops out."
            )
        if crop_boxes is not None and input_ids is None:
            raise ValueError("Entity modeling also needs the captions. Pass input_ids with the crops.")

    def _entity_logits(self, patches: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Return the entity head's output for the mean of the patches inside each box."""
        vision: PreTrainedConfig = self.config.vision_config
        inside = patches_in_boxes(boxes, vision.patches_per_side, vision.patch_size)
        total = (inside[:, :, None] * patches).sum(dim=1)
        head: Any = self.pem_head
        return head(total / inside.sum(dim=1, keepdim=True).to(total.dtype))

    def _entity_loss(self, logits: torch.Tensor, soft_labels: torch.Tensor) -> torch.Tensor:
        keep = keep_confident(soft_labels, self.config.pem_threshold, self.config.legacy_pem_threshold)
        return entity_loss(logits, soft_labels, keep)


def _sizes(model: AlproPreTrainedModel) -> tuple:
    config: PreTrainedConfig = model.config
    heads = (config.vision_config.num_attention_heads, config.text_config.num_attention_heads)
    shapes = {name: tensor.shape for name, tensor in model.alpro.state_dict().items()}
    return shapes, heads, config.fusion_layer


__all__ = ["AlproForPreTraining"]
