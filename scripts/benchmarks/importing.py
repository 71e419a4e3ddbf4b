"""Benchmark `import hf_prompt_models` on top of the imports that a CLIP program needs anyway, and `hf-prompt --help`.

The imports of a CLIP program are torch, `CLIPModel` and the Auto classes of transformers. Each measurement starts a
new process. The fastest of all rounds is reported, because then the files are in the file system cache.
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
    """Add the flags of the benchmark."""
    parser.add_argument(
        "--repeats", type=int, default=5, help="number of rounds; the fastest is reported (default: 5)"
    )


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Run the benchmark and yield its results as Markdown, part by part."""
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
