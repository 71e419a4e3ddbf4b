"""Sentences about each class: the class features are those of the formula, and no class is without a prompt."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForImageClassification, PreTrainedModel

from hf_prompt_models import ClipZeroShotForImageClassification
from hf_prompt_models.prompts.templates import DEFAULT_TEMPLATE


NAMES = ["cat", "sea_or_lake", "cat", "dog"]
SENTENCES = {
    "cat": ["A cat has whiskers.", "A small animal that purrs.", "The cat in a box!"],
    "sea or lake": ["Open water."],
    "dog": ["A dog has a wet nose.", "A dog has a wet nose."],
}


def zero_shot(folder: Path, names: Sequence[str] = NAMES, **kwargs: Any) -> ClipZeroShotForImageClassification:
    return ClipZeroShotForImageClassification.from_backbone(folder, names, **kwargs)


def text_features(model: ClipZeroShotForImageClassification) -> torch.Tensor:
    return model.get_text_features().pooler_output


def prompt_features(clip: PreTrainedModel, tokenizer: Any, text: str) -> torch.Tensor:
    """One text through the backbone itself, cut to its positions, (dim,)."""
    length = clip.config.text_config.max_position_embeddings
    ids = tokenizer(text, padding="max_length", max_length=length, truncation=True, return_tensors="pt")["input_ids"]
    return clip.get_text_features(input_ids=ids).pooler_output[0]


def written_out(model: ClipZeroShotForImageClassification, texts: Sequence[Sequence[str]]) -> torch.Tensor:
    """CuPL's class features: each sentence normalised, the mean, normalised again."""
    rows = []
    for own in texts:
        units = [f / f.norm() for f in (prompt_features(model.clip, model.processor.tokenizer, text) for text in own)]
        mean = sum(units) / len(units)
        rows.append(mean / mean.norm())
    return torch.stack(rows)


def of_names(names: Sequence[str], sentences: dict[str, list[str]], templates: Sequence[str] = ()) -> list[list[str]]:
    words = [name.replace("_", " ") for name in names]
    return [[t.format(word) for t in templates] + sentences.get(word, []) for word in words]


@pytest.mark.parametrize("templates", [None, ["a photo of a {}.", "the {}"]])
@pytest.mark.parametrize("backbone", ["openai_clip", "modern_clip", "siglip", "naflex", "metaclip2"])
@torch.no_grad()
def test_class_features_are_the_mean_over_the_prompts_of_each_class(
    backbone: str, templates: list[str] | None, request: pytest.FixtureRequest
) -> None:
    model = zero_shot(request.getfixturevalue(backbone), templates=templates, class_prompts=SENTENCES)
    expected = written_out(model, of_names(NAMES, SENTENCES, templates or ()))
    torch.testing.assert_close(text_features(model), expected, rtol=0, atol=1e-6)
    tracked = torch.enable_grad()(text_features)(model)  # the path without the cache
    torch.testing.assert_close(tracked, expected, rtol=0, atol=1e-6)


@torch.no_grad()
def test_logits_are_the_temperature_times_the_cosines(openai_clip: Path) -> None:
    model = zero_shot(openai_clip, class_prompts=SENTENCES)
    pixels = torch.randn(2, 3, 224, 224)
    images = model.clip.get_image_features(pixel_values=pixels).pooler_output
    cosines = torch.nn.functional.cosine_similarity(
        images[:, None], written_out(model, of_names(NAMES, SENTENCES)), -1
    )
    expected = model.clip.logit_scale.exp() * cosines
    torch.testing.assert_close(model(pixel_values=pixels).logits, expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_classes_with_one_name_may_have_their_own_sentences(openai_clip: Path) -> None:
    by_class = [["It flies."], ["It lifts."], ["It barks.", "It runs."]]
    model = zero_shot(openai_clip, ["crane", "crane", "dog"], class_prompts=by_class)
    torch.testing.assert_close(text_features(model), written_out(model, by_class), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="two classes 'crane' with different sentences"):
        model.set_classes(["crane"])


@torch.no_grad()
def test_means_of_raw_features_are_weighted_by_their_lengths(openai_clip: Path) -> None:
    model = zero_shot(openai_clip, templates=["the {}"], class_prompts=SENTENCES)
    texts = of_names(NAMES, SENTENCES, ["the {}"])
    raw = [[prompt_features(model.clip, model.processor.tokenizer, text) for text in own] for own in texts]
    in_order = [own[0] for own in raw] + [feature for own in raw for feature in own[1:]]
    features = torch.stack(in_order)
    expected = torch.stack([sum(own) / len(own) for own in raw])
    torch.testing.assert_close(model.prompt_means(features, normalize=False), expected, rtol=0, atol=1e-6)
    expected = torch.stack([sum(f / f.norm() for f in own) / len(own) for own in raw])
    torch.testing.assert_close(model.prompt_means(features), expected, rtol=0, atol=1e-6)
    assert model.prompt_means(features.double()).dtype == torch.float64


@pytest.fixture(scope="module")
def any_model(openai_clip: Path) -> ClipZeroShotForImageClassification:
    return zero_shot(openai_clip)


@given(numbers=st.lists(st.integers(0, 4), min_size=1, max_size=6), templates=st.integers(0, 3))
def test_means_equal_a_loop_over_classes(
    numbers: list[int], templates: int, any_model: ClipZeroShotForImageClassification
) -> None:
    if not templates:
        numbers = [number + 1 for number in numbers]
    any_model.config.num_labels = len(numbers)
    any_model.config.templates = ["{}"] * templates
    any_model.config.class_prompts = [["."] * number for number in numbers]
    features = torch.randn(templates * len(numbers) + sum(numbers), 3, dtype=torch.float64)
    rows = iter(features[templates * len(numbers) :])
    described = [[next(rows) for _ in range(number)] for number in numbers]
    for index, mean in enumerate(any_model.prompt_means(features, normalize=False)):
        filled = [features[template * len(numbers) + index] for template in range(templates)]
        torch.testing.assert_close(mean, torch.stack(filled + described[index]).mean(0), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="Call set_classes"):
        any_model.prompt_means(features[1:])


def test_without_sentences_the_template_is_the_default_one(openai_clip: Path) -> None:
    assert zero_shot(openai_clip).config.templates == [DEFAULT_TEMPLATE]
    assert zero_shot(openai_clip).config.class_prompts is None
    assert zero_shot(openai_clip, class_prompts=SENTENCES).config.templates == []


def test_a_class_without_sentences_is_refused_by_name_or_has_the_templates(openai_clip: Path) -> None:
    names = ["cat", "emu", "kite_(bird)"]
    with pytest.raises(ValueError, match=r"no sentences for 2 class\(es\): 'emu', 'kite_\(bird\)'"):
        zero_shot(openai_clip, names, class_prompts={"cat": ["A cat."], "kite (bird)": []})
    model = zero_shot(openai_clip, names, templates=["the {}"], class_prompts={"cat": ["A cat."]})
    expected = zero_shot(openai_clip, names, templates=["the {}"])
    torch.testing.assert_close(text_features(model)[1:], text_features(expected)[1:])


def test_names_that_are_no_classes_are_counted(openai_clip: Path, caplog: pytest.LogCaptureFixture) -> None:
    zero_shot(openai_clip, ["cat"], class_prompts=SENTENCES)
    (record,) = caplog.records
    assert record.getMessage() == "Ignored 2 name(s) in class_prompts that are not classes: 'dog', 'sea or lake'."


@pytest.mark.parametrize(
    ("class_prompts", "message"),
    [
        ({"cat": "A cat."}, "must be a list of strings, got 'A cat.'"),
        ({"cat": ["A cat.", " "]}, "class 'cat' is ' '. Write a text"),
        ({"cat": ["A cat.", 3]}, "class 'cat' is 3. Write a text"),
        ({"cat": None}, "must be a list of strings"),
        ({"cat": ["A cat."], "_cat ": ["Purrs."]}, "has the class '_cat ' twice"),
        ({3: ["A cat."]}, "The name of class .* 3"),
        ([["A cat."], ["Another."]], "each of the 1 classes"),
        ("A", "each of the 1 classes"),
        (["A cat."], "must be a list of strings"),
        ([[]], "no sentences for 1 class\\(es\\): 'cat'"),
        ({"cat": ["A cat. <|endoftext|> It purrs."]}, "special token"),
    ],
)
def test_malformed_sentences_are_refused(openai_clip: Path, class_prompts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        zero_shot(openai_clip, ["cat"], class_prompts=class_prompts)


def own_messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("hf_prompt_models")]


def test_sentences_without_tokens_are_counted(siglip: Path, caplog: pytest.LogCaptureFixture) -> None:
    zero_shot(siglip, ["cat"], class_prompts={"cat": ["A cat.", "..."]})
    assert own_messages(caplog) == ["The tokenizer turns 1 sentence(s) in class_prompts into no tokens: '...'."]


@pytest.mark.parametrize("backbone", ["openai_clip", "siglip"])
@torch.no_grad()
def test_ends_of_long_sentences_are_cut_with_one_warning(
    backbone: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    long = "the cat that is next to the dog and not near " * 20
    sentences = {"cat": ["A cat.", long], "dog": ["A dog."]}
    model = zero_shot(request.getfixturevalue(backbone), ["cat", "dog"], class_prompts=sentences)
    expected = written_out(model, of_names(["cat", "dog"], sentences))
    torch.testing.assert_close(text_features(model), expected, rtol=0, atol=1e-6)
    (message,) = own_messages(caplog)
    assert message.startswith("Truncated 1 of the 3 texts of class_prompts to the")


def test_sentences_survive_saving_and_older_checkpoints_load(openai_clip: Path, tmp_path: Path) -> None:
    model = zero_shot(openai_clip, templates=["the {}"], class_prompts=SENTENCES)
    model.save_pretrained(tmp_path / "a")
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path / "a")
    assert torch.equal(text_features(loaded), text_features(model))
    assert loaded.config.class_prompts == [SENTENCES[name.replace("_", " ")] for name in NAMES]
    older = zero_shot(openai_clip)
    older.save_pretrained(tmp_path / "b")
    fields = json.loads((tmp_path / "b" / "config.json").read_text())
    del fields["class_prompts"]
    (tmp_path / "b" / "config.json").write_text(json.dumps(fields))
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path / "b")
    assert torch.equal(text_features(loaded), text_features(older))


def test_a_changed_configuration_is_not_saved(openai_clip: Path, tmp_path: Path) -> None:
    model = zero_shot(openai_clip, class_prompts=SENTENCES)
    model.config.class_prompts[0][0] = "Another sentence."
    with pytest.raises(ValueError, match="Call set_classes"):
        model.save_pretrained(tmp_path)


def test_new_classes_keep_the_sentences_of_their_names(openai_clip: Path) -> None:
    model = zero_shot(openai_clip, class_prompts=SENTENCES)
    model.set_classes(["dog", "sea or lake"])
    kept = {name: SENTENCES[name] for name in ("dog", "sea or lake")}
    assert torch.equal(text_features(model), text_features(zero_shot(openai_clip, list(kept), class_prompts=kept)))
    with pytest.raises(ValueError, match=r"no sentences for 1 class\(es\): 'emu'"):
        model.set_classes(["dog", "emu"])
    assert model.config.class_names == ["dog", "sea or lake"]


@pytest.mark.parametrize(
    "before", [{}, {"class_prompts": SENTENCES}, {"templates": ["{}"], "class_prompts": SENTENCES}]
)
@pytest.mark.parametrize(
    "prompts",
    [
        {"templates": ["the {}"]},
        {"class_prompts": {"dog": ["It barks."], "emu": ["It runs.", "It is tall."]}},
        {"templates": ["the {}"], "class_prompts": {"dog": ["It barks."]}},
    ],
)
def test_new_classes_with_prompts_equal_a_fresh_model(
    before: dict[str, Any], prompts: dict[str, Any], openai_clip: Path
) -> None:
    model = zero_shot(openai_clip, **before)
    model.set_classes(["dog", "emu"], **prompts)
    assert torch.equal(text_features(model), text_features(zero_shot(openai_clip, ["dog", "emu"], **prompts)))


def test_another_division_of_the_same_prompts_is_seen(openai_clip: Path) -> None:
    model = zero_shot(openai_clip, ["cat", "dog"], class_prompts=[["a", "b"], ["c"]])
    before = text_features(model)
    model.set_classes(["cat", "dog"], class_prompts=[["a"], ["b", "c"]])
    expected = zero_shot(openai_clip, ["cat", "dog"], class_prompts=[["a"], ["b", "c"]])
    assert torch.equal(text_features(model), text_features(expected))
    assert not torch.equal(text_features(model), before)
