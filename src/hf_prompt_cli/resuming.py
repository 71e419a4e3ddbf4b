"""Find what an interrupted run has kept, and the command that resumes it."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from hf_prompt_models.training.checkpoints import newest_complete_checkpoint
from hf_prompt_models.training.run_folder import RUN_FILE
from hf_prompt_models.utils.files import list_directory


RESUME, OVERWRITE = "--resume_from_checkpoint", "--overwrite_output_dir"


def how_to_resume(command: str, flags: Sequence[str], began: float, fixed: bool = True) -> str:
    """Return the sentences that report what was kept and how to resume.

    Args:
        command: The command line that was run.
        flags: The command line after the method, with the flags of a file.
        began: Start time in seconds since the epoch. Older files in the folder are not from this run.
        fixed: Whether the same command can continue without a fix.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--output_dir", "--output-dir")
    parser.add_argument(RESUME, "--resume-from-checkpoint")
    parser.add_argument(OVERWRITE, "--overwrite-output-dir", nargs="?", const="true")
    given, _ = parser.parse_known_args(list(flags))
    if given.output_dir is None:
        return "Nothing was written. Fix the problem above and rerun the same command."
    kept = checkpoints_since(Path(given.output_dir), began)
    begun = began_since(Path(given.output_dir), began)
    if not begun or not (kept or fixed):
        return "No training step was run. Fix the problem above and rerun the same command."
    resume = command if given.resume_from_checkpoint == "true" else f"{command} {RESUME} true"
    if given.overwrite_output_dir not in (None, "false"):
        resume = f"{resume} {OVERWRITE} false"  # true would remove the run that is to be resumed
    said = f"Kept: {', '.join(kept)}." if kept else "No checkpoint was written yet."
    return f"{said} {'Resume with' if fixed else 'Fix the problem, then resume with'}: {resume}"


def began_since(output_dir: Path, began: float) -> list[Path]:
    """Return the folders of a run, or of its seeds, in which a training started since a time."""
    return [each for each in [output_dir, *list_directory(output_dir, "seed-*")] if _began(each) >= began]


def _began(directory: Path) -> float:
    try:
        return (directory / RUN_FILE).stat().st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return -math.inf


def checkpoints_since(output_dir: Path, began: float) -> list[str]:
    """Return the newest checkpoint of each of these folders. A new training removes the checkpoints of other runs."""
    found = [newest_complete_checkpoint(folder) for folder in began_since(output_dir, began)]
    return [checkpoint for checkpoint in found if checkpoint is not None]
