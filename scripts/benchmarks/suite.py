"""Run all benchmarks of docs/performance.md on a quiet machine, and write the tables of the page.

Each benchmark runs in a process of its own, by its own command. Its tables, the time, and how many cores other
processes used meanwhile are written to a JSON file after each benchmark, so that a run that was stopped resumes with
the next one. A benchmark during which others used the machine is marked; without --allow_busy, none starts then.
--page puts the tables into docs/performance.md, between its `<!-- measured: … -->` comments.
"""

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers

from hf_prompt_models.backbones.packaged import CLIP_DIR
from hf_prompt_models.utils.files import write_json, write_text
from hf_prompt_models.utils.precision import has_native_bfloat16

from .measuring import MIB, markdown_table, matmul_rate
from .quiet import QUIET_CORES, CoreWatch, other_cores


SCRIPT = Path(__file__).parents[1] / "benchmark.py"
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
TEXT_METHODS = ("kgcoop", "prograd", "ivlp", "maple", "promptsrc", "tcp", "mmrl")
QUICK_CLIP = "--classes 3 --repeats 1"
WAIT_SECONDS = 60


@dataclass(frozen=True)
class Row:
    """One benchmark of the page.

    Attributes:
        name: name of the row, by which the page refers to it.
        command: arguments of `scripts/benchmark.py`.
        quick: arguments of a run of seconds, which only shows that the benchmark works.
    """

    name: str
    command: str
    quick: str


ROWS = (
    Row(
        "coop text",
        "coop --parts text --classes 10 100 397 --n_ctx 4 16 --layouts end --repeats 2",
        f"coop --parts text {QUICK_CLIP} --n_ctx 2 --layouts end --chunk 2",
    ),
    Row(  # in a process of its own, because memory that the others have used is not all returned
        "coop text 1000",
        "coop --parts text --classes 1000 --n_ctx 16 --layouts end --repeats 1",
        f"coop --parts text {QUICK_CLIP} --n_ctx 3 --layouts end --chunk 2",
    ),
    Row(
        "coop layouts",
        "coop --parts text --classes 100 --n_ctx 16 --repeats 2",
        f"coop --parts text {QUICK_CLIP} --n_ctx 2 --layouts middle --chunk 2",
    ),
    Row(
        "coop bf16",
        "coop --parts text --classes 100 --n_ctx 16 --layouts end --repeats 2 --autocast bf16",
        f"coop --parts text {QUICK_CLIP} --n_ctx 2 --layouts end --chunk 2 --autocast bf16",
    ),
    Row(
        "coop step",
        "coop --parts step evaluation --backbones vit-b-32 vit-b-16 --classes 100 --n_ctx 16 --layouts end "
        "--eval_batches 1 --repeats 2",
        f"coop --parts training {QUICK_CLIP} --n_ctx 2 --layouts end --steps 2 --batch_size 2",
    ),
    Row(
        "coop training",
        "coop --parts training --classes 10 --n_ctx 16 --layouts end class-specific",
        f"coop --parts training {QUICK_CLIP} --n_ctx 2 --layouts class-specific --steps 2 --batch_size 2",
    ),
    *(Row(method, f"{method} --classes 100 --repeats 2", f"{method} {QUICK_CLIP}") for method in TEXT_METHODS),
    Row(
        "cocoop",
        "cocoop --classes 100 --repeats 1",
        f"cocoop {QUICK_CLIP} --images 2 --measured_images 1",
    ),
    Row(
        "whole runs",
        "whole_run --runs 0 3",
        "whole_run --classes 3 --shots 2 --test_images 6 --seeds 2 --epochs 2 --measured_steps 1 --size 60 50 "
        "--backbone playground --runs 0 3",
    ),
    Row(  # for processors with bfloat16 instructions
        "whole runs views",
        "whole_run --runs 1 2",
        "whole_run --classes 3 --shots 2 --test_images 6 --seeds 1 --epochs 2 --measured_steps 1 --size 60 50 "
        "--backbone playground --runs 1",
    ),
    Row(
        "features",
        "features --precisions float32",
        "features --images 8 --batch_size 4 --backbones playground --repeats 1 --size 60 50 --precisions float32",
    ),
    Row(
        "features bf16",
        "features",
        "features --images 8 --batch_size 4 --backbones playground --repeats 1 --size 60 50",
    ),
    Row(
        "feature adapters",
        "feature_adapter",
        "feature_adapter --classes 3 --shots 2 --views 1 --measured_images 1",
    ),
    Row(
        "clips",
        "action_clip --parts clips training --num_workers 0 1",
        f"action_clip --parts clips --backbone {CLIP_DIR} --num_frames 2 --num_clips 2 --seconds 0.2 "
        "--clip_batch_size 2 --num_workers 0 --repeats 1",
    ),
    Row(
        "action_clip",
        "action_clip --parts text",
        f"action_clip --parts text --backbone {CLIP_DIR} --num_classes 3 --num_templates 2 --sampled_classes 2 "
        "--chunk 4 --num_frames 2 --eval_batch_sizes 1 --repeats 1",
    ),
    Row("cpt", "cpt", "cpt --regions 2 --size 64 48"),
    Row("generation", "mantis", "mantis --batch_size 1 --new_tokens 2 --title_tokens 2"),
    Row("alpro", "alpro", "alpro --clips 4 --texts 1 --k 2 --hidden_size 16 --num_layers 2 --image_size 32"),
    Row(
        "alpro packaged",
        "alpro --model playground --texts 200",
        "alpro --model playground --clips 3 --texts 1 --k 2",
    ),
    Row("import", "import", "import"),
)
"""The rows of the page, in its order."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the suite."""
    parser.add_argument(
        "--json", metavar="FILE", default="performance.json", help="file of the results (default: performance.json)"
    )
    parser.add_argument(
        "--rows",
        nargs="+",
        choices=[row.name for row in ROWS],
        metavar="NAME",
        help="benchmarks to run (default: all)",
    )
    parser.add_argument("--quick", action="store_true", help="run tiny sizes, which show only that everything works")
    parser.add_argument("--again", action="store_true", help="also run benchmarks whose results are in the file")
    parser.add_argument(
        "--allow_busy",
        action="store_true",
        help="also run while other processes use the machine; such results are marked",
    )
    parser.add_argument("--page", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument("--page_file", metavar="FILE", default=str(PAGE), help="another page to put the tables into")


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Run the benchmarks, and yield a line or the tables of each.

    Raises:
        ValueError: if other processes use the machine, a benchmark fails, or tiny sizes would reach the page.
    """
    if arguments.quick and arguments.page and Path(arguments.page_file) == PAGE:
        raise ValueError("--quick measures sizes that are too small for --page. Leave out one of them.")
    file = Path(arguments.json)
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"rows": {}}
    threads = ["--threads", str(arguments.threads)] if arguments.threads else []
    for row in ROWS:
        if arguments.rows and row.name not in arguments.rows:
            continue
        argv = shlex.split(row.quick if arguments.quick else row.command) + threads
        command = f"python scripts/benchmark.py {shlex.join(argv)}"
        if not arguments.again and results["rows"].get(row.name, {}).get("command") == command:
            yield f"{row.name}: its results are in {file}. --again runs it again."
            continue
        if not arguments.allow_busy:
            wait_until_quiet()
        results["machine"] = describe()
        results["rows"][row.name] = measured(argv) | {"command": command}
        write_json(file, results)
        yield f"{row.name}: {results['rows'][row.name]['markdown']}"
    if arguments.page:
        page = Path(arguments.page_file)
        write_text(page, with_tables(page.read_text(encoding="utf-8"), results))
        yield f"The tables are in {page}."


def wait_until_quiet() -> None:
    """Wait a while until other processes leave the machine alone.

    Raises:
        ValueError: if they still use it after `WAIT_SECONDS`.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while (others := other_cores()) > QUIET_CORES:
        if time.monotonic() > deadline:
            raise ValueError(
                f"Other processes use {others:.1f} cores of this machine, so that times would not be those of a quiet "
                "machine. Stop them and run the same command again, or pass --allow_busy to mark the results."
            )


def describe() -> dict[str, Any]:
    """Return the description of the machine, without its name."""
    has_bfloat16 = has_native_bfloat16(torch.device("cpu"))
    return {
        "processor": processor_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / MIB / 1024, 1),
        "native_bfloat16": has_bfloat16,
        "float32_gflops": round(matmul_rate() / 1e9, 1),
        # Without instructions for it, this would take minutes.
        "bfloat16_gflops": round(matmul_rate(dtype=torch.bfloat16) / 1e9, 1) if has_bfloat16 else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def processor_model() -> str:
    """Return the model of the processor."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def measured(argv: Sequence[str]) -> dict[str, Any]:
    """Run a benchmark in a new process, and return its results.

    Args:
        argv: arguments of `scripts/benchmark.py`.

    Raises:
        ValueError: if the benchmark fails; the message has the end of its output.
    """
    with tempfile.TemporaryDirectory() as folder, CoreWatch() as watch:
        output = Path(folder) / "tables.md"
        start = time.perf_counter()
        ended = subprocess.run(
            [sys.executable, str(SCRIPT), *argv, "--output", str(output)], capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - start
        if ended.returncode:
            raise ValueError(f"{shlex.join(argv)} ended with status {ended.returncode}: {ended.stderr[-2000:]}")
        markdown = output.read_text(encoding="utf-8").partition("```\n\n")[2].strip()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(seconds, 1),
        "cores_used_by_others": round(watch.others, 2),
        "is_quiet": watch.is_quiet,
        "tables": tables_of(markdown),
        "markdown": markdown,
    }


def tables_of(markdown: str) -> list[dict[str, Any]]:
    """Return the tables of a text: the heading above each, if any, and its rows, mappings by column.

    Columns of the same name, such as "times faster", get a number.
    """
    tables: list[dict[str, Any]] = []
    heading, names = None, None
    for line in markdown.splitlines():
        if line.startswith("### "):
            heading = line.removeprefix("### ").strip()
        if not line.startswith("|"):
            names = None
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if names is None:
            names = numbered(cells)
            tables.append({"heading": heading, "rows": []})
        elif not set("".join(cells)) <= set("-:"):
            tables[-1]["rows"].append(dict(zip(names, cells, strict=True)))
    return tables


def numbered(names: Sequence[str]) -> list[str]:
    """Return names, of which repeated ones get a number: a, b, a (2)."""
    return [
        name if name not in names[:place] else f"{name} ({names[: place + 1].count(name)})"
        for place, name in enumerate(names)
    ]


def with_tables(page: str, results: Mapping[str, Any]) -> str:
    """Return a page with the results between its comments `<!-- measured: NAME -->` and `<!-- end -->`.

    `<!-- measured: ONE + OTHER -->` is one table, with a column for the name. A place without results is unchanged.

    Args:
        page: the page.
        results: content of the JSON file.

    Raises:
        ValueError: if the page has a comment for a benchmark that does not exist.
    """
    known, measured = {row.name for row in ROWS}, results["rows"]

    def filled(found: re.Match[str]) -> str:
        names = found[1].split(" + ")
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"The page has a comment for {unknown[0]!r}, which is no benchmark. Remove the comment.")
        if not all(name in measured for name in names):
            return found[0]
        rows, machine = [measured[name] for name in names], results["machine"]
        commands = "\n".join(row["command"] for row in rows)
        busy = max(row["cores_used_by_others"] for row in rows)
        state = "" if all(row["is_quiet"] for row in rows) else f"**Other processes used {busy:g} cores.** "
        half = machine["bfloat16_gflops"]
        about = (
            f"{state}{max(row['date'] for row in rows)}, {machine['processor']}, {machine['cores']} cores, "
            f"{machine['float32_gflops']:g} GFLOP/s in float32{f' and {half:g} in bfloat16' if half else ''} "
            f"(products of 2048 x 2048 matrices){'' if half else ', no instructions for bfloat16'}."
        )
        tables = rows[0]["markdown"] if len(rows) == 1 else merged(names, rows)
        block = f"<!-- not run: a measurement -->\n\n```bash\n{commands}\n```"
        return f"<!-- measured: {found[1]} -->\n\n{block}\n\n{about}\n\n{tables}\n\n<!-- end -->"

    return re.sub(r"<!-- measured: (.+?) -->.*?<!-- end -->", filled, page, flags=re.DOTALL)


def merged(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return one table of the first tables of several benchmarks, with a column for their names."""
    header = ["method", *rows[0]["tables"][0]["rows"][0]]
    cells = [
        [name, *line.values()] for name, row in zip(names, rows, strict=True) for line in row["tables"][0]["rows"]
    ]
    return markdown_table(header, cells)
