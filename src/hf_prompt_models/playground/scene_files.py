"""Scenes written to disk as referring expressions: pictures, phrases and candidate boxes, in the files of RefCOCO."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from hf_prompt_models.utils.files import adding_files

from .scene_phrases import ATTRIBUTE_KINDS, Kind, Phrase, unique_phrases
from .scenes import MOST_OBJECTS, SCENE_SIZE, Scene, Split, draw_scene


_CHOICE_STREAM = 12  # grounding_pretraining.py has stream 11

KINDS: dict[str, tuple[Kind, ...]] = {
    "attributes": ATTRIBUTE_KINDS,
    "positions": ("position",),
    "colors": ("color",),
    "relations": ("relation",),
}


def draw_expression(
    split: Split,
    seed: int,
    index: int,
    kinds: tuple[Kind, ...] = ATTRIBUTE_KINDS,
    objects: int = MOST_OBJECTS,
    size: int = SCENE_SIZE,
) -> tuple[Scene, Phrase]:
    """A scene and one phrase that means exactly one of its objects.

    A kind is chosen first, each equally likely, then a phrase of that kind.

    Args:
        split, seed, objects, size: see `draw_scene`.
        index: which example of the stream. Scenes without a phrase of `kinds` are passed over.
        kinds: the kinds to choose from.
    """
    rng = np.random.default_rng((_CHOICE_STREAM, seed, index))
    # Each example has a hundred scenes of its own to find one in, so that no two share a scene.
    for number in range(100 * index, 100 * index + 100):
        scene = draw_scene(split, seed, number, objects, size)
        phrases = [phrase for phrase in unique_phrases(scene.objects) if phrase.kind in kinds]
        if phrases:
            kind = rng.choice(sorted({phrase.kind for phrase in phrases}))
            fitting = [phrase for phrase in phrases if phrase.kind == kind]
            return scene, fitting[rng.integers(len(fitting))]
    raise ValueError(f"Scenes of {objects} object(s) have no phrase of the kind {' or '.join(kinds)}.")


def write_scene_folder(
    output_dir: str | Path,
    *,
    seed: int,
    phrases: str = "attributes",
    train: int = 500,
    test: int = 1000,
    objects: int = MOST_OBJECTS,
    size: int = SCENE_SIZE,
) -> None:
    """Writes scenes to ground phrases in, `output_dir/{train,test}/{annotations.json,proposals.json,<number>.png}`.

    `annotations.json` is a list with one object a phrase: `id`, `file_name`, `caption`, `bbox` [x, y, width, height],
    `width`, `height`, and `kind`, what it takes to tell. `proposals.json` maps a file name to all objects' boxes,
    `[{"box": [x, y, width, height]}, …]`. The same arguments write the same bytes; fewer examples are the first of
    more examples.

    Args:
        output_dir: the folder to write; made where missing.
        seed: names the scenes; the splits of a seed share none, and none is in pre-training.
        phrases: "attributes" for phrases by shape and size, "positions" for those by the place in the picture,
            "colors" for those by the object's own colour, which a painted region hides in part, "relations" for those
            by a relation to another object.
        train, test: how many examples, each with a scene of its own.
        objects: in every scene.
        size: height and width in pixels.
    """
    counts: dict[Split, int] = {"train": train, "test": test}
    for split, count in counts.items():
        with adding_files(Path(output_dir) / split) as folder:
            annotations: list[dict[str, Any]] = []
            proposals: dict[str, list[dict[str, Any]]] = {}
            for index in range(count):
                scene, phrase = draw_expression(split, seed, index, KINDS[phrases], objects, size)
                name = f"{index:05d}.png"
                scene.image.save(folder / name)
                boxes = [_width_and_height(thing.box) for thing in scene.objects]
                proposals[name] = [{"box": box} for box in boxes]
                annotations.append(
                    {
                        "id": index,
                        "file_name": name,
                        "caption": phrase.text,
                        "bbox": boxes[phrase.target],
                        "width": size,
                        "height": size,
                        "kind": phrase.kind,
                    }
                )
            for file, content in (("annotations.json", annotations), ("proposals.json", proposals)):
                (folder / file).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _width_and_height(box: tuple[int, int, int, int]) -> list[int]:
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]
