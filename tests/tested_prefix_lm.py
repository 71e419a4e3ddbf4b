"""Description of the methods over a language model for the common tests."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, Pipeline, PreTrainedModel, ResNetModel

from tests.stand_ins_language import RESNET_CONFIG, gpt2, resnet_152
from tests.tested_method import MethodUnderTest, random_image


def vision(backbone: Path) -> Path:
    """Return the vision model of a language model, which is next to it, or in its own repository on the Hub."""
    return backbone.with_name(f"{backbone.name}-vision")


def write_backbones(folder: Path, seed: int = 0) -> Path:
    """Write the folder of a language model, and of a vision model next to it."""
    resnet_152(vision(folder), seed)
    return gpt2(folder, seed)


def build(model_class: Any, backbone: Path, **choices: Any) -> PreTrainedModel:
    return liven(model_class.from_backbone(language_model=backbone, vision_model=vision(backbone), **choices))


def liven(model: PreTrainedModel) -> PreTrainedModel:
    """Fill the new parameters of a model, so that images and segments affect the outputs."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith(("language_model.", "vision_model.")):
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return model


def batch(model: PreTrainedModel, size: int) -> dict[str, torch.Tensor]:
    """Return texts of different lengths about one image each, with labels."""
    texts = ["a red mug", "", "the mug", "red"]
    inputs = model._find_processor()(
        images=[[random_image(index)] for index in range(size)],
        text=[texts[index % 4] for index in range(size)],
        suffix=[texts[index % 3] + " is red" for index in range(size)],
        padding="max_length",
        max_length=24,
        return_tensors="pt",
    )
    return dict(inputs)


@torch.no_grad()
def answers(model: PreTrainedModel, numbers: Sequence[int]) -> list[torch.Tensor]:
    """Return the logits of texts of different lengths about images of different sizes, without the padding."""
    texts = ["a red mug", "", "the mug in the red thing", "red"]
    inputs = model._find_processor()(
        images=[[random_image(number, (60 + 20 * number, 40))] for number in numbers],
        text=[texts[number] for number in numbers],
        padding=True,
        return_tensors="pt",
    )
    logits = model(**inputs).logits
    return [row[mask.bool()] for row, mask in zip(logits, inputs["attention_mask"], strict=True)]


def check_pipeline(pipe: Pipeline, model: PreTrainedModel) -> None:
    """The pipeline generates the same texts as `generate`."""
    images = [random_image(0), random_image(1, (30, 50))]
    answers: list[dict[str, Any]] = pipe(images=images, text="a red", max_new_tokens=6, return_full_text=False)
    processor = model._find_processor()
    prompt = processor(images=[images], text=["a red"], return_tensors="pt")
    written = model.generate(**prompt, max_new_tokens=6)[0, prompt["input_ids"].shape[1] :]
    assert len(written) > 0
    assert answers[0]["generated_text"] == processor.decode(written, skip_special_tokens=True)


def method(model_class: Any, learned: set[str], **choices: Any) -> Callable[..., MethodUnderTest]:
    """Describe a method over a language model for the common tests.

    Args:
        model_class: model class of the method.
        learned: names of the learned parameters outside the vision backbone.
        choices: arguments of `from_backbone`.
    """
    with torch.device("meta"):
        resnet = ResNetModel(RESNET_CONFIG)
    trained = [] if choices.get("freeze_vision") else [name for name, _ in resnet.named_parameters()]
    kept = {name for name, _ in resnet.state_dict().items()} - set(trained)
    return partial(
        MethodUnderTest,
        auto_class=AutoModelForImageTextToText,
        pipeline_task="image-text-to-text",
        learned=frozenset(learned | {f"vision_model.{name}" for name in trained}),
        kept=frozenset(f"vision_model.{name}" for name in kept),
        write_backbone=write_backbones,
        build=partial(build, model_class, **choices),
        batch=batch,
        answers=answers,
        check_pipeline=check_pipeline,
    )
