"""A second run in a folder: refused, resumed or in place of the first run, of which only its own files are removed."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from hf_prompt_models.training.earlier_runs import check_output_dir, clear_output_dir


MODEL = ("config.json", "model.safetensors", "README.md", "run.json", "learning_curve.png")


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A run of one seed, next to files of the user."""
    write(tmp_path, *MODEL, "results.json", "checkpoint-9/trainer_state.json", "notes.txt", "mine.safetensors")
    write(tmp_path, "samples/step-3.jsonl", "samples/mine.jsonl", "checkpoint-best/x")
    return tmp_path


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A run of the seeds 1 and 2, next to a file of the user."""
    for seed in ("seed-1", "seed-2"):
        write(tmp_path / seed, *MODEL, "checkpoint-9/trainer_state.json")
    write(tmp_path, "results.json", "seed-2/notes.txt", "seed-one/run.json")
    return tmp_path


def check(folder: Path, seeds: Sequence[int] = (1,), resume: str | None = None, overwrite: bool = False) -> None:
    check_output_dir({"output_dir": str(folder), "resume_from_checkpoint": resume}, seeds, overwrite)


@pytest.mark.parametrize("held", ["one", "two"])
@pytest.mark.parametrize("seeds", [(1,), (1, 2), (7,)])
def test_a_folder_with_a_run_is_refused_with_both_ways_out(
    held: str, seeds: Sequence[int], request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(held)
    for resume in (None, "false", str(folder.parent / "elsewhere" / "checkpoint-1")):
        with pytest.raises(ValueError, match=r"already contains a run.*overwrite_output_dir.*resume_from_checkpoint"):
            check(folder, seeds, resume)
    check(folder, seeds, overwrite=True)


def test_what_a_run_leaves_that_kept_nothing_is_no_run(tmp_path: Path) -> None:
    check(tmp_path / "absent")
    write(
        tmp_path, "run.json", "few_shot.json", "zero_shot_predictions.csv", "notes.txt", "photo.png", "seed-1/run.json"
    )
    check(tmp_path)


def test_a_model_of_the_users_own_is_not_overwritten(tmp_path: Path) -> None:
    write(tmp_path, "config.json", "model.safetensors")
    with pytest.raises(ValueError, match="already contains a model") as refused:
        check(tmp_path)
    assert "resume" not in str(refused.value)


@pytest.mark.parametrize("name", ["vocab.txt", "predictions.csv", "tokenizer.json"])
def test_files_of_no_run_are_not_overwritten_unless_asked(tmp_path: Path, name: str) -> None:
    write(tmp_path, "thesis.docx", name)
    with pytest.raises(
        ValueError, match=rf"contains files that this run would replace and that belong to no run \({name}\)"
    ):
        check(tmp_path)
    check(tmp_path, overwrite=True)


def test_a_run_is_resumed_with_its_own_seeds_or_more(two: Path) -> None:
    check(two, (1, 2), "true")
    check(two, (2, 1, 3), "true")
    check(two, (1, 2), str(two / "seed-1" / "checkpoint-9"))
    for seeds in ((1,), (1, 3)):
        with pytest.raises(ValueError, match=r"a run of the seeds 1 2, which cannot be resumed with --seeds"):
            check(two, seeds, "true")


def test_a_run_of_one_seed_is_not_resumed_with_several(one: Path) -> None:
    check(one, (1,), "true")
    with pytest.raises(ValueError, match="a run of a single seed, which cannot be resumed with --seeds 1 2"):
        check(one, (1, 2), "true")


def test_to_replace_and_to_resume_contradict_each_other(one: Path) -> None:
    for resume in ("true", str(one / "checkpoint-9")):
        with pytest.raises(ValueError, match="Pass only one of the two"):
            check(one, (1,), resume, overwrite=True)
    check(one, (1,), str(one.parent / "elsewhere" / "checkpoint-9"), overwrite=True)


def left(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_replacing_removes_what_runs_wrote_and_nothing_else(one: Path) -> None:
    before = left(one)
    with pytest.raises(ValueError, match="already contains a run"):
        clear_output_dir({"output_dir": str(one)}, (1,), overwrite=False)
    assert left(one) == before
    clear_output_dir({"output_dir": str(one)}, (1,), overwrite=True)
    card = "README.md"  # is not one that this package made
    assert left(one) == {card, "notes.txt", "mine.safetensors", "samples/mine.jsonl", "checkpoint-best/x"}


def test_what_a_killed_removal_leaves_can_be_removed_again(one: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed, unlink = [], Path.unlink

    def unlink_thrice(path: Path, missing_ok: bool = False) -> None:
        if len(removed) == 3:
            raise KeyboardInterrupt
        removed.append(path)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink_thrice)
    with pytest.raises(KeyboardInterrupt):
        clear_output_dir({"output_dir": str(one)}, (1,), overwrite=True)
    monkeypatch.undo()
    clear_output_dir({"output_dir": str(one)}, (1,), overwrite=True)
    assert left(one) == {"README.md", "notes.txt", "mine.safetensors", "samples/mine.jsonl", "checkpoint-best/x"}


def test_replacing_empties_the_folders_of_seeds(two: Path) -> None:
    (two / "seed-1" / "README.md").unlink()
    clear_output_dir({"output_dir": str(two)}, (1, 2), overwrite=True)
    assert left(two) == {"seed-2/README.md", "seed-2/notes.txt", "seed-one/run.json"}
    assert not (two / "seed-1").exists()
