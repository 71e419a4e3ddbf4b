"""Checkpoints of a training that is stopped or killed: whole or not there."""

import json
import os
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import ADAPTER_SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_NAME

from hf_prompt_models.utils.files import abandoned, discard, list_directory


STATE_FILE = "trainer_state.json"


def newest_whole_checkpoint(directory: str | os.PathLike) -> str | None:
    """The newest `checkpoint-N` under a folder that was written to its end, or `None`."""
    whole = (path for path in _checkpoints(Path(directory)) if _is_whole(path))
    newest = max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return None if newest is None else str(newest)


def remove_torn_checkpoints(directory: Path) -> None:
    """Remove checkpoints without a readable state, which is written last and says that the others are there."""
    for path in _checkpoints(directory):
        if not _has_state(path):
            discard(path)


def discard_checkpoints(directory: Path) -> None:
    """Remove all checkpoints of a folder."""
    for path in list_directory(directory, f"{PREFIX_CHECKPOINT_DIR}-*"):
        discard(path)


def restore_checkpoints(directory: Path) -> None:
    """Put back checkpoints that had made room for newer ones when the process was killed."""
    for left in abandoned(directory):
        for earlier in left.glob(f"*/{PREFIX_CHECKPOINT_DIR}-*"):
            if not (directory / earlier.name).exists():
                os.replace(earlier, directory / earlier.name)


def _checkpoints(directory: Path) -> list[Path]:
    return [path for path in list_directory(directory, f"{PREFIX_CHECKPOINT_DIR}-*") if is_checkpoint(path)]


def is_checkpoint(path: Path) -> bool:
    """Whether a folder is named as the Trainer names its checkpoints."""
    prefix, _, step = path.name.rpartition("-")
    return prefix == PREFIX_CHECKPOINT_DIR and step.isdigit()


def _has_state(checkpoint: Path) -> bool:
    try:
        state = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(state, dict) and "global_step" in state


def _is_whole(checkpoint: Path) -> bool:
    """Whether nothing is missing or cut off, also of a checkpoint that something else wrote."""
    weights = checkpoint / ADAPTER_SAFE_WEIGHTS_NAME  # what peft trains and saves alone
    try:
        with safe_open(weights if weights.is_file() else checkpoint / SAFE_WEIGHTS_NAME, framework="pt"):
            pass
    except (OSError, SafetensorError):
        return False
    random_states = list_directory(checkpoint, "rng_state*.pth")
    # torch writes zip archives, whose directory comes last: a truncated one is none.
    archives = [checkpoint / "optimizer.pt", checkpoint / "scheduler.pt", *random_states]
    return _has_state(checkpoint) and bool(random_states) and all(map(_is_archive, archives))


def _is_archive(file: Path) -> bool:
    try:
        return zipfile.is_zipfile(file)
    except zipfile.BadZipFile:  # its end says that it goes on elsewhere
        return False
