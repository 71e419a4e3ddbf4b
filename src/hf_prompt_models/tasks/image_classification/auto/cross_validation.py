"""Nested cross-validation of candidates, on features computed once and within a time budget."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from hf_prompt_models.tasks.image_classification.auto.budget import Budget
from hf_prompt_models.tasks.image_classification.auto.candidates import Candidate
from hf_prompt_models.tasks.image_classification.auto.learners import Learner


NUM_FOLDS = 5
CLEARLY_WORSE = 2.0
"""A candidate this many standard errors below the best one is not trained for the inner choices."""


@dataclass
class Outcome:
    """Whether the models of a candidate classify held-out images correctly.

    Attributes:
        candidate: The candidate.
        outer: (images,) 1 or 0, by the model that was trained without the image's fold; NaN if it is in no fold.
        inner: (folds, images) in row `o` the same, by models that were trained neither with the image's fold nor with
            fold `o`; NaN for the images of fold `o`. A row is NaN if the candidate was clearly worse.
        seconds: Mean time of a training.
    """

    candidate: Candidate
    outer: np.ndarray
    inner: np.ndarray
    seconds: float

    @property
    def accuracy(self) -> float:
        """Accuracy on held-out images."""
        return float(np.nanmean(self.outer))


class CrossValidation:
    """Nested cross-validation of one candidate after the other.

    For each pair of folds a model is trained without both. Its result on the one is part of the choice that is tested
    on the other, so that each choice is tested on images that it does not depend on. A candidate is not trained for
    the choices in which it is clearly worse than the best one on the images outside of the tested fold.

    Args:
        labels: Class index of each image.
        folds: Fold of each image, as `stratified_folds` returns them.
        budget: The time budget.
    """

    def __init__(self, labels: np.ndarray, folds: np.ndarray, budget: Budget):
        self.labels, self.folds, self.budget = labels, folds, budget
        self.numbers = [int(fold) for fold in np.unique(folds) if fold >= 0]
        self.outcomes: list[Outcome] = []

    @property
    def trainings(self) -> int:
        """Maximum number of trainings of a candidate."""
        return len(self.numbers) + len(list(combinations(self.numbers, 2)))

    def add(self, learner: Learner, reserved: Callable[[float], float], nested: bool = True) -> Outcome:
        """Cross-validate a candidate.

        Args:
            learner: The candidate with its model.
            reserved: Function from the seconds of a training to those that must be left afterwards.
            nested: Whether the candidate is also trained for the inner choices.

        Raises:
            OutOfTimeError: If it would not end in time. The candidate is then left out.
        """
        seconds: list[float] = []
        expected = learner.seconds_expected()

        def held_out(without: Sequence[int], tested: Sequence[int]) -> dict[int, np.ndarray]:
            began = time.monotonic()
            learner.train(np.flatnonzero(~np.isin(self.folds, without)))
            found = {}
            for fold in tested:
                rows = np.flatnonzero(self.folds == fold)
                found[fold] = learner.scores(rows).argmax(axis=-1) == self.labels[rows]
            seconds.append(time.monotonic() - began)
            return found

        outer = np.full(len(self.labels), np.nan)
        for done, fold in enumerate(self.numbers):
            mean = float(np.mean(seconds)) if seconds else expected
            self.budget.check((self.trainings - done) * mean + reserved(mean))
            outer[self.folds == fold] = held_out([fold], [fold])[fold]
        inner = np.full((len(self.numbers), len(self.labels)), np.nan)
        contends = [nested and self._contends(outer, fold) for fold in self.numbers]
        for (first, one), (second, other) in combinations(enumerate(self.numbers), 2):
            if contends[first] or contends[second]:
                self.budget.check(reserved(float(np.mean(seconds))))
                found = held_out([one, other], [one, other])
                inner[first, self.folds == other] = found[other]
                inner[second, self.folds == one] = found[one]
        for place, contending in enumerate(contends):
            if not contending:
                inner[place] = np.nan
        outcome = Outcome(learner.candidate, outer, inner, float(np.mean(seconds)))
        self.outcomes.append(outcome)
        return outcome

    def ranked(self) -> list[Outcome]:
        """Return the outcomes, best first; of equal ones the earlier, which is the simpler one."""
        return sorted(self.outcomes, key=lambda outcome: -outcome.accuracy)

    def chosen_without(self, place: int) -> Outcome:
        """Return the outcome of the candidate that is chosen without the images of a fold.

        Args:
            place: Index of the fold in `numbers`.
        """
        contending = [each for each in self.outcomes if not np.isnan(each.inner[place]).all()]
        return max(contending, key=lambda each: np.nanmean(each.inner[place]))

    def nested(self) -> np.ndarray:
        """Return whether each image is classified correctly by the candidate chosen without its fold, (images,)."""
        correct = np.full(len(self.labels), np.nan)
        for place, fold in enumerate(self.numbers):
            rows = self.folds == fold
            correct[rows] = self.chosen_without(place).outer[rows]
        return correct

    def _contends(self, outer: np.ndarray, fold: int) -> bool:
        """Return whether a candidate is not clearly worse than the best one on the images outside of a fold."""
        if not self.outcomes:
            return True
        rows = (self.folds != fold) & ~np.isnan(outer)
        best = max(self.outcomes, key=lambda each: each.outer[rows].mean()).outer[rows]
        return difference(outer[rows], best)[0] >= -CLEARLY_WORSE * max(difference(outer[rows], best)[1], 1e-9)


def difference(some: np.ndarray, others: np.ndarray) -> tuple[float, float]:
    """Return the difference of two accuracies on the same images, and its standard error.

    Args:
        some: (images,) 1 or 0, or NaN for images that were not tested.
        others: The same.
    """
    values = (some - others)[~np.isnan(some - others)]
    return float(values.mean()), float(values.std() / max(len(values) - 1, 1) ** 0.5)
