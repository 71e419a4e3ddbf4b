"""Batches of videos with sentences, as ALPRO's models read them."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import BatchFeature

from hf_prompt_models.models.alpro.processing_alpro import AlproProcessor


class AlproCollator:
    """`pixel_values`, `input_ids` and `attention_mask` of items of a `VideoTextDataset`; long sentences are cut.

    Args:
        processor: ALPRO's.
        labels: of question answering: one an item, which becomes `labels`.
    """

    def __init__(self, processor: AlproProcessor, labels: Sequence[int] | None = None):
        self.processor = processor
        self.labels = labels

    def __call__(self, items: Sequence[dict[str, Any]]) -> BatchFeature:
        videos, texts = [item["frames"] for item in items], [item["text"] for item in items]
        batch = self.processor(images=videos, text=texts, truncation=True, return_tensors="pt")
        if self.labels is not None:
            batch["labels"] = torch.tensor([self.labels[item["index"]] for item in items])
        return batch


class AlproPretrainingCollator:
    """All that pre-training reads, with masked words and crops drawn from what the items bring.

    Args:
        processor: ALPRO's.
        entities: whether the model has a prompter, which is shown crops.
        mlm_probability: share of words that are asked for.
    """

    def __init__(self, processor: AlproProcessor, entities: bool = True, mlm_probability: float = 0.15):
        self.processor = processor
        self.entities = entities
        self.mlm_probability = mlm_probability

    def __call__(self, items: Sequence[dict[str, Any]]) -> BatchFeature:
        generator = torch.Generator().manual_seed(sum(item["draw"] * 31**n for n, item in enumerate(items)) % 2**63)
        videos, texts = [item["frames"] for item in items], [item["text"] for item in items]
        batch = self.processor.prepare_pretraining(videos, texts, generator, self.mlm_probability)
        if not self.entities:
            for name in ("crop_pixel_values", "crop_boxes", "is_video"):
                del batch[name]
        return batch
