"""The visual grounding demo, without a browser."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import AutoModel, AutoProcessor

from hf_prompt_models import CptForVisualGrounding, CptProcessor, VisualGroundingPipeline
from hf_prompt_models.app import Options, build
from hf_prompt_models.app import visual_grounding as page
from hf_prompt_models.app.components.drawn_boxes import draw_boxes, write_boxes
from hf_prompt_models.app.grounder import Grounder
from hf_prompt_models.models.cpt.visualization_cpt import show_copies
from hf_prompt_models.playground import CLIP_DIR
from hf_prompt_models.playground.scenes import draw_expression
from hf_prompt_models.prompts.colors import paint_regions
from tests.app import page_models


CPU = Options(device="cpu")
SCENE, PHRASE = draw_expression("test", 3, 0)
BOXES = [thing.box for thing in SCENE.objects]
TEXT = write_boxes(BOXES)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_models.grounding(tmp_path_factory.mktemp("grounding"))


@pytest.fixture(scope="module")
def grounder(model_dir: Path) -> Grounder:
    return Grounder(model_dir, CPU)


def answer(grounder: Grounder, picture: Any, text: str, phrase: str, proposal: Any = None) -> tuple[Any, ...]:
    return page.answer(grounder, picture, text, phrase, proposal)


# -- the answer ------------------------------------------------------------------------------------------------------


def test_the_answer_is_the_pipelines(model_dir: Path, grounder: Grounder) -> None:
    pipe = VisualGroundingPipeline(
        model=AutoModel.from_pretrained(model_dir), processor=AutoProcessor.from_pretrained(model_dir)
    )
    expected = pipe({"image": SCENE.image, "text": PHRASE.text, "boxes": BOXES})
    grounded = grounder.ground(SCENE.image, PHRASE.text, BOXES)
    assert grounded.scores == pytest.approx([each["score"] for each in expected], abs=1e-5)
    assert [list(BOXES[number]) for number in grounded.order] == [list(each["box"].values()) for each in expected]


def test_words_drawing_and_bars_name_the_same_region(grounder: Grounder) -> None:
    words, drawn, scores, _ = answer(grounder, SCENE.image, TEXT, f"  {PHRASE.text} ")
    best = PHRASE.target  # which the model finds in this scene
    assert f"<strong>{PHRASE.text}</strong> is region <strong>{best + 1}</strong> of {len(BOXES)}" in words
    assert drawn["value"].tobytes() == draw_boxes(SCENE.image, BOXES, best=best).tobytes()
    shown = re.findall(r"Region (\d+)", scores)
    assert shown[0] == str(best + 1)
    assert sorted(shown) == [str(number + 1) for number in range(len(BOXES))]


def test_the_prompt_shows_the_sentence_with_its_blank_filled_and_each_painted_copy(grounder: Grounder) -> None:
    *_, prompt = answer(grounder, SCENE.image, TEXT, PHRASE.text)
    assert f"{PHRASE.text} is in [MASK] color." in prompt
    assert f"{PHRASE.text} is in <strong>red</strong> color." in prompt
    assert prompt.count("<img") == len(BOXES)
    assert "<span>2 red</span>" in prompt


def test_copies_are_shown_as_the_model_reads_them(grounder: Grounder) -> None:
    copies = show_copies(grounder.processor, SCENE.image, PHRASE.text, BOXES)
    red = grounder.processor.colors[0][1]
    for number, (copy, box) in enumerate(zip(copies, BOXES, strict=True)):
        assert copy.marks == {number: "red"}
        assert copy.image.tobytes() == paint_regions(SCENE.image, [box], [red]).tobytes()


def test_of_several_colors_in_a_copy_each_region_has_its_own() -> None:
    processor = CptProcessor.from_backbone(page_models.VILT_DIR, mode="multi_color")
    (copy,) = show_copies(processor, SCENE.image, PHRASE.text, BOXES[:3])
    assert copy.marks == {0: "red", 1: "purple", 2: "yellow"}


def test_other_marks_than_colors_are_named_and_leave_no_blank(tmp_path: Path) -> None:
    model = CptForVisualGrounding.from_backbone(CLIP_DIR, score="logit")
    model.processor = CptProcessor.from_backbone(CLIP_DIR, mode=["circle", "crop"])
    model.save_pretrained(tmp_path, save_backbone=True)
    *_, prompt = answer(Grounder(tmp_path, CPU), SCENE.image, TEXT, "a star")
    assert "Its prompt: “a photo of a star”" in prompt
    assert "With the answer filled in" not in prompt
    assert prompt.count("circle") == prompt.count("crop") == len(BOXES)


def test_what_is_typed_is_no_markup(grounder: Grounder) -> None:
    words, _, _, prompt = answer(grounder, SCENE.image, TEXT, "<b>ring</b>")
    assert "<b>" not in words + prompt


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("picture", "text", "phrase", "words"),
    [
        (None, TEXT, "the ring", "There is no image"),
        (SCENE.image, " \n", "the ring", "There are no boxes to choose from. Click two opposite corners"),
        (SCENE.image, "500 500 600 600", "the ring", "Line 1 of the boxes, 500 500 600 600, does not overlap"),
        (SCENE.image, TEXT, "  ", "The phrase is empty"),
        (SCENE.image, TEXT, "...", "Phrase 0 is empty"),
        (SCENE.image, TEXT, "the [MASK]", "special token"),
        (SCENE.image, TEXT, "the ring " * 40, r"is too long: it has \d+ tokens, but the model has 40"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_words(
    grounder: Grounder, picture: Any, text: str, phrase: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        answer(grounder, picture, text, phrase)


def test_a_broken_file_is_named_and_nothing_of_the_earlier_image_stays(tmp_path: Path) -> None:
    SCENE.image.save(tmp_path / "scene.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "scene.png").read_bytes()[:400])
    picture, view, text, corner, proposal, canvas, *_ = page.take(str(tmp_path / "scene.png"))
    assert picture.size == SCENE.image.size
    assert (text, corner, proposal, canvas["visible"]) == ("", None, None, True)
    assert view.size == draw_boxes(SCENE.image, []).size
    picture, view, *_, problem = page.take(str(tmp_path / "torn.png"))
    assert (picture, view) == (None, None)
    assert "torn.png cannot be read as an image" in problem
    assert str(tmp_path) not in problem


# -- drawing ---------------------------------------------------------------------------------------------------------


def test_two_clicks_make_a_box_in_the_images_pixels_whichever_corner_comes_first() -> None:
    picture = Image.new("RGB", (48, 48))  # ten times as large on the page
    text, corner, _ = page.click(picture, "1 2 3 4", None, (402, 98))
    assert (text, corner) == ("1 2 3 4", (40, 10))
    text, corner, _ = page.click(picture, text, corner, (101, 300))
    assert (text, corner) == ("1 2 3 4\n10 10 40 30", None)


def test_two_clicks_on_one_line_are_no_box() -> None:
    text, corner, _, problem = page.click(Image.new("RGB", (48, 48)), "", (10, 10), (103, 400))
    assert (text, corner) == ("", None)
    assert "do not form a box" in problem


def test_undo_takes_the_first_corner_back_or_else_the_last_box() -> None:
    picture = Image.new("RGB", (48, 48))
    assert page.undo(picture, "1 2 3 4\n5 6 7 8", (3, 3))[:2] == ("1 2 3 4\n5 6 7 8", None)
    assert page.undo(picture, "1 2 3 4\n5 6 7 8", None)[:2] == ("1 2 3 4", None)
    assert page.undo(None, "", None)[:2] == ("", None)
    assert page.clear(picture)[:2] == ("", None)


def test_while_a_line_is_typed_the_others_are_drawn() -> None:
    drawn = page.redraw(SCENE.image, "1 2 20 20\n5 6", None)
    assert drawn.tobytes() == draw_boxes(SCENE.image, [(1, 2, 20, 20)]).tobytes()


# -- proposals -------------------------------------------------------------------------------------------------------


def test_regions_that_a_detector_finds_become_lines(grounder: Grounder, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = [{"box": dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))} for box in BOXES]
    monkeypatch.setattr(grounder, "proposer", lambda picture: boxes)
    text, corner, _, proposal = page.propose(grounder, SCENE.image)
    assert (text, corner, proposal) == (TEXT, None, (TEXT, None))


def test_masks_are_painted_until_somebody_changes_the_boxes(
    grounder: Grounder, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = [np.zeros((SCENE.image.height, SCENE.image.width), bool) for _ in range(2)]
    masks[0][2:9, 3:7] = masks[0][2, 12] = masks[1][20:30, 20:30] = True
    monkeypatch.setattr(grounder, "proposer", lambda picture: {"masks": masks})
    text, _, _, proposal = page.propose(grounder, SCENE.image)
    assert text == "3 2 13 9\n20 20 30 30"
    of_masks = grounder.ground(SCENE.image, "the ring", [(3, 2, 13, 9), (20, 20, 30, 30)], masks)
    of_boxes = grounder.ground(SCENE.image, "the ring", [(3, 2, 13, 9), (20, 20, 30, 30)])
    assert of_masks.scores != pytest.approx(of_boxes.scores, abs=1e-4)
    shown = f"at {of_masks.scores[0]:.0%}", page.ranking(of_masks), page.describe_prompt(of_masks)
    words, _, scores, prompt = answer(grounder, SCENE.image, text, "the ring", proposal)
    assert shown[0] in words
    assert (scores, prompt) == shown[1:]
    *_, prompt = answer(grounder, SCENE.image, text + "\n", "the ring", proposal)
    assert prompt == page.describe_prompt(of_boxes)


def test_the_page_is_found_by_the_models_configuration(model_dir: Path) -> None:
    assert build(model_dir, CPU).title == "Visual grounding"
