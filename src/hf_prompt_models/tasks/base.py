"""The typed contract of tasks: what can be trained, evaluated, predicted, reported and shown.

Each folder with a `task.py` is a task: an instance `TASK` of a subclass of `Task`. Commands look it up by the
configuration of a model (`task_of`) or by the recipe of a method (`task_named`). `Recipe`, the contract of how a
method is trained, is in `recipe_utils.py`, below the methods that have one.
"""

import argparse
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from transformers import AutoConfig, HfArgumentParser, PreTrainedConfig, TrainingArguments

import hf_prompt_models.tasks
from hf_prompt_models.configuration_utils import PromptConfig
from hf_prompt_models.hub.model_card import RunOnCard
from hf_prompt_models.models import ENTRY_POINTS, has_part, model_class_of, recipe_of
from hf_prompt_models.recipe_utils import Recipe
from hf_prompt_models.tasks.arguments import RunArguments, build_parser, parse_given
from hf_prompt_models.tasks.results import RunResults
from hf_prompt_models.tasks.sections import Section
from hf_prompt_models.training.run_folder import model_directories
from hf_prompt_models.training.settings import with_laptop_defaults
from hf_prompt_models.training.trainer import PromptTrainer


RecipeT = TypeVar("RecipeT", bound=Recipe[Any])
Entries = list[dict[str, Any]] | dict[str, Any]
"""Predictions as `--json` prints them."""


class Run(ABC):
    """A training run of a task: its data, which are read and checked, and what each seed needs.

    `tasks.run.run_training` calls the methods in the order in which they are written here.

    Attributes:
        examples: of each seed, the number of examples to train on.
        card_task: what the model-index of the model cards calls the task.
    """

    examples: Mapping[int, int]
    card_task: str

    @abstractmethod
    def results(self) -> dict[str, Any]:
        """Return what `results.json` holds before the first seed: data, backbones, baselines."""

    def write_baselines(self, directory: Path) -> None:  # noqa: B027  not every task has some
        """Write into the run's folder what is known before training, such as zero-shot predictions."""

    @abstractmethod
    def record(self, seed: int) -> dict[str, Any]:
        """Return what tells a seed's run from others, so that its checkpoints are not resumed by another."""

    def prepare_folder(self, training: TrainingArguments, resumes: bool) -> None:  # noqa: B027  likewise
        """Write into a seed's folder what is known before its training, such as the few-shot sample."""

    @abstractmethod
    def build_trainer(self, training: TrainingArguments) -> PromptTrainer:
        """Return the trainer of a seed, with a new model; the random seed is set."""

    @abstractmethod
    def finish(self, trainer: PromptTrainer, directory: Path) -> dict[str, Any]:
        """Test the trained model, save it, write predictions and figures, and return the seed's results."""

    @abstractmethod
    def summarise(self, results: dict[str, Any]) -> None:
        """Put the means over the seeds so far into the results."""


class Task(ABC, Generic[RecipeT]):
    """One kind of problem.

    Attributes:
        name: as pipelines call it, such as "image-classification"; recipes and configurations name it.
        does: what its models do, for messages: "classifies images".
        data_arguments: dataclass of the flags for data and protocol.
        kind: what an example is called in `results.json`.
        names_in_results: what `results.json` calls the task, where that is not its name.
        page: module of the web page, which has a function `page(model, options)`.
        prediction_examples, evaluation_examples: arguments of `hf-prompt predict` and `evaluate`, for `--help`.
    """

    name: ClassVar[str]
    does: ClassVar[str]
    data_arguments: ClassVar[type]
    kind: ClassVar[str]
    names_in_results: ClassVar[frozenset[str]] = frozenset()
    page: ClassVar[str]
    prediction_examples: ClassVar[Sequence[str]]
    evaluation_examples: ClassVar[Sequence[str]]

    # -- training ----------------------------------------------------------------------------------------------------

    def training_parser(self, recipe: RecipeT, prog: str) -> HfArgumentParser:
        """Return the parser of `hf-prompt train METHOD`."""
        return build_parser(recipe, self.data_arguments, self.shown_defaults(recipe), prog)

    def parse_training(self, recipe: RecipeT, argv: Sequence[str], prog: str) -> RunArguments:
        """Parse the command line of `hf-prompt train METHOD`. An explicit flag always wins over the recipe.

        Exits with a message, as argparse does, if flags are wrong or missing.
        """
        parser = self.training_parser(recipe, prog)
        arguments = self.run_arguments(recipe, parser, with_laptop_defaults(recipe, parse_given(parser, argv)))
        seeds = arguments.data.seeds
        if len(set(seeds)) < len(seeds) or not seeds:
            parser.error(f"--seeds: name each seed once; got {seeds}")
        return arguments

    @abstractmethod
    def shown_defaults(self, recipe: RecipeT) -> dict[str, Any]:
        """Return the recipe's defaults that `--help` shows."""

    @abstractmethod
    def run_arguments(self, recipe: RecipeT, parser: HfArgumentParser, given: dict[str, Any]) -> RunArguments:
        """Return the arguments of a run; `parser.error` ends it where they do not go together.

        Args:
            recipe: the method's.
            parser: of the command line.
            given: the flags that the command line gives.
        """

    @abstractmethod
    def backbones(self, recipe: RecipeT, arguments: RunArguments) -> list[str | None]:
        """Return the backbones that a run loads, to be found before data are read."""

    @abstractmethod
    def prepare(self, recipe: RecipeT, arguments: RunArguments, training: Mapping[int, TrainingArguments]) -> Run:
        """Read and check the data of a run and compute its baselines: whatever can be wrong is found out here.

        Args:
            recipe: the method's.
            arguments: the run's.
            training: of each seed; settings that depend on the data may be changed.

        Raises:
            ValueError: for data or arguments that cannot be used.
        """

    @abstractmethod
    def summarise_run(self, results: dict[str, Any], arguments: RunArguments) -> str:
        """Return what `hf-prompt train` prints at the end."""

    @abstractmethod
    def run_on_card(self, results: dict[str, Any], card_task: str, seed: str) -> RunOnCard:
        """Return what the model card of one seed says of the run."""

    @staticmethod
    @abstractmethod
    def build_sections(runs: Sequence[RunResults]) -> list[Section]:
        """Return the tables of `hf-prompt report`; tasks that share this function are reported in common tables."""

    # -- evaluation and prediction -----------------------------------------------------------------------------------

    def check_model(self, directory: Path, config: PromptConfig) -> None:
        """Refuse a model that commands cannot run, such as a second head of a method that only Python uses.

        Raises:
            ValueError: naming its class.
        """
        if model_class_of(config).pipeline_task != self.name:
            raise ValueError(
                f"{directory} holds a {(config.architectures or ['model'])[0]}, which this command does not run. Load "
                "it in Python, as its page in docs/ shows."
            )

    @abstractmethod
    def add_evaluation_arguments(self, parser: argparse.ArgumentParser, recipe: RecipeT | None) -> None:
        """Add the task's flags of `hf-prompt evaluate`; `recipe` is the method's, if it has one."""

    @abstractmethod
    def evaluate(
        self, directories: Mapping[str, Path], recipe: RecipeT | None, arguments: argparse.Namespace
    ) -> dict[str, Any]:
        """Test saved models and return what `--json` writes.

        Args:
            directories: of the models, by seed.
            recipe: of their method, if it has one.
            arguments: the flags; `arguments.predictions`, if given, names the file to write answers to.
        """

    @abstractmethod
    def summarise_evaluation(self, results: dict[str, Any]) -> str:
        """Return what `hf-prompt evaluate` prints."""

    @abstractmethod
    def add_prediction_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the task's flags of `hf-prompt predict`."""

    @abstractmethod
    def predict(self, directory: str, arguments: argparse.Namespace) -> Entries | str:
        """Run a saved model on files.

        Args:
            directory: of the model.
            arguments: the flags.

        Returns:
            With `--json` what to print as JSON, else the text to print.
        """


@cache
def all_tasks() -> dict[str, Task[Any]]:
    """Return the tasks by name: those of this package, then those of installed packages (`ENTRY_POINTS`)."""
    package = hf_prompt_models.tasks
    folders = (f"{package.__name__}.{each.name}" for each in pkgutil.iter_modules(package.__path__) if each.ispkg)
    tasks: list[Task[Any]] = [
        import_module(f"{folder}.task").TASK for folder in folders if find_spec(f"{folder}.task") is not None
    ]
    tasks += [each.load() for each in entry_points(group=ENTRY_POINTS) if each.attr]
    return {task.name: task for task in tasks}


def task_named(name: str) -> Task[Any]:
    """Return the task of a name, as recipes give it.

    Raises:
        ValueError: if there is no such task.
    """
    if name not in all_tasks():
        raise ValueError(f"There is no task {name!r}. The tasks are {', '.join(all_tasks())}.")
    return all_tasks()[name]


def task_of(config: PreTrainedConfig) -> Task[Any]:
    """Return the task of a model, by its configuration.

    Raises:
        ValueError: if the model is not one of this package, or of a package that registers its methods.
    """
    if not isinstance(config, PromptConfig) or not config.task:
        raise ValueError(f"A model of type {config.model_type!r} belongs to no task of this package.")
    return task_named(config.task)


def recipe_of_model(config: PromptConfig) -> Recipe[Any] | None:
    """Return the recipe of the method that a model is of; `None` of a method that is not trained."""
    method = config.method_name()
    return recipe_of(method) if has_part(method, "recipe") else None


def task_of_run(run: str) -> tuple[Task[Any], PromptConfig]:
    """Return the task and the configuration of the models of a run, or of a model folder.

    Raises:
        ValueError: if the folder holds no model that commands run.
    """
    directory = next(iter(model_directories(run).values()))
    config = AutoConfig.from_pretrained(directory)
    task = task_of(config)
    task.check_model(directory, config)
    return task, config
