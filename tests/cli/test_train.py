"""`hf-prompt train`: flags from files, help, and its end after interrupts, with bad input and with a full disk."""

import json
import os
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hf_prompt_cli.commands.train import advice
from hf_prompt_cli.flag_files import with_flags_of_file
from hf_prompt_cli.main import main, parsers
from hf_prompt_cli.methods import methods_with
from hf_prompt_models.data.images.dataset import AugmentedImageDataset
from hf_prompt_models.tasks.arguments import build_parser, training_settings
from hf_prompt_models.training import trainer as trainer_module
from hf_prompt_models.training.checkpoints import newest_complete_checkpoint
from tests.full_disk import full_disk
from tests.scripts.test_few_shot_scripts import data, flags


ROOT = Path(__file__).parents[2]
__all__ = ["data"]  # a fixture


def ended(argv: list[str]) -> Any:
    with pytest.raises(SystemExit) as stop:
        main(argv)
    return stop.value.code


def prompt_of(folder: Path) -> torch.Tensor:
    (context,) = load_file(folder / "model.safetensors").values()
    return context


@pytest.fixture(scope="module")
def undisturbed(modern_clip: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    """The prompt of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert main(["train", *flags(modern_clip, data, folder)]) == 0
    return prompt_of(folder)


def stop_at(picture: int, action: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Call a function after a number of images have been read for training."""
    read, plain = [0], AugmentedImageDataset.__getitem__

    def getitem(self: AugmentedImageDataset, index: int) -> Any:
        read[0] += 1
        if read[0] == picture:
            action()
        return plain(self, index)

    monkeypatch.setattr(AugmentedImageDataset, "__getitem__", getitem)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_reports_how_to_resume_and_ends_the_same(
    number: signal.Signals,
    code: int,
    modern_clip: Path,
    data: Path,
    undisturbed: torch.Tensor,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "a run"  # 12 images per epoch, in 3 steps
    with monkeypatch.context() as patched:
        stop_at(15, lambda: os.kill(os.getpid(), number), patched)
        assert ended(["train", *flags(modern_clip, data, output, "--save_steps", 100)]) == code
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(f"interrupted. Kept: {output / 'checkpoint-4'}. Resume with: hf-prompt train coop ")
    assert not (output / "model.safetensors").exists()
    program, *again = shlex.split(said.partition("Resume with: ")[2])
    assert program == "hf-prompt"
    assert main(again) == 0
    assert torch.equal(prompt_of(output), undisturbed)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_interruption_does_not_wait_for_the_step(
    modern_clip: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    stop_at(15, twice, monkeypatch)
    assert ended(["train", *flags(modern_clip, data, tmp_path / "run", "--save_steps", 3)]) == 130
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"Kept: {tmp_path / 'run' / 'checkpoint-3'}. Resume with: hf-prompt train coop" in said


def test_a_run_that_saves_no_checkpoints_stops_after_the_step(
    modern_clip: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(5, lambda: os.kill(os.getpid(), signal.SIGINT), monkeypatch)
    argv = ["train", *flags(modern_clip, data, tmp_path / "run", "--save_strategy", "no")]
    assert ended(argv) == 130
    assert "No checkpoint was written yet. Resume with: hf-prompt train coop" in capsys.readouterr().err
    assert newest_complete_checkpoint(tmp_path / "run") is None


def test_a_full_disk_ends_in_a_line_that_reports_what_is_kept_and_how_to_resume(
    modern_clip: Path,
    data: Path,
    undisturbed: torch.Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saved, plain = [], trainer_module.PromptTrainer._save_checkpoint

    def save(self: trainer_module.PromptTrainer, *args: Any) -> None:
        if saved:
            with full_disk(100):
                plain(self, *args)
        plain(self, *args)
        saved.append(self.state.global_step)

    output = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(trainer_module.PromptTrainer, "_save_checkpoint", save)
        message = ended(["train", *flags(modern_clip, data, output, "--save_steps", 3)])
    assert re.match(r"error: Cannot save .*checkpoint-6'.*\. Kept: .*/checkpoint-3\. Resume with: ", message)
    assert "\n" not in message
    assert main(shlex.split(message.partition("Resume with: ")[2])[1:]) == 0
    assert torch.equal(prompt_of(output), undisturbed)


def test_bad_input_reports_that_nothing_is_lost(modern_clip: Path, data: Path, tmp_path: Path) -> None:
    message = ended(["train", *flags(modern_clip, data, tmp_path / "run", "--train_dir", tmp_path / "absent")])
    assert message.startswith("error: ")
    assert message.endswith("No training step was run. Fix the problem above and rerun the same command.")
    message = ended(["train", "coop", str(tmp_path / "absent.yaml")])
    assert "absent.yaml" in message
    assert message.endswith("Nothing was written. Fix the problem above and rerun the same command.")
    assert ended(["train", "clip_zero_shot"]).startswith("error: clip_zero_shot cannot be trained")


def test_checkpoints_of_an_earlier_run_in_the_folder_are_not_called_kept(
    modern_clip: Path, data: Path, tmp_path: Path
) -> None:
    assert main(["train", *flags(modern_clip, data, tmp_path, "--num_train_epochs", 1)]) == 0
    assert newest_complete_checkpoint(tmp_path)
    message = ended(["train", *flags(modern_clip, data, tmp_path, "--shots", 9, "--overwrite_output_dir", "true")])
    assert "Kept" not in message
    assert "fewer than 9 images" in message


def test_a_setting_that_a_library_refuses_is_named_and_not_to_be_repeated(
    modern_clip: Path, data: Path, tmp_path: Path
) -> None:
    run = ["train", *flags(modern_clip, data, tmp_path / "run")]
    for flag, value, said in (
        ("--report_to", "wandb", "error: --report_to wandb: the package is not installed"),
        ("--neftune_noise_alpha", "5", "error: --neftune_noise_alpha adds noise to the token embeddings"),
        ("--optim_args", "momentum=-3", "error: Invalid momentum value: -3.0."),
    ):
        message = ended([*run, flag, value])
        assert message.startswith(said)
        assert message.endswith("No training step was run. Fix the problem above and rerun the same command.")
        assert "\n" not in message


def test_a_run_that_replaces_another_is_resumed_without_replacing_itself(
    modern_clip: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ["train", *flags(modern_clip, data, tmp_path / "run", "--overwrite_output_dir", "true")]
    with monkeypatch.context() as patched:
        stop_at(15, lambda: os.kill(os.getpid(), signal.SIGINT), patched)
        assert ended(run) == 130
    again = shlex.split(capsys.readouterr().err.partition("Resume with: ")[2])
    assert main(again[1:]) == 0
    assert (tmp_path / "run" / "results.json").is_file()


# -- resuming with other settings -----------------------------------------------------------------------------------


def test_a_run_resumes_with_more_epochs_and_smaller_batches_of_the_same_step(
    modern_clip: Path, data: Path, undisturbed: torch.Tensor, tmp_path: Path, transformers_records: list[str]
) -> None:
    constant = ("--lr_scheduler_type", "constant", "--save_strategy", "epoch")
    run = flags(modern_clip, data, tmp_path / "longer", *constant, "--num_train_epochs", 2)
    assert main(["train", *run]) == 0
    short = prompt_of(tmp_path / "longer")
    halves = ("--per_device_train_batch_size", 2, "--gradient_accumulation_steps", 2, "--num_train_epochs", 3)
    assert main(["train", *run, *map(str, halves), "--resume_from_checkpoint", "true"]) == 0
    assert main(["train", *flags(modern_clip, data, tmp_path / "at_once", *constant)]) == 0
    longer = prompt_of(tmp_path / "longer")
    assert not torch.equal(longer, short)
    torch.testing.assert_close(longer, prompt_of(tmp_path / "at_once"), rtol=0, atol=1e-5)
    transformers_records.clear()  # the Trainer names the other batch size


def test_what_cannot_be_resumed_is_refused_and_a_finished_run_reports_it(
    modern_clip: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = ["train", *flags(modern_clip, data, tmp_path / "run"), "--resume_from_checkpoint", "true"]
    assert main(run) == 0
    model = (tmp_path / "run" / "model.safetensors").read_bytes()
    for more, said in (
        (("--per_device_train_batch_size", "6", "--num_train_epochs", "9"), "examples per step 4 then, 6 now"),
        (("--gradient_accumulation_steps", "2"), "examples per step 4 then, 8 now"),
        (("--learning_rate", "0.5", "--num_train_epochs", "9"), "learning_rate 0.002 then, 0.5 now"),
        (("--num_train_epochs", "2"), "was trained for 9 steps and 6 are requested"),
        (("--max_steps", "4"), "was trained for 9 steps and 4 are requested"),
    ):
        assert said in ended([*run, *more])
    assert main(run) == 0
    assert f"No step is trained, because {tmp_path / 'run' / 'checkpoint-9'} already has all 9 steps." in caplog.text
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == model


def test_a_checkpoint_without_a_record_is_refused_where_epochs_have_another_length(
    modern_clip: Path, data: Path, tmp_path: Path
) -> None:
    run = ["train", *flags(modern_clip, data, tmp_path / "run"), "--resume_from_checkpoint", "true"]
    assert main(run) == 0
    (tmp_path / "run" / "run.json").unlink()
    message = ended([*run, "--per_device_train_batch_size", "2", "--num_train_epochs", "9"])
    assert "was trained for 9 steps in 3 epochs, but an epoch now has 6 steps" in message


def test_a_second_run_into_a_folder_is_refused_or_takes_the_place_of_the_first(
    modern_clip: Path, data: Path, undisturbed: torch.Tensor, tmp_path: Path
) -> None:
    run = ["train", *flags(modern_clip, data, tmp_path), "--num_train_epochs", "1"]
    assert main([*run, "--seeds", "1", "2"]) == 0
    (tmp_path / "notes.txt").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert f"--output_dir {tmp_path} already contains a run" in ended([*run, "--learning_rate", "0.5"])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert main(["train", *flags(modern_clip, data, tmp_path), "--overwrite_output_dir", "true"]) == 0
    assert torch.equal(prompt_of(tmp_path), undisturbed)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not list(tmp_path.glob("seed-*"))


def test_a_run_that_failed_before_its_first_step_needs_no_flag(modern_clip: Path, data: Path, tmp_path: Path) -> None:
    run = ["train", *flags(modern_clip, data, tmp_path), "--num_train_epochs", "1"]
    assert "error: " in ended([*run, "--optim", "sgd", "--optim_args", "momentum=-3"])
    assert (tmp_path / "run.json").is_file()
    assert main(run) == 0


# -- flags from files ------------------------------------------------------------------------------------------------


def test_a_run_from_a_file_is_the_run_from_flags(
    modern_clip: Path, data: Path, undisturbed: torch.Tensor, tmp_path: Path
) -> None:
    _, *given = flags(modern_clip, data, tmp_path / "run")
    values = dict(zip((flag.removeprefix("--") for flag in given[::2]), given[1::2], strict=True))
    (tmp_path / "run.yaml").write_text("".join(f"{name}: {value}\n" for name, value in values.items()))
    assert main(["train", "coop", str(tmp_path / "run.yaml")]) == 0
    assert torch.equal(prompt_of(tmp_path / "run"), undisturbed)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert "run.yaml" not in results["command"]
    assert "--n_ctx=2" in shlex.split(results["command"])


YAML = """
shots: 4              # the command line may say otherwise
seeds: [1, 2]
learning_rate: 2e-3
class_specific_context: true
save_strategy: no
feature_cache: off
context_init:
label_column: null
target_dirs:
  - a b
  - c
lr_scheduler_kwargs: {num_cycles: 2}
"""


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_values_of_a_file_are_those_of_the_command_line(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"flags{suffix}"
    if suffix == ".yaml":
        file.write_text(YAML)
    else:
        value = {"shots": 4, "seeds": [1, 2], "learning_rate": 2e-3, "class_specific_context": True}
        value |= {"save_strategy": "no", "feature_cache": "off", "context_init": None, "label_column": None}
        value |= {"target_dirs": ["a b", "c"], "lr_scheduler_kwargs": {"num_cycles": 2}}
        file.write_text(json.dumps(value, indent="\t"))
    parser = parsers()["train coop"]
    required = ["--backbone", "b", "--train_dir", "d", "--test_dir", "e"]
    given = parser.parse_args([*with_flags_of_file(parser, [str(file)]), *required])
    assert (given.shots, given.seeds, given.learning_rate) == (4, [1, 2], 2e-3)
    assert (given.class_specific_context, given.feature_cache, given.target_dirs) == (True, "off", ["a b", "c"])
    assert (given.context_init, given.label_column) == (None, None)
    assert str(getattr(given.save_strategy, "value", given.save_strategy)) == "no"
    assert json.loads(given.lr_scheduler_kwargs) in ({"num_cycles": 2}, {"num_cycles": "2"})  # the Trainer takes both
    over = [str(file), "--shots", "9", "--seeds", "3", "--no_such"]
    assert "--shots=4" not in with_flags_of_file(parser, over)
    assert with_flags_of_file(parser, over)[-5:] == over[1:]
    assert not {"1", "2"} & set(with_flags_of_file(parser, [str(file), "--seed", "3"]))  # --seed n means --seeds n


def test_files_that_hold_no_flags_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / "run.yaml"
    for text, said in (
        ("shot: 4", "there is no flag shot. Did you mean shots?"),
        ("help: true", "there is no flag help."),
        ("1: 2\nxyzzy: 3", "there is no flag 1."),
    ):
        file.write_text(text)
        assert ended(["train", "coop", str(file)]) == 2
        assert f"{file}: {said}" in capsys.readouterr().err
    for text, said in (
        ("just text", "is not a file of flags"),
        ("- shots\n- 4", "is not a file of flags"),
        ("shots: [4", "cannot be read as YAML"),
        ("a: " * 3000, "cannot be read as YAML"),
        ("shots: " + "[" * 3000, "cannot be read as YAML"),
        ("seeds: [[1], 2]", "expected seeds to be a value, a list of values or a mapping"),
        ("shots: 4" + " " * 70_000, "may have at most 65536"),
    ):
        file.write_text(text)
        assert said in ended(["train", "coop", str(file)])
    file.write_text(f"shots: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']")
    assert ended(["train", "coop", str(file)]) == 2
    assert not (tmp_path / "made").exists()


# -- help ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", methods_with("recipe"))
def test_help_has_our_flags_first_and_reports_whose_each_default_is(method: str) -> None:
    parser = parsers()[f"train {method}"]
    text = parser.format_help()
    ours = {action.dest for group in parser._action_groups[1:-1] for action in group._group_actions} - {"help"}
    theirs = {action.dest for action in parser._action_groups[-1]._group_actions}
    assert "seeds" in ours
    assert "learning_rate" in theirs
    assert not ours & theirs
    assert max(text.index(f"  --{name} ") for name in ours) < text.index("training (transformers'")
    plain = " ".join(text.split())
    assert "--max_steps MAX_STEPS" in text
    assert re.search(r"--max_steps .*?\(default: (-1; Trainer|\d+; --recipe laptop; .* recipe: \d+)\)", plain)
    assert re.search(r"--save_total_limit .*?\(default: 1; hf-prompt\)", plain)
    for action in parser._actions:
        if action.default not in (None, "==SUPPRESS==") and not action.required and action.nargs != 0:
            invocation = f"--{action.option_strings[0].removeprefix('--')} "
            assert re.search(rf"{invocation}.*?\(default: .*?; .*?\)", plain), action.dest


def test_defaults_in_the_help_are_those_of_the_run() -> None:
    from hf_prompt_models.models.coop import recipe_coop
    from hf_prompt_models.tasks.base import task_named
    from hf_prompt_models.tasks.classification.arguments import ImageClassificationArguments

    argv = ["--backbone", "b", "--train_dir", "d", "--test_dir", "e", "--output_dir", "o"]
    run = task_named("image-classification").parse_training(recipe_coop.RECIPE, argv, "hf-prompt train coop")
    shown = parsers()["train coop"]
    for name, value in run.training.items():
        if name != "output_dir":
            assert shown.get_default(name) == value, name
    assert shown.get_default("shots") == run.data.shots
    assert run.own_schedule
    text = " ".join(shown.format_help().split())
    assert "(default: 0.002; CoOp recipe)" in text
    assert "then cosine decay, updated once per epoch; CoOp recipe)" in text
    assert "(required)" in text
    data = build_parser(recipe_coop.RECIPE, ImageClassificationArguments, {}, "prog")
    assert data.get_default("save_steps") == training_settings({}, {})["save_steps"]


# -- advice ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_advice_names_every_method_and_only_figures_that_are_where_it_says(capsys: pytest.CaptureFixture) -> None:
    assert main(["train"]) == 0
    printed = capsys.readouterr().out
    assert printed.strip() == advice(methods_with("recipe")).strip()
    for method in methods_with("recipe"):
        assert re.search(rf"^  {method}  ", printed, re.MULTILINE)
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    written = "\n".join(path.read_text(encoding="utf-8") for path in documents).replace("2.399", "2.40")
    written = written.replace("0.514", "0.51")
    figures = re.findall(r"\d+\.\d+(?: ± \d+\.\d+)?", printed)
    assert len(figures) > 25
    assert [figure for figure in figures if figure not in written] == []
    for known in re.findall(r"--(\w+)", printed):
        assert any(f"--{known}" in parser._option_string_actions for parser in parsers().values()), known
