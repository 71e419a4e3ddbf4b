"""Results of a classifier's run as text, with commands to run next."""

import os
import shlex
from typing import Any

from hf_prompt_models.metrics.classification import harmonic_mean
from hf_prompt_models.metrics.guessing import TOP


LABEL_WIDTH = 40
SHOWN_CLASSES = 5
ZERO_SHOT = "zero-shot, hand-written prompt"


def summarise(results: dict[str, Any]) -> str:
    """Return the text that `hf-prompt train` prints.

    For each test set, it has chance, zero-shot, each seed, mean and deviation.
    """
    tests, method, kind = results["tests"], results["method"], results["kind"]
    shots = f"{results['shots']} shot{'s' if results['shots'] > 1 else ''}" if results["shots"] else "all examples"
    rows: dict[str, dict[str, float | None]] = {
        name: {role: values.get(role) for role in tests} for name, values in guesses(tests).items()
    }
    rows[ZERO_SHOT] = {role: test["zero_shot"]["accuracy"] for role, test in tests.items()}
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
        lines += ["", f"{'':<{LABEL_WIDTH}} " + "  ".join(f"{r:>{widths[r]}}" for r in tests) + f"  {title:>7}"]
    for name, row in rows.items():
        cells = [_percent(value).rjust(widths[role] if len(tests) > 1 else 0) for role, value in row.items()]
        complete = {role: value for role, value in row.items() if value is not None}
        lines.append(
            f"{name:<{LABEL_WIDTH}} "
            + "  ".join(cells)
            + _cell(sum_up(complete) if len(complete) == len(row) else None, title)
        )
    if several:
        cells = [
            f"{mean[role]:7.2%} ± {deviation[role]:.2%}".rjust(widths[role] if len(tests) > 1 else 0) for role in tests
        ]
        lines.append(
            f"{method + ', mean ± deviation':<{LABEL_WIDTH}} " + "  ".join(cells) + _cell(sum_up(mean), title)
        )
    for role, test in tests.items():
        if "top5_accuracy" in shown_metrics(test):
            top5 = [run["tests"][role]["top5_accuracy"] for run in results["seeds"].values()]
            hand_written = test["zero_shot"]["top5_accuracy"]
            of = "" if len(tests) == 1 else f", {role}"
            chance = f"chance {TOP / test['classes']:.2%}, " if test["classes"] else ""
            mean_of = f" (mean of {len(top5)} seeds)" if several else ""
            learned = sum(top5) / len(top5)
            lines.append(f"Top-5 accuracy{of}: {chance}zero-shot {hand_written:.2%}, {method} {learned:.2%}{mean_of}")
    lines += describe_calibration(results)
    lines += advise_class_names(results)
    data, again = results["data"], []
    if "split" in data:
        held_out = f"held out of {data['train']} by --test_fraction {data['test_fraction']:g}"
        lines.append(f"The test {kind}s were {held_out}. They are listed in {data['split']}.")
        run = shlex.quote(os.path.dirname(data["split"]) or ".")
        named = f" --class_names {shlex.quote(results['class_names']['file'])}" if "class_names" in results else ""
        reading = "".join(f" --{name} {shlex.quote(value)}" for name, value in data.get("reading", {}).items())
        again = [f"Test again with: hf-prompt evaluate {run} --test_dir {shlex.quote(data['split'])}{reading}{named}"]
    lines += _saved(next(iter(results["seeds"].values())))
    model = shlex.quote(next(iter(results["seeds"].values()))["model"])
    example = {"image": "photo.jpg", "video": "clip.mp4"}[kind]
    return "\n".join(
        [
            *lines,
            "",
            f"Predict with: hf-prompt predict {model} {example}",
            f"Try it with: hf-prompt app {model}",
            *again,
        ]
    )


def describe_calibration(results: dict[str, Any]) -> list[str]:
    """Return a line for each seed that `--calibrate` was requested for, with the temperature or why there is none."""
    lines, kind = [], results["kind"]
    for seed, run in results["seeds"].items():
        if "calibration" not in run:
            continue
        title, found = f"Calibration, seed {seed}:", run["calibration"]
        if found is None:
            lines.append(f"{title} not possible, because no class has two {kind}s that differ, one to hold out.")
            continue
        errors = (
            f"the calibration error is {found['calibration_error']:.2%} without and {found['calibrated_error']:.2%} "
            f"with a fitted temperature, and the negative log-likelihood {found['negative_log_likelihood']:.3f} and "
            f"{found['calibrated_log_likelihood']:.3f}"
        )
        verdict = (
            f"temperature {found['temperature']:.3g}, saved with the model"
            if found["temperature"] != 1.0
            else "no temperature, because it does not help"
        )
        lines.append(f"{title} {verdict}. On {found['examples']} held-out training {kind}s, {errors}.")
    return lines


def advise_class_names(results: dict[str, Any]) -> list[str]:
    """Return a line that suggests better class names, if zero-shot does not recognise some classes."""
    weak = results["zero_shot"].get("least_recognised", [])
    if not weak:
        return []
    shown = ", ".join(f"{name} {recall:.0%}" for name, recall in weak[:SHOWN_CLASSES])
    more = f" and {len(weak) - SHOWN_CLASSES} more" if len(weak) > SHOWN_CLASSES else ""
    return [
        (
            f"For {len(weak)} class{('es' if len(weak) > 1 else '')}, the zero-shot accuracy is not above chance: "
            f"{shown}{more}. If other names describe them better, pass these with --class_names FILE."
        )
    ]


def _saved(run: dict[str, Any]) -> list[str]:
    """Return lines with the sizes of the model's weights and of the backbone's tokenizer in the model folder."""
    if "bytes" not in run:  # results of an earlier version
        return []
    weights, tokenizer = (f"{run['bytes'][name] / 1000:,.1f} kB" for name in ("weights", "tokenizer"))
    of_tokenizer = (
        f"and the backbone's tokenizer ({tokenizer})" if run["bytes"]["tokenizer"] else "without a tokenizer"
    )
    return ["", f"Saved: {weights} of weights {of_tokenizer}"]


def shown_metrics(test: dict[str, Any]) -> list[str]:
    """Return the names of a test's informative metrics.

    Left out are top-5 accuracies of at most five classes, which are always 100 %, and an accuracy that repeats a mean
    average precision.

    Args:
        test: A test of `results.json`, with `classes` and the metrics under `zero_shot`.
    """
    names = list(test["zero_shot"])
    hidden = {"accuracy"} if "mean_average_precision" in names else set()
    if (test.get("classes") or TOP + 1) <= TOP:
        hidden.add("top5_accuracy")
    return [name for name in names if name not in hidden]


def guesses(tests: dict[str, Any], metric: str = "accuracy") -> dict[str, dict[str, float]]:
    """Return the scores of guessing, by row title and role of the test set.

    Args:
        tests: Tests of `results.json`; those of earlier versions have no chance.
        metric: Name of the metric.
    """
    rows: dict[str, dict[str, float]] = {}
    for role, test in tests.items():
        chance = test.get("chance", {})
        if metric in chance:
            rows.setdefault("chance", {})[role] = chance[metric]
        frequent = test.get("most_frequent_class")
        if metric == "accuracy" and frequent is not None and frequent > chance["accuracy"] + 1e-9:
            rows.setdefault("always the most frequent class", {})[role] = frequent
    return rows


def _measure(test: dict[str, Any]) -> str:
    return "Mean average precision" if "mean_average_precision" in test["zero_shot"] else "Accuracy"


def _percent(value: float | None) -> str:
    return f"{'–':>7}" if value is None else f"{value:7.2%}"


def _cell(value: float | None, title: str) -> str:
    return "" if value is None else f"  {value:.2%}".rjust(max(len(title), 7) + 2)


def _harmonic_mean(row: dict[str, float]) -> float:
    return harmonic_mean(row["base"], row["new"])


def _targets_mean(row: dict[str, float]) -> float:
    targets = [value for role, value in row.items() if role != "source"]
    return sum(targets) / len(targets)
