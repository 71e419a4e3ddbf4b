"""Frames, sentences, masked words and crops."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoProcessor

from hf_prompt_models import AlproConfig, AlproForPreTraining, AlproImageProcessor, AlproProcessor
from hf_prompt_models.models.alpro.modeling_alpro_pretraining import patches_in_boxes
from hf_prompt_models.models.alpro.processing_alpro import black_outside, mask_words, sample_crop_box
from tests.models.alpro import little
from tests.tested_method import random_image


MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


# -- frames ----------------------------------------------------------------------------------------------------------


def test_frames_become_squares_with_clips_mean_and_deviation() -> None:
    clip = [random_image(seed, size) for seed, size in ((0, (60, 40)), (1, (31, 77)))]
    found = little.processor()(images=[clip], return_tensors="pt")["pixel_values"]
    assert found.shape == (1, 2, 3, 32, 32)
    for frame, pixels in zip(clip, found[0], strict=True):
        resized = np.asarray(frame.resize((32, 32), Image.Resampling.BILINEAR), dtype=np.float64) / 255
        expected = torch.tensor((resized - MEAN) / STD).permute(2, 0, 1)
        torch.testing.assert_close(pixels.double(), expected, rtol=0, atol=1e-5)
    assert AlproImageProcessor().size.height == 224


def test_one_video_or_several_and_still_images_repeated() -> None:
    processor = little.processor()
    clips = [[random_image(0), random_image(1)], [random_image(2)]]
    both = processor(images=clips, return_tensors="pt")["pixel_values"]
    assert both.shape == (2, 2, 3, 32, 32)
    assert torch.equal(both[1, 0], both[1, 1])
    assert torch.equal(processor(images=clips[0], return_tensors="pt")["pixel_values"], both[:1])
    with pytest.raises(ValueError, match=r"same number of frames .*, got \[2, 3\]"):
        processor(images=[clips[0], [random_image(seed) for seed in range(3)]], return_tensors="pt")


def test_long_sentences_are_refused_or_cut_with_truncation() -> None:
    processor = little.processor()
    assert processor(text=["dog " * 28, "cat"], return_tensors="pt").input_ids.shape == (2, 30)
    with pytest.raises(ValueError, match="has 31 tokens, but the model has 30 positions: 'dog dog"):
        processor(text=["cat", "dog " * 29], return_tensors="pt")
    inputs = processor(text=["dog " * 50, "cat"], truncation=True, return_tensors="pt")
    assert inputs.input_ids.shape == (2, 30)
    assert inputs.attention_mask[1].sum() == 3


def test_the_processor_is_found_by_the_configurations_name(tmp_path: Path) -> None:
    little.processor(num_frames=7).save_pretrained(tmp_path)
    AlproConfig().save_pretrained(tmp_path)
    found = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(found, AlproProcessor)
    assert (found.num_frames, found.max_text_length, found.patch_size) == (7, 30, 8)
    assert isinstance(AutoImageProcessor.from_pretrained(tmp_path), AlproImageProcessor)


# -- masked words ----------------------------------------------------------------------------------------------------


def test_words_are_masked_as_bert_masks_them() -> None:
    tokenizer = little.tokenizer()
    words = torch.randint(5, len(tokenizer), (200, 50), generator=torch.Generator().manual_seed(0))
    words[:, 0], words[:, 40], words[:, 41:] = 2, 3, 0  # [CLS], [SEP], [PAD]
    masked, labels = mask_words(words, tokenizer, torch.Generator().manual_seed(1))
    asked = labels != -100
    assert torch.equal(labels[asked], words[asked])
    assert torch.equal(masked[~asked], words[~asked])
    assert not asked[:, 0].any()
    assert not asked[:, 40:].any()
    assert asked[:, 1:40].double().mean().item() == pytest.approx(0.15, abs=0.02)
    assert (masked[asked] == 4).double().mean().item() == pytest.approx(0.8, abs=0.04)
    assert (masked[asked] == words[asked]).double().mean().item() == pytest.approx(0.1, abs=0.04)
    again = mask_words(words, tokenizer, torch.Generator().manual_seed(1))
    assert torch.equal(again[0], masked)


# -- crops -----------------------------------------------------------------------------------------------------------


def test_crops_cover_a_third_to_a_half_and_end_at_patches() -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.tensor([sample_crop_box(224, 16, generator) for _ in range(500)])
    assert not (boxes % 16).any()
    left, top, right, bottom = boxes.unbind(dim=1)
    width, height = right - left, bottom - top
    assert left.min() == 0
    assert top.min() == 0
    assert right.max() <= 224
    assert bottom.max() <= 224
    # Each edge is moved by less than a patch, so that a side changes by less than one.
    assert (((width + 16) * (height + 16)) >= 0.3 * 224**2).all()
    assert (((width - 16).clamp(min=0) * (height - 16).clamp(min=0)) <= 0.5 * 224**2).all()
    shape = (width.double() / height).log()
    assert shape.min() < -0.5
    assert shape.max() > 0.8
    assert sample_crop_box(16, 16, generator) == (0, 0, 16, 16)  # of a single patch


def test_outside_its_box_a_video_is_black_before_it_is_normalised() -> None:
    clips = [[random_image(0), random_image(1)]]
    processor = little.processor()
    pixels = processor(images=clips, return_tensors="pt")["pixel_values"]
    box = torch.tensor([[8, 0, 24, 16]])
    found = black_outside(pixels, box, list(MEAN), list(STD))
    for frame in range(2):
        painted = clips[0][frame].resize((32, 32), Image.Resampling.BILINEAR)
        black = Image.new("RGB", (32, 32))
        black.paste(painted.crop((8, 0, 24, 16)), (8, 0))
        expected = processor(images=[[black, black]], return_tensors="pt")["pixel_values"][0, 0]
        torch.testing.assert_close(found[0, frame], expected, rtol=0, atol=1e-6)


def test_the_patches_of_a_box_are_those_of_its_edges_moved_to_the_grid() -> None:
    found = patches_in_boxes(torch.tensor([[5, 9, 23, 31], [0, 0, 32, 8]]), 4, 8).view(2, 4, 4)
    expected = torch.zeros(2, 4, 4, dtype=torch.bool)
    expected[0, 1:3, 0:2] = True
    expected[1, 0, :] = True
    assert torch.equal(found, expected)


# -- all of it -------------------------------------------------------------------------------------------------------


def test_a_batch_of_videos_and_still_images_is_all_that_pretraining_reads() -> None:
    processor = little.processor()
    clips = [[random_image(0), random_image(1)], [random_image(2)], [random_image(3), random_image(4)]]
    sentences = ["a red dog runs", "the cat", "one big ball"]
    batch = processor.prepare_pretraining(clips, sentences, torch.Generator().manual_seed(0), mlm_probability=0.5)
    assert batch["is_video"].tolist() == [True, False, True]
    same = (batch["crop_pixel_values"] == batch["pixel_values"]).all(dim=2).any(dim=1).flatten(1)
    inside = patches_in_boxes(batch["crop_boxes"], 4, 8).view(3, 4, 4)
    inside = inside.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2).flatten(1)
    assert torch.equal(same, inside)
    output = little.lively(AlproForPreTraining(little.config(pem_threshold=0.0)))(**batch)
    for name in ("vtc_loss", "vtm_loss", "mlm_loss", "pem_loss"):
        assert output[name].isfinite()
        assert output[name] > 0
    with pytest.raises(ValueError, match="3 videos and 2 captions"):
        processor.prepare_pretraining(clips, sentences[:2], torch.Generator())
