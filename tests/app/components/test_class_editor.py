"""Parsing of typed class names, and their cached text features."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageClassification, AutoModelForVideoClassification, AutoProcessor

from hf_prompt_models.app.components import class_editor
from hf_prompt_models.app.components.class_editor import MAX_CLASSES, MAX_NAME, TextSide, read_names


def test_names_stand_one_a_line_without_the_space_around_them() -> None:
    typed = read_names("  cat \n\n\t golden   retriever\r\nfox_red\n")
    assert typed.names == ("cat", "golden retriever", "fox_red")
    assert typed.remark == ""


def test_a_repeated_name_counts_once_and_the_reader_is_told_which_lines_have_it() -> None:
    typed = read_names("cat\ndog\n\ncat \nfox\ncat\ndog")
    assert typed.names == ("cat", "dog", "fox")
    assert (
        typed.remark
        == "“cat” is repeated in lines 1, 4 and 6, and 1 other names are repeated too. Each name counts once."
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "There are no class names"),
        (" \n\n\t", "There are no class names"),
        ("cat\n__", "Line 2 contains no name, only '__'"),
        ("cat\ndog\n" + "x" * (MAX_NAME + 1), f"The name in line 3 has {MAX_NAME + 1} characters"),
        ("\n".join(map(str, range(MAX_CLASSES + 1))), f"{MAX_CLASSES + 1} class names are too many"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_names(text)


def test_features_are_those_of_a_model_with_these_classes(learned_prompt: Path) -> None:
    model = AutoModelForImageClassification.from_pretrained(learned_prompt)
    processor = AutoProcessor.from_pretrained(learned_prompt)
    side = TextSide(model, processor)
    side.features(["boat", "cup"])
    features = side.features(["fish", "cup", "a small boat", "fish"])

    other = AutoModelForImageClassification.from_pretrained(learned_prompt)
    other.set_classes(["fish", "cup", "a small boat", "fish"], tokenizer=processor)
    with torch.no_grad():
        expected = other.get_text_features().pooler_output
    assert torch.allclose(features, expected, atol=1e-5)


def test_features_of_actions_keep_the_templates_apart(actions: Path) -> None:
    model = AutoModelForVideoClassification.from_pretrained(actions)
    processor = AutoProcessor.from_pretrained(actions)
    features = TextSide(model, processor).features(["moving left", "growing"])
    assert features.shape[:2] == (16, 2)
    assert torch.allclose(features[3, 1], model.get_text_features().pooler_output[3, 1], atol=1e-5)


def test_a_name_that_was_seen_before_is_not_encoded_again(
    learned_prompt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = AutoModelForImageClassification.from_pretrained(learned_prompt)
    side = TextSide(model, AutoProcessor.from_pretrained(learned_prompt))
    encoded: list[list[str]] = []
    set_classes = model.set_classes
    monkeypatch.setattr(
        model, "set_classes", lambda names, tokenizer: [encoded.append(names), set_classes(names, tokenizer)]
    )
    side.features(["cat", "dog", "fox"])
    side.features(["cat", "wolf", "dog"])
    side.features(["dog", "cat"])
    assert encoded == [["cat", "dog", "fox"], ["wolf"]]


def test_names_that_were_not_used_for_long_are_forgotten(
    learned_prompt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_editor, "MAX_KEPT_NAMES", 3)
    model = AutoModelForImageClassification.from_pretrained(learned_prompt)
    side = TextSide(model, AutoProcessor.from_pretrained(learned_prompt))
    side.features(["cat", "dog", "fox"])
    side.features(["cat", "wolf"])
    assert set(side._features) == {"fox", "cat", "wolf"}
    assert side.features(list("abcd")).shape[0] == 4


def test_only_the_classes_of_the_saved_model_are_calibrated(learned_prompt: Path) -> None:
    model = AutoModelForImageClassification.from_pretrained(learned_prompt)
    model.config.calibration_temperature = 2.0
    names, logits = model.config.class_names, torch.tensor([[1.0, 3.0]])
    side = TextSide(model, AutoProcessor.from_pretrained(learned_prompt))
    side.features(["other", "classes"])
    assert torch.equal(side.calibrated(logits, names), logits / 2)
    assert torch.equal(side.calibrated(logits, ["other", "classes"]), logits)
