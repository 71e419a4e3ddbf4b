"""The results of a run that grounds phrases, for reading."""

import shlex
from collections.abc import Sequence
from typing import Any


def summarise_grounding(results: dict[str, Any], model: str, again: Sequence[str]) -> str:
    """Return what `hf-prompt train` prints: chance, zero-shot, each seed, mean and deviation, the regions' oracle.

    Args:
        results: as `results.json` holds them.
        model: folder of the first seed's model.
        again: the command that tests it once more.
    """
    lines = [*_accuracies(results), "", f"Try it with: hf-prompt app {shlex.quote(model)}"]
    return "\n".join([*lines, f"Test again with: {shlex.join(again)}"])


def _accuracies(results: dict[str, Any]) -> list[str]:
    shots = f"{results['shots']} expression{'s' * (results['shots'] > 1)}" if results["shots"] else "all expressions"
    rows = {"chance, a random candidate region": results["tests"]["test"]["chance"]["accuracy"]}
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
