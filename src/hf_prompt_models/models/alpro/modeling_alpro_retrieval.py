"""Video-text retrieval with ALPRO: compare features first, then read the best pairs together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, logging
from transformers.utils.generic import TransformersKwargs

from hf_prompt_models.modeling_utils import at_least_float32
from hf_prompt_models.models.alpro.modeling_alpro import FEATURES_ALONE, AlproModel, AlproPreTrainedModel, check_pairs
from hf_prompt_models.models.alpro.modeling_alpro_towers import AlproTextModel
from hf_prompt_models.utils.distributed import gather_examples, pad_alike, process_index, share_examples
from hf_prompt_models.utils.forward_options import forward_options


logger = logging.get_logger(__name__)

EVALUATION_SEED = 0


def compare_all(video_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
    """Return the similarities of all processes' videos and texts, (videos, texts), never in half precision.

    Args:
        video_embeds: (batch, dim) L2-normalised.
        text_embeds: (batch, dim) L2-normalised.
    """
    with torch.autocast(video_embeds.device.type, enabled=False):
        return gather_examples(video_embeds) @ gather_examples(text_embeds).T


def contrastive_loss(
    video_embeds: torch.Tensor, text_embeds: torch.Tensor, temperature: torch.Tensor | float
) -> torch.Tensor:
    """Return the loss of video-text contrast (VTC), in both directions, over the examples of all processes.

    Args:
        video_embeds: (batch, dim) L2-normalised.
        text_embeds: (batch, dim) L2-normalised; a text and the video in the same row belong together.
        temperature: divisor of the similarities.
    """
    similarities = compare_all(video_embeds, text_embeds) / temperature
    own = torch.arange(len(similarities), device=similarities.device)
    return (F.cross_entropy(similarities, own) + F.cross_entropy(similarities.T, own)) / 2


@torch.no_grad()
def sample_hard_negatives(
    similarities: torch.Tensor, generator: torch.Generator | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample another video for each text and another text for each video, with probabilities by their similarity.

    Args:
        similarities: (examples, examples) of videos with texts, divided by the temperature; at least 2 examples.
        generator: the source of randomness, on the CPU. Default: that of torch.

    Returns:
        (examples,) index of a video for each text, and (examples,) index of a text for each video.
    """
    others = similarities.detach().cpu()  # the Trainer saves the CPU generator, which is the same for all devices
    others = others.masked_fill(torch.eye(len(others), dtype=torch.bool), float("-inf"))
    videos = torch.multinomial(others.T.softmax(dim=1), 1, generator=generator).flatten()
    texts = torch.multinomial(others.softmax(dim=1), 1, generator=generator).flatten()
    return videos.to(similarities.device), texts.to(similarities.device)


def matching_loss(logits: torch.Tensor, positives: int) -> torch.Tensor:
    """Return the loss of video-text matching (VTM), the mean over all processes' pairs.

    Args:
        logits: (pairs, 2); the first `positives` rows are pairs that belong together.
        positives: number of pairs that belong together.
    """
    labels = (torch.arange(len(logits), device=logits.device) < positives).long()
    return F.cross_entropy(gather_examples(at_least_float32(logits)), gather_examples(labels))


def match_in_batch(
    text_model: AlproTextModel,
    head: nn.Module,
    text: BaseModelOutputWithPooling,
    attention_mask: torch.Tensor,
    video: BaseModelOutputWithPooling,
    temperature: torch.Tensor,
    training: bool,
    **kwargs: Any,
) -> tuple[torch.Tensor, BaseModelOutput]:
    """Return the matching loss with hard negatives from the batch (paper, 3.2; released code: `compute_vtm`).

    Each pair is compared with its text and a similar video, and with its video and a similar text. Negatives come from
    the examples of all processes. A single example has no negatives: the loss is then that of the positive pair, and a
    warning is logged.

    Args:
        text_model: the model with the fusion layers.
        head: the layer on a pair's first token.
        text: features of texts; the texts and videos in the same rows belong together.
        attention_mask: (batch, length) of the texts.
        video: features of as many videos.
        temperature: divisor of the similarities.
        training: whether torch's own generator samples the negatives. Otherwise they are sampled in the same way each
            time, so that an evaluation is repeatable and does not change the generator of the training.
        kwargs: `output_hidden_states`, `output_attentions`, for the positive pairs.

    Returns:
        The loss, and the positive pairs after the fusion layers, `.last_hidden_state` (batch, length + video tokens,
        width).
    """
    fused = text_model.fuse(text.last_hidden_state, attention_mask, video.last_hidden_state, **kwargs)
    pairs = fused.last_hidden_state[:, 0]
    similarities = compare_all(video.pooler_output.detach(), text.pooler_output.detach())
    if len(similarities) > 1:
        generator = None if training else torch.Generator().manual_seed(EVALUATION_SEED)
        negatives = sample_hard_negatives(similarities / temperature, generator)
        pairs = torch.cat([pairs, _fuse_negatives(text_model, text, attention_mask, video, negatives)])
    else:
        logger.warning_once(
            "The batch has only one example, so video-text matching has no negatives. Train with at least 2 "
            "examples per batch."
        )
    return matching_loss(head(pairs), positives=len(attention_mask)), fused


def _fuse_negatives(
    text_model: AlproTextModel,
    text: BaseModelOutputWithPooling,
    attention_mask: torch.Tensor,
    video: BaseModelOutputWithPooling,
    negatives: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """Return first tokens, (2 * batch, width): own texts with others' videos, then others' texts with own videos."""
    batch = len(attention_mask)
    own = slice(process_index() * batch, (process_index() + 1) * batch)
    other_videos, other_texts = (indices[own] for indices in negatives)
    texts, mask = pad_alike(text.last_hidden_state), pad_alike(attention_mask)
    videos = share_examples(video.last_hidden_state)[other_videos]
    fused = text_model.fuse(
        torch.cat([texts, share_examples(texts)[other_texts]]),
        torch.cat([mask, gather_examples(mask)[other_texts]]),
        torch.cat([videos, video.last_hidden_state]),
        output_hidden_states=False,
        output_attentions=False,
    )
    return fused.last_hidden_state[:, 0]


@dataclass
class AlproVideoTextRetrievalOutput(ModelOutput):
    """Output of [`AlproForVideoTextRetrieval`].

    Args:
        loss (`torch.FloatTensor` of shape `(1,)`, *optional*): contrast and matching, with `return_loss=True`.
        vtc_loss, vtm_loss (`torch.FloatTensor` of shape `(1,)`, *optional*): each of the two.
        logits (`torch.FloatTensor` of shape `(batch, 2)`): of each text with the video in the same row; index 1 is for
            pairs that belong together.
        video_embeds, text_embeds (`torch.FloatTensor` of shape `(batch, projection_dim)`): L2-normalised features.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*): of the fusion layers, which read text and video
            together, with `output_hidden_states=True`: what goes in, then the output of each layer, `(batch, length +
            video tokens, width)`. `get_video_features` and `get_text_features` return those of the towers.
        attentions (`tuple(torch.FloatTensor)`, *optional*): of the fusion layers, with `output_attentions=True`. They
            need `attn_implementation="eager"`.
    """

    loss: torch.Tensor | None = None
    vtc_loss: torch.Tensor | None = None
    vtm_loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    video_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class AlproForVideoTextRetrieval(AlproPreTrainedModel):
    """ALPRO that predicts how likely it is that a text and a video belong together.

    Attributes:
        vtm_head: the layer on a pair's first token: 0 no, 1 yes.

    Example:
        ```python
        >>> import torch
        >>> from hf_prompt_models import AlproForVideoTextRetrieval
        >>> model = AlproForVideoTextRetrieval.from_backbone("playground")
        >>> model.rank(["a key falls", "a tree rises"], torch.randn(3, 4, 3, 48, 48)).shape  # (texts, videos)
        torch.Size([2, 3])

        ```
    """

    pipeline_task = "video-text-retrieval"
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [r"^prompter\.", r"^mlm_head\.", r"^pem_head\."]

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.alpro = AlproModel(config)
        self.vtm_head = nn.Linear(config.text_config.hidden_size, 2)
        self.post_init()

    @forward_options
    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        return_loss: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> AlproVideoTextRetrievalOutput | tuple:
        """Match each text with the video in the same row.

        Args:
            pixel_values: (batch, frames, 3, height, width) as the processor returns them.
            input_ids: (batch, length).
            attention_mask: (batch, length), 1 for tokens, 0 for padding. Default: no padding.
            return_loss: whether to compute the losses of contrast and matching, as in pre-training.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.

        Raises:
            ValueError: as in [`AlproModel`].
        """
        if return_loss:
            check_pairs(pixel_values, input_ids)
            video = self.get_video_features(pixel_values, **FEATURES_ALONE)
            text = self.get_text_features(input_ids, attention_mask, **FEATURES_ALONE)
            mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            temperature = self.alpro.bounded_temperature()
            matching, fused = match_in_batch(
                self.alpro.text_model, self.vtm_head, text, mask, video, temperature, self.training, **kwargs
            )
            contrast = contrastive_loss(video.pooler_output, text.pooler_output, temperature)
            losses = {"loss": contrast + matching, "vtc_loss": contrast, "vtm_loss": matching}
            features = {"video_embeds": video.pooler_output, "text_embeds": text.pooler_output}
        else:
            losses, fused = {}, self.alpro(pixel_values, input_ids, attention_mask, return_dict=True, **kwargs)
            features = {"video_embeds": fused.video_embeds, "text_embeds": fused.text_embeds}
        logits = self.vtm_head(fused.last_hidden_state[:, 0])
        return AlproVideoTextRetrievalOutput(
            logits=logits, hidden_states=fused.hidden_states, attentions=fused.attentions, **losses, **features
        )

    @torch.no_grad()
    def encode_videos(self, videos: torch.Tensor | Sequence[Any], batch_size: int = 16) -> BaseModelOutputWithPooling:
        """Return the features of videos for `rank`, to compute them once for many texts.

        Args:
            videos: (videos, frames, 3, height, width) as the processor returns them, or a list of videos, each a list
                of frames, for the processor that the model was loaded with.
            batch_size: number of videos encoded at a time.
        """
        found = [
            self.get_video_features(pixels.to(self.device), **FEATURES_ALONE)
            for pixels in self._pixels(videos, batch_size)
        ]
        return BaseModelOutputWithPooling(
            last_hidden_state=torch.cat([each.last_hidden_state for each in found]),
            pooler_output=torch.cat([each.pooler_output for each in found]),
        )

    @torch.no_grad()
    def rank(
        self,
        texts: Sequence[str] | Mapping[str, torch.Tensor],
        videos: torch.Tensor | Sequence[Any] | BaseModelOutputWithPooling,
        k: int | None = 16,
        batch_size: int = 16,
        per_video: bool = False,
    ) -> torch.Tensor:
        """Return how likely each video belongs to each text.

        The `k` videos with the features closest to those of the text are read together with it. The others are left
        out.

        Args:
            texts: sentences, for the processor that the model was loaded with, or its `input_ids` and
                `attention_mask`, each (texts, length).
            videos: as in `encode_videos`, or its output.
            k: number of videos read together with each text. `None`: all of them, as the released code does.
            batch_size: number of pairs, texts or videos processed at a time.
            per_video: whether to read the `k` closest texts of each video instead, to search for texts by a video.

        Returns:
            (texts, videos) probabilities; -inf for pairs that were left out.

        Raises:
            ValueError: for no text or no video, for a `k` or a `batch_size` below 1, or for strings or frames if the
                model has no processor.
        """
        if batch_size < 1 or (k is not None and k < 1):
            raise ValueError(f"Expected k >= 1 and batch_size >= 1, got k={k}, batch_size={batch_size}.")
        training = self.training
        self.eval()
        try:
            return self._rank(texts, videos, k, batch_size, per_video)
        finally:
            self.train(training)

    def _rank(self, texts: Any, videos: Any, k: int | None, batch_size: int, per_video: bool) -> torch.Tensor:
        if not isinstance(videos, BaseModelOutputWithPooling):
            videos = self.encode_videos(videos, batch_size)
        input_ids, mask = self._tokens(texts)
        rows = [
            self.get_text_features(ids, each, **FEATURES_ALONE)
            for ids, each in zip(input_ids.split(batch_size), mask.split(batch_size), strict=True)
        ]
        hidden = torch.cat([row.last_hidden_state for row in rows])
        similarities = torch.cat([row.pooler_output for row in rows]) @ videos.pooler_output.T
        candidates = similarities.T if per_video else similarities
        chosen = candidates.topk(min(k or candidates.shape[1], candidates.shape[1]), dim=1).indices
        pairs = torch.stack([torch.arange(len(chosen), device=chosen.device)[:, None].expand_as(chosen), chosen], -1)
        pairs = pairs.flip(-1) if per_video else pairs
        scores = torch.full_like(similarities, float("-inf"))
        for some in pairs.flatten(0, 1).split(batch_size):
            text, video = some.unbind(dim=1)
            longest = int(mask[text].sum(dim=1).max())  # the tokenizer pads on the right
            fused = self.alpro.text_model.fuse(
                hidden[text, :longest], mask[text, :longest], videos.last_hidden_state[video]
            )
            logits = at_least_float32(self.vtm_head(fused.last_hidden_state[:, 0]))
            scores[text, video] = logits.softmax(dim=1)[:, 1].to(scores.dtype)
        return scores

    def _tokens(self, texts: Sequence[str] | Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        if isinstance(texts, str) or not len(texts):
            raise ValueError("Expected a list of at least one sentence as texts.")
        tokens = texts if isinstance(texts, Mapping) else self._own_processor()(text=list(texts), return_tensors="pt")
        input_ids = tokens["input_ids"].to(self.device)
        mask = tokens.get("attention_mask")
        return input_ids, torch.ones_like(input_ids) if mask is None else mask.to(self.device)

    def _pixels(self, videos: torch.Tensor | Sequence[Any], batch_size: int) -> Iterator[torch.Tensor]:
        if not len(videos):
            raise ValueError("There are no videos. Pass at least one.")
        for start in range(0, len(videos), batch_size):
            some = videos[start : start + batch_size]
            if not isinstance(some, torch.Tensor):
                some = self._own_processor()(images=some, return_tensors="pt")["pixel_values"]
            yield some

    def _own_processor(self) -> Any:
        if self._find_processor() is None:
            raise ValueError(
                "This model has no processor to prepare sentences and frames. Set model.processor, or pass "
                "the outputs of a processor."
            )
        return self.processor


__all__ = ["AlproForVideoTextRetrieval"]
