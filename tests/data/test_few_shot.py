"""K-shot sampling."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_prompt_models.data.few_shot import (
    few_shot_order,
    read_few_shot_sample,
    sample_few_shot,
    write_few_shot_sample,
)
from hf_prompt_models.data.images.labelled import LabelledImages, read_labelled_images
from hf_prompt_models.data.images.loading import UnreadableImageError
from tests.pictures import write_pictures


def images_of(counts: list[int], directory: Path) -> LabelledImages:
    return read_labelled_images(write_pictures(directory, {f"class{i}": n for i, n in enumerate(counts)}), "train")


@given(
    counts=st.lists(st.integers(1, 8), min_size=1, max_size=5),
    seed=st.integers(0, 1000),
    shuffle=st.randoms(use_true_random=False),
)
def test_the_order_is_a_permutation_that_files_order_and_other_classes_do_not_change(
    counts: list[int], seed: int, shuffle: random.Random
) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    names = [f"{label}/{index}" for index, label in enumerate(labels)]
    order = few_shot_order(labels, names, seed)
    assert {label: sorted(indices) for label, indices in order.items()} == {
        label: [i for i, other in enumerate(labels) if other == label] for label in range(len(counts))
    }
    # Listed in another order, as another machine's file system might: the same images by name.
    places = list(range(len(labels)))
    shuffle.shuffle(places)
    shuffled = few_shot_order([labels[p] for p in places], [names[p] for p in places], seed)
    by_name = {label: [names[places[i]] for i in indices] for label, indices in shuffled.items()}
    assert by_name == {label: [names[i] for i in indices] for label, indices in order.items()}
    # Without the last class: the others' order stays.
    fewer = [i for i, label in enumerate(labels) if label < len(counts) - 1]
    assert few_shot_order([labels[i] for i in fewer], [names[i] for i in fewer], seed) == {
        label: indices for label, indices in order.items() if label < len(counts) - 1
    }


def test_a_sample_has_k_distinct_images_a_class_and_holds_the_smaller_ones(tmp_path: Path) -> None:
    images = images_of([6, 5, 9], tmp_path)
    smaller: set[int] = set()
    for shots in (1, 2, 5):
        sample = sample_few_shot(images, shots, seed=3)
        assert [images.labels[i] for i in sample] == [0] * shots + [1] * shots + [2] * shots
        assert len(set(sample)) == 3 * shots
        assert smaller <= set(sample)
        smaller = set(sample)
    assert sample_few_shot(images, 2, seed=3) == sample_few_shot(images, 2, seed=3)
    assert len({tuple(sample_few_shot(images, 2, seed=seed)) for seed in range(10)}) > 5


def test_too_few_images_are_refused_with_classes_and_counts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"2 class\(es\).*fewer than 4 images: class0 \(3\), class2 \(1\)"):
        sample_few_shot(images_of([3, 4, 1], tmp_path), 4, seed=1)
    with pytest.raises(ValueError, match=r"use fewer shots. Another 3 images are held out for testing.$"):
        sample_few_shot(images_of([3, 4, 1], tmp_path / "held-out"), 4, seed=1, held_out=3)
    with pytest.raises(ValueError, match=r"at least 1 image .* got shots=0"):
        sample_few_shot(images_of([3, 4], tmp_path / "other"), 0, seed=1)


def test_an_unreadable_image_is_refused_or_replaced_by_the_next(tmp_path: Path) -> None:
    images = images_of([4, 4], tmp_path)
    first, second = sample_few_shot(images, 2, seed=0)[:2]
    third = sample_few_shot(images, 3, seed=0)[2]
    (tmp_path / images.names[first]).write_bytes(b"broken")
    with pytest.raises(UnreadableImageError, match=images.names[first]):
        sample_few_shot(images, 2, seed=0)
    assert sample_few_shot(images, 2, seed=0, on_unreadable="skip")[:2] == [second, third]
    with pytest.raises(ValueError, match=r"class0 \(3\)"):
        sample_few_shot(images, 4, seed=0, on_unreadable="skip")


def test_a_written_sample_is_read_back_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    images = images_of([4, 4], tmp_path / "data")
    sample = sample_few_shot(images, 2, seed=5)
    write_few_shot_sample(tmp_path / "run" / "few_shot.json", images, sample, shots=2, seed=5)
    assert read_few_shot_sample(tmp_path / "run" / "few_shot.json", images) == sample
    (tmp_path / "data" / images.names[sample[0]]).unlink()
    with pytest.raises(ValueError, match=rf"lacks 1 image.*{images.names[sample[0]]}"):
        read_few_shot_sample(tmp_path / "run" / "few_shot.json", read_labelled_images(tmp_path / "data", "train"))
    with pytest.raises(ValueError, match="classes"):
        read_few_shot_sample(tmp_path / "run" / "few_shot.json", images_of([2, 2, 2], tmp_path / "other"))
    (tmp_path / "broken.json").write_text('{"classes": 3')
    with pytest.raises(ValueError, match=r"broken\.json cannot be read as JSON"):
        read_few_shot_sample(tmp_path / "broken.json", images)


@pytest.mark.parametrize(
    "changes",
    [
        {"shots": float("inf")},
        {"classes": [{"class": "class0", "images": 1.5}]},
        {"classes": [{"class": "class0", "images": [{}]}]},
        {"classes": [{"class": ["class0"], "images": []}]},
    ],
)
def test_a_sample_of_other_types_is_refused_by_name(changes: dict[str, Any], tmp_path: Path) -> None:
    sample = {"shots": 1, "classes": [{"class": "class0", "images": ["a.png"]}]} | changes
    (tmp_path / "few_shot.json").write_text(json.dumps(sample))
    with pytest.raises(ValueError, match=r"few_shot\.json is not a few-shot sample"):
        read_few_shot_sample(tmp_path / "few_shot.json", images_of([1, 1], tmp_path / "data"))
