"""What is trained on, evaluated on during training, and tested on, when text is generated."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hf_prompt_models.data.text.records import Records
from hf_prompt_models.prefix_lm.examples import Scoring, WritingExample
from hf_prompt_models.processing_utils import report_cut_texts
from hf_prompt_models.recipe_utils import TextGenerationRecipe
from hf_prompt_models.tasks.arguments import RunArguments


SPLIT_SEED = 1
"""Of what is held out, so that all seeds are tested on the same."""


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


def read_writing_data(recipe: TextGenerationRecipe[Any], arguments: RunArguments) -> WritingData:
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


def digest(examples: Sequence[WritingExample]) -> str:
    """Tells other examples, or another order, from these."""
    told = [[each.id, [image.name for image in each.images], each.prompt, each.target] for each in examples]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
