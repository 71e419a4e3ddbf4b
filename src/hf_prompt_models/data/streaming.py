"""Training straight from `datasets`, also from what is larger than memory or has no length."""

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from hf_prompt_models.data.dataset_rows import stored_image
from hf_prompt_models.data.images.loading import UnreadableImageError, load_image


def undecoded(data: Any) -> Any:
    """A `datasets` data set, streamed or not, whose images stay as they are stored: a collator decodes them.

    Rows that wait in a buffer to be shuffled, or that another process takes, cost no decoding then. A stream that does
    not say what its columns hold (`features` is `None`) comes back as it is.
    """
    import datasets  # slow to import, and not needed for folders

    stored = datasets.Image(decode=False)
    for name, feature in (data.features or {}).items():
        if isinstance(feature, datasets.Image):
            data = data.cast_column(name, stored)
        elif isinstance(feature, datasets.List) and isinstance(feature.feature, datasets.Image):
            data = data.cast_column(name, datasets.List(stored))
    return data


def decoded(image: Any) -> Any:
    """An image of a row: one that is stored, `{"bytes", "path"}`, decoded to RGB; any other as it is.

    Raises:
        UnreadableImageError: if it cannot be decoded, or lies elsewhere than in the row or in a file.
    """
    if not isinstance(image, Mapping):
        return image
    source, name = stored_image(dict(image)), str(image["path"] or "of a row, which has no name")
    if not isinstance(source, bytes) and not os.path.isfile(source):
        raise UnreadableImageError(
            f"There is no image file {name}. A stream of remote files opens them decoded alone."
        )
    return load_image(source, name)


@dataclass
class ImageCollator:
    """Rows of pictures with class labels to a batch for a classifier: `pixel_values`, …, and `labels`.

    Use with `TrainingArguments(remove_unused_columns=False)`: the Trainer takes the rows' columns for arguments of the
    model.

    Args:
        image_processor: the model's, `model.processor.image_processor`.
        image: the column with the picture, decoded or not.
        label: the column with the class index.
    """

    image_processor: Any
    image: str = "image"
    label: str = "label"

    def _label(self, row: Mapping[str, Any]) -> int:
        label = row[self.label]
        if not isinstance(label, int | np.integer) or isinstance(label, bool) or label < 0:
            raise ValueError(
                f"The column {self.label!r} holds {label!r}, which is no class index. Leave such rows out: "
                f"dataset.filter(lambda row: row[{self.label!r}] is not None and row[{self.label!r}] >= 0)."
            )
        return int(label)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        pictures = [load_image(decoded(row[self.image])) for row in rows]
        inputs = self.image_processor(pictures, return_tensors="pt")
        return {**inputs, "labels": torch.tensor([self._label(row) for row in rows])}


class EndlessStream(IterableDataset):
    """A stream again and again, each time shuffled anew if it shuffles.

    A run that is resumed goes on at the very example where it stopped, in whichever pass that was.

    Args:
        stream: a `datasets.IterableDataset`, or another of torch's.
    """

    def __init__(self, stream: Any):
        self.stream = stream

    def __iter__(self) -> Iterator[Any]:
        is_worker = get_worker_info() is not None
        stream = copy.deepcopy(self.stream) if is_worker else self.stream  # workers share the number of the epoch
        set_epoch = getattr(stream, "set_epoch", None)
        for epoch in count():
            if set_epoch is not None:
                set_epoch(epoch)
            is_empty = True
            for row in stream:
                is_empty = False
                yield row
            if is_empty and not is_worker:
                raise ValueError("The stream to train from has no examples.")
            if is_empty:  # other workers have its shards
                return
