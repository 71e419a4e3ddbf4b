"""Split names in all common spellings, and the folders that they refer to."""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from hf_prompt_models.data.listing import folders_in


SPLIT_NAMES = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "validate", "dev", "devel", "development"),
    "test": ("test", "testing", "tst", "eval", "evaluation"),
}
"""Spellings of each split, including those of 🤗 Datasets.

Case and separators are ignored, and a name may have an ending such as "set" or "data" and a year.
"""

_SPELLINGS = {spelling: split for split, spellings in SPLIT_NAMES.items() for spelling in spellings}
_ENDINGS = r"(set|split|data|dataset|images?|videos?)?(\d{4})?"
_PATTERN = re.compile(f"({'|'.join(sorted(_SPELLINGS, key=len, reverse=True))}){_ENDINGS}")


def split_of(name: str) -> str | None:
    """Return the split that a name refers to, "train", "val" or "test", or None.

    Example:
        ```python
        >>> from hf_prompt_models.data.splits import split_of
        >>> split_of("Test set"), split_of("validation"), split_of("train2017"), split_of("trains")
        ('test', 'val', 'train', None)

        ```
    """
    match = _PATTERN.fullmatch(re.sub(r"[\W_]+", "", name.casefold()))
    return _SPELLINGS[match[1]] if match else None


def find_split(names: Iterable[str], split: str, source: str | os.PathLike) -> str:
    """Return the name that refers to a split.

    Args:
        names: names of the available splits.
        split: the wanted split, in any spelling.
        source: dataset, file or folder with the splits, for the error message.

    Raises:
        ValueError: if no name or several names refer to the split. The message lists them and says what to pass.
    """
    names = list(names)
    if split in names:
        return split
    wanted = split_of(split)
    found = [name for name in names if wanted is not None and split_of(name) == wanted]
    if len(found) > 1:
        raise ValueError(
            f"{source} has several splits for {split!r}: {', '.join(found)}. Choose one, such as {source}:{found[0]}."
        )
    if not found:
        separator = "/" if os.path.isdir(os.path.join(source, names[-1] if names else "")) else ":"
        advice = f" Choose one of them, such as {source}{separator}{names[-1]}." if names else ""
        raise ValueError(f"{source} has no split {split!r}. Its splits are {', '.join(names) or 'none'}.{advice}")
    return found[0]


def split_folder(directory: Path, split: str, holds_classes: Callable[[Path], bool]) -> Path:
    """Return the folder of a split within a folder, or the folder itself if it holds classes instead of splits.

    A folder holds splits if one of these conditions is true:

    - all its subfolders have names of splits;
    - the subfolders of two or more splits hold class folders;
    - the subfolder of the wanted split holds class folders;
    - several subfolders hold class folders of the same names, and one of them is named after a split.

    Args:
        directory: the folder.
        split: the wanted split, in any spelling.
        holds_classes: function that is given a folder and returns whether it holds classes.

    Raises:
        ValueError: if the folder holds splits, but not the wanted one with classes. The message lists the splits.
    """
    folders = folders_in(directory)
    named = {
        folder: name
        for folder in folders
        if (name := split_of(folder.name) or (folder.name if folder.name == split else None))
    }
    alike = _folders_alike(folders, holds_classes)
    named = alike | named
    with_classes = {folder: name for folder, name in named.items() if holds_classes(folder)}
    wanted = split_of(split) or split
    if not named or not (
        alike or len(named) == len(folders) or len(set(with_classes.values())) > 1 or wanted in with_classes.values()
    ):
        return directory
    if not with_classes:
        raise ValueError(
            f"{directory} has splits ({', '.join(folder.name for folder in named)}) without class folders. "
            f"Arrange the files as {next(iter(named)) / '<class name>' / '<file>'}."
        )
    if (exact := directory / split) in with_classes:
        return exact
    found = [folder for folder, name in with_classes.items() if name == wanted]
    if len(found) > 1:
        raise ValueError(
            f"{directory} has several splits for {split!r}: {', '.join(folder.name for folder in found)}. "
            f"Pass one of them, such as {found[0]}."
        )
    if not found:
        raise ValueError(
            f"{directory} has no split {split!r} with class folders. Its splits are "
            f"{', '.join(folder.name for folder in with_classes)}. Pass one of them, such as "
            f"{list(with_classes)[-1]}."
        )
    return found[0]


def _folders_alike(folders: list[Path], holds_classes: Callable[[Path], bool]) -> dict[Path, str]:
    """Return the folders that hold class folders of the same names, such as "food_train" and "holdout".

    Returns:
        For each folder, the split that its name begins or ends with, or else its name. Empty if no name has a split.
    """
    splits = {folder: _split_within(folder.name) for folder in folders}
    if not any(splits.values()):
        return {}
    classes = {folder: {each.name for each in folders_in(folder)} for folder in folders if holds_classes(folder)}
    alike = [
        folder
        for folder, names in classes.items()
        if any(len(names & others) > 1 for other, others in classes.items() if other != folder)
    ]
    return {folder: splits[folder] or folder.name for folder in alike} if any(map(splits.get, alike)) else {}


def _split_within(name: str) -> str | None:
    parts = re.split(r"[\W_]+", name)
    return split_of(name) or split_of(parts[0]) or split_of(parts[-1])


def named_split(source: str | os.PathLike) -> tuple[Path, str] | None:
    """Return the path and the split of a source `D:split`, or None for other sources."""
    name, _, split = os.fspath(source).rpartition(":")
    return (Path(name), split) if name and split and os.path.exists(name) else None


def named_folder(directory: Path, split: str) -> Path:
    """Return the folder that `D:split` refers to.

    Args:
        directory: the folder `D`.
        split: name of a folder in it, or a split in any spelling.

    Raises:
        ValueError: if there is no such folder. The message lists the splits.
    """
    folders = [folder.name for folder in folders_in(directory)]
    if split in folders:
        return directory / split
    splits = [name for name in folders if split_of(name) is not None]
    try:
        return directory / find_split(splits, split, directory)
    except ValueError as error:
        raise ValueError(
            str(error) if splits else (f"{directory} has no folder {split!r}. Create it, or choose another split.")
        ) from error


def source_title(source: str) -> str:
    """Return a title for a source: the name of its folder, or of the parent folder if the name is only a split."""
    path = Path(source)
    return (path.parent.name or path.name) if split_of(path.name) else path.name
