"""The Trainer's additions."""

import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
import transformers.trainer
from safetensors.torch import load_file
from transformers import TrainerCallback, TrainerState, TrainingArguments
from transformers.utils.notebook import NotebookProgressCallback

import hf_prompt_models.training.trainer
from hf_prompt_models import CoOpForImageClassification
from hf_prompt_models.data.images.dataset import AugmentedImageDataset
from hf_prompt_models.data.images.labelled import read_labelled_images
from hf_prompt_models.training.checkpoints import newest_complete_checkpoint
from hf_prompt_models.training.trainer import PromptTrainer
from hf_prompt_models.utils.schedule import epoch_cosine_learning_rate
from tests.full_disk import full_disk
from tests.pictures import write_pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data"), {"cat": 5, "dog": 5})


def trainer_of(backbone: Path, folder: Path, output_dir: Path, **settings) -> PromptTrainer:
    torch.manual_seed(0)
    model = CoOpForImageClassification.from_backbone(backbone, ["cat", "dog"], n_ctx=2)
    arguments = TrainingArguments(
        **{
            "output_dir": str(output_dir),
            "optim": "sgd",
            "optim_args": "momentum=0.9",
            "learning_rate": 0.002,
            "num_train_epochs": 4,
            "per_device_train_batch_size": 4,
            "dataloader_drop_last": True,
            "dataloader_pin_memory": False,
            "logging_strategy": "steps",
            "logging_steps": 1,
            "save_strategy": "steps",
            "save_steps": 3,
            "disable_tqdm": True,
            "use_cpu": True,
        }
        | settings
    )
    images = read_labelled_images(folder, "train")
    dataset = AugmentedImageDataset(images, model.processor.image_processor, seed=1)
    return PromptTrainer(model=model, args=arguments, train_dataset=dataset, eval_dataset=dataset)


def test_the_learning_rate_moves_once_an_epoch(modern_clip: Path, folder: Path, tmp_path: Path) -> None:
    trainer = trainer_of(modern_clip, folder, tmp_path)
    trainer.train()
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert rates == pytest.approx([epoch_cosine_learning_rate(step // 2, 4, 0.002) for step in range(8)], rel=1e-9)


def test_there_is_one_progress_bar_also_in_a_notebook(
    modern_clip: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bars() -> list[str]:
        handler = trainer_of(modern_clip, folder, tmp_path, disable_tqdm=False).callback_handler
        return [type(callback).__name__ for callback in handler.callbacks if "Progress" in type(callback).__name__]

    assert bars() == ["QuietProgressCallback"]
    for module in (transformers.trainer, hf_prompt_models.training.trainer):  # as both find it in a notebook
        monkeypatch.setattr(module, "DEFAULT_PROGRESS_CALLBACK", NotebookProgressCallback)
    assert bars() == ["NotebookProgressCallback"]


def test_momentum_and_weight_decay_reach_the_optimizer(modern_clip: Path, folder: Path, tmp_path: Path) -> None:
    trainer = trainer_of(modern_clip, folder, tmp_path, weight_decay=5e-4)
    (group,) = [group for group in trainer.create_optimizer().param_groups if group["params"]]
    assert (group["momentum"], group["weight_decay"], group["lr"]) == (0.9, 5e-4, 0.002)
    assert [parameter.shape for parameter in group["params"]] == [trainer.model.prompt_learner.context.shape]


def test_a_resumed_run_ends_bit_for_bit_as_an_unbroken_one(modern_clip: Path, folder: Path, tmp_path: Path) -> None:
    unbroken = trainer_of(modern_clip, folder, tmp_path / "unbroken")
    unbroken.train()
    broken = trainer_of(modern_clip, folder, tmp_path / "broken", max_steps=-1)
    broken.train()
    for checkpoint in ("checkpoint-6", "checkpoint-8"):  # what a crash after step 3, in epoch 1, would not have left
        for file in (tmp_path / "broken" / checkpoint).iterdir():
            file.unlink()
    assert newest_complete_checkpoint(tmp_path / "broken") == str(tmp_path / "broken" / "checkpoint-3")
    resumed = trainer_of(modern_clip, folder, tmp_path / "broken")
    with torch.no_grad():
        resumed.model.prompt_learner.context.zero_()
    resumed.train(resume_from_checkpoint=newest_complete_checkpoint(tmp_path / "broken"))
    assert resumed.state.global_step == 8
    assert torch.equal(resumed.model.prompt_learner.context, unbroken.model.prompt_learner.context)


def test_the_epoch_reaches_the_training_set(modern_clip: Path, folder: Path, tmp_path: Path) -> None:
    trainer = trainer_of(modern_clip, folder, tmp_path, save_strategy="no")
    epochs: list[int] = []
    trainer.train_dataset.set_epoch = epochs.append
    trainer.train()
    assert list(dict.fromkeys(epochs)) == [0, 1, 2, 3]


def test_half_written_checkpoints_are_passed_over(modern_clip: Path, folder: Path, tmp_path: Path) -> None:
    assert newest_complete_checkpoint(tmp_path / "absent") is None
    trainer_of(modern_clip, folder, tmp_path).train()
    steps = ["checkpoint-9", "checkpoint-8", "checkpoint-6", "checkpoint-3"]
    shutil.copytree(tmp_path / "checkpoint-8", tmp_path / "checkpoint-9")
    damages = {
        "optimizer.pt": lambda file: file.write_bytes(file.read_bytes()[:-20]),
        "rng_state.pth": lambda file: file.unlink(),
        "model.safetensors": lambda file: file.write_bytes(file.read_bytes()[:-4]),
        "trainer_state.json": lambda file: file.write_text("[]"),
    }
    for step, (name, damage) in zip(steps, damages.items(), strict=True):
        assert newest_complete_checkpoint(tmp_path) == str(tmp_path / step)
        damage(tmp_path / step / name)
    assert newest_complete_checkpoint(tmp_path) is None


def test_an_evaluation_draws_no_random_numbers_of_the_training(
    modern_clip: Path, folder: Path, tmp_path: Path
) -> None:
    """An evaluation at the end of an epoch is later than the checkpoint of that step; resuming does not repeat it."""

    class Draws(TrainerCallback):
        def __init__(self) -> None:
            self.states: list[torch.Tensor] = []

        def on_step_begin(self, args: object, state: object, control: object, **kwargs: object) -> None:
            self.states.append(torch.get_rng_state())

    without, beside = Draws(), Draws()
    for draws, strategy in ((without, "no"), (beside, "epoch")):
        trainer = trainer_of(modern_clip, folder, tmp_path / strategy, eval_strategy=strategy, save_strategy="no")
        trainer.add_callback(draws)
        trainer.train()
    assert len(without.states) == 8
    assert all(torch.equal(*states) for states in zip(without.states, beside.states, strict=True))


def entries(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_full_disk_leaves_the_checkpoint_before_from_which_the_run_continues(
    modern_clip: Path, folder: Path, tmp_path: Path
) -> None:
    unbroken = trainer_of(modern_clip, folder, tmp_path / "unbroken")
    unbroken.train()
    trainer, limits = trainer_of(modern_clip, folder, tmp_path / "run"), contextlib.ExitStack()

    class FillDisk(TrainerCallback):
        def on_step_end(self, args: object, state: TrainerState, control: object, **kwargs: object) -> None:
            if state.global_step == 5:
                limits.enter_context(full_disk(700))

    trainer.add_callback(FillDisk())
    with pytest.raises(OSError, match=r"^Cannot save .*/run.*: File too large\.$"), limits:
        trainer.train()
    assert entries(tmp_path / "run") == {"checkpoint-3"}
    resumed = trainer_of(modern_clip, folder, tmp_path / "run")
    resumed.train(resume_from_checkpoint=newest_complete_checkpoint(tmp_path / "run"))
    assert torch.equal(resumed.model.prompt_learner.context, unbroken.model.prompt_learner.context)


def test_a_checkpoint_appears_in_its_place_when_nothing_is_missing(
    modern_clip: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, seen = trainer_of(modern_clip, folder, tmp_path), []
    move = os.replace

    def moved(source: Path, target: Path) -> None:
        if Path(target).name.startswith("checkpoint-"):
            assert not Path(target).exists()
            seen.append({**{name: (Path(source) / name).read_bytes() for name in entries(Path(source))}})
        move(source, target)

    monkeypatch.setattr(os, "replace", moved)
    trainer.train()
    assert len(seen) == 3
    final = tmp_path / "checkpoint-8"
    assert seen[-1] == {name: (final / name).read_bytes() for name in entries(final)}
    assert entries(tmp_path) == {"checkpoint-3", "checkpoint-6", "checkpoint-8"}


def test_what_a_killed_run_left_is_gone_and_the_limit_of_checkpoints_holds(
    modern_clip: Path, folder: Path, tmp_path: Path
) -> None:
    trainer_of(modern_clip, folder, tmp_path).train()
    (tmp_path / "checkpoint-6" / "trainer_state.json").unlink()
    (tmp_path / ".saving-checkpoints" / "checkpoint-7").mkdir(parents=True)
    (tmp_path / ".saving-run.json.77").write_text("{")
    resumed = trainer_of(modern_clip, folder, tmp_path, save_total_limit=1)
    resumed.train(resume_from_checkpoint=newest_complete_checkpoint(tmp_path))
    assert entries(tmp_path) == {"checkpoint-8"}


def test_a_checkpoint_that_somebody_removes_while_old_ones_are_removed_is_no_error(
    modern_clip: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, read_time, removed = trainer_of(modern_clip, folder, tmp_path, save_total_limit=2), os.path.getmtime, []

    def remove_first(path: str) -> float:
        if path == str(tmp_path / "checkpoint-3"):
            shutil.rmtree(path)
            removed.append(path)
        return read_time(path)

    monkeypatch.setattr(os.path, "getmtime", remove_first)
    trainer.train()
    assert len(removed) == 1
    assert entries(tmp_path) == {"checkpoint-6", "checkpoint-8"}


def test_the_best_checkpoint_is_known_by_its_place(modern_clip: Path, folder: Path, tmp_path: Path) -> None:
    settings = {"eval_strategy": "steps", "eval_steps": 3, "load_best_model_at_end": True, "learning_rate": 1.0}
    trainer = trainer_of(modern_clip, folder, tmp_path, save_total_limit=1, **settings)
    trainer.train()
    best = trainer.state.best_model_checkpoint
    assert best in {str(tmp_path / f"checkpoint-{step}") for step in (3, 6, 8)}
    assert entries(tmp_path) == {Path(best).name}
    assert json.loads((Path(best) / "trainer_state.json").read_text())["best_model_checkpoint"] == best
    learned = load_file(Path(best) / "model.safetensors")
    assert torch.equal(learned["prompt_learner.context"], trainer.model.prompt_learner.context)
