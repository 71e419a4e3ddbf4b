"""Few-shot and full tuning of visual grounding: draw expressions, train, test, for each seed, beside zero-shot."""

import csv
import os
import platform
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import (
    AutoModel,
    AutoProcessor,
    EvalPrediction,
    PreTrainedConfig,
    TrainingArguments,
    set_seed,
)

from hf_prompt_models.backbones.packaged import portable_name
from hf_prompt_models.data.grounding.dataset import POSITIVE_IOU, GroundingCollator, GroundingDataset
from hf_prompt_models.data.grounding.referring_expressions import (
    ReferringExpressions,
    draw_expressions,
    read_drawn_expressions,
    read_referring_expressions,
    write_drawn_expressions,
)
from hf_prompt_models.data.readable import check_all, refuse, report_skipped
from hf_prompt_models.metrics.classification import mean_and_deviation
from hf_prompt_models.metrics.grounding import grounding_accuracy, proposal_oracle
from hf_prompt_models.metrics.guessing import chance_of_regions, right_regions
from hf_prompt_models.models.cpt import CptForVisualGrounding
from hf_prompt_models.processing_utils import report_cut_texts
from hf_prompt_models.recipe_utils import VisualGroundingRecipe
from hf_prompt_models.tasks.classification.card import RunCards, check_publishing, run_on_card
from hf_prompt_models.tasks.classification.protocols import source_title
from hf_prompt_models.tasks.shared_files import check_disjoint, phrases
from hf_prompt_models.tasks.visual_grounding.arguments import (
    GroundingArguments,
    GroundingDataArguments,
    grounding_parser,
    parse_grounding_arguments,
)
from hf_prompt_models.tasks.visual_grounding.plots import plot_groundings
from hf_prompt_models.training.command_line import without_tokens
from hf_prompt_models.training.earlier_runs import clear_output_dir
from hf_prompt_models.training.plots import plot_learning_curve
from hf_prompt_models.training.run_folder import (
    PREDICTIONS_FILE,
    RESULTS_FILE,
    SAMPLE_FILE,
    ZERO_SHOT_FILE,
    begin_seed,
    digest_of,
    model_directories,
    predictions_file,
    seed_words,
)
from hf_prompt_models.training.run_lock import only_run
from hf_prompt_models.training.run_start import arguments_by_seed
from hf_prompt_models.training.settings import announce, check_batches
from hf_prompt_models.training.trainer import PromptTrainer
from hf_prompt_models.utils.boxes import Box, box_iou
from hf_prompt_models.utils.files import replacing, write_json
from hf_prompt_models.version import __version__


ZERO_SHOT_PICTURE, PICTURE = "zero_shot_answers.png", "answers.png"


@dataclass(frozen=True)
class GroundedExpressions:
    """What a model makes of phrases.

    Attributes:
        expressions: the phrases.
        scores: of each, one for each of its candidate regions.
    """

    expressions: ReferringExpressions
    scores: list[np.ndarray]

    @property
    def chosen(self) -> list[Box]:
        """The box that is chosen for each."""
        pairs = zip(self.expressions.proposals, self.scores, strict=True)
        return [regions.boxes[int(scores.argmax())] for regions, scores in pairs]

    @property
    def chance(self) -> float:
        """The expected accuracy of candidate regions that are sampled uniformly, from 0 to 1."""
        return chance_of_regions([regions.boxes for regions in self.expressions.proposals], self.expressions.boxes)

    def metrics(self) -> dict[str, float]:
        """`accuracy`, and `proposal_oracle`, what the best choice would reach, from 0 to 1."""
        references = self.expressions.boxes
        return {
            "accuracy": grounding_accuracy(self.chosen, references),
            "proposal_oracle": proposal_oracle([regions.boxes for regions in self.expressions.proposals], references),
        }


@torch.no_grad()
def ground_expressions(
    model: Any,
    processor: Any,
    expressions: ReferringExpressions,
    batch_size: int = 8,
    num_workers: int = 0,
    progress: bool = True,
) -> GroundedExpressions:
    """Score the candidate regions of each phrase.

    Args:
        model: a `CptForVisualGrounding`, in eval mode.
        processor: its `CptProcessor`.
        expressions: with candidate regions.
        batch_size, num_workers: of the loading.
        progress: whether to show a progress bar.
    """
    loader = DataLoader(
        GroundingDataset(expressions), batch_size, collate_fn=GroundingCollator(processor), num_workers=num_workers
    )
    rows: list[np.ndarray] = []
    for batch in tqdm(loader, desc="Grounding", leave=False, disable=not progress):
        inputs = {name: tensor.to(model.device) for name, tensor in batch.items() if name != "labels"}
        rows += list(model(**inputs).proposal_logits.float().cpu().numpy())
    pairs = zip(rows, expressions.proposals, strict=True)
    return GroundedExpressions(expressions, [row[: len(regions)] for row, regions in pairs])


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """For the Trainer's own evaluations (`--eval_strategy epoch`): labels are the regions' overlaps."""
    scores = np.where(prediction.label_ids < 0, -np.inf, prediction.predictions)  # padding
    chosen = np.take_along_axis(prediction.label_ids, scores.argmax(axis=1)[:, None], axis=1)
    return {"accuracy": float((chosen > POSITIVE_IOU).mean())}


parser = grounding_parser


def train(recipe: VisualGroundingRecipe[Any], flags: Sequence[str], prog: str, command: str) -> str:
    """What `hf-prompt train` does for visual grounding; as `training.few_shot.train`."""
    arguments = parse_grounding_arguments(recipe, flags, prog)
    results, data = run_grounding(recipe, arguments, command), arguments.data
    model = next(iter(results["seeds"].values()))["model"]
    again = ["hf-prompt", "evaluate", model, "--test_dir", data.test_dir]
    for flag, value in (
        ("--test_images", data.test_images or data.train_images),
        ("--test_proposals", data.test_proposals or data.train_proposals),
        ("--box_format", None if data.box_format == "xywh" else data.box_format),
    ):
        again += [] if value is None else [flag, value]
    lines = [summarise_grounding(results), "", f"Try it with: hf-prompt app {shlex.quote(model)}"]
    return "\n".join([*lines, f"Test again with: {shlex.join(again)}"])


def run_grounding(recipe: VisualGroundingRecipe[Any], arguments: GroundingArguments, command: str) -> dict[str, Any]:
    """Train and test a method on N expressions, once for each seed.

    Everything that can be wrong with the input is found out before the first step. Results are written after each
    seed, so a crash loses one at most, and none with `--resume_from_checkpoint true`.

    Args:
        recipe: the method's.
        arguments: from `parse_grounding_arguments`.
        command: the command line, for the results.

    Returns:
        What `results.json` in the output folder holds.
    """
    data, output_dir = arguments.data, arguments.training["output_dir"]
    training = arguments_by_seed(arguments.training, data.seeds, [data.backbone], arguments.run)
    first = next(iter(training.values()))
    train = read_referring_expressions(
        data.train_dir, "train", data.train_images, data.train_proposals, data.box_format
    )
    test = read_referring_expressions(
        data.test_dir,
        "test",
        data.test_images or data.train_images,
        data.test_proposals or data.train_proposals,
        data.box_format,
    )
    check_disjoint(phrases(train), phrases(test), arguments.run.allow_shared_files, test.kind)
    samples = {seed: _draw(data, train, seed) for seed in data.seeds}
    for seed, sample in samples.items():
        check_batches(training[seed], len(sample), contrasts=False)
    for index in {index for sample in samples.values() for index in sample}:
        train.check(index)
    train.select(sorted({index for sample in samples.values() for index in sample})).check_boxes()
    test.check_boxes()
    processor = recipe.build_processor(arguments.method, data.backbone)
    if first.process_index == 0:
        used = sorted({index for sample in samples.values() for index in sample})
        report_cut_phrases(processor, train.select(used))
        report_cut_phrases(processor, test)
    run = _Run(recipe, arguments, processor, test, first)
    model = recipe.build_model(arguments.method, data.backbone, processor)
    check_publishing(model, first)
    zero_shot = run.ground(model.to(first.device).eval())
    del model
    title = source_title(data.test_dir)
    results: dict[str, Any] = {
        "method": recipe.title,
        "protocol": "few-shot",
        "kind": "expression",
        "backbone": data.backbone,
        "data": {
            "name": source_title(data.train_dir),
            "train": train.source,
            "train_digest": digest_of([list(train.names), list(train.texts), list(map(list, train.boxes))]),
            "test": test.source,
            "test_expressions": len(test),
        },
        "shots": data.shots,
        "tests": {
            "test": {
                "title": title,
                "source": test.source,
                "digest": digest_of([list(test.names), list(test.texts), list(map(list, test.boxes))]),
                "test_expressions": len(test),
                "templates": [processor.template],
                "chance": {"accuracy": zero_shot.chance},
                "zero_shot": zero_shot.metrics(),
            }
        },
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
    results["zero_shot"] = {"templates": [processor.template], **zero_shot.metrics()}
    cards = RunCards(results, recipe.task, run_on_card)
    with only_run(output_dir, first.process_index == 0):
        announce(training, {seed: len(sample) for seed, sample in samples.items()})
        clear_output_dir(arguments.training, data.seeds, arguments.run.overwrite_output_dir)
        if first.process_index == 0:
            write_grounding_predictions(Path(output_dir) / ZERO_SHOT_FILE, zero_shot)
            plot_groundings(test, zero_shot.chosen, Path(output_dir) / ZERO_SHOT_PICTURE)
        for seed in data.seeds:
            results["seeds"][str(seed)], trainer = run.train(training[seed], train.select(samples[seed]))
            results["accuracy"] = mean_and_deviation([one["accuracy"] for one in results["seeds"].values()])
            results["tests"]["test"]["accuracy"] = results["accuracy"]
            if first.process_index == 0:
                write_json(Path(output_dir) / RESULTS_FILE, results)
            cards.add(seed, trainer)
        cards.finish()
    return results


def _draw(data: GroundingDataArguments, train: ReferringExpressions, seed: int) -> list[int]:
    if data.few_shot_sample is not None:
        return read_drawn_expressions(data.few_shot_sample, train)
    return draw_expressions(len(train), data.shots, seed) if data.shots else list(range(len(train)))


def report_cut_phrases(processor: Any, expressions: ReferringExpressions) -> int:
    """Warn once of all phrases whose ends the processor cuts, and return how many they are."""
    lengths = [(text, processor.sentence_length(text, index)) for index, text in enumerate(expressions.texts)]
    return report_cut_texts(lengths, processor.max_length, expressions.source)


@dataclass(frozen=True)
class _Run:
    recipe: VisualGroundingRecipe[Any]
    arguments: GroundingArguments
    processor: Any
    test: ReferringExpressions
    settings: TrainingArguments

    def ground(self, model: Any) -> GroundedExpressions:
        return ground_expressions(
            model,
            self.processor,
            self.test,
            self.settings.per_device_eval_batch_size,
            self.settings.dataloader_num_workers,
            not self.settings.disable_tqdm,
        )

    def train(self, training: TrainingArguments, sample: ReferringExpressions) -> tuple[dict[str, Any], PromptTrainer]:
        method, data, directory = self.arguments.method, self.arguments.data, Path(training.output_dir)
        is_main = training.process_index == 0
        record = {
            "method": self.recipe.title,
            "arguments": vars(method),
            "backbone": portable_name(data.backbone),
            "seed": training.seed,
            "expressions": list(sample.names),
        }
        checkpoint = begin_seed(training, record)
        if is_main:
            write_drawn_expressions(directory / SAMPLE_FILE, sample, range(len(sample)), data.shots, training.seed)
        set_seed(training.seed)
        model = self.recipe.build_model(method, data.backbone, self.processor)
        trainer = PromptTrainer(
            model=model,
            args=training,
            train_dataset=self.recipe.build_train_dataset(method, sample, training.seed),
            eval_dataset=GroundingDataset(self.test),
            data_collator=GroundingCollator(self.processor),
            compute_metrics=compute_metrics,
            own_schedule=False,
        )
        trainer.train(resume_from_checkpoint=checkpoint)
        model.eval()
        grounded = self.ground(model)
        if is_main:
            model.save_pretrained(directory)
            plot_learning_curve(
                trainer.state.log_history,
                directory / "learning_curve.png",
                f"{self.recipe.title}, seed {training.seed}: training on {len(sample)} expressions",
                {"chance": grounded.chance},
            )
            write_grounding_predictions(directory / PREDICTIONS_FILE, grounded)
            plot_groundings(self.test, grounded.chosen, directory / PICTURE)
        metrics = grounded.metrics()
        result = {"model": str(directory), "steps": trainer.state.global_step, "tests": {"test": metrics}}
        return metrics | result, trainer


def write_grounding_predictions(path: str | os.PathLike, grounded: GroundedExpressions) -> None:
    """Write CSV with a row for each phrase, from which all numbers can be counted again.

    The accuracy is the mean of `right`; the regions' oracle the share of phrases with some `right_candidates`; chance
    the mean of `right_candidates` over `candidates`.
    """
    expressions = grounded.expressions
    with replacing(path) as beside, beside.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file)
        columns = ["id", "image", "text", "region", "x1", "y1", "x2", "y2", "iou", "candidates", "right_candidates"]
        writer.writerow([*columns, "right"])
        counts = right_regions([regions.boxes for regions in expressions.proposals], expressions.boxes)
        for index, (box, scores) in enumerate(zip(grounded.chosen, grounded.scores, strict=True)):
            overlap = box_iou([box], [expressions.boxes[index]]).item()
            row = [expressions.names[index], expressions.pictures[index], expressions.texts[index]]
            answer = [int(scores.argmax()), *box, f"{overlap:.4f}"]
            writer.writerow([*row, *answer, *counts[index], int(overlap > POSITIVE_IOU)])


def summarise_grounding(results: dict[str, Any]) -> str:
    """What `hf-prompt train` prints: chance, zero-shot, each seed, mean and deviation, the regions' oracle."""
    shots = f"{results['shots']} expression{'s' * (results['shots'] > 1)}" if results["shots"] else "all expressions"
    rows = {"chance, a random candidate region": results["tests"]["test"]["chance"]["accuracy"]}
    rows |= {"zero-shot": results["zero_shot"]["accuracy"]}
    rows |= {f"{results['method']}, {shots}, seed {s}": run["accuracy"] for s, run in results["seeds"].items()}
    lines = [
        f"Accuracy on {results['data']['test_expressions']} expressions, of which "
        f"{results['zero_shot']['proposal_oracle']:.2%} have a right candidate region:",
        *(f"{name:<40} {value:7.2%}" for name, value in rows.items()),
    ]
    if len(results["seeds"]) > 1:
        mean, deviation = results["accuracy"]["mean"], results["accuracy"]["std"]
        lines.append(f"{results['method'] + ', mean ± deviation':<40} {mean:7.2%} ± {deviation:.2%}")
    return "\n".join(lines)


def grounds_phrases(run: str) -> bool:
    """Whether the models of a run, or a model folder, ground phrases."""
    config, _ = PreTrainedConfig.get_config_dict(next(iter(model_directories(run).values())))
    return config.get("architectures") == [CptForVisualGrounding.__name__]


def readable_expressions(expressions: ReferringExpressions, on_unreadable: str) -> ReferringExpressions:
    """Return the phrases whose images can be decoded; arguments and errors as of `LabelledFiles.readable`."""
    first = {picture: index for index, picture in reversed(list(enumerate(expressions.pictures)))}
    kept, broken = check_all(first.values(), expressions.check, on_unreadable, "Checking images", progress=False)
    if on_unreadable != "skip":
        refuse(broken)
    report_skipped(kept, broken, f"images of {expressions.source}")
    readable = {expressions.pictures[index] for index in kept}
    return expressions.select([index for index, each in enumerate(expressions.pictures) if each in readable])


def evaluate_grounding(
    run: str,
    test: str,
    images: str | None = None,
    proposals: str | None = None,
    backbone: str | None = None,
    batch_size: int = 8,
    num_workers: int = 0,
    predictions: str | None = None,
    on_unreadable: str = "refuse",
    box_format: str = "xywh",
) -> dict[str, Any]:
    """Test a trained model, or each seed's model of a run, on phrases.

    Args:
        run: the folder of a model, or of a run of several seeds.
        test, images, proposals, box_format: as of `read_referring_expressions`.
        backbone: where it is now, if it moved since a model without it was saved.
        batch_size: phrases at a time.
        num_workers: processes that decode and paint pictures.
        predictions: a CSV file to write, as of `predictions_file`.
        on_unreadable: "refuse", or "skip" to leave out the phrases of images that cannot be read.

    Returns:
        What `hf-prompt evaluate --json` writes.
    """
    expressions = read_referring_expressions(test, "test", images, proposals, box_format)
    expressions = readable_expressions(expressions, on_unreadable)
    expressions.check_boxes()
    moved = {} if backbone is None else {"base_model_name_or_path": backbone}
    seeds: dict[str, dict[str, Any]] = {}
    directories = model_directories(run)
    cut = 0
    for seed, directory in directories.items():
        model = AutoModel.from_pretrained(directory, **moved).eval()
        processor = AutoProcessor.from_pretrained(directory)
        if not seeds:  # the seeds share their settings
            cut = report_cut_phrases(processor, expressions)
        grounded = ground_expressions(model, processor, expressions, batch_size, num_workers, progress=False)
        seeds[seed] = grounded.metrics() | {"model": str(directory)}
        if predictions is not None:
            write_grounding_predictions(predictions_file(predictions, seed, directories), grounded)
    return {
        "data": {"test": expressions.source, "test_expressions": len(expressions), "cut_texts": cut},
        "chance": {"accuracy": grounded.chance},
        "seeds": seeds,
        "accuracy": mean_and_deviation([metrics["accuracy"] for metrics in seeds.values()]),
    }


def summarise_evaluation(results: dict[str, Any]) -> str:
    """The lines that `hf-prompt evaluate` prints."""
    lines = [
        f"{results['data']['test_expressions']} expressions; a random candidate region is right with chance "
        f"{results['chance']['accuracy']:.2%}",
        *(
            f"{seed_words(seed):<13} accuracy {metrics['accuracy']:.2%}, "
            f"regions' oracle {metrics['proposal_oracle']:.2%}"
            for seed, metrics in results["seeds"].items()
        ),
    ]
    if len(results["seeds"]) > 1:
        lines.append(f"mean ± deviation  {results['accuracy']['mean']:.2%} ± {results['accuracy']['std']:.2%}")
    return "\n".join(lines)
