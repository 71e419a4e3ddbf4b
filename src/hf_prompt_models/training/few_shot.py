"""Few-shot image classification: sample, train, test, for each seed, beside hand-written prompts."""

import csv
import json
import os
import platform
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import transformers
from torch.utils.data import Dataset
from transformers import TrainingArguments, set_seed
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from hf_prompt_models.data.few_shot import read_few_shot_sample, sample_few_shot, write_few_shot_sample
from hf_prompt_models.data.files import replacing, write_json
from hf_prompt_models.data.image_dataset import (
    AugmentedImageDataset,
    AugmentedViewDataset,
    FeatureDataset,
    ViewFeatureDataset,
)
from hf_prompt_models.data.labelled_images import LabelledImages
from hf_prompt_models.metrics.classification import confusion_counts, harmonic_mean, mean_and_deviation
from hf_prompt_models.models.clip_zero_shot import ClipZeroShotForImageClassification
from hf_prompt_models.training.arguments import FewShotArguments, RunArguments
from hf_prompt_models.training.evaluation import (
    classification_metrics,
    compute_image_features,
    compute_metrics,
    predict,
)
from hf_prompt_models.training.feature_cache import FeatureCache, open_feature_cache
from hf_prompt_models.training.plots import plot_confusion_matrix, plot_learning_curve
from hf_prompt_models.training.protocols import TestSet, read_task
from hf_prompt_models.training.trainer import PromptTrainer, newest_whole_checkpoint
from hf_prompt_models.version import __version__


RESULTS_FILE = "results.json"
SAMPLE_FILE = "few_shot.json"
RUN_FILE = "run.json"
PREDICTIONS_FILE = "predictions.csv"


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

    task = read_task(few_shot, recipe.read_examples)
    samples = {seed: _draw(few_shot, task.train, seed) for seed in few_shot.seeds}
    progress = not next(iter(training.values())).disable_tqdm
    tests = {
        role: replace(test, images=test.images.readable(few_shot.on_unreadable, progress))
        for role, test in task.tests.items()
    }
    processor = recipe.build_processor(few_shot.backbone)
    first = next(iter(tests.values()))
    zero_shot = ClipZeroShotForImageClassification.from_backbone(
        few_shot.backbone, first.images.class_names, first.templates, tokenizer=processor
    )
    model = recipe.build_model(arguments.method, few_shot.backbone, task.train.class_names, processor)
    for test in tests.values():
        zero_shot.set_classes(test.images.class_names, processor, test.templates)
        _set_classes(model, test, processor)
    del model

    settings = next(iter(training.values()))
    cache = open_feature_cache(few_shot.feature_cache, zero_shot, processor.image_processor)
    with settings.main_process_first(local=False):  # the others then find the features in the cache
        features = {
            role: compute_image_features(
                zero_shot.to(settings.device),
                recipe.build_test_dataset(test.images, processor),
                num_workers=settings.dataloader_num_workers,
                progress=progress,
                cache=cache,
            )
            for role, test in tests.items()
        }
    results: dict[str, Any] = {
        "method": recipe.TITLE,
        "protocol": few_shot.protocol,
        "backbone": few_shot.backbone,
        "data": {
            "name": task.title,
            "train": task.train.source,
            "test": first.images.source,
            "classes": len(first.images.class_names),
            "test_images": len(first.images),
        },
        "shots": few_shot.shots,
        "tests": {
            role: _test_hand_written(zero_shot, test, features[role], processor) for role, test in tests.items()
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
    results["zero_shot"] = {"templates": first.templates, **next(iter(results["tests"].values()))["zero_shot"]}
    run = _Run(recipe, arguments, tests, features, processor, cache, is_main)
    for seed in few_shot.seeds:
        results["seeds"][str(seed)] = _run_seed(run, training[seed], task.train.select(samples[seed]))
        _sum_up(results)
        if is_main:
            write_json(Path(output_dir) / RESULTS_FILE, results)
    return results


def _set_classes(model: Any, test: TestSet, processor: Any) -> None:
    if list(test.images.class_names) != model.config.class_names:
        model.set_classes(test.images.class_names, tokenizer=processor)


def _test_hand_written(
    zero_shot: ClipZeroShotForImageClassification, test: TestSet, features: FeatureDataset, processor: Any
) -> dict[str, Any]:
    zero_shot.set_classes(test.images.class_names, processor, test.templates)
    return {
        "title": test.title,
        "source": test.images.source,
        "classes": len(test.images.class_names),
        "test_images": len(test.images),
        "templates": test.templates,
        "zero_shot": classification_metrics(predict(zero_shot, features), test.images.labels),
    }


def _sum_up(results: dict[str, Any]) -> None:
    """Means over the seeds so far."""
    runs = results["seeds"].values()
    results["accuracy"] = mean_and_deviation([run["accuracy"] for run in runs])
    for role, test in results["tests"].items():
        test["accuracy"] = mean_and_deviation([run["tests"][role]["accuracy"] for run in runs])
    if results["protocol"] == "base-to-new":
        base, new = results["tests"]["base"], results["tests"]["new"]
        results["harmonic_mean"] = {
            "zero_shot": harmonic_mean(base["zero_shot"]["accuracy"], new["zero_shot"]["accuracy"]),
            "learned": harmonic_mean(base["accuracy"]["mean"], new["accuracy"]["mean"]),
        }


@dataclass(frozen=True)
class _Run:
    """What the seeds of a run have in common."""

    recipe: ModuleType
    arguments: RunArguments
    tests: dict[str, TestSet]
    features: dict[str, FeatureDataset]
    processor: Any
    cache: FeatureCache | None
    is_main: bool


def _draw(few_shot: FewShotArguments, train: LabelledImages, seed: int) -> list[int]:
    if few_shot.few_shot_sample is not None:
        return read_few_shot_sample(few_shot.few_shot_sample, train)
    return sample_few_shot(train, few_shot.shots, seed, few_shot.on_unreadable)


def _run_seed(run: _Run, training: TrainingArguments, sample: LabelledImages) -> dict[str, Any]:
    recipe, few_shot, directory = run.recipe, run.arguments.few_shot, Path(training.output_dir)
    checkpoint = _checkpoint(training)
    record = {
        "method": recipe.TITLE,
        "arguments": vars(run.arguments.method),
        "backbone": os.path.abspath(few_shot.backbone) if os.path.isdir(few_shot.backbone) else few_shot.backbone,
        "seed": training.seed,
        "images": list(sample.names),
    }
    if checkpoint is not None:
        _check_same_run(directory / RUN_FILE, record, checkpoint)
    elif run.is_main:
        for stale in directory.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):  # a later resume would take them for this run's
            shutil.rmtree(stale)
    if run.is_main:
        write_json(directory / RUN_FILE, record)
        write_few_shot_sample(directory / SAMPLE_FILE, sample, range(len(sample)), few_shot.shots, training.seed)
    set_seed(training.seed)
    model = recipe.build_model(run.arguments.method, few_shot.backbone, sample.class_names, run.processor)
    # As in the released code, the last partial batch is dropped where there is a whole one.
    training.dataloader_drop_last &= len(sample) >= training.train_batch_size
    trainer = PromptTrainer(
        model=model,
        args=training,
        train_dataset=_train_dataset(run, training, model, sample),
        eval_dataset=next(iter(run.features.values())),
        compute_metrics=compute_metrics,
        own_schedule=run.arguments.own_schedule,
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    model.eval()
    if run.is_main:
        model.save_pretrained(directory)
        plot_learning_curve(trainer.state.log_history, directory / "learning_curve.png")
    tested, predictions = {}, {}
    for role, test in run.tests.items():
        _set_classes(model, test, run.processor)
        predictions[role] = predict(model, run.features[role])
        tested[role] = classification_metrics(predictions[role], test.images.labels)
        if run.is_main:
            counts = confusion_counts(predictions[role], test.images.labels, len(test.images.class_names))
            plot_confusion_matrix(counts, test.images.class_names, directory / _confusion_matrix_file(role, run.tests))
    if run.is_main:
        write_predictions(directory / PREDICTIONS_FILE, run.tests, predictions)
    first = next(iter(tested.values()))
    return first | {"model": str(directory), "steps": trainer.state.global_step, "tests": tested}


def _train_dataset(run: _Run, training: TrainingArguments, model: Any, sample: LabelledImages) -> Dataset:
    """The recipe's, or its features where they are the same in every epoch."""
    dataset = run.recipe.build_train_dataset(run.arguments.method, sample, run.processor, training.seed)
    if isinstance(dataset, AugmentedImageDataset) and not isinstance(dataset, AugmentedViewDataset):
        return dataset
    with training.main_process_first(local=False):
        features = compute_image_features(
            model.to(training.device),
            dataset,
            num_workers=training.dataloader_num_workers,
            progress=not training.disable_tqdm,
            cache=run.cache,
        )
    if isinstance(dataset, AugmentedViewDataset):
        return ViewFeatureDataset(
            features.image_embeds.unflatten(0, (-1, dataset.num_views)), torch.tensor(sample.labels), training.seed
        )
    return features


def _confusion_matrix_file(role: str, tests: dict[str, TestSet]) -> str:
    if role == next(iter(tests)):
        return "confusion_matrix.png"
    return f"confusion_matrix_{re.sub(r'[^A-Za-z0-9]+', '_', role)}.png"


def write_predictions(path: Path, tests: dict[str, TestSet], predictions: dict[str, np.ndarray]) -> None:
    """Write CSV with a row for each test image, from which every reported number can be counted again."""
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["test", "image", "label", "class", "predicted_label", "predicted_class"])
        for role, test in tests.items():
            names = test.images.class_names
            for image, label, predicted in zip(test.images.names, test.images.labels, predictions[role], strict=True):
                writer.writerow([role, image, label, names[label], predicted, names[predicted]])


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
