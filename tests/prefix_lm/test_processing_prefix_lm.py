"""Processing of text and images to model inputs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, AutoTokenizer, ProcessorMixin

from hf_prompt_models import FrozenProcessor, MantisProcessor
from hf_prompt_models.data.images.loading import UnreadableImageError
from tests.prefix_lm.backbones import language_folder, resnet_folder
from tests.tested_method import random_image


A, B, C = (random_image(seed) for seed in range(3))


@pytest.fixture(scope="module", params=[MantisProcessor, FrozenProcessor])
def processor(request: pytest.FixtureRequest) -> ProcessorMixin:
    return request.param.from_backbone(language_folder("gpt2"), vision_model=resnet_folder(), num_image_tokens=2)


def readable(processor: ProcessorMixin, **arguments: Any) -> list[str]:
    """The examples as text, a placeholder for each slot, without the separator."""
    inputs = processor(**arguments)
    return [processor.tokenizer.decode(ids).replace("<sep>", "") for ids in inputs["input_ids"]]


def pixels(processor: ProcessorMixin, *images: Image.Image) -> torch.Tensor:
    return torch.cat([processor(images=[[image]], text=[""], return_tensors="pt")["pixel_values"] for image in images])


# -- where images stand ----------------------------------------------------------------------------------------------

SLOTS = "<image><image>"


def test_images_go_in_front_of_text_without_placeholders(processor: ProcessorMixin) -> None:
    found = readable(processor, images=[[A, B], [], [C]], text=["red", "a mug", ""])
    assert found == [f"{SLOTS * 2}red", "a mug", SLOTS]
    inputs = processor(images=[[A, B], [], [C]], text=["red", "a mug", ""])
    assert torch.equal(torch.as_tensor(inputs["pixel_values"]), pixels(processor, A, B, C))


@pytest.mark.parametrize(
    ("images", "text", "expected"),
    [
        ([[A, B]], ["<image>red <image> mug"], [f"{SLOTS}red {SLOTS} mug"]),
        ([A, B], "<image>red <image> mug", [f"{SLOTS}red {SLOTS} mug"]),
        ([A, B], "red", [f"{SLOTS * 2}red"]),
        (A, "red", [f"{SLOTS}red"]),
        (A, None, [SLOTS]),
        ([A, B], ["red", "mug"], [f"{SLOTS}red", f"{SLOTS}mug"]),
        ([A, B], ["red", "<image> a <image>"], ["red", f"{SLOTS} a {SLOTS}"]),
        ([A, [B, C]], ["red", "mug"], [f"{SLOTS}red", f"{SLOTS * 2}mug"]),
        ([[A], []], None, [SLOTS, ""]),
        (None, ["red", ""], ["red", ""]),
    ],
)
def test_every_way_of_handing_over_images(
    images: Any, text: Any, expected: list[str], processor: ProcessorMixin
) -> None:
    assert readable(processor, images=images, text=text) == expected


@pytest.mark.parametrize(
    ("images", "text"),
    [
        ([[A]], ["<image> and <image>"]),
        ([[A, B]], ["<image>"]),
        ([[]], ["<image>"]),
        (None, ["<image>"]),
        ([A], ["<image>", "<image>"]),
        ([[A], [B]], ["one text"]),
        ([A, B, C], ["two", "texts"]),
    ],
)
def test_images_unlike_placeholders_are_refused(images: Any, text: Any, processor: ProcessorMixin) -> None:
    with pytest.raises(ValueError, match=r"placeholders|list of images"):
        processor(images=images, text=text)


@pytest.mark.parametrize(("arguments", "said"), [({}, "images nor text"), ({"text": [1]}, "string")])
def test_nothing_and_no_text_are_refused(arguments: dict, said: str, processor: ProcessorMixin) -> None:
    with pytest.raises(ValueError, match=said):
        processor(**arguments)


# -- text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("language_model", "start"), [("gpt2", []), ("opt", [2]), ("llama", [1])])
def test_what_the_tokenizer_writes_in_front_of_a_text_stays_in_front(language_model: str, start: list[int]) -> None:
    processor = FrozenProcessor.from_backbone(language_folder(language_model), resnet_folder())
    text = AutoTokenizer.from_pretrained(language_folder(language_model))("a red mug")["input_ids"]
    assert text[: len(start)] == start
    slots = [processor.image_token_id] * 2
    (ids,) = processor(images=[[A]], text=["a red mug"], suffix=["it"])["input_ids"]
    suffix = [processor.tokenizer.convert_tokens_to_ids(token) for token in "it"]
    assert ids == [*start, *slots, *text[len(start) :], *suffix, processor.tokenizer.eos_token_id]


def test_labels_are_the_suffix_and_its_end(processor: ProcessorMixin) -> None:
    inputs = processor(images=[[A], []], text=["red", "the mug"], suffix=["it is", "a"], padding=True)
    end = processor.tokenizer.eos_token_id
    for row, suffix in zip(inputs["labels"], ["it is", "a"], strict=True):
        ids = [*processor.tokenizer(suffix)["input_ids"], end]
        assert [label for label in row if label != -100] == ids
    for ids, row, mask in zip(*(inputs[name] for name in ("input_ids", "labels", "attention_mask")), strict=True):
        assert all(label in (-100, token) for label, token in zip(row, ids, strict=True))
        assert all(label == -100 for label, real in zip(row, mask, strict=True) if not real)


@pytest.mark.parametrize("suffix", ["", "  \n"])
def test_an_empty_suffix_is_named(suffix: str, processor: ProcessorMixin) -> None:
    with pytest.raises(ValueError, match="suffix of example 1 is empty"):
        processor(text=["a", "b"], suffix=["red", suffix])


def test_other_wrong_suffixes_are_named(processor: ProcessorMixin) -> None:
    with pytest.raises(ValueError, match="1 suffixes for 2 examples"):
        processor(text=["a", "b"], suffix=["red"])
    with pytest.raises(ValueError, match="contains <image>"):
        processor(text=["a"], suffix=["a <image>"])


def test_padding_goes_left_for_generation_and_right_for_training(processor: ProcessorMixin) -> None:
    texts = ["a", "the red mug"]
    prompt = processor(text=texts, padding=True, return_tensors="pt")
    assert prompt["attention_mask"][0, 0] == 0
    assert prompt["attention_mask"][0, -1] == 1
    batch = processor(text=texts, suffix=["it", "it"], padding=True, return_tensors="pt")
    assert batch["attention_mask"][0, 0] == 1
    assert batch["attention_mask"][0, -1] == 0
    fixed = processor(text=texts, padding="max_length", max_length=30, padding_side="right", return_tensors="pt")
    assert fixed["input_ids"].shape == (2, 30)
    assert fixed["attention_mask"][1, -1] == 0
    for wrong in ({"padding": "max_length"}, {"padding": "both"}):
        with pytest.raises(ValueError, match="padding"):
            processor(text=texts, **wrong)


# -- length ----------------------------------------------------------------------------------------------------------


def test_text_longer_than_the_positions_is_refused(processor: ProcessorMixin) -> None:
    with pytest.raises(ValueError, match=r"Example 1 .* of which 2 are image slots.* has 64"):
        processor(images=[[A], [B]], text=["a", "mug " * 80])
    endless = type(processor).from_backbone(language_folder("bloom"), resnet_folder())  # no positions, no limit
    assert len(endless(text=["mug " * 200])["input_ids"][0]) > 200


def test_truncation_cuts_text_and_no_slot(processor: ProcessorMixin) -> None:
    long = "a" * 100
    end = len(processor(text=[""])["input_ids"][0])  # MAnTiS's separator
    inputs = processor(images=[[A, B]], text=["a mug"], suffix=[long], truncation=True, max_length=20)
    assert inputs["input_ids"][0].count(processor.image_token_id) == 4
    prompt = processor(images=[[A, B]], text=["a mug"])["input_ids"][0]
    assert inputs["input_ids"][0][: len(prompt)] == prompt
    assert len(inputs["input_ids"][0]) == 20
    assert sum(label != -100 for label in inputs["labels"][0]) == 20 - len(prompt)
    assert processor.tokenizer.eos_token_id not in inputs["labels"][0]  # a text that was cut is not over
    (ids,) = processor(images=[[A, B]], text=[long], truncation=True, max_length=10)["input_ids"]
    assert ids[:4] == [processor.image_token_id] * 4
    assert len(ids) == 10
    assert ids[10 - end :] == prompt[len(prompt) - end :]
    (ids,) = processor(images=[[A]], text=[long], truncation=True)["input_ids"]
    assert len(ids) == 64
    for text in ("", f"{long}<image><image>"):
        with pytest.raises(ValueError, match="never truncated"):
            processor(images=[[A, B]], text=[text], truncation=True, max_length=3)


# -- tokenizers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processor_class", [MantisProcessor, FrozenProcessor])
def test_tokenizers_without_end_or_padding_are_refused(processor_class: Any, processor: ProcessorMixin) -> None:
    tokenizer = AutoTokenizer.from_pretrained(language_folder("gpt2"))
    with pytest.raises(ValueError, match="pad_token") as error:
        processor_class(processor.image_processor, tokenizer)
    assert "eos_token" in str(error.value)
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="eos_token"):
        processor_class(processor.image_processor, tokenizer)


def test_from_backbone_pads_with_the_end_token_where_there_is_no_other() -> None:
    for language_model, pad in (("gpt2", "<|endoftext|>"), ("opt", "<pad>"), ("llama", "</s>")):
        processor = MantisProcessor.from_backbone(language_folder(language_model), resnet_folder())
        assert processor.tokenizer.pad_token == pad


def test_a_saved_processor_is_the_same(processor: ProcessorMixin, tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path)
    loaded = type(processor).from_pretrained(tmp_path)
    arguments = {"images": [[A, B]], "text": ["a red mug"], "suffix": ["it"], "return_tensors": "pt"}
    expected = processor(**arguments)
    assert all(torch.equal(loaded(**arguments)[name], expected[name]) for name in expected)
    for name in ("num_image_tokens", "max_positions", "blind", "image_token_id"):
        assert getattr(loaded, name) == getattr(processor, name)
    assert len(loaded.tokenizer) == len(processor.tokenizer)


# -- images ----------------------------------------------------------------------------------------------------------


def test_images_come_in_many_forms(processor: ProcessorMixin, tmp_path: Path) -> None:
    A.save(tmp_path / "a.png")
    array = np.asarray(A)
    expected = pixels(processor, A)
    for form in (tmp_path / "a.png", str(tmp_path / "a.png"), array, torch.from_numpy(array.copy()).permute(2, 0, 1)):
        assert torch.equal(pixels(processor, form), expected)
    for mode in ("L", "RGBA", "P", "CMYK"):
        assert pixels(processor, A.convert(mode)).shape == expected.shape


def test_an_unreadable_image_is_named(processor: ProcessorMixin, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    for path in (tmp_path / "a.png", tmp_path / "missing.png"):
        with pytest.raises(UnreadableImageError, match=path.name):
            processor(images=[[A, path]], text=[""])
    A.save(tmp_path / "b.png")
    content = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(content[: len(content) // 2])
    with Image.open(tmp_path / "b.png") as opened, pytest.raises(UnreadableImageError, match=r"b\.png"):
        processor(images=[[opened]], text=[""])
    with pytest.raises(ValueError, match="int"):
        processor(images=[[3]], text=[""])


def test_a_blind_processor_sees_black(processor: ProcessorMixin, tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path)
    blind = AutoProcessor.from_pretrained(_with_config(processor, tmp_path), blind=True)
    black = Image.new("RGB", A.size)
    assert torch.equal(pixels(blind, A), pixels(processor, black))
    assert not torch.equal(pixels(processor, A), pixels(processor, black))
    blind.save_pretrained(tmp_path)
    assert AutoProcessor.from_pretrained(tmp_path).blind


def _with_config(processor: ProcessorMixin, folder: Path) -> Path:
    model_type = {"MantisProcessor": "mantis_nlg", "FrozenProcessor": "frozen"}[type(processor).__name__]
    (folder / "config.json").write_text(f'{{"model_type": "{model_type}"}}')
    return folder


@pytest.mark.parametrize("name", ["key.png", "https://example.org/a/cup.JPG", "shots/red.webp"])
def test_the_name_of_an_image_is_no_text(name: str, processor: ProcessorMixin) -> None:
    """A pipeline hands over the files of `pipe(images=[...])` as texts where no text is passed."""
    with pytest.raises(ValueError, match="is the name of an image"):
        processor(text=["a mug", name])
    assert readable(processor, text=[f"what is in {name}?"]) == [f"what is in {name}?"]
    assert readable(processor, images=[[A]], text=[name]) == [f"{SLOTS}{name}"]
