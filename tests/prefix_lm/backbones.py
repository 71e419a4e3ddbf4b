"""Models of both methods around many kinds of tiny backbones, built once."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from hf_prompt_models import FrozenForConditionalGeneration, MantisForConditionalGeneration
from tests.stand_ins_language import LANGUAGE_MODELS, resnet_152
from tests.tested_method import random_image
from tests.tested_prefix_lm import liven


METHODS = {"mantis": MantisForConditionalGeneration, "frozen": FrozenForConditionalGeneration}
TITLES = ["a red mug", "", "the thing in the mug, a red thing", "mug"]
IMAGES_PER_EXAMPLE = (1, 3, 0, 1)

_folder = tempfile.TemporaryDirectory(prefix="hf-prompt-models-tests-")


@cache
def language_folder(name: str) -> Path:
    return LANGUAGE_MODELS[name](Path(_folder.name) / name)


@cache
def resnet_folder() -> Path:
    return resnet_152(Path(_folder.name) / "resnet-152")


def make(method: str, language_model: str, **choices: Any) -> PreTrainedModel:
    """A model whose images and segments matter as much as its words."""
    choices = {"num_image_tokens": 2, **choices}
    model = METHODS[method].from_backbone(language_folder(language_model), vision_model=resnet_folder(), **choices)
    return liven(model)


@cache
def made(method: str, language_model: str) -> PreTrainedModel:
    """For tests that do not change it."""
    return make(method, language_model)


def examples(model: PreTrainedModel, indices: list[int], **arguments: Any) -> dict[str, torch.Tensor]:
    """Some of four examples, with 1, 3, 0 and 1 images."""
    images = [[random_image(10 * index + k) for k in range(IMAGES_PER_EXAMPLE[index])] for index in indices]
    inputs = model.processor(
        images=images, text=[TITLES[index] for index in indices], padding=True, return_tensors="pt", **arguments
    )
    return dict(inputs)
