"""Training run of models for videos with texts, with the scores before and after training."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import TrainingArguments, set_seed

from hf_prompt_models.backbones.packaged import portable_name
from hf_prompt_models.data.splits import source_title
from hf_prompt_models.data.text.captioned_videos import VideoTexts
from hf_prompt_models.metrics.classification import mean_and_deviation
from hf_prompt_models.models.alpro import AlproForVideoQuestionAnswering, AlproForVideoTextRetrieval
from hf_prompt_models.models.alpro.recipe_alpro import PROMPTER, QUESTIONS
from hf_prompt_models.recipe_utils import VideoTextRecipe
from hf_prompt_models.tasks.arguments import RunArguments
from hf_prompt_models.tasks.base import Run
from hf_prompt_models.tasks.shared_files import check_disjoint, video_texts
from hf_prompt_models.tasks.video_text.data import answers_of, digest, read_sets, report_cut_sentences
from hf_prompt_models.tasks.video_text.evaluation import Loading, answer_prior, prior_answers
from hf_prompt_models.tasks.video_text.tested import Tested, test_model
from hf_prompt_models.training.named_losses import NamedLossTrainer
from hf_prompt_models.training.plots import plot_learning_curve
from hf_prompt_models.training.settings import check_batches
from hf_prompt_models.training.trainer import PromptTrainer


BEFORE = "before_"
"""Prefix of the files with the answers of the untrained model."""


class VideoTextRun(Run):
    """Training run of a model for videos with texts.

    Args:
        recipe: Recipe of the method.
        arguments: Arguments of the run.
        training: Training arguments, by seed.
    """

    def __init__(
        self,
        recipe: VideoTextRecipe[Any],
        arguments: RunArguments,
        training: Mapping[int, TrainingArguments],
    ):
        self.recipe, self.arguments, self.settings = recipe, arguments, next(iter(training.values()))
        self.task = arguments.method.task
        asks = self.task == QUESTIONS
        self.card_task = (AlproForVideoQuestionAnswering if asks else AlproForVideoTextRetrieval).pipeline_task
        self.train_set, self.test_set = read_sets(arguments)
        trained, tested = video_texts(self.train_set.items), video_texts(self.test_set.items)
        check_disjoint(trained, tested, arguments.run.allow_shared_files, "text")
        if "dataloader_drop_last" not in arguments.training:
            drops = len(self.train_set) >= 2 * arguments.training["per_device_train_batch_size"]
            for settings in training.values():
                settings.dataloader_drop_last = drops
        self.answers = answers_of(arguments, self.train_set)
        self.trained_on = self._trained_on()
        self.examples = dict.fromkeys(training, len(self.trained_on))
        check_batches(self.settings, len(self.trained_on), contrasts=not asks)

    def results(self) -> dict[str, Any]:
        """Return the content of `results.json` before the first seed."""
        data = self.arguments.data
        results: dict[str, Any] = {
            "task": self.task,
            "backbone": self._backbone,
            "data": {
                "name": source_title(data.train_file[0]),
                "test_name": source_title(data.test_file[0]),
                "train": self.train_set.source,
                "test": self.test_set.source,
                "train_texts": len(self.train_set),
                "test_texts": len(self.test_set),
                "test_videos": len(self.test_set.videos),
                "skipped": [*self.train_set.skipped, *self.test_set.skipped],
            },
        }
        if self.answers is None:
            return results
        return results | {
            "answers": len(self.answers),
            "left_out": len(self.train_set) - len(self.trained_on),
            "answer_prior": answer_prior(self.train_set, self.test_set),
        }

    def record(self, seed: int) -> dict[str, Any]:
        """Return the values that identify a seed's run."""
        return {
            "backbone": portable_name(self._backbone),
            "texts": digest(self.train_set.items),
            "answers": self.answers,
        }

    def build_trainer(self, training: TrainingArguments) -> PromptTrainer:
        """Return the trainer of a seed, with a new model, which is tested before training."""
        recipe, method = self.recipe, self.arguments.method
        model: Any = recipe.build_model(method, self.arguments.data, self.train_set, self.answers)
        is_main = training.process_index == 0
        if is_main and training.seed == self.arguments.data.seeds[0]:  # the seeds share their texts
            report_cut_sentences(model.processor, self.trained_on)
            report_cut_sentences(model.processor, self.test_set)
        self.before = self._test(model.to(training.device))
        if is_main:
            self.before.write(Path(training.output_dir), BEFORE)
        set_seed(training.seed)
        dataset = recipe.build_train_dataset(method, self.trained_on, training.seed)
        return NamedLossTrainer(
            model=model,
            args=training,
            train_dataset=dataset,
            eval_dataset=dataset,
            data_collator=recipe.build_collator(method, model, self.trained_on, self.answers),
            forward_arguments=recipe.forward_arguments(method),
            measure=lambda: flat(self._test(model).metrics),
        )

    def finish(self, trainer: PromptTrainer, directory: Path) -> dict[str, Any]:
        """Test the trained model, save it, write predictions and figures, and return the results of the seed."""
        model: Any = trainer.model
        tested = self._test(model.eval())
        trained: Any = self.recipe.trained_model(self.arguments.method, model)
        trainer.model = trained
        if trainer.args.process_index == 0:
            trained.save_pretrained(directory)
            plot_learning_curve(
                trainer.state.log_history,
                directory / "learning_curve.png",
                f"{self.recipe.title}, {self.task}, seed {trainer.args.seed}: "
                f"training on {len(self.trained_on)} texts",
                {"before training": self.before.metrics["accuracy"], **tested.found.baselines(self.train_set)},
                "R@1, text to video" if self.answers is None else "test accuracy",
            )
            tested.write(directory)
        return tested.metrics | {"guesses": tested.guesses, "before": self.before.metrics}

    def summarise(self, results: dict[str, Any]) -> None:
        """Add the means over the seeds so far to the results."""
        newest = list(results["seeds"].values())[-1]
        results |= newest.pop("guesses")
        results["accuracy"] = mean_and_deviation([one["accuracy"] for one in results["seeds"].values()])

    @property
    def _backbone(self) -> str:
        data = self.arguments.data
        return "new" if data.from_scratch else str(data.backbone or f"{data.vision} + {data.text}")

    def _trained_on(self) -> VideoTexts[Any]:
        """Return the training set, without questions whose answers are not in the list."""
        if self.answers is None:
            return self.train_set
        known = set(self.answers)
        kept = [item for item in self.train_set.items if item.answer in known]
        if not kept:
            raise ValueError(
                f"None of the {len(self.train_set)} questions of {self.train_set.source} has one of the "
                f"{len(known)} answers of the list. Pass other answers or questions."
            )
        return replace(self.train_set, items=kept)

    def _test(self, model: Any) -> Tested:
        loading = Loading(
            self.settings.per_device_eval_batch_size,
            self.settings.dataloader_num_workers,
            not self.settings.disable_tqdm,
        )
        rerank = None if self.task == PROMPTER else self.arguments.method.rerank
        tested = test_model(model, self.test_set, rerank, loading)
        return tested if self.answers is None else replace(tested, prior=prior_answers(self.train_set, self.test_set))


def flat(metrics: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of nested dicts, keyed by both names."""
    numbers: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, dict):
            numbers |= {f"{name}_{inner}": number for inner, number in value.items()}
        else:
            numbers[name] = value
    return numbers
