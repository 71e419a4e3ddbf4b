"""Read files that `torch.save` wrote before PyTorch 1.6, without unpickling them.

Such a file has five consecutive pickles: a magic number, a version, information about the machine, the object, and the
keys of its storages. For each key, a count of 8 bytes and the raw values follow. The pickles are read by the
interpreter of `torch_checkpoints`, so that no code is run.
"""

import io
import os
import pickletools
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch

from hf_prompt_models.checkpoints.torch_checkpoints import _Interpreter, _Records, _Storage, _storage


MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
VERSION = 1001
MAX_PICKLE_BYTES = 2 * 2**20
"""Maximum size of the five pickles together. A model with 10,000 tensors needs about 1.5 MB."""


def is_legacy_checkpoint(path: str | os.PathLike) -> bool:
    """Return whether a file has this format, by its first bytes, which are the pickle of the magic number."""
    with open(path, "rb") as file:
        start = file.read(64)
    return MAGIC_NUMBER.to_bytes(10, "little") in start


def read_legacy_checkpoint(path: str | os.PathLike) -> Any:
    """Return the content of a file that `torch.save` wrote before PyTorch 1.6, as `read_torch_checkpoint` does.

    Raises:
        OSError: if there is no such file.
        ValueError: if it has another format, is damaged, or holds anything but plain data. No code is run.
    """
    path = Path(path)
    with path.open("rb") as file:
        try:
            return _read(file, path.stat().st_size)
        except (EOFError, struct.error, ValueError) as error:
            raise ValueError(
                f"{path} cannot be read as a checkpoint, and none of its code was run: {error}"
            ) from error


def _read(file: BinaryIO, size: int) -> Any:
    pickles, end = _split(file.read(MAX_PICKLE_BYTES))
    magic, version, machine = (_LegacyInterpreter(_NoRecords(pickled)).run() for pickled in pickles[:3])
    if magic != MAGIC_NUMBER or version != VERSION:
        raise ValueError("it is not in the format of torch.save before PyTorch 1.6.")
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise ValueError("it was not written on a little-endian machine, as this one is.")
    keys = _LegacyInterpreter(_NoRecords(pickles[4])).run()
    described = _LegacyInterpreter(_NoRecords(pickles[3]))
    described.run()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("its storages have names that are not strings.")
    if len(set(keys)) < len(keys) or set(keys) != set(described.described):
        raise ValueError("the storages that it lists are not those that its tensors need.")
    places: dict[str, _Place] = {}
    for key in keys:
        file.seek(end)
        (count,) = struct.unpack("<q", file.read(8))
        storage = described.described[key]
        if count != storage.numel:
            raise ValueError(f"the storage {key[:100]!r} has {count} values instead of {storage.numel}.")
        places[f"data/{key}"] = _Place(end + 8, count * storage.dtype.itemsize)
        end += 8 + count * storage.dtype.itemsize
        if end > size:
            raise ValueError(
                f"it ends in the middle of the storage {key[:100]!r}, so it was not written or copied completely."
            )
    return _LegacyInterpreter(_LegacyRecords(file, pickles[3], places)).run()


def _split(start: bytes) -> tuple[list[bytes], int]:
    """Return the five pickles and the position where they end."""
    pickles, stream = [], io.BytesIO(start)
    for _ in range(5):
        begin = stream.tell()
        for _opcode, _argument, _position in pickletools.genops(stream):  # genops reads a pickle up to its STOP
            pass
        pickles.append(start[begin : stream.tell()])
    return pickles, stream.tell()


class _Place(NamedTuple):
    offset: int
    file_size: int


class _NoRecords(_Records):
    """Records for a first pass, which only lists the storages: every tensor is empty."""

    def __init__(self, pickled: bytes):
        self.pickled = pickled

    def pickle(self) -> bytes:
        return self.pickled

    def tensor(self, storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> torch.Tensor:
        return torch.empty(0)


class _LegacyRecords(_Records):
    """The storages after the pickles, and the tensors that use them."""

    def __init__(self, file: BinaryIO, pickled: bytes, places: Mapping[str, _Place]):
        self.pickled = pickled
        self.folder = ""
        self.infos = dict(places)  # type: ignore[arg-type]  # only their `file_size` is read
        self.storages: dict[str, bytearray] = {}
        self.archive = _Archive(file, places)  # type: ignore[assignment]  # only its `read` is called

    def pickle(self) -> bytes:
        return self.pickled


class _Archive(NamedTuple):
    file: BinaryIO
    places: Mapping[str, _Place]

    def read(self, record: str) -> bytes:
        place = self.places[record]
        self.file.seek(place.offset)
        return self.file.read(place.file_size)


class _LegacyInterpreter(_Interpreter):
    """Interpreter for storages with an additional value for a view, which is `None` except in the oldest files.

    Attributes:
        described: the storages that tensors need, by key.
    """

    def __init__(self, records: _Records):
        super().__init__(records)
        self.described: dict[str, _Storage] = {}

    def step(self, name: str, argument: Any) -> None:
        if name != "BINPERSID":
            return super().step(name, argument)
        match self.pop():
            case (kind, storage_type, key, location, numel, None):
                storage = _storage((kind, storage_type, key, location, numel))
                if self.described.setdefault(storage.key, storage) != storage:
                    raise ValueError(f"it describes the storage {storage.key[:100]!r} in two different ways.")
                self.stack.append(storage)
            case _:
                raise ValueError("it contains an external reference that is not a complete storage of a tensor.")
