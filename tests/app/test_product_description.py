"""The text generation demo, without a browser."""

import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from hf_prompt_models.app import Options, build
from hf_prompt_models.app import product_description as page
from hf_prompt_models.app.product_writer import BEAMS, GREEDY, SAMPLING, Decoding, TextGenerator
from hf_prompt_models.playground.product_cards import draw_card
from tests.app import page_models


CPU = Options(device="cpu")
CARD, PRODUCT = draw_card("test", 3, 0)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_models.product_writer(tmp_path_factory.mktemp("writer"), steps=4)


@pytest.fixture(scope="module")
def writer(model_dir: Path) -> TextGenerator:
    return TextGenerator(model_dir, CPU)


def expected(model_dir: Path, images: list[Image.Image], title: str, **settings: Any) -> list[str]:
    """What the model writes by itself."""
    model = AutoModelForImageTextToText.from_pretrained(model_dir).eval()
    processor = AutoProcessor.from_pretrained(model_dir)
    inputs = processor(images=[images], text=[title], return_tensors="pt")
    with torch.no_grad():
        output = model.generate(**inputs, **settings)
    texts = processor.tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in texts]


# -- writing ---------------------------------------------------------------------------------------------------------


def test_a_text_grows_to_what_the_model_generates(writer: TextGenerator, model_dir: Path) -> None:
    grown = list(writer.write([CARD], PRODUCT.title, Decoding(GREEDY, max_new_tokens=12)))
    assert grown[-1] == expected(model_dir, [CARD], PRODUCT.title, max_new_tokens=12, num_beams=1, do_sample=False)
    assert len(grown) > 3
    for (earlier,), (later,) in pairwise(grown):
        assert later.startswith(earlier)


def test_beams_come_at_once_the_best_of_them(writer: TextGenerator, model_dir: Path) -> None:
    grown = list(writer.write([CARD], PRODUCT.title, Decoding(BEAMS, texts=3, max_new_tokens=8, num_beams=2)))
    settings = {"num_beams": 3, "num_return_sequences": 3, "do_sample": False}  # no fewer beams than texts
    assert grown == [expected(model_dir, [CARD], PRODUCT.title, max_new_tokens=8, **settings)]


def test_sampled_texts_are_generated_one_after_another(writer: TextGenerator) -> None:
    decoding = Decoding(SAMPLING, texts=3, max_new_tokens=6, temperature=1.5)
    grown = list(writer.write([CARD], PRODUCT.title, decoding))
    assert [len(texts) for texts in grown] == sorted(len(texts) for texts in grown)
    assert len(grown[-1]) == 3
    assert len(set(grown[-1])) > 1
    assert grown[-1][0] == next(texts[0] for texts in grown if len(texts) == 2)


def test_of_greedy_decoding_there_is_one_text(writer: TextGenerator) -> None:
    assert len(list(writer.write([CARD], "", Decoding(GREEDY, texts=4, max_new_tokens=4)))[-1]) == 1


def test_a_text_that_nobody_reads_on_is_stopped(writer: TextGenerator) -> None:
    before = set(threading.enumerate())
    writing = writer.write([CARD], PRODUCT.title, Decoding(SAMPLING, texts=5, max_new_tokens=200))
    next(writing)
    writing.close()
    assert set(threading.enumerate()) <= before  # another test's thread may end meanwhile


def test_what_fails_while_a_text_is_generated_is_raised(
    writer: TextGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**settings: Any) -> None:
        raise RuntimeError("no memory left")

    monkeypatch.setattr(writer.model, "generate", fail)
    with pytest.raises(RuntimeError, match="no memory left"):
        list(writer.write([CARD], PRODUCT.title, Decoding()))


def test_a_title_alone_and_images_alone_will_do(writer: TextGenerator, model_dir: Path) -> None:
    for images, title in (([], PRODUCT.title), ([CARD, CARD], "")):
        (text,) = expected(model_dir, images, title, max_new_tokens=6, num_beams=1, do_sample=False)
        *_, (shown, _) = page.write(writer, images, title, False, Decoding(max_new_tokens=6))
        assert f"<p>{text}</p>" in shown


def test_blind_texts_are_those_about_black_images(writer: TextGenerator, model_dir: Path) -> None:
    black = [Image.new("RGB", CARD.size)]
    (text,) = expected(model_dir, black, PRODUCT.title, max_new_tokens=8, num_beams=1, do_sample=False)
    *_, (shown, _) = page.write(writer, [CARD], PRODUCT.title, True, Decoding(max_new_tokens=8))
    assert f"<p>{text}</p>" in shown


def test_of_beams_the_page_reports_first_that_they_come_at_the_end(writer: TextGenerator) -> None:
    (first, _), *_ = page.write(writer, [CARD], "", False, Decoding(BEAMS, max_new_tokens=4))
    assert page.AT_THE_END in first


def test_images_go_where_the_text_has_a_place_for_them(tmp_path: Path) -> None:
    model_dir = page_models.question_reader(tmp_path)
    text = "this is a <image> and this is a <image>"
    with pytest.raises(ValueError, match="The text has 1 images and 2 placeholders <image>"):
        list(TextGenerator(model_dir, CPU).write([CARD], text, Decoding(max_new_tokens=4)))
    other, _ = draw_card("test", 3, 1)
    *_, written = TextGenerator(model_dir, CPU).write([CARD, other], text, Decoding(max_new_tokens=6))
    assert written == expected(model_dir, [CARD, other], text, max_new_tokens=6, num_beams=1, do_sample=False)
    assert build(model_dir, CPU).title == "Images and questions"


# -- what is refused, and what is shown ------------------------------------------------------------------------------


def test_an_empty_input_is_refused(writer: TextGenerator) -> None:
    with pytest.raises(ValueError, match="Upload an image, or write a title"):
        list(page.write(writer, [], "  ", False, Decoding()))


def test_a_title_that_the_model_cannot_read_is_refused_in_words(writer: TextGenerator) -> None:
    with pytest.raises(ValueError, match=r"^The text has \d+ tokens, of which 4 are image slots.* shorten its text"):
        list(page.write(writer, [CARD], "large anchor " * 1000, False, Decoding()))
    with pytest.raises(ValueError, match=r"^The title contains <sep>"):
        list(page.write(writer, [CARD], "an <sep> anchor", False, Decoding()))


def test_broken_images_are_named_and_the_others_taken(tmp_path: Path) -> None:
    CARD.save(tmp_path / "card.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "card.png").read_bytes()[:300])
    pictures, strip, problem = page.take([str(tmp_path / "torn.png"), str(tmp_path / "card.png")])
    assert [picture.tobytes() for picture in pictures] == [CARD.tobytes()]
    assert strip.count("<img") == 1
    assert "torn.png cannot be read as an image" in problem
    assert page.take(None) == ([], "")


def test_more_images_than_the_page_takes_are_left_out_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "MAX_IMAGES", 1)
    CARD.save(tmp_path / "card.png")
    pictures, _, problem = page.take([str(tmp_path / "card.png")] * 2)
    assert len(pictures) == 1
    assert "2 images are too many" in problem


def test_large_images_are_kept_small(tmp_path: Path) -> None:
    Image.new("RGB", (3000, 1500)).save(tmp_path / "large.png")
    pictures, *_ = page.take([str(tmp_path / "large.png")])
    assert pictures[0].size == (page.IMAGE_PIXELS, page.IMAGE_PIXELS // 2)


def test_generated_text_is_no_markup() -> None:
    assert "<b>" not in page.texts_list(["<b>bold</b>"])
    assert "generated no text" in page.texts_list(["", "a mug"])


@pytest.mark.parametrize(
    ("method", "visible"),
    [(GREEDY, (False,) * 5), (BEAMS, (True, True, False, False, True)), (SAMPLING, (True, False, True, True, False))],
)
def test_each_way_of_decoding_shows_its_own_settings(method: str, visible: tuple[bool, ...]) -> None:
    assert tuple(update["visible"] for update in page.fitting(method)) == visible


def test_the_page_is_found_by_the_models_configuration(model_dir: Path) -> None:
    assert build(model_dir, CPU).title == "Product description"
