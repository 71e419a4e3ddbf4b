"""CPT over Oscar: its scores are those of Oscar for the features of each painted copy."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hf_prompt_models import CptForVisualGrounding, CptProcessor, OscarForMaskedLM
from tests.models.cpt.oscar import REGION_SIZE, write_backbone
from tests.tested_method import random_image


BOXES = [[0, 0, 20, 20], [5, 5, 40, 30], [30, 10, 50, 39]]
TAGS = ["horse", "dog", "cat"]


def features(picture: Image.Image, boxes: list) -> np.ndarray:
    """Of the painted pixels: mean and deviation of the colours in each box, and the box."""
    pixels = np.asarray(picture, dtype=np.float32) / 255
    rows = []
    for x1, y1, x2, y2 in boxes:
        part = pixels[y1:y2, x1:x2].reshape(-1, 3)
        rows.append([*part.mean(0), *part.std(0), x1 / 60, y1 / 40, x2 / 60, y2 / 40])
    return np.array(rows, dtype=np.float32)


@torch.no_grad()
def test_scores_are_oscars_logits_of_each_painted_copy(tmp_path: Path) -> None:
    write_backbone(tmp_path)
    processor = CptProcessor.from_backbone(tmp_path)
    model = CptForVisualGrounding.from_backbone(tmp_path, score="logit").eval()
    inputs = processor(
        images=random_image(size=(60, 40)), text="the horse", boxes=BOXES, tags=TAGS, region_features=features
    )
    assert inputs["region_features"].shape == (1, 3, 3, REGION_SIZE)
    oscar = OscarForMaskedLM.from_pretrained(tmp_path).eval()
    red = processor.tokenizer.convert_tokens_to_ids("red")
    expected = []
    for number in range(3):
        tags = " ".join(f"red {tag}" if place == number else tag for place, tag in enumerate(TAGS))
        tokens = processor.tokenizer("the horse is in [MASK] color.", tags, return_tensors="pt")
        logits = oscar(**tokens, region_features=inputs["region_features"][0, number][None]).logits[0]
        (blank,) = (tokens["input_ids"][0] == processor.tokenizer.mask_token_id).nonzero()
        expected.append(logits[blank.item(), red])
    torch.testing.assert_close(model(**inputs).proposal_logits[0], torch.stack(expected), rtol=0, atol=1e-5)


@torch.no_grad()
def test_it_loads_with_the_backbone_gone(tmp_path: Path) -> None:
    write_backbone(tmp_path / "backbone")
    model = CptForVisualGrounding.from_backbone(tmp_path / "backbone").eval()
    model.save_pretrained(tmp_path / "saved", save_backbone=True)
    (tmp_path / "backbone").rename(tmp_path / "gone")
    inputs = model.processor(
        images=random_image(size=(60, 40)), text="the horse", boxes=BOXES, region_features=features
    )
    loaded = CptForVisualGrounding.from_pretrained(tmp_path / "saved")
    expected = model(**inputs).proposal_logits
    torch.testing.assert_close(loaded(**inputs).proposal_logits, expected, rtol=0, atol=1e-6)
    again = CptProcessor.from_pretrained(tmp_path / "saved")
    assert again.colors == model.processor.colors
