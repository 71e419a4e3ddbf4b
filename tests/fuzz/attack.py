"""Run readers on mutated files in this process, with limits: `python -m tests.fuzz.attack --inputs 10000 images`.

Each input has its own random seed, the name of the reader and the number of the input, so `--only NUMBER` makes it
again and shows the result. The kernel limits the memory to 1 GiB more than at the start. Time is measured as processor
time, so that a busy machine does not count as a hang.
"""

import argparse
import collections
import json
import os
import random
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from types import FrameType
from typing import Any


os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
os.environ["OMP_NUM_THREADS"] = "1"

import logging

import torch
from transformers.utils import logging as transformers_logging

import hf_prompt_models
from tests.fuzz.cases import Case
from tests.fuzz.mutations import OUTSIDE, mutate


MAX_GROWTH = 2**30
MAX_SECONDS = 5
PACKAGE = str(Path(hf_prompt_models.__file__).parent)


class HangError(BaseException):
    """Not an Exception, so that no reader handles it like a damaged file."""


def find_cases() -> dict[str, Case]:
    from tests.fuzz import cases_lists, cases_media, cases_models

    return cases_lists.CASES | cases_media.CASES | cases_models.make_cases()


class Arena:
    """A folder that is restored after every input, next to one in which no file may be opened or created."""

    def __init__(self, case: Case, folder: Path):
        self.case = case
        self.folder = folder / "inside"
        self.outside = folder / OUTSIDE
        self.folder.mkdir()
        self.outside.mkdir()
        case.write(self.folder)
        self.good = {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        self.attacked = sorted({path for glob in case.attacked for path in self.folder.glob(glob)} & set(self.good))
        assert self.attacked, "nothing to attack"
        if not any(self.outside.iterdir()):
            from PIL import Image

            Image.new("RGB", (4, 4)).save(self.outside / "secret.png")
        self.kept = sorted(self.outside.rglob("*"))
        self.opened: list[str] = []
        sys.addaudithook(self._watch)

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            ours = path.startswith(f"{self.folder.parent}{os.sep}")
            if path.startswith(f"{self.outside}{os.sep}" if ours else ("/dev/", "/proc/self/mem", "/etc/")):
                self.opened.append(path)
        elif event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "socket.connect"):
            self.opened.append(f"{event} {arguments}")

    def set(self, name: str, number: int) -> None:
        rng = random.Random(f"{name}/{number}")
        path = rng.choice(self.attacked)
        content = mutate(path.name, self.good[path], rng)
        if content == self.good[path]:
            content = content[:-1]
        path.write_bytes(content)
        self.changed = path

    def names(self, error: Exception) -> bool:
        """Return whether an error names its file."""
        return str(self.folder) in str(error) or any(path.name in str(error) for path in self.good)

    def reset(self) -> None:
        for path in self.folder.rglob("*"):
            if path.is_file() and path not in self.good:
                path.unlink()
        for path, content in self.good.items():
            if path == self.changed or not path.is_file():
                path.write_bytes(content)
        self.opened.clear()


def problem(arena: Arena) -> tuple[str, str]:
    """How one reading went: ("read" | "refused" | "inherited" | "broken", what happened)."""
    signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
    try:
        arena.case.read(arena.folder)
        kind, said = "read", ""
    except (ValueError, OSError) as error:
        named = arena.names(error)
        kind, said = ("refused", str(error)) if named else ("broken", "unnamed: " + _trace(error))
        if kind == "broken" and arena.case.inherited and not _passed_through_us(error):
            kind = "inherited"
    except (Exception, HangError) as error:
        ours = not arena.case.inherited or _passed_through_us(error) or isinstance(error, HangError | MemoryError)
        kind, said = "broken" if ours else "inherited", _trace(error)
        if isinstance(error, TypeError) and _is_raised_by_us(error):  # a backbone of another type
            kind = "refused"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if arena.opened:
        return "broken", f"opened or ran {sorted(set(arena.opened))}"
    if sorted(arena.outside.rglob("*")) != arena.kept:
        return "broken", f"made {sorted(set(arena.outside.rglob('*')) - set(arena.kept))}"
    return kind, said


def _passed_through_us(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return any(frame.filename.startswith(PACKAGE) for frame in frames)


def _is_raised_by_us(error: BaseException) -> bool:
    """Whether it was raised on purpose, and did not happen."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return last.filename.startswith(PACKAGE) and (last.line or "").startswith("raise ")


def _trace(error: BaseException) -> str:
    lines = traceback.format_exception_only(error)
    frames = traceback.extract_tb(error.__traceback__)[1:]
    return f"{''.join(lines).strip()[:600]} | " + " < ".join(
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-1:-7:-1]
    )


def raise_hang(signum: int, frame: FrameType | None) -> None:
    raise HangError(f"more than {MAX_SECONDS} s")


def _bound_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MAX_GROWTH
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def attack(name: str, case: Case, numbers: range, verbose: bool = False, progress: Path | None = None) -> dict:
    """Run inputs through a reader.

    Returns:
        `counts` of each outcome and `broken`: the first numbers and messages of each kind of failure.
    """
    counts: collections.Counter[str] = collections.Counter()
    broken: dict[str, list[Any]] = {}
    inherited: collections.Counter[str] = collections.Counter()
    # Short and always the same: names of folders are part of files and so of the mutations.
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        root = Path(temporary)
        arena = Arena(case, root)
        os.chdir(arena.folder)
        try:
            case.read(arena.folder)  # the good files are read, and what is loaded late is loaded before memory counts
            _bound_memory()
            arena.opened.clear()
            for number in numbers:
                if progress is not None:
                    progress.write_text(f"{name}/{number}")
                arena.set(name, number)
                kind, said = problem(arena)
                counts[kind] += 1
                if verbose:
                    print(number, arena.changed.name, kind, said)
                if kind == "broken":
                    place = said.rpartition(" | ")[2][:100]
                    broken.setdefault(place, [0, number, arena.changed.name, said.replace(str(root), "")])[0] += 1
                if kind == "inherited":
                    inherited[said.rpartition(" | ")[2].partition(" < ")[0] + " " + said.partition(":")[0][:40]] += 1
                arena.reset()
        finally:
            os.chdir("/")
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return {
        "reader": name,
        "counts": dict(counts),
        "broken": list(broken.values())[:20],
        "inherited": dict(inherited.most_common(20)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*")
    parser.add_argument("--inputs", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--progress", type=Path)
    arguments = parser.parse_args()
    cases = find_cases()
    if unknown := set(arguments.readers) - set(cases):
        parser.error(f"there is no reader {sorted(unknown)}; there are {sorted(cases)}")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity(logging.CRITICAL)
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGPROF, raise_hang)
    numbers = range(arguments.first, arguments.first + arguments.inputs)
    if arguments.only is not None:
        numbers = range(arguments.only, arguments.only + 1)
    for name in arguments.readers or cases:
        found = attack(name, cases[name], numbers, arguments.only is not None, arguments.progress)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
