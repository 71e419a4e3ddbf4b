"""Progress of training: its bar, and an estimate of the time that is left."""

import sys
import time
from collections.abc import Sequence
from typing import Any

from tqdm.auto import tqdm
from transformers import ProgressCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments


LONG_SECONDS = 600
"""Time of a run in seconds above which the estimate also lists how to shorten it."""


class PaceCallback(TrainerCallback):
    """Prints, after the first steps, an estimate of the remaining time.

    If the run takes more than `LONG_SECONDS`, the estimate is also printed with `--disable_tqdm true`, and lists the
    flags that would shorten the run.

    Attributes:
        later_seeds: number of seeds that are trained after this one.
        advice: sentences about flags that would shorten the run.
    """

    STEPS = 5

    def __init__(self) -> None:
        self.later_seeds = 0
        self.advice: Sequence[str] = ()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Record the first step and the time."""
        self._first, self._began = state.global_step, time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Print the estimate after `STEPS` steps."""
        done = state.global_step - self._first
        if done == 1:
            self._began = time.monotonic()  # the first step also starts the data loading
        left = state.max_steps - state.global_step
        if done != self.STEPS or left <= 0 or not state.is_world_process_zero:
            return
        per_step = (time.monotonic() - self._began) / (done - 1)
        for line in self._estimate(per_step, left, state.max_steps, not args.disable_tqdm):
            tqdm.write(line, file=sys.stderr)

    def _estimate(self, per_step: float, left: int, steps: int, is_shown: bool) -> list[str]:
        """Return the lines to print.

        Args:
            per_step: seconds per step.
            left: number of steps that are left of this seed.
            steps: number of steps of a seed.
            is_shown: whether to report short times, too.
        """
        complete = per_step * (left + self.later_seeds * steps)
        lines = []
        if is_shown or complete > LONG_SECONDS:
            lines.append(f"About {in_words(per_step * left)} left for the remaining {left} steps of this seed.")
        if complete > LONG_SECONDS:
            if self.later_seeds:
                lines.append(f"About {in_words(complete)} left for all {self.later_seeds + 1} seeds.")
            if self.advice:
                lines += ["To shorten a run like this:", *(f"  {sentence}" for sentence in self.advice)]
        return lines


class FeaturePace:
    """Prints, after the first batches, how long the computation of features takes if it takes long.

    Args:
        total: number of items.
        advice: sentences about flags that would shorten it.
    """

    BATCHES = 3

    def __init__(self, total: int, advice: Sequence[str] = ()):
        self.total, self.advice = total, advice
        self._batches = self._done = self._first = 0
        self._began = 0.0

    def update(self, items: int) -> None:
        """Count the items of a batch whose features are computed.

        Args:
            items: number of items.
        """
        self._batches += 1
        self._done += items
        if self._batches == 1:  # the first batch also starts the loading
            self._first, self._began = self._done, time.monotonic()
        if self._batches != self.BATCHES:
            return
        seconds = (self.total - self._done) * (time.monotonic() - self._began) / (self._done - self._first)
        if seconds <= LONG_SECONDS:
            return
        lines = [f"About {in_words(seconds)} left to compute the features of {self.total - self._done} items."]
        if self.advice:
            lines += ["To shorten a run like this:", *(f"  {sentence}" for sentence in self.advice)]
        for line in lines:
            tqdm.write(line, file=sys.stderr)


def in_words(seconds: float) -> str:
    """Return a rounded duration such as "40 s", "12 min" or "3.5 h"."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{round(seconds / 60)} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


class QuietProgressCallback(ProgressCallback):
    """Progress bar that shows the loss next to it instead of printing a line for every log."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Show the logged values next to the progress bar."""
        if state.is_world_process_zero and self.training_bar is not None and logs:
            shown = {
                name: logs[name] for name in ("loss", "learning_rate", "eval_accuracy", "eval_cider_d") if name in logs
            }
            self.training_bar.set_postfix(shown)
