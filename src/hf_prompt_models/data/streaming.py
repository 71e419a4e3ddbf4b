"""Training on 🤗 Datasets datasets, including streamed ones that are larger than memory or have no length."""

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
    """Return a 🤗 Datasets dataset whose images are not decoded, so that a collator can decode them.

    This avoids decoding rows that wait in a shuffle buffer or are used by another process.

    Args:
        data: a dataset, streamed or not. A stream with unknown columns (`features` is `None`) is returned unchanged.

    Example:
        ```python
        >>> from datasets import Dataset, Image
        >>> from PIL.Image import new
        >>> from hf_prompt_models.data import undecoded
        >>> data = Dataset.from_dict({"image": [new("RGB", (64, 48))], "label": [0]}).cast_column("image", Image())
        >>> sorted(undecoded(data)[0]["image"])
        ['bytes', 'path']

        ```
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
    """Decode a stored image `{"bytes", "path"}` of a row to RGB; return any other image unchanged.

    Args:
        image: value of an image column.

    Raises:
        UnreadableFileError: if the row has no image.
        UnreadableImageError: if the image cannot be decoded, or is neither in the row nor in a local file.
    """
    if not isinstance(image, Mapping):
        return image
    source, name = stored_image(dict(image)), str(image["path"] or "of a row, which has no name")
    if not isinstance(source, bytes) and not os.path.isfile(source):
        raise UnreadableImageError(
            f"There is no image file {name}. A stream of remote files can only read images that the stream "
            "has decoded."
        )
    return load_image(source, name)


@dataclass
class ImageCollator:
    """Collate rows of images and class labels to a batch for a classifier: `pixel_values`, …, and `labels`.

    Use it with `TrainingArguments(remove_unused_columns=False)`; otherwise the Trainer removes the image column, which
    is not an argument of the model.

    Args:
        image_processor: image processor of the model, `model.processor.image_processor`.
        image: column with the image, decoded or not.
        label: column with the class index.

    Example:
        ```python
        >>> from PIL import Image
        >>> from hf_prompt_models import CoOpProcessor
        >>> from hf_prompt_models.data import ImageCollator
        >>> collator = ImageCollator(CoOpProcessor.from_backbone("playground").image_processor)
        >>> batch = collator([{"image": Image.new("RGB", (64, 48)), "label": label} for label in (0, 2)])
        >>> batch["pixel_values"].shape, batch["labels"]
        (torch.Size([2, 3, 48, 48]), tensor([0, 2]))

        ```
    """

    image_processor: Any
    image: str = "image"
    label: str = "label"

    def _label(self, row: Mapping[str, Any]) -> int:
        label = row[self.label]
        if not isinstance(label, int | np.integer) or isinstance(label, bool) or label < 0:
            raise ValueError(
                f"The column {self.label!r} contains {label!r}, which is not a class index. Leave such rows out with "
                f"dataset.filter(lambda row: row[{self.label!r}] is not None and row[{self.label!r}] >= 0)."
            )
        return int(label)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Collate rows to a batch."""
        pictures = [load_image(decoded(row[self.image])) for row in rows]
        inputs = self.image_processor(pictures, return_tensors="pt")
        return {**inputs, "labels": torch.tensor([self._label(row) for row in rows])}


class EndlessStream(IterableDataset):
    """Repeat a stream endlessly, shuffled differently in each pass if the stream is shuffled.

    A resumed run continues with the example at which it stopped, in whichever pass that was.

    Args:
        stream: a `datasets.IterableDataset`, or another `torch.utils.data.IterableDataset`.
    """

    def __init__(self, stream: Any):
        self.stream = stream

    def __iter__(self) -> Iterator[Any]:
        is_worker = get_worker_info() is not None
        stream = copy.deepcopy(self.stream) if is_worker else self.stream  # workers share the epoch number
        set_epoch = getattr(stream, "set_epoch", None)
        for epoch in count():
            if set_epoch is not None:
                set_epoch(epoch)
            is_empty = True
            for row in stream:
                is_empty = False
                yield row
            if is_empty and not is_worker:
                raise ValueError("The streaming dataset for training has no examples. Check its filters.")
            if is_empty:  # all shards of the stream belong to other workers
                return
