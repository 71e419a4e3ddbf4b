"""Output folders that hold an earlier run: refuse them, or remove the files that the run wrote, and no others."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from hf_prompt_models.hub.model_card import CARD_FILE, is_generated, read_card
from hf_prompt_models.training.run_folder import RESULTS_FILE, RUN_FILE, resumes
from hf_prompt_models.utils.distributed import as_on_main_process, process_index, wait_for_all
from hf_prompt_models.utils.files import discard


CHECKPOINTS = f"{PREFIX_CHECKPOINT_DIR}-[0-9]*"
WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "adapter_model.safetensors")
KEPT = (RESULTS_FILE, CHECKPOINTS, *WEIGHTS)
"""Files of a run that another run would replace or mix with its own."""

WRITTEN = (
    *KEPT,
    RUN_FILE,
    "few_shot.json",
    "split.json",
    "predictions.csv",
    "predictions.jsonl",
    "blind_predictions.jsonl",
    "before_predictions.csv",
    "before_answers.png",
    "zero_shot_predictions.csv",
    "zero_shot_answers.png",
    "answers.png",
    "written.png",
    "learning_curve.png",
    "candidates.csv",
    "candidates.png",
    "confusion_matrix*.png",
    "samples/step-*.jsonl",
    "samples.md",
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "model.safetensors.index.json",
    "processor_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
"""All files that runs write, except the model card."""


def check_output_dir(settings: Mapping[str, Any], seeds: Sequence[int], overwrite: bool) -> None:
    """Refuse a folder that holds another run, unless it is replaced, or resumed with the same seeds.

    A folder in which a run ended before it saved anything is accepted.

    Args:
        settings: the run's keyword arguments for `TrainingArguments`.
        seeds: the seeds of the run.
        overwrite: whether the run in the folder may be removed.

    Raises:
        ValueError: if the folder is refused, in every process. The message names what it holds.
    """
    root, wanted = Path(settings["output_dir"]).expanduser(), settings.get("resume_from_checkpoint")
    within = resumes(wanted) and (str(wanted).lower() == "true" or _is_below(Path(str(wanted)), root))
    if overwrite and within:
        raise ValueError(
            "--overwrite_output_dir true removes the checkpoint that --resume_from_checkpoint needs. Pass "
            "only one of the two."
        )
    refusal = as_on_main_process(lambda: _refusal(root, seeds, within)) if not overwrite else None
    if refusal is not None:
        raise ValueError(refusal)


def clear_output_dir(settings: Mapping[str, Any], seeds: Sequence[int], overwrite: bool) -> None:
    """Remove the files that an earlier run wrote into a folder and its `seed-<n>` folders, if it is replaced.

    Other files are kept, and so is a model card that a user has edited. The main process removes the files, and the
    others wait for it. Call this function while no other run can write into the folder (`only_run`). It repeats
    `check_output_dir`, because another run may have written into the folder in the meantime.

    Args:
        settings: the run's keyword arguments for `TrainingArguments`.
        seeds: the seeds of the run.
        overwrite: whether the run in the folder may be removed.

    Raises:
        ValueError: as for `check_output_dir`.
    """
    check_output_dir(settings, seeds, overwrite)
    root = Path(settings["output_dir"]).expanduser()
    if overwrite and process_index() == 0:
        for folder in filter(_is_run, _folders(root)):
            _clear(folder)
    wait_for_all()


def _refusal(root: Path, seeds: Sequence[int], within: bool) -> str | None:
    """Return why a run with these seeds may not write into a folder, or `None` if it may."""
    folders = _folders(root)
    kept = [path for folder in folders for path in _found(folder, KEPT)]
    if not within:
        if not kept:
            files = _found(root, WRITTEN)
            if not files or any(map(_is_run, folders)):
                return None
            return (
                f"--output_dir {root} contains files that this run would replace and that belong to no run "
                f"({_some(files, root)}). Choose another folder, or pass --overwrite_output_dir true to replace them."
            )
        resume = ", or --resume_from_checkpoint true to resume it" if any(map(_is_run, folders)) else ""
        return (
            f"--output_dir {root} already contains {('a run' if resume else 'a model')} ({_some(kept, root)}). Choose "
            f"another folder, or pass --overwrite_output_dir true to replace it{resume}."
        )
    theirs = {int(folder.name.removeprefix("seed-")) for folder in folders[1:] if _is_run(folder)}
    one = (root / RUN_FILE).is_file()
    if (theirs and len(seeds) == 1) or theirs - set(seeds) or (one and len(seeds) > 1):
        held = "a single seed" if one and not theirs else f"the seeds {' '.join(map(str, sorted(theirs)))}"
        return (
            f"--output_dir {root} contains a run of {held}, which cannot be resumed with --seeds "
            f"{' '.join(map(str, seeds))}. Pass the --seeds of that run, or choose another folder."
        )
    return None


def _found(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(folder.glob(pattern))]


def _some(paths: Sequence[Path], root: Path) -> str:
    return ", ".join(str(path.relative_to(root)) for path in paths[:3]) + (", …" if len(paths) > 3 else "")


def _folders(root: Path) -> list[Path]:
    """Return the folder of a run, followed by the folders of its seeds."""
    seeds = [path for path in root.glob("seed-*") if path.name.removeprefix("seed-").isdecimal() and path.is_dir()]
    return [root, *sorted(seeds)]


def _is_run(folder: Path) -> bool:
    return (folder / RUN_FILE).is_file() or (folder / RESULTS_FILE).is_file()


def _is_below(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


def _clear(folder: Path) -> None:
    card = read_card(folder / CARD_FILE)
    written = _found(folder, WRITTEN)
    if card is not None and is_generated(card):
        written.append(folder / CARD_FILE)
    # The files that identify a run are removed last, so that after a crash the folder can still be cleared.
    for path in sorted({*written}, key=lambda path: (path.name in (RUN_FILE, RESULTS_FILE), path.name)):
        if path.is_dir() and not path.is_symlink():
            discard(path)
        else:
            path.unlink(missing_ok=True)
    for emptied in (folder / "samples", folder):
        if emptied.is_dir() and not any(emptied.iterdir()):
            emptied.rmdir()
