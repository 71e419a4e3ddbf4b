"""Folders that strangers publish are checked before anything is built of them.

A configuration is a few numbers, and a model is as large as they say. So what a folder describes is laid out without
memory first (on the meta device) and compared with the headers of its weights; numbers that would take too long even
so are refused.
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
"""Of any part of a model. Each is laid out by itself, which takes a millisecond."""
MAX_LABELS = 2**20
MAX_INDEX_BYTES = 2**26
MAX_NAME = 1000
"""Characters in a tensor's name, whose numbers are read as such where names are sorted."""
MAX_NEW_VALUES = 2**27
"""Numbers that a model may have beyond those that its files hold: a new head's."""

DAMAGES = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, RuntimeError, TypeError),
    StrictDataclassError,
)
"""What libraries raise when they meet a value that is not what they take it for."""


@contextmanager
def reading(path: str | os.PathLike, file: str) -> Iterator[None]:
    """Say which file is meant, whatever is wrong in it.

    Args:
        path: folder or Hub id.
        file: the name of the file in it.

    Raises:
        ValueError: in place of whatever came of damage; those that name the place pass.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (*DAMAGES, ValueError) as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        said = str(error)[:1000] if isinstance(error, ValueError | StrictDataclassError) else repr(error)[:1000]
        raise ValueError(f"{file} of {str(path)!r} is damaged, or does not fit this class: {said}") from error


def check_config(config: Any) -> None:
    """Refuse numbers of layers and labels for which Python would be busy for ever, and types that are no names.

    Args:
        config: what a `config.json` holds.

    Raises:
        ValueError: naming the field.
    """
    waiting = [("", config)]
    while waiting:
        name, value = waiting.pop()
        if name in ("dtype", "torch_dtype") and not isinstance(value, str | torch.dtype | None):
            raise ValueError(f"{name} is the name of a type, such as 'float32'; got {str(value)[:40]}.")
        if name == "model_type" and not isinstance(value, str | None):
            raise ValueError(f"model_type is the name of a kind of model; got {str(value)[:40]}.")
        if isinstance(value, Mapping):
            waiting += [(str(key), each) for key, each in value.items()]
        elif isinstance(value, list | tuple):
            waiting += [(name, each) for each in value]
        most = MAX_LABELS if name == "num_labels" else MAX_LAYERS
        counted = name == "num_labels" or any(part in name for part in ("layer", "depth", "block"))
        if counted and isinstance(value, int) and value > most:
            raise ValueError(f"{name} is {str(value)[:40]}; models have up to {most}.")


def check_weights(shapes: Mapping[str, tuple[int, ...]], path: str | os.PathLike, hub_kwargs: dict[str, Any]) -> None:
    """Refuse weights that are not those of the model that the configuration describes.

    Args:
        shapes: of that model's tensors, by name.
        path: folder or Hub id.
        hub_kwargs: `revision`, `token`, … to find it with.

    Raises:
        OSError, SafetensorError: if a file is missing or damaged.
        ValueError: if a tensor has another shape, so much is missing that it cannot be this model, or an index of
            several files names one outside of the folder.
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
                f"{str(path)!r} does not hold what its config.json describes: {name} is {shape}, not {shapes[name]}."
            )
    missing = sum(torch.Size(shape).numel() for name, shape in shapes.items() if name not in found)
    # What it has under other names, as older versions of transformers wrote them, is no reason to refuse it.
    if missing > MAX_NEW_VALUES + sum(torch.Size(shape).numel() for shape in found.values()):
        raise ValueError(f"{str(path)!r} lacks most of what its config.json describes: {missing} numbers.")


def weight_files(path: str | os.PathLike, hub_kwargs: dict[str, Any]) -> list[str]:
    """Return the weights' files; none where there are none of safetensors."""

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
            raise ValueError(f"{index} is no index of weights, with the names of its files in 'weight_map'.")
    for name in names:
        check_inside(name, index)
    return [cached_file(path, name, **hub_kwargs) for name in names]
