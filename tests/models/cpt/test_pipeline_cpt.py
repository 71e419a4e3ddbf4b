"""The pipeline "visual-grounding", and the plot of its answer."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessorPil, pipeline

from hf_prompt_models import CptForRegionClassification, CptForVisualGrounding, CptProcessor, VisualGroundingPipeline
from hf_prompt_models.models.cpt.visualization_cpt import BEST_COLOR, OTHER_COLOR, draw_grounding, ground_and_draw
from tests.models.cpt.scenes import random_boxes
from tests.programs import run_program
from tests.tested_method import random_image
from tests.vision_language_stand_ins import dandelin_vilt_b32_mlm


SIZE = (70, 50)
BOXES = random_boxes(5, SIZE)


@pytest.fixture(scope="module")
def folder(vilt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    saved = tmp_path_factory.mktemp("saved")
    CptForVisualGrounding.from_backbone(vilt).save_pretrained(saved)
    return saved


@pytest.fixture(scope="module")
def pipe(folder: Path) -> VisualGroundingPipeline:
    return pipeline("visual-grounding", model=str(folder))


def asked(**changes: Any) -> dict[str, Any]:
    return {"image": random_image(size=SIZE), "text": "the horse.", "boxes": BOXES, **changes}


def test_every_region_comes_back_once_best_first(pipe: VisualGroundingPipeline, folder: Path) -> None:
    answers = pipe(asked())
    model, processor = CptForVisualGrounding.from_pretrained(folder), CptProcessor.from_pretrained(folder)
    with torch.no_grad():
        chances = model(**processor(random_image(size=SIZE), "the horse", BOXES)).proposal_logits[0].softmax(0)
    order = chances.argsort(descending=True).tolist()
    assert [list(answer["box"].values()) for answer in answers] == [BOXES[place] for place in order]
    assert [answer["score"] for answer in answers] == pytest.approx(chances[order].tolist(), rel=1e-4, abs=1e-6)
    assert {answer["label"] for answer in answers} == {"the horse."}
    assert list(answers[0]) == ["score", "label", "box"]
    assert list(answers[0]["box"]) == ["xmin", "ymin", "xmax", "ymax"]
    json.dumps(answers)


def test_files_arrays_and_lists_of_inputs_are_taken(pipe: VisualGroundingPipeline, tmp_path: Path) -> None:
    answers = pipe(asked())
    random_image(size=SIZE).save(tmp_path / "photo.png")
    for image in (str(tmp_path / "photo.png"), tmp_path / "photo.png", np.asarray(random_image(size=SIZE))):
        assert pipe(asked(image=image)) == answers
    assert pipe([asked(), asked(boxes=BOXES[:2])]) == [answers, pipe(asked(boxes=BOXES[:2]))]


def test_boxes_are_cut_to_whole_pixels_of_the_image(pipe: VisualGroundingPipeline) -> None:
    (answer,) = pipe(asked(boxes=[[-0.5, 3.9, 70.9, 20.2]]))
    assert answer["score"] == 1.0
    assert list(answer["box"].values()) == [0, 3, 70, 20]


def test_masks_replace_boxes(pipe: VisualGroundingPipeline) -> None:
    mask = np.zeros((50, 70), dtype=bool)
    mask[10:20, 5:30] = True
    mask[15:40, 5:10] = True
    answers = pipe({"image": random_image(size=SIZE), "text": "the horse", "masks": [mask, ~mask]})
    assert sorted(list(answer["box"].values()) for answer in answers) == [[0, 0, 70, 50], [5, 10, 30, 40]]


def test_it_survives_saving_and_loading_with_the_backbone_gone(tmp_path: Path) -> None:
    backbone = dandelin_vilt_b32_mlm(tmp_path / "backbone")
    model = CptForVisualGrounding.from_backbone(backbone, score="logit")
    colors = [("yellow", (255, 255, 0)), ("blue", (0, 0, 255))]
    processor = CptProcessor.from_backbone(backbone, mode="multi_color", colors=colors, alpha=90)
    before = VisualGroundingPipeline(model=model, processor=processor)
    expected = before(asked())
    before.save_pretrained(tmp_path / "saved", save_backbone=True)
    shutil.rmtree(backbone)
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert "custom_pipelines" not in config
    assert "auto_map" not in config
    loaded = pipeline("visual-grounding", model=str(tmp_path / "saved"))
    assert loaded(asked()) == expected
    assert loaded.processor.colors == colors
    assert loaded.processor.alpha == 90
    loaded.save_pretrained(tmp_path / "again")
    assert pipeline("visual-grounding", model=str(tmp_path / "again"))(asked()) == expected


@pytest.mark.slow
def test_importing_the_package_is_enough_in_a_fresh_process(folder: Path, tmp_path: Path) -> None:
    random_image(size=SIZE).save(tmp_path / "photo.png")
    code = (
        "import json, hf_prompt_models; from transformers import pipeline; "
        f"pipe = pipeline('visual-grounding', model={str(folder)!r}); "
        f"print(json.dumps(pipe({{'image': 'photo.png', 'text': 'the horse', 'boxes': {BOXES}}})))"
    )
    done = run_program([sys.executable, "-W", "error", "-c", code], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 5


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"image": random_image(), "text": "the horse"}, "Boxes or masks are needed"),
        ({"image": random_image(), "text": "the horse", "boxes": []}, "no regions"),
        ({"image": random_image(), "boxes": [[0, 0, 9, 9]]}, "expects a dict such as"),
        ({"image": random_image(), "text": "a [MASK]", "boxes": [[0, 0, 9, 9]]}, "special token"),
        ({"image": random_image(), "text": "a", "boxes": [[0, 0, 9, 9]], "points": []}, "does not accept points"),
        ({"image": random_image(), "text": "a", "boxes": [[0, 0, 9, 9]], "masks": []}, "1 boxes, but 0 masks"),
        ({"image": "nowhere.jpg", "text": "a", "boxes": [[0, 0, 9, 9]]}, "nowhere.jpg"),
        ({"image": random_image(), "text": ["a", "b"], "boxes": [[0, 0, 9, 9]]}, "one phrase as text"),
        ("photo.jpg", "expects a dict such as"),
    ],
)
def test_bad_input_gets_a_clear_error(inputs: Any, message: str, pipe: VisualGroundingPipeline) -> None:
    with pytest.raises(ValueError, match=message):
        pipe(inputs)


def test_of_no_inputs_there_are_no_answers(pipe: VisualGroundingPipeline) -> None:
    assert pipe([]) == pipe(()) == []


def test_unknown_parameters_and_batches_are_refused(pipe: VisualGroundingPipeline) -> None:
    with pytest.raises(ValueError, match="does not accept boxes"):
        pipe(asked(), boxes=BOXES)
    with pytest.raises(ValueError, match="Leave batch_size at 1"):
        pipe([asked(), asked()], batch_size=2)


def test_a_model_for_another_task_is_refused(vilt: Path, tmp_path: Path) -> None:
    CptForRegionClassification.from_backbone(vilt, ["dog"]).save_pretrained(tmp_path)
    with pytest.raises(TypeError, match="needs a CptForVisualGrounding"):
        pipeline("visual-grounding", model=str(tmp_path))


# -- proposals -------------------------------------------------------------------------------------------------------


def test_a_detector_proposes_the_regions(pipe: VisualGroundingPipeline, tmp_path: Path) -> None:
    config = YolosConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[32, 32],
        num_detection_tokens=6,
        num_labels=3,
    )
    YolosForObjectDetection(config).save_pretrained(tmp_path)
    YolosImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 64}).save_pretrained(tmp_path)
    detector = pipeline("object-detection", model=str(tmp_path), threshold=0.0)
    image = random_image(size=SIZE)
    found = [list(answer["box"].values()) for answer in detector(image)]
    asked_for = {"image": image, "text": "the horse"}
    answers = pipe(asked_for, proposals=detector)
    assert answers == pipe({**asked_for, "boxes": found})
    with pytest.raises(ValueError, match="found no region"):  # by its name, at the detector's own threshold
        pipe(asked_for, proposals=str(tmp_path))


def test_a_mask_generator_proposes_the_regions(pipe: VisualGroundingPipeline) -> None:
    masks = torch.zeros(3, 50, 70, dtype=torch.bool)
    masks[0, 5:20, 5:20] = masks[1, 30:40, 50:60] = True
    answers = pipe(
        {"image": random_image(size=SIZE), "text": "the horse"}, proposals=lambda image: {"masks": list(masks)}
    )
    assert sorted(list(answer["box"].values()) for answer in answers) == [[5, 5, 20, 20], [50, 30, 60, 40]]


def test_proposals_of_a_model_that_proposes_none_are_refused(pipe: VisualGroundingPipeline, vilt: Path) -> None:
    with pytest.raises(ValueError, match="neither detects objects nor generates masks"):
        pipe({"image": random_image(size=SIZE), "text": "the horse"}, proposals=str(vilt))


# -- the plot of the answer ------------------------------------------------------------------------------------------


def test_the_answer_is_drawn_on_the_image(pipe: VisualGroundingPipeline, tmp_path: Path) -> None:
    random_image(size=(140, 100)).save(tmp_path / "photo.jpg")
    boxes = [[10, 60, 50, 90], [60, 40, 130, 95]]
    answers = ground_and_draw(pipe, tmp_path / "photo.jpg", "the horse", tmp_path / "out" / "answer.png", boxes=boxes)
    with Image.open(tmp_path / "out" / "answer.png") as drawn:
        pixels = np.asarray(drawn.convert("RGB"))
    assert pixels.shape[1] == 3 * 140  # three pixels for one make it larger than 320
    assert pixels.shape[0] > 3 * 100  # the caption is beneath
    assert (pixels[3 * 100 :] < 128).any()
    best, other = ([3 * side for side in answer["box"].values()] for answer in answers)
    assert tuple(pixels[best[3] - 1, best[0] + 5]) == BEST_COLOR
    assert tuple(pixels[other[3] - 1, other[0] + 5]) != BEST_COLOR
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["answer.png"]


def test_an_image_of_no_known_format_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not an image format"):
        ground_and_draw(None, "nowhere.jpg", "the horse", tmp_path / "answer.txt")  # type: ignore[arg-type]


def test_drawing_leaves_the_image_as_it_was() -> None:
    image = random_image(size=SIZE)
    box = {"xmin": 0, "ymin": 0, "xmax": 1, "ymax": 1}
    drawn = draw_grounding(image, [{"score": 0.5, "label": "ein Pferd – schön", "box": box}])
    assert np.array_equal(image, random_image(size=SIZE))
    assert not np.array_equal(drawn, image)


def test_the_caption_of_a_drawing_has_letters_of_other_scripts_and_a_legend() -> None:
    boxes = [{"xmin": 5 * side, "ymin": 5, "xmax": 5 * side + 4, "ymax": 9} for side in range(3)]
    answers = [{"score": 0.6 - 0.2 * place, "label": "конь слева", "box": box} for place, box in enumerate(boxes)]
    image = random_image(size=SIZE)
    drawn = draw_grounding(image, answers)
    factor = drawn.width // image.size[0]
    strip = np.asarray(drawn)[factor * image.size[1] :]
    for color in (BEST_COLOR, OTHER_COLOR):  # an edge of a legend's box, longer than any stroke of a letter
        assert (strip == color).all(axis=-1).sum(axis=1).max() > 10
    for answer in answers:
        answer["label"] = "конь справа"
    assert not np.array_equal(strip, np.asarray(draw_grounding(image, answers))[factor * image.size[1] :])
    alone = np.asarray(draw_grounding(image, answers[:1]))[factor * image.size[1] :]
    assert (alone == OTHER_COLOR).all(axis=-1).sum(axis=1).max() <= 10
