"""Candidates that are trained again and again on parts of the images."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hf_prompt_models.data import read_labelled_images
from hf_prompt_models.models import recipe_of
from hf_prompt_models.tasks.image_classification.auto.budget import Budget, OutOfTimeError
from hf_prompt_models.tasks.image_classification.auto.candidates import (
    COOP,
    KINDS,
    VIEWS,
    ZERO_SHOT,
    Candidate,
    Prompts,
    adapter,
    candidates,
    published_ensembles,
)
from hf_prompt_models.tasks.image_classification.auto.learners import Features, Learner
from tests.pictures import write_pictures


PROMPTS = Prompts("default prompt", ["a photo of a {}."])


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Features:
    directory = write_pictures(tmp_path_factory.mktemp("data") / "train", dict.fromkeys(("boat", "cup", "fish"), 3))
    processor = recipe_of("feature_adapter").build_processor("playground")
    images = read_labelled_images(str(directory))
    return Features(images, processor, "off", 0, Budget(60, time.monotonic()), progress=False)


def test_each_kind_is_a_candidate_and_no_name_repeats() -> None:
    found = list(candidates(PROMPTS, published_ensembles({"boat": ["a boat."]})))
    assert {each.kind for each in found} == set(KINDS)
    assert len({each.name for each in found}) == len(found)
    assert found[0].method == ZERO_SHOT  # of equally accurate candidates the first is chosen


@pytest.mark.parametrize("kind", ["clap", "lp++", "tip_adapter_f", "taskres"])
def test_a_learner_forgets_what_it_was_trained_on_before(features: Features, kind: str) -> None:
    learner = Learner(adapter(kind, PROMPTS), "playground", features)
    rows = np.array([0, 1, 3, 4, 6, 7])
    learner.train(rows)
    first = learner.scores(np.arange(9))
    learner.train(np.arange(9))
    assert not np.allclose(learner.scores(np.arange(9)), first)
    learner.train(rows)
    np.testing.assert_array_equal(learner.scores(np.arange(9)), first)


def test_a_prompt_starts_over_and_its_time_is_measured_on_a_few_steps(features: Features) -> None:
    arguments = recipe_of(COOP).arguments_class(augmented_views=0, n_ctx=1)
    learner = Learner(Candidate(COOP, PROMPTS, arguments), "playground", features)
    start = learner.model.prompt_learner.context.detach().clone()
    assert learner.seconds_expected() > 0
    learner._train_prompt(features.of(learner.model), features.labels, 2)
    after_two = learner.model.prompt_learner.context.detach().clone()
    assert not torch.equal(after_two, start)
    assert learner._train_prompt(features.of(learner.model), features.labels, 2) == 100  # epochs of one step
    torch.testing.assert_close(learner.model.prompt_learner.context.detach(), after_two)


def test_a_class_without_images_is_represented_by_its_text(features: Features) -> None:
    learner = Learner(adapter("tip_adapter", PROMPTS), "playground", features)
    learner.train(np.array([0, 1, 3]))
    keys, text = learner.model.adapter.keys, F.normalize(learner.model.text_base(), dim=-1)
    assert learner.model.config.key_labels == [0, 0, 1, 2]
    torch.testing.assert_close(keys[3], text[2])
    without = Learner(adapter("prolip", PROMPTS), "playground", features)
    without.train(np.array([0, 1, 3]))  # its head is shared by all classes, so that none has to be represented
    assert without.scores(np.arange(9)).shape == (9, 3)


def test_crops_are_encoded_once_for_all_candidates(features: Features) -> None:
    one, other = (Learner(adapter(kind, PROMPTS, VIEWS), "playground", features) for kind in ("clap", "linear"))
    area = one.candidate.arguments.min_crop_area
    assert features.of(one.model, VIEWS, area) is features.of(other.model, VIEWS, area)
    assert features.of(one.model, VIEWS, area).shape == (VIEWS, 9, 64)
    assert features.of(one.model)[0].shape == (9, 64)


def test_features_end_with_the_time(features: Features, tmp_path: Path) -> None:
    over = Features(features.images, features.processor, str(tmp_path), 0, Budget(1, time.monotonic() - 2), False)
    with pytest.raises(OutOfTimeError, match="of which 0 s were left"):
        Learner(Candidate(ZERO_SHOT, PROMPTS), "playground", over)
