"""Writing with trained models, and testing them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedConfig

from hf_prompt_models.data.images.loading import load_image
from hf_prompt_models.data.text.records import MAX_BYTES
from hf_prompt_models.models import methods_with
from hf_prompt_models.recipe_utils import TextGenerationRecipe
from hf_prompt_models.tasks.text_generation.baselines import most_frequent_answer
from hf_prompt_models.tasks.text_generation.generated_texts import write_rows, write_texts
from hf_prompt_models.tasks.text_generation.summary import describe_metrics
from hf_prompt_models.tasks.text_generation.training import (
    TASK,
    check_prompts,
    mean_metrics,
    read_test_examples,
)
from hf_prompt_models.training.run_folder import RUN_FILE, model_directories, predictions_file, seed_words
from hf_prompt_models.utils.files import read_json


def text_recipe(run: str) -> TextGenerationRecipe[Any] | None:
    """The recipe of the method that a run's models, or a model folder, are of; None if they do not write texts."""
    config, _ = PreTrainedConfig.get_config_dict(next(iter(model_directories(run).values())))
    for method in methods_with("recipe"):
        package = import_module(f"hf_prompt_models.models.{method}")
        if set(config.get("architectures") or ()) & set(package.__all__):
            recipe = import_module(f"{package.__name__}.recipe_{method}").RECIPE
            return recipe if recipe.task == TASK else None
    return None


def load_writer(directory: str | os.PathLike, language_model: str | None = None, **kwargs: Any) -> tuple[Any, Any]:
    """A saved model that writes texts, in eval mode, and its processor.

    Args:
        directory: of the model.
        language_model: where it is now, if it moved since a model without it was saved.
        kwargs: for `from_pretrained`: `dtype`, `device_map`.
    """
    moved = {} if language_model is None else {"base_model_name_or_path": language_model}
    model = AutoModelForImageTextToText.from_pretrained(directory, **moved, **kwargs)
    if torch.cuda.is_available() and "device_map" not in kwargs:
        model.to("cuda")
    return model.eval(), AutoProcessor.from_pretrained(directory)


def write_about(
    directory: str | os.PathLike,
    images: Sequence[str],
    text: str,
    decoding: Mapping[str, Any],
    num_return_sequences: int = 1,
    blind: bool = False,
    **kwargs: Any,
) -> list[str]:
    """What a model writes about pictures, as `pipeline("image-text-to-text")` gives it.

    Args:
        directory: of the model.
        images: image files, in the order of `<image>` in the text, or in front of it.
        text: the title or the question; it may be empty.
        decoding: for `generate`.
        num_return_sequences: texts to write: the best of so many beams, or as many drawn.
        blind: show it black pictures.
        kwargs: for `load_writer`.

    Raises:
        UnreadableImageError: naming the file.
        ValueError: if there are fewer beams than texts and nothing is drawn; if the text does not fit.
    """
    pictures = [load_image(image) for image in images]
    model, processor = load_writer(directory, **kwargs)
    processor.blind = processor.blind or blind
    config = model.generation_config
    beams = decoding.get("num_beams", config.num_beams) or 1
    if num_return_sequences > beams and not decoding.get("do_sample", config.do_sample):
        raise ValueError(
            f"{num_return_sequences} texts are wanted of {beams} beams, and nothing is drawn, which would write one "
            "text again and again: add --do_sample, or --num_beams of at least as many."
        )
    new_tokens = decoding.get("max_new_tokens", config.max_new_tokens) or 1
    processor.check_prompt(0, text, len(pictures), new_tokens)
    prompt = processor(images=[pictures], text=[text], return_tensors="pt").to(model.device)
    with torch.no_grad():
        output = model.generate(**prompt, **decoding, num_return_sequences=num_return_sequences)
    written = output[:, prompt["input_ids"].shape[1] :]
    return [each.strip() for each in processor.tokenizer.batch_decode(written, skip_special_tokens=True)]


def evaluate_writing(
    run: str,
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
    """Test a trained model, or each seed's model of a run, on what it writes.

    Args:
        run: the folder of a model, or of a run of several seeds.
        recipe: of its method.
        test, images, annotations: as of the recipe's `read_records`.
        shots: questions to draw examples from, likewise.
        settings: of the method's arguments those that say how it is tested, where the run's do not hold.
        decoding: for `generate`, where what the model was saved with does not hold.
        predictions: a JSONL file to write, of several seeds `seed-<n>.` in front of its name.
        on_unreadable: as of `Records.readable`.
        batch_size, num_workers: of the writing.
        kwargs: for `load_writer`.

    Returns:
        What `hf-prompt evaluate --json` writes.
    """
    decoding = dict(decoding or {})
    directories = model_directories(run)
    seeds: dict[str, dict[str, Any]] = {}
    for seed, directory in directories.items():
        arguments = replace(_arguments(recipe, directory), **settings or {})
        examples, source = read_test_examples(
            recipe, arguments, (test, images, annotations), shots, on_unreadable, progress=False
        )
        model, processor = load_writer(directory, **kwargs)
        processor.blind = processor.blind or arguments.blind
        limit = (
            decoding.get("max_new_tokens", model.generation_config.max_new_tokens) or recipe.decoding["max_new_tokens"]
        )
        check_prompts(processor, examples, limit, source)
        written = write_texts(
            model, processor, examples, {"max_new_tokens": limit} | decoding, batch_size, num_workers, progress=False
        )
        if predictions is not None:
            write_rows(predictions_file(predictions, seed, directories), written.rows())
        seeds[seed] = {"test": written.metrics(), "model": str(directory)}
    return {
        "data": {"test": source, "test_examples": len(examples), "blind": processor.blind},
        "most_frequent_answer": most_frequent_answer(examples),
        "seeds": seeds,
        "metrics": mean_metrics(seeds),
    }


def _arguments(recipe: TextGenerationRecipe[Any], directory: Path) -> Any:
    """The method's arguments that a model was trained with, or the recipe's for one without a run."""
    path = directory / RUN_FILE
    return (
        recipe.arguments_class(**read_json(path, MAX_BYTES, "runs")["arguments"])
        if path.is_file()
        else recipe.arguments_class()
    )


def summarise_writing_evaluation(results: dict[str, Any]) -> str:
    """The lines that `hf-prompt evaluate` prints."""
    data = results["data"]
    lines = [f"{data['test_examples']} examples{', shown black images' * data['blind']}"]
    if (constant := results["most_frequent_answer"]) is not None:
        lines.append(f"always {constant['answer']!r}: {describe_metrics(constant['test'])}")
    lines += [f"{seed_words(seed):<13} {describe_metrics(one['test'])}" for seed, one in results["seeds"].items()]
    if len(results["seeds"]) > 1:
        shown = (f"{name} {each['mean']:.3f} ± {each['std']:.3f}" for name, each in results["metrics"].items())
        lines.append(f"mean ± deviation  {', '.join(shown)}")
    return "\n".join(lines)
