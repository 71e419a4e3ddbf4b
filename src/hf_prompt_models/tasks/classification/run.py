"""Training run of classifiers: sampling, training and test for each seed, with the zero-shot result."""

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from torch.utils.data import Dataset
from transformers import TrainingArguments

from hf_prompt_models.backbones.packaged import portable_name
from hf_prompt_models.data.few_shot import read_few_shot_sample, sample_few_shot, write_few_shot_sample
from hf_prompt_models.data.held_out import check_same_split
from hf_prompt_models.data.labelled import LabelledFiles, readable_sets
from hf_prompt_models.metrics.classification import confusion_counts
from hf_prompt_models.modeling_text_prompt_utils import shared_texts
from hf_prompt_models.modeling_utils import loaded_backbones
from hf_prompt_models.recipe_utils import ClassificationRecipe
from hf_prompt_models.tasks.arguments import RunArguments
from hf_prompt_models.tasks.base import Run
from hf_prompt_models.tasks.cards import check_publishing
from hf_prompt_models.tasks.classification.calibration.fitting import fit_calibration
from hf_prompt_models.tasks.classification.predictions import confusion_matrix_file, write_predictions
from hf_prompt_models.tasks.classification.protocols import ProtocolData, TestSet, read_protocol
from hf_prompt_models.tasks.classification.scores import guessing, least_recognised, summarise_seeds
from hf_prompt_models.tasks.classification.shared import Shared
from hf_prompt_models.tasks.shared_files import check_disjoint, labelled_files
from hf_prompt_models.training.plots import plot_confusion_matrix, plot_learning_curve
from hf_prompt_models.training.run_folder import (
    PREDICTIONS_FILE,
    SAMPLE_FILE,
    SPLIT_FILE,
    ZERO_SHOT_FILE,
    digest_of,
    saved_bytes,
)
from hf_prompt_models.training.settings import check_batches
from hf_prompt_models.training.trainer import PromptTrainer
from hf_prompt_models.utils.files import write_json


RecipeT = TypeVar("RecipeT", bound=ClassificationRecipe[Any])


class ClassificationRun(Run, Generic[RecipeT]):
    """Training run of a classifier on a number of examples per class, or on all examples.

    Subclasses define how images and videos are scored.

    Attributes:
        tests: Test sets, by role.
        processor: Processor of the backbone.
        zero_shot: Zero-shot classifier, with the image tower in the precision of the run.
        multi_label: Whether an example can have several labels.
        learning_rate_factors: Factors of the learning rate, by the beginning of parameter names.

    Args:
        recipe: Recipe of the method.
        arguments: Arguments of the run.
        training: Training arguments, by seed.
        shared: What runs on the same data and backbone share. Default: this run shares with no other.
    """

    draws_figures: bool = True
    """Whether `finish` writes figures."""
    zero_shot: Any

    def __init__(
        self,
        recipe: RecipeT,
        arguments: RunArguments,
        training: Mapping[int, TrainingArguments],
        shared: Shared | None = None,
    ):
        self.shared = Shared() if shared is None else shared
        self.card_task = recipe.task
        self.recipe, self.arguments = recipe, arguments
        self.settings = next(iter(training.values()))
        few_shot = arguments.data
        self.data = self.shared.once("data", self.read_data)
        self._split_file = Path(arguments.training["output_dir"]) / SPLIT_FILE
        if self.data.split is None:
            tested = [file for test in self.data.tests.values() for file in labelled_files(test.images)]
            check_disjoint(
                labelled_files(self.data.train), tested, arguments.run.allow_shared_files, self.data.train.kind
            )
        elif self.settings.resume_from_checkpoint:
            check_same_split(self._split_file, self.data.split)
        self.samples, self.tests = self._readable()
        self.examples = {seed: len(sample) for seed, sample in self.samples.items()}
        self.multi_label = self.first_test.images.multi_label
        if few_shot.calibrate and self.multi_label:
            raise ValueError("--calibrate true needs one label per video, but these have several. Remove the flag.")
        self.learning_rate_factors = recipe.learning_rate_factors(arguments.method)
        for seed, settings in training.items():
            # As in the released code, the last partial batch is dropped if each process has a complete one.
            settings.dataloader_drop_last &= self.examples[seed] >= settings.train_batch_size * settings.world_size
            check_batches(settings, self.examples[seed], recipe.contrasts_batch)
        self.processor = recipe.build_processor(few_shot.backbone)
        with loaded_backbones(self.shared.backbones):
            self.load_zero_shot()
        model = self.new_model(self.data.train.class_names)
        for test in self.tests.values():
            self._set_classes(model, test)
        check_publishing(model, self.settings)
        del model
        self.compute_test_features()
        self.zero_shot_scores = self.shared.once(
            "zero-shot scores", lambda: {role: self.score_zero_shot(role) for role in self.tests}
        )

    # -- methods that differ between images and videos ---------------------------------------------------------------

    def read_data(self) -> ProtocolData:
        """Return the data of the protocol."""
        few_shot, recipe = self.arguments.data, self.recipe
        return read_protocol(few_shot, partial(recipe.read_examples, **few_shot.reading()), recipe.default_templates)

    @abstractmethod
    def load_zero_shot(self) -> None:
        """Load the zero-shot classifier, and open the feature cache of its tower."""

    @abstractmethod
    def compute_test_features(self) -> None:
        """Compute the test features that the zero-shot classifier and models with a frozen tower use."""

    @abstractmethod
    def build_model(self, class_names: Sequence[str]) -> Any:
        """Return a new model."""

    @abstractmethod
    def score_zero_shot(self, role: str) -> np.ndarray:
        """Return the scores of hand-written prompts on a test set, of shape (examples, classes)."""

    @abstractmethod
    def score(self, model: Any, role: str) -> np.ndarray:
        """Return the scores of a model with the classes of the test set, of shape (examples, classes)."""

    @abstractmethod
    def score_files(self, model: Any, files: LabelledFiles) -> np.ndarray:
        """Return the scores of a model on other files than test files, of shape (examples, classes)."""

    def similar_files(self, files: LabelledFiles) -> list[Hashable]:
        """Return a value for each file that is equal for nearly the same files: by default, the digest of its content.

        A model that was trained on some of them is too confident about the others.
        """
        return [files.digest(index) for index in range(len(files))]

    @abstractmethod
    def log_probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Return the logarithms of the class probabilities of scores, of shape (examples, classes)."""

    @abstractmethod
    def metrics(self, scores: np.ndarray, role: str) -> dict[str, float]:
        """Return the metrics of scores, from 0 to 1; `accuracy` is the main one."""

    @abstractmethod
    def compute_metrics(self, prediction: Any) -> dict[str, float]:
        """Return metrics for the Trainer's own evaluations (`--eval_strategy epoch`)."""

    @abstractmethod
    def train_dataset(self, model: Any, sample: LabelledFiles, seed: int) -> Dataset:
        """Return the recipe's training dataset, or its features if they are the same in every epoch."""

    @abstractmethod
    def eval_dataset(self, model: Any) -> Any:
        """Return the data of the Trainer's own evaluations: the first test set, or its features."""

    # -- the run -----------------------------------------------------------------------------------------------------

    def results(self) -> dict[str, Any]:
        """Return the content of `results.json` before the first seed."""
        few_shot, first, kind = self.arguments.data, self.first_test, self.data.train.kind
        tests = {role: self._zero_shot_results(role) for role in self.tests}
        zero_shot = {"templates": first.templates, **next(iter(tests.values()))["zero_shot"]}
        if self.data.names is None and not self.multi_label:
            scores = next(iter(self.zero_shot_scores.values()))
            zero_shot["least_recognised"] = least_recognised(scores, first.images)
        data: dict[str, Any] = {
            "name": self.data.title,
            "train": self.data.train.source,
            "train_digest": digest_of([list(self.data.train.names), list(self.data.train.labels)]),
            "test": first.images.source,
            "classes": len(first.images.class_names),
            f"test_{kind}s": len(first.images),
        }
        if self.data.split is not None:
            shown = {"test_fraction": few_shot.test_fraction, "split_seed": few_shot.split_seed}
            data |= shown | {"split": str(self._split_file), "reading": few_shot.reading()}
        results = {
            "protocol": few_shot.protocol,
            "kind": kind,
            "backbone": few_shot.backbone,
            "feature_dtype": self.feature_dtype,
            "data": data,
            "shots": few_shot.shots,
            "tests": tests,
            "zero_shot": zero_shot,
        }
        if (names := self.data.names) is not None:
            folders = [list(pair) for pair in zip(names.folders or (), names.names, strict=True)]
            results["class_names"] = {"file": names.source, "folders": folders}
        return results

    def write_baselines(self, directory: Path) -> None:
        """Write the zero-shot predictions to the folder of the run."""
        write_predictions(directory / ZERO_SHOT_FILE, self.tests, self.zero_shot_scores)
        if self.data.split is not None:
            write_json(self._split_file, self.data.split)

    def record(self, seed: int) -> dict[str, Any]:
        """Return the values that identify a seed's run."""
        sample = self.samples[seed]
        return {
            "backbone": portable_name(self.arguments.data.backbone),
            "feature_dtype": self.feature_dtype,
            "images": list(sample.names),
            "classes": list(sample.class_names),
        }

    def prepare_folder(self, training: TrainingArguments, resumes: bool) -> None:
        """Write the few-shot sample to the folder of a seed."""
        if not self.multi_label:
            sample, file = self.samples[training.seed], Path(training.output_dir) / SAMPLE_FILE
            write_few_shot_sample(file, sample, range(len(sample)), self.arguments.data.shots, training.seed)

    def build_trainer(self, training: TrainingArguments, sample: LabelledFiles | None = None) -> PromptTrainer:
        """Return the trainer of a seed, with a new model.

        Args:
            training: Training arguments of the seed.
            sample: Training data. Default: that of the seed.
        """
        if sample is None:
            sample = self.samples[training.seed]
        model = self.new_model(sample.class_names)
        dataset = self.train_dataset(model, sample, training.seed)
        trainer = self.trainer_class(model)(
            model=model,
            args=training,
            train_dataset=dataset,
            eval_dataset=self.eval_dataset(model),
            compute_metrics=self.compute_metrics,
            learning_rate_factors=self.learning_rate_factors,
            own_schedule=self.arguments.own_schedule,
            callbacks=self.recipe.callbacks(self.arguments.method),
        )
        seeds = self.arguments.data.seeds
        trainer.pace.later_seeds = len(seeds) - seeds.index(training.seed) - 1
        trainer.pace.advice = self.ways_to_shorten(model, dataset)
        return trainer

    def ways_to_shorten(self, model: Any, dataset: Dataset) -> list[str]:
        """Return sentences about flags that would shorten the run, which a long run prints."""
        return []

    def trainer_class(self, model: Any) -> type[PromptTrainer]:
        """Return the class of the trainer of a model."""
        return PromptTrainer

    def finish(self, trainer: PromptTrainer, directory: Path) -> dict[str, Any]:
        """Test the trained model, save it, write predictions and figures, and return the results of the seed."""
        model: Any = trainer.model
        model.eval()
        is_main, seed = trainer.args.process_index == 0, trainer.args.seed
        saved: dict[str, Any] = {}
        calibration = self._calibrate(model, trainer.args) if self.arguments.data.calibrate else {}
        temperature = model.config.calibration_temperature
        if is_main:
            model.save_pretrained(directory)
            saved = {"bytes": saved_bytes(directory)}
        if is_main and self.draws_figures:
            first, sample = self._zero_shot_results(next(iter(self.tests))), self.samples[seed]
            plot_learning_curve(
                trainer.state.log_history,
                directory / "learning_curve.png",
                f"{self.recipe.title}, seed {seed}: training on {len(sample)} {sample.kind}s",
                {"chance": first["chance"]["accuracy"], "zero-shot": first["zero_shot"]["accuracy"]},
                "mean average precision" if self.multi_label else "test accuracy",
            )
        tested: dict[str, Any] = {}
        scores: dict[str, np.ndarray] = {}
        for role, test in self.tests.items():
            self._set_classes(model, test)
            scores[role] = self.score(model, role)
            tested[role] = self.metrics(scores[role], role)
            if is_main and self.draws_figures and not self.multi_label:
                names = test.images.class_names
                counts = confusion_counts(scores[role].argmax(axis=-1), test.images.labels, len(names))
                figure = directory / confusion_matrix_file(role, self.tests)
                plot_confusion_matrix(counts, names, figure, test.images.kind)
        if is_main:
            write_predictions(directory / PREDICTIONS_FILE, self.tests, scores)
        self._set_classes(model, self.first_test)  # back to the classes that it was trained on
        model.config.calibration_temperature = temperature
        return next(iter(tested.values())) | {"tests": tested} | saved | calibration

    def _calibrate(self, model: Any, training: TrainingArguments) -> dict[str, Any]:
        """Set the calibration temperature of a trained model, and return the entries of the results about it."""
        calibration = fit_calibration(self, training)
        if calibration is None:
            return {"calibration": None}
        model.config.calibration_temperature = calibration.temperature
        return {"calibration": calibration.as_results()}

    def summarise(self, results: dict[str, Any]) -> None:
        """Add the means over the seeds so far to the results."""
        summarise_seeds(results)

    # ----------------------------------------------------------------------------------------------------------------

    @property
    def feature_dtype(self) -> str:
        """Precision in which the image tower computes, such as "float32"."""
        return str(self.zero_shot.image_dtype or self.zero_shot.clip.dtype).removeprefix("torch.")

    @property
    def first_test(self) -> TestSet:
        """Test set of the classes that are trained on."""
        return next(iter(self.tests.values()))

    def new_model(self, class_names: Sequence[str]) -> Any:
        """Return a new model, which is saved with or without the tokenizer."""
        few_shot = self.arguments.data
        with loaded_backbones(self.shared.backbones), shared_texts(self.shared.texts):
            model = self.build_model(class_names)
        if not few_shot.save_tokenizer:
            model.processor.leave_out_tokenizer(portable_name(few_shot.backbone), model.config.base_model_revision)
        return model

    def _set_classes(self, model: Any, test: TestSet) -> None:
        if list(test.images.class_names) != model.config.class_names:
            model.set_classes(test.images.class_names, tokenizer=self.processor)

    def _zero_shot_results(self, role: str) -> dict[str, Any]:
        test = self.tests[role]
        return {
            "title": test.title,
            "source": test.images.source,
            "digest": digest_of([list(test.images.names), list(test.images.labels)]),
            "classes": len(test.images.class_names),
            f"test_{test.images.kind}s": len(test.images),
            "templates": test.templates,
            **guessing(test.images),
            "zero_shot": self.metrics(self.zero_shot_scores[role], role),
        }

    def _readable(self) -> tuple[dict[int, LabelledFiles], dict[str, TestSet]]:
        """Return the training data of each seed, and the test sets, all of which can be decoded."""
        few_shot, data = self.arguments.data, self.data
        samples: dict[int, LabelledFiles] = {}
        same: list[LabelledFiles] = []  # training data that is the same for every seed
        if few_shot.few_shot_sample is not None:
            same = [data.train.select(read_few_shot_sample(few_shot.few_shot_sample, data.train))]
        elif few_shot.shots == 0:
            same = [data.train]
        elif data.train.multi_label:
            raise ValueError("Videos with several labels cannot be sampled by class. Remove --shots.")
        else:
            held_out = 0 if data.split is None else len(data.split["test"])
            for seed in few_shot.seeds:
                indices = sample_few_shot(data.train, few_shot.shots, seed, few_shot.on_unreadable, held_out)
                samples[seed] = data.train.select(indices)
        sets = [*same, *(test.images for test in data.tests.values())]
        sets = self.shared.once(
            ("readable", bool(same)),
            lambda: readable_sets(sets, few_shot.on_unreadable, not self.settings.disable_tqdm),
        )
        if same:
            samples, sets = dict.fromkeys(few_shot.seeds, sets[0]), sets[1:]
        tests = {role: replace(test, images=each) for (role, test), each in zip(data.tests.items(), sets, strict=True)}
        return samples, tests
