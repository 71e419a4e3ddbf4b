"""The Trainer's additions."""

from pathlib import Path

import pytest
import torch
from transformers import TrainingArguments

from hf_prompt_models import CoOpForImageClassification
from hf_prompt_models.data.image_dataset import AugmentedImageDataset
from hf_prompt_models.data.labelled_images import read_labelled_images
from hf_prompt_models.training.checkpoints import newest_whole_checkpoint
from hf_prompt_models.training.schedule import epoch_cosine_learning_rate
from hf_prompt_models.training.trainer import PromptTrainer
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
    return PromptTrainer(model=model, args=arguments, train_dataset=dataset)


def test_the_learning_rate_moves_once_an_epoch(modern_clip: Path, folder: Path, tmp_path: Path) -> None:
    trainer = trainer_of(modern_clip, folder, tmp_path)
    trainer.train()
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert rates == pytest.approx([epoch_cosine_learning_rate(step // 2, 4, 0.002) for step in range(8)], rel=1e-9)


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
    assert newest_whole_checkpoint(tmp_path / "broken") == str(tmp_path / "broken" / "checkpoint-3")
    resumed = trainer_of(modern_clip, folder, tmp_path / "broken")
    with torch.no_grad():
        resumed.model.prompt_learner.context.zero_()
    resumed.train(resume_from_checkpoint=newest_whole_checkpoint(tmp_path / "broken"))
    assert resumed.state.global_step == 8
    assert torch.equal(resumed.model.prompt_learner.context, unbroken.model.prompt_learner.context)


def test_the_epoch_reaches_the_training_set(modern_clip: Path, folder: Path, tmp_path: Path) -> None:
    trainer = trainer_of(modern_clip, folder, tmp_path, save_strategy="no")
    epochs: list[int] = []
    trainer.train_dataset.set_epoch = epochs.append
    trainer.train()
    assert list(dict.fromkeys(epochs)) == [0, 1, 2, 3]


def test_half_written_checkpoints_are_passed_over(modern_clip: Path, folder: Path, tmp_path: Path) -> None:
    assert newest_whole_checkpoint(tmp_path / "absent") is None
    trainer_of(modern_clip, folder, tmp_path).train()
    steps = ["checkpoint-8", "checkpoint-6", "checkpoint-3"]
    damages = {
        "optimizer.pt": lambda file: file.write_bytes(file.read_bytes()[:-20]),
        "model.safetensors": lambda file: file.write_bytes(file.read_bytes()[:-4]),
        "trainer_state.json": lambda file: file.unlink(),
    }
    for step, (name, damage) in zip(steps, damages.items(), strict=True):
        assert newest_whole_checkpoint(tmp_path) == str(tmp_path / step)
        damage(tmp_path / step / name)
    assert newest_whole_checkpoint(tmp_path) is None
