"""What labelled images and labelled videos have in common."""

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
"""Of the folder of a training run; here so that such a folder among class folders is no class."""


@dataclass(frozen=True)
class LabelledFiles(ABC):
    """Files with class labels, decoded when asked for.

    Attributes:
        source: the folder or data set they come from.
        class_names: one name a class, in the order of the labels, in Unicode's composed form.
        labels: the class index of each file, or a list of them where there may be several.
        names: what to call each file: its path within the folder, or its row.
        read: gives the file or the bytes of item `i`.
        kind: what one of them is called.
    """

    source: str
    class_names: Sequence[str]
    labels: Sequence[Any]
    names: Sequence[str]
    read: Callable[[int], Any]

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        # Folders, lists and data sets of one class may spell it in several Unicode forms.
        object.__setattr__(self, "class_names", [as_class_name(name) for name in self.class_names])

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def multi_label(self) -> bool:
        """Whether one of them may have several labels."""
        return any(isinstance(label, list) for label in self.labels)

    def has_label(self, index: int) -> bool:
        """Return whether item `index` has a label, and each label is the index of a class."""
        label = self.labels[index]
        return all(
            isinstance(part, Integral) and not isinstance(part, bool) and 0 <= int(part) < len(self.class_names)
            for part in (label if isinstance(label, list) else [label])
        )

    def check_label(self, index: int) -> None:
        """
        Raises:
            UnreadableFileError: naming item `index`, if it has no label, or one that is no class.
        """
        if not self.has_label(index):
            raise UnreadableFileError(
                f"{self.path(index)} has the label {self.labels[index]!r}, which is none of the "
                f"{len(self.class_names)} classes, 0 to {len(self.class_names) - 1}."
            )

    @abstractmethod
    def check(self, index: int) -> None:
        """See whether item `index` can be decoded and has a label.

        Raises:
            UnreadableFileError: naming it.
        """

    @abstractmethod
    def digest(self, index: int) -> bytes:
        """SHA-256 of what item `index` holds: 32 bytes."""

    def path(self, index: int) -> str:
        """What errors call item `index`."""
        return os.path.join(self.source, self.names[index])

    def select(self, indices: Sequence[int]) -> Self:
        """The items at `indices`, in that order."""
        indices = list(indices)
        return replace(
            self,
            labels=[self.labels[index] for index in indices],
            names=[self.names[index] for index in indices],
            read=partial(_read_selected, self.read, indices),
        )

    def with_classes(self, class_names: Sequence[str]) -> Self:
        """The same items labelled by another list of classes, matched by name; an underscore is a space.

        Raises:
            ValueError: if a class of these items is not among `class_names`, or names repeat and the lists differ.
        """
        if list(class_names) == list(self.class_names):
            return self
        index = {words(name): place for place, name in enumerate(class_names)}
        own = [words(name) for name in self.class_names]
        if len(index) < len(class_names):
            raise ValueError(
                f"The classes of {self.source} cannot be matched by name: names repeat and the lists differ."
            )
        if unknown := sorted(name for name in self.class_names if words(name) not in index):
            raise ValueError(
                f"{self.source} has {len(unknown)} class(es) that the model does not: {', '.join(unknown[:5])}"
                f"{' …' if len(unknown) > 5 else ''}. The model's classes are {', '.join(list(class_names)[:5])}"
                f"{' …' if len(class_names) > 5 else ''}. Where they have other names for the same classes, pass "
                "--class_names FILE with rows of the form folder,name."
            )
        place = {label: index[name] for label, name in enumerate(own)}
        labels = [_relabelled(label, place) for label in self.labels]
        return replace(self, class_names=list(class_names), labels=labels)

    def subset_of_classes(self, labels: Sequence[int]) -> Self:
        """The items of these classes alone, relabelled from 0 in the order of `labels`.

        Raises:
            ValueError: if a label is not one of these items' classes, or comes twice.
        """
        place = {label: new for new, label in enumerate(labels)}
        if len(place) < len(labels) or not set(place) <= set(range(len(self.class_names))):
            raise ValueError(f"Name classes of 0 to {len(self.class_names) - 1}, each once; got {list(labels)[:10]}.")
        new_labels = [_relabelled(label, place) for label in self.labels]
        # Items without a label stay, and are reported with all that cannot be used (`readable`).
        kept = [index for index, label in enumerate(new_labels) if label or label == 0 or not self.has_label(index)]
        return replace(
            self.select(kept),
            class_names=[self.class_names[label] for label in labels],
            labels=[new_labels[index] for index in kept],
        )

    def readable(self, on_unreadable: str, progress: bool = True) -> Self:
        """Check that every item can be decoded, before any work depends on it.

        Args:
            on_unreadable: "refuse" raises once all are checked, with a list of those that cannot; "skip" names each of
                them in a warning, counts them and leaves them out.
            progress: whether to show a progress bar.

        Raises:
            UnreadableFileError: naming the items that cannot be decoded; or if none can.
        """
        return readable_sets([self], on_unreadable, progress)[0]


def readable_sets(sets: Sequence[Files], on_unreadable: str, progress: bool = True) -> list[Files]:
    """`LabelledFiles.readable` of several sets at once: an error lists what is broken in any of them.

    Raises:
        UnreadableFileError: naming the items that cannot be decoded; or if none of a set can.
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
    """Return a class name in Unicode's composed form (NFC), without outer spaces: file systems differ in both."""
    return unicodedata.normalize("NFC", name).strip()


def words(name: str) -> str:
    """A class name, or a class folder's, with its words apart: underscores are spaces."""
    return " ".join(as_class_name(name).replace("_", " ").split())


def check_class_folders(folders: Sequence[Path]) -> None:
    """Refuse class folders that hold splits or a training run, or whose names are one name.

    Raises:
        ValueError: naming the folders.
    """
    by_words: dict[str, Path] = {}
    inner: list[Path] = []
    for folder in folders:
        if (first := by_words.setdefault(words(folder.name), folder)) is not folder:
            raise ValueError(
                f"The class folders {first} and {folder} have one name, {words(folder.name)!r}, for a prompt. Put "
                "their files in one folder, or rename one."
            )
        if (folder / RUN_FILE).is_file():
            raise ValueError(f"{folder} is the folder of a training run, not of a class. Move it out of the data.")
        names = [each.name for each in folders_in(folder)]
        if names and all(split_of(name) for name in names):
            inner += [folder / name for name in names]
    if len({split_of(path.name) for path in inner}) > 1:
        raise ValueError(
            f"Splits are folders within class folders: {', '.join(map(str, inner[:3]))}. Put the "
            "classes into the splits, as <split>/<class name>/<file>."
        )


def _relabelled(label: Any, place: dict[int, int]) -> Any:
    """A label in other classes: None, or a shorter list, where a class is not among them."""
    return [place[part] for part in label if part in place] if isinstance(label, list) else place.get(label)


def _read_selected(read: Callable[[int], Any], indices: Sequence[int], place: int) -> Any:
    """A function of its own: workers that are spawned get it pickled."""
    return read(indices[place])
