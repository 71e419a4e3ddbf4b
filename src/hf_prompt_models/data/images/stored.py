"""References to images in files or in dataset rows, decoded on access."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from PIL import Image

from hf_prompt_models.data.dataset_rows import stored_image
from hf_prompt_models.data.images.loading import UnreadableImageError, load_image


@dataclass(frozen=True)
class StoredImage:
    """Reference to an image in a file or in a dataset row.

    Attributes:
        name: name of the image in error messages. References with the same name are the same image.
        read: function that returns the path or the bytes of the image file.
    """

    name: str
    read: Callable[[], str | os.PathLike | bytes]

    def load(self, shrink: bool = False) -> Image.Image:
        """Decode the image to RGB, as `load_image` does.

        Args:
            shrink: whether to decode a JPEG at an eighth of its size, which is enough to check that it is readable.

        Raises:
            UnreadableImageError: if the image cannot be decoded. The message names it.
        """
        source = self.read()
        if not isinstance(source, bytes) and not os.path.isfile(source):  # reading a pipe or a device could block
            raise UnreadableImageError(f"There is no image file {self.name}.")
        return load_image(source, self.name, shrink)


def image_file(path: str | os.PathLike) -> StoredImage:
    """Return a reference to an image file."""
    return StoredImage(str(path), partial(os.fspath, path))


def row_images(data: Any, column: str, name: str) -> list[list[StoredImage]]:
    """Return references to the images of each dataset row, without reading or decoding them.

    Args:
        data: one split of a 🤗 Datasets dataset.
        column: a column of images or of lists of images. A row without a value has no image.
        name: name of the dataset in error messages.

    Raises:
        ValueError: if the column holds neither images nor lists of images.
    """
    import datasets  # slow to import, and not needed for files

    stored = datasets.Image(decode=False)
    feature = data.features[column]
    if is_list := isinstance(feature, datasets.List):
        feature = feature.feature
    if not isinstance(feature, datasets.Image):
        raise ValueError(f"Expected images or lists of images in the column {column!r} of {name}, got {feature}.")
    data = data.cast_column(column, datasets.List(stored) if is_list else stored)
    rows: list[list[StoredImage]] = []
    for batch in data.select_columns([column]).with_format("arrow").iter(1000):
        values = batch.column(column)
        chunks = [chunk.value_lengths().fill_null(0) if is_list else chunk.is_valid() for chunk in values.chunks]
        for count in (count for chunk in chunks for count in chunk.to_pylist()):  # copies no image bytes
            where = f"{name}[{len(rows)}].{column}"
            read = partial(_read_row, data, column, len(rows))
            rows.append(
                [StoredImage(f"{where}[{place}]", partial(read, place)) for place in range(count)]
                if is_list
                else [StoredImage(where, partial(read, None))] * count
            )
    return rows


def _read_row(data: Any, column: str, row: int, place: int | None) -> str | bytes:
    """Return the stored image of a row. It is a module-level function so that spawned workers can unpickle it."""
    value = data[row][column]
    return stored_image(value if place is None else value[place])
