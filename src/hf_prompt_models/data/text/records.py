"""Texts with the images they are about, as captions, products and questions are read."""

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
"""The longest list that is read; VQA v2's answers for training have 380 MB."""

MAX_IMAGES = 64
"""The most images of one record: they are in memory together."""


@dataclass(frozen=True)
class Record:
    """A text with images.

    Attributes:
        id: what belongs together: records of one id are never parted by `Records.split`.
        images: the images, in their order.
    """

    id: str
    images: tuple[StoredImage, ...]

    def load_images(self) -> list[Image.Image]:
        """Decode the images to RGB.

        Raises:
            UnreadableImageError: naming the first that cannot be decoded.
        """
        return [image.load() for image in self.images]

    def without(self, names: frozenset[str]) -> Self | None:
        """This record without the images of these names; None if it is of no use then."""
        return None if any(image.name in names for image in self.images) else self


R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Records(Generic[R]):
    """Records from one source.

    Attributes:
        source: the file or data set they come from.
        records: the records, in its order.
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
        """The records at `indices`, in that order."""
        return replace(self, records=[self.records[index] for index in indices])

    def split(self, shares: Mapping[str, float], seed: int) -> dict[str, Self]:
        """Part the records by their ids, as `split_by_id` does, so that no product is in two parts."""
        parts = split_by_id([record.id for record in self.records], shares, seed)
        return {name: self.select(indices) for name, indices in parts.items()}

    def readable(self, on_unreadable: str, progress: bool = True) -> Self:
        """Check that every image can be decoded, before any work depends on it.

        Args:
            on_unreadable: "refuse" raises once all are checked, with a list of those that cannot; "skip" names each of
                them in a warning and leaves it out, and with it the records that are of no use without it.
            progress: whether to show a progress bar.

        Raises:
            UnreadableImageError: naming the images that cannot be decoded; or if no record is left.
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
            raise UnreadableImageError(f"No record of {self.source} is left: none of its images can be read.")
        logger.warning(
            f"Skipped {len(broken)} of the {len(images)} images of {self.source}, and {len(self) - len(kept)} of its "
            f"{len(self)} records."
        )
        return replace(self, records=kept)


def text_field(row: Mapping[str, Any], name: str, where: str) -> str:
    """The text of a field, without outer spaces.

    Raises:
        ValueError: beginning with `where`, if there is none or it is empty.
    """
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: {name!r} must be a text that is not empty; got {str(value)[:80]!r}.")
    return value.strip()


def id_field(row: Mapping[str, Any], name: str, where: str) -> str:
    """The id of a field: a text, or a whole number as text.

    Raises:
        ValueError: beginning with `where`, if there is none.
    """
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
        raise ValueError(f"{where}: {name!r} must be a number or a text; got {str(value)[:80]!r}.")
    return str(value).strip()
