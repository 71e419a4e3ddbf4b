"""The video classification demo in a browser."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from hf_prompt_models.app import Options, build
from hf_prompt_models.playground.clips import write_clip_folder
from tests.app import models
from tests.web.keyboard import choose_files, tab_to
from tests.web.looks import check_looks, keep_picture


OpenPage = Callable[[str], Page]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clip_folder(folder, seed=3, train_per_class=1, test_per_class=1, size=128)
    return folder / "test" / "growing" / "000.mp4"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, served: Callable[..., str]) -> str:
    return served(build(models.actions(tmp_path_factory.mktemp("actions")), Options(device="cpu")))


def test_a_clip_is_played_and_answered_and_other_actions_can_be_asked_for(
    open_page: OpenPage, address: str, clip: Path, width: int
) -> None:
    page = open_page(address)
    check_looks(page)
    page.locator("#clip input[type=file]").set_input_files(clip)
    expect(page.locator(".answer .name")).to_have_count(5)
    expect(page.locator(".strip img")).to_have_count(8)
    video = page.locator("#clip video")
    expect(video).to_be_visible()
    page.wait_for_function("document.querySelector('#clip video').readyState >= 2")
    assert video.evaluate("each => each.play().then(() => !each.error)")
    video.evaluate("each => each.pause()")
    check_looks(page)
    keep_picture(page, "video-classification", width)

    page.get_by_label("Class names").fill("growing\nshrinking\ngrowing")
    expect(page.locator(".answer .name")).to_have_count(2)
    expect(page.get_by_role("status").filter(has_text="“growing” is repeated in lines 1 and 3")).to_be_visible()
    check_looks(page)


def test_a_broken_clip_is_named_in_words(open_page: OpenPage, address: str, clip: Path, tmp_path: Path) -> None:
    broken = tmp_path / "a-clip-that-was-cut-off.mp4"
    broken.write_bytes(clip.read_bytes()[:500])
    page = open_page(address)
    page.locator("#clip input[type=file]").set_input_files(broken)
    expect(page.get_by_role("alert")).to_contain_text(
        "Cannot read the video a-clip-that-was-cut-off.mp4: it is truncated"
    )
    expect(page.locator(".answer")).to_have_count(0)
    check_looks(page)


def test_the_keyboard_alone_suffices(open_page: OpenPage, address: str, clip: Path) -> None:
    page = open_page(address)
    choose_files(page, page.locator("#clip button").first, [str(clip)])
    expect(page.locator(".answer .name")).to_have_count(5)
    tab_to(page, page.get_by_label("Class names"))
    page.keyboard.press("Control+A")
    page.keyboard.type("jumping\nspinning")
    expect(page.locator(".answer .name")).to_have_count(2)
