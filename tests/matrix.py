"""The package with other versions of its dependencies: `make test-matrix`, or `python tests/matrix.py newest bare`.

Each cell is a virtual environment under `.matrix/`, which pip fills from the index, and a small selection of tests.
torch, which is large, is installed once for each Python version and shared by its cells. Only Python itself is needed.
"""

import argparse
import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


ROOT = Path(__file__).parent.parent
HOME = ROOT / ".matrix"

COMMON = (
    "test_modeling_common.py::test_a_method_is_found_by_its_model_type",
    "test_modeling_common.py::test_a_saved_model_loads_to_equal_logits",
    "test_modeling_common.py::test_the_folder_is_complete_for_the_pipeline",
    "test_modeling_common.py::test_bf16_loads_with_the_prompt_in_fp32_and_close_logits",
    "test_modeling_common_training.py::test_training_changes_what_is_learned_and_no_byte_of_the_backbone",
    "test_modeling_common_training.py::test_it_trains_under_bf16_autocast",
)
TESTS = (
    *(f"tests/{test}" for test in COMMON),
    "tests/test_lora.py",
    "tests/data/videos/test_without_av.py",
    "tests/models/alpro/test_saving.py",
)
VIDEO_TESTS = (
    "tests/data/videos/test_loading.py",
    "tests/hub/test_publishing.py::test_strangers_load_every_method_in_both_scopes_to_equal_outputs",
)
MARKERS = "not slow and not web and not hub and not variant"
RUNNERS = ("pytest", "pytest-timeout", "hypothesis")
SHOWN = ("transformers", "huggingface_hub", "datasets", "accelerate", "safetensors", "peft", "av", "torchvision")


@dataclass(frozen=True)
class Cell:
    """An environment to test in.

    Attributes:
        python: "oldest", the version in `python_requires`, or "newest", of the available versions.
        at_floor: packages that are installed in the oldest version that setup.cfg allows; "*": all of them.
        extra: packages that are installed in addition.
        without: packages that are uninstalled although the package requires them.
        is_common: whether to run the common tests of transformers (`make test-transformers`) instead of the selection.
    """

    python: str = "oldest"
    at_floor: tuple[str, ...] = ()
    extra: tuple[str, ...] = ("peft",)
    without: tuple[str, ...] = ()
    is_common: bool = False


CELLS = {
    "floors": Cell(at_floor=("*",)),
    "transformers-floor": Cell(at_floor=("transformers",)),
    "newest": Cell(),
    "bare": Cell(extra=(), without=("av",)),
    "newest-python": Cell(python="newest"),
    "newest-python-bare": Cell(python="newest", at_floor=("transformers",), extra=(), without=("av",)),
    "torchvision": Cell(python="newest", extra=("peft", "torchvision")),
    "transformers-tests": Cell(extra=("peft", "parameterized"), is_common=True),
}


class LeftOutError(Exception):
    """Raised if a cell cannot be created on this machine, with the reason as the message."""


def run(*command: str | Path, log: Path, check: bool = True) -> str:
    """Run a program and return its output, which is also appended to a log."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with log.open("a") as file:
        file.write(f"$ {' '.join(map(str, command))}\n{done.stdout}\n")
    if check and done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout)
    return done.stdout


def pip(python: Path, *arguments: str | Path, log: Path) -> None:
    run(python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments, log=log)


def floors() -> dict[str, str]:
    """The oldest version that setup.cfg allows, by package; torch is lent, in the one version of constraints.txt."""
    options = configparser.ConfigParser()
    options.read(ROOT / "setup.cfg")
    asked = options["options"]["install_requires"] + options["options.extras_require"]["peft"]
    return {name: version for name, version in re.findall(r"^([\w-]+)>=([\d.]+)", asked, re.M) if name != "torch"}


def torch_requirement() -> str:
    return next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))


def find_pythons(kind: str) -> list[Path]:
    """Interpreters to try, best first: on the path, and those of pyenv."""
    options = configparser.ConfigParser()
    options.read(ROOT / "setup.cfg")
    oldest = int(options["options"]["python_requires"].removeprefix(">=3."))
    minors = [oldest] if kind == "oldest" else range(oldest + 9, oldest, -1)
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = []
    for minor in minors:
        on_path = shutil.which(f"python3.{minor}")
        for each in (*([Path(on_path)] if on_path else []), *sorted(versions.glob(f"*/bin/python3.{minor}"))):
            # A shim of pyenv is on the path whether there is something behind it or not.
            if subprocess.run([each, "-c", "import ensurepip, venv"], capture_output=True).returncode == 0:
                found.append(each)
                break
    return found


def lend_torch(python: Path) -> Path:
    """The folder that holds torch, and what it needs, for an interpreter; made if needed."""
    version = run(python, "-c", "import sys; print(*sys.version_info[:2], sep='.')", log=HOME / "log").strip()
    folder = HOME / f"torch-{version}"
    if not (folder / "installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            pip(python, "install", "--target", folder, torch_requirement(), log=HOME / "log")
        except subprocess.CalledProcessError as error:
            raise LeftOutError(f"{torch_requirement()} has no build for Python {version}") from error
        (folder / "installed").touch()
    return folder


def make_environment(name: str, cell: Cell, fresh: bool, log: Path) -> Path:
    """Return the interpreter of a cell, and recreate its environment if its requirements changed or if `fresh`."""
    reason: Exception = LeftOutError(f"no Python that is {'newer than ' if cell.python == 'newest' else ''}the oldest")
    for python in find_pythons(cell.python):
        try:
            torch = lend_torch(python)
            break
        except LeftOutError as error:
            reason = error
    else:
        raise reason
    environment = HOME / name
    inside = environment / "bin" / "python"
    asked = f"{cell}\n{python}\n{torch_requirement()}\n{(ROOT / 'setup.cfg').read_text()}"
    if not fresh and (environment / "asked").exists() and (environment / "asked").read_text() == asked:
        return inside
    run(python, "-m", "venv", "--clear", environment, log=log)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "torch.pth").write_text(f"{torch}\n")  # behind the cell's own packages, which win
    pinned = {
        package: version for package, version in floors().items() if package in cell.at_floor or "*" in cell.at_floor
    }
    constraints = environment / "constraints.txt"
    lines = [torch_requirement(), *(f"{package}=={version}" for package, version in pinned.items())]
    constraints.write_text("\n".join(lines) + "\n")
    # Not compiled: most of what is installed is never imported.
    pip(inside, "install", "--no-compile", "-c", constraints, "-e", ".", *RUNNERS, *cell.extra, log=log)
    if cell.without:
        pip(inside, "uninstall", "--yes", *cell.without, log=log)
    if "torchvision" in cell.extra and "Error" in run(inside, "-c", "import torchvision", log=log, check=False):
        raise LeftOutError("torchvision has no build that fits this build of torch")
    (environment / "asked").write_text(asked)
    return inside


def run_cell(name: str, cell: Cell, fresh: bool) -> tuple[str, list[str], bool]:
    """What came of a cell, the versions that it had, and whether all is well."""
    log = HOME / f"{name}.log"
    log.unlink(missing_ok=True)
    try:
        python = make_environment(name, cell, fresh, log)
    except LeftOutError as error:
        return f"left out: {error}", [], True
    except subprocess.CalledProcessError as error:
        return f"FAILED to install: {error.stdout.strip().splitlines()[-1][:100]}", [], False
    code = (
        "import sys, torch\nfrom importlib.metadata import PackageNotFoundError, version\n"
        "print('%d.%d.%d' % sys.version_info[:3], torch.__version__)\n"
        f"for name in {SHOWN}:\n"
        "    try: print(version(name))\n"
        "    except PackageNotFoundError: print('-')"
    )
    versions = run(python, "-c", code, log=log).split()
    tests = TESTS if "av" in cell.without else (*TESTS, *VIDEO_TESTS)
    selection = ("pytest", "-q", "-p", "no:cacheprovider", "-m", MARKERS, *tests)
    said = run(python, "-m", *(("tests.transformers_common",) if cell.is_common else selection), log=log, check=False)
    last = said.strip().splitlines()[-1].strip("= ")
    passed = "passed" in last and not re.search("failed|error", last)
    return last if passed else f"FAILED: {last}", versions, passed


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", metavar="CELL", help=f"default: all of {', '.join(CELLS)}")
    parser.add_argument("--fresh", action="store_true", help="ask the index again what is newest")
    parsed = parser.parse_args(arguments)
    chosen = parsed.cells or list(CELLS)
    if unknown := set(chosen) - set(CELLS):
        parser.error(f"no such cell: {', '.join(sorted(unknown))}; there are {', '.join(CELLS)}")
    HOME.mkdir(exist_ok=True)
    well = True
    rows = [("cell", "Python", "torch", *SHOWN, "result")]
    for name in chosen:
        print(f"{name} ...", flush=True)
        result, versions, passed = run_cell(name, CELLS[name], parsed.fresh)
        well &= passed
        rows.append((name, *(versions or [""] * (len(SHOWN) + 2)), result))
        print(f"{name}: {result}", flush=True)
    print()
    for row in rows:
        print("| " + " | ".join(row) + " |")
        if row is rows[0]:
            print("|" + "---|" * len(row))
    print(f"\nEach cell's whole log is {HOME.relative_to(ROOT)}/<cell>.log.")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
