"""Checkpoints of a training that may be stopped or killed: find complete ones and remove incomplete ones."""

import json
import os
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import ADAPTER_SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_NAME

from hf_prompt_models.utils.files import abandoned, discard, list_directory


STATE_FILE = "trainer_state.json"


def newest_complete_checkpoint(directory: str | os.PathLike) -> str | None:
    """Return the newest complete `checkpoint-N` in a folder, or `None`."""
    whole = (path for path in _checkpoints(Path(directory)) if _is_complete(path))
    newest = max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return None if newest is None else str(newest)


def remove_torn_checkpoints(directory: Path) -> None:
    """Remove checkpoints without a readable state, which is written after all other files."""
    for path in _checkpoints(directory):
        if not _has_state(path):
            discard(path)


def discard_checkpoints(directory: Path) -> None:
    """Remove all checkpoints of a folder."""
    for path in list_directory(directory, f"{PREFIX_CHECKPOINT_DIR}-*"):
        discard(path)


def restore_checkpoints(directory: Path) -> None:
    """Restore checkpoints that were being replaced by newer ones when the process was killed."""
    for left in abandoned(directory):
        for earlier in left.glob(f"*/{PREFIX_CHECKPOINT_DIR}-*"):
            if not (directory / earlier.name).exists():
                os.replace(earlier, directory / earlier.name)


def _checkpoints(directory: Path) -> list[Path]:
    return [path for path in list_directory(directory, f"{PREFIX_CHECKPOINT_DIR}-*") if is_checkpoint(path)]


def is_checkpoint(path: Path) -> bool:
    """Return whether the name of a folder is one that the Trainer gives its checkpoints."""
    prefix, _, step = path.name.rpartition("-")
    return prefix == PREFIX_CHECKPOINT_DIR and step.isdigit()


def _has_state(checkpoint: Path) -> bool:
    try:
        state = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(state, dict) and "global_step" in state


def _is_complete(checkpoint: Path) -> bool:
    """Return whether no file is missing or truncated, also for checkpoints of other programs."""
    weights = checkpoint / ADAPTER_SAFE_WEIGHTS_NAME  # PEFT models save only the adapter
    try:
        with safe_open(weights if weights.is_file() else checkpoint / SAFE_WEIGHTS_NAME, framework="pt"):
            pass
    except (OSError, SafetensorError):
        return False
    random_states = list_directory(checkpoint, "rng_state*.pth")
    # torch writes zip archives. Their directory comes last, so a truncated file is not recognised as one.
    archives = [checkpoint / "optimizer.pt", checkpoint / "scheduler.pt", *random_states]
    return _has_state(checkpoint) and bool(random_states) and all(map(_is_archive, archives))


def _is_archive(file: Path) -> bool:
    try:
        return zipfile.is_zipfile(file)
    except zipfile.BadZipFile:  # its end refers to another part of the archive
        return False
