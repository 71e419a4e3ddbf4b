"""Relations between image regions, in the format of CPT's files for Visual Genome.

CPT's files are pickles, which are not supported; `read_relations` reads the same records as JSON. Source: thunlp/CPT,
prompt_feat/maskrcnn_benchmark/data/datasets/vgdataset.py.
"""

import os
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_prompt_models.utils.boxes import Box, box_iou
from hf_prompt_models.utils.files import read_json


MAX_BYTES = 2**30
NO_RELATION = 0
"""Index for the absence of a relation, which no predicate has."""


@dataclass(frozen=True)
class RelationVocabulary:
    """Names of object labels and predicates.

    Attributes:
        labels: names of object labels by index, counted from 1.
        predicates: names of predicates by index, counted from 1.

    Example:
        ```python
        >>> from hf_prompt_models.data import RelationVocabulary
        >>> vocabulary = RelationVocabulary(labels={1: "man", 2: "horse"}, predicates={1: "riding"})
        >>> vocabulary.predicates[1]
        'riding'

        ```
    """

    labels: dict[int, str]
    predicates: dict[int, str]


@dataclass(frozen=True)
class PictureRelations:
    """Objects in an image and the relations between them.

    Attributes:
        picture: image file.
        boxes: boxes (x1, y1, x2, y2) of the objects in pixels, both corners included.
        labels: label of each object, an index in the vocabulary.
        relations: (subject, object, predicate) triples of two indices in `boxes` and an index in the vocabulary.

    Example:
        ```python
        >>> from hf_prompt_models.data import PictureRelations
        >>> boxes = [(0, 0, 9, 9), (5, 5, 20, 20), (30, 0, 40, 9)]
        >>> image = PictureRelations("1.jpg", boxes, labels=[1, 2, 2], relations=[(0, 1, 1)])
        >>> image.overlapping_pairs()
        [(0, 1)]

        ```
    """

    picture: str
    boxes: list[Box]
    labels: list[int]
    relations: list[tuple[int, int, int]]

    def overlapping_pairs(self) -> list[tuple[int, int]]:
        """Return the pairs (i, j), i < j, of objects whose boxes share a pixel, which CPT evaluates."""
        if not self.boxes:
            return []
        overlaps = box_iou(self.boxes, self.boxes) > 0
        count = len(self.boxes)
        return [(i, j) for i in range(count) for j in range(i + 1, count) if overlaps[i, j]]


def read_relation_vocabulary(path: str | os.PathLike) -> RelationVocabulary:
    """Read the names of labels and predicates from a JSON file such as `VG-SGG-dicts-vgoi6-clipped.json`.

    Args:
        path: a JSON file with `idx_to_label` and `idx_to_predicate`.

    Raises:
        ValueError: if the file lacks these, or indices do not count from 1. The message names the file.

    Example:
        ```python
        >>> from pathlib import Path
        >>> from hf_prompt_models.data import read_relation_vocabulary
        >>> _ = Path("names.json").write_text('{"idx_to_label": {"1": "man"}, "idx_to_predicate": {"1": "riding"}}')
        >>> read_relation_vocabulary("names.json").labels
        {1: 'man'}

        ```
    """
    content = read_json(path, MAX_BYTES, "lists of relations")
    try:
        names = [
            {int(index): name for index, name in content[key].items()} for key in ("idx_to_label", "idx_to_predicate")
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} needs idx_to_label and idx_to_predicate of the form {{'1': name, …}}: {error!r}."
        ) from error
    for table in names:
        if sorted(table) != list(range(1, len(table) + 1)) or not all(isinstance(n, str) for n in table.values()):
            raise ValueError(f"{path}: expected indices that count from 1 without gaps, and names that are strings.")
    return RelationVocabulary(*(dict(sorted(table.items())) for table in names))


def read_relations(path: str | os.PathLike, vocabulary: RelationVocabulary) -> list[PictureRelations]:
    """Read the objects and relations of images from a JSON file.

    Args:
        path: a JSON file with a list of objects with `img_path`; `boxes`, [x1, y1, x2, y2] each, both corners
            included; `labels`; and `relations`, [subject, object, predicate] each.
        vocabulary: names of labels and predicates, which define the valid indices.

    Raises:
        ValueError: if the file is invalid. The message names the file and the image.

    Example:
        ```python
        >>> import json
        >>> from pathlib import Path
        >>> from hf_prompt_models.data import RelationVocabulary, read_relations
        >>> boxes = [[0, 0, 9, 9], [5, 5, 20, 20]]
        >>> rows = [{"img_path": "1.jpg", "boxes": boxes, "labels": [1, 2], "relations": [[0, 1, 1]]}]
        >>> _ = Path("relations.json").write_text(json.dumps(rows))
        >>> read_relations("relations.json", RelationVocabulary({1: "man", 2: "horse"}, {1: "riding"}))[0].relations
        [(0, 1, 1)]

        ```
    """
    path = Path(path)
    content = read_json(path, MAX_BYTES, "lists of relations")
    if not isinstance(content, list) or not content:
        raise ValueError(f"{path} is not a list of images with img_path, boxes, labels and relations.")
    return [_picture(path, place, entry, vocabulary) for place, entry in enumerate(content)]


def _picture(path: Path, place: int, entry: Any, vocabulary: RelationVocabulary) -> PictureRelations:
    match entry:
        case {"img_path": str(picture), "boxes": [*boxes], "labels": [*labels], "relations": [*relations]}:
            if (
                len(labels) == len(boxes)
                and all(_are_numbers(box, 4, (int, float)) and box[0] <= box[2] and box[1] <= box[3] for box in boxes)
                and all(type(label) is int and label in vocabulary.labels for label in labels)
                and all(_is_relation(relation, len(boxes), vocabulary) for relation in relations)
            ):
                return PictureRelations(picture, [tuple(box) for box in boxes], labels, [tuple(r) for r in relations])
    raise ValueError(
        f"{path}, image {place}: expected img_path, boxes [x1, y1, x2, y2], one label per box, and relations "
        f"[subject, object, predicate] between the boxes, with indices of the vocabulary; got {str(entry)[:120]}."
    )


def _is_relation(relation: Any, count: int, vocabulary: RelationVocabulary) -> bool:
    return (
        _are_numbers(relation, 3, (int,))
        and all(0 <= place < count for place in relation[:2])
        and relation[2] in vocabulary.predicates
    )


def _are_numbers(values: Any, count: int, kinds: tuple[type, ...]) -> bool:
    return isinstance(values, list) and len(values) == count and all(type(value) in kinds for value in values)


def draw_relations(pictures: Sequence[PictureRelations], shots: int, seed: int) -> list[tuple[int, int]]:
    """Sample `shots` relations of each predicate, or all relations of a predicate that occurs less often.

    Args:
        pictures: images with relations to sample from.
        shots: number of relations per predicate.
        seed: seed of the sample.

    Returns:
        (image, relation) pairs of an index in `pictures` and an index in its `relations`, predicate by predicate.

    Raises:
        ValueError: if `shots` is less than 1.

    Example:
        ```python
        >>> from hf_prompt_models.data import PictureRelations, draw_relations
        >>> boxes, relations = [(0, 0, 9, 9), (5, 5, 20, 20)], [(0, 1, 1), (1, 0, 2)]
        >>> images = [PictureRelations(f"{name}.jpg", boxes, [1, 2], relations) for name in range(8)]
        >>> sample = draw_relations(images, shots=2, seed=0)
        >>> len(sample), [images[image].relations[relation][2] for image, relation in sample]
        (4, [1, 1, 2, 2])

        ```
    """
    if shots < 1:
        raise ValueError(
            f"Expected at least 1 relation per predicate, got shots={shots}. Pass a positive number of shots."
        )
    by_predicate = defaultdict(list)
    for place, picture in enumerate(pictures):
        for number, (_, _, predicate) in enumerate(picture.relations):
            by_predicate[predicate].append((place, number))
    drawn = []
    for predicate, found in sorted(by_predicate.items()):
        random.Random(f"{seed}/{predicate}").shuffle(found)
        drawn += found[:shots]
    return drawn
