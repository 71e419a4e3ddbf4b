"""Train/test splits of a dataset, and reading the parts from split files."""

import logging
import os
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hf_prompt_models.data.labelled import LabelledFiles
from hf_prompt_models.utils.files import UnreadableFileError, read_json


logger = logging.getLogger(__name__)

Files = TypeVar("Files", bound=LabelledFiles)

MAX_BYTES = 2**28
PARTS = ("train", "test")


@dataclass(frozen=True)
class HeldOut:
    """Split of a dataset into files for training and files for testing.

    Attributes:
        train: indices of the files for training.
        test: indices of the files for testing.
        untested: names of the classes that have too few distinct files to hold one out.
    """

    train: list[int]
    test: list[int]
    untested: list[str]


def hold_out(files: LabelledFiles, fraction: float, seed: int) -> HeldOut:
    """Hold out the same fraction of every class for testing.

    Files with the same content are always in the same part. A class with at least two distinct files has at least one
    in each part. The split depends only on the names and content of the files, the fraction and the seed, not on the
    order of the files or on other classes. Files with several labels are split as if they were one class.

    Args:
        files: labelled files.
        fraction: fraction of the files to hold out, between 0 and 1.
        seed: seed of the split.

    Returns:
        The indices of the files in each part, and the classes of which no file can be held out.

    Raises:
        ValueError: if no file can be held out.
    """
    groups: dict[bytes, list[int]] = defaultdict(list)
    labelled = [index for index in range(len(files)) if files.has_label(index)]  # others are reported later
    for index in sorted(labelled, key=lambda index: files.names[index]):
        groups[_identity(files, index)].append(index)
    by_class: dict[int, list[list[int]]] = defaultdict(list)
    for group in groups.values():
        by_class[0 if files.multi_label else files.labels[group[0]]].append(group)
    test: list[int] = []
    untested: list[str] = []
    for label, own in sorted(by_class.items()):
        wanted = max(1, round(fraction * sum(map(len, own))))
        random.Random(f"test/{seed}/{label}").shuffle(own)
        chosen: list[int] = []
        for group in own[:-1]:  # keep at least one group for training, whatever the fraction
            if len(chosen) < wanted:
                chosen += group
        if not chosen:
            untested.append(files.class_names[label])
        test += chosen
    if not test:
        raise ValueError(
            f"No {files.kind} of {files.source} can be held out because each class has only one {files.kind}. "
            f"Add {files.kind}s, or pass a folder with test {files.kind}s with --test_dir."
        )
    held = set(test)
    return HeldOut([index for index in range(len(files)) if index not in held], sorted(test), untested)


def _identity(files: LabelledFiles, index: int) -> bytes:
    """Return the digest of a file, or its encoded name if it cannot be read, which is reported later."""
    try:
        return files.digest(index)
    except (OSError, UnreadableFileError):
        return files.names[index].encode(errors="surrogateescape")


def report_untested(files: LabelledFiles, held_out: HeldOut) -> None:
    """Warn about classes that are trained on but not tested."""
    if held_out.untested:
        shown = ", ".join(held_out.untested[:5]) + (" …" if len(held_out.untested) > 5 else "")
        logger.warning(
            f"{len(held_out.untested)} class(es) of {files.source} have a single {files.kind}, which is used "
            f"for training and not for testing: {shown}."
        )


def describe_split(files: LabelledFiles, held_out: HeldOut, source: str, fraction: float, seed: int) -> dict[str, Any]:
    """Return the content of a split file: the source, the settings and the names of the files in each part."""
    parts = {"train": held_out.train, "test": held_out.test}
    names = {part: [files.names[index] for index in indices] for part, indices in parts.items()}
    return {"source": absolute_source(source), "test_fraction": fraction, "seed": seed, **names}


def absolute_source(source: str) -> str:
    """Return a source with its path made absolute, also if it includes a split, as in `photos:train`."""
    if os.path.exists(source):
        return os.path.abspath(source)
    name, colon, split = source.rpartition(":")
    return f"{os.path.abspath(name)}{colon}{split}" if colon and os.path.exists(name) else source


def check_same_split(path: Path, split: dict[str, Any]) -> None:
    """Check that a resumed run uses the same split as before.

    Args:
        path: split file of the run. If there is none, the check passes.
        split: the current split, as returned by `describe_split`.

    Raises:
        ValueError: if the splits differ.
    """
    if not path.is_file():
        return
    earlier = read_json(path, MAX_BYTES, "split files")
    if earlier != split:
        settings = ("source", "test_fraction", "seed")
        same = isinstance(earlier, dict) and all(earlier.get(name) == split[name] for name in settings)
        flags = "--test_fraction, --split_seed or --train_dir differ"
        reason = "the files of --train_dir changed" if same else flags
        raise ValueError(
            f"{path} holds out other files than this command would: {reason}. Repeat the settings of the run "
            "that is resumed, or choose another --output_dir."
        )


def read_part(path: str | os.PathLike, part: str, read: Callable[[str, str], Files]) -> Files | None:
    """Return the files that a split file lists for one part, or `None` if the path is not a split file.

    Args:
        path: path of the split file.
        part: "train" or "test".
        read: function that is given the source in the split file and a split, and returns the labelled files.

    Raises:
        ValueError: if the split file is damaged, or lists files that its source does not have.
    """
    path = Path(path)
    if path.suffix.lower() != ".json" or not path.is_file():
        return None
    split = read_json(path, MAX_BYTES, "split files")
    if not isinstance(split, dict) or "test_fraction" not in split:
        return None
    names: Any = split.get(part)
    if part not in PARTS or not isinstance(split.get("source"), str) or not _are_texts(names):
        raise ValueError(
            f"{path} is not a split file that `hf-prompt train --test_fraction` writes, or it has no {part!r}."
        )
    files = read(split["source"], "train")
    places: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(files.names):
        places[name].append(index)
    if missing := [name for name in names if name not in places]:
        raise ValueError(
            f"{files.source} lacks {len(missing)} of the {len(names)} {files.kind}s that {path} lists: "
            f"{', '.join(missing[:5])}{(' …' if len(missing) > 5 else '')}. Restore these files."
        )
    return files.select([index for name in dict.fromkeys(names) for index in places[name]])


def _are_texts(names: Any) -> bool:
    return isinstance(names, list) and bool(names) and all(isinstance(name, str) for name in names)
