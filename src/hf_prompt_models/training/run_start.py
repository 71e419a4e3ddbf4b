"""What every run does before it reads its data: its settings, and a folder that holds no other run."""

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
    """Check that backbones can be loaded, before data are read; `None` is passed over.

    Raises:
        OSError: with what to pass instead.
    """
    for backbone in backbones:
        if backbone is not None:
            check_reachable(backbone)


def arguments_by_seed(
    settings: Mapping[str, Any], seeds: Sequence[int], backbones: Sequence[str | None], options: RunOptions
) -> dict[int, TrainingArguments]:
    """Return each seed's `TrainingArguments`: its own folder, its own repository on the Hub.

    Args:
        settings: the run's.
        seeds: the run's.
        backbones: names or folders of the backbones.
        options: the run's.

    Raises:
        OSError: if a backbone cannot be found.
        ValueError: also if a seed's folder is a backbone's, or the run's folder holds another run.
    """
    folders = {os.path.realpath(each) for each in backbones if each is not None and each != PLAYGROUND}
    training = {seed: build_training_arguments({**settings, **seed_settings(settings, seed, seeds)}) for seed in seeds}
    if any(os.path.realpath(each.output_dir) in folders for each in training.values()):
        raise ValueError(
            "--output_dir is the folder of the backbone itself, which training would overwrite. Choose another."
        )
    check_backbones(backbones)
    check_output_dir(settings, seeds, options.overwrite_output_dir)
    return training
