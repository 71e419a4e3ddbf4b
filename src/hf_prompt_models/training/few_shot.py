"""Few-shot image classification: sample, train, test, for each seed, beside hand-written prompts."""

import json
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import transformers
from transformers import TrainingArguments, set_seed
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from hf_prompt_models.data.few_shot import read_few_shot_sample, sample_few_shot, write_few_shot_sample
from hf_prompt_models.data.files import write_json
from hf_prompt_models.data.image_dataset import FeatureDataset
from hf_prompt_models.data.labelled_images import LabelledImages
from hf_prompt_models.metrics.classification import confusion_counts, mean_and_deviation
from hf_prompt_models.models.clip_zero_shot import ClipZeroShotForImageClassification
from hf_prompt_models.training.arguments import FewShotArguments, RunArguments
from hf_prompt_models.training.evaluation import (
    classification_metrics,
    compute_image_features,
    compute_metrics,
    predict,
)
from hf_prompt_models.training.plots import plot_confusion_matrix, plot_learning_curve
from hf_prompt_models.training.trainer import PromptTrainer, newest_whole_checkpoint
from hf_prompt_models.version import __version__


RESULTS_FILE = "results.json"
SAMPLE_FILE = "few_shot.json"
RUN_FILE = "run.json"


def seed_directory(output_dir: str, seed: int, seeds: Sequence[int]) -> Path:
    """Where the model of a seed lies: in the run's folder itself if there is one seed, else in `seed-<n>`."""
    return Path(output_dir) if len(seeds) == 1 else Path(output_dir) / f"seed-{seed}"


def model_directories(run: str) -> dict[str, Path]:
    """The models of a run by seed: of the folder itself, or of its `seed-<n>` folders.

    Raises:
        ValueError: if there is no model.
    """
    directory = Path(run)
    if (directory / RESULTS_FILE).is_file():  # read first: an earlier run may have left other models in the folder
        models = {}
        for seed, result in json.loads((directory / RESULTS_FILE).read_text(encoding="utf-8"))["seeds"].items():
            inner = directory / f"seed-{seed}"
            models[seed] = inner if Path(result["model"]).name == inner.name and inner.is_dir() else directory
        return models
    if (directory / "config.json").is_file():
        return {"-": directory}
    folders = [path for path in directory.glob("seed-[0-9]*") if (path / "config.json").is_file()]
    found = {path.name.removeprefix("seed-"): path for path in folders}
    if not found:
        raise ValueError(f"{run} holds no trained model: no config.json in it, nor in folders seed-1, seed-2, ….")
    return dict(sorted(found.items(), key=lambda item: int(item[0])))


def model_directory(run: str) -> Path:
    """The model of a run of one seed, or of a model folder.

    Raises:
        ValueError: if there is no model, or one for each of several seeds.
    """
    directories = model_directories(run)
    if len(directories) > 1:
        raise ValueError(
            f"{run} holds the models of {len(directories)} seeds: name one, such as "
            f"{next(iter(directories.values()))}."
        )
    return next(iter(directories.values()))


def run_few_shot(recipe: ModuleType, arguments: RunArguments, command: str) -> dict[str, Any]:
    """Train and test a method on K images a class, once for each seed.

    Everything that can be wrong with the input is found out before the first step. Results are written after each
    seed, so a crash loses one at most, and none with `--resume_from_checkpoint true`.

    Args:
        recipe: the method's `recipe_<method>` module.
        arguments: from `parse_run_arguments`.
        command: the command line, for the results.

    Returns:
        What `results.json` in the output folder holds.
    """
    few_shot, output_dir = arguments.few_shot, arguments.training["output_dir"]
    # Made first: TrainingArguments refuses flags that contradict each other.
    training = {
        seed: TrainingArguments(
            **arguments.training | {"output_dir": str(seed_directory(output_dir, seed, few_shot.seeds)), "seed": seed}
        )
        for seed in few_shot.seeds
    }
    is_main = next(iter(training.values())).process_index == 0
    for settings in training.values():
        if os.path.realpath(settings.output_dir) == os.path.realpath(few_shot.backbone):
            raise ValueError("--output_dir is the folder of the backbone itself, which training would overwrite.")

    train = recipe.read_examples(few_shot.train_dir, "train")
    test = recipe.read_examples(few_shot.test_dir, "test").with_classes(train.class_names)
    samples = {seed: _draw(few_shot, train, seed) for seed in few_shot.seeds}
    test = test.readable(few_shot.on_unreadable)
    processor = recipe.build_processor(few_shot.backbone)
    zero_shot = ClipZeroShotForImageClassification.from_backbone(
        few_shot.backbone, train.class_names, few_shot.templates, tokenizer=processor
    )
    recipe.build_model(arguments.method, few_shot.backbone, train.class_names, processor)

    device = next(iter(training.values())).device
    test_features = compute_image_features(zero_shot.to(device), recipe.build_test_dataset(test, processor))
    results: dict[str, Any] = {
        "method": recipe.TITLE,
        "backbone": few_shot.backbone,
        "data": {
            "train": train.source,
            "test": test.source,
            "classes": len(train.class_names),
            "test_images": len(test),
        },
        "shots": few_shot.shots,
        "zero_shot": {
            "templates": few_shot.templates,
            **classification_metrics(predict(zero_shot, test_features), test.labels),
        },
        "seeds": {},
        "arguments": vars(arguments.method),
        "versions": {
            "hf_prompt_models": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "command": command,
    }
    for seed in few_shot.seeds:
        results["seeds"][str(seed)] = _run_seed(
            recipe, arguments, training[seed], train.select(samples[seed]), test, test_features, processor, is_main
        )
        results["accuracy"] = mean_and_deviation([run["accuracy"] for run in results["seeds"].values()])
        if is_main:
            write_json(Path(output_dir) / RESULTS_FILE, results)
    return results


def _draw(few_shot: FewShotArguments, train: LabelledImages, seed: int) -> list[int]:
    if few_shot.few_shot_sample is not None:
        return read_few_shot_sample(few_shot.few_shot_sample, train)
    return sample_few_shot(train, few_shot.shots, seed, few_shot.on_unreadable)


def _run_seed(
    recipe: ModuleType,
    arguments: RunArguments,
    training: TrainingArguments,
    sample: LabelledImages,
    test: LabelledImages,
    test_features: FeatureDataset,
    processor: Any,
    is_main: bool,
) -> dict[str, Any]:
    few_shot, directory = arguments.few_shot, Path(training.output_dir)
    checkpoint = _checkpoint(training)
    record = {
        "method": recipe.TITLE,
        "arguments": vars(arguments.method),
        "backbone": few_shot.backbone,
        "seed": training.seed,
        "images": list(sample.names),
    }
    if checkpoint is not None:
        _check_same_run(directory / RUN_FILE, record, checkpoint)
    elif is_main:
        for stale in directory.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):  # a later resume would take them for this run's
            shutil.rmtree(stale)
    if is_main:
        write_json(directory / RUN_FILE, record)
        write_few_shot_sample(directory / SAMPLE_FILE, sample, range(len(sample)), few_shot.shots, training.seed)
    set_seed(training.seed)
    model = recipe.build_model(arguments.method, few_shot.backbone, sample.class_names, processor)
    # As in the released code, the last partial batch is dropped where there is a whole one.
    training.dataloader_drop_last &= len(sample) >= training.train_batch_size
    trainer = PromptTrainer(
        model=model,
        args=training,
        train_dataset=recipe.build_train_dataset(arguments.method, sample, processor, training.seed),
        eval_dataset=test_features,
        compute_metrics=compute_metrics,
        own_schedule=arguments.own_schedule,
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    predictions = predict(model.eval(), test_features)
    if is_main:
        model.save_pretrained(directory)
        counts = confusion_counts(predictions, test.labels, len(test.class_names))
        plot_confusion_matrix(counts, test.class_names, directory / "confusion_matrix.png")
        plot_learning_curve(trainer.state.log_history, directory / "learning_curve.png")
    metrics = classification_metrics(predictions, test.labels)
    return metrics | {"model": str(directory), "steps": trainer.state.global_step}


def _check_same_run(path: Path, record: dict[str, Any], checkpoint: str) -> None:
    """Refuse to resume a checkpoint of a run with other settings or images."""
    if not path.is_file():
        return
    earlier = json.loads(path.read_text(encoding="utf-8"))
    for name, value in json.loads(json.dumps(record)).items():
        if earlier.get(name) != value:
            values = "" if name == "images" else f" ({earlier.get(name)} then, {value} now)"
            raise ValueError(
                f"{checkpoint} belongs to another run: its {name} differ{values}. Repeat that run's settings, choose "
                "another --output_dir, or leave out --resume_from_checkpoint to start anew."
            )


def _checkpoint(training: TrainingArguments) -> str | None:
    """`--resume_from_checkpoint true` means the newest whole checkpoint, or none where there is none."""
    wanted = training.resume_from_checkpoint
    if wanted is None or str(wanted).lower() == "false":
        return None
    return newest_whole_checkpoint(training.output_dir) if str(wanted).lower() == "true" else str(wanted)


def summarise(results: dict[str, Any]) -> str:
    """The results as a table to read, and what to type next."""
    rows = [("zero-shot, hand-written prompt", results["zero_shot"]["accuracy"])]
    shots = f"{results['shots']} shot{'s' if results['shots'] > 1 else ''}"
    for seed, run in results["seeds"].items():
        rows.append((f"{results['method']}, {shots}, seed {seed}", run["accuracy"]))
    lines = [f"{name:<40} {value:7.2%}" for name, value in rows]
    if len(results["seeds"]) > 1:
        mean, std = results["accuracy"]["mean"], results["accuracy"]["std"]
        lines.append(f"{results['method'] + ', mean ± deviation':<40} {mean:7.2%} ± {std:.2%}")
    data = results["data"]
    model = next(iter(results["seeds"].values()))["model"]
    return "\n".join(
        [
            f"Accuracy on {data['test_images']} test images of {data['classes']} classes:",
            *lines,
            "",
            f"Predict with: {Path(sys.executable).name} scripts/predict.py {model} IMAGE",
        ]
    )
