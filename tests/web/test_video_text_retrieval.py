"""The video retrieval and video question answering demos in a browser."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from hf_prompt_models.app import Options, build, clip_search
from hf_prompt_models.playground import ALPRO_DIR
from hf_prompt_models.playground.captioned_clips import distinct_clips, write_captioned_clips
from tests.app import page_models
from tests.web.looks import check_looks, keep_picture


CLIPS = 12
SENTENCE = distinct_clips("test", 3, CLIPS)[2].caption
PLAYING = "video => video.readyState >= 2 && video.videoWidth > 0 && video.currentTime > 0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captioned")
    write_captioned_clips(folder, seed=3, train=0, test=CLIPS, questions=1)
    (folder / "test" / "torn.mp4").write_bytes((folder / "test" / "00000.mp4").read_bytes()[:700])
    return folder / "test"


@pytest.fixture(scope="module")
def address(folder: Path, tmp_path_factory: pytest.TempPathFactory, served: Callable[..., str]) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip_search, "INDEX_DIRECTORY", tmp_path_factory.mktemp("kept"))
        options = Options(clips=folder, device="cpu")
        return served(build(ALPRO_DIR, options), options)


@pytest.fixture
def transformers_may_warn(transformers_records: list[str]) -> list[str]:
    """Allow the warning of transformers about a damaged clip; the page reports it as well."""
    return transformers_records


def test_clips_are_found_and_play(
    open_page: Callable[[str], Page], address: str, transformers_may_warn: list[str], width: int
) -> None:
    page = open_page(address)
    expect(page.locator("#status")).to_contain_text(f"{CLIPS} videos of test can be searched")
    expect(page.locator("#status .problem")).to_have_text("These videos cannot be read and are left out: torn.mp4.")
    transformers_may_warn.clear()
    check_looks(page)
    page.get_by_label("Sentence").fill(SENTENCE)
    page.keyboard.press("Enter")
    expect(page.locator(".found")).to_have_count(6)
    expect(page.locator(".found").first).to_contain_text("1. 00002.mp4")
    for place in range(2):
        page.wait_for_function(
            f"([place]) => ({PLAYING})(document.querySelectorAll('.found video')[place])", arg=[place]
        )
    check_looks(page)
    keep_picture(page, "video-text-retrieval", width)


def test_what_is_wrong_with_a_sentence_is_reported_in_words(
    open_page: Callable[[str], Page], address: str, transformers_may_warn: list[str], width: int
) -> None:
    page = open_page(address)
    expect(page.locator("#status")).to_contain_text("can be searched")
    transformers_may_warn.clear()
    problem = page.locator(".notice .problem")
    page.get_by_role("button", name="Find videos").click()
    expect(problem).to_contain_text("The sentence is empty")
    page.get_by_label("Sentence").fill("red " * 100)
    page.get_by_role("button", name="Find videos").click()
    expect(problem).to_contain_text("The sentence is too long: it has 102 tokens, but the model has 40 positions")
    check_looks(page)


def test_of_an_empty_folder_the_page_reports_it(
    open_page: Callable[[str], Page], served: Callable[..., str], tmp_path: Path, width: int
) -> None:
    options = Options(clips=tmp_path, device="cpu")
    page = open_page(served(build(ALPRO_DIR, options), options))
    expect(page.locator(".notice .problem")).to_contain_text("contains no videos")
    check_looks(page)
    keep_picture(page, "video-text-retrieval-problem", width)


# -- questions -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asked_address(tmp_path_factory: pytest.TempPathFactory, served: Callable[..., str]) -> str:
    return served(build(page_models.answerer(tmp_path_factory.mktemp("answerer")), Options(device="cpu")))


def test_a_question_about_a_clip_is_answered(
    open_page: Callable[[str], Page], asked_address: str, folder: Path, tmp_path: Path, width: int
) -> None:
    page = open_page(asked_address)
    page.locator("#clip input[type=file]").set_input_files(folder / "00001.mp4")
    expect(page.locator("#frames img")).to_have_count(4)
    question = page.get_by_label("Question")
    question.fill("what color is it?")
    question.press("Enter")
    expect(page.locator("#answers .bar")).to_have_count(5)
    check_looks(page)
    keep_picture(page, "video-question-answering", width)
    question.fill("what " * 100)
    question.press("Enter")
    expect(page.locator(".problem")).to_contain_text("The question is too long")


def test_a_broken_clip_is_named(
    open_page: Callable[[str], Page], asked_address: str, folder: Path, width: int
) -> None:
    page = open_page(asked_address)
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".problem")).to_contain_text("There is no video")
    page.locator("#clip input[type=file]").set_input_files(folder / "torn.mp4")
    expect(page.locator(".problem")).to_contain_text("Cannot read the video torn.mp4")
    expect(page.locator(".problem")).to_be_in_viewport()
    check_looks(page)
