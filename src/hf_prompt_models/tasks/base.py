"""Typed interface of tasks, which define what can be trained, evaluated, predicted, reported and shown.

Each folder with a `task.py` is a task: `TASK`, an instance of a subclass of `Task`. Commands find it by the
configuration of a model (`task_of`) or by the recipe of a method (`task_named`). `Recipe`, which defines how a method
is trained, is in `recipe_utils.py`.
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
from hf_prompt_models.training.settings import with_laptop_defaults
from hf_prompt_models.training.trainer import PromptTrainer


RecipeT = TypeVar("RecipeT", bound=Recipe[Any])
Entries = list[dict[str, Any]] | dict[str, Any]
"""Type of predictions, as `--json` prints them."""


class Run(ABC):
    """Training run of a task: its data, which is read and checked on creation, and the steps for each seed.

    `tasks.run.run_training` calls the methods in the order in which they are defined here.

    Attributes:
        examples: Number of training examples, by seed.
        card_task: Name of the task in the model-index of the model cards.

    Example:
        ```python
        >>> from hf_prompt_models.tasks import Run
        >>> sorted(Run.__abstractmethods__)  # what the run of a new task defines
        ['build_trainer', 'finish', 'record', 'results', 'summarise']

        ```
    """

    examples: Mapping[int, int]
    card_task: str

    @abstractmethod
    def results(self) -> dict[str, Any]:
        """Return the content of `results.json` before the first seed: data, backbones, baselines."""

    def write_baselines(self, directory: Path) -> None:  # noqa: B027  not every task has some
        """Write results from before training, such as zero-shot predictions, to the folder of the run."""

    @abstractmethod
    def record(self, seed: int) -> dict[str, Any]:
        """Return the values that identify a seed's run, so that no other run resumes its checkpoints."""

    def prepare_folder(self, training: TrainingArguments, resumes: bool) -> None:  # noqa: B027  not every task has some
        """Write data from before training, such as the few-shot sample, to the folder of a seed."""

    @abstractmethod
    def build_trainer(self, training: TrainingArguments) -> PromptTrainer:
        """Return the trainer of a seed, with a new model. The random seed is already set."""

    @abstractmethod
    def finish(self, trainer: PromptTrainer, directory: Path) -> dict[str, Any]:
        """Test the trained model, save it, write predictions and figures, and return the results of the seed."""

    @abstractmethod
    def summarise(self, results: dict[str, Any]) -> None:
        """Add the means over the seeds so far to the results."""


class Task(ABC, Generic[RecipeT]):
    """Base class of tasks.

    Attributes:
        name: Name of the task as in pipelines, such as "image-classification"; recipes and configurations use it.
        does: What the task's models do, for messages, such as "classifies images".
        data_arguments: Dataclass of the flags for data and protocol.
        kind: Name of an example in `results.json`.
        names_in_results: Names of the task in `results.json`, where they differ from `name`.
        page: Module of the web page, with a function `page(model, options)`.
        needs_files: Whether `hf-prompt predict` needs files.
        prediction_examples: Example arguments of `hf-prompt predict`, for `--help`.
        evaluation_examples: Example arguments of `hf-prompt evaluate`, for `--help`.

    Example:
        ```python
        >>> from hf_prompt_models.tasks import Task, task_named
        >>> task = task_named("image-classification")
        >>> isinstance(task, Task), task.does
        (True, 'classifies images')

        ```
    """

    name: ClassVar[str]
    does: ClassVar[str]
    data_arguments: ClassVar[type]
    kind: ClassVar[str]
    names_in_results: ClassVar[frozenset[str]] = frozenset()
    page: ClassVar[str]
    needs_files: ClassVar[bool] = True
    prediction_examples: ClassVar[Sequence[str]]
    evaluation_examples: ClassVar[Sequence[str]]

    # -- training ----------------------------------------------------------------------------------------------------

    def training_parser(self, recipe: RecipeT, prog: str) -> HfArgumentParser:
        """Return the parser of `hf-prompt train METHOD`."""
        return build_parser(recipe, self.data_arguments, self.shown_defaults(recipe), prog)

    def parse_training(self, recipe: RecipeT, argv: Sequence[str], prog: str) -> RunArguments:
        """Parse the command line of `hf-prompt train METHOD`. Explicit flags take precedence over the recipe.

        Exits with a message, as argparse does, if flags are wrong or missing.

        Args:
            recipe: Recipe of the method.
            argv: The command line after the method.
            prog: Name of the program in messages.
        """
        parser = self.training_parser(recipe, prog)
        arguments = self.run_arguments(recipe, parser, with_laptop_defaults(recipe, parse_given(parser, argv)))
        seeds = arguments.data.seeds
        if len(set(seeds)) < len(seeds) or not seeds:
            parser.error(f"expected different --seeds, got {seeds}")
        return arguments

    @abstractmethod
    def shown_defaults(self, recipe: RecipeT) -> dict[str, Any]:
        """Return the recipe's defaults that `--help` shows."""

    @abstractmethod
    def run_arguments(self, recipe: RecipeT, parser: HfArgumentParser, given: dict[str, Any]) -> RunArguments:
        """Return the arguments of a run; calls `parser.error` if they do not go together.

        Args:
            recipe: Recipe of the method.
            parser: Parser of the command line.
            given: Flags that the command line gives.
        """

    @abstractmethod
    def backbones(self, recipe: RecipeT, arguments: RunArguments) -> list[str | None]:
        """Return the backbones that a run loads, which are located before any data is read."""

    @abstractmethod
    def prepare(self, recipe: RecipeT, arguments: RunArguments, training: Mapping[int, TrainingArguments]) -> Run:
        """Read and check the data of a run and compute its baselines, so that problems are found before training.

        Args:
            recipe: Recipe of the method.
            arguments: Arguments of the run.
            training: Training arguments by seed. Settings that depend on the data may be changed.

        Raises:
            ValueError: For data or arguments that cannot be used.
        """

    @abstractmethod
    def summarise_run(self, results: dict[str, Any], arguments: RunArguments) -> str:
        """Return the text that `hf-prompt train` prints at the end."""

    @abstractmethod
    def run_on_card(self, results: dict[str, Any], card_task: str, seed: str) -> RunOnCard:
        """Return the part of a seed's model card that describes the run."""

    @staticmethod
    @abstractmethod
    def build_sections(runs: Sequence[RunResults]) -> list[Section]:
        """Return the tables of `hf-prompt report`. Tasks that share this function are reported in common tables."""

    # -- evaluation and prediction -----------------------------------------------------------------------------------

    def check_model(self, directory: Path, config: PromptConfig) -> None:
        """Refuse a model that commands cannot run, such as a second head of a method that is used in Python only.

        Args:
            directory: Folder of the model.
            config: Configuration of the model.

        Raises:
            ValueError: If the model is of such a class.
        """
        if model_class_of(config).pipeline_task != self.name:
            raise ValueError(
                f"{directory} contains a {(config.architectures or ['model'])[0]}, which this command does "
                "not support. Load it in Python, as described on its page in docs/."
            )

    @abstractmethod
    def add_evaluation_arguments(self, parser: argparse.ArgumentParser, recipe: RecipeT | None) -> None:
        """Add the task's flags of `hf-prompt evaluate`. `recipe` is that of the method, if it has one."""

    @abstractmethod
    def evaluate(
        self, directories: Mapping[str, Path], recipe: RecipeT | None, arguments: argparse.Namespace
    ) -> dict[str, Any]:
        """Test saved models and return what `--json` writes.

        Args:
            directories: Folders of the models, by seed.
            recipe: Recipe of their method, if it has one.
            arguments: The flags. `arguments.predictions`, if given, is the file to write answers to.
        """

    @abstractmethod
    def summarise_evaluation(self, results: dict[str, Any]) -> str:
        """Return the text that `hf-prompt evaluate` prints."""

    @abstractmethod
    def add_prediction_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the task's flags of `hf-prompt predict`."""

    @abstractmethod
    def predict(self, directory: str, arguments: argparse.Namespace) -> Entries | str:
        """Run a saved model on files.

        Args:
            directory: Folder of the model.
            arguments: The flags.

        Returns:
            With `--json`, the value to print as JSON; else the text to print.
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
    """Return the task with a name, as recipes use it.

    Args:
        name: Name of the task, such as "image-classification".

    Raises:
        ValueError: If there is no such task.

    Example:
        ```python
        >>> from hf_prompt_models.tasks import task_named
        >>> task_named("visual-grounding").does
        'grounds phrases'

        ```
    """
    if name not in all_tasks():
        raise ValueError(f"There is no task {name!r}. The tasks are {', '.join(all_tasks())}.")
    return all_tasks()[name]


def task_of(config: PreTrainedConfig) -> Task[Any]:
    """Return the task of a model.

    Args:
        config: Configuration of the model.

    Raises:
        ValueError: If the model is neither from this package nor from a package that registers its methods.

    Example:
        ```python
        >>> from hf_prompt_models import AlproConfig, CoOpConfig
        >>> from hf_prompt_models.tasks import task_of
        >>> task_of(CoOpConfig()).name, task_of(AlproConfig()).name
        ('image-classification', 'video-text')

        ```
    """
    if not isinstance(config, PromptConfig) or not config.task:
        raise ValueError(f"Models of type {config.model_type!r} do not belong to any task of this package.")
    return task_named(config.task)


def recipe_of_model(config: PromptConfig) -> Recipe[Any] | None:
    """Return the recipe of a model's method, or `None` for a method that is not trained."""
    method = config.method_name()
    return recipe_of(method) if has_part(method, "recipe") else None


def task_of_saved(directory: Path) -> tuple[Task[Any], PromptConfig]:
    """Return the task and the configuration of a saved model.

    Args:
        directory: Folder of the model, as `model_directories` finds it.

    Raises:
        ValueError: If it is a model that commands cannot run.
    """
    config = AutoConfig.from_pretrained(directory)
    task = task_of(config)
    task.check_model(directory, config)
    return task, config
