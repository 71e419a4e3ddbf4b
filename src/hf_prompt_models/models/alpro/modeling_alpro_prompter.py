"""ALPRO's prompter: a frozen model that recognises the entity in a crop of a video from prompts (paper, 3.3)."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Self

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedTokenizerBase, ProcessorMixin
from transformers import initialization as init
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput
from transformers.utils.generic import TransformersKwargs

from hf_prompt_models.models.alpro.configuration_alpro import AlproConfig, check_entities
from hf_prompt_models.models.alpro.modeling_alpro import FEATURES_ALONE, AlproModel, AlproPreTrainedModel
from hf_prompt_models.processing_utils import refuse_long_text
from hf_prompt_models.utils.files import read_text
from hf_prompt_models.utils.forward_options import forward_options


MAX_LIST_BYTES = 16 * 2**20

ARTICLES = ("a", "the", "one")
VIDEO_TEMPLATES = tuple(
    f"A {kind} of {article} {{}}."
    for kind, article in product(("footage", "video", "portrait", "video footage"), ARTICLES)
)
IMAGE_TEMPLATES = tuple(
    f"A {kind} of {article} {{}}."
    for kind, article in product(("photo", "picture", "good photo", "good picture"), ARTICLES)
)
"""12 prompts for videos and 12 for still images (paper, table 8, and the released code)."""


@dataclass
class AlproPrompterOutput(ModelOutput):
    """Output of [`AlproPrompter`].

    Args:
        logits (`torch.FloatTensor` of shape `(batch, entities)`): similarities with the entities' prompts, divided by
            the prompter's temperature.
        hidden_states, attentions (`tuple(torch.FloatTensor)`, *optional*): of the video tower, with
            `output_hidden_states=True` and `output_attentions=True`.
    """

    logits: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class AlproPrompter(AlproPreTrainedModel):
    """A frozen ALPRO that predicts the entities in crops of videos.

    An entity is represented by the mean of the features of 12 prompts, one set for videos and one for still images.
    `from_entities` encodes them once; until then they are random.

    The model always runs in eval mode and without gradients.

    Example:
        ```python
        >>> from hf_prompt_models import AlproForPreTraining, AlproPrompter
        >>> model = AlproForPreTraining.from_backbone("playground")
        >>> prompter = AlproPrompter.from_entities(model, ["key", "tree"], model.processor)
        >>> prompter.video_prompts.shape
        torch.Size([2, 64])

        ```
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.alpro = AlproModel(config)
        shape = (config.num_entities, config.projection_dim)
        self.video_prompts = nn.Buffer(torch.zeros(shape))
        self.image_prompts = nn.Buffer(torch.zeros(shape))
        self.post_init()
        self.freeze()
        self.eval()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, AlproPrompter):
            for prompts in (module.video_prompts, module.image_prompts):
                init.normal_(prompts, std=self.config.projection_dim**-0.5)

    @classmethod
    @torch.no_grad()
    def from_entities(
        cls,
        model: AlproPreTrainedModel,
        entities: Sequence[str],
        processor: ProcessorMixin | PreTrainedTokenizerBase,
        batch_size: int = 256,
    ) -> Self:
        """Create a prompter for a list of entities.

        Prompts are padded: BERT reads in both directions, so a common start cannot be encoded once.

        Args:
            model: an ALPRO trained with the contrastive loss, whose towers are copied.
            entities: names of the entities, each listed once.
            processor: the processor of ALPRO, or its tokenizer.
            batch_size: number of prompts encoded at a time.

        Raises:
            ValueError: if the list or a name is empty, or a name is listed twice or too long.
        """
        names = check_entities(entities)
        tokenizer = processor.tokenizer if isinstance(processor, ProcessorMixin) else processor
        fields = model.config.to_dict() | {"num_entities": len(names), "entities": names}
        prompter = cls(AlproConfig.from_dict(fields)).to(device=model.device, dtype=model.dtype)
        source = model if isinstance(model, AlproModel) else model.alpro
        prompter.alpro.load_state_dict(source.state_dict())
        for prompts, templates in (
            (prompter.video_prompts, VIDEO_TEMPLATES),
            (prompter.image_prompts, IMAGE_TEMPLATES),
        ):
            sentences = entity_prompts(names, templates)
            for sentence, ids in zip(sentences, tokenizer(sentences, verbose=False).input_ids, strict=True):
                limit = prompter.alpro.text_model.config.max_position_embeddings
                refuse_long_text("The prompt of an entity", sentence, len(ids), limit, in_python=False)
            features = []
            for start in range(0, len(sentences), batch_size):
                some = sentences[start : start + batch_size]
                tokens = tokenizer(some, padding=True, return_token_type_ids=False, return_tensors="pt")
                tokens = tokens.to(prompter.device)
                features.append(prompter.get_text_features(**tokens, **FEATURES_ALONE).pooler_output)
            # The mean is not normalised, as in the released code: entities whose prompts agree get higher scores.
            prompts.copy_(torch.cat(features).unflatten(0, (len(templates), len(names))).mean(dim=0))
        prompter.processor = processor if isinstance(processor, ProcessorMixin) else None
        return prompter

    def freeze(self) -> None:
        """Disable gradients of all parameters."""
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, independent of `mode`."""
        return super().train(False)

    @torch.no_grad()
    @forward_options
    def forward(
        self,
        pixel_values: torch.Tensor,
        is_video: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> AlproPrompterOutput:
        """Compare crops with the prompts of all entities.

        Args:
            pixel_values: (batch, frames, 3, height, width) normalised videos, black outside a crop before
                normalisation.
            is_video: (batch,) bool: false for a repeated still image. Default: all are videos.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.
        """
        video = self.get_video_features(pixel_values, return_dict=True, **kwargs)
        features = video.pooler_output
        logits = features @ self.video_prompts.T.to(features.dtype)
        if is_video is not None:
            stills = features @ self.image_prompts.T.to(features.dtype)
            logits = torch.where(is_video[:, None], logits, stills)
        logits = logits / self.alpro.bounded_temperature()
        return AlproPrompterOutput(logits, video.hidden_states, video.attentions)

    def soft_labels(self, pixel_values: torch.Tensor, is_video: torch.Tensor | None = None) -> torch.Tensor:
        """Return (batch, entities) probabilities of the entities in crops; arguments as in `forward`."""
        return self(pixel_values, is_video, **FEATURES_ALONE).logits.softmax(dim=-1)


def entity_prompts(entities: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Return all entities in the first template, then all in the second, and so on."""
    return [template.replace("{}", name) for template in templates for name in entities]


def read_entities(file: str | os.PathLike) -> list[str]:
    """Read a file with one entity per line, such as the released `unigrams.txt`; a number after it is its count.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is empty or lists an entity twice; the message names the file.
    """
    lines = read_text(file, MAX_LIST_BYTES, "lists of entities").splitlines()
    try:
        return check_entities([re.sub(r"\s+\d+$", "", line.strip()) for line in lines if line.strip()])
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


__all__ = ["AlproPrompter"]
