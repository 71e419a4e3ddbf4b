"""Painted copies of a picture with their sentences, and sentences as tensors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from transformers import BatchEncoding

from hf_prompt_models.models.cpt.regions_cpt import pad_stack


@dataclass
class Copy:
    """A painted copy of a picture.

    Attributes:
        paint: makes the copy. Only when it is prepared for the backbone: all copies of a photo at once would fill
            gigabytes.
        painted: regions in it by number, in the order of the colours that they have.
        sentences: its texts.
    """

    paint: Callable[[], Image.Image]
    painted: list[int]
    sentences: list[BatchEncoding]


def pad_sentences(sentences: Any, mask_id: int | None = None) -> dict[str, torch.Tensor]:
    """Nested lists of encoded sentences as padded tensors, (…, tokens) each.

    Args:
        sentences: lists of lists of lists of encoded sentences.
        mask_id: the mask token, whose places become `mask_positions` (…, blanks), -1 for fewer.
    """

    def gather(value: Callable[[BatchEncoding], list[int]], padding: int) -> torch.Tensor:
        return pad_stack(
            [
                pad_stack(
                    [pad_stack([torch.tensor(value(encoded)) for encoded in texts], padding) for texts in example],
                    padding,
                )
                for example in sentences
            ],
            padding,
        )

    data = {
        "input_ids": gather(lambda encoded: encoded.input_ids, 0),
        "attention_mask": gather(lambda encoded: encoded.attention_mask, 0),
    }
    if mask_id is not None:
        data["token_type_ids"] = gather(
            lambda encoded: encoded.get("token_type_ids") or [0] * len(encoded.input_ids), 0
        )
        data["mask_positions"] = gather(
            lambda encoded: [place for place, token in enumerate(encoded.input_ids) if token == mask_id], -1
        )
    return data
