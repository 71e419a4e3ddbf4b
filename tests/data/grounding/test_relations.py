"""Relations of images are read and sampled, and touching pairs are found."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hf_prompt_models.data.grounding.relations import (
    PictureRelations,
    RelationVocabulary,
    draw_relations,
    read_relation_vocabulary,
    read_relations,
)


VOCABULARY = RelationVocabulary({1: "man", 2: "horse"}, {1: "riding", 2: "near"})
PICTURE: dict[str, Any] = {
    "img_path": "1.jpg",
    "boxes": [[0, 0, 9, 9], [9, 9, 20, 20], [10, 0, 12, 3]],
    "labels": [1, 2, 1],
    "relations": [[0, 1, 1], [2, 1, 2]],
}


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_images_and_vocabulary_are_read(tmp_path: Path) -> None:
    names = {"idx_to_label": {"2": "horse", "1": "man"}, "idx_to_predicate": {"1": "riding", "2": "near"}}
    assert read_relation_vocabulary(written(tmp_path / "v.json", names)) == VOCABULARY
    (picture,) = read_relations(written(tmp_path / "r.json", [PICTURE]), VOCABULARY)
    assert picture.boxes == [(0, 0, 9, 9), (9, 9, 20, 20), (10, 0, 12, 3)]
    assert picture.relations == [(0, 1, 1), (2, 1, 2)]
    assert picture.overlapping_pairs() == [(0, 1)]


@pytest.mark.parametrize(
    "change",
    [
        {"labels": [1, 2]},
        {"labels": [1, 2, 3]},
        {"relations": [[0, 3, 1]]},
        {"relations": [[0, 1, 0]]},
        {"relations": [[0, 1]]},
        {"relations": [[-1, 1, 1]]},
        {"boxes": [[0, 0, 9, 9], [9, 9, 20, 20], [10, 0, 9, 3]]},
        {"img_path": None},
    ],
)
def test_wrong_images_are_refused_by_place(change: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"r\.json, image 1: expected"):
        read_relations(written(tmp_path / "r.json", [PICTURE, {**PICTURE, **change}]), VOCABULARY)


@pytest.mark.parametrize("names", [[], {"idx_to_label": {"0": "a"}, "idx_to_predicate": {}}, {"idx_to_label": {}}])
def test_wrong_vocabularies_are_refused(names: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"v\.json"):
        read_relation_vocabulary(written(tmp_path / "v.json", names))


def test_draws_have_so_many_of_each_predicate_and_smaller_ones_are_part_of_larger() -> None:
    relations = [(0, 1, 1 + (place % 5 == 0)) for place in range(10)]
    pictures = [PictureRelations(str(n), [(0, 0, 1, 1)] * 2, [1, 1], relations) for n in range(3)]
    drawn = draw_relations(pictures, 4, seed=0)
    assert Counter(pictures[place].relations[number][2] for place, number in drawn) == {1: 4, 2: 4}
    assert set(draw_relations(pictures, 2, seed=0)) < set(drawn)
    assert draw_relations(pictures, 4, seed=1) != drawn
    assert len(draw_relations(pictures, 100, seed=0)) == 30
