"""Opening `datasets` data sets: saved on disk, or by their names on the Hub."""

import os
from pathlib import Path
from typing import Any

from hf_prompt_models.data.splits import find_split


def is_saved_dataset(path: str | os.PathLike) -> bool:
    """Whether a folder is what `save_to_disk` writes."""
    return Path(path).is_dir() and bool({"dataset_dict.json", "state.json"} & set(os.listdir(path)))


def load_split(name_or_path: str, split: str) -> Any:
    """One split of a data set; a saved one without splits as it is.

    Raises:
        ValueError: if there is no such split.
    """
    import datasets  # slow to import, and not needed for folders

    data: Any = (
        datasets.load_from_disk(name_or_path)
        if is_saved_dataset(name_or_path)
        else datasets.load_dataset(name_or_path)
    )
    if isinstance(data, datasets.DatasetDict):
        return data[find_split(data, split, name_or_path)]
    return data


def load_named_split(source: str, split: str) -> tuple[str, str, Any]:
    """The data set of `name` or `name:split`, its name and its split; `split` holds where the source says none.

    Raises:
        ValueError: if it cannot be loaded, or has no such split.
    """
    name, separator, named_split = source.rpartition(":")
    if not separator:
        name, named_split = source, split
    try:
        return name, named_split, load_split(name, named_split)
    except (FileNotFoundError, ConnectionError) as error:
        raise ValueError(f"{source!r} is neither a file here nor a data set that can be loaded.") from error


def stored_image(value: dict[str, Any]) -> str | bytes:
    """The file or the bytes of a value of an `Image(decode=False)` column."""
    return value["bytes"] if value["bytes"] is not None else value["path"]
