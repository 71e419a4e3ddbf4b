"""Flags that imply others, contradict each other, or leave nothing to train."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hf_prompt_models.tasks.arguments import recipe_arguments, training_settings
from hf_prompt_models.training.run_start import arguments_by_seed
from hf_prompt_models.training.settings import RunOptions, announce, build_training_arguments, check_batches


@pytest.mark.parametrize("what", ["logging", "save", "eval"])
@pytest.mark.parametrize("other", ["epoch", "no"])
def test_explicit_steps_imply_their_strategy_and_refuse_another(what: str, other: str) -> None:
    recipe = {f"{what}_strategy": other}
    settings = training_settings(recipe, {f"{what}_steps": 7})
    assert (settings[f"{what}_strategy"], settings[f"{what}_steps"]) == ("steps", 7)
    assert training_settings(recipe, {f"{what}_steps": 7, f"{what}_strategy": "steps"}) == settings
    assert training_settings(recipe, {f"{what}_strategy": other})[f"{what}_strategy"] == other
    with pytest.raises(ValueError, match=f"--{what}_steps 7 has no effect with --{what}_strategy {other}"):
        training_settings({}, {f"{what}_steps": 7, f"{what}_strategy": other})


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"max_steps": 0}, "--max_steps 0 would train for no steps"),
        ({"max_steps": -3}, "--max_steps -3 would train for no steps"),
        ({"num_train_epochs": 0}, "--num_train_epochs must be above 0, got 0"),
        ({"num_train_epochs": float("nan")}, "--num_train_epochs must be above 0, got nan"),
        ({"learning_rate": -1.0}, "--learning_rate must be at least 0, got -1.0"),
        ({"per_device_train_batch_size": 0}, "--per_device_train_batch_size must be at least 1, got 0"),
        ({"gradient_accumulation_steps": 0}, "--gradient_accumulation_steps must be at least 1"),
        ({"logging_steps": 0}, "--logging_steps must be above 0"),
    ],
)
def test_settings_that_train_nothing_are_refused(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        training_settings({}, flags)


def test_steps_may_replace_epochs() -> None:
    assert training_settings({}, {"max_steps": 5, "num_train_epochs": 0})["max_steps"] == 5
    assert training_settings({}, {"max_steps": -1})["max_steps"] == -1


@pytest.fixture
def cpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)


@pytest.mark.usefixtures("cpu_alone")
def test_without_a_gpu_bfloat16_is_of_the_cpu_and_float16_names_it(tmp_path: Path) -> None:
    arguments = recipe_arguments({}, str(tmp_path), bf16=True)
    assert arguments.device.type == "cpu"
    assert arguments.mixed_precision == "bf16"
    with pytest.raises(ValueError, match=r"--fp16 true needs a GPU, .* --bf16 true"):
        recipe_arguments({}, str(tmp_path), fp16=True)


@pytest.mark.usefixtures("cpu_alone")
def test_processes_that_would_train_apart_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"2 processes were started, .* --use_cpu true"):
        build_training_arguments({"output_dir": str(tmp_path), "use_cpu": False})


def test_each_seed_has_a_folder_which_is_no_backbone(tmp_path: Path) -> None:
    settings = {"output_dir": str(tmp_path)}
    assert Path(arguments_by_seed(settings, [3], [None], RunOptions())[3].output_dir) == tmp_path
    of_two = arguments_by_seed(settings, [3, 4], ["playground"], RunOptions())
    assert [Path(each.output_dir).name for each in of_two.values()] == ["seed-3", "seed-4"]
    assert [each.seed for each in of_two.values()] == [3, 4]
    with pytest.raises(ValueError, match="the backbone, which training would overwrite"):
        arguments_by_seed(settings, [3, 4], ["playground", str(tmp_path / "seed-4")], RunOptions())


def batches(size: int, drop_last: bool = False, processes: int = 1) -> Any:
    return SimpleNamespace(per_device_train_batch_size=size, dataloader_drop_last=drop_last, world_size=processes)


@pytest.mark.parametrize(
    ("examples", "settings", "said"),
    [
        (8, {"size": 1}, "batches of a single example"),
        (9, {"size": 4}, r"a single example \(9 examples in batches of 4\)"),
        (1, {"size": 4}, "There is 1 training example"),
        (1, {"size": 1, "processes": 2}, "There is 1 training example"),
        (3, {"size": 4, "drop_last": True}, "would drop the only batch"),
        (3, {"size": 2, "drop_last": True, "processes": 2}, "the batch size is 4"),
    ],
)
def test_batches_in_which_a_contrast_is_constant_are_refused(
    examples: int, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        check_batches(batches(**settings), examples, contrasts=True)


@pytest.mark.parametrize(
    ("examples", "settings"),
    [
        (8, {"size": 2}),
        (9, {"size": 4, "drop_last": True}),
        (8, {"size": 1, "processes": 2}),
        (9, {"size": 4, "processes": 2}),
        (3, {"size": 4}),
    ],
)
def test_batches_with_something_to_compare_pass(examples: int, settings: dict[str, Any]) -> None:
    check_batches(batches(**settings), examples, contrasts=True)


def test_single_examples_pass_where_nothing_is_compared() -> None:
    check_batches(batches(size=1), 1, contrasts=False)
    with pytest.raises(ValueError, match="would drop the only batch"):
        check_batches(batches(size=4, drop_last=True), 3, contrasts=False)


def test_a_run_reports_its_steps_before_the_first(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    settings = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "num_train_epochs": 3}
    arguments = recipe_arguments(settings, str(tmp_path), use_cpu=True)
    announce({1: arguments, 2: arguments}, {1: 18, 2: 17})
    assert capsys.readouterr().err == "Training: 2 seeds of 9 steps (3 epochs) each, on 18 examples.\n"
    arguments = recipe_arguments(settings, str(tmp_path), use_cpu=True, max_steps=7)
    announce({5: arguments}, {5: 18})
    assert capsys.readouterr().err == "Training: 1 seed of 7 steps, on 18 examples.\n"
