"""Test models that generate text."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hf_prompt_models.data.text.records import MAX_BYTES
from hf_prompt_models.metrics.classification import mean_and_deviation
from hf_prompt_models.recipe_utils import TextGenerationRecipe
from hf_prompt_models.tasks.text_generation.baselines import most_frequent_answer
from hf_prompt_models.tasks.text_generation.data import check_prompts, read_test_examples
from hf_prompt_models.tasks.text_generation.generated_texts import generate_texts
from hf_prompt_models.tasks.text_generation.prediction import load_generator
from hf_prompt_models.tasks.text_generation.summary import describe_metrics
from hf_prompt_models.training.run_folder import RUN_FILE, predictions_file, seed_words
from hf_prompt_models.utils.files import read_json, write_json_lines


def evaluate_generation(
    directories: Mapping[str, Path],
    recipe: TextGenerationRecipe[Any],
    test: str,
    images: str | None = None,
    annotations: str | None = None,
    shots: tuple[str, str | None, str | None] | None = None,
    settings: Mapping[str, Any] | None = None,
    decoding: Mapping[str, Any] | None = None,
    predictions: str | None = None,
    on_unreadable: str = "refuse",
    batch_size: int = 16,
    num_workers: int = 0,
    **kwargs: Any,
) -> dict[str, Any]:
    """Test a trained model, or the models of all seeds of a run, on generated texts.

    Args:
        directories: Folders of the models, by seed.
        recipe: Recipe of the method.
        test: Source of the test data, as for the recipe's `read_records`.
        images: Folder of the images, as for the recipe's `read_records`.
        annotations: File of the answers, as for the recipe's `read_records`.
        shots: Source of questions to sample examples from: file, folder of images, and file of answers.
        settings: Arguments of the method that define how it is tested, which override those of the run.
        decoding: Keyword arguments for `generate`, which override those that the model was saved with.
        predictions: JSONL file to write; with several seeds, `seed-<n>.` is put before its name.
        on_unreadable: As for `Records.readable`.
        batch_size: Number of prompts per batch.
        num_workers: Number of processes that decode images.
        kwargs: Keyword arguments for `load_generator`.

    Returns:
        What `hf-prompt evaluate --json` writes.
    """
    decoding = dict(decoding or {})
    seeds: dict[str, dict[str, Any]] = {}
    for seed, directory in directories.items():
        arguments = replace(_arguments(recipe, directory), **settings or {})
        examples, source = read_test_examples(
            recipe, arguments, (test, images, annotations), shots, on_unreadable, progress=False
        )
        model, processor = load_generator(directory, **kwargs)
        processor.blind = processor.blind or arguments.blind
        limit = (
            decoding.get("max_new_tokens", model.generation_config.max_new_tokens) or recipe.decoding["max_new_tokens"]
        )
        check_prompts(processor, examples, limit, source)
        written = generate_texts(
            model, processor, examples, {"max_new_tokens": limit} | decoding, batch_size, num_workers, progress=False
        )
        if predictions is not None:
            write_json_lines(predictions_file(predictions, seed, directories), written.rows())
        seeds[seed] = {"test": written.metrics(), "model": str(directory)}
    return {
        "data": {"test": source, "test_examples": len(examples), "blind": processor.blind},
        "most_frequent_answer": most_frequent_answer(examples),
        "seeds": seeds,
        "metrics": mean_metrics(seeds),
    }


def _arguments(recipe: TextGenerationRecipe[Any], directory: Path) -> Any:
    """Return the method's arguments that a model was trained with, or the recipe's defaults without a run."""
    path = directory / RUN_FILE
    return (
        recipe.arguments_class(**read_json(path, MAX_BYTES, "runs")["arguments"])
        if path.is_file()
        else recipe.arguments_class()
    )


def summarise_generation_evaluation(results: dict[str, Any]) -> str:
    """Return the lines that `hf-prompt evaluate` prints."""
    data = results["data"]
    lines = [f"{data['test_examples']} examples{', with black images' * data['blind']}"]
    if (constant := results["most_frequent_answer"]) is not None:
        lines.append(f"constant answer {constant['answer']!r}: {describe_metrics(constant['test'])}")
    lines += [f"{seed_words(seed):<13} {describe_metrics(one['test'])}" for seed, one in results["seeds"].items()]
    if len(results["seeds"]) > 1:
        shown = (f"{name} {each['mean']:.3f} ± {each['std']:.3f}" for name, each in results["metrics"].items())
        lines.append(f"mean ± deviation  {', '.join(shown)}")
    return "\n".join(lines)


def mean_metrics(seeds: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return mean and population deviation of each score over the seeds."""
    names = next(iter(seeds.values()))["test"]
    return {name: mean_and_deviation([one["test"][name] for one in seeds.values()]) for name in names}
