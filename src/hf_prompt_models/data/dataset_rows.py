"""Opening `datasets` data sets: saved on disk, or by their names on the Hub."""

import os
from pathlib import Path
from typing import Any

from hf_prompt_models.data.splits import find_split
from hf_prompt_models.utils.files import UnreadableFileError


def is_saved_dataset(path: str | os.PathLike) -> bool:
    """Whether a folder is what `save_to_disk` writes."""
    return Path(path).is_dir() and bool({"dataset_dict.json", "state.json"} & set(os.listdir(path)))


def load_split(source: Any, split: str) -> Any:
    """One split of a data set; one without splits as it is.

    Args:
        source: a `Dataset` or a `DatasetDict`, or the name or path of one.
        split: the split, in any usual spelling.

    Raises:
        ValueError: if there is no such split.
        TypeError: if it is no such data set.
    """
    import datasets  # slow to import, and not needed for folders

    if isinstance(source, str | os.PathLike):
        name, load = source, datasets.load_from_disk if is_saved_dataset(source) else datasets.load_dataset
        data: Any = load(str(source))
    else:
        name, data = "The data set", source
    if isinstance(data, datasets.DatasetDict):
        data = data[find_split(data, split, name)]
    if isinstance(data, datasets.IterableDataset | datasets.IterableDatasetDict):
        raise TypeError(
            "A stream has no rows to choose from. Train on it with hf_prompt_models.data.streaming, or take some of "
            "it as a data set: Dataset.from_list(list(stream.take(1000)), features=stream.features)."
        )
    if not isinstance(data, datasets.Dataset):
        raise TypeError(f"Expected a datasets.Dataset or its name, got {type(data).__name__}.")
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


def stored_image(value: dict[str, Any] | None) -> str | bytes:
    """The file or the bytes of a value of an `Image(decode=False)` column.

    Raises:
        UnreadableFileError: if there is none.
    """
    if value is None or (value["bytes"] is None and value["path"] is None):
        raise UnreadableFileError("The row has no image.")
    return value["bytes"] if value["bytes"] is not None else value["path"]
