"""Loading of 🤗 Datasets datasets that are in memory, saved on disk or on the Hub."""

import os
from pathlib import Path
from typing import Any

from hf_prompt_models.data.splits import find_split
from hf_prompt_models.utils.files import UnreadableFileError


def is_saved_dataset(path: str | os.PathLike) -> bool:
    """Return whether a folder was written by `save_to_disk` of 🤗 Datasets."""
    return Path(path).is_dir() and bool({"dataset_dict.json", "state.json"} & set(os.listdir(path)))


def load_split(source: Any, split: str) -> Any:
    """Return one split of a dataset. A dataset without splits is returned unchanged.

    Args:
        source: a `Dataset` or a `DatasetDict`, or the name or path of one.
        split: the split, in any common spelling.

    Raises:
        ValueError: if there is no such split.
        TypeError: if the source is a stream or another object.
    """
    import datasets  # slow to import, and not needed for folders

    if isinstance(source, str | os.PathLike):
        name, load = source, datasets.load_from_disk if is_saved_dataset(source) else datasets.load_dataset
        data: Any = load(str(source))
    else:
        name, data = "The dataset", source
    if isinstance(data, datasets.DatasetDict):
        data = data[find_split(data, split, name)]
    if isinstance(data, datasets.IterableDataset | datasets.IterableDatasetDict):
        raise TypeError(
            "Cannot select rows of a streaming dataset. Train on it with hf_prompt_models.data.streaming, or convert "
            "a part of it to a dataset: Dataset.from_list(list(stream.take(1000)), features=stream.features)."
        )
    if not isinstance(data, datasets.Dataset):
        raise TypeError(f"Expected a datasets.Dataset or the name of a dataset, got {type(data).__name__}.")
    return data


def load_named_split(source: str, split: str) -> tuple[str, str, Any]:
    """Return the name, the split and the rows of a dataset given as `name` or `name:split`.

    Args:
        source: name on the Hub or path of a saved dataset, optionally with a split.
        split: the split to load if `source` does not include one.

    Raises:
        ValueError: if the dataset cannot be loaded, or has no such split.
    """
    name, separator, named_split = source.rpartition(":")
    if not separator:
        name, named_split = source, split
    try:
        return name, named_split, load_split(name, named_split)
    except (FileNotFoundError, ConnectionError) as error:
        raise ValueError(f"{source!r} is neither a local file nor a dataset that can be loaded.") from error


def stored_image(value: dict[str, Any] | None) -> str | bytes:
    """Return the bytes or the path in a value of an `Image(decode=False)` column.

    Raises:
        UnreadableFileError: if the value holds neither.
    """
    if value is None or (value["bytes"] is None and value["path"] is None):
        raise UnreadableFileError("The row has no image.")
    return value["bytes"] if value["bytes"] is not None else value["path"]
