"""Predictions of many files as they are made: kept in a table, drawn, counted; files that cannot be read left out."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hf_prompt_models.data.readable import logger, report_skipped
from hf_prompt_models.data.readable import refuse as refuse_files
from hf_prompt_models.tasks.video_classification.frame_strip import write_frame_strip
from hf_prompt_models.utils.files import UnreadableFileError, replacing


SUMMARY_CLASSES = 20

Predictions = Iterator[tuple[str, list[dict[str, Any]]]]
"""Files, each with its best classes as `pipeline()` gives them: `label` and `score`."""


def answered(
    files: Sequence[str],
    results: Iterable[list[dict[str, Any]] | UnreadableFileError],
    on_unreadable: str,
    skipped: list[UnreadableFileError],
    kind: str,
) -> Predictions:
    """The predictions of the files that could be read; the errors of the others are reported and kept in `skipped`.

    Raises:
        UnreadableFileError: if a file cannot be read and is not to be skipped, or if none can.
    """
    for file, result in zip(files, results, strict=True):
        if not isinstance(result, UnreadableFileError):
            yield file, result
        elif on_unreadable == "skip":
            logger.warning(f"Skipped. {result}")
            skipped.append(result)
        else:
            refuse_files([result])
    kept = range(len(files) - len(skipped))
    report_skipped(kept, skipped, f"{kind}s")


def kept_as_csv(predictions: Predictions, path: str, kind: str) -> Predictions:
    """The same predictions, written to a file as they go by."""
    with (
        replacing(path) as beside,
        # A file's name may be no text; the table is UTF-8 all the same.
        open(beside, "w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow([kind, "rank", "label", "score"])
        for name, classes in predictions:
            writer.writerows([name, rank, entry["label"], entry["score"]] for rank, entry in enumerate(classes, 1))
            yield name, classes


def drawn(predictions: Predictions, strips: dict[str, Path], num_frames: int) -> Predictions:
    """The same predictions, drawn with the frames they are about as they go by."""
    for video, classes in predictions:
        write_frame_strip(video, num_frames, classes, strips[video])
        yield video, classes


def summarise(counts: Counter[str], kind: str) -> str:
    """How many files went to each class, the most frequent first."""
    shown, others = counts.most_common(SUMMARY_CLASSES), len(counts) - SUMMARY_CLASSES
    lines = [f"  {count:7}  {count / counts.total():6.1%}  {label}" for label, count in shown]
    if others > 0:
        lines.append(f"  and {counts.total() - sum(count for _, count in shown)} in {others} other classes")
    return "\n".join([f"{counts.total()} {kind}s, by the best class:", *lines])
