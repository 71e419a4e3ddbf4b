"""Handle Ctrl-C in training: the current step is completed and saved, so that the run can be resumed from it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class StopCallback(TrainerCallback):
    """Delays a signal until the current step is completed and saved; a second signal takes effect at once."""

    def __init__(self) -> None:
        self._stop: Callable[[], Any] | None = None

    @contextmanager
    def listening(self, alone: bool) -> Iterator[None]:
        """Delay Ctrl-C (SIGINT), and SIGTERM if it has a Python handler, within the context.

        Args:
            alone: whether this is the only process. With several processes, signals are not delayed, because the
                processes would save and stop after different steps.
        """
        replaced = {}
        if alone and threading.current_thread() is threading.main_thread():  # only it may set handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                before = signal.getsignal(number)
                if callable(before):
                    replaced[number] = before
                    signal.signal(number, self._waiting(before))
        try:
            yield
        finally:
            self._stop = None
            for number, before in replaced.items():
                signal.signal(number, before)

    def _waiting(self, handler: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], None]:
        def wait(number: int, frame: FrameType | None) -> None:
            if self._stop is not None:
                handler(number, frame)
            self._stop = lambda: handler(number, frame)

        return wait

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Request a checkpoint if a signal arrived, or stop at once if checkpoints are not saved."""
        if self._stop is None:
            return
        if args.save_strategy == "no":
            self._stop()
        control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stop after the checkpoint if a signal arrived."""
        if self._stop is not None:
            self._stop()
