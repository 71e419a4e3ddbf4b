"""Description of a method for the common tests. `tests/models/<method>/tested_method.py` defines it as `METHOD`.

A method without a pretrained backbone sets it to `None`, has a `build_complete` that builds a model with its processor
and inputs, and has its own tests where the common ones do not fit.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageClassification, Pipeline, PreTrainedModel

from hf_prompt_models.modeling_clip_utils import ClipPromptModel
from hf_prompt_models.models import PACKAGES
from tests.stand_ins import openai_clip_vit_base_patch32


@dataclass(frozen=True)
class MethodUnderTest:
    """Description of a method for the common tests.

    Attributes:
        auto_class: the Auto class that loads checkpoints of the method.
        pipeline_task: the pipeline task of the method.
        learned: names of the learned parameters; empty if there are none.
        write_backbone: writes the folder of a backbone; also takes a `seed`.
        build: builds a model from the folder of a backbone, with learned parameters that differ from initialisation;
            takes further arguments of `from_backbone`.
        batch: creates inputs with labels for a number of examples.
        answers: outputs of a model for examples of different sizes, selected by indices from 0 to 3 and put into one
            batch; one tensor per example.
        check_pipeline: compares the output of a pipeline with a model.
        logits_name: field of the model output that the tests compare.
        kept: names of the tensors that are saved with the learned parameters although they are not trained with
            gradients: statistics of batch norms, a frozen tower that is part of the prompt.
        used_part: prefix of the modules of the backbone that the logits depend on, if they do not depend on all.
        variants: other variants of the method, by name, that are tested in the same way.
    """

    auto_class: type
    pipeline_task: str
    learned: frozenset[str]
    write_backbone: Callable[..., Path]
    build: Callable[..., PreTrainedModel]
    batch: Callable[[PreTrainedModel, int], dict[str, torch.Tensor]]
    answers: Callable[[PreTrainedModel, Sequence[int]], list[torch.Tensor]]
    check_pipeline: Callable[[Pipeline, PreTrainedModel], None]
    logits_name: str = "logits"
    kept: frozenset[str] = frozenset()
    used_part: str = ""
    variants: "dict[str, MethodUnderTest]" = field(default_factory=dict)


def find_methods() -> dict[str, MethodUnderTest]:
    """Return every method with a pretrained backbone by name, each followed by its variants."""
    tested = {}
    for name, package in PACKAGES.items():
        own = package.startswith("hf_prompt_models.")
        method = import_module(f"tests.models.{name}.tested_method" if own else f"{package}.tested_method").METHOD
        if method is None:  # it has no backbone that a prompt could be saved without
            continue
        tested[name] = method
        tested |= {f"{name} {variant}": each for variant, each in method.variants.items()}
    return tested


REPRESENTATIVES = ("action_clip", "alpro", "coop", "cpt", "feature_adapter", "mantis", "promptsrc")
"""One method for each task that models are published for, one with deep prompts, and one over stored features.

ALPRO is without a pretrained backbone.
"""


def few_by_default(names: Iterable[str]) -> list[Any]:
    """Return methods as parameters of tests that take long: those that represent no task are marked `slow`."""
    return [name if name in REPRESENTATIVES else pytest.param(name, marks=pytest.mark.slow) for name in names]


def assert_same(actual: torch.Tensor, expected: torch.Tensor) -> None:
    """Compare outputs of equal weights: some kernels round differently where weights are at other addresses."""
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


def random_image(seed: int = 0, size: tuple[int, int] = (60, 40)) -> Image.Image:
    """Return a small random image, wider than high."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (size[1], size[0], 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def image_batch(model: PreTrainedModel, size: int) -> dict[str, torch.Tensor]:
    """Random pixels and labels for an image classifier over a CLIP."""
    generator = torch.Generator().manual_seed(size)
    resolution = model.config.clip_config.vision_config.image_size
    return {
        "pixel_values": torch.randn(size, 3, resolution, resolution, generator=generator),
        "labels": torch.arange(size) % model.config.num_labels,
    }


@torch.no_grad()
def image_answers(model: PreTrainedModel, numbers: Sequence[int]) -> list[torch.Tensor]:
    """Return the logits of an image classifier for images of different sizes."""
    images = [random_image(number, (60 + 20 * number, 40 + 15 * number)) for number in numbers]
    return list(model(**model.processor(images=images, return_tensors="pt")).logits)


def check_image_classification(pipe: Pipeline, model: PreTrainedModel) -> None:
    """The pipeline's labels and scores are the softmax of the model's logits on the prepared image."""
    image = random_image()
    answers: list[dict[str, Any]] = pipe(image, top_k=model.config.num_labels)
    with torch.no_grad():
        logits = model(**model.processor(images=image, return_tensors="pt")).logits[0]
    scores, order = logits.float().softmax(-1).sort(descending=True)
    assert [answer["label"] for answer in answers] == [model.config.id2label[index] for index in order.tolist()]
    torch.testing.assert_close(torch.tensor([answer["score"] for answer in answers]), scores, rtol=1e-4, atol=1e-5)


def prompted_clip(model_class: type[ClipPromptModel], learned: Iterable[str], **settings: Any) -> MethodUnderTest:
    """Describe a method that classifies images with prompts in CLIP; its parameters are far from initialisation.

    Args:
        model_class: model class with `from_backbone`.
        learned: names of all trained tensors, without `prompt_learner.`.
        settings: arguments of `from_backbone`.
    """

    def build(backbone: Path, **choices: Any) -> ClipPromptModel:
        names = ["cat", "dog", "the photo"]
        model = model_class.from_backbone(backbone, class_names=names, **settings, **choices)
        with torch.no_grad():
            for parameter in model.prompt_learner.parameters():
                parameter.normal_(std=0.5)
        return model

    return MethodUnderTest(
        auto_class=AutoModelForImageClassification,
        pipeline_task="image-classification",
        learned=frozenset(f"prompt_learner.{name}" for name in learned),
        write_backbone=openai_clip_vit_base_patch32,
        build=build,
        batch=image_batch,
        answers=image_answers,
        check_pipeline=check_image_classification,
    )
