"""The saved command line of a run."""

import shlex
from pathlib import Path

import pytest

from hf_prompt_models.training.command_line import for_strangers, without_tokens


@pytest.mark.parametrize(
    "flags",
    [
        ["--hub_token", "secret", "--seeds", "1"],
        ["--hub-token=secret", "--seeds", "1"],
        ["--hub_to", "secret"],  # argparse takes it for --hub_token
        ["--run_name", "hf_secretsecretsecret"],
        ["--run_name=hf_secretsecretsecret"],
    ],
)
def test_a_token_is_never_recorded(flags: list[str]) -> None:
    command = shlex.join(["python", "scripts/train.py", "coop", *flags])
    for written in (without_tokens(command), for_strangers(command)):
        assert "secret" not in written
        assert len(shlex.split(written)) == len(shlex.split(command))
    if "--seeds" in flags:
        assert without_tokens(command).endswith("--seeds 1")


def test_other_words_stay_as_they_are() -> None:
    numbers = ["--num_image_tokens", "2", "--max_new_tokens", "7"]
    words = ["--language_model", "user/gpt2", "--induction", "say n/a or what/else?", "--hub_model_id", "user/x"]
    command = shlex.join(["python", "scripts/train.py", "mantis", *numbers, *words])
    assert without_tokens(command) == for_strangers(command) == command


def test_strangers_see_the_last_parts_of_paths_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "private" / "pets").mkdir(parents=True)
    said = {
        "--train_dir": f"{tmp_path}/my pets/train:validation",
        "--test_dir": "private/pets:test",
        "--target_dirs": f"flowers={tmp_path}/private/flowers",
        "--videos": "../private/clips",
        "--deepspeed": f'{{"save": "{tmp_path}/private/x"}}',
        "--title": "line\nbreak ```",
    }
    command = shlex.join(["/home/me/bin/hf-prompt", "train", *(part for flag in said.items() for part in flag)])
    shown = for_strangers(f"{command} --output_dir={tmp_path}/private/out")
    assert shown.startswith("hf-prompt train --train_dir train:validation --test_dir pets:test")
    assert shown.endswith("--output_dir=out")
    for hidden in (str(tmp_path), "private", "my pets", "\n", "```"):
        assert hidden not in shown
    assert '{"save": "x"}' in shown
    assert "flowers=flowers" in shown
