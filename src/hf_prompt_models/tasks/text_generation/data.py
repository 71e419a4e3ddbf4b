"""Data of text generation: examples to train on, to evaluate on during training, and to test on."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hf_prompt_models.data.text.records import Records
from hf_prompt_models.prefix_lm.examples import GenerationExample, Scoring
from hf_prompt_models.processing_utils import report_cut_texts
from hf_prompt_models.recipe_utils import TextGenerationRecipe
from hf_prompt_models.tasks.arguments import RunArguments


SPLIT_SEED = 1
"""Seed of the split, which is the same for all seeds of a run, so that they are tested on the same examples."""


@dataclass(frozen=True)
class GenerationData:
    """Examples to train on, to evaluate on during training, and to test on.

    Attributes:
        train: Training examples.
        validation: Validation examples; empty without validation.
        test: Test examples.
        sources: Source of the training and test examples, by split.
    """

    train: list[GenerationExample]
    validation: list[GenerationExample]
    test: list[GenerationExample]
    sources: dict[str, str]


def read_generation_data(recipe: TextGenerationRecipe[Any], arguments: RunArguments) -> GenerationData:
    """Read and check all examples. Held-out examples share no id with training examples.

    Args:
        recipe: Recipe of the method.
        arguments: Arguments of the run.

    Raises:
        ValueError: For data of the wrong format.
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
        assert held_out is not None  # the command line is refused if nothing is held out
        test, source = recipe.test_examples(method, held_out, None), f"{data.train_file}, held out"
    else:
        where = (data.test_file, data.test_images, data.test_annotations)
        shots = data.shots_file and (data.shots_file, data.shots_images, data.shots_annotations)
        test, source = read_test_examples(recipe, method, where, shots or None, data.on_unreadable, progress)
    return GenerationData(
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
) -> tuple[list[GenerationExample], str]:
    """Return the test examples and their source.

    Args:
        recipe: Recipe of the method.
        method: Arguments of the method.
        test: A source, its folder of images and its annotations, as for the recipe's `read_records`.
        shots: Source of questions to sample examples from, in the same form, or `None`.
        on_unreadable: As for `Records.readable`.
        progress: As for `Records.readable`.

    Raises:
        ValueError: For data of the wrong format, or an example without a reference to compare with.
    """

    def read(source: str, images: str | None, annotations: str | None, split: str) -> Records[Any]:
        return recipe.read_records(source, split, images, annotations).readable(on_unreadable, progress)

    records = read(*test, "test")
    examples = recipe.test_examples(method, records, None if shots is None else read(*shots, "train"))
    if any(not example.references for example in examples):
        raise ValueError(f"{records.source} contains questions without answers. Pass the file with their answers.")
    if len({example.scoring for example in examples}) > 1:
        raise ValueError(f"{records.source} contains tests of several kinds. Test on one kind at a time.")
    return examples, records.source


def check_prompts(processor: Any, examples: Sequence[GenerationExample], max_new_tokens: int, source: str) -> None:
    """Check before training that every prompt fits into the language model.

    Args:
        processor: Processor of the model.
        examples: The examples.
        max_new_tokens: Number of tokens to generate.
        source: Source of the examples, for the message.

    Raises:
        ValueError: If a prompt is too long; the message names the source and the first such example.
    """
    for index, example in enumerate(examples):
        try:
            processor.check_prompt(index, example.prompt, len(example.images), max_new_tokens)
        except ValueError as error:
            raise ValueError(f"{source} (id {example.id}): {error}") from error


def report_cut_examples(
    processor: Any, examples: Sequence[GenerationExample], max_length: int | None, source: str
) -> None:
    """Warn once about all training examples whose ends are truncated.

    Args:
        processor: Processor of the model.
        examples: Training examples.
        max_length: As for `TrainingCollator`.
        source: Source of the examples.
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


def one_for_each_prompt(examples: Sequence[GenerationExample]) -> list[GenerationExample]:
    """Return one example per prompt. All captions of an image become references of one text."""
    by_prompt: dict[Any, GenerationExample] = {}
    for example in examples:
        key = (example.id, tuple(image.name for image in example.images), example.prompt)
        if (first := by_prompt.get(key)) is not None and example.scoring is Scoring.TEXT:
            example = replace(first, references=first.references + example.references)
        by_prompt[key] = example
    return list(by_prompt.values())


def digest(examples: Sequence[GenerationExample]) -> str:
    """Return a digest that changes if the examples or their order change."""
    told = [[each.id, [image.name for image in each.images], each.prompt, each.target] for each in examples]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
