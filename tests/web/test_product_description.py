"""The text generation demo in a browser."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from hf_prompt_models.app import Options, build
from hf_prompt_models.app.product_writer import Decoding, TextGenerator
from hf_prompt_models.playground.product_cards import draw_card
from tests.app import page_models
from tests.web.looks import check_looks, keep_picture


CARD, PRODUCT = draw_card("test", 3, 0)
STEPS = 150 if os.environ.get("HF_PROMPT_SCREENSHOTS") else 10
"""Of training: enough to name what is seen, for pictures that are kept."""


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("card") / "card.png"
    CARD.save(file)
    return file


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_models.product_writer(tmp_path_factory.mktemp("model"), STEPS)


@pytest.fixture(scope="module")
def address(model_dir: Path, served: Callable[..., str]) -> str:
    return served(build(model_dir, Options(device="cpu")))


def test_a_description_is_generated(
    open_page: Callable[[str], Page], address: str, model_dir: Path, picture: Path, width: int
) -> None:
    page = open_page(address)
    check_looks(page)
    page.locator("#pictures input[type=file]").set_input_files(picture)
    expect(page.locator(".strip img")).to_have_count(1)
    page.get_by_label("Title").fill(PRODUCT.title)
    page.get_by_role("button", name="Generate").click()
    *_, (text,) = TextGenerator(model_dir, Options(device="cpu")).write(
        [CARD], PRODUCT.title, Decoding(max_new_tokens=16)
    )
    expect(page.locator("#answers")).to_have_text(text)
    check_looks(page)
    keep_picture(page, "product-description", width)


def test_several_descriptions_are_sampled_or_searched_for(
    open_page: Callable[[str], Page], address: str, picture: Path, width: int
) -> None:
    page = open_page(address)
    page.locator("#pictures input[type=file]").set_input_files(picture)
    expect(page.locator(".strip img")).to_have_count(1)
    page.get_by_label("Sampling").check()
    number = page.get_by_label("number input for Descriptions")
    number.fill("3")
    number.press("Tab")
    expect(page.get_by_label("number input for Temperature")).to_be_visible()
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("#answers article")).to_have_count(3)
    check_looks(page)
    page.get_by_label("Beam search").check()
    expect(page.get_by_label("number input for Temperature")).to_have_count(0)
    expect(page.locator(".note")).to_contain_text("appear at once")
    number.fill("2")
    number.press("Tab")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("#answers article")).to_have_count(2)
    check_looks(page)
    keep_picture(page, "product-description-beams", width)


def test_the_keyboard_alone_suffices(open_page: Callable[[str], Page], address: str, width: int) -> None:
    page = open_page(address)
    check_looks(page)  # which waits until the page is complete
    page.keyboard.press("Tab")
    expect(page.get_by_label("Click to upload or drop files")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type(PRODUCT.title)
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText") == "Generate":
            break
    page.keyboard.press("Enter")
    expect(page.locator("#answers article")).to_have_count(1)


def test_what_is_wrong_is_reported_in_words(
    open_page: Callable[[str], Page], address: str, picture: Path, tmp_path: Path, width: int
) -> None:
    page = open_page(address)
    problem, write = page.locator(".problem"), page.get_by_role("button", name="Generate")
    write.click()
    expect(problem).to_contain_text("Upload an image, or write a title")
    (tmp_path / "torn.png").write_bytes(picture.read_bytes()[:300])
    page.locator("#pictures input[type=file]").set_input_files([tmp_path / "torn.png", picture])
    expect(problem).to_contain_text("torn.png cannot be read as an image")
    expect(problem).to_be_in_viewport()
    expect(page.locator(".strip img")).to_have_count(1)
    check_looks(page)
    keep_picture(page, "product-description-problem", width)
    page.get_by_label("Title").fill("large anchor " * 1000)
    write.click()
    expect(problem).to_contain_text("shorten its text")
    check_looks(page)
