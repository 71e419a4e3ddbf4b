"""Error messages of the demos."""

import logging
from collections.abc import Iterator

import gradio as gr
import pytest

from hf_prompt_models.app.components.look import in_words, problem


def test_what_a_user_sent_is_text_and_no_markup_on_the_page() -> None:
    assert "<b>" not in problem("<b>x</b>.png cannot be read")
    assert "&lt;b&gt;x&lt;/b&gt;.png" in problem("<b>x</b>.png cannot be read")


def test_an_answer_comes_with_an_empty_notice() -> None:
    assert in_words(lambda x: (x, x + 1), 2)(1) == (1, 2, "")


def test_a_notice_of_the_functions_own_is_kept() -> None:
    assert in_words(lambda: (1, "said"), 1)() == (1, "said")


def test_an_error_becomes_words_and_the_other_outputs_stay() -> None:
    def fail() -> tuple[int, int]:
        raise ValueError("There are no class names.")

    *others, said = in_words(fail, 2)()
    assert others == [gr.skip(), gr.skip()]
    assert "There are no class names." in said
    assert 'role="alert"' in said


def test_an_error_that_nobody_expected_is_logged_and_its_text_is_kept_from_the_page(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> tuple[int]:
        raise KeyError("/home/somebody/secret")

    with caplog.at_level(logging.ERROR):
        said = in_words(fail, 1)()[-1]
    assert "KeyError" in said
    assert "secret" not in said
    assert "secret" in caplog.text


def test_a_stream_that_fails_keeps_what_came_before() -> None:
    def words() -> Iterator[tuple[str]]:
        yield ("one",)
        yield ("one two",)
        raise OSError("The disk is full.")

    *parts, last = in_words(words, 1)()
    assert parts == [("one", ""), ("one two", "")]
    assert last[0] == gr.skip()
    assert "The disk is full." in last[1]
