"""Model cards of a run, written after each seed: facts as a list, scores as tables, and a model-index."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers import TrainingArguments

from hf_prompt_models.backbones.packaged import PLAYGROUND, portable_name
from hf_prompt_models.hub.model_card import (
    CARD_FILE,
    PLACEHOLDER_ID,
    Checkpoint,
    RunOnCard,
    is_generated,
    make_card,
    one_line,
    read_card,
    write_card,
)
from hf_prompt_models.hub.repository import update_card
from hf_prompt_models.metrics.classification import mean_and_deviation
from hf_prompt_models.training.command_line import for_strangers
from hf_prompt_models.training.trainer import PromptTrainer


OnCard = Callable[[dict[str, Any], str, str], RunOnCard]
"""Function of a run's results, the task of its cards and a seed that returns the card's part about the run."""


class RunCards:
    """Model cards of a run, which report all seeds.

    They are written next to the models and, if these are pushed, to the Hub.

    Args:
        results: Content of `results.json`, which grows from seed to seed.
        task: Name of the task in the model-index.
        on_card: Returns the part of a card that describes the run.
    """

    def __init__(self, results: dict[str, Any], task: str, on_card: OnCard):
        self.results = results
        self.task = task
        self.on_card = on_card
        self._checkpoints: dict[str, Checkpoint] = {}
        self._published: dict[str, tuple[str, TrainingArguments]] = {}

    def add(self, seed: int, trainer: PromptTrainer) -> None:
        """Write the cards of all seeds so far, and push the model of this seed if its training arguments request it.

        A card that was written or edited by hand is kept.

        Args:
            seed: The seed.
            trainer: Its trainer.
        """
        self._checkpoints[str(seed)] = trainer.describe_checkpoint()
        if trainer.is_world_process_zero():
            for each in self._checkpoints:
                file = Path(self.results["seeds"][each]["model"], CARD_FILE)
                card = read_card(file)
                if card is None or is_generated(card):
                    write_card(self._card(each, PLACEHOLDER_ID), file)
        if trainer.args.push_to_hub and (commit := trainer.push_to_hub()) is not None:
            self._published[str(seed)] = commit.repo_url.repo_id, trainer.args

    def finish(self) -> None:
        """Update the cards of earlier seeds on the Hub, after the last seed, so that they report all seeds."""
        for seed, (repo_id, training) in list(self._published.items())[:-1]:
            update_card(self._card(seed, repo_id), repo_id, training.hub_token, training.hub_revision)

    def _card(self, seed: str, repo_id: str) -> ModelCard:
        return make_card(self._checkpoints[seed], repo_id, self.on_card(self.results, self.task, seed))


def check_publishing(model: Any, training: TrainingArguments, flag: str = "--backbone") -> None:
    """Check before training that the model could be pushed after it.

    Args:
        model: The model.
        training: Training arguments of the run.
        flag: Flag that names the backbone, for the message.

    Raises:
        ValueError: If the checkpoint would refer to a backbone that others cannot load.
    """
    if not training.push_to_hub:
        return
    try:
        model.check_push()
    except ValueError as error:
        raise ValueError(
            f"--push_to_hub: {error} In this command, pass its Hub id with {flag}, or train without "
            "--push_to_hub and push the model from its folder."
        ) from error


@dataclass(frozen=True)
class Metric:
    """Metric, as tables and the Hub show it.

    Attributes:
        title: Title for readers.
        type: Name on the Hub.
        form: Format specification in tables.
    """

    title: str
    type: str
    form: str = ".2%"


@dataclass(frozen=True)
class TestedOn:
    """Test set of a model-index, with the fields of `EvalResult`."""

    task_type: str
    dataset_type: str
    dataset_name: str
    dataset_config: str | None = None
    dataset_split: str = "test"

    def results(self, metric: Metric, by_seed: Mapping[str, float], seed: str) -> list[EvalResult]:
        """Return the value of each seed, starting with this checkpoint's, and the mean if there are several.

        Args:
            metric: The metric.
            by_seed: Values of the metric, by seed.
            seed: Seed of this checkpoint.
        """
        seeds = [seed, *(each for each in by_seed if each != seed)]
        values: list[tuple[str, float, dict[str, Any]]] = [
            (f"seed {each}", by_seed[each], {"seed": int(each)}) for each in seeds
        ]
        if len(by_seed) > 1:
            mean = mean_and_deviation(list(by_seed.values()))
            spread = {"standard_deviation": round(mean["std"], 4)}
            values.append((f"mean of {len(by_seed)} seeds", mean["mean"], spread))
        return [
            EvalResult(
                **vars(self),
                metric_type=metric.type,
                metric_name=f"{metric.title}, {name}",
                metric_value=round(value, 4),
                metric_args=arguments,
            )
            for name, value, arguments in values
        ]


@dataclass(frozen=True)
class Scores:
    """Scores of one kind for all seeds.

    Attributes:
        title: Title of the kind, shown above the first column.
        metrics: The metrics, by name.
        seeds: Values by name, for each seed.
        before: Values of the untrained models, by name, for each seed.
        blind: Values with black images, by name, for each seed.
        chance: Expected values of random answers, by name. Not all metrics need one.
    """

    title: str
    metrics: Mapping[str, Metric]
    seeds: Mapping[str, Mapping[str, float]]
    before: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    blind: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    chance: Mapping[str, float] = field(default_factory=dict)

    def table(self, seed: str) -> str:
        """Return the scores as a Markdown table.

        The rows are chance, each seed before and after training, and mean and deviation; the columns are the metrics.
        """
        rows = [["chance", *self._cells(self.chance)]] if self.chance else []
        for each, values in self.seeds.items():
            if each in self.before:
                rows.append([f"seed {each}, before training", *self._cells(self.before[each])])
            rows.append([seed_title(each, seed), *self._cells(values)])
            if each in self.blind:
                rows.append([f"seed {each}, black images", *self._cells(self.blind[each])])
        if len(self.seeds) > 1:
            means = [mean_and_deviation([one[name] for one in self.seeds.values()]) for name in self.metrics]
            pairs = zip(self.metrics.values(), means, strict=True)
            cells = [f"{mean['mean']:{metric.form}} ± {mean['std']:{metric.form}}" for metric, mean in pairs]
            rows.append(["mean ± standard deviation", *cells])
        return markdown([one_line(self.title), *(one_line(each.title) for each in self.metrics.values())], rows)

    def results(self, tested_on: TestedOn, seed: str, suffix: str = "") -> list[EvalResult]:
        """Return the scores as lines of a model-index; `suffix` is added to the titles of the metrics."""
        return [
            line
            for name, metric in self.metrics.items()
            for line in tested_on.results(
                Metric(metric.title + suffix, metric.type),
                {each: values[name] for each, values in self.seeds.items()},
                seed,
            )
        ]

    def _cells(self, values: Mapping[str, float]) -> list[str]:
        return [f"{values[name]:{metric.form}}" if name in values else "–" for name, metric in self.metrics.items()]


def seed_title(each: str, seed: str) -> str:
    """Return the title of a seed's row on the card of a seed."""
    return f"seed {each}{' (this checkpoint)' if each == seed else ''}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def facts(results: Mapping[str, Any], seed: str, own: Mapping[str, str]) -> str:
    """Return how a checkpoint was made, as a Markdown list followed by the command.

    Args:
        results: Content of `results.json`.
        seed: Seed of the checkpoint.
        own: Additional facts, by title.
    """
    settings = [f"{name}={one_line(str(value))}" for name, value in results["arguments"].items() if _is_plain(value)]
    lines = {
        "Method": f"{results['method']}, on {one_line(results['data']['name'])}",
        **own,
        "Seeds": (
            f"{', '.join(results['seeds'])}; this checkpoint is from seed {seed}, after "
            f"{results['seeds'][seed]['steps']} steps"
        ),
        "Settings": f"`{', '.join(settings)}`" if settings else "",
        "Versions": ", ".join(f"{name} {version}" for name, version in results["versions"].items()),
    }
    listed = "\n".join(f"- **{title}**: {text}" for title, text in lines.items() if text)
    return f"{listed}\n\n```bash\n{for_strangers(results['command'])}\n```"


def hub_id(source: str) -> str | None:
    """Return the Hub id of a source, without the split of a dataset.

    Returns `None` for a folder, or for a backbone that ships with this package.
    """
    name = str(source).partition(":")[0]
    if name == PLAYGROUND or os.path.exists(name):
        return None
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name


def backbone_title(source: str) -> str:
    """Return the title of a backbone on a card: its Hub id, or the last part of a local path."""
    if name := hub_id(source):
        return one_line(name)
    if portable_name(source) == PLAYGROUND:
        return "playground, the tiny model that ships with the package"
    return f"{one_line(Path(source).name)}, a local folder on the training machine"


def dataset_type(source: str, title: str) -> str:
    """Return the name of a dataset in a model-index: its Hub id, or its title as one word."""
    return hub_id(source) or re.sub(r"\W+", "_", title).strip("_").lower() or "data"


def _is_plain(value: Any) -> bool:
    """Return whether a setting is informative, and not a path of this machine."""
    return value is not None and not (isinstance(value, str) and os.path.isabs(value))
