"""The image classification demo in a browser."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from hf_prompt_models.app import Options, build
from hf_prompt_models.playground import draw_example
from tests.app import models
from tests.web.keyboard import choose_files, tab_to
from tests.web.looks import check_looks, keep_picture


OpenPage = Callable[[str], Page]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    for name, index in {"boat": 0, "cactus": 0, "cup": 1}.items():  # classes that the small model was trained on
        draw_example(name, "test", seed=5, index=index, size=200).save(folder / f"{name}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, served: Callable[..., str]) -> str:
    return served(build(models.learned_prompt(tmp_path_factory.mktemp("coop")), Options(device="cpu")))


def upload(page: Page, files: list[Path]) -> None:
    page.locator("#pictures input[type=file]").set_input_files(files)


def test_images_are_answered_and_other_classes_can_be_asked_for(
    open_page: OpenPage, address: str, pictures: list[Path], width: int
) -> None:
    page = open_page(address)
    check_looks(page)
    upload(page, pictures)
    answers = page.locator(".answer")
    expect(answers).to_have_count(3)
    expect(answers.nth(1).locator(".name").first).to_have_text("cactus")
    expect(answers.nth(1).locator("li").first.locator(".bar")).to_have_count(2)
    check_looks(page)
    keep_picture(page, "image-classification", width)

    names = page.get_by_label("Class names")
    names.fill("a sailing ship\na spiny plant\n\na sailing ship")
    expect(answers.first.locator(".name")).to_have_count(2)
    expect(page.get_by_role("status").filter(has_text="“a sailing ship” is repeated in lines 1 and 4")).to_be_visible()
    check_looks(page)
    names.fill("")
    expect(page.get_by_role("alert")).to_contain_text("There are no class names")
    # At once: the browser takes a minute to insert as many lines as a user would.
    names.evaluate(
        "(box, text) => { box.value = text; box.dispatchEvent(new Event('input', { bubbles: true })); }",
        "\n".join(f"thing {number}" for number in range(2001)),
    )
    expect(page.get_by_role("alert")).to_contain_text("2001 class names are too many")
    check_looks(page)
    names.fill("x" * 299 + "\ncat")
    expect(page.get_by_role("alert")).to_contain_text("too long for the")
    check_looks(page)
    names.fill("cat\ndog")
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(answers.first.locator(".name")).to_have_count(2)


def test_a_broken_image_is_named_in_words_next_to_the_others(
    open_page: OpenPage, address: str, pictures: list[Path], tmp_path: Path, width: int
) -> None:
    broken = tmp_path / "a-picture-that-was-cut-off.png"
    broken.write_bytes(pictures[0].read_bytes()[:200])
    page = open_page(address)
    upload(page, [broken, pictures[0]])
    expect(page.get_by_role("alert")).to_contain_text("a-picture-that-was-cut-off.png cannot be read as an image")
    expect(page.locator(".answer")).to_have_count(1)
    check_looks(page)
    keep_picture(page, "error", width)


def test_the_keyboard_alone_suffices(open_page: OpenPage, address: str, pictures: list[Path]) -> None:
    page = open_page(address)
    choose_files(page, page.locator("#pictures button.upload-container"), [str(pictures[0])])
    expect(page.locator(".answer")).to_have_count(1)
    names = page.get_by_label("Class names")
    tab_to(page, names)
    page.keyboard.press("Control+A")
    page.keyboard.type("an umbrella\na sailing ship")
    expect(page.locator(".answer .name")).to_have_text(["a sailing ship", "an umbrella"])  # of a boat
    assert names.input_value() == "an umbrella\na sailing ship"


def test_a_prompt_trained_for_each_class_gives_why_its_names_are_locked(
    open_page: OpenPage,
    served: Callable[..., str],
    pictures: list[Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    model = models.class_specific_prompt(tmp_path_factory.mktemp("class-specific"))
    page = open_page(served(build(model, Options(device="cpu"))))
    expect(page.get_by_label("Class names")).to_be_disabled()
    expect(page.get_by_text("it works only with its own class names")).to_be_visible()
    upload(page, pictures[:1])
    expect(page.locator(".answer .name")).not_to_have_count(0)
    check_looks(page)


def test_a_hundred_new_names_are_answered_while_the_reader_looks_on(
    open_page: OpenPage, address: str, pictures: list[Path], width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    page = open_page(address)
    upload(page, pictures[:1])
    expect(page.locator(".answer")).to_have_count(1)
    before = time.perf_counter()
    page.get_by_label("Class names").fill("\n".join(f"width {width} thing {number}" for number in range(100)))
    expect(page.locator(".answer .name").first).to_contain_text(f"width {width} thing")
    with capsys.disabled():
        print(f"\n100 new class names at {width} px: answered after {time.perf_counter() - before:.2f} s")
