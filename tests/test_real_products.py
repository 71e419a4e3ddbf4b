"""Real products and a language model trained on short stories, where they are available next to the project."""

import json
import runpy
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
SHARED = Path(__file__).parents[2] / "shared"
PHOTOS, CLIP = SHARED / "data" / "grocery", SHARED / "models" / "clip-photos-tiny"
STORIES = SHARED / "models" / "stories260k"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not STORIES.is_dir(), reason="needs photos and models that are not part of the project"),
]


def write_products(path: Path, split: str, count: int) -> None:
    """The first photos of each product in shops, with its title and description."""
    lines = (PHOTOS / "products.jsonl").read_text(encoding="utf-8").splitlines()
    rows = []
    for product in map(json.loads, lines):
        folder = PHOTOS / split / Path(product["image"]).stem
        for photo in sorted(folder.iterdir())[:count]:
            rows.append(product | {"image": str(photo.resolve())})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_a_seeing_model_describes_new_photos_better_than_a_blind_one(tmp_path: Path) -> None:
    """Only the image is given. The model was trained on other photos of each product."""
    write_products(tmp_path / "train.jsonl", "train", 12)
    write_products(tmp_path / "test.jsonl", "test", 1)
    train = runpy.run_path(str(ROOT / "scripts" / "train.py"))["main"]
    settings = {
        "--language_model": STORIES,
        "--vision_model": CLIP,
        "--train_file": tmp_path / "train.jsonl",
        "--test_file": tmp_path / "test.jsonl",
        "--validation_fraction": 0,
        "--condition_on": "images",
        "--freeze_vision": "true",
        "--learning_rate": 2e-3,
        "--max_steps": 120,
        "--max_new_tokens": 120,
        "--num_beams": 1,
        "--disable_tqdm": "true",
    }
    scores = {}
    for blind in ("true", "false"):
        output = ["--blind", blind, "--output_dir", str(tmp_path / blind)]
        train(["mantis", *(str(part) for item in settings.items() for part in item), *output])
        results = json.loads((tmp_path / blind / "results.json").read_text())
        scores[blind] = results["metrics"]["cider_d"]["mean"]
    assert scores["false"] > 2 * scores["true"]
    assert scores["false"] > 0.1
