"""The visual grounding demo in a browser."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from hf_prompt_models.app import Options, build
from hf_prompt_models.app.components.drawn_boxes import write_boxes
from hf_prompt_models.playground.scenes import draw_expression
from tests.app import page_models
from tests.web.looks import check_looks, keep_picture


SCENE, PHRASE = draw_expression("test", 3, 0)
BOXES = [thing.box for thing in SCENE.objects]


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("scene") / "scene.png"
    SCENE.image.save(file)
    return file


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, served: Callable[..., str]) -> str:
    return served(build(page_models.grounding(tmp_path_factory.mktemp("model")), Options(device="cpu")))


def click_corners(view: Locator, box: tuple[int, int, int, int]) -> None:
    """Click a box's upper left and its lower right corner, in pixels of the scene."""
    shown = view.bounding_box()
    assert shown is not None
    scale = shown["width"] / SCENE.image.width
    for x, y in (box[:2], box[2:]):
        before = view.get_attribute("src")
        view.click(position={"x": x * scale, "y": y * scale})
        expect(view).not_to_have_attribute("src", str(before))


def test_boxes_are_clicked_and_a_phrase_is_answered(
    open_page: Callable[[str], Page], address: str, picture: Path, width: int
) -> None:
    page = open_page(address)
    check_looks(page)
    page.locator("#picture input[type=file]").set_input_files(picture)
    view, boxes = page.locator("#view img"), page.get_by_label("Boxes")
    expect(view).to_be_visible()
    for number, box in enumerate(BOXES, start=1):
        click_corners(view, box)
        expect(boxes).to_have_value(write_boxes(BOXES[:number]))
    page.get_by_label("Phrase").fill(PHRASE.text)
    page.get_by_role("button", name="Find it").click()
    expect(page.locator("#answer")).to_contain_text(f"{PHRASE.text} is region {PHRASE.target + 1} of {len(BOXES)}")
    expect(page.locator("#drawn img")).to_be_visible()
    expect(page.locator("#prompt img")).to_have_count(len(BOXES))
    expect(page.locator("#prompt")).to_contain_text(f"{PHRASE.text} is in red color.")
    expect(page.locator("#scores li")).to_have_count(len(BOXES))
    check_looks(page)
    keep_picture(page, "visual-grounding", width)

    page.get_by_role("button", name="Undo").click()
    expect(boxes).to_have_value(write_boxes(BOXES[:-1]))
    page.get_by_role("button", name="Clear boxes").click()
    expect(boxes).to_have_value("")


def test_the_keyboard_alone_suffices(
    open_page: Callable[[str], Page], address: str, picture: Path, width: int
) -> None:
    page = open_page(address)
    page.on("filechooser", lambda chooser: chooser.set_files(picture))
    check_looks(page)  # which waits until the page is complete
    page.keyboard.press("Tab")
    expect(page.get_by_label("Click to upload or drop files")).to_be_focused()
    page.keyboard.press("Enter")
    view = page.locator("#view img")
    expect(view).to_be_visible()
    empty = view.get_attribute("src")
    for _ in range(20):  # until the field has the focus
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "TEXTAREA":
            break
    page.keyboard.insert_text(write_boxes(BOXES))  # as a pasted text comes
    page.keyboard.press("Tab")
    expect(view).not_to_have_attribute("src", str(empty))
    page.keyboard.type(PHRASE.text)
    page.keyboard.press("Enter")
    expect(page.locator("#answer")).to_contain_text(f"is region {PHRASE.target + 1}")


def test_what_is_wrong_is_reported_in_words(
    open_page: Callable[[str], Page], address: str, picture: Path, tmp_path: Path, width: int
) -> None:
    page = open_page(address)
    problem, find = page.locator(".problem"), page.get_by_role("button", name="Find it")
    find.click()
    expect(problem).to_contain_text("There is no image")
    page.locator("#picture input[type=file]").set_input_files(picture)
    expect(page.locator("#view img")).to_be_visible()
    expect(problem).to_have_count(0)
    find.click()
    expect(problem).to_contain_text("There are no boxes to choose from")
    page.get_by_label("Boxes").fill("900 900 950 950")
    find.click()
    expect(problem).to_contain_text("does not overlap the image")
    page.get_by_label("Boxes").fill(write_boxes(BOXES))
    find.click()
    expect(problem).to_contain_text("The phrase is empty")
    page.get_by_label("Phrase").fill("the large ring " * 30)
    find.click()
    expect(problem).to_contain_text("The sentence of the phrase is too long")
    check_looks(page)

    (tmp_path / "torn.png").write_bytes(picture.read_bytes()[:500])
    page.locator("#picture").get_by_role("button", name="Clear").click()
    page.locator("#picture input[type=file]").set_input_files(tmp_path / "torn.png")
    expect(problem).to_contain_text("torn.png cannot be read as an image")
    expect(problem).to_be_in_viewport()
    expect(page.locator("#view img")).to_have_count(0)
    check_looks(page)
    keep_picture(page, "visual-grounding-problem", width)
