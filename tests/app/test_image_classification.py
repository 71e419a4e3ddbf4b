"""The image classification demo, without a browser."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageClassification, AutoProcessor

from hf_prompt_models import (
    ClipLoraForImageClassification,
    ClipZeroShotForImageClassification,
    FeatureAdapterForImageClassification,
)
from hf_prompt_models.app import Options, build, image_classification
from hf_prompt_models.app.image_classification import ImageClassifier
from hf_prompt_models.data.images.loading import load_image
from hf_prompt_models.playground import CLIP_DIR, draw_example


CPU = Options(device="cpu")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name in ("boat", "fish"):
        draw_example(name, "test", seed=3, index=0).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "boat.png").read_bytes()[:300])
    (tmp_path / "text.png").write_text("no picture at all")
    return [str(tmp_path / name) for name in ("boat.png", "broken.jpg", "fish.png", "text.png")]


def test_probabilities_are_those_of_the_model_and_of_the_hand_written_prompt(
    learned_prompt: Path, files: list[str]
) -> None:
    names = ["fish", "a small boat", "lamp"]
    classifier = ImageClassifier(learned_prompt, CPU)
    pictures, _ = classifier.read(files[:1], {})
    ((learned, by_hand),) = classifier.classify(list(pictures.values()), names)

    model = AutoModelForImageClassification.from_pretrained(learned_prompt)
    processor = AutoProcessor.from_pretrained(learned_prompt)
    model.set_classes(names, tokenizer=processor)
    zero_shot = ClipZeroShotForImageClassification.from_backbone(CLIP_DIR, names)
    inputs = processor.image_processor(load_image(files[0]), return_tensors="pt")
    with torch.no_grad():
        expected = [each(**inputs).logits.softmax(-1)[0] for each in (model, zero_shot)]
    assert learned.probabilities == pytest.approx(expected[0].tolist(), abs=1e-5)
    assert by_hand.probabilities == pytest.approx(expected[1].tolist(), abs=1e-5)
    assert learned.probabilities != pytest.approx(by_hand.probabilities, abs=1e-3)


def test_broken_files_are_named_without_their_folder_and_the_others_are_answered(
    learned_prompt: Path, files: list[str]
) -> None:
    pictures, problems = ImageClassifier(learned_prompt, CPU).read(files, {})
    assert [picture.name for picture in pictures.values()] == ["boat.png", "fish.png"]
    assert [text.split(" ")[0] for text in problems] == ["broken.jpg", "text.png"]
    assert not any("/" in text for text in problems)


def test_an_image_that_is_on_the_page_is_not_encoded_again(
    learned_prompt: Path, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = ImageClassifier(learned_prompt, CPU)
    first, _ = classifier.read(files[:1], {})
    Path(files[0]).unlink()
    both, problems = classifier.read([files[0], files[2]], first)
    assert problems == []
    assert next(iter(both.values())) is first[files[0]]


def test_more_images_than_a_page_takes_are_left_out_with_a_word(
    learned_prompt: Path, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_classification, "MAX_IMAGES", 1)
    pictures, problems = ImageClassifier(learned_prompt, CPU).read([files[0], files[2]], {})
    assert len(pictures) == 1
    assert problems[0].startswith("2 images are too many for this page")


def test_a_decompression_bomb_is_called_too_large(
    learned_prompt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("1", (40, 40)).save(tmp_path / "wide.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    _, problems = ImageClassifier(learned_prompt, CPU).read([str(tmp_path / "wide.png")], {})
    assert problems == ["wide.png has more than 89 million pixels. Scale it down."]


def test_class_specific_context_answers_for_its_own_classes_alone(
    class_specific_prompt: Path, files: list[str]
) -> None:
    classifier = ImageClassifier(class_specific_prompt, CPU)
    assert "works only with its own class names" in (classifier.locked or "")
    names = classifier.typed("other\nnames").names
    assert list(names) == classifier.class_names
    pictures, _ = classifier.read(files[:1], {})
    ((learned, _),) = classifier.classify(list(pictures.values()), names)
    model = AutoModelForImageClassification.from_pretrained(class_specific_prompt)
    inputs = classifier.processor.image_processor(load_image(files[0]), return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs).logits.softmax(-1)[0].tolist()
    assert learned.probabilities == pytest.approx(expected, abs=1e-5)


def test_a_zero_shot_model_has_bars_of_its_own_templates_alone(tmp_path: Path, files: list[str]) -> None:
    model = ClipZeroShotForImageClassification.from_backbone(CLIP_DIR, ["boat", "fish"], ["a drawing of a {}."])
    model.save_pretrained(tmp_path / "model")
    classifier = ImageClassifier(tmp_path / "model", CPU)
    assert classifier.series_names == ["“a drawing of a {}.”"]
    pictures, _ = classifier.read(files[:1], {})
    ((series,),) = classifier.classify(list(pictures.values()), ["boat", "fish"])
    assert sum(series.probabilities) == pytest.approx(1, abs=1e-5)


def test_a_model_that_updates_the_image_tower_is_compared_with_the_backbone_as_it_is(
    tmp_path: Path, files: list[str]
) -> None:
    names = ["a small boat", "boat", "ship"]
    model = ClipLoraForImageClassification.from_backbone(CLIP_DIR, names)
    with torch.no_grad():
        for parameter in model.low_rank.parameters():
            parameter.normal_(std=0.5)
    model.save_pretrained(tmp_path / "model")
    classifier = ImageClassifier(tmp_path / "model", CPU)
    assert classifier.series_names[0] == "Trained model"
    pictures, _ = classifier.read(files[:1], {})
    ((trained, by_hand),) = classifier.classify(list(pictures.values()), names)
    zero_shot = ClipZeroShotForImageClassification.from_backbone(CLIP_DIR, names)
    inputs = classifier.processor.image_processor(load_image(files[0]), return_tensors="pt")
    with torch.no_grad():
        expected = [each.eval()(**inputs).logits.softmax(-1)[0].tolist() for each in (model, zero_shot)]
    assert trained.probabilities == pytest.approx(expected[0], abs=1e-5)
    assert by_hand.probabilities == pytest.approx(expected[1], abs=1e-5)
    assert trained.probabilities != pytest.approx(by_hand.probabilities, abs=1e-2)


@pytest.mark.parametrize("model_class", [ClipZeroShotForImageClassification, FeatureAdapterForImageClassification])
def test_classes_with_sentences_of_their_own_keep_their_names(
    model_class: Any, tmp_path: Path, files: list[str]
) -> None:
    class_prompts = {"boat": ["a small boat", "a boat."], "fish": ["the fish"]}
    kind = {} if model_class is ClipZeroShotForImageClassification else {"adapter_type": "clip_adapter"}
    model = model_class.from_backbone(CLIP_DIR, ["boat", "fish"], class_prompts=class_prompts, **kind)
    model.save_pretrained(tmp_path / "model")
    classifier = ImageClassifier(tmp_path / "model", CPU)
    assert "sentences" in str(classifier.locked)
    assert classifier.series_names[0] == ("Trained model" if kind else "3 sentences")
    names = classifier.typed("cat").names
    assert list(names) == ["boat", "fish"]
    pictures, _ = classifier.read(files[:1], {})
    ((own, *_),) = classifier.classify(list(pictures.values()), names)
    inputs = classifier.processor.image_processor(load_image(files[0]), return_tensors="pt")
    expected = model(**inputs).logits.softmax(-1)[0].tolist()
    assert own.probabilities == pytest.approx(expected, abs=1e-5)


def test_a_file_name_is_no_markup(learned_prompt: Path, files: list[str], tmp_path: Path) -> None:
    wicked = Path(files[0]).rename(tmp_path / "<img src=x onerror=alert(1)>.png")
    classifier = ImageClassifier(learned_prompt, CPU)
    pictures, _ = classifier.read([str(wicked)], {})
    assert "<img src=x" not in classifier.answers(list(pictures.values()), ["boat", "<u>fish</u>"])


def test_the_page_is_found_by_the_models_configuration(learned_prompt: Path) -> None:
    blocks = build(learned_prompt, CPU)
    assert blocks.title == "Image classification"
    assert blocks.analytics_enabled is False


def test_a_backbone_that_moved_is_named_by_the_options(learned_prompt: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(learned_prompt, moved)
    config = json.loads((moved / "config.json").read_text())
    config["base_model_name_or_path"] = str(tmp_path / "gone")
    (moved / "config.json").write_text(json.dumps(config))
    with pytest.raises(OSError, match="does not exist"):
        ImageClassifier(moved, Options())
    found = ImageClassifier(moved, Options(backbone="playground"))
    assert found.class_names == ImageClassifier(learned_prompt, Options()).class_names


def test_feature_adapter_answers_for_its_own_classes_beside_zero_shot(files: list[str], tmp_path: Path) -> None:
    names = ["a red ring", "a blue star"]
    model = FeatureAdapterForImageClassification.from_backbone("playground", names)
    features = torch.randn(8, model.image_feature_size, generator=torch.Generator().manual_seed(0))
    model.fit_features(features, torch.arange(8) % 2)
    model.save_pretrained(tmp_path)
    classifier = ImageClassifier(tmp_path, CPU)
    assert "new classes need images" in (classifier.locked or "")
    pictures, _ = classifier.read(files[:1], {})
    ((trained, zero_shot),) = classifier.classify(list(pictures.values()), classifier.typed("other\nnames").names)
    inputs = model.processor.image_processor(load_image(files[0]), return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs).logits.softmax(-1)[0]
    torch.testing.assert_close(torch.tensor(trained.probabilities), expected, rtol=1e-4, atol=1e-5)
    assert zero_shot.probabilities != trained.probabilities
