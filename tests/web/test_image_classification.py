"""The page of image classifiers in a browser."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from hf_prompt_models import CoOpForImageClassification
from hf_prompt_models.app import Options, build
from hf_prompt_models.playground import CLASS_NAMES, CLIP_DIR, draw_example
from tests.web.looks import check_looks, keep_picture


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    files = [folder / f"{name}.png" for name in ("boat", "cactus", "car")]
    for file in files:
        draw_example(file.stem, "test", seed=5, index=0, size=200).save(file)
    return files


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, served: Callable[..., str]) -> str:
    folder = tmp_path_factory.mktemp("coop")
    model = CoOpForImageClassification.from_backbone(CLIP_DIR, CLASS_NAMES, context_init="a photo of a")
    model.save_pretrained(folder)
    return served(build(folder, Options(device="cpu")))


def test_pictures_are_answered(
    open_page: Callable[[str], Page], address: str, pictures: list[Path], width: int
) -> None:
    page = open_page(address)
    page.locator("#pictures input[type=file]").set_input_files(pictures)
    expect(page.locator(".answer")).to_have_count(3)
    check_looks(page)
    keep_picture(page, "image-classification", width)
