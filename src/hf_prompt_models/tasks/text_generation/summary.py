"""Results of a run that generates text, as text and tables."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_prompt_models.tasks.results import RunResults
from hf_prompt_models.tasks.score_tables import ScoredRun, numbers, score_sections, scored, settings_of, steps_of
from hf_prompt_models.tasks.sections import Section
from hf_prompt_models.tasks.text_generation.baselines import BLIND_FILE
from hf_prompt_models.training.run_folder import seed_words


PREDICTIONS_FILE, FIGURE, CURVE = "predictions.jsonl", "written.png", "learning_curve.png"
WIDTH = 18


def summarise_generation(results: dict[str, Any]) -> str:
    """Return the table that `hf-prompt train` prints.

    It has the scores of each seed, with images and with black ones, then mean and population deviation.
    """
    seeds, data = results["seeds"], results["data"]
    lines = [
        (
            f"{results['method']}, trained on {data['train_examples']} examples, tested on "
            f"{data['test_examples']} others:"
        )
    ]
    if (constant := results["most_frequent_answer"]) is not None:
        lines.append(f"{'constant answer':<{WIDTH}} {describe_metrics(constant['test'])} ({constant['answer']!r})")
    for seed, one in seeds.items():
        lines.append(f"{seed_words(seed):<{WIDTH}} {describe_metrics(one['test'])}")
        if "blind" in one:
            lines += _blind_lines(one["blind"], data["test_examples"])
    if len(seeds) > 1:
        lines.append(f"{'mean ± deviation':<{WIDTH}} {_means(results['metrics'])}")
        if "blind" in results:
            lines.append(f"{'  black images':<{WIDTH}} {_means(results['blind'])}")
    model = Path(next(iter(seeds.values()))["model"])
    blind_rows = f", with black images {model / BLIND_FILE}" if "blind" in results else ""
    return "\n".join(
        [
            *lines,
            "",
            f"Generated texts: {model / PREDICTIONS_FILE}{blind_rows}; examples in {model / FIGURE}",
            f"Generate more with: hf-prompt predict {shlex.quote(str(model))} --image photo.jpg --title 'a mug'",
            f"Try it with: hf-prompt app {shlex.quote(str(model))}",
        ]
    )


def _blind_lines(blind: dict[str, Any], total: int) -> list[str]:
    lines = [f"{'  black images':<{WIDTH}} {describe_metrics(blind['test'])}"]
    if blind["examples"] < total:
        lines[0] += f" (on {blind['examples']} of the examples)"
        lines.append(f"{'  with images':<{WIDTH}} {describe_metrics(blind['seeing'])} (on the same examples)")
    return lines


def _means(metrics: dict[str, dict[str, float]]) -> str:
    return ", ".join(f"{name} {each['mean']:.3f} ± {each['std']:.3f}" for name, each in metrics.items())


def describe_metrics(metrics: dict[str, float]) -> str:
    """Return scores on one line."""
    return ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())


def build_sections(runs: Sequence[RunResults]) -> list[Section]:
    """Return the tables of scores of runs that generate text."""
    return score_sections(scored(runs, scored_run))


def scored_run(run: RunResults) -> ScoredRun:
    """Return the scores of a run, with those of one answer to all questions and of black images."""
    value, data, seeds = run.value, run.value["data"], run.value["seeds"]
    baselines: dict[str, list[dict[str, float]]] = {}
    if constant := value.get("most_frequent_answer"):
        baselines["constant answer"] = [numbers(constant["test"])]
    for each in seeds.values():
        if "blind" in each:
            shown = each["blind"]["examples"]
            part = "" if shown == data["test_examples"] else f", on {shown} examples"
            baselines.setdefault(f"black images{part}", []).append(numbers(each["blind"]["test"]))
    return ScoredRun(
        path=run.path,
        title="Generated texts",
        method=value["method"],
        backbone=f"{value['backbone']} + {value['vision_model']}",
        test=(data.get("test_name") or data["name"], data["test_examples"], data["test"]),
        traits=settings_of(run)
        | {
            "decoding": str(value.get("decoding") or {}),
            "trained on": f"{data['train']}, {data['train_examples']} examples",
            "steps": steps_of(run),
        },
        seeds=[numbers(each["test"]) for each in seeds.values()],
        baselines=baselines,
    )
