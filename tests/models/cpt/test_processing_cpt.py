"""Conversion of images, regions and phrases to painted copies and sentences."""

import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, AutoTokenizer

from hf_prompt_models import CptForVisualGrounding, CptProcessor
from hf_prompt_models.models.cpt import processing_cpt
from hf_prompt_models.models.cpt.processing_cpt_base import assign_colors
from hf_prompt_models.prompts.colors import SEARCHED_COLORS, paint_regions
from tests.models.cpt.scenes import random_boxes
from tests.tested_method import random_image


SIZE = (60, 40)


@pytest.fixture(scope="module")
def processor(vilt: Path) -> CptProcessor:
    return CptProcessor.from_backbone(vilt)


def sentence(processor: CptProcessor, inputs: Any, copy: int = 0, text: int = 0, example: int = 0) -> str:
    ids = inputs["input_ids"][example, copy, text][inputs["attention_mask"][example, copy, text] > 0]
    return processor.tokenizer.decode(ids)


def ids(processor: CptProcessor, *words: str) -> list[int]:
    return processor.tokenizer.convert_tokens_to_ids(list(words))


# -- which region has which colour -----------------------------------------------------------------------------------


def test_regions_are_shared_out_over_copies_in_order() -> None:
    assert assign_colors(1, 3) == [[0]]
    assert assign_colors(3, 3) == [[0, 1, 2]]
    assert assign_colors(4, 3) == [[0, 1, 2], [3]]
    assert assign_colors(3, 1) == [[0], [1], [2]]
    assert [len(assign_colors(count, 6)) for count in (1, 6, 7, 60)] == [1, 1, 2, 10]


def test_an_anchor_is_the_first_of_every_copy() -> None:
    assert assign_colors(1, 3, anchored=True) == [[0]]
    assert assign_colors(3, 3, anchored=True) == [[0, 1, 2]]
    assert assign_colors(6, 3, anchored=True) == [[0, 1, 2], [0, 3, 4], [0, 5]]


def test_several_colours_name_the_regions_of_a_copy(vilt: Path) -> None:
    processor = CptProcessor.from_backbone(vilt, mode="multi_color", colors=SEARCHED_COLORS[:3])
    inputs = processor(images=random_image(), text="the horse", boxes=random_boxes(4, SIZE))
    red, purple, yellow, none = ids(processor, "red", "purple", "yellow", "none")
    assert inputs["region_index"].tolist() == [[[0, 1, 2], [3, -1, -1]]]
    assert inputs["color_token_ids"].tolist() == [[[red, purple, yellow], [red, -1, -1]]]
    assert inputs["none_token_ids"].tolist() == [[none, none]]


def test_one_colour_makes_a_copy_for_each_region(processor: CptProcessor) -> None:
    inputs = processor(
        images=[random_image()] * 2, text=["the horse", "a dog"], boxes=[random_boxes(3, SIZE), random_boxes(1, SIZE)]
    )
    (red,) = ids(processor, "red")
    assert inputs["copy_mask"].tolist() == inputs["region_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert inputs["region_index"].tolist() == [[[0], [1], [2]], [[0], [-1], [-1]]]
    assert inputs["color_token_ids"].tolist() == [[[red]] * 3, [[red], [-1], [-1]]]
    assert inputs["image_sizes"].tolist() == [[64, 96], [64, 96]]


def test_the_regions_of_a_copy_are_painted_and_no_others(vilt: Path) -> None:
    processor = CptProcessor.from_backbone(vilt, mode="multi_color", colors=SEARCHED_COLORS[:2], alpha=255)
    white = Image.new("RGB", (96, 64), (255, 255, 255))  # as large as the tower sees it, so that nothing is resized
    inputs = processor(images=white, text="the horse", boxes=[[0, 0, 32, 32], [32, 0, 64, 32], [64, 32, 96, 64]])
    pixels = ((inputs["pixel_values"][0] * 0.5 + 0.5) * 255).round().int().permute(0, 2, 3, 1)
    assert pixels[0, 16, 16].tolist() == [240, 0, 30]
    assert pixels[0, 16, 48].tolist() == [155, 50, 210]
    assert pixels[0, 48, 80].tolist() == [255, 255, 255]
    assert pixels[1, 16, 16].tolist() == [255, 255, 255]
    assert pixels[1, 48, 80].tolist() == [240, 0, 30]


def test_masks_are_painted_instead_of_boxes(processor: CptProcessor) -> None:
    image, box = random_image(), [5, 6, 40, 30]
    full, part = np.zeros((2, 40, 60), dtype=bool)
    full[6:30, 5:40] = True
    part[6:10, 5:40] = True
    by_box = processor(images=image, text="the horse", boxes=[box])
    by_mask = processor(images=image, text="the horse", masks=[full])
    assert torch.equal(by_mask["pixel_values"], by_box["pixel_values"])
    by_part = processor(images=image, text="the horse", boxes=[box], masks=[Image.fromarray(part)])
    assert not torch.equal(by_part["pixel_values"], by_box["pixel_values"])


def test_regions_that_do_not_fit_are_refused_by_example(processor: CptProcessor) -> None:
    image, mask = random_image(), np.ones((40, 60))

    def prepare(**regions: Any) -> None:
        processor(images=[image, image], text=["the horse", "a dog"], **regions)

    good = [[0, 0, 9, 9]]
    with pytest.raises(ValueError, match="Boxes or masks are needed"):
        prepare()
    with pytest.raises(ValueError, match="Example 1 has no regions"):
        prepare(boxes=[good, []])
    with pytest.raises(ValueError, match="Example 1: Box 1 is empty"):
        prepare(boxes=[good, [*good, [70, 0, 80, 9]]])
    with pytest.raises(ValueError, match="Example 1 has 1 boxes, but 2 masks"):
        prepare(boxes=[good, good], masks=[[mask], [mask, mask]])
    with pytest.raises(ValueError, match=r"Example 0: Mask 0 has the shape \(60, 40\)"):
        prepare(masks=[[mask.T], [mask]])
    with pytest.raises(ValueError, match="boxes for 2 examples, got 1"):
        prepare(boxes=[good])
    with pytest.raises(TypeError, match="Image 0: Expected a path"):
        processor(images={}, text="the horse", boxes=good)


# -- sentences -------------------------------------------------------------------------------------------------------


def test_the_phrase_is_in_the_template_without_full_stops(processor: CptProcessor) -> None:
    inputs = processor(images=random_image(), text=" the  horse. watched by the woman. ", boxes=[[0, 0, 9, 9]])
    assert sentence(processor, inputs) == "[CLS] the horse watched by the woman is in [MASK] color. [SEP]"
    (place,) = inputs["mask_positions"].flatten().tolist()
    assert inputs["input_ids"][0, 0, 0, place] == processor.tokenizer.mask_token_id


def test_full_stops_leave_no_space_behind(processor: CptProcessor) -> None:
    inputs = processor(images=random_image(), text="the r.e.d. horse.", boxes=[[0, 0, 9, 9]])
    assert sentence(processor, inputs) == "[CLS] the red horse is in [MASK] color. [SEP]"


@pytest.mark.parametrize("words", [32, 33, 34, 35, 60, 5000])
def test_truncation_cuts_a_long_phrase_and_not_the_template(words: int, processor: CptProcessor) -> None:
    phrase = " ".join(["horse", "dog", "cat"] * words)[: words * 4].rsplit(" ", 1)[0]
    inputs = processor(images=random_image(), text=phrase, boxes=[[0, 0, 9, 9]], truncation=True)
    said = sentence(processor, inputs)
    assert said.endswith("is in [MASK] color. [SEP]")
    assert inputs["input_ids"].shape[-1] <= 40
    kept = said.removeprefix("[CLS] ").removesuffix(" is in [MASK] color. [SEP]")
    assert phrase.startswith(kept)
    whole = len(processor.tokenizer(f"{phrase} is in [MASK] color.", verbose=False).input_ids)
    assert inputs["input_ids"].shape[-1] == min(whole, 40)
    assert processor.sentence_length(phrase) == whole


def test_a_phrase_is_read_whole_up_to_the_last_token_and_refused_beyond(processor: CptProcessor) -> None:
    template = processor.sentence_length("dog") - 1
    longest = " ".join(["dog"] * (40 - template))
    inputs = processor(images=random_image(), text=longest, boxes=[[0, 0, 9, 9]])
    assert inputs["input_ids"].shape[-1] == 40
    with pytest.raises(
        ValueError, match=r"it has 41 tokens, but the model has 40 positions: 'dog dog.*truncation=True"
    ):
        processor(images=[random_image()] * 2, text=["cat", f"{longest} dog"], boxes=[[[0, 0, 9, 9]]] * 2)


@pytest.mark.parametrize("phrase", ["the [MASK] horse", "horse [SEP]", "[CLS]", "the [MA.SK] horse"])
def test_a_phrase_with_a_special_token_is_refused(phrase: str, processor: CptProcessor) -> None:
    with pytest.raises(ValueError, match="Phrase 1 contains the special token"):
        processor(images=[random_image()] * 2, text=["a dog", phrase], boxes=[[[0, 0, 9, 9]]] * 2)


def test_an_empty_phrase_is_refused(processor: CptProcessor) -> None:
    with pytest.raises(ValueError, match="Phrase 0 is empty"):
        processor(images=random_image(), text=" . ", boxes=[[0, 0, 9, 9]])


def test_the_mask_token_and_the_colours_are_those_of_the_backbone(bridgetower: Path) -> None:
    processor = CptProcessor.from_backbone(bridgetower)
    inputs = processor(images=random_image(), text="the horse", boxes=[[0, 0, 9, 9]])
    assert sentence(processor, inputs) == "<s>the horse is in<mask> color.</s>"
    assert inputs["color_token_ids"].flatten().tolist() == ids(processor, "Ġred")
    assert inputs["none_token_ids"].flatten().tolist() == ids(processor, "Ġnone")
    assert processor.max_length == 60


def test_a_colour_word_of_several_pieces_is_refused_by_name(vilt: Path) -> None:
    with pytest.raises(ValueError, match="'cyan' has the tokens"):
        CptProcessor.from_backbone(vilt, mode="multi_color", colors=[("red", (1, 2, 3)), ("cyan", (0, 255, 255))])


@pytest.mark.parametrize("template", ["{} is red", "it is in [MASK] color", "{} {} [MASK]", "{} [MASK] [MASK]"])
def test_a_template_without_its_blank_or_its_phrase_is_refused(template: str, vilt: Path) -> None:
    with pytest.raises(ValueError, match=r"A template needs one \{\}"):
        CptProcessor.from_backbone(vilt, template=template)


def test_a_template_that_is_too_long_is_refused(vilt: Path) -> None:
    processor = CptProcessor.from_backbone(vilt, template="{} is in [MASK] color" + " of the dog" * 20)
    with pytest.raises(ValueError, match=r"alone has .* the text encoder takes 40"):
        processor(images=random_image(), text="the horse", boxes=[[0, 0, 9, 9]])


def test_reference_phrases_are_further_sentences(vilt: Path) -> None:
    processor = CptProcessor.from_backbone(vilt, reference_phrases=["", "a dog"])
    inputs = processor(images=random_image(), text="the horse", boxes=[[0, 0, 9, 9]])
    said = [sentence(processor, inputs, text=text) for text in range(3)]
    assert said[1:] == ["[CLS] is in [MASK] color. [SEP]", "[CLS] a dog is in [MASK] color. [SEP]"]


def test_tags_stand_behind_the_sentence_and_the_painted_region_s_has_its_colour(processor: CptProcessor) -> None:
    inputs = processor(images=random_image(), text="the horse", boxes=random_boxes(2, SIZE), tags=["horse", "woman"])
    start = "[CLS] the horse is in [MASK] color. [SEP] "
    assert sentence(processor, inputs, copy=0) == start + "red horse woman [SEP]"
    assert sentence(processor, inputs, copy=1) == start + "horse red woman [SEP]"
    assert inputs["token_type_ids"][0, 0, 0].tolist() == [0] * 9 + [1] * 4


def test_tags_give_way_to_the_sentence(processor: CptProcessor, caplog: pytest.LogCaptureFixture) -> None:
    boxes, tags = random_boxes(60, SIZE), ["horse"] * 60
    inputs = processor(images=random_image(), text="the horse", boxes=boxes, tags=tags)
    assert inputs["input_ids"].shape[-1] == 40
    assert sentence(processor, inputs).startswith("[CLS] the horse is in [MASK] color. [SEP] red horse horse")
    assert "Truncated the tags of 60 of the 60 copies" in caplog.text
    long = "horse " * 50
    inputs = processor(images=random_image(), text=long, boxes=boxes, tags=tags, truncation=True)
    assert sentence(processor, inputs).endswith("is in [MASK] color. [SEP]")  # no room for any


def test_tags_are_one_for_each_region(processor: CptProcessor) -> None:
    with pytest.raises(ValueError, match="Example 0 has 1 tags, but 2 regions"):
        processor(images=random_image(), text="the horse", boxes=random_boxes(2, SIZE), tags=["horse"])


# -- choices ---------------------------------------------------------------------------------------------------------


def test_an_anchor_needs_several_colours(vilt: Path) -> None:
    with pytest.raises(ValueError, match="needs mode='multi_color'"):
        CptProcessor.from_backbone(vilt, calibration="anchor")


def test_a_mark_that_is_no_colour_needs_a_backbone_that_matches_sentences(vilt: Path) -> None:
    with pytest.raises(ValueError, match="has no blank"):
        CptProcessor.from_backbone(vilt, mode="circle")
    with pytest.raises(ValueError, match="got 'square'"):
        CptProcessor.from_backbone(vilt, mode="square")


def test_the_defaults_are_one_colour_of_the_searched_ones(processor: CptProcessor) -> None:
    assert processor.mode == "single_color"
    assert processor.colors == list(SEARCHED_COLORS)
    assert processor.template == "{} is in [MASK] color."
    assert processor.alpha == 127


def test_choices_survive_saving_in_order(vilt: Path, tmp_path: Path) -> None:
    colors = [("yellow", (9, 8, 7)), ("blue", (0, 0, 255)), ("red", (255, 0, 0))]
    choices: dict[str, Any] = {
        "mode": "multi_color",
        "colors": colors,
        "template": "{} in [MASK]",
        "alpha": 100,
        "calibration": "anchor",
        "reference_phrases": [""],
    }
    CptProcessor.from_backbone(vilt, **choices).save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(loaded, CptProcessor)
    assert {name: getattr(loaded, name) for name in choices} == choices
    written = json.loads((tmp_path / "processor_config.json").read_text())
    assert [name for name, _ in written["colors"]] == ["yellow", "blue", "red"]
    inputs = {"images": random_image(), "text": "the horse", "boxes": random_boxes(4, SIZE)}
    for name, tensor in CptProcessor.from_backbone(vilt, **choices)(**inputs).items():
        assert torch.equal(loaded(**inputs)[name], tensor), name


def test_a_processor_without_images_is_saved_and_loaded(visualbert: Path, tmp_path: Path) -> None:
    CptProcessor.from_backbone(visualbert).save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert loaded.image_processor is None
    assert loaded.backbone_type == "visual_bert"


def test_a_tokenizer_can_come_from_elsewhere(visualbert: Path, vilt: Path, tmp_path: Path) -> None:
    """The VisualBERT checkpoints of uclanlp have none."""
    for name in ("config.json", "model.safetensors"):
        shutil.copy(visualbert / name, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(vilt)
    assert CptProcessor.from_backbone(tmp_path, tokenizer=tokenizer).tokenizer is tokenizer
    assert CptForVisualGrounding.from_backbone(tmp_path, tokenizer=tokenizer).processor.tokenizer is tokenizer


def test_reference_phrases_are_phrases(vilt: Path) -> None:
    assert CptProcessor.from_backbone(vilt, reference_phrases=["", "a  dog."]).reference_phrases == ["", "a dog"]
    with pytest.raises(ValueError, match="special token"):
        CptProcessor.from_backbone(vilt, reference_phrases=["[MASK]"])


def test_an_image_of_which_no_patch_is_left_is_refused(processor: CptProcessor) -> None:
    with pytest.raises(ValueError, match="an image of 900 x 10 pixels"):
        processor(images=random_image(size=(900, 10)), text="the horse", boxes=[[0, 0, 9, 9]])


# -- training --------------------------------------------------------------------------------------------------------


def test_labels_are_overlaps_in_inclusive_pixels(processor: CptProcessor) -> None:
    boxes = [[0, 0, 9, 9], [5, 0, 14, 9], [20, 20, 29, 29]]
    # Each is 10 x 10 pixels; the second shares 5 x 10 with the first.
    inputs = processor(
        images=[random_image()] * 2,
        text=["the horse", "a dog"],
        boxes=[boxes, boxes[:1]],
        target_boxes=[[0, 0, 9, 9], [5, 0, 14, 9]],
    )
    expected = torch.tensor([[1.0, 50 / 150, 0.0], [50 / 150, -1.0, -1.0]])
    torch.testing.assert_close(inputs["labels"], expected)


def test_boxes_may_be_arrays_or_tensors(processor: CptProcessor) -> None:
    boxes, targets = [[[0, 0, 9, 9], [5, 5, 20, 20]]], [[0, 0, 9, 12]]
    inputs = [
        processor(images=[random_image()], text=["a dog"], boxes=make(boxes), target_boxes=make(targets))
        for make in (list, np.array, torch.tensor)
    ]
    for other in inputs[1:]:
        assert all(torch.equal(inputs[0][name], other[name]) for name in inputs[0])


def test_a_list_of_boxes_that_is_not_one_for_each_example_is_refused(processor: CptProcessor) -> None:
    with pytest.raises(ValueError, match=r"Example 0: Expected four numbers x1, y1, x2, y2 for box 0, got 0"):
        processor(images=[random_image()], text=["a dog"], boxes=[[0, 0, 9, 9]])
    with pytest.raises(TypeError, match="list of images"):
        processor(images=random_image(), text=["a dog"], boxes=[[[0, 0, 9, 9]]])


# -- region features -------------------------------------------------------------------------------------------------


def test_features_are_those_of_the_painted_copies(lxmert: Path) -> None:
    processor = CptProcessor.from_backbone(lxmert)
    image, boxes = random_image(), [[0, 0, 30, 20], [30, 20, 60, 40]]

    def mean_colors(picture: Image.Image, of_boxes: list[Any]) -> np.ndarray:
        return np.stack([np.asarray(picture.crop(box)).mean(axis=(0, 1)) for box in of_boxes])

    inputs = processor(images=image, text="the horse", boxes=boxes, region_features=mean_colors)
    plain = torch.tensor(mean_colors(image, boxes), dtype=torch.float32)
    red = torch.tensor([240.0, 0.0, 30.0])
    features = inputs["region_features"][0]
    torch.testing.assert_close(features[0, 1], plain[1])
    torch.testing.assert_close(features[1, 0], plain[0])
    torch.testing.assert_close(features[0, 0], (127 * red + 128 * plain[0]) / 255, atol=0.5, rtol=0)
    torch.testing.assert_close(
        inputs["region_geometry"][0], torch.tensor([[0, 0, 0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 1, 1, 0.5, 0.5]])
    )
    given = processor(images=image, text="the horse", boxes=boxes, region_features=features.numpy())
    assert torch.equal(given["region_features"], inputs["region_features"])


def test_features_that_are_missing_or_do_not_fit_are_refused(lxmert: Path) -> None:
    processor = CptProcessor.from_backbone(lxmert)
    inputs = {"images": random_image(), "text": "the horse", "boxes": random_boxes(2, SIZE)}
    with pytest.raises(ValueError, match="Pass region_features="):
        processor(**inputs)
    with pytest.raises(ValueError, match="Expected 2 arrays of region features"):
        processor(**inputs, region_features=np.zeros((1, 2, 12)))
    with pytest.raises(ValueError, match="region features for example 0"):
        processor(**inputs, region_features=lambda picture, boxes: np.zeros((1, 12)))


# -- many regions of a large photo -----------------------------------------------------------------------------------


def test_painted_copies_are_not_all_kept(vilt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[Image.Image]] = []
    most = 0

    def paint_and_count(*args: Any) -> Image.Image:
        nonlocal most
        painted = paint_regions(*args)
        alive.append(weakref.ref(painted))
        most = max(most, sum(each() is not None for each in alive))
        return painted

    monkeypatch.setattr(processing_cpt, "paint_regions", paint_and_count)
    CptProcessor.from_backbone(vilt)(images=random_image(), text="the horse", boxes=random_boxes(20, SIZE))
    assert len(alive) == 20
    assert most <= 2


def test_a_palette_of_the_user_s_is_checked_whole(vilt: Path) -> None:
    with pytest.raises(ValueError, match="'cyan' has the tokens"):
        CptProcessor.from_backbone(vilt, colors=[("red", (1, 2, 3)), ("cyan", (0, 255, 255))])
