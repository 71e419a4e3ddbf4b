"""Training run of every task: checks, baselines, training and test for each seed, results and model cards."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainingArguments, set_seed

from hf_prompt_models.models import recipe_of
from hf_prompt_models.recipe_utils import Recipe
from hf_prompt_models.tasks.arguments import RunArguments
from hf_prompt_models.tasks.base import Run, Task, task_named
from hf_prompt_models.tasks.cards import RunCards
from hf_prompt_models.tasks.results import origin, write_results
from hf_prompt_models.training.earlier_runs import clear_output_dir
from hf_prompt_models.training.run_folder import begin_seed
from hf_prompt_models.training.run_lock import only_run
from hf_prompt_models.training.run_start import arguments_by_seed
from hf_prompt_models.training.settings import announce
from hf_prompt_models.training.trainer import PromptTrainer


def train(method: str, flags: Sequence[str], prog: str, command: str) -> str:
    """Run `hf-prompt train METHOD` and return the text that it prints at the end.

    Args:
        method: Name of the method.
        flags: The command line after the method.
        prog: Name of the program in messages.
        command: The complete command line, for the results.
    """
    recipe = recipe_of(method)
    task = task_named(recipe.task)
    arguments = task.parse_training(recipe, flags, prog)
    return task.summarise_run(run_training(task, recipe, arguments, command), arguments)


def run_training(task: Task[Any], recipe: Recipe[Any], arguments: RunArguments, command: str) -> dict[str, Any]:
    """Train and test a method, once for each seed.

    All checks of the input run before the first training step. Results are written after each seed, so an interrupted
    run loses at most one seed, and none with `--resume_from_checkpoint true`.

    Args:
        task: Task of the recipe.
        recipe: Recipe of the method.
        arguments: Result of `task.parse_training`.
        command: The command line, for the results.

    Returns:
        The content of `results.json` in the output folder.

    Raises:
        OSError: If a backbone cannot be found or a folder cannot be written to.
        ValueError: For data or settings that cannot be used, or an output folder that holds another run.

    Example:
        ```python
        >>> from hf_prompt_models.models.coop.recipe_coop import RECIPE
        >>> from hf_prompt_models.playground import write_image_folder
        >>> from hf_prompt_models.tasks import run_training, task_named
        >>> write_image_folder("shapes", seed=0, train_per_class=1, test_per_class=1)
        >>> flags = "--backbone playground --train_dir shapes --test_dir shapes --shots 1 --seeds 1 --max_steps 2"
        >>> flags += " --output_dir mine --disable_tqdm true"
        >>> task = task_named(RECIPE.task)
        >>> arguments = task.parse_training(RECIPE, flags.split(), "train.py coop")
        >>> results = run_training(task, RECIPE, arguments, command=f"train.py coop {flags}")
        >>> results["method"], results["seeds"]["1"]["steps"]
        ('CoOp', 2)

        ```
    """
    seeds = arguments.data.seeds
    # These are built first, because TrainingArguments refuses flags that contradict each other.
    training = arguments_by_seed(arguments.training, seeds, task.backbones(recipe, arguments), arguments.run)
    run = task.prepare(recipe, arguments, training)
    announce(training, run.examples)
    return train_seeds(task, recipe, arguments, run, training, command)


def train_seeds(
    task: Task[Any],
    recipe: Recipe[Any],
    arguments: RunArguments,
    run: Run,
    training: Mapping[int, TrainingArguments],
    command: str,
) -> dict[str, Any]:
    """Train and test a method whose run is prepared, once for each seed, and return what `run_training` returns.

    Args:
        task: Task of the recipe.
        recipe: Recipe of the method.
        arguments: Result of `task.parse_training`.
        run: The prepared run.
        training: Training arguments, by seed.
        command: The command line, for the results.
    """
    directory, seeds = Path(arguments.training["output_dir"]), arguments.data.seeds
    is_main = next(iter(training.values())).process_index == 0
    results: dict[str, Any] = {
        "method": recipe.title,
        "task": task.name,
        **run.results(),
        "seeds": {},
        "arguments": vars(arguments.method),
        **origin(command),
    }
    cards = RunCards(results, run.card_task, task.run_on_card)
    with only_run(directory, is_main):
        clear_output_dir(arguments.training, seeds, arguments.run.overwrite_output_dir)
        if is_main:
            run.write_baselines(directory)
        for seed in seeds:
            results["seeds"][str(seed)], trainer = run_seed(recipe, arguments, run, training[seed])
            run.summarise(results)
            if is_main:
                write_results(directory, results)
            cards.add(seed, trainer)
        cards.finish()
    return results


def run_seed(
    recipe: Recipe[Any], arguments: RunArguments, run: Run, training: TrainingArguments
) -> tuple[dict[str, Any], PromptTrainer]:
    """Train and test the model of one seed, and return its results and its trainer."""
    directory = Path(training.output_dir)
    record = {"method": recipe.title, "arguments": vars(arguments.method), "seed": training.seed}
    checkpoint = begin_seed(training, record | run.record(training.seed))
    if training.process_index == 0:
        run.prepare_folder(training, resumes=checkpoint is not None)
    set_seed(training.seed)
    trainer = run.build_trainer(training)
    trainer.train(resume_from_checkpoint=checkpoint)
    result = run.finish(trainer, directory)
    return result | {"model": str(directory), "steps": trainer.state.global_step}, trainer
