"""What a method over a language model learns and is tested on: prompts with images, and what to write behind them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from torch.utils.data import Dataset

from hf_prompt_models.data.images.stored import StoredImage
from hf_prompt_models.prefix_lm.collators import PromptCollator, TrainingCollator
from hf_prompt_models.prefix_lm.processing_prefix_lm import PrefixLMProcessor


class Scoring(Enum):
    """How what was written is compared with references."""

    TEXT = "text"
    """By shared words, for descriptions and captions."""
    ANSWER = "answer"
    """One right answer, and then the end token."""
    VQA = "vqa"
    """What each of several people answered."""


@dataclass(frozen=True)
class WritingExample:
    """Images and a text, and what is to be written behind them.

    Attributes:
        id: of the product, the picture or the question.
        images: in the order of their placeholders.
        prompt: the text; `<image>` stands where an image goes, or nowhere for images in front.
        target: what a model learns to write.
        references: what it is compared with in a test.
        scoring: how.
    """

    id: str
    images: tuple[StoredImage, ...]
    prompt: str
    target: str
    references: tuple[str, ...]
    scoring: Scoring = Scoring.TEXT


class WritingDataset(Dataset):
    """Examples as the collators below take them, their images decoded.

    Args:
        examples: the examples.
    """

    def __init__(self, examples: Sequence[WritingExample]):
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self.examples[index]
        images = [image.load() for image in example.images]
        return {"images": images, "prompt": example.prompt, "target": example.target}


def training_collator(processor: PrefixLMProcessor, max_length: int | None = None) -> TrainingCollator:
    """For a `WritingDataset` to learn from; arguments as of `TrainingCollator`."""
    return TrainingCollator(processor, text="prompt", target="target", max_length=max_length)


def prompt_collator(processor: PrefixLMProcessor) -> PromptCollator:
    """For a `WritingDataset` to write from."""
    return PromptCollator(processor, text="prompt")
