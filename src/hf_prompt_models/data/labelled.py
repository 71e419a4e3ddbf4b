"""Base class of labelled images and labelled videos."""

import os
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from hf_prompt_models.data.listing import folders_in
from hf_prompt_models.data.readable import check_all, refuse, report_skipped
from hf_prompt_models.data.splits import split_of
from hf_prompt_models.utils.files import UnreadableFileError


Files = TypeVar("Files", bound="LabelledFiles")

RUN_FILE = "run.json"
"""File in the folder of a training run. Class folders are checked for it, because such a folder is not a class."""


@dataclass(frozen=True)
class LabelledFiles(ABC):
    """Files with class labels, decoded on access.

    Attributes:
        source: folder or dataset that the files come from.
        class_names: one name per class, in the order of the labels, in Unicode's composed form.
        labels: class index of each file, or a list of class indices where a file may have several labels.
        names: name of each file: its path relative to the folder, or its row.
        read: function that returns the path or the bytes of the file at an index.
        kind: noun for one file in messages, such as "image".
    """

    source: str
    class_names: Sequence[str]
    labels: Sequence[Any]
    names: Sequence[str]
    read: Callable[[int], Any]

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        # Folders, lists and datasets may write the same class name in different Unicode forms.
        object.__setattr__(self, "class_names", [as_class_name(name) for name in self.class_names])

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def multi_label(self) -> bool:
        """Whether a file may have several labels."""
        return any(isinstance(label, list) for label in self.labels)

    def has_label(self, index: int) -> bool:
        """Return whether item `index` has a label and each of its labels is a valid class index."""
        label = self.labels[index]
        return all(
            isinstance(part, Integral) and not isinstance(part, bool) and 0 <= int(part) < len(self.class_names)
            for part in (label if isinstance(label, list) else [label])
        )

    def check_label(self, index: int) -> None:
        """Check that item `index` has a label and each of its labels is a valid class index.

        Raises:
            UnreadableFileError: if it has no label or an invalid one. The message names the item.
        """
        if not self.has_label(index):
            raise UnreadableFileError(
                f"{self.path(index)} has the label {self.labels[index]!r}, which is not one of the "
                f"{len(self.class_names)} classes, 0 to {len(self.class_names) - 1}."
            )

    @abstractmethod
    def check(self, index: int) -> None:
        """Check that item `index` can be decoded and has a valid label.

        Raises:
            UnreadableFileError: if it cannot be decoded or has no valid label. The message names the item.
        """

    @abstractmethod
    def digest(self, index: int) -> bytes:
        """Return the SHA-256 digest (32 bytes) of the content of item `index`."""

    def path(self, index: int) -> str:
        """Return the name of item `index` in error messages."""
        return os.path.join(self.source, self.names[index])

    def select(self, indices: Sequence[int]) -> Self:
        """Return the items at `indices`, in that order."""
        indices = list(indices)
        return replace(
            self,
            labels=[self.labels[index] for index in indices],
            names=[self.names[index] for index in indices],
            read=partial(_read_selected, self.read, indices),
        )

    def with_classes(self, class_names: Sequence[str]) -> Self:
        """Return the same items relabelled for another list of classes, matched by name.

        Underscores and spaces in class names are equivalent.

        Args:
            class_names: class names in the order of the new labels.

        Raises:
            ValueError: if a class of these items is not in `class_names`, or names repeat and the lists differ.
        """
        if list(class_names) == list(self.class_names):
            return self
        index = {words(name): place for place, name in enumerate(class_names)}
        own = [words(name) for name in self.class_names]
        if len(index) < len(class_names):
            raise ValueError(
                f"Cannot match the classes of {self.source} by name, because names repeat and the lists "
                "differ. Give each class its own name."
            )
        if unknown := sorted(name for name in self.class_names if words(name) not in index):
            raise ValueError(
                f"{self.source} has {len(unknown)} class(es) that the model does not have: "
                f"{', '.join(unknown[:5])}{(' …' if len(unknown) > 5 else '')}. The classes of the model are "
                f"{', '.join(list(class_names)[:5])}{(' …' if len(class_names) > 5 else '')}. If these are other "
                "names for the same classes, pass --class_names FILE with rows of the form folder,name."
            )
        place = {label: index[name] for label, name in enumerate(own)}
        labels = [_relabelled(label, place) for label in self.labels]
        return replace(self, class_names=list(class_names), labels=labels)

    def subset_of_classes(self, labels: Sequence[int]) -> Self:
        """Return only the items of some classes, relabelled from 0 in the order of `labels`.

        Args:
            labels: class indices to keep.

        Raises:
            ValueError: if a label is not a class index of these items, or is repeated.
        """
        place = {label: new for new, label in enumerate(labels)}
        if len(place) < len(labels) or not set(place) <= set(range(len(self.class_names))):
            raise ValueError(
                f"Expected class indices from 0 to {len(self.class_names) - 1} without repetition, got "
                f"{list(labels)[:10]}."
            )
        new_labels = [_relabelled(label, place) for label in self.labels]
        # Items without a label are kept, so that `readable` reports them together with other unusable items.
        kept = [index for index, label in enumerate(new_labels) if label or label == 0 or not self.has_label(index)]
        return replace(
            self.select(kept),
            class_names=[self.class_names[label] for label in labels],
            labels=[new_labels[index] for index in kept],
        )

    def readable(self, on_unreadable: str, progress: bool = True) -> Self:
        """Check that every item can be decoded and return the items that can.

        Args:
            on_unreadable: "refuse" checks all items and raises an error that lists those that cannot be decoded;
                "skip" warns about each of these items, logs their number and leaves them out.
            progress: whether to show a progress bar.

        Raises:
            UnreadableFileError: if items cannot be decoded (the message names them), or none can.
        """
        return readable_sets([self], on_unreadable, progress)[0]


def readable_sets(sets: Sequence[Files], on_unreadable: str, progress: bool = True) -> list[Files]:
    """Apply `LabelledFiles.readable` to several datasets and report their unreadable items in one error.

    Args:
        sets: the datasets.
        on_unreadable: "refuse" or "skip", as for `LabelledFiles.readable`.
        progress: whether to show a progress bar.

    Raises:
        UnreadableFileError: if items cannot be decoded (the message names them), or none of a dataset can.
    """
    checked = [
        check_all(
            range(len(files)),
            files.check,
            on_unreadable,
            f"Checking {files.kind}s of {Path(files.source).name}",
            progress,
        )
        for files in sets
    ]
    if on_unreadable != "skip":
        refuse([error for _, broken in checked for error in broken])
    for files, (kept, broken) in zip(sets, checked, strict=True):
        report_skipped(kept, broken, f"{files.kind}s of {files.source}")
    return [files.select(kept) if broken else files for files, (kept, broken) in zip(sets, checked, strict=True)]


def as_class_name(name: str) -> str:
    """Return a class name in Unicode's composed form (NFC) without outer spaces, as file systems differ in both."""
    return unicodedata.normalize("NFC", name).strip()


def words(name: str) -> str:
    """Return the name of a class or a class folder with underscores replaced by spaces."""
    return " ".join(as_class_name(name).replace("_", " ").split())


def check_class_folders(folders: Sequence[Path]) -> None:
    """Check that class folders hold no splits and no training run, and that their names are distinct.

    Names that differ only in underscores and spaces are not distinct.

    Raises:
        ValueError: if this is not so. The message names the folders.
    """
    by_words: dict[str, Path] = {}
    inner: list[Path] = []
    for folder in folders:
        if (first := by_words.setdefault(words(folder.name), folder)) is not folder:
            raise ValueError(
                f"The class folders {first} and {folder} have the same name in a prompt, "
                f"{words(folder.name)!r}. Put their files in one folder, or rename one of them."
            )
        if (folder / RUN_FILE).is_file():
            raise ValueError(
                f"{folder} is the folder of a training run, not of a class. Move it out of the data folder."
            )
        names = [each.name for each in folders_in(folder)]
        if names and all(split_of(name) for name in names):
            inner += [folder / name for name in names]
    if len({split_of(path.name) for path in inner}) > 1:
        raise ValueError(
            f"Found splits inside class folders: {', '.join(map(str, inner[:3]))}. Put the class folders into "
            "the splits: <split>/<class name>/<file>."
        )


def _relabelled(label: Any, place: dict[int, int]) -> Any:
    """Map a label to other classes. A class that is not among them gives None, or is left out of a list."""
    return [place[part] for part in label if part in place] if isinstance(label, list) else place.get(label)


def _read_selected(read: Callable[[int], Any], indices: Sequence[int], place: int) -> Any:
    """Read a selected item. It is a module-level function so that spawned workers can unpickle it."""
    return read(indices[place])
