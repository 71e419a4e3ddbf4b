"""The published templates, and invalid templates."""

import pytest

from hf_prompt_models.prompts.templates import (
    ACTION_TEMPLATES,
    DATASET_TEMPLATES,
    DEFAULT_TEMPLATE,
    IMAGENET_TEMPLATES,
    IMAGENET_TEMPLATES_SELECT,
    check_templates,
    fill_template,
)


def test_the_lists_are_as_long_as_published() -> None:
    assert len(set(IMAGENET_TEMPLATES)) == 80
    assert len(set(IMAGENET_TEMPLATES_SELECT)) == 7
    assert set(IMAGENET_TEMPLATES_SELECT) <= set(IMAGENET_TEMPLATES)
    assert len(DATASET_TEMPLATES) == 11
    assert len({template.text for template in ACTION_TEMPLATES}) == 16


def test_every_published_template_can_be_filled() -> None:
    for templates in (
        IMAGENET_TEMPLATES,
        IMAGENET_TEMPLATES_SELECT,
        list(DATASET_TEMPLATES.values()),
        [template.text for template in ACTION_TEMPLATES],
        [DEFAULT_TEMPLATE],
    ):
        assert check_templates(templates) == list(templates)


def test_an_action_templates_kind_reports_where_the_label_is() -> None:
    for text, kind in ACTION_TEMPLATES:
        before, after = text.split("{}")
        expected = {(False, False): "bare", (False, True): "prefix", (True, False): "suffix", (True, True): "cloze"}
        assert kind == expected[bool(before), bool(after)], text


def test_a_name_goes_where_the_braces_stand() -> None:
    assert fill_template("a photo of a {}, a type of pet.", "cat") == "a photo of a cat, a type of pet."
    assert fill_template("{} texture.", "{} {0}") == "{} {0} texture."


@pytest.mark.parametrize(
    ("templates", "said"),
    [
        ([], "at least one"),
        ("a photo of a {}.", "list"),
        (["a photo of a {}.", "a photo"], "'a photo'"),
        (["{} or {}"], "exactly once"),
    ],
)
def test_templates_that_cannot_be_filled_are_refused(templates: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_templates(templates)
