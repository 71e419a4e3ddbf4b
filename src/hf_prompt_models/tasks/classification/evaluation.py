"""Test saved classifiers."""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoProcessor

from hf_prompt_models.data.class_names_file import read_class_names_file
from hf_prompt_models.data.labelled import Files, LabelledFiles
from hf_prompt_models.metrics.classification import confusion_counts, mean_and_deviation
from hf_prompt_models.tasks.classification.calibration.plot import plot_reliability
from hf_prompt_models.tasks.classification.class_prompts import check_takes_sentences, read_sentences
from hf_prompt_models.tasks.classification.predictions import write_predictions
from hf_prompt_models.tasks.classification.protocols import TestSet
from hf_prompt_models.tasks.classification.scores import calibration_metrics, guessing
from hf_prompt_models.tasks.classification.summary import shown_metrics
from hf_prompt_models.training.plots import plot_confusion_matrix
from hf_prompt_models.training.run_folder import predictions_file, seed_words


TITLES = {
    "accuracy": "accuracy",
    "top5_accuracy": "top-5",
    "mean_class_accuracy": "mean over classes",
    "mean_average_precision": "mean average precision",
}


@dataclass(frozen=True)
class ModelsToTest:
    """Models of a run to test.

    Attributes:
        directories: Folders of the models, by seed.
        set_classes: Whether to classify into the classes of the test set instead of those of the prompt.
        backbone: Current location of the backbone, if it moved since training.
        feature_cache: Folder for the features of a frozen tower, as for `open_feature_cache`.
        class_prompts: Sentences about the classes of the test set, as for `read_sentences`.
        feature_dtype: Precision of the image encoder, as for `choose_image_dtype`.

    Raises:
        ValueError: If there are sentences, and the model keeps its classes.
    """

    directories: Mapping[str, Path]
    set_classes: bool = False
    backbone: str | None = None
    feature_cache: str | None = None
    class_prompts: str | None = None
    feature_dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.class_prompts is not None and not self.set_classes:
            raise ValueError("--class_prompts needs --set_classes. Pass both.")

    def load(self, auto_class: Any, test: LabelledFiles) -> Iterator[tuple[str, Any, Any, Any]]:
        """Yield each seed, its model, its processor, and the test set labelled with the model's classes."""
        for seed, directory in self.directories.items():
            model = load_model(auto_class, directory, self.backbone)
            processor = AutoProcessor.from_pretrained(directory)
            if self.class_prompts is not None:
                check_takes_sentences(model, directory)
                sentences = read_sentences(self.class_prompts, test.class_names, processor.tokenizer)
                model.set_classes(test.class_names, tokenizer=processor, class_prompts=sentences)
            elif self.set_classes:
                model.set_classes(test.class_names, tokenizer=processor)
            yield seed, model, processor, test.with_classes(model.config.class_names)


@dataclass(frozen=True)
class Tested:
    """Test results of one model.

    Attributes:
        files: Test data, labelled with the model's classes.
        scores: Scores of shape (files, classes).
        metrics: Metrics from 0 to 1, by name.
        probabilities: Class probabilities of shape (files, classes).
    """

    files: LabelledFiles
    scores: np.ndarray
    metrics: dict[str, Any]
    probabilities: np.ndarray


def load_model(auto_class: Any, directory: str | Path, backbone: str | None = None) -> Any:
    """Load a saved classifier.

    Args:
        auto_class: Auto class of its task.
        directory: Folder of the model.
        backbone: Current location of the backbone, if it moved since training.
    """
    moved = {} if backbone is None else {"base_model_name_or_path": backbone}
    return auto_class.from_pretrained(directory, **moved)


def renamed(files: Files, class_names: str | None) -> Files:
    """Return the files with the class names that `--class_names` gives to their folders."""
    if class_names is None:
        return files
    names = read_class_names_file(class_names).of_classes(files.class_names, files.source, complete=False)
    return replace(files, class_names=names)


def write_tested(tested: Mapping[str, Tested], arguments: argparse.Namespace) -> None:
    """Write the figures and the predictions that the flags request."""
    first = next(iter(tested.values())).files
    if arguments.reliability_plot:
        plot_reliability(
            np.concatenate([each.probabilities for each in tested.values()]),
            np.concatenate([each.files.labels for each in tested.values()]),
            arguments.reliability_plot,
            first.kind,
            len(tested),
        )
    if arguments.confusion_matrix:
        counts = [
            confusion_counts(each.scores.argmax(axis=-1), each.files.labels, len(first.class_names))
            for each in tested.values()
        ]
        plot_confusion_matrix(
            np.sum(counts, axis=0), first.class_names, arguments.confusion_matrix, first.kind, len(tested)
        )
    if arguments.predictions:
        for seed, each in tested.items():
            sets = {"test": TestSet(first.source, each.files, [])}
            write_predictions(predictions_file(arguments.predictions, seed, tested), sets, {"test": each.scores})


def results_of(
    tested: Mapping[str, Tested], directories: Mapping[str, Path], min_score: float | None = None
) -> dict[str, Any]:
    """Return what `hf-prompt evaluate --json` writes.

    Args:
        tested: Results by seed.
        directories: Folders of the models, by seed.
        min_score: Smallest probability of an answer, if there is one.
    """
    first = next(iter(tested.values())).files
    trust = {
        seed: {} if first.multi_label else calibration_metrics(each.probabilities, each.files.labels, min_score)
        for seed, each in tested.items()
    }
    return {
        "kind": first.kind,
        **guessing(first),
        "data": {"test": first.source, "classes": len(first.class_names), f"test_{first.kind}s": len(first)},
        "seeds": {
            seed: each.metrics | trust[seed] | {"model": str(directories[seed])} for seed, each in tested.items()
        },
        "accuracy": mean_and_deviation([each.metrics["accuracy"] for each in tested.values()]),
    }


def summarise_evaluation(results: dict[str, Any]) -> str:
    """Return the lines that `hf-prompt evaluate` prints."""
    data, kind, chance = results["data"], results["kind"], results["chance"]
    test = {"classes": data["classes"], "zero_shot": next(iter(results["seeds"].values()))}
    shown = [name for name in TITLES if name in shown_metrics(test)]
    guessed = ", ".join(f"{TITLES[name]} {chance[name]:.2%}" for name in shown if name in chance)
    lines = [f"{data[f'test_{kind}s']} {kind}s of {data['classes']} classes; chance: {guessed}"]
    frequent = results.get("most_frequent_class", 0.0)
    if frequent > chance["accuracy"] + 1e-9:
        lines.append(f"always the most frequent class: accuracy {frequent:.2%}")
    for seed, metrics in results["seeds"].items():
        lines.append(f"{seed_words(seed):<13} " + ", ".join(f"{TITLES[name]} {metrics[name]:.2%}" for name in shown))
    if len(results["seeds"]) > 1:
        lines.append(f"mean ± deviation  {results['accuracy']['mean']:.2%} ± {results['accuracy']['std']:.2%}")
    for seed, metrics in results["seeds"].items():
        of = "" if len(results["seeds"]) == 1 else f", {seed_words(seed)}"
        lines += [line.format(of=of) for line in _trust(metrics, kind)]
    if checks := results.get("data_check"):
        lines += ["", *(check["line"] for check in checks.values())]
    return "\n".join(lines)


def _trust(metrics: Mapping[str, Any], kind: str) -> list[str]:
    """Return the lines about probabilities, with a field `{of}` for the seed."""
    if "expected_calibration_error" not in metrics:  # several labels
        return []
    by_coverage = metrics["accuracy_at_coverage"]
    shares = ", ".join(f"{float(coverage):.0%}: {accuracy:.2%}" for coverage, accuracy in by_coverage.items())
    lines = [
        f"expected calibration error{{of}}: {metrics['expected_calibration_error']:.2%}",
        f"accuracy on the most confident {kind}s{{of}}: {shares}",
    ]
    if (answers := metrics.get("min_score")) is not None:
        accuracy = answers["accuracy"]
        right = "" if accuracy is None else f", of which {accuracy:.2%} are right"
        lines.append(
            f"answered with --min_score {answers['value']:g}{{of}}: {answers['coverage']:.2%} of the {kind}s{right}"
        )
    return lines
