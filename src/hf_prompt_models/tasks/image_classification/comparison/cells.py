"""Cells of a comparison: one ordinary training run for each method, number of shots and seed."""

import logging
import os
import shlex
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import torch
from transformers import HfArgumentParser, TrainingArguments
from transformers.utils import logging as transformers_logging

from hf_prompt_models.modeling_text_prompt_utils import shared_texts
from hf_prompt_models.tasks.arguments import RunArguments
from hf_prompt_models.tasks.classification.shared import Shared
from hf_prompt_models.tasks.image_classification.comparison.arguments import CompareArguments
from hf_prompt_models.tasks.image_classification.comparison.methods import Method, methods_named
from hf_prompt_models.tasks.image_classification.run import ImageClassificationRun
from hf_prompt_models.tasks.image_classification.task import TASK
from hf_prompt_models.tasks.run import train_seeds
from hf_prompt_models.training.run_folder import MAX_BYTES, RESULTS_FILE
from hf_prompt_models.training.run_start import arguments_by_seed
from hf_prompt_models.training.settings import with_laptop_defaults
from hf_prompt_models.utils.files import read_json, write_json


RUNS = "runs"
CELL_FILE = "cell.json"
"""File that is written last into the folder of a cell, which is complete if it exists."""
PROG = "hf-prompt compare"


@dataclass(frozen=True)
class Cell:
    """A method with a number of shots and a seed.

    Attributes:
        method: Name of the method.
        shots: Training images per class.
        seed: The seed.
    """

    method: str
    shots: int
    seed: int

    def folder(self, output_dir: str | os.PathLike) -> Path:
        """Return the output folder of the cell's run."""
        return Path(output_dir) / RUNS / self.method / f"shots-{self.shots}" / f"seed-{self.seed}"

    def seconds(self, output_dir: str | os.PathLike) -> float | None:
        """Return the seconds that a complete cell took, or `None` for one that is not complete."""
        folder = self.folder(output_dir)
        try:
            found = read_json(folder / CELL_FILE, MAX_BYTES, "records of cells")
        except FileNotFoundError:
            return None
        match found:
            case {"seconds": int() | float() as seconds}:
                return float(seconds)
        raise ValueError(f"{folder / CELL_FILE} is not the record of a cell. Remove {folder} to run the cell again.")

    def results(self, output_dir: str | os.PathLike) -> dict[str, Any]:
        """Return the `results.json` of a complete cell."""
        return read_json(self.folder(output_dir) / RESULTS_FILE, MAX_BYTES, "results")


@dataclass
class Prepared:
    """Training run of a method, with its data read and checked.

    Attributes:
        method: The method.
        arguments: Arguments of the run.
        training: Training arguments, by seed.
        run: The run.
    """

    method: Method
    arguments: RunArguments
    training: dict[int, TrainingArguments]
    run: ImageClassificationRun


class CellRunner:
    """Runs the cells of a comparison in one process, which share data, checks, backbone and features.

    Args:
        arguments: Arguments of the comparison.
    """

    def __init__(self, arguments: CompareArguments):
        self.arguments = arguments
        self.shared = Shared()
        self._parsers: dict[str, HfArgumentParser] = {}

    def given(self, method: Method, shots: int, seeds: Sequence[int], output_dir: str | os.PathLike) -> dict[str, Any]:
        """Return the flags of `hf-prompt train` for a method."""
        flags = self.arguments.of_training()
        if flags["recipe"] == "laptop":
            flags |= method.recipe.stored_views()
        return flags | dict(method.flags) | {"shots": shots, "seeds": list(seeds), "output_dir": str(output_dir)}

    def prepare(
        self, method: Method, shots: int, seeds: Sequence[int], output_dir: str | os.PathLike, workers: int = 0
    ) -> Prepared:
        """Read and check the data of a method's run, as `hf-prompt train` does.

        Args:
            method: The method.
            shots: Training images per class.
            seeds: The seeds.
            output_dir: Folder of the run.
            workers: Number of processes that load images.

        Raises:
            ValueError: For data or arguments that cannot be used.
        """
        recipe = method.recipe
        given = self.given(method, shots, seeds, output_dir)
        given |= {"disable_tqdm": self.arguments.disable_tqdm, "dataloader_num_workers": workers}
        given |= {"overwrite_output_dir": True}
        if method.command not in self._parsers:
            self._parsers[method.command] = TASK.training_parser(recipe, PROG)
        arguments = TASK.run_arguments(recipe, self._parsers[method.command], with_laptop_defaults(recipe, given))
        # A cell that is interrupted starts over.
        arguments.training = {k: v for k, v in arguments.training.items() if k != "save_steps"}
        arguments.training |= {"save_strategy": "no", "report_to": "none"}
        training = arguments_by_seed(arguments.training, seeds, TASK.backbones(recipe, arguments), arguments.run)
        run = ImageClassificationRun(recipe, arguments, training, self.shared)
        run.draws_figures = False
        return Prepared(method, arguments, training, run)

    def command(self, method: Method, shots: int, seed: int, output_dir: str | os.PathLike) -> str:
        """Return the command line of `hf-prompt train` that trains and tests a cell."""
        words = ["hf-prompt", "train", method.command]
        for name, value in self.given(method, shots, [seed], output_dir).items():
            values = value if isinstance(value, list) else [str(value).lower() if isinstance(value, bool) else value]
            words += [f"--{name}", *map(str, values)]
        return shlex.join(words)

    def run(self, cell: Cell) -> None:
        """Train and test a cell, unless it is complete.

        Args:
            cell: The cell.
        """
        output_dir = self.arguments.output_dir
        if cell.seconds(output_dir) is not None:
            return
        began = time.perf_counter()
        (method,) = methods_named([cell.method])
        folder = cell.folder(output_dir)
        with quiet(), one_thread(), shared_texts(self.shared.texts):
            prepared = self.prepare(method, cell.shots, [cell.seed], folder)
            for settings in prepared.training.values():
                settings.disable_tqdm = True
            command = self.command(method, cell.shots, cell.seed, folder)
            train_seeds(TASK, method.recipe, prepared.arguments, prepared.run, prepared.training, command)
        write_json(folder / CELL_FILE, {"seconds": round(time.perf_counter() - began, 3)})


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one core, so that results do not depend on the number of processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out warnings about the data, which were printed before the first cell."""
    logger = logging.getLogger("hf_prompt_models")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


_RUNNER: CellRunner | None = None
"""Runner of a worker process."""


def _begin_worker(arguments: CompareArguments) -> None:
    """Prepare a worker process, which ends when the main process does."""
    global _RUNNER
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends its workers
    main = parent_process()
    assert main is not None
    threading.Thread(target=_end_with, args=(main,), daemon=True).start()
    transformers_logging.disable_progress_bar()
    _RUNNER = CellRunner(replace(arguments, disable_tqdm=True))


def _end_with(main: Any) -> None:
    """End this process when the main process ends, also if it is killed."""
    main.join()
    os._exit(1)


def _run_in_worker(cell: Cell) -> Cell:
    assert _RUNNER is not None
    _RUNNER.run(cell)
    return cell


def run_cells(runner: CellRunner, cells: Sequence[Cell], workers: int) -> Iterator[Cell]:
    """Run cells and yield each when it is complete.

    Args:
        runner: Runner of this process, which runs the cells if `workers` is 1.
        cells: The cells, of which the first are started first.
        workers: Number of processes.
    """
    if workers == 1:
        for cell in cells:
            runner.run(cell)
            yield cell
        return
    executor = ProcessPoolExecutor(workers, get_context("spawn"), _begin_worker, (runner.arguments,))
    try:
        for done in as_completed([executor.submit(_run_in_worker, cell) for cell in cells]):
            yield done.result()
    except BaseException:
        for process in list(executor._processes.values()):
            process.terminate()
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    executor.shutdown()
