"""Training run of visual grounding: few-shot and full tuning, with the zero-shot result."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from transformers import EvalPrediction, TrainingArguments

from hf_prompt_models.backbones.packaged import portable_name
from hf_prompt_models.data.grounding.dataset import POSITIVE_IOU, GroundingCollator, GroundingDataset
from hf_prompt_models.data.grounding.referring_expressions import (
    ReferringExpressions,
    draw_expressions,
    read_referring_expressions,
    read_sampled_expressions,
    write_sampled_expressions,
)
from hf_prompt_models.data.splits import source_title
from hf_prompt_models.metrics.classification import mean_and_deviation
from hf_prompt_models.recipe_utils import VisualGroundingRecipe
from hf_prompt_models.tasks.arguments import RunArguments
from hf_prompt_models.tasks.base import Run
from hf_prompt_models.tasks.cards import check_publishing
from hf_prompt_models.tasks.shared_files import check_disjoint, phrases
from hf_prompt_models.tasks.visual_grounding.evaluation import (
    GroundedExpressions,
    ground_expressions,
    report_cut_phrases,
    write_grounding_predictions,
)
from hf_prompt_models.tasks.visual_grounding.plots import plot_groundings
from hf_prompt_models.training.plots import plot_learning_curve
from hf_prompt_models.training.run_folder import PREDICTIONS_FILE, SAMPLE_FILE, ZERO_SHOT_FILE, digest_of
from hf_prompt_models.training.settings import check_batches
from hf_prompt_models.training.trainer import PromptTrainer


ZERO_SHOT_FIGURE, FIGURE = "zero_shot_answers.png", "answers.png"


class VisualGroundingRun(Run):
    """Training run of a method that grounds phrases.

    Args:
        recipe: Recipe of the method.
        arguments: Arguments of the run.
        training: Training arguments, by seed.
    """

    def __init__(
        self,
        recipe: VisualGroundingRecipe[Any],
        arguments: RunArguments,
        training: Mapping[int, TrainingArguments],
    ):
        data = arguments.data
        self.card_task = recipe.task
        self.recipe, self.arguments, self.settings = recipe, arguments, next(iter(training.values()))
        self.train = read_referring_expressions(
            data.train_dir, "train", data.train_images, data.train_proposals, data.box_format
        )
        self.test = read_referring_expressions(
            data.test_dir,
            "test",
            data.test_images or data.train_images,
            data.test_proposals or data.train_proposals,
            data.box_format,
        )
        check_disjoint(phrases(self.train), phrases(self.test), arguments.run.allow_shared_files, self.test.kind)
        self.samples = {seed: self._sample(seed) for seed in data.seeds}
        self.examples = {seed: len(sample) for seed, sample in self.samples.items()}
        for seed, settings in training.items():
            check_batches(settings, self.examples[seed], contrasts=False)
        used = sorted({index for sample in self.samples.values() for index in sample})
        for index in used:
            self.train.check(index)
        self.train.select(used).check_boxes()
        self.test.check_boxes()
        self.processor = recipe.build_processor(arguments.method, data.backbone)
        if self.settings.process_index == 0:
            report_cut_phrases(self.processor, self.train.select(used))
            report_cut_phrases(self.processor, self.test)
        model: Any = recipe.build_model(arguments.method, data.backbone, self.processor)
        check_publishing(model, self.settings)
        self.zero_shot = self._ground(model.to(self.settings.device).eval())

    def results(self) -> dict[str, Any]:
        """Return the content of `results.json` before the first seed."""
        data, train, test, zero_shot = self.arguments.data, self.train, self.test, self.zero_shot
        templates = [self.processor.template]
        return {
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
                    "title": source_title(data.test_dir),
                    "source": test.source,
                    "digest": digest_of([list(test.names), list(test.texts), list(map(list, test.boxes))]),
                    "test_expressions": len(test),
                    "templates": templates,
                    "chance": {"accuracy": zero_shot.chance},
                    "zero_shot": zero_shot.metrics(),
                }
            },
            "zero_shot": {"templates": templates, **zero_shot.metrics()},
        }

    def write_baselines(self, directory: Path) -> None:
        """Write the zero-shot predictions to the folder of the run."""
        write_grounding_predictions(directory / ZERO_SHOT_FILE, self.zero_shot)
        plot_groundings(self.test, self.zero_shot.chosen, directory / ZERO_SHOT_FIGURE)

    def record(self, seed: int) -> dict[str, Any]:
        """Return the values that identify a seed's run."""
        return {
            "backbone": portable_name(self.arguments.data.backbone),
            "expressions": list(self._expressions(seed).names),
        }

    def prepare_folder(self, training: TrainingArguments, resumes: bool) -> None:
        """Write the few-shot sample to the folder of a seed."""
        sample, file = self._expressions(training.seed), Path(training.output_dir) / SAMPLE_FILE
        write_sampled_expressions(file, sample, range(len(sample)), self.arguments.data.shots, training.seed)

    def build_trainer(self, training: TrainingArguments) -> PromptTrainer:
        """Return the trainer of a seed, with a new model."""
        method, sample = self.arguments.method, self._expressions(training.seed)
        return PromptTrainer(
            model=self.recipe.build_model(method, self.arguments.data.backbone, self.processor),
            args=training,
            train_dataset=self.recipe.build_train_dataset(method, sample, training.seed),
            eval_dataset=GroundingDataset(self.test),
            data_collator=GroundingCollator(self.processor),
            compute_metrics=compute_metrics,
            own_schedule=False,
        )

    def finish(self, trainer: PromptTrainer, directory: Path) -> dict[str, Any]:
        """Test the trained model, save it, write predictions and figures, and return the results of the seed."""
        model: Any = trainer.model
        grounded = self._ground(model.eval())
        if trainer.args.process_index == 0:
            model.save_pretrained(directory)
            seed = trainer.args.seed
            plot_learning_curve(
                trainer.state.log_history,
                directory / "learning_curve.png",
                f"{self.recipe.title}, seed {seed}: training on {self.examples[seed]} expressions",
                {"chance": grounded.chance},
            )
            write_grounding_predictions(directory / PREDICTIONS_FILE, grounded)
            plot_groundings(self.test, grounded.chosen, directory / FIGURE)
        metrics = grounded.metrics()
        return metrics | {"tests": {"test": metrics}}

    def summarise(self, results: dict[str, Any]) -> None:
        """Add the means over the seeds so far to the results."""
        results["accuracy"] = mean_and_deviation([one["accuracy"] for one in results["seeds"].values()])
        results["tests"]["test"]["accuracy"] = results["accuracy"]

    def _sample(self, seed: int) -> list[int]:
        data = self.arguments.data
        if data.few_shot_sample is not None:
            return read_sampled_expressions(data.few_shot_sample, self.train)
        every = list(range(len(self.train)))
        return draw_expressions(len(self.train), data.shots, seed) if data.shots else every

    def _expressions(self, seed: int) -> ReferringExpressions:
        return self.train.select(self.samples[seed])

    def _ground(self, model: Any) -> GroundedExpressions:
        return ground_expressions(
            model,
            self.processor,
            self.test,
            self.settings.per_device_eval_batch_size,
            self.settings.dataloader_num_workers,
            not self.settings.disable_tqdm,
        )


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Return the accuracy for the Trainer's own evaluations; the labels are the overlaps of the regions."""
    scores = np.where(prediction.label_ids < 0, -np.inf, prediction.predictions)  # padding
    chosen = np.take_along_axis(prediction.label_ids, scores.argmax(axis=1)[:, None], axis=1)
    return {"accuracy": float((chosen > POSITIVE_IOU).mean())}
