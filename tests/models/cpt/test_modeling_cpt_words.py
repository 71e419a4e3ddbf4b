"""Words about regions against the logits of the backbone."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoProcessor, AutoTokenizer, ViltForMaskedLM

from hf_prompt_models import CptForRegionClassification, CptForRelationDetection, CptForVisualGrounding, CptProcessor
from hf_prompt_models.prompts.colors import SEARCHED_COLORS, paint_regions
from tests.models.cpt.scenes import random_boxes
from tests.tested_method import random_image
from tests.vision_language_stand_ins import dandelin_vilt_b32_mlm


SIZE = (70, 50)
COLORS = dict(SEARCHED_COLORS)
CLASSES = ["dog", "cat", "riding dog", "hold"]  # of 1, 1, 3 ("rid", "##ing", "dog") and 1 pieces
PREDICATES = ["on", "left of", "riding on", "riding"]  # of 1, 2, 3 and 2 pieces


@torch.no_grad()
def log_probs(folder: Path, picture: Image.Image, sentence: str) -> torch.Tensor:
    """Of the vocabulary at each blank, (blanks, vocabulary), by ViLT's own forward."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = tokenizer(sentence, return_tensors="pt")
    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(picture, return_tensors="pt")
    logits = ViltForMaskedLM.from_pretrained(folder)(**text, **pixels).logits[0]
    return logits[text["input_ids"][0] == tokenizer.mask_token_id].log_softmax(dim=-1)


def pieces(folder: Path, words: str) -> list[int]:
    return AutoTokenizer.from_pretrained(folder)(words, add_special_tokens=False).input_ids


def mean_log_prob(folder: Path, picture: Image.Image, words: str, template: str) -> float:
    ids = pieces(folder, words)
    said = log_probs(folder, picture, template.replace("[MASK]", " ".join(["[MASK]"] * len(ids))))
    return sum(said[place, token].item() for place, token in enumerate(ids)) / len(ids)


def test_a_region_s_class_is_the_mean_log_probability_of_its_pieces(vilt: Path) -> None:
    model = CptForRegionClassification.from_backbone(vilt, CLASSES)
    processor = CptProcessor.from_backbone(vilt)
    assert model.num_blanks == [1, 3]
    images, boxes = [random_image(index, SIZE) for index in range(2)], [random_boxes(3, SIZE), random_boxes(1, SIZE)]
    with torch.no_grad():
        logits = model(**processor.for_region_classification(images, model.num_blanks, boxes)).logits
    assert logits.shape == (2, 3, 4)
    for example, (image, of_example) in enumerate(zip(images, boxes, strict=True)):
        for region, box in enumerate(of_example):
            picture = paint_regions(image, [box], [COLORS["red"]])
            expected = [mean_log_prob(vilt, picture, name, "the [MASK] is in red color.") for name in CLASSES]
            assert logits[example, region].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert not logits[1, 1:].any()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_exported_graphs_say_what_the_models_say(vilt: Path) -> None:
    processor = CptProcessor.from_backbone(vilt)
    classifier = CptForRegionClassification.from_backbone(vilt, CLASSES).eval()
    images, boxes = [random_image(0, SIZE)] * 2, [random_boxes(3, SIZE), random_boxes(1, SIZE)]
    detector = CptForRelationDetection.from_backbone(vilt, PREDICATES).eval()
    for model, inputs in (
        (classifier, processor.for_region_classification(images, classifier.num_blanks, boxes)),
        (detector, relation_inputs(processor, detector)),
    ):
        with torch.no_grad():
            exported = torch.export.export(model, (), dict(inputs)).module()(**inputs)
            torch.testing.assert_close(exported.logits, model(**inputs).logits, rtol=1e-5, atol=1e-5)


def test_classification_learns_by_cross_entropy_over_the_classes(vilt: Path) -> None:
    model = CptForRegionClassification.from_backbone(vilt, CLASSES, trainable="all")
    inputs = CptProcessor.from_backbone(vilt).for_region_classification(
        [random_image(index, SIZE) for index in range(2)],
        model.num_blanks,
        [random_boxes(2, SIZE), random_boxes(1, SIZE)],
        labels=[[1, -100], [2]],
    )
    outputs = model(**inputs)
    by_hand = -(outputs.logits[0, 0].log_softmax(-1)[1] + outputs.logits[1, 0].log_softmax(-1)[2]) / 2
    torch.testing.assert_close(outputs.loss, by_hand)
    outputs.loss.backward()
    assert model.tower.mlm_score.transform.dense.weight.grad.any()


def relation_inputs(processor: CptProcessor, model: CptForRelationDetection, **given: Any) -> Any:
    return processor.for_relation_detection(
        [random_image(0, SIZE)],
        names=[["horse", "woman.", "dog"]],
        pairs=[[(0, 1), (2, 0)]],
        num_blanks=model.num_blanks,
        boxes=[random_boxes(3, SIZE)],
        **given,
    )


def test_a_predicate_is_scored_in_both_directions(vilt: Path) -> None:
    model = CptForRelationDetection.from_backbone(vilt, PREDICATES)
    assert model.num_blanks == [1, 2, 3]
    with torch.no_grad():
        logits = model(**relation_inputs(CptProcessor.from_backbone(vilt), model)).logits
    assert logits.shape == (1, 2, 2, 1 + len(PREDICATES))
    assert not logits[..., 0].any()  # no relation
    image, boxes = random_image(0, SIZE), random_boxes(3, SIZE)
    for pair, (subject, other, first, second) in enumerate(((0, 1, "horse", "woman"), (2, 0, "dog", "horse"))):
        picture = paint_regions(image, [boxes[subject], boxes[other]], [COLORS["red"], COLORS["blue"]])
        templates = (
            f"{first} in red color is [MASK] a {second} in blue color",
            f"{second} in blue color is [MASK] a {first} in red color",
        )
        for direction, template in enumerate(templates):
            expected = [mean_log_prob(vilt, picture, predicate, template) for predicate in PREDICATES]
            assert logits[0, pair, direction, 1:].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_training_reports_the_predicate_where_it_fits_and_negative_words_elsewhere(vilt: Path) -> None:
    model = CptForRelationDetection.from_backbone(vilt, PREDICATES)
    assert model.config.id2label[0] == "no relation"
    image, boxes = random_image(0, SIZE), random_boxes(3, SIZE)
    for labels, said in (
        ([3, -100], ["irrelevant", "no relation", "riding on"]),
        ([0, -100], ["irrelevant", "no relation", "no relation with"]),
        ([1, -100], ["on", "no relation", "no relation with"]),
    ):
        with torch.no_grad():
            loss = model(**relation_inputs(CptProcessor.from_backbone(vilt), model, labels=[labels])).loss
        picture = paint_regions(image, [boxes[0], boxes[1]], [COLORS["red"], COLORS["blue"]])
        template = "horse in red color is {} a woman in blue color"
        losses = []
        for words in said:
            ids = pieces(vilt, words)
            at_blanks = log_probs(vilt, picture, template.format(" ".join(["[MASK]"] * len(ids))))
            losses += [-at_blanks[place, token].item() for place, token in enumerate(ids)]
        assert loss.item() == pytest.approx(sum(losses) / 6, rel=1e-5)


def test_long_names_are_cut_and_the_template_is_not(vilt: Path) -> None:
    model, processor = CptForRelationDetection.from_backbone(vilt, PREDICATES), CptProcessor.from_backbone(vilt)
    settings: Any = {
        "names": [["horse " * 90, "the woman"]],
        "pairs": [[(0, 1)]],
        "num_blanks": model.num_blanks,
        "boxes": [random_boxes(2, SIZE)],
    }
    with pytest.raises(ValueError, match="but the model has 40 positions: 'horse horse"):
        processor.for_relation_detection([random_image(0, SIZE)], **settings)
    inputs = processor.for_relation_detection([random_image(0, SIZE)], **settings, truncation=True)
    said = processor.tokenizer.batch_decode(inputs["input_ids"][0, 0], skip_special_tokens=False)
    assert inputs["input_ids"].shape[-1] == 40
    assert all(text.count("[MASK]") == 1 + place % 3 for place, text in enumerate(said))
    assert all(
        text.endswith("is " + "[MASK] " * (1 + place) + "a the woman in blue color [SEP]")
        for place, text in enumerate(said[:3])
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": [[(0, 0), (1, 0)]]}, r"\(0, 0\) is not a pair"),
        ({"pairs": [[(0, 3)]]}, r"\(0, 3\) is not a pair"),
        ({"pairs": [[]]}, "Example 0 has no pairs"),
        ({"names": [["horse"]]}, "Example 0 has 1 names, but 3 regions"),
        ({"names": [["horse", "[MASK]", "dog"]]}, "special token"),
        ({"colors": ("red", "orange")}, "no colour 'orange' in the palette"),
        ({"template": "{object} is [MASK] {subject}"}, "then {object} once"),
    ],
)
def test_relations_that_do_not_fit_are_refused(change: dict[str, Any], message: str, vilt: Path) -> None:
    given: dict[str, Any] = {"names": [["horse", "woman", "dog"]], "pairs": [[(0, 1)]], **change}
    with pytest.raises(ValueError, match=message):
        CptProcessor.from_backbone(vilt).for_relation_detection(
            [random_image(0, SIZE)], num_blanks=[1], boxes=[random_boxes(3, SIZE)], **given
        )


def test_inputs_for_other_labels_are_refused(vilt: Path) -> None:
    model = CptForRegionClassification.from_backbone(vilt, CLASSES)
    inputs = CptProcessor.from_backbone(vilt).for_region_classification(
        [random_image(0, SIZE)], [1], [random_boxes(2, SIZE)]
    )
    with pytest.raises(ValueError, match=r"Pass num_blanks=\[1, 3\]"):
        model(**inputs)


def test_words_that_do_not_fit_are_refused(vilt: Path) -> None:
    with pytest.raises(ValueError, match=r"'in front of' has .* tokens"):
        CptForRelationDetection.from_backbone(vilt, ["on", "in front of"])
    with pytest.raises(ValueError, match="'not' have 2 tokens"):
        CptForRelationDetection.from_backbone(vilt, ["on"], negatives={1: "not"})
    with pytest.raises(ValueError, match="negatives= has no words of 2 tokens"):
        CptForRelationDetection.from_backbone(vilt, ["on", "riding"], negatives={1: "irrelevant"})
    with pytest.raises(ValueError, match="does not know the word 'ß'"):
        CptForRegionClassification.from_backbone(vilt, ["dog", "ß"])


def test_a_backbone_without_blanks_is_refused(openai_clip: Path) -> None:
    with pytest.raises(TypeError, match="masked-language head, but CLIPModel has none"):
        CptForRegionClassification.from_backbone(openai_clip, ["cat"])


def test_architectures_picks_the_class_at_each_reload(tmp_path: Path) -> None:
    backbone = dandelin_vilt_b32_mlm(tmp_path / "backbone")
    models = [
        CptForVisualGrounding.from_backbone(backbone),
        CptForRegionClassification.from_backbone(backbone, CLASSES),
        CptForRelationDetection.from_backbone(backbone, PREDICATES),
    ]
    for model in models:
        for scope in ("prompt", "full"):
            folder = tmp_path / f"{type(model).__name__}-{scope}"
            model.save_pretrained(folder, save_backbone=scope == "full")
    processor = CptProcessor.from_backbone(backbone)
    inputs = processor.for_region_classification([random_image(0, SIZE)], [1, 3], [random_boxes(2, SIZE)])
    for model in models:
        for scope in ("prompt", "full"):
            if scope == "full":
                shutil.rmtree(backbone, ignore_errors=True)
            else:
                dandelin_vilt_b32_mlm(backbone)
            loaded = AutoModel.from_pretrained(tmp_path / f"{type(model).__name__}-{scope}")
            assert type(loaded) is type(model)
            assert loaded.config.id2label == model.config.id2label
            if isinstance(model, CptForRegionClassification):
                with torch.no_grad():
                    assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)
            assert isinstance(
                AutoProcessor.from_pretrained(tmp_path / f"{type(model).__name__}-{scope}"), CptProcessor
            )
