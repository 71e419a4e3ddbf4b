"""Read files from untrusted sources within limits, and write files so that a crash leaves the earlier one intact."""

import csv
import errno
import fnmatch
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors import SafetensorError


if sys.platform != "win32":
    import fcntl


UNFINISHED = ".saving-"
"""Prefix of the names of files and folders that are being written."""
SECONDS_TO_WRITE = 3600
"""Age in seconds after which an unfinished file counts as abandoned if locks cannot be used."""

_ERRORS_OF_WRITING = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.ENOTDIR,
        errno.ESTALE,
    }
)
_TORCH_WRITER = "inline_container.cc"


class UnreadableFileError(ValueError):
    """Error for an image or a video that cannot be decoded. The message names the file."""


def read_text(path: str | os.PathLike, max_bytes: int, kind: str) -> str:
    """Return the text of a file in UTF-8.

    Args:
        path: the file.
        max_bytes: maximum size of the file.
        kind: name of such files in error messages, in the plural.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is larger, or not UTF-8.
    """
    path = Path(path)
    if (size := path.stat().st_size) > max_bytes:
        raise ValueError(f"{path} has {size} bytes, but {kind} may have at most {max_bytes}.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a UTF-8 text file. Save it as UTF-8.") from error


def read_json(path: str | os.PathLike, max_bytes: int, kind: str) -> Any:
    """Return the value of a JSON file.

    Arguments and errors are as for `read_text`; invalid JSON also raises a `ValueError`.
    """
    text = read_text(path, max_bytes, kind)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error


def read_json_lines(path: str | os.PathLike, max_bytes: int, kind: str) -> list[tuple[int, dict[str, Any]]]:
    """Return the objects of a JSONL file with their line numbers. Empty lines are skipped.

    Arguments and errors are as for `read_text`; a line that is not a JSON object raises a `ValueError` that names it.
    """
    rows = []
    # Not splitlines, because it also splits at other characters, which JSON strings may contain.
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
    """Check that an untrusted file name does not lead out of the folder that it is relative to.

    Raises:
        ValueError: if it does. The message begins with `where`.
    """
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts or not _can_be_named(name):
        raise ValueError(
            f'{where}: {name[:80]!r} is not a path within the folder of images. Use a relative path without "..".'
        )


def _can_be_named(name: str) -> bool:
    """Return whether the file system accepts the characters of a name: JSON may contain half of a surrogate pair."""
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def check_listed(name: str, where: str) -> None:
    """Check a file name as `check_inside` does, but accept absolute paths, which users' own lists may contain.

    Raises:
        ValueError: if the name is refused. The message begins with `where`.
    """
    check_inside(name.lstrip("/"), where)


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary file that is moved to `path` once it is on disk, or removed after an error.

    It has the same name and is in a temporary folder next to `path`, because safetensors also writes temporary files.
    Folders are created if needed. `remove_unfinished` finds what a killed process leaves.

    Raises:
        IsADirectoryError: if `path` is a folder, before any work.
        OSError: if the disk is full, the folder is read-only, …; the message names the file. The earlier file is kept.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"Cannot write {str(path)!r}, because it is a folder. Pass a file.")
    with naming_what_fails(f"write {str(path)!r}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with staging(path.parent) as folder:
            beside = folder / path.name
            yield beside
            sync(beside)
            os.replace(beside, path)
        sync(path.parent)


@contextmanager
def staging(directory: str | os.PathLike) -> Iterator[Path]:
    """Create a temporary folder inside a folder, and remove it afterwards with its remaining content.

    It is locked while it is used, and the system releases the lock when the process dies. `abandoned` uses this to
    distinguish the files of a running process from those that a killed one left.
    """
    with ExitStack() as stack:
        while True:
            folder = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=directory))
            with suppress(FolderInUseError):  # a cleanup may remove it before it is locked
                stack.enter_context(locked(folder))
                break
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class FolderInUseError(OSError):
    """Error for a folder that another process has locked or removed."""


@contextmanager
def locked(folder: str | os.PathLike, wait: bool = False) -> Iterator[bool]:
    """Hold the lock of a folder, or of a file.

    Args:
        folder: the folder or file to lock.
        wait: whether to wait until another process releases the lock.

    Yields:
        Whether the file system supports locks; otherwise, nothing is locked.

    Raises:
        FolderInUseError: if another process holds the lock and `wait` is `False`, or removed the folder meanwhile.
    """
    if sys.platform == "win32":  # it cannot open folders
        yield False
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError as error:
        raise FolderInUseError(error.errno, error.strerror, str(folder)) from error
    _HELD.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            has_locks = True
        except BlockingIOError as error:
            raise FolderInUseError(error.errno, error.strerror, str(folder)) from error
        except OSError:  # some network file systems have no locks
            has_locks = False
        if not _is_at(descriptor, folder):
            raise FolderInUseError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
        yield has_locks
    finally:
        if descriptor in _HELD:
            _HELD.remove(descriptor)
            os.close(descriptor)


_HELD: set[int] = set()
"""Descriptors of locked folders. A forked child closes its copies, so that locks do not outlive a killed parent."""


def _let_go() -> None:
    while _HELD:
        os.close(_HELD.pop())


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_let_go)


def _is_at(descriptor: int, path: str | os.PathLike) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError as error:
        if has_vanished(error):
            return False
        raise


@contextmanager
def naming_what_fails(what: str) -> Iterator[None]:
    """Raise errors of writing with a one-line message that says what could not be written and why.

    Args:
        what: the rest of the message after "Cannot", such as "write 'file'".

    Raises:
        OSError: if writing fails, also in place of the errors of torch and safetensors for a full disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _ERRORS_OF_WRITING or error.strerror is None:  # its message already says what failed
            raise
        raise _numbered(type(error)(f"Cannot {what}: {error.strerror}."), error.errno) from error
    except SafetensorError as error:
        raise _numbered(OSError(f"Cannot {what}: {error}."), errno.EIO) from error
    except RuntimeError as error:
        if _TORCH_WRITER not in str(error):
            raise
        said = f"Cannot {what}: the disk is full, or a file would exceed the size limit."
        raise _numbered(OSError(said), errno.ENOSPC) from error


def _numbered(error: OSError, number: int | None) -> OSError:
    """Set the `errno` of an error with its own message, so that a full disk differs from a wrong path."""
    error.errno = number
    return error


def sync(path: Path) -> None:
    """Wait until a file, or the list of files of a folder, is physically on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def has_vanished(error: OSError) -> bool:
    """Return whether an error means that another process or, on a network file system, machine removed the file."""
    return isinstance(error, FileNotFoundError) or error.errno == errno.ESTALE


def list_directory(directory: str | os.PathLike, pattern: str) -> list[Path]:
    """Return the entries of a folder whose names match a pattern, sorted; empty if there is no such folder.

    The entries are not checked further, because another process may remove one at any time.
    """
    try:
        names = os.listdir(directory)
    except OSError as error:
        if has_vanished(error) or isinstance(error, NotADirectoryError):
            return []
        raise
    return sorted(Path(directory, name) for name in fnmatch.filter(names, pattern))


def abandoned(directory: str | os.PathLike, seconds: float = 0) -> Iterator[Path]:
    """Yield the unfinished files that killed processes left in a folder, each locked until the next one is yielded.

    Files that a running process is writing are skipped.

    Args:
        directory: the folder.
        seconds: minimum time in seconds without a change, for folders into which several machines write, because not
            every file system shares locks between machines.
    """
    for left in list_directory(directory, f"{UNFINISHED}*"):
        with suppress(OSError), locked(left) as has_locks:  # in use, removed, or owned by another user
            if time.time() - left.stat().st_mtime >= (seconds if has_locks else max(seconds, SECONDS_TO_WRITE)):
                yield left


def remove_unfinished(directory: str | os.PathLike, seconds: float = 0) -> None:
    """Remove the unfinished files that killed processes left in a folder. Arguments are as for `abandoned`."""
    for left in abandoned(directory, seconds):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Remove a folder in one step, so that no process sees only a part of it. The folder may not exist."""
    with staging(folder.parent) as bin, suppress(FileNotFoundError):
        os.replace(folder, bin / folder.name)


def move_folder(written: Path, place: Path) -> None:
    """Move a folder into place on the same disk once it is completely written, and replace an earlier one.

    A process that is killed in between leaves the earlier folder as `.saving-…/*/<name>`.
    """
    for path in [*written.rglob("*"), written]:
        sync(path)
    with staging(place.parent) as aside:
        while True:
            earlier = Path(tempfile.mkdtemp(dir=aside), place.name)
            with suppress(FileNotFoundError):
                os.replace(place, earlier)
            try:
                os.replace(written, place)
                break
            except OSError as error:
                if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:  # another process was first; the later one wins
                    continue
                with suppress(OSError):
                    os.replace(earlier, place)
                raise
    sync(place.parent)


def move_files(written: Path, directory: Path) -> None:
    """Move the files of a folder into another folder, each in one step. Files that list other files come last."""
    for file in sorted(written.iterdir(), key=_place_in_line):
        os.replace(file, directory / file.name)


@contextmanager
def adding_files(directory: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary folder whose files are moved into `directory`, unless the block raises an error.

    `directory` is created if needed. If several processes write the same files, each file is complete at any time.
    """
    Path(directory).mkdir(parents=True, exist_ok=True)
    with staging(directory) as folder:
        yield folder
        move_files(folder, Path(directory))


def _place_in_line(file: Path) -> tuple[bool, bool, str]:
    return file.name == "config.json", file.suffix in {".json", ".jsonl"}, file.name


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write JSON to a temporary file and move it into place. Folders are created if needed."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_json_lines(path: str | os.PathLike, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one object per line to a temporary file and move it into place. Folders are created if needed."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


@contextmanager
def writing_csv(path: str | os.PathLike) -> Iterator[Any]:
    """Yield a `csv.writer` to a temporary file, which is moved into place unless the block raises an error.

    The table is UTF-8. Bytes of file names that are not characters are escaped.
    """
    with replacing(path) as beside, beside.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        yield csv.writer(file)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write text to a temporary file and move it into place. Folders are created if needed."""
    with replacing(path) as beside:
        # A file name may not be valid text. Bytes that are not characters are escaped, as JSON does.
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")
