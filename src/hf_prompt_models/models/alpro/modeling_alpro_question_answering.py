"""Video question answering with ALPRO: choose one of a list of answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional as F
from transformers import PreTrainedConfig
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput
from transformers.utils.generic import TransformersKwargs

from hf_prompt_models.modeling_utils import at_least_float32
from hf_prompt_models.models.alpro.modeling_alpro import AlproModel, AlproPreTrainedModel, two_layer_head
from hf_prompt_models.models.alpro.processing_alpro import IGNORED
from hf_prompt_models.utils.forward_options import forward_options


@dataclass
class AlproVideoQuestionAnsweringOutput(ModelOutput):
    """Output of [`AlproForVideoQuestionAnswering`].

    Args:
        loss (`torch.FloatTensor` of shape `(1,)`, *optional*): cross entropy, if labels were given.
        logits (`torch.FloatTensor` of shape `(batch, answers)`): of the answers in `config.id2label`.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*): of the fusion layers, which read text and video
            together, with `output_hidden_states=True`: what goes in, then the output of each layer, `(batch, length +
            video tokens, width)`. `get_video_features` and `get_text_features` return those of the towers.
        attentions (`tuple(torch.FloatTensor)`, *optional*): of the fusion layers, with `output_attentions=True`. They
            need `attn_implementation="eager"`.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class AlproForVideoQuestionAnswering(AlproPreTrainedModel):
    """ALPRO that chooses the answer to a question about a video from `config.id2label`.

    Attributes:
        classifier: two layers on the first token of question and video.

    Example:
        ```python
        >>> from PIL import Image
        >>> from hf_prompt_models import AlproForVideoQuestionAnswering
        >>> model = AlproForVideoQuestionAnswering.from_backbone("playground", answers=["red", "blue", "green"])
        >>> frames = [Image.new("RGB", (64, 48), "red")] * 4
        >>> model(**model.processor(images=[frames], text=["which color?"], return_tensors="pt")).logits.shape
        torch.Size([1, 3])

        ```
    """

    pipeline_task = "video-question-answering"
    names_its_classes = True
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [
        rf"^{name}\." for name in ("prompter", "mlm_head", "pem_head", "vtm_head")
    ]

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.alpro = AlproModel(config)
        self.classifier = two_layer_head(config.text_config.hidden_size, config.num_labels)
        self.post_init()
        self.freeze()

    def freeze(self) -> None:
        """Disable gradients of the projections and the temperature, which answers do not depend on."""
        for part in (self.alpro.video_projection, self.alpro.text_projection, self.alpro.temperature):
            part.requires_grad_(False)

    def answer_labels(self, answers: Sequence[str]) -> torch.Tensor:
        """Return the labels of answers, (answers,).

        Raises:
            ValueError: for an answer that is not in the list.
        """
        known = self.config.label2id
        for answer in answers:
            if answer not in known:
                raise ValueError(
                    f"{answer!r} is not one of the {len(known)} answers of this model. Leave the question "
                    f"out, or label it {IGNORED}, which counts as a wrong answer."
                )
        return torch.tensor([known[answer] for answer in answers])

    @forward_options
    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> AlproVideoQuestionAnsweringOutput | tuple:
        """Answer questions, each about the video in the same row.

        Args:
            pixel_values: (batch, frames, 3, height, width) as the processor returns them.
            input_ids: (batch, length) questions.
            attention_mask: (batch, length), 1 for tokens, 0 for padding. Default: no padding.
            labels: (batch,) indices of answers, or -100 for an answer that is not in the list, which the loss ignores.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.

        Raises:
            ValueError: if a label is not the index of an answer; also as in [`AlproModel`].
        """
        if labels is not None:
            self._check_labels(labels)
        fused = self.alpro(pixel_values, input_ids, attention_mask, return_dict=True, **kwargs)
        logits = self.classifier(fused.last_hidden_state[:, 0])
        loss = None
        if labels is not None:
            total = F.cross_entropy(at_least_float32(logits), labels, ignore_index=IGNORED, reduction="sum")
            loss = total / (labels != IGNORED).sum().clamp(min=1)
        return AlproVideoQuestionAnsweringOutput(loss, logits, fused.hidden_states, fused.attentions)

    def _check_labels(self, labels: torch.Tensor) -> None:
        answers = self.config.num_labels
        wrong = labels[(labels != IGNORED) & ((labels < 0) | (labels >= answers))]
        if len(wrong):
            raise ValueError(
                f"Expected labels from 0 to {answers - 1}, the indices of the answers of this model, or "
                f"{IGNORED} for other answers, got {int(wrong[0])}."
            )


__all__ = ["AlproForVideoQuestionAnswering"]
