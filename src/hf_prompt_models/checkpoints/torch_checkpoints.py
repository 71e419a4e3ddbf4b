"""Read files that `torch.save` wrote, without unpickling them.

A checkpoint is a zip archive of a pickle and raw storages. A pickle is a program. Here, `pickletools` lists its
instructions without running them, and an interpreter executes only the few that build plain data. A name such as
`os.system` is never looked up: it is a string that is either in the lists below or refused. Neither code in the
checkpoint nor code that it names can run, and its classes do not have to be installed.

`torch.load(weights_only=True)`, with placeholder classes as `safe_globals`, is not sufficient. Up to torch 2.13, it
refuses pickles of protocols 4 and 5 and bytes of protocol 3, which `torch.save(..., pickle_protocol=...)` writes. A
deeply nested tuple as the key of a dict ends the process (SIGSEGV), and 30,000 integers with the same hash (1 MB) take
18 s. A tensor of 2**40 elements over a storage of 4 elements is returned unchecked.
"""

import math
import os
import pickletools
import struct
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch


MAX_PICKLE_BYTES = 64 * 2**20
"""Maximum size of a pickle. Training logs in it can take tens of MB, with several numbers per iteration."""
MAX_INSTRUCTIONS = 2 * 2**20
"""Maximum number of instructions. A model with 10,000 tensors needs about 300,000.

At the limit, the worst case takes some seconds and a few 100 MB.
"""
MAX_BYTES = 16
"""Maximum length of a byte string that is read, such as a number. Longer ones, of arrays, become `OpaqueObject`s."""
MAX_DIMENSIONS = 16

STORAGE_DTYPES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
OPAQUE_CLASSES = {
    *(f"torch.optim.{name}" for name in ("adam.Adam", "adamw.AdamW", "radam.RAdam", "rmsprop.RMSprop", "sgd.SGD")),
    *(
        f"torch.optim.lr_scheduler.{name}"
        for name in (
            "ConstantLR",
            "CosineAnnealingLR",
            "CosineAnnealingWarmRestarts",
            "ExponentialLR",
            "LinearLR",
            "MultiStepLR",
            "ReduceLROnPlateau",
            "SequentialLR",
            "StepLR",
        )
    ),
    "dassl.optim.radam.RAdam",
    "dassl.optim.lr_scheduler.ConstantWarmupScheduler",
    "dassl.optim.lr_scheduler.LinearWarmupScheduler",
    "mmengine.logging.history_buffer.HistoryBuffer",  # for each logged number in OpenMMLab checkpoints
}
"""Classes of objects that training code saves in checkpoints. They become `OpaqueObject`s; nothing is imported."""
DICT_CLASSES = {"collections.OrderedDict", "collections.defaultdict", "collections.Counter"}
BUILTIN_CLASSES = {
    f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("bytes", "dict", "list", "int", "float")
}
NUMPY_SCALARS = {"numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"}
NUMPY_ARRAYS = {"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"}
NUMPY_DTYPES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"}
ALLOWED_GLOBALS = {
    *STORAGE_DTYPES,
    *OPAQUE_CLASSES,
    *DICT_CLASSES,
    *BUILTIN_CLASSES,
    *NUMPY_SCALARS,
    *NUMPY_ARRAYS,
    "numpy.dtype",
    "numpy.ndarray",
    "_codecs.encode",  # Python 3 uses it to write bytes for old protocols
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
}


@dataclass(frozen=True)
class OpaqueObject:
    """Placeholder for an object of another class, an array or a long byte string. It holds only the class name."""

    class_name: str


@dataclass(frozen=True)
class _Global:
    """A name in the pickle, which is never looked up."""

    name: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: torch.dtype
    numel: int


@dataclass(frozen=True)
class _NumpyDtype:
    code: str


def read_torch_checkpoint(path: str | os.PathLike) -> Any:
    """Return the content of a file of `torch.save`: dicts, lists, tuples, numbers, strings and tensors on the CPU.

    All kinds of dicts become `dict`, and parameters become tensors. Optimizers, schedulers and NumPy arrays become
    `OpaqueObject`s.

    Args:
        path: a file in the zip format that `torch.save` has written since PyTorch 1.6.

    Raises:
        OSError: if there is no such file.
        ValueError: if it has another format, is damaged, or holds anything but plain data. No code is run.
    """
    path = Path(path)
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise ValueError(
                f"{path} is not a checkpoint in the zip format of torch.save. If a PyTorch before 1.6 wrote it, and "
                "you trust it, load it and save it again with a newer one."
            )
        try:
            with zipfile.ZipFile(file) as archive:
                return _Interpreter(_Records(archive, path.stat().st_size)).run()
        except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, struct.error, ValueError) as error:
            raise ValueError(
                f"{path} cannot be read as a checkpoint, and none of its code was run: {error}"
            ) from error


class _Records:
    """The files in the archive, and the tensors that use them."""

    def __init__(self, archive: zipfile.ZipFile, size: int, infos: list[zipfile.ZipInfo] | None = None):
        infos = archive.infolist() if infos is None else infos
        self.archive = archive
        self.infos = {info.filename: info for info in infos}
        self.storages: dict[str, bytearray] = {}
        # torch stores records without compression, so that memory is bounded by the size of the file.
        if any(info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size for info in infos):
            raise ValueError("it contains compressed records, which PyTorch does not write.")
        if any(info.flag_bits & 1 for info in infos):
            raise ValueError("it contains encrypted records.")
        if len(self.infos) != len(infos) or sum(info.file_size for info in infos) > size:
            raise ValueError("its records overlap or repeat.")
        pickles = [name for name in self.infos if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("it contains no data.pkl, so torch.save did not write it.")
        self.folder = pickles[0].removesuffix("data.pkl")
        byteorder = f"{self.folder}byteorder"
        if byteorder in self.infos and archive.read(byteorder) != sys.byteorder.encode():
            raise ValueError(f"it was not written on a {sys.byteorder}-endian machine, as this one is.")

    def pickle(self) -> bytes:
        info = self.infos[f"{self.folder}data.pkl"]
        if info.file_size > MAX_PICKLE_BYTES:
            raise ValueError(f"its data.pkl has {info.file_size} bytes, more than {MAX_PICKLE_BYTES}.")
        return self.archive.read(info)

    def tensor(self, storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> torch.Tensor:
        """Return a view of a stored record, after checking that it does not exceed the record."""
        record = f"{self.folder}data/{storage.key}"
        if record not in self.infos:
            raise ValueError(f"the record {record[:100]!r} is missing.")
        if self.infos[record].file_size != storage.numel * storage.dtype.itemsize:
            raise ValueError(
                f"the record {record!r} has {self.infos[record].file_size} bytes instead of the "
                f"{storage.numel} values of {storage.dtype} that the checkpoint describes."
            )
        extent = math.prod(max(length, 1) for length in size)  # also for empty tensors, with arbitrary sizes
        last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True) if length)
        largest = max(extent, offset, *stride, 0)  # also checks unused strides of length 1
        if largest > max(storage.numel, 1) or (0 not in size and last >= storage.numel):
            raise ValueError(f"a tensor of size {size} and stride {stride} exceeds its record {record!r}.")
        if 0 in size:
            return torch.empty(size, dtype=storage.dtype)
        if storage.key not in self.storages:
            self.storages[storage.key] = bytearray(self.archive.read(record))
        values = torch.frombuffer(self.storages[storage.key], dtype=storage.dtype)
        return values.as_strided(size, stride, offset)


class _Interpreter:
    """Stack machine for the instructions that `torch.save` writes for plain data (protocols 2 to 5)."""

    def __init__(self, records: _Records):
        self.records = records
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # the stacks below each open mark
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(self.records.pickle())):
            if count >= MAX_INSTRUCTIONS:
                raise ValueError(f"its data.pkl has more than {MAX_INSTRUCTIONS} instructions.")
            self.step(opcode.name, argument)
        value = self.pop()
        if self.stack or self.marked:
            raise ValueError("its pickle contains more than one object.")
        return value

    def step(self, name: str, argument: Any) -> None:
        match name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "NONE":
                self.stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                self.stack.append(name == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                self.stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "SHORT_BINBYTES":
                self.stack.append(argument)
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_LIST":
                self.stack.append([])
            case "EMPTY_TUPLE":
                self.stack.append(())
            case "MARK":
                self.marked.append(self.stack)
                self.stack = []
            case "TUPLE":
                values = self.pop_marked()
                self.stack.append(tuple(values))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                parts = [self.pop() for _ in range(int(name[-1]))]
                self.stack.append(tuple(reversed(parts)))
            case "APPEND":
                self.extend([self.pop()])
            case "APPENDS":
                self.extend(self.pop_marked())
            case "SETITEM":
                value = self.pop()
                self.update([self.pop(), value])
            case "SETITEMS":
                self.update(self.pop_marked())
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.top()
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.top()
            case "BINGET" | "LONG_BINGET":
                if argument not in self.memo:
                    raise ValueError("its pickle refers to an object that does not exist.")
                self.stack.append(self.memo[argument])
            case "GLOBAL":
                self.stack.append(_global(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name_in_module = self.pop()
                self.stack.append(_global(self.pop(), name_in_module))
            case "BINPERSID":
                self.stack.append(_storage(self.pop()))
            case "REDUCE":
                arguments = self.pop()
                self.stack.append(self.call(self.pop(), arguments))
            case "NEWOBJ":
                self.pop()  # arguments of the constructor
                made_of = self.pop()
                if not isinstance(made_of, _Global) or made_of.name not in OPAQUE_CLASSES:
                    raise ValueError("its pickle creates an object of an unknown class.")
                self.stack.append(OpaqueObject(made_of.name))
            case "BUILD":  # the state of an object: dropped
                state = self.pop()
                if not isinstance(self.top(), OpaqueObject | dict | _NumpyDtype):
                    raise ValueError("its pickle sets the state of an object that has none.")
                if isinstance(self.top(), _NumpyDtype) and (not isinstance(state, tuple) or ">" in state[1:2]):
                    raise ValueError("it contains a NumPy number that is not little-endian.")
            case _:
                raise ValueError(f"its pickle has the instruction {name}, which plain data does not need.")

    def top(self) -> Any:
        if not self.stack:
            raise ValueError("its pickle is damaged: it uses more objects than it creates.")
        return self.stack[-1]

    def pop(self) -> Any:
        value = self.top()
        self.stack.pop()
        return value

    def pop_marked(self) -> list[Any]:
        if not self.marked:
            raise ValueError("its pickle is damaged: it ends a list that it did not start.")
        values, self.stack = self.stack, self.marked.pop()
        return values

    def extend(self, values: list[Any]) -> None:
        if not isinstance(self.top(), list):
            raise ValueError("its pickle appends to an object that is not a list.")
        self.top().extend(values)

    def update(self, keys_and_values: list[Any]) -> None:
        keys, values = keys_and_values[::2], keys_and_values[1::2]
        if not isinstance(self.top(), dict):
            raise ValueError("its pickle sets items of an object that is not a dict.")
        if len(keys) != len(values) or not all(map(_is_key, keys)):
            raise ValueError("its pickle contains a dict whose keys are neither strings, small integers nor tensors.")
        self.top().update(zip(keys, values, strict=True))

    def call(self, function: Any, arguments: Any) -> Any:
        """Return the result of one of the functions that rebuild plain data."""
        if not isinstance(function, _Global) or not isinstance(arguments, tuple):
            raise ValueError("its pickle calls an unknown function.")
        match function.name, arguments:
            case "torch._utils._rebuild_tensor_v2", (
                _Storage() as storage,
                int(offset),
                tuple(size),
                tuple(stride),
                *_,
            ):
                if not _are_lengths((offset, *size)) or not _are_lengths(stride) or len(size) != len(stride):
                    raise ValueError("it describes a tensor with an invalid size, stride or offset.")
                return self.records.tensor(storage, offset, size, stride)
            case "torch._utils._rebuild_parameter", (torch.Tensor() as tensor, *_):
                return tensor
            case "collections.OrderedDict", ():
                return {}
            case "collections.defaultdict", (_Global(),):
                return {}
            case "collections.Counter", (dict(counts),):
                return counts
            case "_codecs.encode", (str(text), "latin1"):
                return text.encode("latin1") if len(text) <= MAX_BYTES else OpaqueObject("builtins.bytes")
            case "builtins.bytes" | "__builtin__.bytes", ():
                return b""
            case name, (_Global("numpy.ndarray"), *_) if name in NUMPY_ARRAYS:
                return OpaqueObject("numpy.ndarray")
            case "numpy.dtype", (str(code), *_) if code in NUMPY_DTYPES:
                return _NumpyDtype(code)
            case name, (_NumpyDtype(code), bytes(value)) if name in NUMPY_SCALARS:
                return np.frombuffer(value, dtype=f"<{code}", count=1).item()
            case name, _ if name in OPAQUE_CLASSES:
                return OpaqueObject(name)
        raise ValueError(f"its pickle calls {function.name} with arguments that plain data does not need.")


def _global(module: Any, name: Any) -> _Global:
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("its pickle refers to a global by an invalid name.")
    full_name = f"{module}.{name}"
    if full_name not in ALLOWED_GLOBALS:
        raise ValueError(
            f"it needs {full_name[:100]!r}, which is not part of plain data. If you trust the file, load it "
            "with the code that wrote it, and save only its tensors."
        )
    return _Global(full_name)


def _storage(description: Any) -> _Storage:
    match description:
        case ("storage", _Global(kind), str(key), str(), int(numel)) if kind in STORAGE_DTYPES and numel >= 0:
            return _Storage(key, STORAGE_DTYPES[kind], numel)
    raise ValueError("it contains an external reference that is not a storage of a tensor.")


def _is_key(value: Any) -> bool:
    """Return whether a value is allowed as a key, which must hash fast even if an attacker chose it.

    Nested tuples are slow to hash, and large integers can be made to collide. Tensors are keys if an optimizer stores
    its state by parameter.
    """
    return isinstance(value, str | torch.Tensor) or (isinstance(value, int) and abs(value) < 2**31)


def _are_lengths(values: tuple) -> bool:
    return len(values) <= MAX_DIMENSIONS and all(type(value) is int and value >= 0 for value in values)
