"""Averaging over training epochs in the Trainer of transformers."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from hf_prompt_models import CoOpForImageClassification
from hf_prompt_models.prompts.averaging import PromptAveragingCallback, epoch_weights


EPOCHS = 4


class Epochs(TrainerCallback):
    """Keeps the context after each epoch."""

    def __init__(self) -> None:
        self.contexts: list[torch.Tensor] = []

    def on_epoch_end(self, *args: Any, model: Any = None, **kwargs: Any) -> None:
        self.contexts.append(model.prompt_learner.context.detach().clone())


def train(folder: Path, output: Path, *callbacks: Any, resume: str | None = None) -> torch.Tensor:
    """The context that a run of four epochs of two steps ends with."""
    torch.manual_seed(0)
    model = CoOpForImageClassification.from_backbone(folder, ["cat", "dog"], n_ctx=2)
    generator = torch.Generator().manual_seed(1)
    rows = [{"image_embeds": torch.randn(24, generator=generator), "labels": index % 2} for index in range(4)]
    arguments = TrainingArguments(
        str(output),
        use_cpu=True,
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=2,
        learning_rate=0.05,
        save_strategy="steps",
        save_steps=3,  # in the middle of an epoch, too
        report_to="none",
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    Trainer(model, arguments, train_dataset=rows, callbacks=list(callbacks)).train(resume_from_checkpoint=resume)
    return model.prompt_learner.context.detach().clone()


def test_weights_are_a_normal_density_that_sums_to_one() -> None:
    densities = [math.exp(-((epoch - 15) ** 2) / 2) / math.sqrt(2 * math.pi) for epoch in range(1, 21)]
    expected = [density / sum(densities) for density in densities]
    assert epoch_weights(20, 15, 1) == pytest.approx(expected, rel=1e-12)
    assert sum(epoch_weights(3, mean=500, std=1)) == pytest.approx(1)


def test_the_model_ends_as_the_weighted_mean_of_its_epochs(openai_clip: Path, tmp_path: Path) -> None:
    epochs = Epochs()
    plain = train(openai_clip, tmp_path / "plain", epochs)
    averaged = train(openai_clip, tmp_path / "averaged", PromptAveragingCallback(mean=2, std=1.5))
    weights = epoch_weights(EPOCHS, 2, 1.5)
    expected = sum(weight * context for weight, context in zip(weights, epochs.contexts, strict=True))
    torch.testing.assert_close(averaged, expected, rtol=0, atol=1e-6)
    assert torch.equal(plain, epochs.contexts[-1])  # training itself is not changed
    assert (averaged - plain).abs().max() > 1e-3


def test_one_weight_that_is_not_zero_gives_that_epoch(openai_clip: Path, tmp_path: Path) -> None:
    epochs = Epochs()
    averaged = train(openai_clip, tmp_path, epochs, PromptAveragingCallback(mean=3, std=1e-3))
    assert torch.equal(averaged, epochs.contexts[2])


@pytest.mark.parametrize("step", [3, 6])
def test_a_resumed_run_ends_with_the_same_average(step: int, openai_clip: Path, tmp_path: Path) -> None:
    whole = train(openai_clip, tmp_path, PromptAveragingCallback(mean=2, std=1.5))
    resumed = train(
        openai_clip, tmp_path, PromptAveragingCallback(mean=2, std=1.5), resume=str(tmp_path / f"checkpoint-{step}")
    )
    assert torch.equal(whole, resumed)


def test_a_checkpoint_of_other_settings_is_refused(openai_clip: Path, tmp_path: Path) -> None:
    train(openai_clip, tmp_path, PromptAveragingCallback(mean=2, std=1.5))
    checkpoint = str(tmp_path / "checkpoint-3")
    with pytest.raises(ValueError, match=r"mean=1.*Resume"):
        train(openai_clip, tmp_path, PromptAveragingCallback(mean=1, std=1.5), resume=checkpoint)


def test_a_standard_deviation_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected std > 0, got 0"):
        PromptAveragingCallback(mean=1, std=0)
