"""Read the tensors of TorchScript archives (`torch.jit.save`) without running them.

`torch.jit.load` compiles and runs code of the archive: a `__setstate__` in it is called while loading. Here, `code/`
and `constants.pkl` are never opened. `data.pkl` is a pickle of nested modules, which the interpreter of
`torch_checkpoints` reads as dicts of their attributes. OpenAI's CLIP files have this format.
"""

import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch

from hf_prompt_models.checkpoints.torch_checkpoints import _Global, _Interpreter, _Records


MAX_DEPTH = 64
"""Maximum number of modules inside each other."""
MAX_ATTRIBUTES = 2**17
"""Maximum number of modules and tensors. Modules can be shared, so that a small file can describe very many."""
MAX_NAME = 1000
"""Maximum length of the name of a tensor."""

CLASSES = "__torch__"
"""Package of the compiled classes, whose instances become dicts."""
LISTS_AND_TYPES = {
    *(f"torch.jit._pickle.build_{kind}list" for kind in ("bool", "double", "int", "tensor")),
    "torch.jit._pickle.restore_type_tag",
}
"""Functions that give a value a type. The value, their first argument, is read as it is."""


def is_torchscript_archive(path: str | os.PathLike) -> bool:
    """Return whether a file is a TorchScript archive, which has constants next to its data.

    Args:
        path: the file.
    """
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.count("/") == 1 and name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript_archive(path: str | os.PathLike) -> dict[str, torch.Tensor | int]:
    """Return the tensors of a module that `torch.jit.save` wrote, by their names in its state dict.

    Plain tensor attributes are also returned, because the pickle does not distinguish them from buffers, as well as
    whole numbers of the outermost module.

    Args:
        path: the archive.

    Raises:
        OSError: if there is no such file.
        ValueError: if it is damaged, or holds anything but modules, tensors and plain values. No code is run.
    """
    path = Path(path)
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                module = _ScriptInterpreter(_ScriptRecords(archive, path.stat().st_size)).run()
        except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, struct.error, ValueError) as error:
            raise ValueError(
                f"{path} cannot be read as a TorchScript archive, and nothing in it was run: {error}"
            ) from error
    if not isinstance(module, dict):
        raise ValueError(f"{path} contains no module, but {type(module).__name__}.")
    return _flatten(module, path)


def _flatten(module: dict[Any, Any], path: Path) -> dict[str, torch.Tensor | int]:
    """Return the tensors of a module and of the modules in it, with dots in their names."""
    found: dict[str, torch.Tensor | int] = {}
    waiting: list[tuple[str, dict[Any, Any], int]] = [("", module, 0)]
    count = 0
    while waiting:
        prefix, attributes, depth = waiting.pop()
        for name, value in attributes.items():
            count += 1
            full_name = f"{prefix}{name}"
            if depth > MAX_DEPTH or count > MAX_ATTRIBUTES or len(full_name) > MAX_NAME:
                raise ValueError(f"{path} is not a model: its modules are too many, or too deep inside each other.")
            if isinstance(value, dict):
                waiting.append((f"{full_name}.", value, depth + 1))
            elif isinstance(value, torch.Tensor) or (not prefix and type(value) is int):
                found[full_name] = value
    return found


class _ScriptRecords(_Records):
    """The pickle and the storages of an archive, without its code and its constants."""

    def __init__(self, archive: zipfile.ZipFile, size: int):
        names = ("data.pkl", "byteorder")
        super().__init__(
            archive,
            size,
            [
                info
                for info in archive.infolist()
                if (parts := info.filename.split("/"))[1:2] == ["data"] or (len(parts) == 2 and parts[1] in names)
            ],
        )


class _ScriptInterpreter(_Interpreter):
    """Interpreter that reads an instance of a compiled class as a dict of its attributes."""

    def step(self, name: str, argument: Any) -> None:
        if name == "GLOBAL" and argument.partition(" ")[0].partition(".")[0] == CLASSES:
            self.stack.append(_Global(CLASSES))
        elif name == "GLOBAL" and argument.replace(" ", ".") in LISTS_AND_TYPES:
            self.stack.append(_Global(argument.replace(" ", ".")))
        elif name == "NEWOBJ":
            self.pop()  # arguments of the constructor
            made_of = self.pop()
            if not isinstance(made_of, _Global) or made_of.name != CLASSES:
                raise ValueError("its pickle makes an object of something that is not a compiled class.")
            self.stack.append({})
        elif name == "BUILD":
            attributes = self.pop()
            if not isinstance(self.top(), dict):
                raise ValueError("its pickle gives a state to something that takes none.")
            if isinstance(attributes, dict):  # a class with a `__setstate__` may have any other value
                self.update([each for pair in attributes.items() for each in pair])
        else:
            super().step(name, argument)

    def call(self, function: Any, arguments: Any) -> Any:
        match function, arguments:
            case _Global(name), (value, *_) if name in LISTS_AND_TYPES:
                return value
        return super().call(function, arguments)
