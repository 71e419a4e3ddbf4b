"""Measure `hf-prompt train auto` against test images: the coverage of its interval, and its choice.

In each repetition, a few images of each class are sampled with another seed (on the playground, images are drawn with
that seed), the search runs on them, and then all candidates are trained on all of them and tested. The search is
given no test images.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from transformers.utils import logging

from hf_prompt_models.data.images.dataset import ImageDataset
from hf_prompt_models.data.images.labelled import read_labelled_images
from hf_prompt_models.playground import write_image_folder
from hf_prompt_models.tasks.image_classification.auto.arguments import AutoArguments
from hf_prompt_models.tasks.image_classification.auto.budget import Budget
from hf_prompt_models.tasks.image_classification.auto.candidates import KINDS
from hf_prompt_models.tasks.image_classification.auto.learners import Learner
from hf_prompt_models.tasks.image_classification.auto.run import read_training_data
from hf_prompt_models.tasks.image_classification.auto.search import find_best
from hf_prompt_models.tasks.image_classification.features import compute_image_features, predict
from hf_prompt_models.training.feature_cache import open_feature_cache

from .measuring import describe_machine, markdown_table


CLASSES = 12
"""Classes of the playground."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the benchmark."""
    parser.add_argument("--train_dir", help="training images (default: drawn anew in each repetition)")
    parser.add_argument("--test_dir", help="test images, with --train_dir")
    parser.add_argument("--backbone", default="playground", help="backbone (default: playground)")
    parser.add_argument("--shots", type=int, default=4, help="number of training images per class (default: 4)")
    parser.add_argument("--test_images", type=int, default=1000, help="number of drawn test images (default: 1000)")
    parser.add_argument("--repetitions", type=int, default=20, help="number of repetitions (default: 20)")
    parser.add_argument("--first_seed", type=int, default=1, help="seed of the first repetition (default: 1)")
    parser.add_argument("--methods", nargs="+", choices=KINDS, help="kinds of candidates (default: all)")
    parser.add_argument("--choice_only", action="store_true", help="measure the choice alone, without the estimate")
    parser.add_argument("--time_budget", default="1h", help="time budget of a repetition (default: 1h)")
    parser.add_argument("--feature_cache", default="off", help="folder of the feature cache (default: off)")


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Run the benchmark and yield its results as Markdown, part by part."""
    logging.disable_progress_bar()
    yield describe_machine()
    rows, singles, chosen, covered = [], [], [], []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.repetitions):
        with tempfile.TemporaryDirectory() as folder:
            train, test = arguments.train_dir, arguments.test_dir
            if train is None:
                per_class = -(-arguments.test_images // CLASSES)
                write_image_folder(folder, seed=seed, train_per_class=arguments.shots, test_per_class=per_class)
                train, test = str(Path(folder, "train")), str(Path(folder, "test"))
            given = AutoArguments(
                backbone=arguments.backbone,
                train_dir=train,
                output_dir=folder,
                shots=arguments.shots,
                seeds=[seed],
                methods=arguments.methods,
                time_budget=arguments.time_budget,
                feature_cache=arguments.feature_cache,
                use_cpu=True,
                disable_tqdm=True,
            )
            data = read_training_data(given)
            images: Any = data.train
            search, learner = find_best(
                given, data, images, Budget(given.seconds, time.monotonic()), not arguments.choice_only
            )
            tested = read_labelled_images(test, "test").with_classes(images.class_names)
            accuracy = Tester(tested, arguments.feature_cache)
            true = accuracy(learner)
            single = {search.winner.name: true}
            for outcome in search.outcomes[1:]:
                other = Learner(outcome.candidate, arguments.backbone, learner.features)
                other.train(np.arange(len(images)))
                single[outcome.candidate.name] = accuracy(other)
        singles.append(single)
        chosen.append(true)
        if (estimate := search.estimate) is None:
            yield f"{seed} | {search.winner.name} | {100 * true:.1f}"
            continue
        covered.append(estimate.low <= true <= estimate.high)
        cells = [f"{100 * value:.1f}" for value in (estimate.value, estimate.low, estimate.high, true)]
        rows.append([str(seed), search.winner.name, *cells, "yes" if covered[-1] else "no", f"{search.seconds:.0f}"])
        yield " | ".join(rows[-1])
    if rows:
        yield markdown_table(["seed", "chosen", "estimate", "low", "high", "test", "covered", "seconds"], rows)
        yield f"The interval covers the test accuracy in {sum(covered)} of {len(covered)} repetitions."
    means = {name: float(np.mean([each[name] for each in singles])) for name in singles[0]}
    table = [[name, f"{100 * mean:.1f}"] for name, mean in sorted(means.items(), key=lambda item: -item[1])]
    yield markdown_table(["candidate", "test accuracy"], [["auto", f"{100 * float(np.mean(chosen)):.1f}"], *table])


class Tester:
    """Test accuracy of learners, with features computed once.

    Args:
        images: The test images.
        feature_cache: Folder of the feature cache.
    """

    def __init__(self, images: Any, feature_cache: str):
        self.images, self.feature_cache = images, feature_cache
        self.features: dict[str, Any] = {}

    def __call__(self, learner: Learner) -> float:
        """Return the accuracy of the model of a learner."""
        model, processor = learner.model, learner.features.processor.image_processor
        if model.image_feature not in self.features:
            cache = open_feature_cache(self.feature_cache, model, processor)
            dataset = ImageDataset(self.images, processor)
            self.features[model.image_feature] = compute_image_features(model, dataset, progress=False, cache=cache)
        return float((predict(model, self.features[model.image_feature]) == np.array(self.images.labels)).mean())
