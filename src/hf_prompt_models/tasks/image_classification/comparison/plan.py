"""Plan of a comparison: what is compared, which is kept in its folder, so that the same command resumes it."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_prompt_models.tasks.image_classification.comparison.arguments import CompareArguments
from hf_prompt_models.tasks.image_classification.comparison.cells import RUNS, Cell
from hf_prompt_models.tasks.image_classification.comparison.cost import Cost
from hf_prompt_models.training.run_folder import MAX_BYTES, PLAN_FILE
from hf_prompt_models.utils.files import read_json, write_json


@dataclass
class Plan:
    """What is compared.

    Attributes:
        settings: Values on which the results of every cell depend. They may not change.
        request: Methods, shots, seeds and time that were requested. If they change, the methods are chosen again.
        methods: Names of the compared methods.
        shots: Numbers of training images per class.
        left_out: For each method that was left out, the reason.
        left_out_shots: For each number of shots that was left out, the reason.
        costs: Estimated times, by method.
    """

    settings: dict[str, Any]
    request: dict[str, Any]
    methods: list[str]
    shots: list[int]
    left_out: dict[str, str] = field(default_factory=dict)
    left_out_shots: dict[int, str] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)

    def seconds_of(self, cell: Cell) -> float:
        """Return the estimated time of a cell."""
        return self.costs[cell.method].cells[cell.shots]

    def cells(self, seeds: list[int]) -> list[Cell]:
        """Return all cells, by method, shots and seed."""
        return [Cell(method, shots, seed) for method in self.methods for shots in self.shots for seed in seeds]

    def write(self, output_dir: str | os.PathLike) -> None:
        """Write the plan to the folder of the comparison."""
        value = vars(self) | {"costs": {name: cost.as_json() for name, cost in self.costs.items()}}
        write_json(Path(output_dir) / PLAN_FILE, value)


def read_plan(output_dir: str | os.PathLike) -> Plan | None:
    """Return the plan in a folder, or `None` if there is none.

    Raises:
        ValueError: If the file is not a plan.
    """
    path = Path(output_dir) / PLAN_FILE
    if not path.is_file():
        return None
    value = read_json(path, MAX_BYTES, "plans")
    try:
        costs = {name: Cost.from_json(cost) for name, cost in value["costs"].items()}
        left_out_shots = {int(shots): reason for shots, reason in value["left_out_shots"].items()}
        return Plan(**value | {"costs": costs, "left_out_shots": left_out_shots})
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the plan of a comparison. Choose another --output_dir.") from error


def flag_of(name: str, plan: Plan) -> str:
    """Return how to run a method that was left out."""
    return (
        f"Add it with --methods {name}." if name in plan.costs else f"`hf-prompt train {name} --help` shows its flags."
    )


def request_of(arguments: CompareArguments) -> dict[str, Any]:
    """Return the flags that decide what is compared."""
    budget = None if arguments.methods is not None else arguments.time_budget
    return {"methods": arguments.methods, "shots": arguments.shots, "seeds": arguments.seeds, "time_budget": budget}


def check_folder(output_dir: str | os.PathLike, settings: dict[str, Any]) -> Plan | None:
    """Return the plan of a folder, and refuse a folder that a comparison with other settings, or another run, is in.

    Args:
        output_dir: The folder.
        settings: Settings of this comparison.

    Raises:
        ValueError: If the folder is refused; the message names what differs.
    """
    directory = Path(output_dir)
    plan = read_plan(directory)
    if plan is None:
        if directory.is_dir() and any(each.name == RUNS or each.suffix == ".json" for each in directory.iterdir()):
            raise ValueError(
                f"--output_dir {directory} contains other files than a comparison. Choose another folder."
            )
        return None
    settings = json.loads(json.dumps(settings))
    names = dict.fromkeys([*settings, *plan.settings])
    changed = [name for name in names if settings.get(name) != plan.settings.get(name)]
    if changed:
        differing = "; ".join(
            f"{name} {_shown(plan.settings.get(name))} then, {_shown(settings.get(name))} now" for name in changed
        )
        raise ValueError(
            f"--output_dir {directory} contains a comparison with other settings: {differing}. Use the settings of "
            "that comparison, or choose another --output_dir. Only methods, shots and seeds can be added."
        )
    return plan


def _shown(value: Any) -> str:
    return "the default" if value is None else str(value)[:100]
