"""The search of `hf-prompt train auto`: cross-validate the candidates, and train the best one on all images."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from tqdm.auto import tqdm

from hf_prompt_models.data.images.labelled import LabelledImages
from hf_prompt_models.models.clip_zero_shot import ClipZeroShotForImageClassification
from hf_prompt_models.tasks.classification.class_prompts import WAFFLE, backbone_tokenizer, read_sentences
from hf_prompt_models.tasks.classification.protocols import ProtocolData
from hf_prompt_models.tasks.image_classification.auto.arguments import AutoArguments
from hf_prompt_models.tasks.image_classification.auto.budget import Budget, OutOfTimeError
from hf_prompt_models.tasks.image_classification.auto.candidates import (
    KINDS,
    SAFE,
    ZERO_SHOT,
    Candidate,
    Prompts,
    adapter,
    candidates,
    published_ensembles,
)
from hf_prompt_models.tasks.image_classification.auto.cross_validation import (
    NUM_FOLDS,
    CrossValidation,
    Outcome,
)
from hf_prompt_models.tasks.image_classification.auto.estimate import (
    Curve,
    Interval,
    estimate_accuracy,
    fit_curve,
    gain_interval,
)
from hf_prompt_models.tasks.image_classification.auto.learners import Features, Learner
from hf_prompt_models.tasks.image_classification.data_check.duplicates import groups_of_copies
from hf_prompt_models.tasks.image_classification.data_check.images import CheckedImages, FrozenTower
from hf_prompt_models.utils.folds import stratified_folds


GIVEN, DEFAULT = "given prompts", "default prompt"
"""Names of the prompts that the candidates start from."""
CURVE_POINTS = 4
"""Maximum number of smaller training sets on the learning curve."""
CURVE_SHARE = 0.7
"""Largest size of these sets, as a share of that of a fold's training images."""
SECONDS_TO_WRITE = 2.0
"""Seconds that are reserved for the files of the run."""


@dataclass
class Search:
    """Result of a search.

    Attributes:
        images: The training images.
        folds: Fold of each image; -1 if it is in none.
        groups: Group of each image, which is in one fold.
        outcomes: Outcomes of the candidates, best first.
        left_out: Reasons why candidates were left out, by name.
        winner: The chosen candidate.
        estimate: Estimated test accuracy, or `None` if no image could be held out.
        curve: Learning curve of the winner, or `None`.
        doubling: Gain of twice as many images per class, or `None`.
        seconds: Time from the start to the end of the final training.
    """

    images: LabelledImages
    folds: np.ndarray
    groups: np.ndarray
    winner: Candidate
    outcomes: list[Outcome] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    estimate: Interval | None = None
    curve: Curve | None = None
    doubling: Interval | None = None
    seconds: float = 0.0

    @property
    def tested(self) -> int:
        """Number of images that were held out."""
        return int((self.folds >= 0).sum())

    @property
    def zero_shot(self) -> Outcome | None:
        """Outcome of zero-shot with the given or the default prompts."""
        found = [each for each in self.outcomes if each.candidate.method == ZERO_SHOT]
        first = [each for each in found if each.candidate.prompts.name in (GIVEN, DEFAULT)]
        return first[0] if first else None

    @property
    def per_class(self) -> float:
        """Mean number of training images per class."""
        return len(self.images) / len(self.images.class_names)


def prompts_of(arguments: AutoArguments, data: ProtocolData) -> tuple[Prompts, list[Prompts]]:
    """Return the user's or the default prompts, and the ensembles that are also tried.

    Args:
        arguments: The parsed command line.
        data: The training data, with the prompts.
    """
    own = data.tests["train"]
    is_given = arguments.templates is not None or arguments.class_prompts is not None
    first = Prompts(GIVEN if is_given else DEFAULT, own.templates or None, own.class_prompts)
    waffle = read_sentences(WAFFLE, data.train.class_names, backbone_tokenizer(arguments.backbone))
    others = published_ensembles(waffle)
    if arguments.class_prompts == WAFFLE:
        others = [each for each in others if each.class_prompts is None]
    return first, [each for each in others if each.class_prompts is not None or each.templates != first.templates]


def find_best(
    arguments: AutoArguments, data: ProtocolData, images: LabelledImages, budget: Budget, nested: bool = True
) -> tuple[Search, Learner]:
    """Choose a candidate by cross-validation, and train it on all images.

    Args:
        arguments: The parsed command line.
        data: The training data, with the prompts.
        images: The training images.
        budget: The time budget.
        nested: Whether the test accuracy is estimated, which takes most of the time.

    Returns:
        The result of the search, and the winner, trained on all images.
    """
    progress, seed = not arguments.disable_tqdm, arguments.seeds[0]
    processor = ClipZeroShotForImageClassification.processor_class.from_backbone(arguments.backbone)
    own, others = prompts_of(arguments, data)
    zero_shot = ClipZeroShotForImageClassification.from_backbone(
        arguments.backbone, images.class_names, own.templates, processor, own.class_prompts
    )
    accelerator = None if arguments.use_cpu else torch.accelerator.current_accelerator(check_available=True)
    device = accelerator or torch.device("cpu")
    features = Features(images, processor, arguments.feature_cache, seed, budget, progress)
    try:
        plain = features.of(zero_shot.to(device))[0]
    except OutOfTimeError as error:
        raise ValueError(
            f"The features of {len(images)} images do not fit into --time_budget {arguments.time_budget} ({error}). "
            "Allow more time. Those that were computed are in the feature cache."
        ) from error
    tower = FrozenTower(zero_shot, processor, cache=None, progress=progress)
    groups = groups_of_copies(tower, CheckedImages("train", images, F.normalize(plain, dim=-1)))
    del zero_shot, tower
    build = partial(Learner, backbone=arguments.backbone, features=features, device=device)
    labels = np.asarray(images.labels)
    folds = stratified_folds(labels, NUM_FOLDS, seed, groups.tolist())
    search = Search(images, folds, groups, adapter(SAFE, own))
    rows = np.arange(len(images))
    if len(np.unique(folds[folds >= 0])) < 2:
        learner = build(search.winner)
        learner.train(rows)
        search.seconds = time.monotonic() - budget.began
        return search, learner
    validation = CrossValidation(labels, folds, budget)
    kinds = arguments.methods or KINDS
    tried = [each for each in candidates(own, others) if each.kind in kinds]
    _validate_all(validation, tried, build, search, budget, progress, nested)
    if not validation.outcomes:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(search.left_out.items())[:3])
        raise ValueError(f"No candidate fits into --time_budget {arguments.time_budget} ({reasons}). Allow more time.")
    search.outcomes = validation.ranked()
    best = search.outcomes[0]
    search.winner = best.candidate
    learner = build(best.candidate)
    if nested:
        _add_estimate(search, validation, learner, best, budget, seed)
    learner.train(rows)
    search.seconds = time.monotonic() - budget.began
    return search, learner


def _validate_all(
    validation: CrossValidation,
    tried: Sequence[Candidate],
    build: Any,
    search: Search,
    budget: Budget,
    progress: bool,
    nested: bool,
) -> None:
    """Cross-validate the candidates in turn, and note those that are left out."""
    with tqdm(total=len(tried), leave=False, disable=not progress, file=sys.stderr) as bar:
        for candidate in tried:
            bar.set_description(f"Trying {candidate.name}")
            try:
                budget.check()
                learner = build(candidate)
                longest = max((each.seconds for each in validation.outcomes), default=0.0)

                def reserved(seconds: float, longest: float = longest) -> float:
                    return (1 + CURVE_POINTS) * max(seconds, longest) + SECONDS_TO_WRITE

                validation.add(learner, reserved, nested)
            except OutOfTimeError as error:
                search.left_out[candidate.name] = str(error)
            except TypeError as error:  # prolip needs a projection, which a SigLIP does not have
                search.left_out[candidate.name] = str(error)
            bar.update()
            if validation.outcomes:
                best = validation.ranked()[0]
                bar.set_postfix_str(f"best: {best.candidate.name}, {best.accuracy:.1%}")


def _add_estimate(
    search: Search, validation: CrossValidation, learner: Learner, best: Outcome, budget: Budget, seed: int
) -> None:
    """Add the learning curve of the winner, and with it the estimate, to a search."""
    folds, labels = search.folds, validation.labels
    tested = folds >= 0
    in_folds = [float((folds != fold).sum()) / len(search.images.class_names) for fold in validation.numbers]
    sizes, correct = [float(np.mean(in_folds))], [best.outer[tested]]
    if best.candidate.arguments is not None:
        for size in _curve_sizes(sizes[0]):
            outer = np.full(len(labels), np.nan)
            used = []
            try:
                for fold in validation.numbers:
                    budget.check((1 + NUM_FOLDS) * best.seconds + SECONDS_TO_WRITE)
                    rows = _some_of_each_class(labels, np.flatnonzero(folds != fold), size, seed)
                    used.append(len(rows) / len(search.images.class_names))
                    learner.train(rows)
                    held_out = np.flatnonzero(folds == fold)
                    outer[held_out] = learner.scores(held_out).argmax(axis=-1) == labels[held_out]
            except OutOfTimeError as error:
                search.left_out[f"learning curve below {sizes[-1]:.3g} images per class"] = str(error)
                break
            sizes.append(float(np.mean(used)))
            correct.append(outer[tested])
    order = np.argsort(sizes)
    sizes = [sizes[place] for place in order]
    values = np.stack([correct[place] for place in order])
    search.curve = fit_curve(sizes, values.mean(axis=1).tolist())
    if len(sizes) > 1:
        now = search.per_class
        search.doubling = gain_interval(sizes, values, now, 2 * now, search.groups[tested], seed)
    gain = search.curve.gain(sizes[-1], search.per_class)
    search.estimate = estimate_accuracy(validation.nested(), search.groups, gain)


def _curve_sizes(largest: float) -> list[int]:
    """Return powers of two below the number of images per class in a fold, largest first."""
    powers = [2**exponent for exponent in range(20) if 2**exponent <= CURVE_SHARE * largest]
    return powers[::-1][:CURVE_POINTS]


def _some_of_each_class(labels: np.ndarray, rows: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Return at most `size` of the rows of each class, at random."""
    order = np.random.default_rng(seed).permutation(rows)
    kept = [own[:size] for label in np.unique(labels[rows]) for own in [order[labels[order] == label]]]
    return np.sort(np.concatenate(kept))
