"""Ctrl-C in training: the step is finished and saved, so that the run goes on from there."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class StopCallback(TrainerCallback):
    """Lets what a signal does wait until the end of a step and a checkpoint of it; a second signal does not wait."""

    def __init__(self) -> None:
        self._stop: Callable[[], Any] | None = None

    @contextmanager
    def listening(self, alone: bool) -> Iterator[None]:
        """While this lasts, Ctrl-C (SIGINT) waits, and SIGTERM if the program has a Python function for it.

        Args:
            alone: whether this is the only process: several would save, and stop, after different steps.
        """
        replaced = {}
        if alone and threading.current_thread() is threading.main_thread():  # others may set no handlers
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
        if self._stop is None:
            return
        if args.save_strategy == "no":
            self._stop()
        control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._stop is not None:
            self._stop()
