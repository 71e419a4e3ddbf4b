"""K-shot samples: seeded, nested, written down."""

import logging
import os
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from hf_prompt_models.data.labelled import LabelledFiles
from hf_prompt_models.data.readable import check_all, refuse
from hf_prompt_models.utils.files import UnreadableFileError, read_json, write_json


logger = logging.getLogger(__name__)

MAX_BYTES = 2**28
"""The longest sample that is read: all of ImageNet's names have about 60 MB."""


UNLABELLED = -1


def base_and_new_classes(num_classes: int) -> tuple[list[int], list[int]]:
    """The labels of base and new classes (arXiv 2203.05557, §4.1): the first half, one more if odd, and the rest."""
    base = (num_classes + 1) // 2
    return list(range(base)), list(range(base, num_classes))


def few_shot_order(labels: Sequence[int], names: Sequence[str], seed: int) -> dict[int, list[int]]:
    """The images of each class in a seeded order, of which the first K are its K shots.

    So smaller samples are part of larger ones. A class's order depends on the seed, the class index and its own
    images' names alone, not on the order of the files, nor on the machine, nor on other classes.
    """
    by_class = defaultdict(list)
    for index in sorted(range(len(labels)), key=lambda index: names[index]):
        by_class[labels[index]].append(index)
    for label, indices in by_class.items():
        random.Random(f"{seed}/{label}").shuffle(indices)
    return dict(sorted(by_class.items()))


def sample_few_shot(
    images: LabelledFiles, shots: int, seed: int, on_unreadable: str = "refuse", held_out: int = 0
) -> list[int]:
    """Draw `shots` images of each class.

    Args:
        images: what to draw from, images or videos, each with one label.
        shots: images a class.
        seed: another seed, another sample.
        on_unreadable: "skip" names an image that cannot be decoded and draws the next one; "refuse" raises for all
            of those met.
        held_out: images of the same data set that are held out for testing, which the error names.

    Returns:
        Indices, class by class.

    Raises:
        ValueError: if a class has fewer usable images than `shots`, naming classes and counts; or if an image may have
            several labels.
    """
    if shots < 1:
        raise ValueError(f"shots is the number of {images.kind}s a class, at least 1; got {shots}.")
    if any(isinstance(label, list) for label in images.labels):
        raise ValueError(
            f"{images.source} gives its {images.kind}s several labels each: there are no shots of a class."
        )
    labels = [label if images.has_label(index) else UNLABELLED for index, label in enumerate(images.labels)]
    order = few_shot_order(labels, images.names, seed)
    chosen: list[int] = []
    too_few = []
    # Images without a label are those of no class: none is drawn, and all are named.
    _, broken = check_all(order.pop(UNLABELLED, []), images.check, on_unreadable, "", progress=False)
    for label, class_name in enumerate(images.class_names):
        kept: list[int] = []
        for index in order.get(label, []):
            if len(kept) == shots:
                break
            try:
                images.check(index)
                kept.append(index)
            except UnreadableFileError as error:
                if on_unreadable == "skip":
                    logger.warning(f"Skipped. {error}")
                broken.append(error)
        if len(kept) < shots:
            too_few.append(f"{class_name} ({len(kept)})")
        chosen += kept
    if on_unreadable != "skip":
        refuse(broken)
    if too_few:
        raise ValueError(
            f"{len(too_few)} class(es) of {images.source} have fewer than {shots} {images.kind}s: "
            f"{', '.join(too_few[:10])}{' …' if len(too_few) > 10 else ''}. Add {images.kind}s, remove "
            "those classes, or use fewer shots."
            + (f" {held_out} more {images.kind}s are held out for testing." if held_out else "")
        )
    return chosen


def write_few_shot_sample(
    path: str | os.PathLike, images: LabelledFiles, indices: Sequence[int], shots: int, seed: int
) -> None:
    """Write down which images were drawn, so that the run can be repeated (`read_few_shot_sample`)."""
    classes = [
        {"class": name, "images": [images.names[index] for index in indices if images.labels[index] == label]}
        for label, name in enumerate(images.class_names)
    ]
    write_json(path, {"source": images.source, "shots": shots, "seed": seed, "classes": classes})


def read_few_shot_shots(path: str | os.PathLike) -> int:
    """How many images a class a file of `write_few_shot_sample` holds.

    Raises:
        ValueError: if the file is not such a file.
    """
    return _read_sample(path)["shots"]


def _read_sample(path: str | os.PathLike) -> dict[str, Any]:
    match read_json(path, MAX_BYTES, "few-shot samples"):
        case {"shots": int(shots), "classes": [*classes]} if all(map(_is_drawn, classes)):
            return {"shots": shots, "classes": {entry["class"]: entry["images"] for entry in classes}}
    raise ValueError(f"{path} is not a few-shot sample as written beside a trained model.")


def _is_drawn(entry: Any) -> bool:
    """Whether an entry is what was drawn of a class."""
    match entry:
        case {"class": str(), "images": [*names]}:
            return all(isinstance(name, str) for name in names)
    return False


def read_few_shot_sample(path: str | os.PathLike, images: LabelledFiles) -> list[int]:
    """Indices of the images that a file of `write_few_shot_sample` names.

    Raises:
        ValueError: if the file is not such a file, or names classes or images that are not there.
    """
    classes = _read_sample(path)["classes"]
    if list(classes) != list(images.class_names):
        raise ValueError(f"The classes of the few-shot sample {path} are not those of {images.source}.")
    index = {name: place for place, name in enumerate(images.names)}
    names = [name for drawn in classes.values() for name in drawn]
    if missing := [name for name in names if name not in index]:
        raise ValueError(f"{images.source} lacks {len(missing)} {images.kind}(s) of {path}: {', '.join(missing[:5])}.")
    return [index[name] for name in names]
