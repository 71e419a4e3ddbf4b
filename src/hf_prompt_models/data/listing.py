"""Listing of files and folders, without hidden ones and with symbolic links followed once."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path


logger = logging.getLogger(__name__)

SYSTEM_NAMES = frozenset(
    {"__macosx", "__pycache__", "@eadir", "#recycle", "$recycle.bin", "desktop.ini", "ehthumbs.db", "icon\r"}
    | {"lost+found", "system volume information", "thumbs.db"}
)
"""Lower-case names of files and folders that operating systems create. Names that start with a dot are also hidden."""


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden or was created by the operating system, judged by its name."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def folders_in(directory: str | os.PathLike) -> list[Path]:
    """Return the folders in a folder, sorted by name, without hidden ones and links to the folder or its parents."""
    folders = sorted(path for path in Path(directory).iterdir() if not is_hidden(path.name) and path.is_dir())
    around = _with_parents(directory) if any(path.is_symlink() for path in folders) else set()
    return [path for path in folders if not (path.is_symlink() and _identity(path.stat()) in around)]


@dataclass
class Folder:
    """A folder and its content, without hidden files and folders.

    Attributes:
        path: the folder.
        files: its regular files, including links to files.
        others: entries that are not readable files: broken links, links to the folder's parents, pipes, devices.
        folders: its subfolders, including links to folders, except those that are already in the tree.
    """

    path: Path
    files: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    folders: list["Folder"] = field(default_factory=list)

    def walk(self) -> Iterator["Folder"]:
        """Yield the folder and all its subfolders, at any depth."""
        yield self
        for folder in sorted(self.folders, key=lambda folder: folder.path):
            yield from folder.walk()


def read_tree(directory: str | os.PathLike) -> Folder:
    """Return the content of a folder at any depth.

    Links to folders are followed, but each folder is listed only once, so cyclic links do no harm.

    Raises:
        OSError: if a folder cannot be listed. The message names it.
    """
    root = Folder(Path(directory))
    around = _with_parents(directory)
    seen = {_identity(root.path.stat())}
    pending, linked = [root], list[tuple[Folder, Path]]()
    while pending or linked:
        if not pending:  # list folders before links, so that links to listed folders are recognised
            parent, path = linked.pop(0)
            if (identity := _identity(path.stat())) in around:
                parent.others.append(path)  # following it would add everything next to the folder to one class
                continue
            if identity in seen:
                logger.info(f"Skipped {path}, because it links to a folder that is already listed.")
                continue
            seen.add(identity)
            pending.append(Folder(path))
            parent.folders.append(pending[-1])
        folder = pending.pop()
        for path in sorted(folder.path.iterdir()):
            if is_hidden(path.name):
                continue
            if not path.is_dir():
                (folder.files if path.is_file() else folder.others).append(path)
            elif path.is_symlink():
                linked.append((folder, path))
            else:
                seen.add(_identity(path.stat()))
                folder.folders.append(Folder(path))
                pending.append(folder.folders[-1])
    return root


def _with_parents(directory: str | os.PathLike) -> set[tuple[int, int]]:
    """Return the identities of a folder and all its parents."""
    path = Path(directory).resolve()
    return {_identity(folder.stat()) for folder in (path, *path.parents)}


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def find_files(directory: str | os.PathLike, is_wanted: Callable[[Path], bool]) -> tuple[list[Path], list[Path]]:
    """Return the files in a folder and its subfolders, sorted by path.

    Args:
        directory: the folder.
        is_wanted: function that is given a file and returns whether it is wanted.

    Returns:
        The wanted files, and all others.
    """
    found: list[Path] = []
    others: list[Path] = []
    for folder in read_tree(directory).walk():
        for path in folder.files:
            (found if is_wanted(path) else others).append(path)
        others += folder.others
    return sorted(found), sorted(others)


def report_left_out(others: Sequence[Path], source: str | os.PathLike, kind: str) -> None:
    """Log the number and the first names of the files in a folder that are not used, if there are any.

    Args:
        others: the unused files.
        source: the folder.
        kind: why the files are not used, such as "not images".
    """
    if others:
        names = [os.path.relpath(path, source) for path in others[:5]]
        more = " …" if len(others) > 5 else ""
        logger.warning(
            f"Ignored {len(others)} file(s) of {os.fspath(source)} that are {kind}: {', '.join(names)}{more}"
        )


__all__ = ["Folder", "find_files", "folders_in", "is_hidden", "read_tree", "report_left_out"]
