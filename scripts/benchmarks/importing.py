"""Measure how long `import hf_prompt_models` takes on top of what a program over CLIP imports, and `hf-prompt --help`.

Each is a new process, one after the other in every round; the fastest of all rounds counts, as files are then in the
machine's memory. Beside torch, that is transformers' `CLIPModel` and the Auto classes.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator

from .measuring import describe_machine, markdown_table


ARMS = {
    "torch, `CLIPModel` and the Auto classes": (
        "import torch; from transformers import AutoConfig, AutoModel, AutoModelForImageClassification, "
        "AutoProcessor, CLIPModel"
    ),
    "then `import hf_prompt_models`": "import hf_prompt_models",
}
TIMED = (
    "import time; began = time.perf_counter(); {}; print(time.perf_counter() - began); "
    "began = time.perf_counter(); {}; print(time.perf_counter() - began)"
)
HELP = "from hf_prompt_cli.main import main; main(['--help'])"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=5, help="rounds, of which the fastest counts (default: 5)")


def run(arguments: argparse.Namespace) -> Iterator[str]:
    yield describe_machine()
    first, added = ARMS.values()
    code = TIMED.format(first, added)
    rounds = []
    for _ in range(arguments.repeats):
        seconds = [float(line) for line in _output(code).split()]
        began = f"import time; began = time.perf_counter(); {HELP}; print(time.perf_counter() - began)"
        rounds.append([*seconds, float(_output(began).split()[-1])])
    fastest = [min(column) for column in zip(*rounds, strict=True)]
    names = [*ARMS, "`hf-prompt --help`"]
    rows = [
        [name, f"{seconds:.2f}", f"{seconds / fastest[0]:.3f}"] for name, seconds in zip(names, fastest, strict=True)
    ]
    yield "### Seconds to import\n\n" + markdown_table(["what", "seconds", "of the first"], rows)


def _output(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
