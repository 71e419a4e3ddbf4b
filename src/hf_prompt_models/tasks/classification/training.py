"""Few-shot classification of images or videos: sample, train, test, for each seed, beside hand-written prompts."""

import platform
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import TrainingArguments, set_seed

from hf_prompt_models.backbones.packaged import portable_name
from hf_prompt_models.data.few_shot import read_few_shot_sample, sample_few_shot, write_few_shot_sample
from hf_prompt_models.data.held_out import check_same_split
from hf_prompt_models.data.labelled import LabelledFiles, readable_sets
from hf_prompt_models.data.videos.labelled import LabelledVideos
from hf_prompt_models.metrics.classification import confusion_counts, harmonic_mean, mean_and_deviation
from hf_prompt_models.recipe_utils import ClassificationRecipe
from hf_prompt_models.tasks.classification.arguments import (
    FewShotArguments,
    RunArguments,
    few_shot_parser,
    parse_run_arguments,
)
from hf_prompt_models.tasks.classification.card import RunCards, check_publishing, run_on_card
from hf_prompt_models.tasks.classification.predictions import confusion_matrix_file, write_predictions
from hf_prompt_models.tasks.classification.protocols import Task, TestSet, read_task
from hf_prompt_models.tasks.classification.summary import summarise
from hf_prompt_models.tasks.image_classification.features import guessing, least_recognised
from hf_prompt_models.tasks.image_classification.training import ImageClassification
from hf_prompt_models.tasks.shared_files import check_disjoint, labelled_files
from hf_prompt_models.tasks.video_classification.training import VideoClassification
from hf_prompt_models.training.command_line import without_tokens
from hf_prompt_models.training.earlier_runs import clear_output_dir
from hf_prompt_models.training.plots import plot_confusion_matrix, plot_learning_curve
from hf_prompt_models.training.run_folder import (
    PREDICTIONS_FILE,
    RESULTS_FILE,
    SAMPLE_FILE,
    SPLIT_FILE,
    ZERO_SHOT_FILE,
    begin_seed,
    digest_of,
    saved_bytes,
)
from hf_prompt_models.training.run_lock import only_run
from hf_prompt_models.training.run_start import arguments_by_seed
from hf_prompt_models.training.settings import announce, check_batches
from hf_prompt_models.training.trainer import PromptTrainer
from hf_prompt_models.utils.files import write_json
from hf_prompt_models.version import __version__


parser = few_shot_parser


def train(recipe: ClassificationRecipe[Any], flags: Sequence[str], prog: str, command: str) -> str:
    """What `hf-prompt train` does for a classifier: the lines that sum its run up.

    Args:
        recipe: the method's.
        flags: the command line behind the method's name.
        prog: what the program is called.
        command: the whole command line.
    """
    arguments = parse_run_arguments(recipe, flags, prog)
    return summarise(run_few_shot(recipe, arguments, command))


def run_few_shot(recipe: ClassificationRecipe[Any], arguments: RunArguments, command: str) -> dict[str, Any]:
    """Train and test a method on K images or videos a class, or on all there are, once for each seed.

    Everything that can be wrong with the input is found out before the first step. Results are written after each
    seed, so a crash loses one at most, and none with `--resume_from_checkpoint true`.

    Args:
        recipe: the method's.
        arguments: from `parse_run_arguments`.
        command: the command line, for the results.

    Returns:
        What `results.json` in the output folder holds.
    """
    few_shot, output_dir = arguments.few_shot, arguments.training["output_dir"]
    # Made first: TrainingArguments refuses flags that contradict each other.
    training = arguments_by_seed(arguments.training, few_shot.seeds, [few_shot.backbone], arguments.run)
    is_main = next(iter(training.values())).process_index == 0

    read_examples = partial(recipe.read_examples, **_reading(few_shot, recipe))
    task = read_task(few_shot, read_examples, recipe.default_templates)
    if task.split is None:
        tested = [file for test in task.tests.values() for file in labelled_files(test.images)]
        check_disjoint(labelled_files(task.train), tested, arguments.run.allow_shared_files, task.train.kind)
    split_file = Path(output_dir) / SPLIT_FILE
    if task.split is not None and next(iter(training.values())).resume_from_checkpoint:
        check_same_split(split_file, task.split)
    progress = not next(iter(training.values())).disable_tqdm
    samples, tests = _readable(few_shot, task, progress)
    for seed, settings in training.items():
        # As in the released code, the last partial batch is dropped where there is a whole one for each process.
        settings.dataloader_drop_last &= len(samples[seed]) >= settings.train_batch_size * settings.world_size
        check_batches(settings, len(samples[seed]), recipe.contrasts_batch)
    processor = recipe.build_processor(few_shot.backbone)
    kind: Any = VideoClassification if isinstance(task.train, LabelledVideos) else ImageClassification
    run = kind(recipe, arguments, tests, processor, next(iter(training.values())))
    model = _build_model(run, task.train.class_names)
    for test in tests.values():
        _set_classes(model, test, processor)
    check_publishing(model, next(iter(training.values())))
    del model
    run.prepare()

    first = next(iter(tests.values()))
    by_hand = {role: run.predict_by_hand(role) for role in tests}
    results: dict[str, Any] = {
        "method": recipe.title,
        "protocol": few_shot.protocol,
        "kind": task.train.kind,
        "backbone": few_shot.backbone,
        "data": {
            "name": task.title,
            "train": task.train.source,
            "train_digest": digest_of([list(task.train.names), list(task.train.labels)]),
            "test": first.images.source,
            "classes": len(first.images.class_names),
            f"test_{task.train.kind}s": len(first.images),
        },
        "shots": few_shot.shots,
        "tests": {role: _test_by_hand(run, role, scores) for role, scores in by_hand.items()},
        "seeds": {},
        "arguments": vars(arguments.method),
        "versions": {
            "hf_prompt_models": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "command": without_tokens(command),
    }
    results["zero_shot"] = {"templates": first.templates, **next(iter(results["tests"].values()))["zero_shot"]}
    if task.names is None and not run.multi_label:
        results["zero_shot"]["least_recognised"] = least_recognised(next(iter(by_hand.values())), first.images)
    if task.split is not None:
        shown = {"test_fraction": few_shot.test_fraction, "split_seed": few_shot.split_seed, "split": str(split_file)}
        results["data"] |= shown | {"reading": _reading(few_shot, recipe)}
    if task.names is not None:
        results["class_names"] = {
            "file": task.names.source,
            "folders": [list(pair) for pair in zip(task.names.folders or (), task.names.names, strict=True)],
        }
    cards = RunCards(results, recipe.task, run_on_card)
    with only_run(output_dir, is_main):
        announce(training, {seed: len(sample) for seed, sample in samples.items()})
        clear_output_dir(arguments.training, few_shot.seeds, arguments.run.overwrite_output_dir)
        if is_main:
            write_predictions(Path(output_dir) / ZERO_SHOT_FILE, tests, by_hand)
        if task.split is not None and is_main:
            write_json(split_file, task.split)
        for seed in few_shot.seeds:
            results["seeds"][str(seed)], trainer = _run_seed(
                run, training[seed], samples[seed], next(iter(results["tests"].values())), is_main
            )
            _sum_up(results)
            if is_main:
                write_json(Path(output_dir) / RESULTS_FILE, results)
            cards.add(seed, trainer)
        cards.finish()
    return results


def _reading(few_shot: FewShotArguments, recipe: ClassificationRecipe[Any]) -> dict[str, str]:
    """The arguments of a recipe's `read_examples` that the command line gives.

    Raises:
        ValueError: for a flag that is not for what the recipe reads.
    """
    given = {name: value for name in READING_FLAGS if (value := getattr(few_shot, name)) is not None}
    if unknown := sorted(given.keys() - recipe.reading_flags):
        raise ValueError(f"--{unknown[0]} does not apply to the data of {recipe.title}: leave it out.")
    return given


READING_FLAGS = ("labels", "image_column", "label_column")


def _build_model(run: ImageClassification | VideoClassification, class_names: Sequence[str]) -> Any:
    """A new model, which is saved with or without the tokenizer."""
    model, few_shot = run.build_model(class_names), run.arguments.few_shot
    if not few_shot.save_tokenizer:
        model.processor.leave_out_tokenizer(portable_name(few_shot.backbone), model.config.base_model_revision)
    return model


def _set_classes(model: Any, test: TestSet, processor: Any) -> None:
    if list(test.images.class_names) != model.config.class_names:
        model.set_classes(test.images.class_names, tokenizer=processor)


def _test_by_hand(run: ImageClassification | VideoClassification, role: str, scores: np.ndarray) -> dict[str, Any]:
    test = run.tests[role]
    return {
        "title": test.title,
        "source": test.images.source,
        "digest": digest_of([list(test.images.names), list(test.images.labels)]),
        "classes": len(test.images.class_names),
        f"test_{test.images.kind}s": len(test.images),
        "templates": test.templates,
        **guessing(test.images),
        "zero_shot": run.metrics(scores, role),
    }


def _sum_up(results: dict[str, Any]) -> None:
    """Means over the seeds so far."""
    runs = results["seeds"].values()
    results["accuracy"] = mean_and_deviation([run["accuracy"] for run in runs])
    for role, test in results["tests"].items():
        for name in test["zero_shot"]:
            test[name] = mean_and_deviation([run["tests"][role][name] for run in runs])
    if results["protocol"] == "base-to-new":
        base, new = results["tests"]["base"], results["tests"]["new"]
        results["harmonic_mean"] = {
            "zero_shot": harmonic_mean(base["zero_shot"]["accuracy"], new["zero_shot"]["accuracy"]),
            "learned": harmonic_mean(base["accuracy"]["mean"], new["accuracy"]["mean"]),
        }


def _readable(
    few_shot: FewShotArguments, task: Task, progress: bool
) -> tuple[dict[int, LabelledFiles], dict[str, TestSet]]:
    """What each seed trains on, and what is tested; all of it can be decoded."""
    samples: dict[int, LabelledFiles] = {}
    same: list[LabelledFiles] = []  # what is trained on if it is the same for every seed
    if few_shot.few_shot_sample is not None:
        same = [task.train.select(read_few_shot_sample(few_shot.few_shot_sample, task.train))]
    elif few_shot.shots == 0:
        same = [task.train]
    elif task.train.multi_label:
        raise ValueError("Videos with several labels cannot be drawn by class: leave out --shots.")
    else:
        held_out = 0 if task.split is None else len(task.split["test"])
        for seed in few_shot.seeds:
            indices = sample_few_shot(task.train, few_shot.shots, seed, few_shot.on_unreadable, held_out)
            samples[seed] = task.train.select(indices)
    sets = [*same, *(test.images for test in task.tests.values())]
    sets = readable_sets(sets, few_shot.on_unreadable, progress)
    if same:
        samples = dict.fromkeys(few_shot.seeds, sets.pop(0))
    tests = {role: replace(test, images=files) for (role, test), files in zip(task.tests.items(), sets, strict=True)}
    return samples, tests


def _run_seed(
    run: ImageClassification | VideoClassification,
    training: TrainingArguments,
    sample: LabelledFiles,
    by_hand: dict[str, Any],
    is_main: bool,
) -> tuple[dict[str, Any], PromptTrainer]:
    recipe, few_shot, directory = run.recipe, run.arguments.few_shot, Path(training.output_dir)
    record = {
        "method": recipe.title,
        "arguments": vars(run.arguments.method),
        "backbone": portable_name(few_shot.backbone),
        "seed": training.seed,
        "images": list(sample.names),
        "classes": list(sample.class_names),
    }
    checkpoint = begin_seed(training, record)
    if is_main and not run.multi_label:
        write_few_shot_sample(directory / SAMPLE_FILE, sample, range(len(sample)), few_shot.shots, training.seed)
    set_seed(training.seed)
    model = _build_model(run, sample.class_names)
    trainer = PromptTrainer(
        model=model,
        args=training,
        train_dataset=run.train_dataset(model, sample, training.seed),
        eval_dataset=run.eval_dataset(model),
        compute_metrics=run.compute_metrics,
        learning_rate_factors=run.learning_rate_factors,
        own_schedule=run.arguments.own_schedule,
        callbacks=recipe.callbacks(run.arguments.method),
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    model.eval()
    if is_main:
        model.save_pretrained(directory)
        saved = {"bytes": saved_bytes(directory)}
        baselines = {"chance": by_hand["chance"]["accuracy"], "zero-shot": by_hand["zero_shot"]["accuracy"]}
        plot_learning_curve(
            trainer.state.log_history,
            directory / "learning_curve.png",
            f"{recipe.title}, seed {training.seed}: training on {len(sample)} {sample.kind}s",
            baselines,
            "mean average precision" if run.multi_label else "test accuracy",
        )
    else:
        saved = {}
    tested: dict[str, Any] = {}
    scores: dict[str, np.ndarray] = {}
    for role, test in run.tests.items():
        _set_classes(model, test, run.processor)
        scores[role] = run.predict(model, role)
        tested[role] = run.metrics(scores[role], role)
        if is_main and not run.multi_label:
            counts = confusion_counts(scores[role].argmax(axis=-1), test.images.labels, len(test.images.class_names))
            picture = directory / confusion_matrix_file(role, run.tests)
            plot_confusion_matrix(counts, test.images.class_names, picture, test.images.kind)
    if is_main:
        write_predictions(directory / PREDICTIONS_FILE, run.tests, scores)
    first = next(iter(tested.values()))
    _set_classes(model, next(iter(run.tests.values())), run.processor)  # which it was trained on
    result = first | {"model": str(directory), "steps": trainer.state.global_step, "tests": tested} | saved
    return result, trainer
