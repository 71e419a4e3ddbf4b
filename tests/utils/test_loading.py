"""Batches are decoded by threads or processes, in order and with the same values."""

import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from hf_prompt_models.data.images.loading import UnreadableImageError, load_image
from hf_prompt_models.utils import loading
from hf_prompt_models.utils.loading import ReadByThreads, default_num_workers, load_batches, read_ahead


class Numbers(Dataset):
    """Items that record the thread by which they are read."""

    def __init__(self, count: int, broken: int | None = None):
        self.count, self.broken = count, broken
        self.readers: dict[int, int] = {}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        time.sleep(0.001)
        if index == self.broken:
            raise ValueError(f"item {index}")
        self.readers[index] = threading.get_ident()
        return {"x": torch.tensor(index)}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_are_complete_and_in_order(num_workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    batches = load_batches(Numbers(10), 4, torch.device("cpu"), num_workers)
    assert [batch["x"].tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


class Meeting(Numbers):
    """Numbers whose first items of each thread are read at the same time."""

    def __init__(self, count: int):
        super().__init__(count)
        self.barrier = threading.Barrier(3)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if index in (0, 3, 6):
            self.barrier.wait(timeout=60)
        return super().__getitem__(index)


def test_threads_read_consecutive_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    numbers = Meeting(9)
    items = ReadByThreads(numbers).__getitems__(list(range(8)))
    assert [int(item["x"]) for item in items] == list(range(8))
    readers = [numbers.readers[index] for index in range(8)]
    assert len(set(readers)) == 3
    assert sum(one != other for one, other in pairwise(readers)) == 2


def test_an_error_is_that_of_the_first_broken_item() -> None:
    with pytest.raises(ValueError, match="item 5"):
        list(load_batches(Numbers(8, broken=5), 8, torch.device("cpu")))


def test_batches_are_read_ahead_and_no_further() -> None:
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(9):
            read.append(number)
            yield number

    ahead = read_ahead(numbers(), 2)
    assert next(ahead) == 0
    deadline = time.monotonic() + 5
    while len(read) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.01)
    assert read == [0, 1, 2]
    ahead.close()
    assert len(read) <= 3
    assert list(read_ahead(iter(range(5)), 2)) == list(range(5))


def test_an_error_ahead_is_raised_at_its_batch() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise ValueError("the second")

    ahead = read_ahead(numbers(), 2)
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="the second"):
        next(ahead)


@pytest.mark.parametrize(
    ("has_accelerator", "device_type", "together", "expected"),
    [(True, None, 1, 7), (True, None, 4, 1), (False, None, 1, 0), (True, "cpu", 1, 0), (False, "cuda", 1, 7)],
)
def test_all_cores_but_one_decode_for_an_accelerator(
    has_accelerator: bool, device_type: str | None, together: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: has_accelerator)
    monkeypatch.setattr(loading, "num_cores", lambda: 8)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(together))
    assert default_num_workers(device_type) == expected


def test_bombs_are_refused_in_every_thread_and_filters_are_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.new("RGB", (40, 40)).save(tmp_path / "large.png")  # between the limit and twice the limit: only a warning
    Image.new("RGB", (20, 20)).save(tmp_path / "small.png")
    before = list(warnings.filters)

    def read(number: int) -> Any:
        try:
            return load_image(tmp_path / ("large.png" if number % 2 else "small.png"))
        except UnreadableImageError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(read, range(200)))
    assert all(isinstance(each, UnreadableImageError) == bool(number % 2) for number, each in enumerate(answers))
    assert list(warnings.filters) == before
