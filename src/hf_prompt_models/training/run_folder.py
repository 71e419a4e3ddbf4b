"""The files of a run in its output folder, and functions to find them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainingArguments
from transformers.utils import CONFIG_NAME

from hf_prompt_models.data.labelled import RUN_FILE as RUN_FILE
from hf_prompt_models.training.checkpoints import (
    discard_checkpoints,
    is_checkpoint,
    newest_complete_checkpoint,
    restore_checkpoints,
)
from hf_prompt_models.training.foreign_checkpoints import check_trained
from hf_prompt_models.utils.distributed import as_on_main_process
from hf_prompt_models.utils.files import read_json, remove_unfinished, write_json


RESULTS_FILE = "results.json"
SAMPLE_FILE = "few_shot.json"
SPLIT_FILE = "split.json"
PLAN_FILE = "plan.json"
"""File in the folder of a comparison."""
PREDICTIONS_FILE = "predictions.csv"
OPTIMIZER_SETTINGS = (
    "learning_rate",
    "optim",
    "optim_args",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "warmup_steps",
)
"""Settings that are stored with the optimizer and the schedule in a checkpoint: other values would be ignored."""
ZERO_SHOT_FILE = "zero_shot_predictions.csv"
UNKNOWN_SEED = "-"
"""The seed that results show for a model folder that is not part of a run."""
MAX_BYTES = 2**28
"""The largest record that is read. A record lists all training images."""


def seed_directory(output_dir: str, seed: int, seeds: Sequence[int]) -> Path:
    """Return the folder of a seed's model: the folder of the run if there is one seed, otherwise `seed-<n>` in it."""
    return Path(output_dir) if len(seeds) == 1 else Path(output_dir) / f"seed-{seed}"


def seed_settings(training: Mapping[str, Any], seed: int, seeds: Sequence[int]) -> dict[str, Any]:
    """Return the `TrainingArguments` in which a seed differs from the run: seed, output folder, Hub repository."""
    output_dir = training["output_dir"]
    settings = {"output_dir": str(seed_directory(output_dir, seed, seeds)), "seed": seed}
    if training.get("push_to_hub"):
        repository = training.get("hub_model_id") or Path(output_dir).absolute().name
        settings["hub_model_id"] = repository if len(seeds) == 1 else f"{repository}-seed-{seed}"
    return settings


def model_directories(run: str) -> dict[str, Path]:
    """Return the model folders of a run by seed: the folder itself, or its `seed-<n>` folders.

    If training was interrupted, the model is the newest complete checkpoint; `describe_interrupted` reports it.

    Raises:
        ValueError: if there is no model, or one that this package did not train. The message says what to pass.
    """
    directories = _find_models(Path(run))
    for directory in directories.values():
        check_trained(directory)
    return directories


def holds_model(path: str) -> bool:
    """Return whether a path is the folder of a model, from any package, or of a run with models."""
    return any((directory / CONFIG_NAME).is_file() for directory in _find_models(Path(path)).values())


def _find_models(directory: Path) -> dict[str, Path]:
    if (directory / RESULTS_FILE).is_file():  # read first: an earlier run may have left other models in the folder
        models = {}
        for seed, model in _models_of_seeds(directory / RESULTS_FILE).items():
            inner = directory / f"seed-{seed}"
            models[seed] = inner if Path(model).name == inner.name and inner.is_dir() else directory
        return models
    if (own := _model_or_checkpoint(directory)) is not None:
        return {UNKNOWN_SEED: own}
    numbers = {path.name.removeprefix("seed-"): path for path in directory.glob("seed-*")}
    seeds = {seed: _model_or_checkpoint(numbers[seed]) for seed in sorted(filter(str.isdecimal, numbers), key=int)}
    return {seed: model for seed, model in seeds.items() if model is not None} or {UNKNOWN_SEED: directory}


def _model_or_checkpoint(directory: Path) -> Path | None:
    """Return the folder itself if it holds a model, otherwise the newest complete checkpoint in it, or `None`."""
    if (directory / CONFIG_NAME).is_file():
        return directory
    checkpoint = newest_complete_checkpoint(directory)
    return None if checkpoint is None else Path(checkpoint)


def describe_interrupted(run: str, directories: Mapping[str, Path]) -> str:
    """Return a message that names the models that are checkpoints of an interrupted run, or "" if there are none."""
    used = [path for path in directories.values() if path != Path(run) and is_checkpoint(path)]
    if not used:
        return ""
    return f"{run} was interrupted before the end of training. Using {', '.join(map(str, used))}."


def _models_of_seeds(file: Path) -> dict[str, str]:
    """Return the model folder of each seed, as recorded in a `results.json`."""
    match read_json(file, MAX_BYTES, "results"):
        case {"seeds": dict(seeds)} if seeds and all(
            seed.isdecimal() and isinstance(result, dict) and isinstance(result.get("model"), str)
            for seed, result in seeds.items()
        ):
            return {seed: result["model"] for seed, result in seeds.items()}
    raise ValueError(
        f"{file} is not a result that `hf-prompt train` wrote, because each of its seeds must have a model."
    )


def model_directory(run: str) -> Path:
    """Return the model folder of a run with one seed, or of a path that is itself a model folder.

    Raises:
        ValueError: if there is no model, or there are several seeds.
    """
    directories = model_directories(run)
    if len(directories) > 1:
        raise ValueError(
            f"{run} contains the models of {len(directories)} seeds. Pass one of them, such as "
            f"{next(iter(directories.values()))}."
        )
    return next(iter(directories.values()))


def digest_of(value: Any) -> str:
    """Return a short digest of a value, for example of the names and labels of a test set."""
    return hashlib.sha256(json.dumps(value, default=float).encode("utf-8", "backslashreplace")).hexdigest()[:16]


TOKENIZER_FILES = ("tokenizer*", "vocab*", "merges*", "special_tokens*", "added_tokens*", "*.model", "spiece*")


def saved_bytes(directory: Path) -> dict[str, int]:
    """Return the size of the weights and of the tokenizer of a saved model, in bytes."""
    files = {"weights": ["model*.safetensors", "lora/*"], "tokenizer": TOKENIZER_FILES}
    return {
        name: sum(file.stat().st_size for file in {file for each in patterns for file in directory.glob(each)})
        for name, patterns in files.items()
    }


def predictions_file(path: str | Path, seed: str, seeds: Mapping[str, Any]) -> Path:
    """Return the file for predictions; with several seeds, its name gets the prefix `seed-<n>.`."""
    return Path(path) if len(seeds) == 1 else Path(path).with_name(f"seed-{seed}.{Path(path).name}")


def seed_words(seed: str) -> str:
    """Return the label of a line of results: `seed 1`, or `the model` for a folder that is not part of a run."""
    return "the model" if seed == UNKNOWN_SEED else f"seed {seed}"


def begin_seed(training: TrainingArguments, record: dict[str, Any]) -> str | None:
    """Prepare the folder of a seed for its run, and remove what other runs and killed processes left in it.

    Args:
        training: the `TrainingArguments` of the seed.
        record: JSON-serialisable values that identify this run; written into the folder.

    Returns:
        The checkpoint to resume from, or `None` to start from the beginning; the same in all processes.

    Raises:
        ValueError: if the checkpoint belongs to another run.
        OSError: if the folder cannot be written to.
    """
    directory, checkpoint = Path(training.output_dir), wanted_checkpoint(training)
    record = record | {"training": deciding_settings(training)}
    if checkpoint is not None:
        check_same_run(Path(checkpoint).parent / RUN_FILE, record, checkpoint)
    elif resumes(training.resume_from_checkpoint):
        check_same_run(directory / RUN_FILE, record, str(directory))
    if training.process_index == 0:
        if checkpoint is None:
            discard_checkpoints(directory)  # otherwise a later resume would use them
        remove_unfinished(directory)
        if directory.name == f"seed-{training.seed}":
            remove_unfinished(directory.parent)  # where the results of all seeds are written
        write_json(directory / RUN_FILE, record)
    return checkpoint


def deciding_settings(training: TrainingArguments) -> dict[str, Any]:
    """Return the settings that must not change when a run is resumed.

    The state of the optimizer and the position in the epoch depend on them. How the examples of a step are
    distributed over processes and accumulated batches may change.
    """
    settings = training.to_dict()
    per_step = training.train_batch_size * training.gradient_accumulation_steps * training.world_size
    return {"examples per step": per_step, **{name: settings[name] for name in OPTIMIZER_SETTINGS}}


def check_same_run(path: Path, record: dict[str, Any], checkpoint: str) -> None:
    """Refuse to resume a checkpoint of a run with other settings or images.

    Args:
        path: the record of the run that wrote the checkpoint.
        record: the record of this run. Entries that an earlier version did not record are not compared.
        checkpoint: folder of the checkpoint.

    Raises:
        ValueError: if the runs differ; the message names what differs.
    """
    if not path.is_file():
        return
    earlier = read_json(path, MAX_BYTES, "records of runs")
    if not isinstance(earlier, dict):
        raise ValueError(
            f"{path} is not the record of a run, so it is unknown whether {checkpoint} belongs to this run."
        )
    record = json.loads(json.dumps(record))
    settings, earlier_settings = record.pop("training", {}), earlier.pop("training", {})
    differing = [name for name, value in record.items() if earlier.get(name, value) != value]
    if differing:
        name = differing[0]
        values = "" if name == "images" else f" ({str(earlier.get(name))[:200]} then, {record[name]} now)"
        raise ValueError(
            f"{checkpoint} belongs to another run: its {name} differ{values}. Use the settings of that run, "
            "or start over in another --output_dir without --resume_from_checkpoint."
        )
    if not isinstance(earlier_settings, dict):
        raise ValueError(f"{path} is not the record of a run, because its training settings are not a mapping.")
    changed = [
        f"{name} {earlier_settings[name]} then, {value} now"
        for name, value in settings.items()
        if name in earlier_settings and earlier_settings[name] != value
    ]
    if changed:
        raise ValueError(
            f"{checkpoint} cannot be resumed with other training settings: {'; '.join(changed)}. Use the "
            "settings of that run (examples per step: per_device_train_batch_size x "
            "gradient_accumulation_steps x processes), or start over in another --output_dir."
        )


def resumes(wanted: str | bool | None) -> bool:
    """Return whether a value of `--resume_from_checkpoint` requests to resume."""
    return wanted is not None and str(wanted).lower() != "false"


def wanted_checkpoint(training: TrainingArguments) -> str | None:
    """Return the checkpoint that `--resume_from_checkpoint` requests, or `None`.

    The value `true` means the newest complete checkpoint, or `None` if there is none. The main process searches for
    all processes, because another one might search while the main process is cleaning up.
    """
    wanted = training.resume_from_checkpoint
    if not resumes(wanted):
        return None
    if str(wanted).lower() != "true":
        return str(wanted)
    return as_on_main_process(lambda: _newest_kept_checkpoint(Path(training.output_dir)))


def _newest_kept_checkpoint(directory: Path) -> str | None:
    restore_checkpoints(directory)
    return newest_complete_checkpoint(directory)
