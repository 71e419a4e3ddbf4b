"""Data collators that turn records into batches for training and for generation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import BatchFeature

from hf_prompt_models.data.streaming import decoded
from hf_prompt_models.prefix_lm.processing_prefix_lm import PrefixLMProcessor


@dataclass
class TrainingCollator:
    """Collate records into training batches: prompts and targets, padded on the right.

    Labels are the token ids of the targets, and -100 everywhere else.

    Use it with `TrainingArguments(remove_unused_columns=False)`. Otherwise the Trainer removes the records' columns,
    because they are not arguments of the model.

    Args:
        processor: the model's processor.
        images: name of the field with an example's images: a list of images or one image, decoded or in the format in
            which `datasets` stores images.
        text: name of the field with the example's text.
        target: name of the field with the text to generate.
        max_length: number of tokens to which longer examples are truncated. Image slots are never truncated. Default:
            the number of tokens that the language model can read.

    Example:
        ```python
        >>> from PIL import Image
        >>> from hf_prompt_models import MantisProcessor
        >>> from hf_prompt_models.training import TrainingCollator
        >>> collator = TrainingCollator(MantisProcessor.from_backbone("playground"))
        >>> batch = collator([{"images": [Image.new("RGB", (64, 48))], "title": "key", "description": "a red key"}])
        >>> batch["labels"]
        tensor([[-100, -100, -100,  259,  333,  450,    0]])

        ```
    """

    processor: PrefixLMProcessor
    images: str = "images"
    text: str = "title"
    target: str = "description"
    max_length: int | None = None

    def __call__(self, records: Sequence[Mapping[str, Any]]) -> BatchFeature:
        """Return a batch of prompts and labels."""
        return self.processor(
            **_prompts(records, self.images, self.text),
            suffix=[record[self.target] for record in records],
            padding=True,
            padding_side="right",
            truncation=True,
            max_length=self.max_length,
            return_tensors="pt",
        )


@dataclass
class PromptCollator:
    """Collate records into batches of prompts without targets, padded on the left, for `generate`.

    Args:
        processor: the model's processor.
        images: name of the field with an example's images: a list of images or one image, decoded or in the format in
            which `datasets` stores images.
        text: name of the field with the example's text.
    """

    processor: PrefixLMProcessor
    images: str = "images"
    text: str = "title"

    def __call__(self, records: Sequence[Mapping[str, Any]]) -> BatchFeature:
        """Return a batch of prompts."""
        prompts = _prompts(records, self.images, self.text)
        return self.processor(**prompts, padding=True, padding_side="left", return_tensors="pt")


def _prompts(records: Sequence[Mapping[str, Any]], images: str, text: str) -> dict[str, Any]:
    """Return the images and texts of records as arguments of the processor."""
    lists = [record[images] for record in records]
    return {
        "images": [[decoded(one) for one in (each if isinstance(each, list | tuple) else [each])] for each in lists],
        "text": [record[text] for record in records],
    }
