"""The processor of a model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, ProcessorMixin

from hf_prompt_models import ActionClipProcessor, ClipZeroShotProcessor, CoOpProcessor
from hf_prompt_models.processing_utils import ClipPromptProcessor
from tests.stand_ins import clip_tokenizer
from tests.tested_method import random_image


PROCESSORS = [CoOpProcessor, ClipZeroShotProcessor]


@pytest.mark.parametrize("processor_class", PROCESSORS)
def test_images_are_prepared_as_openai_did(processor_class: type[ProcessorMixin], openai_clip: Path) -> None:
    """Shorter side to 224 by PIL's bicubic, the middle 224 of the other, then OpenAI's mean and deviation."""
    image = random_image(size=(60, 40))
    pixels = processor_class.from_backbone(openai_clip)(images=image, return_tensors="pt").pixel_values
    resized = np.asarray(image.resize((336, 224), Image.Resampling.BICUBIC))[:, 56:280]
    mean, deviation = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    expected = torch.from_numpy(((resized / 255 - mean) / deviation).transpose(2, 0, 1)).float()
    torch.testing.assert_close(pixels, expected[None], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_images_of_every_mode_are_read_as_colour(mode: str, openai_clip: Path) -> None:
    processor = CoOpProcessor.from_backbone(openai_clip)
    pixels = processor(images=random_image().convert(mode), return_tensors="pt").pixel_values
    assert pixels.shape == (1, 3, 224, 224)


@pytest.mark.parametrize("processor_class", PROCESSORS)
def test_a_processor_survives_saving(processor_class: type[ProcessorMixin], openai_clip: Path, tmp_path: Path) -> None:
    processor = processor_class.from_backbone(openai_clip)
    processor.save_pretrained(tmp_path)
    loaded = processor_class.from_pretrained(tmp_path)
    image = random_image()
    assert torch.equal(
        loaded(images=image, return_tensors="pt").pixel_values,
        processor(images=image, return_tensors="pt").pixel_values,
    )
    assert loaded.tokenizer("a cat)").input_ids == processor.tokenizer("a cat)").input_ids
    assert type(AutoProcessor.from_pretrained(tmp_path)) is processor_class


def test_another_tokenizer_may_be_given(openai_clip: Path) -> None:
    tokenizer = clip_tokenizer()
    assert CoOpProcessor.from_backbone(openai_clip, tokenizer).tokenizer is tokenizer


@pytest.mark.parametrize("processor_class", [*PROCESSORS, ActionClipProcessor])
def test_a_tokenizer_that_was_left_out_comes_from_the_backbone(
    processor_class: type[ClipPromptProcessor], tmp_path: Path
) -> None:
    processor = processor_class.from_backbone("playground")
    processor.leave_out_tokenizer("playground")
    processor.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("tokenizer*"))
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert type(loaded) is processor_class
    assert loaded.tokenizer("a red mug").input_ids == processor.tokenizer("a red mug").input_ids
    assert loaded.image_processor.to_dict() == processor.image_processor.to_dict()
    loaded.save_pretrained(tmp_path / "again")
    assert [path.name for path in (tmp_path / "again").iterdir()] == ["processor_config.json"]


def test_a_tokenizer_of_a_local_backbone_is_not_left_out(openai_clip: Path, tmp_path: Path) -> None:
    processor = CoOpProcessor.from_backbone(openai_clip)
    with pytest.raises(ValueError, match=r"only be left out if the backbone is on the Hub, but .* is a local path"):
        processor.leave_out_tokenizer(str(openai_clip))
    processor.leave_out_tokenizer("nobody/nothing")
    processor.save_pretrained(tmp_path)
    with pytest.raises(OSError, match="contains no tokenizer, and the tokenizer of its backbone cannot be loaded"):
        CoOpProcessor.from_pretrained(tmp_path)
