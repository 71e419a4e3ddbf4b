"""Training and testing models over videos with texts: pre-training, retrieval, question answering; for each seed, with
the numbers before and after."""

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import TrainingArguments, set_seed

from hf_prompt_models.backbones.packaged import portable_name
from hf_prompt_models.data.text.captioned_videos import (
    VideoText,
    VideoTexts,
    frequent_answers,
    read_captioned_videos,
    read_video_questions,
)
from hf_prompt_models.metrics.classification import mean_and_deviation
from hf_prompt_models.models.alpro import (
    AlproForVideoQuestionAnswering,
    AlproForVideoTextRetrieval,
)
from hf_prompt_models.models.alpro.recipe_alpro import NUM_ANSWERS, PROMPTER, QUESTIONS
from hf_prompt_models.processing_utils import report_cut_texts
from hf_prompt_models.recipe_utils import VideoTextRecipe
from hf_prompt_models.tasks.classification.card import RunCards
from hf_prompt_models.tasks.classification.protocols import source_title
from hf_prompt_models.tasks.shared_files import check_disjoint, video_texts
from hf_prompt_models.tasks.video_text.arguments import VideoTextRun, parse_video_text_arguments, video_text_parser
from hf_prompt_models.tasks.video_text.card import video_texts_on_card
from hf_prompt_models.tasks.video_text.evaluation import (
    Loading,
    answer_prior,
    prior_answers,
)
from hf_prompt_models.tasks.video_text.summary import summarise
from hf_prompt_models.tasks.video_text.tested import Tested, test_model
from hf_prompt_models.training.command_line import without_tokens
from hf_prompt_models.training.earlier_runs import clear_output_dir
from hf_prompt_models.training.named_losses import NamedLossTrainer
from hf_prompt_models.training.plots import plot_learning_curve
from hf_prompt_models.training.run_folder import (
    RESULTS_FILE,
    begin_seed,
)
from hf_prompt_models.training.run_lock import only_run
from hf_prompt_models.training.run_start import arguments_by_seed, check_backbones
from hf_prompt_models.training.settings import announce, check_batches
from hf_prompt_models.utils.files import read_json, write_json
from hf_prompt_models.version import __version__


BEFORE = "before_"
"""Begins the names of the files that the untrained model's answers are in."""
MAX_ANSWERS_BYTES = 16 * 2**20


parser = video_text_parser


def train(recipe: VideoTextRecipe[Any], flags: Sequence[str], prog: str, command: str) -> str:
    """What `hf-prompt train` does for videos with texts; as `training.few_shot.train`."""
    arguments = parse_video_text_arguments(recipe, flags, prog)
    return summarise(run_video_text(recipe, arguments, command))


def run_video_text(recipe: VideoTextRecipe[Any], arguments: VideoTextRun, command: str) -> dict[str, Any]:
    """Train and test a method, once for each seed.

    Everything that can be wrong with the input is found out before the first step. Results are written after each
    seed, so a crash loses one at most, and none with `--resume_from_checkpoint true`.

    Args:
        recipe: the method's.
        arguments: from `parse_video_text_arguments`.
        command: the command line, for the results.

    Returns:
        What `results.json` in the output folder holds.
    """
    data, output_dir = arguments.data, arguments.training["output_dir"]
    check_backbones([data.backbone, data.vision, data.text])
    train_set, test_set = read_sets(arguments)
    learned, tested = video_texts(train_set.items), video_texts(test_set.items)
    check_disjoint(learned, tested, arguments.run.allow_shared_files, "text")
    settings = arguments.training | {}
    settings.setdefault("dataloader_drop_last", len(train_set) >= 2 * settings["per_device_train_batch_size"])
    training = arguments_by_seed(settings, data.seeds, [data.backbone, data.vision, data.text], arguments.run)
    first = next(iter(training.values()))
    run = _Run(recipe, arguments, train_set, test_set, _answers(arguments, train_set), first)
    check_batches(first, len(run.learned_from), contrasts=run.task != QUESTIONS)
    results: dict[str, Any] = {
        "method": recipe.title,
        "task": arguments.method.task,
        "backbone": run.backbone,
        "data": {
            "name": source_title(data.train_file[0]),
            "test_name": source_title(data.test_file[0]),
            "train": train_set.source,
            "test": test_set.source,
            "train_texts": len(train_set),
            "test_texts": len(test_set),
            "test_videos": len(test_set.videos),
            "skipped": [*train_set.skipped, *test_set.skipped],
        },
        **run.facts(),
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
    measured = AlproForVideoQuestionAnswering if run.task == QUESTIONS else AlproForVideoTextRetrieval
    cards = RunCards(results, measured.pipeline_task, video_texts_on_card)
    with only_run(output_dir, first.process_index == 0):
        announce(training, dict.fromkeys(training, len(run.learned_from)))
        clear_output_dir(arguments.training, data.seeds, arguments.run.overwrite_output_dir)
        for seed in data.seeds:
            results["seeds"][str(seed)], trainer = run.train(training[seed])
            results |= results["seeds"][str(seed)].pop("guesses")
            results["accuracy"] = mean_and_deviation([one["accuracy"] for one in results["seeds"].values()])
            if first.process_index == 0:
                write_json(Path(output_dir) / RESULTS_FILE, results)
            cards.add(seed, trainer)
        cards.finish()
    return results


def read_sets(arguments: VideoTextRun) -> tuple[VideoTexts[Any], VideoTexts[Any]]:
    """What to learn from and what to test on, videos that cannot be read left out or refused."""
    data = arguments.data
    read: Any = read_video_questions if arguments.method.task == QUESTIONS else read_captioned_videos
    train_set = read(data.train_file, data.train_videos)
    test_set = read(data.test_file, data.test_videos or data.train_videos)
    progress = not arguments.training.get("disable_tqdm", False)
    return train_set.readable(data.on_unreadable, progress), test_set.readable(data.on_unreadable, progress)


def _answers(arguments: VideoTextRun, train_set: VideoTexts[Any]) -> list[str] | None:
    if arguments.method.task != QUESTIONS:
        return None
    data = arguments.data
    count = data.num_answers or NUM_ANSWERS[arguments.method.dataset or "msrvtt"]
    if data.answers is None:
        return frequent_answers(train_set, count)
    return read_answers(data.answers)[: data.num_answers]


def read_answers(file: str | os.PathLike) -> list[str]:
    """A list of answers: a JSON list, or an object of answers and their indices, `train_ans2label.json`.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: naming the file, if it is neither, or an answer is there twice, or indices are not 0, 1, 2, ….
    """
    value = read_json(file, MAX_ANSWERS_BYTES, "lists of answers")
    if isinstance(value, dict):
        if sorted(map(str, value.values())) != sorted(map(str, range(len(value)))):
            raise ValueError(f"{file}: the answers' indices are not 0 to {len(value) - 1}.")
        value = sorted(value, key=value.__getitem__)
    if not isinstance(value, list) or not value or not all(isinstance(each, str) and each.strip() for each in value):
        raise ValueError(f"{file} must be a JSON list of answers, or an object of answers and their indices.")
    if len(set(value)) < len(value):
        twice = next(each for each in value if value.count(each) > 1)
        raise ValueError(f"{file}: {twice!r} is there twice; the model could not tell them apart.")
    return value


@dataclass(frozen=True)
class _Run:
    recipe: VideoTextRecipe[Any]
    arguments: VideoTextRun
    train_set: VideoTexts[Any]
    test_set: VideoTexts[Any]
    answers: list[str] | None
    settings: TrainingArguments

    @property
    def task(self) -> str:
        return self.arguments.method.task

    @property
    def backbone(self) -> str:
        data = self.arguments.data
        if data.from_scratch:
            return "new"
        return str(data.backbone or f"{data.vision} + {data.text}")

    @property
    def learned_from(self) -> VideoTexts[Any]:
        """The training set, without questions whose answers are not in the list."""
        if self.answers is None:
            return self.train_set
        known = set(self.answers)
        kept = [item for item in self.train_set.items if item.answer in known]
        if not kept:
            raise ValueError(
                f"None of the {len(self.train_set)} questions of {self.train_set.source} has one of the "
                f"{len(known)} answers of the list."
            )
        return replace(self.train_set, items=kept)

    def facts(self) -> dict[str, Any]:
        """Of the task, for the results."""
        if self.answers is None:
            return {}
        return {
            "answers": len(self.answers),
            "left_out": len(self.train_set) - len(self.learned_from),
            "answer_prior": answer_prior(self.train_set, self.test_set),
        }

    def test(self, model: Any) -> "Tested":
        loading = Loading(
            self.settings.per_device_eval_batch_size,
            self.settings.dataloader_num_workers,
            not self.settings.disable_tqdm,
        )
        rerank = None if self.task == PROMPTER else self.arguments.method.rerank
        tested = test_model(model, self.test_set, rerank, loading)
        return tested if self.answers is None else replace(tested, prior=prior_answers(self.train_set, self.test_set))

    def train(self, training: TrainingArguments) -> tuple[dict[str, Any], NamedLossTrainer]:
        directory, is_main = Path(training.output_dir), training.process_index == 0
        record = {
            "method": self.recipe.title,
            "arguments": vars(self.arguments.method),
            "backbone": portable_name(self.backbone),
            "seed": training.seed,
            "texts": digest(self.train_set.items),
            "answers": self.answers,
        }
        checkpoint = begin_seed(training, record)
        set_seed(training.seed)
        method = self.arguments.method
        model = self.recipe.build_model(method, self.arguments.data, self.train_set, self.answers)
        if is_main and training.seed == self.arguments.data.seeds[0]:  # the seeds share their texts
            report_cut_sentences(model.processor, self.learned_from)
            report_cut_sentences(model.processor, self.test_set)
        before = self.test(model.to(training.device))
        if is_main:
            before.write(directory, BEFORE)
        set_seed(training.seed)
        dataset: Any = self.recipe.build_train_dataset(method, self.learned_from, training.seed)
        trainer = NamedLossTrainer(
            model=model,
            args=training,
            train_dataset=dataset,
            eval_dataset=dataset,
            data_collator=self.recipe.build_collator(method, model, self.learned_from, self.answers),
            forward_arguments=self.recipe.forward_arguments(method),
            measure=lambda: flat(self.test(model).metrics),
        )
        trainer.train(resume_from_checkpoint=checkpoint)
        model.eval()
        tested = self.test(model)
        trainer.model = self.recipe.trained_model(method, model)
        if is_main:
            trainer.model.save_pretrained(directory)
            asks = self.answers is not None
            plot_learning_curve(
                trainer.state.log_history,
                directory / "learning_curve.png",
                f"{self.recipe.title}, {self.task}, seed {training.seed}: training on {len(dataset)} texts",
                {"before training": before.metrics["accuracy"], **tested.found.baselines(self.train_set)},
                "test accuracy" if asks else "R@1, text to video",
            )
            tested.write(directory)
        kept = {
            "guesses": tested.guesses,
            "before": before.metrics,
            "model": str(directory),
            "steps": trainer.state.global_step,
        }
        return tested.metrics | kept, trainer


def digest(items: Sequence[VideoText]) -> str:
    """Tells other videos or texts, or another order, from these."""
    told = [[str(value) for value in astuple(item)] for item in items]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def flat(metrics: dict[str, Any]) -> dict[str, float]:
    """Numbers within dicts, by both names."""
    numbers: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, dict):
            numbers |= {f"{name}_{inner}": number for inner, number in value.items()}
        else:
            numbers[name] = value
    return numbers


def report_cut_sentences(processor: Any, texts: VideoTexts[Any]) -> int:
    """Warn once of all texts whose ends the processor cuts, and return how many they are."""
    lengths = [(text, processor.sentence_length(text)) for text in texts.texts]
    return report_cut_texts(lengths, processor.max_text_length, texts.source)
