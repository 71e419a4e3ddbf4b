"""Few-shot samples: seeded, nested, and saved to a file."""

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
"""Largest size in bytes of a sample file that is read. The names of all ImageNet images take about 60 MB."""


UNLABELLED = -1


def base_and_new_classes(num_classes: int) -> tuple[list[int], list[int]]:
    """Return the labels of the base and the new classes (arXiv 2203.05557, §4.1).

    The base classes are the first half of the classes, one more if their number is odd; the new classes are the rest.

    Args:
        num_classes: number of classes.
    """
    base = (num_classes + 1) // 2
    return list(range(base)), list(range(base, num_classes))


def few_shot_order(labels: Sequence[int], names: Sequence[str], seed: int) -> dict[int, list[int]]:
    """Return the indices of the images of each class in a seeded order, of which the first K are its K shots.

    Smaller samples are therefore subsets of larger ones. The order in a class depends only on the seed, the class
    index and the names of its images, not on the order of the files, the machine or other classes.

    Args:
        labels: class index of each image.
        names: name of each image.
        seed: seed of the order.
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
    """Sample `shots` images of each class.

    Args:
        images: images or videos to sample from, each with one label.
        shots: number of images per class.
        seed: seed of the sample.
        on_unreadable: "skip" warns about an image that cannot be decoded and takes the next one; "refuse" raises an
            error that lists all unreadable images that were found.
        held_out: number of images of the same dataset that are held out for testing, for the error message.

    Returns:
        Indices of the sampled images, class by class.

    Raises:
        ValueError: if a class has fewer usable images than `shots` (the message lists classes and counts), or an
            image may have several labels.
        UnreadableFileError: if `on_unreadable` is "refuse" and images cannot be decoded.

    Example:
        ```python
        >>> from hf_prompt_models.data import read_labelled_images, sample_few_shot
        >>> from hf_prompt_models.playground import write_image_folder
        >>> write_image_folder("shapes", seed=0, train_per_class=4, test_per_class=1)
        >>> images = read_labelled_images("shapes:train")
        >>> indices = sample_few_shot(images, shots=2, seed=1)
        >>> len(images), len(indices), [images.labels[index] for index in indices[:4]]
        (48, 24, [0, 0, 1, 1])

        ```
    """
    if shots < 1:
        raise ValueError(
            f"Expected at least 1 {images.kind} per class, got shots={shots}. Pass a positive number of shots."
        )
    if any(isinstance(label, list) for label in images.labels):
        raise ValueError(
            f"{images.source} has several labels per {images.kind}. Few-shot sampling needs one label per "
            f"{images.kind}; train on all {images.kind}s instead."
        )
    labels = [label if images.has_label(index) else UNLABELLED for index, label in enumerate(images.labels)]
    order = few_shot_order(labels, images.names, seed)
    chosen: list[int] = []
    too_few = []
    # Images without a valid label belong to no class: none is sampled, and all are reported.
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
            (
                f"{len(too_few)} class(es) of {images.source} have fewer than {shots} {images.kind}s: "
                f"{', '.join(too_few[:10])}{(' …' if len(too_few) > 10 else '')}. Add {images.kind}s, remove "
                "these classes, or use fewer shots."
            )
            + (f" Another {held_out} {images.kind}s are held out for testing." if held_out else "")
        )
    return chosen


def write_few_shot_sample(
    path: str | os.PathLike, images: LabelledFiles, indices: Sequence[int], shots: int, seed: int
) -> None:
    """Save the names of the sampled images, so that the run can be reproduced (`read_few_shot_sample`).

    Args:
        path: JSON file to write.
        images: images or videos that were sampled from.
        indices: indices of the sampled images, as returned by `sample_few_shot`.
        shots: number of images per class.
        seed: seed of the sample.
    """
    classes = [
        {"class": name, "images": [images.names[index] for index in indices if images.labels[index] == label]}
        for label, name in enumerate(images.class_names)
    ]
    write_json(path, {"source": images.source, "shots": shots, "seed": seed, "classes": classes})


def read_few_shot_shots(path: str | os.PathLike) -> int:
    """Return the number of images per class in a file written by `write_few_shot_sample`.

    Raises:
        ValueError: if the file is not a few-shot sample.
    """
    return read_few_shot_record(path)["shots"]


def read_few_shot_record(path: str | os.PathLike) -> dict[str, Any]:
    """Return the content of a file written by `write_few_shot_sample`.

    Returns:
        The `source`, if the file has one, the `shots`, and in `classes` the names of the images of each class.

    Raises:
        ValueError: if the file is not a few-shot sample.
    """
    match value := read_json(path, MAX_BYTES, "few-shot samples"):
        case {"shots": int(shots), "classes": [*classes]} if all(map(_is_sampled, classes)):
            sampled = {entry["class"]: entry["images"] for entry in classes}
            return {"source": value.get("source"), "shots": shots, "classes": sampled}
    raise ValueError(f"{path} is not a few-shot sample. Pass the file that was saved next to a trained model.")


def _is_sampled(entry: Any) -> bool:
    """Return whether an entry of a file holds the sampled images of a class."""
    match entry:
        case {"class": str(), "images": [*names]}:
            return all(isinstance(name, str) for name in names)
    return False


def read_few_shot_sample(path: str | os.PathLike, images: LabelledFiles) -> list[int]:
    """Return the indices of the images in a file written by `write_few_shot_sample`.

    Args:
        path: the file.
        images: images or videos to select from.

    Raises:
        ValueError: if the file is not a few-shot sample, or names classes or images that the dataset does not have.
    """
    classes = read_few_shot_record(path)["classes"]
    if list(classes) != list(images.class_names):
        raise ValueError(
            f"The few-shot sample {path} has other classes than {images.source}. Pass the data that it "
            "was sampled from."
        )
    index = {name: place for place, name in enumerate(images.names)}
    names = [name for drawn in classes.values() for name in drawn]
    if missing := [name for name in names if name not in index]:
        raise ValueError(
            f"{images.source} lacks {len(missing)} {images.kind}(s) of the few-shot sample {path}: "
            f"{', '.join(missing[:5])}. Restore these files, or pass the data that it was sampled from."
        )
    return [index[name] for name in names]
