"""Reading files that others wrote, within bounds, and writing files so that a crash leaves the earlier one whole."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors import SafetensorError


UNFINISHED = ".saving-"
"""How the names of files and folders begin that are being written."""

_ERRORS_OF_WRITING = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}
)
_TORCH_WRITER = "inline_container.cc"


class UnreadableFileError(ValueError):
    """An image or a video that cannot be decoded; the message names it."""


def read_text(path: str | os.PathLike, max_bytes: int, kind: str) -> str:
    """The text of a file in UTF-8.

    Args:
        path: the file.
        max_bytes: the most that is read.
        kind: what an error calls such files, in the plural.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is longer, or not UTF-8.
    """
    path = Path(path)
    if (size := path.stat().st_size) > max_bytes:
        raise ValueError(f"{path} has {size} bytes; {kind} are read up to {max_bytes}.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file in UTF-8.") from error


def read_json(path: str | os.PathLike, max_bytes: int, kind: str) -> Any:
    """The value of a JSON file. Arguments and errors as for `read_text`; not being JSON is a ValueError, too."""
    text = read_text(path, max_bytes, kind)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error


def read_json_lines(path: str | os.PathLike, max_bytes: int, kind: str) -> list[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file with the numbers of their lines; empty lines are passed over.

    Arguments and errors as for `read_text`; a line that is not a JSON object is a ValueError that names it.
    """
    rows = []
    # Not splitlines: JSON may hold the other characters that end a line for it.
    for number, line in enumerate(read_text(path, max_bytes, kind).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: cannot be read as JSON: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: expected a JSON object, got {line[:80]!r}.")
        rows.append((number, row))
    return rows


def check_inside(name: str, where: str) -> None:
    """See that a file's name, which somebody else wrote, does not lead out of the folder that it is relative to.

    Raises:
        ValueError: beginning with `where`.
    """
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts or not _can_be_named(name):
        raise ValueError(f"{where}: {name[:80]!r} is not a path within the folder of images.")


def _can_be_named(name: str) -> bool:
    """Whether the file system takes the name's characters: JSON may hold half a character."""
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def check_listed(name: str, where: str) -> None:
    """As `check_inside`, but an absolute path passes: people's own lists have them, and it says where it leads.

    Raises:
        ValueError: beginning with `where`.
    """
    check_inside(name.lstrip("/"), where)


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A file to write to, moved into `path`'s place once it is on the disk, or removed after an error.

    It has the same name, in a folder of its own beside, as safetensors writes beside, too. Folders are made if needed.
    What a killed process leaves is found by `remove_unfinished`.

    Raises:
        IsADirectoryError: before any work, if `path` is a folder.
        OSError: if the disk is full, the folder is read-only, …; names the file. The earlier one stays.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"Cannot write {str(path)!r}: it is a folder, name a file.")
    with naming_what_fails(f"write {str(path)!r}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=path.parent) as staging:
            beside = Path(staging, path.name)
            yield beside
            sync(beside)
            os.replace(beside, path)
        sync(path.parent)


@contextmanager
def naming_what_fails(what: str) -> Iterator[None]:
    """Errors of writing as one line that says what could not be written, and why.

    Args:
        what: behind "Cannot".

    Raises:
        OSError: also for what torch and safetensors make of a full disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _ERRORS_OF_WRITING:
            raise
        raise type(error)(f"Cannot {what}: {error.strerror}.") from error
    except SafetensorError as error:
        raise OSError(f"Cannot {what}: {error}.") from error
    except RuntimeError as error:
        if _TORCH_WRITER not in str(error):
            raise
        raise OSError(f"Cannot {what}: the disk is full, or files may not be as large.") from error


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_unfinished(directory: Path) -> None:
    """Remove what a killed process began to write into a folder that no other process writes into."""
    for left in directory.glob(f"{UNFINISHED}*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write JSON beside and move it into place. Folders are made if needed."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write text beside and move it into place. Folders are made if needed."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")
