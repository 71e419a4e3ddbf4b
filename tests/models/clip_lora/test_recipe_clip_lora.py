"""The recipe of CLIP-LoRA."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.optim.lr_scheduler import CosineAnnealingLR

from hf_prompt_models.models.clip_lora.recipe_clip_lora import RECIPE, Arguments
from hf_prompt_models.recipe_utils import Protocol
from hf_prompt_models.tasks.base import task_named
from hf_prompt_models.training import PromptTrainer
from tests.models.clip_lora.tested_method import build
from tests.pictures import write_pictures
from tests.scripts.test_few_shot_scripts import script
from tests.stand_ins import openai_clip_vit_base_patch32


def parsed(*flags: str) -> Any:
    argv = ["--backbone", "b", "--train_dir", "d", "--test_dir", "e", "--output_dir", "o", *flags]
    return task_named("image-classification").parse_training(RECIPE, argv, "hf-prompt train clip_lora")


@pytest.mark.parametrize(("shots", "steps"), [(1, 500), (4, 2000), (16, 8000)])
def test_the_paper_trains_500_steps_per_shot_on_every_dataset(shots: int, steps: int) -> None:
    for protocol in ("few-shot", "base-to-new"):
        for dataset in (None, "imagenet", "eurosat"):
            assert RECIPE.training_defaults(Protocol(protocol, shots, dataset))["max_steps"] == steps
    run = parsed("--recipe", "paper", "--shots", str(shots))
    assert run.training["max_steps"] == steps
    laptop = parsed("--shots", str(shots)).training
    assert (laptop["max_steps"], laptop["learning_rate"]) == (steps // 10, pytest.approx(2e-3))
    assert not run.own_schedule


def test_the_learning_rate_is_the_papers_cosine(openai_clip: Path, tmp_path: Path) -> None:
    model = build(openai_clip)
    settings = parsed("--recipe", "paper", "--output_dir", str(tmp_path), "--use_cpu", "true").training
    from hf_prompt_models.training.settings import build_training_arguments

    arguments = build_training_arguments(settings | {"max_steps": 20, "report_to": "none", "disable_tqdm": True})
    trainer = PromptTrainer(model=model, args=arguments, own_schedule=False)
    optimizer, schedule = trainer.create_optimizer(), trainer.create_scheduler(20)
    assert type(optimizer) is torch.optim.AdamW
    parameters = [each for group in optimizer.param_groups for each in group["params"] if group["weight_decay"]]
    assert {id(each) for each in parameters} == {id(each) for each in model.low_rank.parameters()}
    assert {group["weight_decay"] for group in optimizer.param_groups if group["params"]} == {1e-2}
    released = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=2e-4)
    cosine = CosineAnnealingLR(released, 20, eta_min=1e-6)
    rates = []
    for each in (schedule, cosine):
        rates.append([])
        for _ in range(21):
            rates[-1].append(each.get_last_lr()[0])
            each.optimizer.step()
            each.step()
    assert rates[0] == pytest.approx(rates[1], rel=1e-6)
    assert rates[0][-1] == pytest.approx(1e-6)


def test_flags_take_precedence_over_the_length_and_the_schedule_of_the_recipe() -> None:
    for recipe in ("laptop", "paper"):
        by_epochs = parsed("--recipe", recipe, "--num_train_epochs", "5").training
        assert "max_steps" not in by_epochs
        assert by_epochs["num_train_epochs"] == 5
        few = parsed("--recipe", recipe, "--max_steps", "7").training
        assert (few["max_steps"], few["learning_rate"], by_epochs["learning_rate"]) == (7, 2e-4, 2e-4)
    assert "lr_scheduler_kwargs" not in parsed("--lr_scheduler_type", "linear").training


@pytest.mark.parametrize("encoder", ["both", "vision"])
def test_features_that_are_computed_once_are_refused_if_images_are_updated(encoder: str) -> None:
    with pytest.raises(ValueError, match=f"--encoder {encoder} changes in every step.* --encoder text"):
        Arguments(encoder=encoder, augmented_views=2)
    Arguments(encoder="text", augmented_views=2)


@pytest.mark.parametrize(
    ("setting", "flag"),
    [({"rank": 0}, "--rank"), ({"lora_alpha": 0.0}, "--lora_alpha"), ({"lora_dropout": 1.0}, "--lora_dropout")],
)
def test_settings_out_of_range_are_refused_by_their_flag(setting: dict[str, Any], flag: str) -> None:
    with pytest.raises(ValueError, match=f"{flag} must be"):
        Arguments(**setting)


@pytest.mark.parametrize(("encoder", "more"), [("both", ()), ("text", ("--augmented_views", "2"))])
def test_a_run_trains_the_updates_with_the_prompts_of_the_data(
    encoder: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    backbone = openai_clip_vit_base_patch32(tmp_path / "clip")
    for part in ("train", "test"):
        write_pictures(tmp_path / part, {"cat": 3, "dog": 3})
    flags = {
        "--backbone": backbone,
        "--train_dir": tmp_path / "train",
        "--test_dir": tmp_path / "test",
        "--output_dir": tmp_path / "run",
        "--encoder": encoder,
        "--shots": 2,
        "--max_steps": 3,
        "--learning_rate": 0.01,
        "--per_device_train_batch_size": 4,
        "--allow_shared_files": "true",
        "--disable_tqdm": "true",
        "--feature_cache": tmp_path / "cache",
    }
    flags_and_values = [str(part) for item in flags.items() for part in item]
    script("train.py")(["clip_lora", *flags_and_values, "--templates", "the {} in a photo", *more])
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["templates"] == ["the {} in a photo"]
    tensors = load_file(tmp_path / "run" / "model.safetensors")
    towers = {"both": {"text_model", "vision_model"}, "text": {"text_model"}}[encoder]
    assert {name.split(".")[1] for name in tensors} == towers
    assert all(tensor.abs().max() > 0 for name, tensor in tensors.items() if name.endswith(".B"))
    features = [len(load_file(file)["keys"]) for file in (tmp_path / "cache").glob("*/*.safetensors")]
    # Of the test images, for zero-shot; of two views of four training images if the image tower is frozen.
    assert sum(features) == 6 + (8 if encoder == "text" else 0)
