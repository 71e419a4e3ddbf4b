"""Reading files that others wrote, within bounds, and writing files so that a crash leaves the earlier one whole."""

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
"""How the names of files and folders begin that are being written."""
SECONDS_TO_WRITE = 3600
"""After which an unfinished file counts as abandoned where no lock can tell."""

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
        with staging(path.parent) as folder:
            beside = folder / path.name
            yield beside
            sync(beside)
            os.replace(beside, path)
        sync(path.parent)


@contextmanager
def staging(directory: str | os.PathLike) -> Iterator[Path]:
    """Make a folder inside a folder to write into, and remove it afterwards with what is still in it.

    It is locked while it is used, and the system unlocks it when the process dies: this is how `abandoned` tells what
    a live process is writing from what a killed one left.
    """
    with ExitStack() as stack:
        while True:
            folder = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=directory))
            with suppress(FolderInUseError):  # a cleaner took it for abandoned before it was locked
                stack.enter_context(locked(folder))
                break
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class FolderInUseError(OSError):
    """Another process holds the lock of a folder, or has removed it."""


@contextmanager
def locked(folder: str | os.PathLike, wait: bool = False) -> Iterator[bool]:
    """Hold the lock of a folder, or of a file.

    Args:
        folder: what to lock.
        wait: until another process lets go of it.

    Yields:
        Whether its file system has locks; without any, nothing is held.

    Raises:
        FolderInUseError: if another process holds it, without `wait`, or removed it meanwhile.
    """
    if sys.platform == "win32":  # which opens no folder
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
        except OSError:  # some network file systems have none
            has_locks = False
        if not _is_at(descriptor, folder):
            raise FolderInUseError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
        yield has_locks
    finally:
        if descriptor in _HELD:
            _HELD.remove(descriptor)
            os.close(descriptor)


_HELD: set[int] = set()
"""Descriptors of locked folders. A forked child closes its copies, or it would hold the locks of a killed parent."""


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
    """Errors of writing as one line that says what could not be written, and why.

    Args:
        what: behind "Cannot".

    Raises:
        OSError: also for what torch and safetensors make of a full disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _ERRORS_OF_WRITING or error.strerror is None:  # already says what failed
            raise
        raise _numbered(type(error)(f"Cannot {what}: {error.strerror}."), error.errno) from error
    except SafetensorError as error:
        raise _numbered(OSError(f"Cannot {what}: {error}."), errno.EIO) from error
    except RuntimeError as error:
        if _TORCH_WRITER not in str(error):
            raise
        said = f"Cannot {what}: the disk is full, or files may not be as large."
        raise _numbered(OSError(said), errno.ENOSPC) from error


def _numbered(error: OSError, number: int | None) -> OSError:
    """An error with a message of its own that still tells a full disk from a wrong path."""
    error.errno = number
    return error


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def has_vanished(error: OSError) -> bool:
    """Whether an error says that another process, or on a network file system another machine, removed the file."""
    return isinstance(error, FileNotFoundError) or error.errno == errno.ESTALE


def list_directory(directory: str | os.PathLike, pattern: str) -> list[Path]:
    """Return the entries of a folder whose names match a pattern, sorted; none if there is no such folder.

    Nothing is said of what they are: another process may remove one at any time.
    """
    try:
        names = os.listdir(directory)
    except OSError as error:
        if has_vanished(error) or isinstance(error, NotADirectoryError):
            return []
        raise
    return sorted(Path(directory, name) for name in fnmatch.filter(names, pattern))


def abandoned(directory: str | os.PathLike, seconds: float = 0) -> Iterator[Path]:
    """Yield what killed processes left unfinished in a folder, each locked until the next one is taken.

    What a live process is writing is passed over.

    Args:
        directory: the folder.
        seconds: how long nothing must have changed, for folders into which several machines write: not every file
            system knows the locks of another machine.
    """
    for left in list_directory(directory, f"{UNFINISHED}*"):
        with suppress(OSError), locked(left) as has_locks:  # in use, gone since, or of another user
            if time.time() - left.stat().st_mtime >= (seconds if has_locks else max(seconds, SECONDS_TO_WRITE)):
                yield left


def remove_unfinished(directory: str | os.PathLike, seconds: float = 0) -> None:
    """Remove what killed processes began to write into a folder. Arguments as for `abandoned`."""
    for left in abandoned(directory, seconds):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Remove a folder, which may be gone already, in one step: nobody sees a part of it."""
    with staging(folder.parent) as bin, suppress(FileNotFoundError):
        os.replace(folder, bin / folder.name)


def move_folder(written: Path, place: Path) -> None:
    """Move a folder into its place, on the same disk, once all of it is on the disk; one that is there makes room.

    A process that is killed in between leaves the earlier one as `.saving-…/*/<name>`.
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
                if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:  # another process was quicker: the later one wins
                    continue
                with suppress(OSError):
                    os.replace(earlier, place)
                raise
    sync(place.parent)


def move_files(written: Path, directory: Path) -> None:
    """Move a folder's files into another folder, each whole; those that name others, as lists do, come last."""
    for file in sorted(written.iterdir(), key=_place_in_line):
        os.replace(file, directory / file.name)


@contextmanager
def adding_files(directory: str | os.PathLike) -> Iterator[Path]:
    """Make a folder whose files are moved into `directory`, made if needed, unless an error ends the block.

    Processes that write the same files at once leave each of them whole at any time.
    """
    Path(directory).mkdir(parents=True, exist_ok=True)
    with staging(directory) as folder:
        yield folder
        move_files(folder, Path(directory))


def _place_in_line(file: Path) -> tuple[bool, bool, str]:
    return file.name == "config.json", file.suffix in {".json", ".jsonl"}, file.name


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write JSON beside and move it into place. Folders are made if needed."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_json_lines(path: str | os.PathLike, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write an object per line beside and move it into place. Folders are made if needed."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write text beside and move it into place. Folders are made if needed."""
    with replacing(path) as beside:
        # A file's name may be no text: what it has in place of characters is escaped, as JSON does it, too.
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")
