"""Tables and curves of many runs, as the task of each run defines them."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_prompt_models.tasks.base import Task, all_tasks
from hf_prompt_models.tasks.results import RunResults, not_a_result
from hf_prompt_models.tasks.sections import Section, escape
from hf_prompt_models.training.plots import plot_accuracy_by_shots
from hf_prompt_models.utils.files import write_text


REPORT_FILE = "report.md"


def task_of_results(results: RunResults) -> Task[Any]:
    """Return the task of a run by its results. Results of earlier versions name the kind of example instead.

    Raises:
        ValueError: If no task writes such results.
    """
    value = results.value
    kind = "expression" if "test_expressions" in (value.get("data") or {}) else value.get("kind", "image")
    for task in all_tasks().values():
        if value.get("task") in ({task.name} | task.names_in_results) or ("task" not in value and kind == task.kind):
            return task
    raise not_a_result(results.path, f"the task {str(value.get('task', kind))[:80]!r} does not exist.")


def build_sections(runs: Sequence[RunResults]) -> list[Section]:
    """Return the tables of runs. Tasks with the same `build_sections` share tables."""
    tasks = [task_of_results(run) for run in runs]
    sections = []
    for build in dict.fromkeys(task.build_sections for task in all_tasks().values()):
        if group := [run for run, task in zip(runs, tasks, strict=True) if task.build_sections == build]:
            sections += build(group)
    return sections


def write_report(runs: Sequence[RunResults], output_dir: str | os.PathLike) -> str:
    """Write `report.md` and its figures.

    Args:
        runs: Result of `read_results`.
        output_dir: Folder to write to.

    Returns:
        The tables as Markdown, without the figures.
    """
    output_dir = Path(output_dir)
    sections = build_sections(runs)
    output_dir.mkdir(parents=True, exist_ok=True)
    blocks, taken = ["# Results"], set()
    for section in sections:
        blocks.append(section.markdown())
        for curves in section.curves:
            name = stem = re.sub(r"[^A-Za-z0-9.]+", "-", f"few-shot {curves.title}")[:100].strip("-.")
            number = 1
            while name.lower() in taken:  # lower case, because some file systems ignore case
                number += 1
                name = f"{stem}-{number}"
            taken.add(name.lower())
            plot_accuracy_by_shots(
                curves.lines,
                curves.zero_shot,
                curves.title,
                output_dir / f"{name}.png",
                curves.kind,
                curves.chance,
                curves.measure,
            )
            blocks.append(f"![{escape(curves.title)}]({name}.png)")
    if commands := [run.command for run in runs if run.command]:
        blocks.append("## Commands\n\n" + "\n".join(f"    {' '.join(command.split())}" for command in commands))
    write_text(output_dir / REPORT_FILE, "\n\n".join(blocks) + "\n")
    return "\n\n".join(section.markdown() for section in sections)
