"""Batches of items that are decoded by processes or threads, before the model waits for them."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset


BATCHES_AHEAD = 2
"""Number of batches that are decoded while an accelerator computes."""


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_num_workers(device_type: str | None = None) -> int:
    """Return the default number of processes that decode items.

    With an accelerator, these are all cores but one, shared by the training processes of this machine. On the CPU
    there are none, because the model uses all cores: threads decode each batch before the model computes.

    Args:
        device_type: type of the device that the model is on. Default: the accelerator, if there is one.
    """
    on_cpu = not torch.accelerator.is_available() if device_type is None else device_type == "cpu"
    if on_cpu:
        return 0
    return max(num_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)) - 1, 0)


def load_batches(
    dataset: Any,
    batch_size: int,
    device: torch.device,
    num_workers: int = 0,
    collate_fn: Callable[[list[Any]], Any] | None = None,
) -> Iterator[Any]:
    """Yield the batches of a dataset in its order, on the device.

    With processes, batches are decoded while the model computes. Without processes, as many threads as torch uses
    decode the items of a batch: on the CPU when it is needed, because the model and the decoding would otherwise
    compete for the cores; with an accelerator up to `BATCHES_AHEAD` batches ahead.

    Args:
        dataset: map-style dataset. Its items are read by several threads if `num_workers` is 0.
        batch_size: number of items per batch.
        device: device of the model, to which the tensors of mappings are moved.
        num_workers: number of processes that decode items.
        collate_fn: function that makes a batch of items. Default: `default_collate`.
    """
    on_cpu = device.type == "cpu"
    if num_workers == 0:
        dataset = ReadByThreads(dataset)
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=min(num_workers, -(-len(dataset) // batch_size)),  # more would have no batch
        pin_memory=device.type == "cuda",
        collate_fn=collate_fn,
    )
    for batch in loader if on_cpu or num_workers else read_ahead(iter(loader), BATCHES_AHEAD):
        yield moved(batch, device)


def moved(batch: Any, device: torch.device) -> Any:
    """Return a mapping with its tensors on a device; anything else is returned unchanged."""
    if not isinstance(batch, Mapping) or device.type == "cpu":
        return batch
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
        for name, value in batch.items()
    }


def read_ahead(batches: Iterator[Any], depth: int) -> Iterator[Any]:
    """Yield the same batches, of which up to `depth` are read ahead by a thread.

    Args:
        batches: the batches. An error is raised when its batch would be yielded.
        depth: number of batches.
    """
    end = object()
    pool = ThreadPoolExecutor(1)
    try:
        waiting = deque(pool.submit(next, batches, end) for _ in range(depth))
        while (batch := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, batches, end))
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)


class DecodedDataset(Dataset):
    """Base class of datasets whose items are decoded when they are read: threads read the items of a batch.

    Decoding and resizing release Python's lock, so that threads use several cores without the memory and the start of
    processes. In the processes of a data loader, torch uses one thread.
    """

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """Return the items of a batch, in its order; PyTorch's data loader calls it.

        As many threads as torch uses read them, each of which reads consecutive ones.

        Args:
            indices: indices of the items.
        """
        threads = min(torch.get_num_threads(), len(indices))
        if threads < 2:
            return [self[index] for index in indices]
        share = -(-len(indices) // threads)
        parts = [indices[start : start + share] for start in range(0, len(indices), share)]
        with ThreadPoolExecutor(len(parts)) as pool:
            read = pool.map(lambda part: [self[index] for index in part], parts)
            return [item for part in read for item in part]


class ReadByThreads(DecodedDataset):
    """Dataset with the items of another one, of which threads read those of a batch.

    Args:
        dataset: map-style dataset.
    """

    def __init__(self, dataset: Any):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]
