"""Estimated time of methods on this machine, from a few timed steps, and the methods that fit a time budget."""

import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Subset
from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hf_prompt_models.data.images.dataset import AugmentedImageDataset, AugmentedViewDataset
from hf_prompt_models.tasks.image_classification.comparison.cells import CellRunner, Prepared, one_thread, quiet
from hf_prompt_models.tasks.image_classification.comparison.methods import Method
from hf_prompt_models.tasks.image_classification.features import image_logits
from hf_prompt_models.training.settings import number_of_steps


STEPS = 3
"""Number of timed steps of a method, after a first one."""
IMAGES = 8
"""Number of images whose encoding is timed."""


@dataclass(frozen=True)
class Cost:
    """Estimated time of a method.

    Attributes:
        cells: Seconds of one cell, by shots.
        views: Name of the stored features that the method trains on, which methods may share; "" if it has none.
        features: Seconds that it takes to compute those of these features that are not cached.
    """

    cells: dict[int, float]
    views: str
    features: float

    def as_json(self) -> dict[str, Any]:
        """Return the values for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Cost":
        """Return the cost that a JSON file holds."""
        return cls(
            {int(shots): seconds for shots, seconds in value["cells"].items()}, value["views"], value["features"]
        )


def estimate(
    runner: CellRunner, methods: Sequence[Method], shots: Sequence[int], seeds: Sequence[int]
) -> tuple[dict[str, Cost], dict[str, Exception]]:
    """Return the cost of each method, and for methods that do not apply to the data or the backbone, the error.

    Args:
        runner: Runner of this process.
        methods: The methods.
        shots: Numbers of training images per class.
        seeds: The seeds.
    """
    costs: dict[str, Cost] = {}
    refused: dict[str, Exception] = {}
    bar = tqdm(methods, "Timing methods", leave=False, disable=runner.arguments.disable_tqdm, file=sys.stderr)
    for method in bar:
        try:
            with quiet(), one_thread():
                costs[method.name] = estimate_method(runner, method, shots, seeds)
        except (TypeError, ValueError) as error:
            refused[method.name] = error
    return costs, refused


def estimate_method(runner: CellRunner, method: Method, shots: Sequence[int], seeds: Sequence[int]) -> Cost:
    """Return the cost of a method.

    A method that trains by steps is timed for `STEPS` steps; a head over stored features is fitted once with the
    fewest shots, and its time is taken to grow with the number of images.

    Args:
        runner: Runner of this process.
        method: The method.
        shots: Numbers of training images per class.
        seeds: The seeds.
    """
    least, most = min(shots), max(shots)
    with tempfile.TemporaryDirectory() as folder:
        runner.prepare(method, least, seeds[:1], folder)  # data and backbone are read once for all cells
        began = time.perf_counter()
        prepared = runner.prepare(method, least, seeds[:1], folder)
        training = prepared.training[seeds[0]]
        training.disable_tqdm = True
        trainer = prepared.run.build_trainer(training)
        fixed = time.perf_counter() - began
        compute_test_features(prepared, trainer.model)  # once for all cells
        if trainer.model.fits_features:
            began = time.perf_counter()
            trainer.train()
            steps = number_of_steps(training, prepared.run.examples[seeds[0]])
            step = (time.perf_counter() - began) / max(steps, 1)
        else:
            training.max_steps = 1 + STEPS
            trainer.add_callback(timer := StepTimer())
            trainer.train()
            step = timer.seconds
        trainer.model.eval()
        began = time.perf_counter()
        if trainer.model.has_fixed_image_features:
            prepared.run.finish(trainer, Path(folder))
            fixed += time.perf_counter() - began
        else:
            fixed += _seconds_to_test(prepared, trainer.model)
        images = prepared.run.examples[seeds[0]] / least
        cells = {}
        for k in shots:
            full = runner.prepare(method, k, seeds[:1], folder) if not trainer.model.fits_features else None
            if full is None:
                cells[k] = fixed + step * number_of_steps(training, prepared.run.examples[seeds[0]]) * k / least
                continue
            settings, number = full.training[seeds[0]], full.run.examples[seeds[0]]
            batches = min(settings.train_batch_size, number) / min(training.train_batch_size, images * least)
            cells[k] = fixed + step * batches * number_of_steps(settings, number)
        views, features = _features(runner, method, trainer.model, most, seeds, folder)
    return Cost({k: round(seconds, 3) for k, seconds in cells.items()}, views, round(features, 3))


class StepTimer(TrainerCallback):
    """Measures the mean time of a step, without the first one.

    Attributes:
        seconds: Mean time of a step.
    """

    seconds = 0.0

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Record the time."""
        now = time.perf_counter()
        if state.global_step == 1:
            self._began = now
        else:
            self.seconds = (now - self._began) / (state.global_step - 1)


def _seconds_to_test(prepared: Prepared, model: Any) -> float:
    """Return the estimated time to test a model whose image encoder is not that of the backbone."""
    seconds = 0.0
    for role in prepared.run.tests:
        dataset = prepared.run.test_images(role)
        part = Subset(dataset, range(min(IMAGES, len(dataset))))
        image_logits(model, Subset(dataset, range(1)), 1, progress=False)  # computes the class features
        began = time.perf_counter()
        image_logits(model, part, IMAGES, progress=False)
        seconds += (time.perf_counter() - began) * len(dataset) / len(part)
    return seconds


def stored_views(prepared: Prepared, seed: int) -> Any:
    """Return the dataset whose features a method trains on, or `None` if it trains on images."""
    run = prepared.run
    dataset = run.recipe.build_train_dataset(prepared.arguments.method, run.samples[seed], run.processor, seed)
    encoded = isinstance(dataset, AugmentedImageDataset) and not isinstance(dataset, AugmentedViewDataset)
    return None if encoded else dataset


def compute_test_features(prepared: Prepared, model: Any) -> None:
    """Compute and store the features of the test images that a model with a frozen image encoder reads."""
    if model.has_fixed_image_features:
        for role in prepared.run.tests:
            prepared.run.features_for(model, role)


def _features(
    runner: CellRunner, method: Method, model: Any, shots: int, seeds: Sequence[int], folder: str
) -> tuple[str, float]:
    """Return the name of a method's stored features, and the time to compute those that are not cached."""
    prepared = runner.prepare(method, shots, seeds, folder)
    keys: set[bytes] = set()  # the seeds share the views of images that they have in common
    name = ""
    dataset: Any = None
    for seed in seeds:
        dataset = stored_views(prepared, seed)
        if dataset is None:
            return "", 0.0
        area = getattr(dataset, "min_crop_area", 1)
        name = f"{model.image_feature}, {getattr(dataset, 'num_views', 0)} views, crops from {area}"
        keys |= {dataset.key(index) for index in range(len(dataset))}
    cache = prepared.run.cache_of(model)
    missing = len(keys) - (0 if cache is None else len(cache.read(list(keys))))
    if not missing:
        return name, 0.0
    with torch.no_grad():
        began = time.perf_counter()
        items = [dataset[index] for index in np.linspace(0, len(dataset) - 1, min(IMAGES, len(dataset))).astype(int)]
        inputs = {key: torch.stack([item[key] for item in items]) for key in items[0] if key != "labels"}
        model.encode_images(**{key: each.to(model.device) for key, each in inputs.items()})
        each = (time.perf_counter() - began) / len(items)
    return name, each * missing


def total_seconds(costs: Sequence[Cost], seeds: int, workers: int) -> float:
    """Return the estimated time of methods, which share stored features.

    Args:
        costs: Costs of the methods.
        seeds: Number of seeds.
        workers: Number of processes.
    """
    features = {cost.views: cost.features for cost in costs}
    cells = [seconds for cost in costs for seconds in cost.cells.values()]
    longest = max(cells, default=0.0)
    return (sum(features.values()) + max(seeds * math.fsum(cells), workers * longest)) / workers


def within_budget(costs: dict[str, Cost], seeds: int, workers: int, budget: float) -> list[str]:
    """Return the names of methods that together fit a time budget, the cheapest first.

    Args:
        costs: Costs, by method.
        seeds: Number of seeds.
        workers: Number of processes.
        budget: Time in seconds.
    """
    chosen: list[str] = []
    alone = {name: total_seconds([cost], seeds, workers) for name, cost in costs.items()}
    for name in sorted(alone, key=lambda name: (alone[name], name)):
        if total_seconds([costs[each] for each in [*chosen, name]], seeds, workers) <= budget:
            chosen.append(name)
    return chosen
