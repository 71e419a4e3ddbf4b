"""Results of a run with videos and texts, as text and tables."""

import shlex
from collections.abc import Sequence
from typing import Any

from hf_prompt_models.models.alpro.recipe_alpro import PRETRAINING, PROMPTER, QUESTIONS, RETRIEVAL
from hf_prompt_models.tasks.results import RunResults
from hf_prompt_models.tasks.score_tables import ScoredRun, numbers, score_sections, scored, settings_of, steps_of
from hf_prompt_models.tasks.sections import Section
from hf_prompt_models.tasks.video_text.card import DIRECTIONS
from hf_prompt_models.training.run_folder import seed_words


PLACES = (1, 5, 10)
"""Values of k in R@k, the share of queries whose match is among the first k."""
TITLES = {
    RETRIEVAL: "Video-text retrieval",
    PRETRAINING: "Video-text pre-training, tested by retrieval",
    PROMPTER: "Entity prompter, tested by retrieval",
    QUESTIONS: "Video question answering",
}
COLUMNS = {f"recall_at_{k}": f"R@{k}" for k in PLACES} | {"median_rank": "median rank", "mean_rank": "mean rank"}
TABLE_DIRECTIONS = {"text_to_video": "text to video", "video_to_text": "video to text"}
NEXT = {
    PRETRAINING: ["Fine-tune it with: hf-prompt train alpro --task retrieval --backbone {} …"],
    PROMPTER: ["Pre-train with it: hf-prompt train alpro --task pretraining --prompter {} …"],
    RETRIEVAL: [
        "Search with: hf-prompt predict {} clips/ --text 'a ball rolls to the left'",
        "Try it with: hf-prompt app {}",
    ],
    QUESTIONS: [
        "Ask with: hf-prompt predict {} clip.mp4 --question 'what colour is the ball?'",
        "Try it with: hf-prompt app {}",
    ],
}
"""Commands to run next, after each task. {} is the folder of the model."""


def summarise(results: dict[str, Any]) -> str:
    """Return the lines that `hf-prompt train` prints."""
    task, data, kinds = results["task"], results["data"], results.get("kinds", {})
    lines = [f"{results['method']}, {task}: trained on {data['train_texts']} texts."]
    if data["skipped"]:
        lines.append(f"Skipped {len(data['skipped'])} videos that cannot be read.")
    if "answers" in results:
        left_out = (
            f" {results['left_out']} training questions have other answers and were left out."
            if results["left_out"]
            else ""
        )
        lines.append(
            f"{results['answers']} answers.{left_out} Without the videos, {results['answer_prior']:.2%} of "
            "the test questions are answered correctly."
        )
    for seed, one in results["seeds"].items():
        lines += ["", f"Seed {seed}, {data['test_texts']} texts on {data['test_videos']} videos"]
        lines += chance_lines(results)
        shown = shown_places(results.get("chance", {}))
        lines += [*metric_lines("before", one["before"], kinds, shown), *metric_lines("after", one, kinds, shown)]
    if len(results["seeds"]) > 1:
        mean, deviation = results["accuracy"]["mean"], results["accuracy"]["std"]
        name = "accuracy" if task == QUESTIONS else "R@1, text to video"
        lines += ["", f"{name}, mean ± deviation: {mean:.2%} ± {deviation:.2%}"]
    model = shlex.quote(next(iter(results["seeds"].values()))["model"])
    return "\n".join([*lines, "", *(line.format(model) for line in NEXT[task])])


def chance_lines(results: dict[str, Any]) -> list[str]:
    """Return lines with the scores of candidates in random order; no lines for question answering."""
    lines = []
    shown = shown_places(results.get("chance", {}))
    for name, chance in results.get("chance", {}).items():
        recalls = _recalls(chance, shown)
        lines.append(f"  chance  {DIRECTIONS[name]:<15} {recalls}   mean rank {chance['mean_rank']:.1f}")
    return lines


def shown_places(chances: dict[str, dict[str, float]]) -> list[int]:
    """Return the k of R@k that are informative. With at most k candidates, any order reaches 100 %."""
    return [k for k in PLACES if any(chance[f"recall_at_{k}"] < 1 for chance in chances.values())] or [PLACES[0]]


def _recalls(metrics: dict[str, float], shown: Sequence[int]) -> str:
    values = " ".join(f"{metrics[f'recall_at_{k}']:7.2%}" for k in shown)
    return f"R@{'/'.join(map(str, shown))} {values}"


def metric_lines(
    when: str, metrics: dict[str, Any], kinds: dict[str, int], shown: Sequence[int] = PLACES
) -> list[str]:
    """Return lines with the scores of a model.

    Args:
        when: Start of each line.
        metrics: The scores.
        kinds: Number of questions of each kind.
        shown: The k of R@k to show.
    """
    if "by_kind" in metrics:
        by_kind = ", ".join(f"{kind} {value:.2%} of {kinds[kind]}" for kind, value in metrics["by_kind"].items())
        return [f"  {when:<7} accuracy {metrics['accuracy']:7.2%}   {by_kind}"]
    lines = []
    for name, title in DIRECTIONS.items():
        ranks = f"median rank {metrics[name]['median_rank']:g}, mean {metrics[name]['mean_rank']:.1f}"
        lines.append(f"  {when:<7} {title:<15} {_recalls(metrics[name], shown)}   {ranks}")
    if "losses" in metrics:
        losses = ", ".join(f"{name.removesuffix('_loss')} {value:.3f}" for name, value in metrics["losses"].items())
        lines.append(f"  {when:<7} held-out losses {losses}")
    return lines


def summarise_evaluation(results: dict[str, Any]) -> str:
    """Return the lines that `hf-prompt evaluate` prints."""
    data = results["data"]
    lines = [f"{data['test_texts']} texts on {data['test_videos']} videos"]
    if data["skipped"]:
        lines.append(f"Skipped {len(data['skipped'])} videos that cannot be read.")
    lines += chance_lines(results)
    if "answers" in results:
        lines.append(f"  {results['answers']} possible answers; chance {1 / results['answers']:.2%}")
    for seed, metrics in results["seeds"].items():
        shown = shown_places(results.get("chance", {}))
        lines += metric_lines(seed_words(seed), metrics, results.get("kinds", {}), shown)
        if metrics.get("outside"):
            lines.append(
                f"  {metrics['outside']} right answers are not in the answer list of the model, and count as wrong."
            )
    if len(results["seeds"]) > 1:
        lines.append(f"mean ± deviation  {results['accuracy']['mean']:.2%} ± {results['accuracy']['std']:.2%}")
    return "\n".join(lines)


def build_sections(runs: Sequence[RunResults]) -> list[Section]:
    """Return the tables of scores of runs with videos and texts."""
    return score_sections(scored(runs, scored_run))


def scored_run(run: RunResults) -> ScoredRun:
    """Return the scores of a run, with those before training and of answers without the videos."""
    value, data, seeds = run.value, run.value["data"], run.value["seeds"]
    baselines = {"before training": [_columns(each["before"]) for each in seeds.values()]}
    if "chance" in value:
        baselines["chance"] = [_columns(value["chance"])]
    if "answer_prior" in value:
        baselines["without the videos"] = [{"accuracy": float(value["answer_prior"])}]
    return ScoredRun(
        path=run.path,
        title=TITLES[value["task"]],
        method=value["method"],
        backbone=value["backbone"],
        test=(data.get("test_name") or data["name"], data["test_texts"], data["test"]),
        traits=settings_of(run)
        | {"trained on": f"{data['train']}, {data['train_texts']} examples", "steps": steps_of(run)},
        seeds=[_columns(each) for each in seeds.values()],
        baselines=baselines,
    )


def _columns(metrics: dict[str, Any]) -> dict[str, float]:
    """Return the scores of both directions, or of answers, keyed by the titles of their columns."""
    if "by_kind" in metrics:
        return {"accuracy": float(metrics["accuracy"])} | numbers(metrics["by_kind"])
    return {
        f"{title}: {COLUMNS[name]}": value
        for direction, title in TABLE_DIRECTIONS.items()
        for name, value in numbers(metrics[direction]).items()
        if name in COLUMNS
    }
