"""Classify many image or video files in batches."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset, default_collate
from tqdm.auto import tqdm
from transformers import AutoProcessor, BatchFeature, Pipeline
from transformers.modeling_outputs import ImageClassifierOutput

from hf_prompt_models.data.class_names_file import read_class_names
from hf_prompt_models.data.readable import logger, refuse, report_skipped
from hf_prompt_models.modeling_clip_utils import TemplatePromptModel
from hf_prompt_models.tasks.arguments import DEFAULT_TOP_K
from hf_prompt_models.tasks.classification.class_prompts import check_takes_sentences, read_sentences
from hf_prompt_models.tasks.classification.templates import read_templates
from hf_prompt_models.utils.files import UnreadableFileError, writing_csv
from hf_prompt_models.utils.loading import load_batches
from hf_prompt_models.utils.precision import choose_image_dtype, wanted_dtype


if TYPE_CHECKING:
    from hf_prompt_models.tasks.classification.base import ClassificationTask

SUMMARY_CLASSES = 20
UNKNOWN = "I do not know"
"""Answer to files whose best score is below `--min_score`."""
Predictions = Iterator[tuple[str, list[dict[str, Any]]]]
"""Type of predictions: files with their best classes as in `pipeline()`, dicts of `label` and `score`."""


def classify(
    task: "ClassificationTask[Any]", classifier: Pipeline, arguments: argparse.Namespace
) -> list[dict[str, Any]] | str:
    """Classify the files of `hf-prompt predict`.

    Args:
        task: Image or video classification.
        classifier: Pipeline of the classifier.
        arguments: The flags.

    Returns:
        With `--json`, an entry for each file; else text with the best classes of each file or, for folders, the number
        of files per class.
    """
    kind = task.kind
    files = task.list_files(arguments.files)
    has_folders = files != arguments.files
    listed = len(files)
    num_classes = classifier.model.config.num_labels
    if arguments.top_k > max(DEFAULT_TOP_K, num_classes):
        print(
            f"--top_k is {arguments.top_k}, but the model has only {num_classes} classes. All of them are shown.",
            file=sys.stderr,
        )
    files = task.readable(files, arguments.on_unreadable, progress=has_folders)
    inputs = task.inputs(files, classifier)
    model: Any = classifier.model
    dtype = wanted_dtype(arguments.feature_dtype, arguments.bf16)
    model.image_dtype = choose_image_dtype(model, dtype, task.encoder(model), inputs)
    results = classify_files(
        classifier,
        inputs,
        arguments.top_k,
        batch_size=arguments.batch_size or task.prediction_batch_size,
        num_workers=arguments.num_workers,
    )
    bar = tqdm(results, total=len(files), desc="Predictions", leave=False, disable=not has_folders)
    skipped: list[UnreadableFileError] = []
    predictions = answered(files, bar, arguments.on_unreadable, skipped, kind)
    least = arguments.min_score
    if arguments.csv:
        predictions = kept_as_csv(predictions, arguments.csv, kind, least)
    predictions = task.drawn(predictions, files, classifier, arguments)
    if arguments.json:
        return [{kind: path, **answer(classes, least), "predictions": classes} for path, classes in predictions]
    lines = []
    if has_folders:
        found = Counter(best["label"] if is_known(best, least) else None for _, (best, *_) in predictions)
        lines.append(summarise(found, kind, least))
    else:
        unknown = 0
        for path, classes in list(predictions):
            lines.append(path)
            if not is_known(classes[0], least):
                unknown += 1
                lines.append(f"  {UNKNOWN}: no score is at least {least:g}. Best guess{'es' * (len(classes) > 1)}:")
            lines += [f"  {entry['score']:7.2%}  {entry['label']}" for entry in classes]
        if unknown and len(files) > 1:
            lines.append(f"{UNKNOWN}: {unknown} of {len(files) - len(skipped)} {kind}s (--min_score {least:g})")
    if left_out := listed - len(files) + len(skipped):
        lines.append(f"Skipped {left_out} of {listed} {kind}s that cannot be read.")
    if arguments.csv:
        kept = min(arguments.top_k, num_classes)
        rows = f"The {kept} best classes" if kept > 1 else "The best class"
        lines += ["", f"{rows} for each {kind}, with scores: {arguments.csv}"]
    return "\n".join([*lines, *task.drawn_lines(arguments)])


def set_classes(classifier: Pipeline, arguments: argparse.Namespace) -> None:
    """Set the classes of `--class_names`, with the prompts of `--templates` and `--class_prompts`.

    Args:
        classifier: Pipeline of the classifier.
        arguments: The flags.

    Raises:
        ValueError: If hand-written prompts are given for a model with a learned prompt.
    """
    if arguments.class_names is None:
        return
    model: Any = classifier.model
    names = read_class_names(arguments.class_names)
    prompts: dict[str, Any] = {}
    if arguments.templates is not None:
        prompts["templates"] = read_templates(arguments.templates)
        if not isinstance(model, TemplatePromptModel):
            raise ValueError(
                f"--templates applies to hand-written prompts, but {arguments.model} has a learned prompt. Remove the "
                "flag."
            )
    if (source := vars(arguments).get("class_prompts")) is not None:
        check_takes_sentences(model, arguments.model)
        tokenizer = AutoProcessor.from_pretrained(arguments.model).tokenizer
        prompts["class_prompts"] = read_sentences(source, names, tokenizer)
    model.set_classes(names, **prompts)


class _Attempts(Dataset):
    """Dataset of the items of another dataset, or of the errors of those that cannot be read."""

    def __init__(self, files: Any):
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.files[index]
        except UnreadableFileError as error:
            return error


def _collate_attempts(items: list[Any]) -> tuple[Any, list[UnreadableFileError | None]]:
    """Return a batch of the items that could be read, if any, and the error or `None` of each item."""
    errors = [item if isinstance(item, UnreadableFileError) else None for item in items]
    read = [item for item, error in zip(items, errors, strict=True) if error is None]
    return (default_collate(read) if read else None), errors


def classify_files(
    classifier: Pipeline, files: Dataset, top_k: int = 5, batch_size: int = 32, num_workers: int = 0
) -> Iterator[list[dict[str, Any]] | UnreadableFileError]:
    """Yield the best classes of each file, as `classifier(file, top_k=...)` does: dicts of `label` and `score`.

    The steps are those of the pipeline, with a data loader that decodes each file when its batch is needed.

    Args:
        classifier: Pipeline of a model that was loaded with its image processor.
        files: Inputs from `ClassificationTask.inputs`.
        top_k: Number of classes per file.
        batch_size: Number of files per batch.
        num_workers: Number of processes that decode and prepare files; 0: threads of this process.

    Yields:
        For each file its classes, or the error if it cannot be read, which names the file.
    """
    for batch, errors in load_batches(_Attempts(files), batch_size, classifier.device, num_workers, _collate_attempts):
        answers: Iterator[torch.Tensor] = iter(())
        if batch is not None:
            answers = iter(classifier.forward(BatchFeature(batch).to(classifier.dtype)).logits)
        for error in errors:
            if error is not None:
                yield error
            else:
                yield classifier.postprocess(ImageClassifierOutput(logits=next(answers)[None]), top_k=top_k)


def answered(
    files: Sequence[str],
    results: Iterable[list[dict[str, Any]] | UnreadableFileError],
    on_unreadable: str,
    skipped: list[UnreadableFileError],
    kind: str,
) -> Predictions:
    """Yield the predictions of the files that could be read, and report the others.

    Args:
        files: Paths of the files.
        results: Classes or error of each file.
        on_unreadable: "refuse" or "skip".
        skipped: List to which the errors of skipped files are added.
        kind: "image" or "video".

    Raises:
        UnreadableFileError: If a file cannot be read and is not to be skipped, or if no file can be read.
    """
    for file, result in zip(files, results, strict=True):
        if not isinstance(result, UnreadableFileError):
            yield file, result
        elif on_unreadable == "skip":
            logger.warning(f"Skipped. {result}")
            skipped.append(result)
        else:
            refuse([result])
    kept = range(len(files) - len(skipped))
    report_skipped(kept, skipped, f"{kind}s")


def is_known(best: dict[str, Any], min_score: float | None) -> bool:
    """Return whether the score of the best class is that of an answer."""
    return min_score is None or best["score"] >= min_score


def answer(classes: Sequence[dict[str, Any]], min_score: float | None) -> dict[str, Any]:
    """Return the fields `label` and `score` of the answer to a file, with the label `None` for “I do not know”.

    Args:
        classes: The best classes.
        min_score: Smallest score of an answer. Without one there are no fields.
    """
    if min_score is None:
        return {}
    best = classes[0]
    return {"label": best["label"] if is_known(best, min_score) else None, "score": best["score"]}


def kept_as_csv(predictions: Predictions, path: str, kind: str, min_score: float | None = None) -> Predictions:
    """Yield the same predictions, and write them to a file."""
    with writing_csv(path) as writer:
        writer.writerow([kind, "rank", "label", "score", *([] if min_score is None else ["known"])])
        for name, classes in predictions:
            known = [] if min_score is None else [int(is_known(classes[0], min_score))]
            writer.writerows(
                [name, rank, entry["label"], entry["score"], *known] for rank, entry in enumerate(classes, 1)
            )
            yield name, classes


def summarise(counts: Counter[str | None], kind: str, min_score: float | None = None) -> str:
    """Return the number of files per class, most frequent first.

    Args:
        counts: Number of files per class; `None` stands for “I do not know”, which comes last.
        kind: "image" or "video".
        min_score: Smallest score of an answer.
    """
    total, unknown = counts.total(), counts.pop(None, 0)
    shown, others = counts.most_common(SUMMARY_CLASSES), len(counts) - SUMMARY_CLASSES
    lines = [f"  {count:7}  {count / total:6.1%}  {label}" for label, count in shown]
    if others > 0:
        lines.append(f"  and {counts.total() - sum(count for _, count in shown)} in {others} other classes")
    if min_score is not None:
        lines.append(f"  {unknown:7}  {unknown / total:6.1%}  {UNKNOWN} (--min_score {min_score:g})")
    return "\n".join([f"{total} {kind}s, by the best class:", *lines])
