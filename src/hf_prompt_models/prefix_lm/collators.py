"""Records to batches: for training, and for generation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import BatchFeature

from hf_prompt_models.data.streaming import decoded
from hf_prompt_models.prefix_lm.processing_prefix_lm import PrefixLMProcessor


@dataclass
class TrainingCollator:
    """Prompts with what is to be written behind them, padded on the right, labels -100 but for the latter.

    Use with `TrainingArguments(remove_unused_columns=False)`: the Trainer takes the records' columns for arguments of
    the model.

    Args:
        processor: the model's.
        images: the records' field with an example's images, a list of them or one, decoded or as `datasets` stores
            them.
        text: the field with its text.
        target: the field with what is to be written.
        max_length: cut longer texts to so many tokens, never an image's slots. Default: to what the language model
            reads.
    """

    processor: PrefixLMProcessor
    images: str = "images"
    text: str = "title"
    target: str = "description"
    max_length: int | None = None

    def __call__(self, records: Sequence[Mapping[str, Any]]) -> BatchFeature:
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
    """Prompts alone, padded on the left, for `generate`.

    Args:
        processor: the model's.
        images: the records' field with an example's images, a list of them or one, decoded or as `datasets` stores
            them.
        text: the field with its text.
    """

    processor: PrefixLMProcessor
    images: str = "images"
    text: str = "title"

    def __call__(self, records: Sequence[Mapping[str, Any]]) -> BatchFeature:
        prompts = _prompts(records, self.images, self.text)
        return self.processor(**prompts, padding=True, padding_side="left", return_tensors="pt")


def _prompts(records: Sequence[Mapping[str, Any]], images: str, text: str) -> dict[str, Any]:
    lists = [record[images] for record in records]
    return {
        "images": [[decoded(one) for one in (each if isinstance(each, list | tuple) else [each])] for each in lists],
        "text": [record[text] for record in records],
    }
