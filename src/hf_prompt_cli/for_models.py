"""Command lines whose flags depend on the task of the model that they name."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hf_prompt_cli.parsing import check_flags, examples_parser, given_flags, known_flags
from hf_prompt_models.models import PACKAGES, has_part, recipe_of
from hf_prompt_models.recipe_utils import Recipe
from hf_prompt_models.tasks.base import Task, all_tasks


HELP = ("-h", "--help")


@dataclass(frozen=True)
class ModelCommand:
    """Command that runs models.

    Attributes:
        prog: Name of the command, such as "hf-prompt predict".
        description: Description of the command, for `--help`.
        add_common: Adds the arguments of all tasks: the positional `model`, and flags.
        add: Adds a task's flags; it is called with a parser, the task and the recipe of the model's method.
        examples: Returns the example command lines of a task, without `prog`.
    """

    prog: str
    description: str
    add_common: Callable[[argparse.ArgumentParser], None]
    add: Callable[[argparse.ArgumentParser, Task[Any], Recipe[Any] | None], None]
    examples: Callable[[Task[Any]], Sequence[str]]

    def parser_of_all(self) -> argparse.ArgumentParser:
        """Return a parser that knows the flags of all tasks."""
        parser = examples_parser(self.prog, self._description(), conflict_handler="resolve")
        self.add_common(parser)
        recipes = [recipe_of(method) for method in PACKAGES if has_part(method, "recipe")]
        for task in all_tasks().values():
            self.add(parser, task, None)
            for recipe in recipes:
                if recipe.task == task.name:
                    self.add(parser, task, recipe)
        for action in known_flags(parser).values():
            action.required = False  # the task's own parser requires them
        return parser

    def parser_of(self, task: Task[Any], recipe: Recipe[Any] | None) -> argparse.ArgumentParser:
        """Return the parser of a task."""
        parser = examples_parser(self.prog, self._description(task))
        self.add_common(parser)
        self.add(parser, task, recipe)
        return parser

    def named(self, argv: Sequence[str]) -> argparse.Namespace:
        """Return the arguments as far as all tasks share them, to find the model.

        Exits with code 0 after the help, if it was requested, and with code 2 if no task has a given flag.
        """
        parser = self.parser_of_all()
        words = [word for word in argv if word not in HELP]
        if not words and argv:
            common = examples_parser(self.prog, self._description())
            self.add_common(common)
            common.epilog = f"Run `{self.prog} MODEL --help` for the flags of the task of the model."
            common.print_help()
            common.exit()
        check_flags(parser, words)
        return parser.parse_args(words)

    def parse(
        self, argv: Sequence[str], model: str, task: Task[Any], recipe: Recipe[Any] | None
    ) -> argparse.Namespace:
        """Return the arguments of a command line.

        Exits with code 0 after the help of the task, if it was requested.

        Raises:
            ValueError: If a flag does not apply to the model.
        """
        parser = self.parser_of(task, recipe)
        known = known_flags(parser)
        for flag in given_flags(argv):
            if flag not in known:
                raise ValueError(f"{flag} does not apply to {model}, which {task.does}. Remove it.")
        return parser.parse_args(list(argv))

    def _description(self, of_task: Task[Any] | None = None) -> str:
        """Return the description, with the examples of one task or of all tasks."""
        tasks = all_tasks().values() if of_task is None else [of_task]
        return "\n".join(
            [self.description, "", *(f"{self.prog} {example}" for task in tasks for example in self.examples(task))]
        )
