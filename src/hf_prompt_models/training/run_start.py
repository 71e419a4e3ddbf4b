"""Steps of every run before it reads its data: check its settings, its backbones and its output folder."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from transformers import TrainingArguments

from hf_prompt_models.backbones.packaged import PLAYGROUND
from hf_prompt_models.hub.reachable import check_reachable
from hf_prompt_models.training.earlier_runs import check_output_dir
from hf_prompt_models.training.run_folder import seed_settings
from hf_prompt_models.training.settings import RunOptions, build_training_arguments


def check_backbones(backbones: Iterable[str | None]) -> None:
    """Check, before data are read, that backbones can be loaded; `None` is skipped.

    Raises:
        OSError: if a backbone cannot be found; the message says what to pass instead.
    """
    for backbone in backbones:
        if backbone is not None:
            check_reachable(backbone)


def arguments_by_seed(
    settings: Mapping[str, Any], seeds: Sequence[int], backbones: Sequence[str | None], options: RunOptions
) -> dict[int, TrainingArguments]:
    """Return the `TrainingArguments` of each seed, with a separate folder and Hub repository for each.

    Args:
        settings: the run's keyword arguments for `TrainingArguments`.
        seeds: the seeds of the run.
        backbones: Hub ids or folders of the backbones.
        options: the options of the run.

    Raises:
        OSError: if a backbone cannot be found.
        ValueError: if a setting is not supported, the folder of a seed is the folder of a backbone, or the run's
            folder holds another run.
    """
    folders = {os.path.realpath(each) for each in backbones if each is not None and each != PLAYGROUND}
    training = {seed: build_training_arguments({**settings, **seed_settings(settings, seed, seeds)}) for seed in seeds}
    if any(os.path.realpath(each.output_dir) in folders for each in training.values()):
        raise ValueError(
            "--output_dir is the folder of the backbone, which training would overwrite. Choose another folder."
        )
    check_backbones(backbones)
    check_output_dir(settings, seeds, options.overwrite_output_dir)
    return training
