"""Lists cannot reference files outside their folder."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hf_prompt_models.data.grounding.referring_expressions import read_annotations
from hf_prompt_models.data.text.captioned_videos import read_captioned_videos, read_video_questions
from hf_prompt_models.data.text.captions import read_captions
from hf_prompt_models.data.text.products import read_products
from hf_prompt_models.data.videos.labelled import read_labelled_videos
from tests.data.lists import write_image


NAME = "../outside/secret.png"
LISTS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "captions.jsonl": (json.dumps({"image": NAME, "caption": "a"}), read_captions),
    "captions.json": (json.dumps([{"image": NAME, "caption": "a"}]), read_captions),
    "products.jsonl": (json.dumps({"id": 1, "images": [NAME], "title": "a", "description": "b"}), read_products),
    "phrases.json": (json.dumps([{"file_name": NAME, "caption": "a", "bbox": [0, 0, 1, 1]}]), read_annotations),
    "videos.jsonl": (json.dumps({"video": NAME, "caption": "a"}), read_captioned_videos),
    "questions.jsonl": (json.dumps({"video": NAME, "question": "a", "answer": "b"}), read_video_questions),
    "labels.csv": (f"path,labels\n{NAME},run;jump", lambda path: read_labelled_videos(path, "train")),
    "train.txt": (
        f"{NAME} 1 0",
        lambda path: read_labelled_videos(path, "train", path.with_name("names.csv")),
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_path_that_climbs_out_of_the_folder_is_refused_by_its_place(name: str, tmp_path: Path) -> None:
    write_image(tmp_path / "outside" / "secret.png")
    content, read = LISTS[name]
    path = tmp_path / "inside" / name
    path.parent.mkdir()
    path.write_text(content)
    (path.parent / "names.csv").write_text("id,name\n0,run\n1,jump\n")
    with pytest.raises(ValueError, match=rf"{name}, (line|entry|item|row) [01]: {NAME!r} is not a path"):
        read(path)
