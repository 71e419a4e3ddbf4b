"""Training a method that writes texts from images: learn, write for held-out examples, test, for each seed."""

import hashlib
import json
import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import TrainingArguments, set_seed

from hf_prompt_models.backbones.packaged import portable_name, vision_model_for
from hf_prompt_models.data.text.records import Records
from hf_prompt_models.lora import PREFIX as LORA_PREFIX
from hf_prompt_models.lora import add_lora, remove_lora, take_lora
from hf_prompt_models.metrics.classification import mean_and_deviation
from hf_prompt_models.prefix_lm.examples import Scoring, WritingDataset, WritingExample, training_collator
from hf_prompt_models.processing_utils import report_cut_texts
from hf_prompt_models.recipe_utils import TextGenerationRecipe
from hf_prompt_models.tasks.classification.card import RunCards, check_publishing
from hf_prompt_models.tasks.classification.protocols import source_title
from hf_prompt_models.tasks.shared_files import check_disjoint, generated_texts
from hf_prompt_models.tasks.text_generation.arguments import (
    TextGenerationArguments,
    WritingRunArguments,
    parse_text_generation_arguments,
    text_generation_parser,
)
from hf_prompt_models.tasks.text_generation.baselines import (
    BLIND_FILE,
    blind_baseline,
    most_frequent_answer,
    sees_images,
)
from hf_prompt_models.tasks.text_generation.card import writing_on_card
from hf_prompt_models.tasks.text_generation.generated_texts import (
    WrittenTexts,
    rows_as_markdown,
    write_rows,
    write_texts,
)
from hf_prompt_models.tasks.text_generation.plots import plot_writing_curve, plot_written
from hf_prompt_models.tasks.text_generation.summary import CURVE, PICTURE, PREDICTIONS_FILE, summarise_writing
from hf_prompt_models.training.command_line import without_tokens
from hf_prompt_models.training.earlier_runs import clear_output_dir
from hf_prompt_models.training.run_folder import (
    RESULTS_FILE,
    begin_seed,
)
from hf_prompt_models.training.run_lock import only_run
from hf_prompt_models.training.run_start import arguments_by_seed
from hf_prompt_models.training.settings import announce, check_batches
from hf_prompt_models.training.trainer import PromptTrainer
from hf_prompt_models.utils.files import remove_unfinished, write_json, write_text
from hf_prompt_models.version import __version__


TASK = "image-text-to-text"

SAMPLES_DIRECTORY, SAMPLES_FILE = "samples", "samples.md"
LOGGED = ("bleu_4", "rouge_l", "cider_d", "vqa_accuracy", "exact_match")
"""The scores that evaluations during training log."""
SPLIT_SEED = 1
"""Of what is held out, so that all seeds are tested on the same."""


class WritingTrainer(PromptTrainer):
    """`PromptTrainer` whose evaluations also write texts, score them, and leave them beside the run.

    Args:
        processor: the model's.
        sample: the examples that are written for.
        decoding: for `generate`.
        kwargs: as for `PromptTrainer`.
    """

    EMBEDS_TOKENS = True

    def __init__(self, *, processor: Any, sample: Sequence[WritingExample], decoding: dict[str, Any], **kwargs: Any):
        super().__init__(own_schedule=False, **kwargs)
        self.processor = processor
        self.sample = sample
        self.decoding = decoding

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        metrics = super().evaluate(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        written = self.write(self.sample)
        scores = {f"{metric_key_prefix}_{name}": v for name, v in written.metrics().items() if name in LOGGED}
        self.log(scores)
        if self.is_world_process_zero():
            directory, step = Path(self.args.output_dir), self.state.global_step
            write_rows(directory / SAMPLES_DIRECTORY / f"step-{step}.jsonl", written.rows())
            write_text(directory / SAMPLES_FILE, rows_as_markdown(written.rows(), f"Written after {step} steps"))
        return metrics | scores

    def write(self, examples: Sequence[WritingExample]) -> WrittenTexts:
        """What the model writes for examples now."""
        self.model.eval()
        return write_texts(
            self.model,
            self.processor,
            examples,
            self.decoding,
            self.args.per_device_eval_batch_size,
            self.args.dataloader_num_workers,
            not self.args.disable_tqdm,
        )


parser = text_generation_parser


def train(recipe: TextGenerationRecipe[Any], flags: Sequence[str], prog: str, command: str) -> str:
    """What `hf-prompt train` does for methods that write texts; as `training.few_shot.train`."""
    arguments = parse_text_generation_arguments(recipe, flags, prog)
    return summarise_writing(run_text_generation(recipe, arguments, command))


@dataclass(frozen=True)
class WritingData:
    """What is learned from, evaluated on during training, and tested on.

    Attributes:
        train, validation, test: the examples; without validation none.
        sources: where each comes from.
    """

    train: list[WritingExample]
    validation: list[WritingExample]
    test: list[WritingExample]
    sources: dict[str, str]


def read_writing_data(recipe: TextGenerationRecipe[Any], arguments: WritingRunArguments) -> WritingData:
    """Read and check all examples. What is held out shares no id with what is learned from.

    Raises:
        ValueError: for data that is not what it should be.
    """
    data, method = arguments.data, arguments.method
    progress = not arguments.training.get("disable_tqdm", False)
    learned = recipe.read_records(data.train_file, "train", data.train_images, data.train_annotations)
    learned = learned.readable(data.on_unreadable, progress)
    held_out: Records[Any] | None = None
    if data.validation_file is not None:
        images = data.train_images if data.validation_images is None else data.validation_images
        held_out = recipe.read_records(data.validation_file, "validation", images, data.validation_annotations)
        held_out = held_out.readable(data.on_unreadable, progress)
    elif data.validation_fraction:
        shares = {"train": 1 - data.validation_fraction, "validation": data.validation_fraction}
        parts = learned.split(shares, SPLIT_SEED)
        learned, held_out = parts["train"], parts["validation"]
    if data.test_file is None:
        assert held_out is not None  # the command line is refused where nothing is held out
        test, source = recipe.test_examples(method, held_out, None), f"{data.train_file}, held out"
    else:
        where = (data.test_file, data.test_images, data.test_annotations)
        shots = data.shots_file and (data.shots_file, data.shots_images, data.shots_annotations)
        test, source = read_test_examples(recipe, method, where, shots or None, data.on_unreadable, progress)
    return WritingData(
        train=recipe.training_examples(method, learned),
        validation=[] if held_out is None else recipe.training_examples(method, held_out),
        test=test,
        sources={"train": learned.source, "test": source},
    )


def read_test_examples(
    recipe: TextGenerationRecipe[Any],
    method: Any,
    test: tuple[str, str | None, str | None],
    shots: tuple[str, str | None, str | None] | None,
    on_unreadable: str,
    progress: bool,
) -> tuple[list[WritingExample], str]:
    """What to test on, and where it comes from.

    Args:
        recipe: the method's.
        method: its arguments.
        test: a source, its folder of images and its annotations, as of the recipe's `read_records`.
        shots: likewise, questions to draw examples from.
        on_unreadable, progress: as of `Records.readable`.

    Raises:
        ValueError: for data that is not what it should be, or an example with nothing to be compared with.
    """

    def read(source: str, images: str | None, annotations: str | None, split: str) -> Records[Any]:
        return recipe.read_records(source, split, images, annotations).readable(on_unreadable, progress)

    records = read(*test, "test")
    examples = recipe.test_examples(method, records, None if shots is None else read(*shots, "train"))
    if any(not example.references for example in examples):
        raise ValueError(f"{records.source} holds questions without answers: name the file of their answers.")
    if len({example.scoring for example in examples}) > 1:
        raise ValueError(f"{records.source} holds tests of several kinds: test on one at a time.")
    return examples, records.source


def check_prompts(processor: Any, examples: Sequence[WritingExample], max_new_tokens: int, source: str) -> None:
    """See, before the first step, that every prompt fits into the language model.

    Raises:
        ValueError: naming the source and the first that does not.
    """
    for index, example in enumerate(examples):
        try:
            processor.check_prompt(index, example.prompt, len(example.images), max_new_tokens)
        except ValueError as error:
            raise ValueError(f"{source} (id {example.id}): {error}") from error


def report_cut_examples(
    processor: Any, examples: Sequence[WritingExample], max_length: int | None, source: str
) -> None:
    """Warn once of all training examples whose ends are cut.

    Args:
        processor: the model's.
        examples: what is trained on.
        max_length: as of `TrainingCollator`.
        source: where they are from.
    """
    limits = [limit for limit in (max_length, processor.max_positions) if limit is not None]
    if not limits:
        return
    lengths = [
        (
            f"{example.prompt} {example.target}".strip(),
            processor.example_length(index, example.prompt, len(example.images), example.target),
        )
        for index, example in enumerate(examples)
    ]
    report_cut_texts(lengths, min(limits), source)


def one_for_each_prompt(examples: Sequence[WritingExample]) -> list[WritingExample]:
    """What is to be written for, once: captions of one picture are references for one text."""
    by_prompt: dict[Any, WritingExample] = {}
    for example in examples:
        key = (example.id, tuple(image.name for image in example.images), example.prompt)
        if (first := by_prompt.get(key)) is not None and example.scoring is Scoring.TEXT:
            example = replace(first, references=first.references + example.references)
        by_prompt[key] = example
    return list(by_prompt.values())


def run_text_generation(
    recipe: TextGenerationRecipe[Any], arguments: WritingRunArguments, command: str
) -> dict[str, Any]:
    """Train and test a method, once for each seed.

    Everything that can be wrong with the input is found out before the first step. Results are written after each
    seed, so a crash loses one at most, and none with `--resume_from_checkpoint true`.

    Args:
        recipe: the method's.
        arguments: from `parse_text_generation_arguments`.
        command: the command line, for the results.

    Returns:
        What `results.json` in the output folder holds.
    """
    settings, output_dir = arguments.data, arguments.training["output_dir"]
    language_model, vision_model = backbones(settings, recipe)
    training = arguments_by_seed(arguments.training, settings.seeds, [language_model, vision_model], arguments.run)
    first = next(iter(training.values()))
    data = read_writing_data(recipe, arguments)
    check_batches(first, len(data.train), contrasts=False)
    if settings.test_file is not None:
        learned, tested = generated_texts(data.train), generated_texts(data.test)
        check_disjoint(learned, tested, arguments.run.allow_shared_files, "example")
    processor = recipe.build_processor(arguments.method, language_model, vision_model)
    new_tokens = settings.max_new_tokens or recipe.decoding["max_new_tokens"]
    check_prompts(processor, data.test, new_tokens, data.sources["test"])
    check_prompts(processor, data.validation, new_tokens, settings.validation_file or settings.train_file)
    if first.process_index == 0:
        report_cut_examples(processor, data.train, settings.max_length, data.sources["train"])
    run = _Run(recipe, arguments, language_model, vision_model, processor, data)
    results: dict[str, Any] = {
        "method": recipe.title,
        "task": recipe.task,
        "backbone": language_model,
        "vision_model": vision_model,
        "data": {
            "name": source_title(settings.train_file),
            "test_name": source_title(settings.test_file or settings.train_file),
            "held_out": settings.test_file is None,
            **data.sources,
            "train_examples": len(data.train),
            "validation_examples": len(data.validation),
            "test_examples": len(data.test),
        },
        "decoding": settings.given(),
        "lora": settings.lora(),
        "most_frequent_answer": most_frequent_answer(data.test),
        "seeds": {},
        "arguments": asdict(arguments.method),
        "versions": {
            "hf_prompt_models": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "command": without_tokens(command),
    }
    cards = RunCards(results, recipe.task, writing_on_card)
    with only_run(output_dir, first.process_index == 0):
        announce(training, dict.fromkeys(training, len(data.train)))
        clear_output_dir(arguments.training, settings.seeds, arguments.run.overwrite_output_dir)
        for seed in settings.seeds:
            results["seeds"][str(seed)], trainer = run.train(training[seed])
            results["metrics"] = mean_metrics(results["seeds"])
            if blind := {each: one["blind"] for each, one in results["seeds"].items() if "blind" in one}:
                results["blind"] = mean_metrics(blind)
            if first.process_index == 0:
                write_json(Path(output_dir) / RESULTS_FILE, results)
            cards.add(seed, trainer)
        cards.finish()
    return results


def backbones(settings: TextGenerationArguments, recipe: TextGenerationRecipe[Any]) -> tuple[str, str]:
    """Return the names of the language model and of the vision backbone."""
    vision_model = vision_model_for(settings.language_model, settings.vision_model, recipe.vision_model)
    return settings.language_model, str(vision_model)


def mean_metrics(seeds: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and population deviation of each score over the seeds."""
    names = next(iter(seeds.values()))["test"]
    return {name: mean_and_deviation([one["test"][name] for one in seeds.values()]) for name in names}


@dataclass(frozen=True)
class _Run:
    recipe: TextGenerationRecipe[Any]
    arguments: WritingRunArguments
    language_model: str
    vision_model: str
    processor: Any
    data: WritingData

    def train(self, training: TrainingArguments) -> tuple[dict[str, Any], WritingTrainer]:
        method, settings = self.arguments.method, self.arguments.data
        directory, is_main = Path(training.output_dir), training.process_index == 0
        record = {
            "method": self.recipe.title,
            "arguments": asdict(method),
            "backbone": portable_name(self.language_model),
            "vision_model": portable_name(self.vision_model),
            "lora": [settings.lora_r, settings.lora_alpha, settings.lora_dropout, settings.lora_target_modules],
            "seed": training.seed,
            "examples": digest(self.data.train),
        }
        checkpoint = begin_seed(training, record)
        if is_main:
            remove_unfinished(directory / SAMPLES_DIRECTORY)
            if checkpoint is None:
                shutil.rmtree(directory / SAMPLES_DIRECTORY, ignore_errors=True)
        set_seed(training.seed)
        model = self.recipe.build_model(
            method,
            self.language_model,
            self.vision_model,
            self.processor,
            freeze_language_model=settings.lora_r > 0,
            dtype=settings.dtype,
            **{} if settings.attn_implementation is None else {"attn_implementation": settings.attn_implementation},
        )
        check_publishing(model, training, "--language_model")
        model.generation_config.update(**settings.given())
        factors = self.recipe.learning_rate_factors(method)
        if settings.lora_r:
            model = add_lora(
                model, settings.lora_r, settings.lora_alpha, settings.lora_dropout, settings.lora_target_modules
            )
            factors = {f"{LORA_PREFIX}{name}": factor for name, factor in factors.items()}
        trainer = WritingTrainer(
            model=model,
            args=training,
            train_dataset=WritingDataset(self.data.train),
            eval_dataset=WritingDataset(self.data.validation) if self.data.validation else None,
            data_collator=training_collator(self.processor, settings.max_length),
            learning_rate_factors=factors,
            processor=self.processor,
            sample=one_for_each_prompt(self.data.validation)[: settings.eval_samples],
            decoding=settings.given(),
        )
        trainer.train(resume_from_checkpoint=checkpoint)
        written = trainer.write(self.data.test)
        result: dict[str, Any] = {"test": written.metrics()}
        blind: WrittenTexts | None = None
        if settings.blind_baseline and sees_images(method, self.data.test):
            blind, result["blind"] = blind_baseline(trainer.write, self.processor, written, settings.blind_baseline)
        weights = trainer.accelerator.get_state_dict(trainer.model) if trainer.is_fsdp_enabled else None
        if settings.lora_r:
            model = trainer.model = take_lora(model)
        if is_main:
            if not settings.lora_r:
                remove_lora(directory)
            model.save_pretrained(directory, state_dict=weights)
            write_rows(directory / PREDICTIONS_FILE, written.rows())
            if blind is not None:
                write_rows(directory / BLIND_FILE, blind.rows())
            plot_written(written, directory / PICTURE, blind=blind)
            plot_writing_curve(
                trainer.state.log_history,
                directory / CURVE,
                f"{self.recipe.title}, seed {training.seed}: training on {len(self.data.train)} examples",
                {f"{name}, black images": result["blind"]["test"][name] for name in LOGGED if name in result["test"]}
                if blind is not None and settings.test_file is None  # else the curve is of other examples
                else None,
            )
        return result | {"model": str(directory), "steps": trainer.state.global_step}, trainer


def digest(examples: Sequence[WritingExample]) -> str:
    """Tells other examples, or another order, from these."""
    told = [[each.id, [image.name for image in each.images], each.prompt, each.target] for each in examples]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
