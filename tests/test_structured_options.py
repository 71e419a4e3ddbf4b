"""Settings of a processor, given directly or in dictionaries, as in the processors of transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import ProcessorMixin, pipeline

from hf_prompt_models import CptProcessor, FrozenForConditionalGeneration, FrozenProcessor, MantisProcessor
from hf_prompt_models.playground import CLIP_DIR, LM_DIR, VILT_DIR
from tests.models.alpro import little
from tests.tested_method import random_image


IMAGE = random_image()


def prefix_processor(kind: Any) -> ProcessorMixin:
    return kind.from_backbone(LM_DIR, vision_model=CLIP_DIR)


CALLS: dict[str, tuple[Any, dict[str, Any]]] = {
    "mantis": (lambda: prefix_processor(MantisProcessor), {"images": [[IMAGE], []], "text": ["red", "a mug on it"]}),
    "frozen": (lambda: prefix_processor(FrozenProcessor), {"images": [[IMAGE], []], "text": ["red", "a mug on it"]}),
    "alpro": (little.processor, {"images": [[IMAGE], [IMAGE]], "text": ["a dog", "the big red ball"]}),
}


@pytest.mark.parametrize("name", CALLS)
def test_settings_in_dictionaries_are_those_by_themselves(name: str) -> None:
    build, inputs = CALLS[name]
    processor = build()
    flat = processor(**inputs, padding="max_length", max_length=20, do_rescale=False, return_tensors="pt")
    nested = processor(
        **inputs,
        text_kwargs={"padding": "max_length", "max_length": 20},
        images_kwargs={"do_rescale": False},
        common_kwargs={"return_tensors": "pt"},
    )
    assert flat.keys() == nested.keys()
    for key, value in flat.items():
        assert torch.equal(value, nested[key]), key
    assert flat["input_ids"].shape == (2, 20)
    plain = processor(**inputs, padding=True, return_tensors="pt")
    assert plain["input_ids"].shape[1] < 20
    assert flat["pixel_values"].abs().max() > 50 * plain["pixel_values"].abs().max()
    with pytest.raises(ValueError, match=r"twice|two times"):
        processor(**inputs, max_length=20, text_kwargs={"max_length": 21})


@pytest.mark.parametrize("kind", [MantisProcessor, FrozenProcessor])
def test_special_tokens_can_be_left_out_and_unknown_settings_are_refused(kind: Any) -> None:
    processor = prefix_processor(kind)
    inputs = {"text": ["a mug"]}
    processor._start_ids = [0]  # as of a tokenizer that writes one
    started, bare = processor(**inputs), processor(**inputs, add_special_tokens=False)
    assert started["input_ids"][0] == [0, *bare["input_ids"][0]]
    for settings in ({"paddding": True}, {"text_kwargs": {"do_rescale": True}}, {"images_kwargs": {"padding": True}}):
        with pytest.raises(TypeError, match="does not accept"):
            processor(**inputs, **settings)


def test_settings_of_images_and_phrases_reach_cpt() -> None:
    processor = CptProcessor.from_backbone(VILT_DIR)
    inputs = {"images": [IMAGE], "text": ["the red circle"], "boxes": [[[1, 1, 20, 20], [22, 5, 50, 30]]]}
    plain = processor(**inputs)
    raw = processor(**inputs, images_kwargs={"do_rescale": False}, common_kwargs={"return_tensors": "pt"})
    assert torch.equal(raw["pixel_values"], processor(**inputs, do_rescale=False)["pixel_values"])
    assert raw["pixel_values"].abs().max() > 50 * plain["pixel_values"].abs().max()
    cut = processor(**inputs | {"text": ["red " * 60]}, text_kwargs={"truncation": True})
    assert cut["input_ids"].shape[-1] <= processor.max_length
    with pytest.raises(TypeError, match="does not accept size"):
        processor(**inputs, images_kwargs={"size": {"shortest_edge": 30}})


def test_a_pipeline_hands_settings_over(tmp_path: Path) -> None:
    FrozenForConditionalGeneration.from_backbone(LM_DIR, vision_model=CLIP_DIR).save_pretrained(tmp_path)
    pipe = pipeline("image-text-to-text", model=str(tmp_path))
    settings = {"text_kwargs": {"padding": "max_length", "max_length": 20}}
    written = pipe(images=[IMAGE], text="a red", max_new_tokens=3, processor_kwargs=settings)
    assert written[0]["input_text"] == "a red"
