"""Images where they lie, in files or in rows of data sets, decoded when they are needed."""

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
    """An image where it lies.

    Attributes:
        name: what errors call it. Images of one name are one image.
        read: gives its file or its bytes.
    """

    name: str
    read: Callable[[], str | os.PathLike | bytes]

    def load(self, shrink: bool = False) -> Image.Image:
        """Decode it to RGB, as `images.load_image` does.

        Raises:
            UnreadableImageError: naming it.
        """
        source = self.read()
        if not isinstance(source, bytes) and not os.path.isfile(source):  # a pipe or a device would be waited for
            raise UnreadableImageError(f"There is no image file {self.name}.")
        return load_image(source, self.name, shrink)


def image_file(path: str | os.PathLike) -> StoredImage:
    """An image in a file."""
    return StoredImage(str(path), partial(os.fspath, path))


def row_images(data: Any, column: str, name: str) -> list[list[StoredImage]]:
    """The images of each row of a data set, none of them decoded or read.

    Args:
        data: one split.
        column: a column of images, or of lists of images. A row without a value has no image.
        name: what errors call the data set.

    Raises:
        ValueError: if the column is of another kind.
    """
    import datasets  # slow to import, and not needed for files

    stored = datasets.Image(decode=False)
    feature = data.features[column]
    if is_list := isinstance(feature, datasets.List):
        feature = feature.feature
    if not isinstance(feature, datasets.Image):
        raise ValueError(f"The column {column!r} of {name} must hold images or lists of them; it is {feature}.")
    data = data.cast_column(column, datasets.List(stored) if is_list else stored)
    rows: list[list[StoredImage]] = []
    for batch in data.select_columns([column]).with_format("arrow").iter(1000):
        values = batch.column(column)
        chunks = [chunk.value_lengths().fill_null(0) if is_list else chunk.is_valid() for chunk in values.chunks]
        for count in (count for chunk in chunks for count in chunk.to_pylist()):  # none of the bytes is copied
            where = f"{name}[{len(rows)}].{column}"
            read = partial(_read_row, data, column, len(rows))
            rows.append(
                [StoredImage(f"{where}[{place}]", partial(read, place)) for place in range(count)]
                if is_list
                else [StoredImage(where, partial(read, None))] * count
            )
    return rows


def _read_row(data: Any, column: str, row: int, place: int | None) -> str | bytes:
    """A function of its own: workers that are spawned get it pickled."""
    value = data[row][column]
    return stored_image(value if place is None else value[place])
