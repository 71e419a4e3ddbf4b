"""Nested cross-validation of candidates, compared with explicit loops."""

import hashlib
import time
from typing import Any

import numpy as np
import pytest

from hf_prompt_models.tasks.image_classification.auto.budget import Budget, OutOfTimeError
from hf_prompt_models.tasks.image_classification.auto.cross_validation import (
    CrossValidation,
    difference,
)
from hf_prompt_models.utils.folds import stratified_folds


LABELS = np.repeat(np.arange(4), 10)
FOLDS = stratified_folds(LABELS, 5, seed=0)


class Guessing:
    """Learner whose predictions depend on the images that it was trained on, and are right with a probability."""

    def __init__(self, number: int, skill: float = 0.3, pause: float = 0.0):
        self.candidate: Any = f"candidate {number}"
        self.number, self.skill, self.pause = number, skill, pause
        self.trainings = 0

    def seconds_expected(self) -> float:
        return self.pause

    def train(self, rows: np.ndarray) -> None:
        self.trainings += 1
        time.sleep(self.pause)
        digest = hashlib.sha256(f"{self.number} {sorted(rows.tolist())}".encode()).digest()
        rng = np.random.default_rng(list(digest))
        wrong = (LABELS + rng.integers(1, 4, len(LABELS))) % 4
        self.predictions = np.where(rng.random(len(LABELS)) < self.skill, LABELS, wrong)

    def scores(self, rows: np.ndarray) -> np.ndarray:
        return np.eye(4)[self.predictions[rows]]

    def correct_without(self, folds: list[int], tested: int) -> np.ndarray:
        self.train(np.flatnonzero(~np.isin(FOLDS, folds)))
        return (self.predictions == LABELS)[tested == FOLDS]


def long(seconds: float = 60.0) -> Budget:
    return Budget(seconds, time.monotonic())


def validated(learners: list[Any], labels: np.ndarray = LABELS, folds: np.ndarray = FOLDS) -> CrossValidation:
    validation = CrossValidation(labels, folds, long())
    for learner in learners:
        validation.add(learner, lambda seconds: 0.0)
    return validation


def test_the_nested_result_is_that_of_explicit_loops() -> None:
    learners = [Guessing(number) for number in range(6)]
    expected = np.full(len(LABELS), np.nan)
    for outer in range(5):
        inner = range(5)
        means = [
            np.mean(np.concatenate([each.correct_without([outer, fold], fold) for fold in inner if fold != outer]))
            for each in learners
        ]
        expected[outer == FOLDS] = learners[int(np.argmax(means))].correct_without([outer], outer)
    validation = validated([Guessing(number) for number in range(6)])
    assert validation.nested().tolist() == expected.tolist()
    plain = [np.concatenate([each.correct_without([fold], fold) for fold in range(5)]).mean() for each in learners]
    assert [outcome.accuracy for outcome in validation.ranked()] == pytest.approx(sorted(plain, reverse=True))


def test_choosing_among_many_guesses_does_not_raise_the_nested_result() -> None:
    best, nested = [], []
    for repetition in range(8):
        validation = validated([Guessing(100 * repetition + number, skill=0.25) for number in range(25)])
        best.append(validation.ranked()[0].accuracy)
        nested.append(validation.nested().mean())
    assert np.mean(best) > 0.37
    assert np.mean(nested) == pytest.approx(0.25, abs=0.06)  # of 320 guesses: 2.5 standard errors


def test_a_clearly_worse_candidate_is_trained_once_per_fold_only() -> None:
    good, bad, similar = Guessing(0, skill=0.95), Guessing(1, skill=0.2), Guessing(2, skill=0.95)
    validation = validated([good, bad, similar])
    assert [good.trainings, bad.trainings, similar.trainings] == [15, 5, 15]
    assert np.isnan(validation.outcomes[1].inner).all()
    assert all(validation.chosen_without(place).candidate != bad.candidate for place in range(5))


def test_a_candidate_that_does_not_fit_is_left_out_after_its_first_training_at_most() -> None:
    validation = CrossValidation(LABELS, FOLDS, long(0.5))
    expected, measured = Guessing(0, pause=0.2), Guessing(1, pause=0.2)
    measured.seconds_expected = lambda: 0.0  # type: ignore[method-assign]
    for learner, trainings in ((expected, 0), (measured, 1)):
        with pytest.raises(OutOfTimeError, match=r"needs about 3 s more, of which 0 s were left"):
            validation.add(learner, lambda seconds: 0.0)  # type: ignore[arg-type]
        assert learner.trainings == trainings
    assert validation.outcomes == []


def test_images_outside_of_all_folds_are_trained_on_but_not_counted() -> None:
    labels = np.append(LABELS, 0)
    folds = np.append(FOLDS, -1)
    seen = []

    class Recording(Guessing):
        def train(self, rows: np.ndarray) -> None:
            seen.append(40 in rows)
            super().train(rows[rows < 40])

    validation = validated([Recording(0)], labels, folds)
    assert all(seen)
    assert np.isnan(validation.nested()).tolist() == [False] * 40 + [True]


def test_the_difference_is_paired() -> None:
    some, others = np.array([1.0, 1, 0, 1, np.nan]), np.array([1.0, 0, 0, 1, 1])
    mean, error = difference(some, others)
    assert mean == 0.25
    assert error == pytest.approx(np.std([0, 1, 0, 0], ddof=1) / 2)
