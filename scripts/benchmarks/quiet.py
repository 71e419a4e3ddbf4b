"""How much of the machine other processes use during a measurement."""

import time
from types import TracebackType

import psutil


QUIET_CORES = 0.1
"""Number of cores that other processes may use on average in a measurement that counts as quiet."""


class CoreWatch:
    """Context that measures how many cores other processes use on average.

    Attributes:
        others: number of cores, after the context.
    """

    others: float = 0.0

    def __enter__(self) -> "CoreWatch":
        self._began, self._machine, self._own = time.monotonic(), machine_seconds(), own_seconds()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        elapsed = max(time.monotonic() - self._began, 1e-9)
        busy = (machine_seconds() - self._machine) - (own_seconds() - self._own)
        self.others = max(busy / elapsed, 0.0)

    @property
    def is_quiet(self) -> bool:
        """Whether others use at most `QUIET_CORES` cores."""
        return self.others <= QUIET_CORES


def machine_seconds() -> float:
    """Return the seconds that all cores have computed, together, since the machine was started."""
    times = psutil.cpu_times()
    return sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal"))


def own_seconds() -> float:
    """Return the seconds that this process and its descendants have computed."""
    process = psutil.Process()
    times = process.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in process.children(recursive=True):
        try:
            of_child = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += of_child.user + of_child.system + of_child.children_user + of_child.children_system
    return total


def other_cores(seconds: float = 2.0) -> float:
    """Return how many cores other processes use now, on average over some seconds."""
    with CoreWatch() as watch:
        time.sleep(seconds)
    return watch.others
