"""Base class of the tasks that classify images or videos."""

import argparse
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch.utils.data import Dataset
from transformers import AutoImageProcessor, HfArgumentParser, Pipeline, TrainingArguments, pipeline

from hf_prompt_models.configuration_utils import PromptConfig
from hf_prompt_models.hub.model_card import RunOnCard
from hf_prompt_models.prompts.class_prompts import ClassPrompts
from hf_prompt_models.recipe_utils import ClassificationRecipe
from hf_prompt_models.tasks.accuracy_tables import accuracy_sections
from hf_prompt_models.tasks.arguments import (
    RunArguments,
    add_backbone_argument,
    add_loading_arguments,
    add_on_unreadable_argument,
    add_precision_arguments,
    add_top_k_argument,
    fields_of,
    output_file,
    run_arguments,
    share,
)
from hf_prompt_models.tasks.base import Entries, Task
from hf_prompt_models.tasks.classification.arguments import (
    SCHEDULER_FLAGS,
    ClassificationArguments,
    add_sampled_shots,
    check_data,
    protocol_of,
    shown_defaults,
)
from hf_prompt_models.tasks.classification.card import run_on_card
from hf_prompt_models.tasks.classification.class_prompts import backbone_tokenizer, read_sentences
from hf_prompt_models.tasks.classification.evaluation import (
    ModelsToTest,
    Tested,
    load_model,
    results_of,
    summarise_evaluation,
    write_tested,
)
from hf_prompt_models.tasks.classification.prediction import Predictions, classify, set_classes
from hf_prompt_models.tasks.classification.run import ClassificationRun
from hf_prompt_models.tasks.classification.summary import summarise
from hf_prompt_models.utils.precision import wanted_dtype


RecipeT = TypeVar("RecipeT", bound=ClassificationRecipe[Any])


class ClassificationTask(Task[RecipeT]):
    """Base class of the tasks that classify images or videos.

    Attributes:
        auto_class: Auto class that loads the models.
        run_class: Class of the training run.
        prediction_batch_size: Number of files per batch in `hf-prompt predict`.
    """

    auto_class: ClassVar[Any]
    run_class: ClassVar[type[ClassificationRun[Any]]]
    prediction_batch_size: ClassVar[int]
    data_arguments: ClassVar[type[ClassificationArguments]]
    build_sections = staticmethod(accuracy_sections)

    # -- methods that differ between images and videos ---------------------------------------------------------------

    @abstractmethod
    def build_zero_shot(
        self,
        backbone: str,
        class_names: Sequence[str],
        templates: Sequence[str] | None,
        class_prompts: ClassPrompts | None = None,
    ) -> Any:
        """Return a classifier of a backbone and class names, without training.

        Args:
            backbone: Hub id, folder, or "playground".
            class_names: Names of the classes.
            templates: Hand-written prompts, sentences with `{}`.
            class_prompts: Sentences about each class.

        Raises:
            ValueError: If there are sentences, and the task has none.
        """

    @abstractmethod
    def list_files(self, paths: Iterable[str]) -> list[str]:
        """Return paths, with each folder replaced by the files in it."""

    @abstractmethod
    def readable(self, files: Sequence[str], on_unreadable: str, progress: bool) -> list[str]:
        """Return the files that can be decoded; the others are refused or reported."""

    @abstractmethod
    def inputs(self, files: Sequence[str], classifier: Pipeline) -> Dataset:
        """Return the inputs of a classifier for files, which are decoded on access."""

    @abstractmethod
    def encoder(self, model: Any) -> Callable[..., torch.Tensor]:
        """Return the function from a batch of a model's inputs to the features of its image tower."""

    @abstractmethod
    def test(self, models: ModelsToTest, arguments: argparse.Namespace) -> dict[str, Tested]:
        """Test saved models on the data that the flags name, by seed."""

    def drawn(
        self, predictions: Predictions, files: Sequence[str], classifier: Pipeline, arguments: argparse.Namespace
    ) -> Predictions:
        """Return the predictions, and write the figures that the flags request."""
        return predictions

    def drawn_lines(self, arguments: argparse.Namespace) -> list[str]:
        """Return lines that report where these figures are."""
        return []

    # -- training ----------------------------------------------------------------------------------------------------

    def shown_defaults(self, recipe: RecipeT) -> dict[str, Any]:
        """Return the recipe's defaults that `--help` shows."""
        return shown_defaults(recipe)

    def run_arguments(self, recipe: RecipeT, parser: HfArgumentParser, given: dict[str, Any]) -> RunArguments:
        """Return the arguments of a run; calls `parser.error` if they do not go together."""
        add_sampled_shots(parser, given)
        given.setdefault("shots", recipe.default_shots)
        data = self.data_arguments(**fields_of(self.data_arguments, given))
        check_data(parser, data, given, least=min(recipe.default_shots, 1))
        protocol, method = protocol_of(data), fields_of(recipe.arguments_class, given)
        defaults = recipe.argument_defaults(protocol, method)
        own = recipe.arguments_class(**defaults | method)
        recipe.check_flags(own, given)
        settings = recipe.training_defaults(protocol) | recipe.method_settings(protocol, own)
        arguments = run_arguments(recipe, given, data, settings, defaults)
        arguments.own_schedule = not SCHEDULER_FLAGS & set(arguments.training)
        return arguments

    def backbones(self, recipe: RecipeT, arguments: RunArguments) -> list[str | None]:
        """Return the backbones that a run loads."""
        return [arguments.data.backbone]

    def prepare(
        self, recipe: RecipeT, arguments: RunArguments, training: Mapping[int, TrainingArguments]
    ) -> ClassificationRun[Any]:
        """Read and check the data of a run and compute its baselines."""
        return self.run_class(recipe, arguments, training)

    def summarise_run(self, results: dict[str, Any], arguments: RunArguments) -> str:
        """Return the text that `hf-prompt train` prints at the end."""
        return summarise(results)

    def run_on_card(self, results: dict[str, Any], card_task: str, seed: str) -> RunOnCard:
        """Return the part of a seed's model card that describes the run."""
        return run_on_card(results, card_task, seed)

    # -- evaluation and prediction -----------------------------------------------------------------------------------

    def check_model(self, directory: Path, config: PromptConfig) -> None:
        """Accept every model, because all models with a classifier's configuration classify."""

    def add_evaluation_arguments(self, parser: argparse.ArgumentParser, recipe: RecipeT | None) -> None:
        """Add the task's flags of `hf-prompt evaluate`."""
        add_backbone_argument(parser)
        parser.add_argument(
            "--set_classes",
            action="store_true",
            help="classify into the classes of the test set instead of the classes that the prompt was trained for",
        )
        parser.add_argument(
            "--class_names",
            metavar="FILE",
            help="file with the model's class names for the class folders of the test set, as for `hf-prompt "
            "train`: rows `folder,name`, or one name per line in the order of the sorted folders",
        )
        parser.add_argument(
            "--feature_cache",
            metavar="DIR",
            help="folder in which the features of a frozen image encoder are cached; off: no cache",
        )
        add_precision_arguments(parser)
        parser.add_argument(
            "--confusion_matrix",
            metavar="FILE",
            help="also write the confusion matrix as PNG; with several seeds, the sum over the seeds",
        )
        parser.add_argument(
            "--reliability_plot",
            metavar="FILE",
            help="also write a reliability diagram as PNG: the accuracy by the probability of the predicted class, "
            "with the number of predictions; with several seeds, of all their predictions",
        )
        parser.add_argument(
            "--min_score",
            type=share,
            help="also report how many predictions have at least this probability, from 0 to 1, and their accuracy, "
            "as with `hf-prompt predict --min_score`",
        )

    def evaluate(
        self, directories: Mapping[str, Path], recipe: RecipeT | None, arguments: argparse.Namespace
    ) -> dict[str, Any]:
        """Test saved models and return what `--json` writes."""
        class_prompts = vars(arguments).get("class_prompts")
        models = ModelsToTest(
            directories,
            arguments.set_classes,
            arguments.backbone,
            arguments.feature_cache,
            class_prompts,
            wanted_dtype(arguments.feature_dtype, arguments.bf16),
        )
        tested = self.test(models, arguments)
        write_tested(tested, arguments)
        return results_of(tested, directories, arguments.min_score) | self.check_data(models, tested, arguments)

    def check_data(
        self, models: ModelsToTest, tested: Mapping[str, Tested], arguments: argparse.Namespace
    ) -> dict[str, Any]:
        """Check the data as the flags request, and return entries for the results."""
        return {}

    def summarise_evaluation(self, results: dict[str, Any]) -> str:
        """Return the text that `hf-prompt evaluate` prints."""
        return summarise_evaluation(results)

    def add_prediction_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the task's flags of `hf-prompt predict`."""
        add_backbone_argument(parser)
        add_top_k_argument(parser, "classes")
        add_loading_arguments(parser, f"{self.prediction_batch_size} {self.kind}s")
        add_on_unreadable_argument(parser)
        add_precision_arguments(parser)
        parser.add_argument(
            "--class_names",
            metavar="FILE",
            help="file with the classes to classify into: one name per line, rows `folder,name`, or JSON; if "
            "the model is a backbone, it is used as a zero-shot classifier",
        )
        parser.add_argument(
            "--templates",
            nargs="+",
            metavar="TEMPLATE",
            help="hand-written prompts of a zero-shot classifier, as for `hf-prompt zero_shot`",
        )
        parser.add_argument(
            "--min_score",
            type=share,
            help=f"smallest probability of an answer, from 0 to 1: for a {self.kind} whose best class is below it, "
            "the answer is “I do not know”, with the best guess",
        )
        parser.add_argument(
            "--csv",
            metavar="FILE",
            type=output_file,
            help=f"write a table with the columns {self.kind}, rank, label, score: top_k rows per file, the best "
            "class (rank 1) first; with --min_score also the column known, 0 where the best score is below it",
        )

    def predict(self, directory: str, arguments: argparse.Namespace) -> Entries | str:
        """Run a saved model on files."""
        model = load_model(self.auto_class, directory, arguments.backbone)
        classifier = self.classifier_of(model, AutoImageProcessor.from_pretrained(directory))
        set_classes(classifier, arguments)
        return classify(self, classifier, arguments)

    def predict_zero_shot(
        self,
        backbone: str,
        class_names: Sequence[str],
        templates: Sequence[str] | None,
        arguments: argparse.Namespace,
    ) -> Entries | str:
        """Classify files with a backbone, like `predict`; other arguments are as for `build_zero_shot`."""
        source = vars(arguments).get("class_prompts")
        class_prompts = None if source is None else read_sentences(source, class_names, backbone_tokenizer(backbone))
        model = self.build_zero_shot(backbone, class_names, templates, class_prompts)
        return classify(self, self.classifier_of(model, model.processor.image_processor), arguments)

    def classifier_of(self, model: Any, image_processor: Any) -> Pipeline:
        """Return the pipeline of a model and its image processor."""
        task: Any = self.name
        return pipeline(task, model=model, image_processor=image_processor)
