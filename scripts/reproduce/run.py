#!/usr/bin/env python
"""Make a published table and print measured next to published numbers.

    python scripts/reproduce/run.py --list
    python scripts/reproduce/run.py kgcoop --data_dir data --output_dir runs --dry_run
    python scripts/reproduce/run.py coop --data_dir data --output_dir runs --rows caltech101 eurosat --settings 1 16
    python scripts/reproduce/run.py maple --data_dir data --output_dir runs --rows dtd -- --bf16 true

The tables, their commands and their numbers, each with its source, are in tables.json next to this file. Runs whose
results are in the output folder are not repeated. Flags behind `--` are passed to the first command of each run.
"""

import argparse
import itertools
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_prompt_cli.console import printing
from hf_prompt_cli.main import main as hf_prompt


TABLES = Path(__file__).with_name("tables.json")
AVERAGE = "average"
"""Row with the mean over the other rows, if all of them were measured."""
ALL_SETTINGS = "*"
"""Setting of numbers that do not depend on it."""


@dataclass(frozen=True)
class Run:
    """One cell of a table: the commands that measure it.

    Attributes:
        row: name of the row, such as a dataset.
        setting: number of shots, ….
        commands: arguments of `hf-prompt`.
        results: the JSON file that the last command writes.
        requires: paths of the data and checkpoints.
    """

    row: str
    setting: str
    commands: list[list[str]]
    results: Path
    requires: list[Path]

    def is_complete(self) -> bool:
        """Return whether the results are there, of all seeds: `train` writes them again after each one."""
        if not self.results.is_file():
            return False
        found = json.loads(self.results.read_text(encoding="utf-8")).get("seeds", {})
        return len(found) >= len(self.seeds())

    def is_interrupted(self) -> bool:
        """Return whether a run was started and has not written all of its results."""
        return not self.is_complete() and next(self.results.parent.glob("**/run.json"), None) is not None

    def seeds(self) -> list[str]:
        """Return the values of the last `--seeds` of the first command."""
        words = self.commands[0]
        if "--seeds" not in words:
            return []
        after = words[len(words) - words[::-1].index("--seeds") :]
        return list(itertools.takewhile(lambda word: not word.startswith("--"), after))


@dataclass(frozen=True)
class Published:
    """A published number in %, its source, and whether the source was read or only recalled."""

    value: float
    source: str
    verified: bool


def read_tables() -> dict[str, Any]:
    """Return the content of tables.json: `tables`, and `without`, the methods that have no table, with the reason."""
    return json.loads(TABLES.read_text(encoding="utf-8"))


def runs_of(table: dict[str, Any], arguments: argparse.Namespace) -> Iterator[Run]:
    """Yield the runs of a table that the command line selects.

    Raises:
        ValueError: if a selected row or setting is not in the table.
    """
    for kind, names, known in (
        ("row", arguments.rows, list(table["rows"])),
        ("setting", arguments.settings, table["settings"]),
    ):
        if unknown := sorted(set(names or []) - set(known)):
            raise ValueError(f"The table has no {kind} {unknown[0]!r}. It has {', '.join(known)}.")
    for setting in arguments.settings or table["settings"]:
        for row in arguments.rows or table["rows"]:
            output = Path(arguments.output_dir, arguments.table, row, setting)
            values = table["rows"][row] | {
                "backbone": arguments.backbone or table["backbone"],
                "data": arguments.data_dir,
                "output": output,
                "setting": setting,
            }
            commands = [[word.format(**values) for word in shlex.split(command)] for command in table["commands"]]
            commands[0] += arguments.passed_on
            results = Path(table["results"].format(**values))
            yield Run(row, setting, commands, results, [Path(path.format(**values)) for path in table["requires"]])


def check_data(runs: Sequence[Run], table: dict[str, Any]) -> None:
    """Check that the data of all runs are there, before the first one starts.

    Raises:
        FileNotFoundError: if some are missing. The message names them, and what the table needs.
    """
    missing = {path: run.row for run in runs if not run.is_complete() for path in run.requires if not path.exists()}
    if missing:
        path, row = next(iter(missing.items()))
        others = f" and {len(missing) - 1} other paths" if len(missing) > 1 else ""
        raise FileNotFoundError(
            f"There is no {path}{others}, which {row} needs. Put into --data_dir: {table['data']}. Or choose the rows "
            "that you have data for with --rows."
        )


def measure(run: Run, table: dict[str, Any]) -> dict[str, float]:
    """Run the commands unless their results are there, and return the metrics in %. Interrupted training is resumed.

    Raises:
        SystemExit: if a command fails.
    """
    if not run.is_complete():
        resuming = ["--resume_from_checkpoint", "true"] if run.is_interrupted() else []
        for command in run.commands:
            command += resuming if command[0] == "train" else []
            print(f"\n$ hf-prompt {shlex.join(command)}", flush=True)
            if code := hf_prompt(command):
                sys.exit(code)
    results = json.loads(run.results.read_text(encoding="utf-8"))
    measured = {}
    for metric, path in table["measured"].items():
        value = results
        for step in path:
            value = value[step]
        measured[metric] = 100 * float(value)
    return measured


def published(table: dict[str, Any], setting: str, row: str, metric: str) -> list[Published]:
    """Return the published numbers of a cell, verified ones first."""
    found = [
        Published(value, each["source"], each["verified"])
        for each in table["published"]
        for key in (setting, ALL_SETTINGS)
        if (value := each["values"].get(key, {}).get(row, {}).get(metric)) is not None
    ]
    return sorted(found, key=lambda each: not each.verified)


def lay_out(table: dict[str, Any], measured: dict[tuple[str, str], dict[str, float]]) -> str:
    """Return the table as text: one line for each measured metric and published number.

    Args:
        table: the table.
        measured: metrics by setting and row.
    """
    lines = [["row", table["setting_name"], "metric", "measured", "published", "difference", "source"]]
    for setting in table["settings"]:
        rows = {row: metrics for (of, row), metrics in measured.items() if of == setting}
        if rows.keys() == table["rows"].keys():
            means = {name: sum(each[name] for each in rows.values()) / len(rows) for name in table["measured"]}
            if "harmonic mean" in means:  # the papers give that of the averages
                means["harmonic mean"] = 2 * means["base"] * means["new"] / (means["base"] + means["new"])
            rows[AVERAGE] = means
        for row, metrics in rows.items():
            for metric, value in metrics.items():
                cells = [row, setting, metric, f"{value:.2f}"]
                for each in published(table, setting, row, metric):
                    mark = "" if each.verified else "*"
                    difference = f"{value - each.value:+.2f}"
                    lines.append([*cells, f"{each.value:.2f}{mark}", difference, each.source])
                if not published(table, setting, row, metric):
                    lines.append([*cells, "", "", ""])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
    notes = [table["note"]] if "note" in table else []
    if any(line[4].endswith("*") for line in lines):
        notes.append("* recalled, and not verified in the source")
    return "\n".join([f"{table['title']}, in %", "", text, *(["", *notes] if notes else [])])


def list_tables(known: dict[str, Any]) -> str:
    """Return the tables with their titles and data, and the methods without one."""
    lines = []
    for name, table in known["tables"].items():
        lines += [f"{name}: {table['title']}", f"    rows: {', '.join(table['rows'])}", f"    data: {table['data']}"]
    without = [f"{method}: no table, as {reason}" for method, reason in known["without"].items()]
    return "\n".join([*lines, *without])


def make_parser(tables: dict[str, Any]) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python scripts/reproduce/run.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("table", nargs="?", choices=list(tables), metavar="TABLE", help=f"one of {', '.join(tables)}")
    parser.add_argument("--list", action="store_true", help="list the tables and the data that they need")
    parser.add_argument("--data_dir", help="folder of the data sets and checkpoints")
    parser.add_argument("--output_dir", help="folder for the runs")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="rows to measure (default: all)")
    parser.add_argument("--settings", nargs="+", metavar="N", help="shots, … to measure (default: all)")
    parser.add_argument("--backbone", help="folder or Hub id of another backbone (default: that of the table)")
    parser.add_argument("--dry_run", action="store_true", help="only print the commands")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run this program and return its exit code."""
    known = read_tables()
    words = list(argv)
    passed_on = words[words.index("--") + 1 :] if "--" in words else []
    parser = make_parser(known["tables"])
    arguments = parser.parse_args(words[: words.index("--")] if "--" in words else words)
    arguments.passed_on = passed_on
    if arguments.list:
        print(list_tables(known))
        return 0
    if arguments.table is None or arguments.data_dir is None or arguments.output_dir is None:
        parser.error("name a TABLE, --data_dir and --output_dir. --list lists the tables.")
    table = known["tables"][arguments.table]
    try:
        runs = list(runs_of(table, arguments))
        if arguments.dry_run:
            print("\n".join(f"hf-prompt {shlex.join(command)}" for run in runs for command in run.commands))
            return 0
        check_data(runs, table)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    measured = {(run.setting, run.row): measure(run, table) for run in runs}
    print(f"\n{lay_out(table, measured)}")
    return 0


if __name__ == "__main__":
    with printing():
        sys.exit(main(sys.argv[1:]))
