"""Results of a run that grounds phrases, as text."""

import shlex
from collections.abc import Sequence
from typing import Any


def summarise_grounding(results: dict[str, Any], model: str, again: Sequence[str]) -> str:
    """Return the text that `hf-prompt train` prints.

    It has the accuracies of chance, zero-shot and each seed, mean and deviation, and the share of phrases with a
    correct candidate region.

    Args:
        results: Content of `results.json`.
        model: Folder of the first seed's model.
        again: Command that tests the model again.
    """
    lines = [*_accuracies(results), "", f"Try it with: hf-prompt app {shlex.quote(model)}"]
    return "\n".join([*lines, f"Test again with: {shlex.join(again)}"])


def _accuracies(results: dict[str, Any]) -> list[str]:
    shots = f"{results['shots']} expression{'s' * (results['shots'] > 1)}" if results["shots"] else "all expressions"
    rows = {"chance (random candidate region)": results["tests"]["test"]["chance"]["accuracy"]}
    rows |= {"zero-shot": results["zero_shot"]["accuracy"]}
    rows |= {f"{results['method']}, {shots}, seed {s}": run["accuracy"] for s, run in results["seeds"].items()}
    lines = [
        f"Accuracy on {results['data']['test_expressions']} expressions, of which "
        f"{results['zero_shot']['proposal_oracle']:.2%} have a right candidate region:",
        *(f"{name:<40} {value:7.2%}" for name, value in rows.items()),
    ]
    if len(results["seeds"]) > 1:
        mean, deviation = results["accuracy"]["mean"], results["accuracy"]["std"]
        lines.append(f"{results['method'] + ', mean ± deviation':<40} {mean:7.2%} ± {deviation:.2%}")
    return lines
