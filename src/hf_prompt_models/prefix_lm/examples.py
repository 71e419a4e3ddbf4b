"""Training and test examples of the methods over a language model: prompts with images, and the text to generate."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from hf_prompt_models.data.images.stored import StoredImage
from hf_prompt_models.prefix_lm.collators import PromptCollator, TrainingCollator
from hf_prompt_models.prefix_lm.processing_prefix_lm import PrefixLMProcessor
from hf_prompt_models.utils.loading import DecodedDataset


class Scoring(Enum):
    """Ways to compare generated texts with references."""

    TEXT = "text"
    """By shared words, for descriptions and captions."""
    ANSWER = "answer"
    """By the one correct answer, followed by the end token."""
    VQA = "vqa"
    """By the answers that several annotators gave."""


@dataclass(frozen=True)
class GenerationExample:
    """An example with images, a text, and the text to generate.

    Attributes:
        id: id of the product, the image or the question.
        images: the images, in the order of their placeholders.
        prompt: the text. `<image>` marks the place of an image; without any, the images are put in front.
        target: the text that a model is trained to generate.
        references: the texts that generated text is compared with in a test.
        scoring: how generated text is compared with the references.
    """

    id: str
    images: tuple[StoredImage, ...]
    prompt: str
    target: str
    references: tuple[str, ...]
    scoring: Scoring = Scoring.TEXT


class GenerationDataset(DecodedDataset):
    """A dataset of examples with decoded images, in the format that the collators in this module take.

    Args:
        examples: the examples.
    """

    def __init__(self, examples: Sequence[GenerationExample]):
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self.examples[index]
        images = [image.load() for image in example.images]
        return {"images": images, "prompt": example.prompt, "target": example.target}


def training_collator(processor: PrefixLMProcessor, max_length: int | None = None) -> TrainingCollator:
    """Return a collator that makes training batches from the items of a `GenerationDataset`.

    Args:
        processor: the model's processor.
        max_length: as in `TrainingCollator`.
    """
    return TrainingCollator(processor, text="prompt", target="target", max_length=max_length)


def prompt_collator(processor: PrefixLMProcessor) -> PromptCollator:
    """Return a collator that makes batches for generation from the items of a `GenerationDataset`."""
    return PromptCollator(processor, text="prompt")
