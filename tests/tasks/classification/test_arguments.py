"""Flags take precedence over recipes."""

import pytest

from hf_prompt_models.models.action_clip import recipe_action_clip
from hf_prompt_models.models.coop import recipe_coop
from hf_prompt_models.tasks.arguments import RunArguments, recipe_arguments
from hf_prompt_models.tasks.base import task_named


REQUIRED = ["--backbone", "B", "--train_dir", "D", "--test_dir", "T", "--output_dir", "O"]


def parse(*flags: str) -> RunArguments:
    return task_named("image-classification").parse_training(recipe_coop.RECIPE, [*REQUIRED, *flags], "train.py coop")


@pytest.mark.parametrize(("shots", "epochs"), [(1, 50), (2, 100), (4, 100), (8, 200), (16, 200)])
def test_the_papers_settings_are_the_defaults(shots: int, epochs: int) -> None:
    arguments = parse("--shots", str(shots))
    expected = {
        "optim": "sgd",
        "optim_args": "momentum=0.9",
        "learning_rate": 0.002,
        "weight_decay": 5e-4,
        "num_train_epochs": epochs,
        "per_device_train_batch_size": 32,
    }
    assert {name: arguments.training[name] for name in expected} == expected
    assert arguments.own_schedule
    assert (arguments.method.n_ctx, arguments.method.class_token_position) == (16, "end")


def test_an_explicit_flag_wins_even_where_it_says_the_trainers_default() -> None:
    arguments = parse("--learning_rate", "5e-5", "--num_train_epochs=3", "--save_steps", "500", "--n_ctx", "4")
    assert arguments.training["learning_rate"] == 5e-5
    assert arguments.training["num_train_epochs"] == 3
    assert arguments.training["save_steps"] == 500
    assert arguments.method.n_ctx == 4


def test_epochs_through_clip_are_fewer_unless_the_papers_recipe_is_asked_for() -> None:
    def epochs(*flags: str) -> int:
        task = task_named("video-classification")
        arguments = task.parse_training(recipe_action_clip.RECIPE, [*REQUIRED, *flags], "x")
        return arguments.training["num_train_epochs"]

    assert (epochs(), epochs("--recipe", "paper"), epochs("--trainable", "head")) == (10, 50, 50)
    assert parse().training == parse("--recipe", "paper").training  # CoOp's


def test_another_optimizer_does_not_get_the_recipes_momentum() -> None:
    assert "optim_args" not in parse("--optim", "adamw_torch").training


@pytest.mark.parametrize("flags", [("--lr_scheduler_type", "linear"), ("--warmup_steps", "5")])
def test_a_flag_about_the_schedule_turns_the_recipes_off(flags: tuple[str, str]) -> None:
    assert not parse(*flags).own_schedule


def test_one_seed_may_be_written_either_way() -> None:
    assert parse().data.seeds == [1]
    assert parse("--seed", "7").data.seeds == [7]
    assert parse("--seeds", "1", "2", "3").data.seeds == [1, 2, 3]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--seed", "1", "--seeds", "1", "2"), "--seed n is the same as --seeds n"),
        (("--seeds", "1", "1"), "expected different --seeds"),
        (("--shots", "0"), "at least 1, got 0"),
        (("--class_token_position", "back"), "invalid choice: 'back'"),
        (("--unheard_of", "1"), "--unheard_of"),
    ],
)
def test_wrong_flags_are_reported(flags: tuple[str, ...], message: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(*flags)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_missing_flags_are_reported(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        task_named("image-classification").parse_training(recipe_coop.RECIPE, REQUIRED[:6], "train.py coop")
    assert "required: --output_dir" in capsys.readouterr().err


def test_help_shows_the_recipes_settings(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "(default: 0.002; CoOp recipe)" in text
    assert "Number of context vectors" in text


def test_a_recipes_settings_serve_code_of_ones_own() -> None:
    defaults = recipe_coop.training_defaults(16)
    arguments = recipe_arguments(defaults, "O", num_train_epochs=3, save_strategy="no")
    by_script = parse("--shots", "16").training
    for name in ("optim", "optim_args", "learning_rate", "weight_decay", "remove_unused_columns", "logging_strategy"):
        assert getattr(arguments, name) == by_script[name], name
    assert (arguments.output_dir, arguments.num_train_epochs, arguments.save_strategy) == ("O", 3, "no")
    assert recipe_arguments(defaults, "O", optim="adamw_torch").optim_args is None
