"""Training run of models that generate text: training, generation for held-out examples, and test, by seed."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from hf_prompt_models.backbones.packaged import portable_name, vision_model_for
from hf_prompt_models.data.splits import source_title
from hf_prompt_models.lora import PREFIX as LORA_PREFIX
from hf_prompt_models.lora import add_lora, remove_lora, take_lora
from hf_prompt_models.prefix_lm.examples import GenerationDataset, GenerationExample, training_collator
from hf_prompt_models.recipe_utils import TextGenerationRecipe
from hf_prompt_models.tasks.arguments import RunArguments
from hf_prompt_models.tasks.base import Run
from hf_prompt_models.tasks.cards import check_publishing
from hf_prompt_models.tasks.shared_files import check_disjoint, generated_texts
from hf_prompt_models.tasks.text_generation.arguments import TextGenerationArguments
from hf_prompt_models.tasks.text_generation.baselines import (
    BLIND_FILE,
    blind_baseline,
    most_frequent_answer,
    sees_images,
)
from hf_prompt_models.tasks.text_generation.data import (
    check_prompts,
    digest,
    one_for_each_prompt,
    read_generation_data,
    report_cut_examples,
)
from hf_prompt_models.tasks.text_generation.evaluation import mean_metrics
from hf_prompt_models.tasks.text_generation.generated_texts import (
    GeneratedTexts,
    generate_texts,
    rows_as_markdown,
)
from hf_prompt_models.tasks.text_generation.plots import plot_generated_texts, plot_generation_curve
from hf_prompt_models.tasks.text_generation.summary import CURVE, FIGURE, PREDICTIONS_FILE
from hf_prompt_models.training.settings import check_batches
from hf_prompt_models.training.trainer import PromptTrainer
from hf_prompt_models.utils.files import remove_unfinished, write_json_lines, write_text


SAMPLES_DIRECTORY, SAMPLES_FILE = "samples", "samples.md"
LOGGED = ("bleu_4", "rouge_l", "cider_d", "vqa_accuracy", "exact_match")
"""Scores that evaluations during training log."""


class GenerationTrainer(PromptTrainer):
    """`PromptTrainer` whose evaluations also generate texts, score them, and save them next to the run.

    Args:
        processor: Processor of the model.
        sample: Examples to generate texts for.
        decoding: Keyword arguments for `generate`.
        kwargs: As for `PromptTrainer`.
    """

    EMBEDS_TOKENS = True

    def __init__(
        self, *, processor: Any, sample: Sequence[GenerationExample], decoding: dict[str, Any], **kwargs: Any
    ):
        super().__init__(own_schedule=False, **kwargs)
        self.processor = processor
        self.sample = sample
        self.decoding = decoding

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Evaluate the loss, and generate, score and save texts for the sample."""
        metrics = super().evaluate(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        written = self.write(self.sample)
        scores = {f"{metric_key_prefix}_{name}": v for name, v in written.metrics().items() if name in LOGGED}
        self.log(scores)
        if self.is_world_process_zero():
            directory, step = Path(self.args.output_dir), self.state.global_step
            write_json_lines(directory / SAMPLES_DIRECTORY / f"step-{step}.jsonl", written.rows())
            write_text(directory / SAMPLES_FILE, rows_as_markdown(written.rows(), f"Generated after {step} steps"))
        return metrics | scores

    def write(self, examples: Sequence[GenerationExample]) -> GeneratedTexts:
        """Return the texts that the current model generates for examples."""
        self.model.eval()
        return generate_texts(
            self.model,
            self.processor,
            examples,
            self.decoding,
            self.args.per_device_eval_batch_size,
            self.args.dataloader_num_workers,
            not self.args.disable_tqdm,
        )


def backbones(settings: TextGenerationArguments, recipe: TextGenerationRecipe[Any]) -> tuple[str, str]:
    """Return the names of the language model and of the image model."""
    vision_model = vision_model_for(settings.language_model, settings.vision_model, recipe.vision_model)
    return settings.language_model, str(vision_model)


class TextGenerationRun(Run):
    """Training run of a model that generates text.

    Args:
        recipe: Recipe of the method.
        arguments: Arguments of the run.
        training: Training arguments, by seed.
    """

    def __init__(
        self,
        recipe: TextGenerationRecipe[Any],
        arguments: RunArguments,
        training: Mapping[int, TrainingArguments],
    ):
        self.card_task = recipe.task
        self.recipe, self.arguments = recipe, arguments
        settings, first = arguments.data, next(iter(training.values()))
        self.language_model, self.vision_model = backbones(settings, recipe)
        self.data = data = read_generation_data(recipe, arguments)
        self.examples = dict.fromkeys(training, len(data.train))
        check_batches(first, len(data.train), contrasts=False)
        if settings.test_file is not None:
            trained, tested = generated_texts(data.train), generated_texts(data.test)
            check_disjoint(trained, tested, arguments.run.allow_shared_files, "example")
        self.processor = recipe.build_processor(arguments.method, self.language_model, self.vision_model)
        new_tokens = settings.max_new_tokens or recipe.decoding["max_new_tokens"]
        check_prompts(self.processor, data.test, new_tokens, data.sources["test"])
        check_prompts(self.processor, data.validation, new_tokens, settings.validation_file or settings.train_file)
        if first.process_index == 0:
            report_cut_examples(self.processor, data.train, settings.max_length, data.sources["train"])

    def results(self) -> dict[str, Any]:
        """Return the content of `results.json` before the first seed."""
        settings, data = self.arguments.data, self.data
        return {
            "backbone": self.language_model,
            "vision_model": self.vision_model,
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
        }

    def record(self, seed: int) -> dict[str, Any]:
        """Return the values that identify a seed's run."""
        settings = self.arguments.data
        return {
            "backbone": portable_name(self.language_model),
            "vision_model": portable_name(self.vision_model),
            "lora": [settings.lora_r, settings.lora_alpha, settings.lora_dropout, settings.lora_target_modules],
            "examples": digest(self.data.train),
        }

    def prepare_folder(self, training: TrainingArguments, resumes: bool) -> None:
        """Remove unfinished samples, and all samples if the run starts over."""
        samples = Path(training.output_dir) / SAMPLES_DIRECTORY
        remove_unfinished(samples)
        if not resumes:
            shutil.rmtree(samples, ignore_errors=True)

    def build_trainer(self, training: TrainingArguments) -> PromptTrainer:
        """Return the trainer of a seed, with a new model."""
        method, settings = self.arguments.method, self.arguments.data
        model: Any = self.recipe.build_model(
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
        return GenerationTrainer(
            model=model,
            args=training,
            train_dataset=GenerationDataset(self.data.train),
            eval_dataset=GenerationDataset(self.data.validation) if self.data.validation else None,
            data_collator=training_collator(self.processor, settings.max_length),
            learning_rate_factors=factors,
            processor=self.processor,
            sample=one_for_each_prompt(self.data.validation)[: settings.eval_samples],
            decoding=settings.given(),
        )

    def finish(self, trainer: PromptTrainer, directory: Path) -> dict[str, Any]:
        """Test the trained model, save it, write predictions and figures, and return the results of the seed."""
        assert isinstance(trainer, GenerationTrainer)
        method, settings, data = self.arguments.method, self.arguments.data, self.data
        written = trainer.write(data.test)
        result: dict[str, Any] = {"test": written.metrics()}
        blind: GeneratedTexts | None = None
        if settings.blind_baseline and sees_images(method, data.test):
            blind, result["blind"] = blind_baseline(trainer.write, self.processor, written, settings.blind_baseline)
        weights = trainer.accelerator.get_state_dict(trainer.model) if trainer.is_fsdp_enabled else None
        model: Any = trainer.model
        if settings.lora_r:
            model = trainer.model = take_lora(model)
        if trainer.args.process_index == 0:
            if not settings.lora_r:
                remove_lora(directory)
            model.save_pretrained(directory, state_dict=weights)
            write_json_lines(directory / PREDICTIONS_FILE, written.rows())
            if blind is not None:
                write_json_lines(directory / BLIND_FILE, blind.rows())
            plot_generated_texts(written, directory / FIGURE, blind=blind)
            plot_generation_curve(
                trainer.state.log_history,
                directory / CURVE,
                f"{self.recipe.title}, seed {trainer.args.seed}: training on {len(data.train)} examples",
                {f"{name}, black images": result["blind"]["test"][name] for name in LOGGED if name in result["test"]}
                if blind is not None and settings.test_file is None  # otherwise the curve shows other examples
                else None,
            )
        return result

    def summarise(self, results: dict[str, Any]) -> None:
        """Add the means over the seeds so far to the results."""
        results["metrics"] = mean_metrics(results["seeds"])
        if blind := {each: one["blind"] for each, one in results["seeds"].items() if "blind" in one}:
            results["blind"] = mean_metrics(blind)
