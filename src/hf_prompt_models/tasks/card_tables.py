"""What cards of runs are put together from: facts as a list, scores as tables and as lines of the model-index."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from hf_prompt_models.backbones.packaged import PLAYGROUND, portable_name
from hf_prompt_models.hub.model_card import one_line
from hf_prompt_models.metrics.classification import mean_and_deviation
from hf_prompt_models.training.command_line import for_strangers


@dataclass(frozen=True)
class Metric:
    """A score, for reading and for the Hub.

    Attributes:
        title: what people call it.
        type: what the Hub calls it.
        form: how it is written in a table.
    """

    title: str
    type: str
    form: str = ".2%"


@dataclass(frozen=True)
class TestedOn:
    """The test set of a model-index, fields as of `EvalResult`."""

    task_type: str
    dataset_type: str
    dataset_name: str
    dataset_config: str | None = None
    dataset_split: str = "test"

    def results(self, metric: Metric, by_seed: Mapping[str, float], seed: str) -> list[EvalResult]:
        """What each seed reached, this checkpoint's first, and the mean of several.

        Args:
            metric: of which score.
            by_seed: its values.
            seed: this checkpoint's.
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
    """Scores of one kind, of all seeds.

    Attributes:
        title: of which kind; stands over the first column.
        metrics: what they are, by name.
        seeds: values by name, by seed.
        before: likewise, of models that had not been trained.
        blind: likewise, of models that were shown black images.
        chance: expected values of random answers, by name; not all metrics need one.
    """

    title: str
    metrics: Mapping[str, Metric]
    seeds: Mapping[str, Mapping[str, float]]
    before: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    blind: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    chance: Mapping[str, float] = field(default_factory=dict)

    def table(self, seed: str) -> str:
        """Rows: chance, each seed before and after training, mean and deviation. Columns: the metrics."""
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
        """The same as lines of a model-index; `suffix` stands behind a metric's title."""
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
    """What the row of a seed is called on the card of another, or its own."""
    return f"seed {each}{' (this checkpoint)' if each == seed else ''}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def facts(results: Mapping[str, Any], seed: str, own: Mapping[str, str]) -> str:
    """What led to a checkpoint, as a list: method and data, `own` facts by title, seeds, settings, versions; and the
    command."""
    settings = [f"{name}={one_line(str(value))}" for name, value in results["arguments"].items() if _is_plain(value)]
    lines = {
        "Method": f"{results['method']}, on {one_line(results['data']['name'])}",
        **own,
        "Seeds": f"{', '.join(results['seeds'])}; this checkpoint is of seed {seed}, after "
        f"{results['seeds'][seed]['steps']} steps",
        "Settings": f"`{', '.join(settings)}`" if settings else "",
        "Versions": ", ".join(f"{name} {version}" for name, version in results["versions"].items()),
    }
    listed = "\n".join(f"- **{title}**: {text}" for title, text in lines.items() if text)
    return f"{listed}\n\n```bash\n{for_strangers(results['command'])}\n```"


def hub_id(source: str) -> str | None:
    """The id of what is loaded from the Hub (a data set's split behind it is left out); `None` of a folder, or of a
    backbone that ships with this package."""
    name = str(source).partition(":")[0]
    if name == PLAYGROUND or os.path.exists(name):
        return None
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name


def backbone_title(source: str) -> str:
    """Return what a card calls a backbone: its Hub id, or the last part of a local path, which others do not have."""
    if name := hub_id(source):
        return one_line(name)
    if portable_name(source) == PLAYGROUND:
        return "playground, the tiny model that ships with the package"
    return f"{one_line(Path(source).name)}, a local folder of the training machine"


def dataset_type(source: str, title: str) -> str:
    """What a model-index calls a data set: its id, or its title as a word."""
    return hub_id(source) or re.sub(r"\W+", "_", title).strip("_").lower() or "data"


def _is_plain(value: Any) -> bool:
    """Whether a setting tells something, and no path of this machine."""
    return value is not None and not (isinstance(value, str) and os.path.isabs(value))
