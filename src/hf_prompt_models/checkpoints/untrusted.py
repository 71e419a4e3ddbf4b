"""Check folders from untrusted sources before a model is built from them.

A configuration is only a few numbers, but they determine the size of the model. The model that a folder describes is
therefore first built without memory (on the meta device) and compared with the headers of its weights. Numbers that
would take too long even then are refused.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import safe_open
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file

from hf_prompt_models.utils.files import check_inside, read_json


MAX_LAYERS = 1024
"""Maximum number of layers of any part of a model. Building each one takes a millisecond."""
MAX_LABELS = 2**20
MAX_INDEX_BYTES = 2**26
MAX_NAME = 1000
"""Maximum length of a tensor name. Digits in names are converted to numbers when names are sorted."""
MAX_NEW_VALUES = 2**27
"""Maximum number of parameters that a model may have in addition to those in its files, such as a new head."""

DAMAGES = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, RuntimeError, TypeError),
    StrictDataclassError,
)
"""The errors that libraries raise for values of an unexpected type."""


@contextmanager
def reading(path: str | os.PathLike, file: str) -> Iterator[None]:
    """Name the file in all errors that are raised while it is read.

    Args:
        path: folder or Hub id.
        file: the name of the file in it.

    Raises:
        ValueError: in place of errors caused by damaged values. Errors that already name the file are kept.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (*DAMAGES, ValueError) as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        said = str(error)[:1000] if isinstance(error, ValueError | StrictDataclassError) else repr(error)[:1000]
        raise ValueError(f"{file} of {str(path)!r} is damaged or does not fit this class: {said}") from error


def check_config(config: Any) -> None:
    """Refuse numbers of layers and labels that would take too long, and dtypes and model types that are not names.

    Args:
        config: content of a `config.json`.

    Raises:
        ValueError: if a value is refused; the message names the field.
    """
    waiting = [("", config)]
    while waiting:
        name, value = waiting.pop()
        if name in ("dtype", "torch_dtype") and not isinstance(value, str | torch.dtype | None):
            raise ValueError(f"Expected the name of a type such as 'float32' as {name}, got {str(value)[:40]}.")
        if name == "model_type" and not isinstance(value, str | None):
            raise ValueError(f"Expected the name of a model type as model_type, got {str(value)[:40]}.")
        if isinstance(value, Mapping):
            waiting += [(str(key), each) for key, each in value.items()]
        elif isinstance(value, list | tuple):
            waiting += [(name, each) for each in value]
        most = MAX_LABELS if name == "num_labels" else MAX_LAYERS
        counted = name == "num_labels" or any(part in name for part in ("layer", "depth", "block"))
        if counted and isinstance(value, int) and value > most:
            raise ValueError(f"{name} is {str(value)[:40]}, but the limit is {most}.")


def check_weights(shapes: Mapping[str, tuple[int, ...]], path: str | os.PathLike, hub_kwargs: dict[str, Any]) -> None:
    """Refuse weights that do not match the model that the configuration describes.

    Args:
        shapes: shapes of the tensors of that model, by name.
        path: folder or Hub id.
        hub_kwargs: `revision`, `token`, … of the checkpoint.

    Raises:
        OSError: if a file is missing or damaged.
        SafetensorError: if a file is damaged.
        ValueError: if a tensor has another shape, too many values are missing for this model, or the index of a
            sharded checkpoint names a file outside of the folder.
    """
    found: dict[str, tuple[int, ...]] = {}
    for file in weight_files(path, hub_kwargs):
        with safe_open(file, framework="pt") as weights:
            found |= {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
    for name, shape in found.items():
        if len(name) > MAX_NAME:
            raise ValueError(f"The weights in {str(path)!r} have a name of {len(name)} characters: {name[:40]}…")
        if shapes.get(name, shape) != shape:
            raise ValueError(
                f"{str(path)!r} does not match its config.json: {name} has the shape {shape}, expected {shapes[name]}."
            )
    missing = sum(torch.Size(shape).numel() for name, shape in shapes.items() if name not in found)
    # Tensors with other names, which older versions of transformers wrote, also count as found.
    if missing > MAX_NEW_VALUES + sum(torch.Size(shape).numel() for shape in found.values()):
        raise ValueError(
            f"{str(path)!r} lacks most of the weights that its config.json describes: {missing} numbers are missing."
        )


def weight_files(path: str | os.PathLike, hub_kwargs: dict[str, Any]) -> list[str]:
    """Return the weight files of a checkpoint; empty if there are no safetensors files."""

    def find(name: str) -> str | None:
        return cached_file(path, name, _raise_exceptions_for_missing_entries=False, **hub_kwargs)

    if (single := find(SAFE_WEIGHTS_NAME)) is not None:
        return [single]
    if (index := find(SAFE_WEIGHTS_INDEX_NAME)) is None:
        return []
    match read_json(index, MAX_INDEX_BYTES, "indices of weights"):
        case {"weight_map": dict(places), "metadata": dict()} if all(
            isinstance(each, str) for each in places.values()
        ):
            names = sorted(set(places.values()))
        case _:
            raise ValueError(
                f"{index} is not an index of weights. Expected the file names of the weights in 'weight_map'."
            )
    for name in names:
        check_inside(name, index)
    return [cached_file(path, name, **hub_kwargs) for name in names]
