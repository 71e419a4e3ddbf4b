"""Base classes of texts with images, such as captions, products and questions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from PIL import Image

from hf_prompt_models.data.images.loading import UnreadableImageError
from hf_prompt_models.data.images.stored import StoredImage
from hf_prompt_models.data.readable import check_all, logger, refuse
from hf_prompt_models.data.text.id_split import split_by_id


MAX_BYTES = 2**29
"""Largest size in bytes of a list that is read. The training answers of VQA v2 have 380 MB."""

MAX_IMAGES = 64
"""Largest number of images of one record, as they are in memory together."""


@dataclass(frozen=True)
class Record:
    """A text with images.

    Attributes:
        id: ID of the group of the record. `Records.split` keeps records with the same ID together.
        images: images in their order.
    """

    id: str
    images: tuple[StoredImage, ...]

    def load_images(self) -> list[Image.Image]:
        """Decode the images to RGB.

        Raises:
            UnreadableImageError: if an image cannot be decoded. The message names the first such image.
        """
        return [image.load() for image in self.images]

    def without(self, names: frozenset[str]) -> Self | None:
        """Return the record without the images of these names, or None if it cannot be used without them."""
        return None if any(image.name in names for image in self.images) else self


R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Records(Generic[R]):
    """Records from one source.

    Attributes:
        source: file or dataset that the records come from.
        records: records in the order of the source.
    """

    source: str
    records: Sequence[R]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> R:
        return self.records[index]

    def __iter__(self) -> Iterator[R]:
        return iter(self.records)

    def select(self, indices: Sequence[int]) -> Self:
        """Return the records at `indices`, in that order."""
        return replace(self, records=[self.records[index] for index in indices])

    def split(self, shares: Mapping[str, float], seed: int) -> dict[str, Self]:
        """Split the records by their IDs, so that no product is in two parts.

        Args:
            shares: fraction of the IDs in each part, as for `split_by_id`.
            seed: seed of the split.
        """
        parts = split_by_id([record.id for record in self.records], shares, seed)
        return {name: self.select(indices) for name, indices in parts.items()}

    def readable(self, on_unreadable: str, progress: bool = True) -> Self:
        """Check that every image can be decoded and return the records that can be used.

        Args:
            on_unreadable: "refuse" checks all images and raises an error that lists those that cannot be decoded;
                "skip" warns about each of these images and leaves it out, together with the records that cannot be
                used without it.
            progress: whether to show a progress bar.

        Raises:
            UnreadableImageError: if images cannot be decoded (the message names them), or no record is left.
        """
        images = {image.name: image for record in self.records for image in record.images}
        readable, broken = check_all(
            images,
            lambda name: images[name].load(shrink=True),
            on_unreadable,
            f"Checking images of {Path(self.source).name}",
            progress,
        )
        if not broken:
            return self
        if on_unreadable != "skip":
            refuse(broken)
        names = frozenset(images) - frozenset(readable)
        kept = [record for record in (record.without(names) for record in self.records) if record is not None]
        if not kept:
            raise UnreadableImageError(
                f"No record of {self.source} can be used, because none of its images can be read."
            )
        logger.warning(
            f"Skipped {len(broken)} of the {len(images)} images of {self.source}, and {len(self) - len(kept)} "
            f"of its {len(self)} records."
        )
        return replace(self, records=kept)


def text_field(row: Mapping[str, Any], name: str, where: str) -> str:
    """Return the text of a field, without outer spaces.

    Args:
        row: the row.
        name: name of the field.
        where: location of the row, with which the error message starts.

    Raises:
        ValueError: if the row does not have the field, or it is not a text or empty.
    """
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: {name!r} must be a non-empty string, got {str(value)[:80]!r}.")
    return value.strip()


def id_field(row: Mapping[str, Any], name: str, where: str) -> str:
    """Return the ID in a field, a text or an integer, as text.

    Args:
        row: the row.
        name: name of the field.
        where: location of the row, with which the error message starts.

    Raises:
        ValueError: if the row does not have the field, or it is neither a text nor an integer, or empty.
    """
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
        raise ValueError(f"{where}: {name!r} must be a number or a string, got {str(value)[:80]!r}.")
    return str(value).strip()
