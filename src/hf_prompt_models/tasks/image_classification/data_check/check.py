"""All checks of `hf-prompt evaluate --data_check`, and the files that they write."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from hf_prompt_models.data.few_shot import read_few_shot_record
from hf_prompt_models.data.images.labelled import LabelledImages, read_labelled_images
from hf_prompt_models.tasks.classification.evaluation import Tested, renamed
from hf_prompt_models.tasks.image_classification.data_check.class_names import find_unknown_names
from hf_prompt_models.tasks.image_classification.data_check.duplicates import (
    find_near_duplicates,
    similarity_of_copies,
)
from hf_prompt_models.tasks.image_classification.data_check.errors import (
    MOST_ERRORS,
    SHEET_ERRORS,
    find_errors,
    plot_errors,
)
from hf_prompt_models.tasks.image_classification.data_check.images import CheckedImages, FrozenTower
from hf_prompt_models.tasks.image_classification.data_check.labels import (
    cross_validated_probabilities,
    find_suspicious_labels,
)
from hf_prompt_models.training.run_folder import SAMPLE_FILE
from hf_prompt_models.utils.files import writing_csv


ERRORS_FILE = "confident_errors.csv"
SHEET_FILE = "confident_errors.png"
DUPLICATES_FILE = "near_duplicates.csv"
LABELS_FILE = "suspicious_labels.csv"
NAMES_FILE = "unknown_class_names.csv"

Row = Sequence[Any]


def check_data(
    tower: FrozenTower, tested: Tested, train: LabelledImages | None, directory: Path, progress: bool = True
) -> dict[str, Any]:
    """Check test images and, if there are some, training images, and write a table for each check.

    Args:
        tower: Frozen backbone of the model.
        tested: Test result of the model.
        train: Training images, labelled with the model's classes.
        directory: Folder to write to.
        progress: Whether to show a progress bar.

    Returns:
        For each check its `count`, its `file` and the `line` of the summary.
    """
    assert isinstance(tested.files, LabelledImages)
    with tqdm(total=4, desc="Checking data", leave=False, disable=not progress) as bar:
        parts = [tower.read("test", tested.files)]
        if train is not None:
            parts.insert(0, tower.read("train", train))
        bar.update()
        checks = {"confident_errors": check_errors(tested, directory)}
        checks["near_duplicates"] = check_duplicates(tower, parts, directory)
        bar.update()
        checks["suspicious_labels"] = check_labels(parts, directory)
        bar.update()
        checks["unknown_class_names"] = check_names(tower, parts, directory)
        bar.update()
    return checks


def check_errors(tested: Tested, directory: Path) -> dict[str, Any]:
    """Write the most confident errors as a table and as a contact sheet."""
    images: Any = tested.files
    errors, names = find_errors(tested.probabilities, np.asarray(images.labels)), images.class_names
    kept = errors[:MOST_ERRORS]
    rows = [
        [
            images.path(error.index),
            names[images.labels[error.index]],
            names[error.predicted],
            _number(error.probability),
            _number(error.label_probability),
        ]
        for error in kept
    ]
    head = ["image", "label", "predicted", "probability", "label_probability"]
    file, sheet = directory / ERRORS_FILE, directory / SHEET_FILE
    _write(file, head, rows)
    if not errors:
        sheet.unlink(missing_ok=True)  # of an earlier check
        return _check(0, file, "No errors.")
    plot_errors(kept[:SHEET_ERRORS], images, sheet)
    said = f"{len(errors)} errors of {len(images)} test images" if len(errors) > 1 else "1 error"
    listed = f"the {len(kept)} most confident of " if len(kept) < len(errors) else ""
    found = _check(
        len(errors), file, f"Confident errors: {listed}{said}, probability up to {kept[0].probability:.0%}: {file}"
    )
    return found | {"sheet": str(sheet), "line": f"{found['line']}, thumbnails: {sheet}"}


def check_duplicates(tower: FrozenTower, parts: Sequence[CheckedImages], directory: Path) -> dict[str, Any]:
    """Write the test images that are almost or exactly training images."""
    file, head = (
        directory / DUPLICATES_FILE,
        ["train_image", "test_image", "cosine", "correlation", "same_content", "same_label"],
    )
    if len(parts) < 2:
        _write(file, head, [])
        return _check(None, file, "Near-duplicates: not checked without training images. Pass --train_dir DIR.")
    train, test = parts
    threshold = similarity_of_copies(tower, test)
    found = find_near_duplicates(train, test, threshold)
    rows = [
        [
            train.images.path(each.train),
            test.images.path(each.test),
            _number(each.cosine),
            _number(each.correlation),
            int(each.identical),
            int(train.images.labels[each.train] == test.images.labels[each.test]),
        ]
        for each in found
    ]
    _write(file, head, rows)
    if not found:
        compared = f"{len(train.images)} training and {len(test.images)} test images"
        return _check(0, file, f"No near-duplicates between {compared}.") | {"threshold": threshold, "same_content": 0}
    identical = sum(each.identical for each in found)
    line = (
        f"Near-duplicates: {len(found)} of {len(test.images)} test images are copies of a training image or nearly so "
        f"(cosine at least {threshold:.3f}); {identical} have the same content: {file}"
    )
    return _check(len(found), file, line) | {"threshold": threshold, "same_content": identical}


def check_labels(parts: Sequence[CheckedImages], directory: Path) -> dict[str, Any]:
    """Write the labels that look wrong, of each part of the data, that with the lowest probability first."""
    found: list[tuple[float, Row]] = []
    numbers = []
    for checked in parts:
        images, labels, names = checked.images, checked.labels, checked.images.class_names
        probabilities, judged = cross_validated_probabilities(checked)
        chosen = np.flatnonzero(judged)
        suspicious = find_suspicious_labels(probabilities[chosen], labels[chosen])
        for each in suspicious:
            index = int(chosen[each.index])
            row = [checked.part, images.path(index), names[labels[index]], names[each.suggested]]
            values = (each.self_confidence, each.suggested_probability, each.margin)
            found.append((each.self_confidence, [*row, *map(_number, values)]))
        numbers.append(f"{len(suspicious)} of {len(chosen)} {checked.part} images")
        if skipped := len(labels) - len(chosen):
            numbers[-1] += f" ({skipped} not judged, because their class has no other image)"
    file = directory / LABELS_FILE
    head = ["part", "image", "label", "suggested", "self_confidence", "suggested_probability", "margin"]
    _write(file, head, [row for _, row in sorted(found, key=lambda pair: pair[0])])
    title = "Labels that look wrong" if found else "No labels look wrong"
    return _check(len(found), file, f"{title} by cross-validation: {', '.join(numbers)}" + f": {file}" * bool(found))


def check_names(tower: FrozenTower, parts: Sequence[CheckedImages], directory: Path) -> dict[str, Any]:
    """Write the classes that hand-written prompts recognise no better than by chance."""
    names = tower.classifier.config.class_names
    logits = np.concatenate([tower.zero_shot_logits(checked) for checked in parts])
    labels = np.concatenate([checked.labels for checked in parts])
    found = find_unknown_names(logits, labels)
    rows = [
        [
            names[each.label],
            each.images,
            _number(each.recall),
            _number(each.false_positive_rate),
            _number(1 / len(names)),
            "; ".join(f"{names[label]} ({count})" for label, count in each.confusions),
        ]
        for each in found
    ]
    file = directory / NAMES_FILE
    _write(file, ["class", "images", "recall", "false_positive_rate", "chance", "confusions"], rows)
    if not found:
        return _check(0, file, "No class names that the backbone does not know.")
    shown = ", ".join(names[each.label] for each in found[:5]) + (", …" if len(found) > 5 else "")
    line = (
        f"Class names that the backbone does not know: {len(found)} of {len(names)} are recognised no better than by "
        f"chance without training ({shown}): {file}. Pass better names with --class_names FILE."
    )
    return _check(len(found), file, line)


def training_images(
    directory: Path, class_names: Sequence[str], arguments: argparse.Namespace
) -> LabelledImages | None:
    """Return the images that a model was trained on, labelled with its classes.

    Args:
        directory: Folder of the model, which may hold its few-shot sample.
        class_names: Class names of the model.
        arguments: The flags, of which `--train_dir` names other training images.

    Returns:
        The images, or `None` if neither the flag nor the folder names any.

    Raises:
        ValueError: If they cannot be read.
    """
    columns = (arguments.image_column, arguments.label_column)
    if arguments.train_dir is not None:
        images = read_labelled_images(arguments.train_dir, "train", *columns)
        return renamed(images, arguments.class_names).with_classes(class_names).readable(arguments.on_unreadable)
    if not (directory / SAMPLE_FILE).is_file():
        return None
    sample = read_few_shot_record(directory / SAMPLE_FILE)
    source, classes = sample["source"], list(sample["classes"])
    if not isinstance(source, str):
        return None
    labels = {name: place for place, names in enumerate(sample["classes"].values()) for name in names}
    try:
        images = read_labelled_images(source, "train", *columns)
    except ValueError as error:
        raise ValueError(f"{error} It holds the training images of {directory}. Pass --train_dir DIR.") from error
    own = [index for index, name in enumerate(images.names) if name in labels]
    if len(own) < len(labels):
        raise ValueError(
            f"{source} lacks {len(labels) - len(own)} of the {len(labels)} training images of {directory}. Pass "
            "--train_dir DIR."
        )
    images = images.select(own)
    named = replace(images, class_names=classes, labels=[labels[name] for name in images.names])
    return named.with_classes(class_names).readable(arguments.on_unreadable)


def _check(count: int | None, file: Path, line: str) -> dict[str, Any]:
    return {"count": count, "file": str(file), "line": line}


def _number(value: float) -> str:
    return f"{value:.6g}"


def _write(path: Path, head: Row, rows: Iterable[Row]) -> None:
    with writing_csv(path) as writer:
        writer.writerow(head)
        writer.writerows(rows)
