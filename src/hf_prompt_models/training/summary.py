"""A run's results as a table to read, and what to type next."""

import shlex
from typing import Any

from hf_prompt_models.metrics.classification import harmonic_mean


def summarise(results: dict[str, Any]) -> str:
    """What `hf-prompt train` prints: zero-shot, each seed, mean and population deviation, for each test set."""
    tests, method, kind = results["tests"], results["method"], results["kind"]
    shots = f"{results['shots']} shot{'s' if results['shots'] > 1 else ''}" if results["shots"] else "all examples"
    rows = {"zero-shot, hand-written prompt": {role: test["zero_shot"]["accuracy"] for role, test in tests.items()}}
    for seed, run in results["seeds"].items():
        rows[f"{method}, {shots}, seed {seed}"] = {role: run["tests"][role]["accuracy"] for role in tests}
    mean = {role: test["accuracy"]["mean"] for role, test in tests.items()}
    deviation = {role: test["accuracy"]["std"] for role, test in tests.items()}
    extra = {"base-to-new": ("H", _harmonic_mean), "cross-dataset": ("targets' mean", _targets_mean)}
    several = len(results["seeds"]) > 1

    lines = [
        f"{_measure(test)} on {test[f'test_{kind}s']} test {kind}s of {test['classes']} classes"
        + (":" if len(tests) == 1 else f" ({role}{'' if role == test['title'] else ', ' + test['title']})")
        for role, test in tests.items()
    ]
    widths = {role: max(len(role), 17 if several else 7) for role in tests}
    title, sum_up = extra.get(results["protocol"], ("", lambda row: None))
    if len(tests) > 1:
        lines += ["", f"{'':<40} " + "  ".join(f"{role:>{widths[role]}}" for role in tests) + f"  {title:>7}"]
    for name, row in rows.items():
        cells = [
            f"{value:.2%}".rjust(widths[role]) if len(tests) > 1 else f"{value:7.2%}" for role, value in row.items()
        ]
        lines.append(f"{name:<40} " + "  ".join(cells) + _cell(sum_up(row), title))
    if several:
        cells = [
            f"{mean[role]:7.2%} ± {deviation[role]:.2%}".rjust(widths[role] if len(tests) > 1 else 0) for role in tests
        ]
        lines.append(f"{method + ', mean ± deviation':<40} " + "  ".join(cells) + _cell(sum_up(mean), title))
    for role, test in tests.items():
        if "top5_accuracy" in test:
            top5 = [run["tests"][role]["top5_accuracy"] for run in results["seeds"].values()]
            by_hand = test["zero_shot"]["top5_accuracy"]
            of = "" if len(tests) == 1 else f", {role}"
            lines.append(f"Top-5 accuracy{of}: zero-shot {by_hand:.2%}, {method} {sum(top5) / len(top5):.2%}")
    model = shlex.quote(next(iter(results["seeds"].values()))["model"])
    example = {"image": "photo.jpg", "video": "clip.mp4"}[kind]
    return "\n".join(
        [*lines, "", f"Predict with: hf-prompt predict {model} {example}", f"Try it with: hf-prompt app {model}"]
    )


def _measure(test: dict[str, Any]) -> str:
    return "Mean average precision" if "mean_average_precision" in test["zero_shot"] else "Accuracy"


def _cell(value: float | None, title: str) -> str:
    return "" if value is None else f"  {value:.2%}".rjust(max(len(title), 7) + 2)


def _harmonic_mean(row: dict[str, float]) -> float:
    return harmonic_mean(row["base"], row["new"])


def _targets_mean(row: dict[str, float]) -> float:
    targets = [value for role, value in row.items() if role != "source"]
    return sum(targets) / len(targets)
