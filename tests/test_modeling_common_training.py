"""Common checks of every registered method: its trained parameters, and its use in the Trainer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoProcessor,
    PreTrainedModel,
    ProcessorMixin,
    Trainer,
    TrainingArguments,
    pipeline,
)

from tests.modeling_common import (
    SCOPES,
    backbone,
    batch,
    built,
    digest,
    folders,
    learning,
    logits,
    method,
    trainable,
)
from tests.tested_method import MethodUnderTest


# -- frozen means frozen ---------------------------------------------------------------------------------------------


def test_exactly_the_learned_parameters_are_trainable(
    method: MethodUnderTest, built: PreTrainedModel, folders: dict[str, Path]
) -> None:
    assert trainable(built) == method.learned
    assert trainable(type(built)(built.config)) == method.learned
    for scope in SCOPES:
        assert trainable(method.auto_class.from_pretrained(folders[scope])) == method.learned


def test_a_frozen_backbone_stays_in_eval_mode(method: MethodUnderTest, folders: dict[str, Path]) -> None:
    for scope in SCOPES:
        model = method.auto_class.from_pretrained(folders[scope])
        model.train()
        assert model.training
        assert not any(module.training for module in model.backbone.modules())
        model.eval()
        assert not any(module.training for module in model.modules())


def test_gradients_reach_the_learned_parameters_alone(
    learning: MethodUnderTest, folders: dict[str, Path], batch: dict
) -> None:
    model = learning.auto_class.from_pretrained(folders["prompt"]).train()
    model(**batch).loss.backward()
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == learning.learned


# -- under the Trainer -----------------------------------------------------------------------------------------------


def train(
    method: MethodUnderTest,
    model: PreTrainedModel,
    folder: Path,
    resume: Path | None = None,
    processing_class: ProcessorMixin | None = None,
    **arguments: Any,
) -> Trainer:
    examples = method.batch(model, 8)
    dataset = [{name: tensor[index] for name, tensor in examples.items()} for index in range(8)]
    arguments = {"max_steps": 4, "save_steps": 2, "learning_rate": 0.05, "optim": "sgd", **arguments}
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=2,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            **arguments,
        ),
        train_dataset=dataset,
        eval_dataset=dataset,
        processing_class=processing_class,
    )
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    return trainer


@pytest.mark.parametrize("scope", SCOPES)
def test_training_changes_what_is_learned_and_no_byte_of_the_backbone(
    scope: str, learning: MethodUnderTest, folders: dict[str, Path], tmp_path: Path
) -> None:
    model = learning.auto_class.from_pretrained(folders[scope])
    backbone = digest(model)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    train(learning, model, tmp_path)
    assert digest(model) == backbone
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == learning.learned
    # A checkpoint of the Trainer is a checkpoint like any other.
    model.eval()
    inputs = learning.batch(model, 3)
    loaded = learning.auto_class.from_pretrained(tmp_path / "checkpoint-4")
    assert loaded.config.weights_scope == scope
    assert torch.equal(logits(loaded, inputs), logits(model, inputs))
    learning.check_pipeline(pipeline(learning.pipeline_task, model=str(tmp_path / "checkpoint-4")), model)


def test_the_trainer_takes_the_processor_without_a_word(
    learning: MethodUnderTest, folders: dict[str, Path], tmp_path: Path
) -> None:
    """It compares the tokenizer's special tokens with the configuration's and warns where they differ."""
    model = learning.auto_class.from_pretrained(folders["prompt"])
    processor = AutoProcessor.from_pretrained(folders["prompt"])
    text_config = model.backbone.config.get_text_config().to_dict()
    train(learning, model, tmp_path, processing_class=processor, max_steps=1)
    assert model.backbone.config.get_text_config().to_dict() == text_config


@pytest.mark.parametrize("scope", SCOPES)
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    scope: str, learning: MethodUnderTest, folders: dict[str, Path], tmp_path: Path
) -> None:
    whole = learning.auto_class.from_pretrained(folders[scope])
    train(learning, whole, tmp_path)
    resumed = learning.auto_class.from_pretrained(folders[scope])
    train(learning, resumed, tmp_path, resume=tmp_path / "checkpoint-2")
    for name in learning.learned:
        torch.testing.assert_close(resumed.get_parameter(name), whole.get_parameter(name), rtol=1e-6, atol=1e-7)


def test_the_best_checkpoint_is_loaded_at_the_end(
    learning: MethodUnderTest, folders: dict[str, Path], tmp_path: Path
) -> None:
    model = learning.auto_class.from_pretrained(folders["prompt"])
    best = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 2, "learning_rate": 10.0}
    trainer = train(learning, model, tmp_path, **best)
    saved = load_file(Path(trainer.state.best_model_checkpoint) / "model.safetensors")
    for name in learning.learned:
        assert torch.equal(model.get_parameter(name), saved[name])


def test_it_trains_under_bf16_autocast(learning: MethodUnderTest, folders: dict[str, Path], tmp_path: Path) -> None:
    model = learning.auto_class.from_pretrained(folders["prompt"])
    before = {name: model.get_parameter(name).detach().clone() for name in learning.learned}
    train(learning, model, tmp_path, bf16=True, max_steps=1)
    for name in learning.learned:
        parameter = model.get_parameter(name)
        assert parameter.dtype == torch.float32
        assert parameter.isfinite().all()
        assert not torch.equal(parameter, before[name])
