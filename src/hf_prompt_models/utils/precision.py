"""Precision in which a model computes the features of images."""

import contextlib
import functools
import platform
import sys
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import torch
from torch.utils.data import default_collate

from hf_prompt_models.utils.files import UnreadableFileError


FEATURE_DTYPES = ("auto", "float32", "bfloat16")
"""Choices of `--feature_dtype`."""
LARGEST_COSINE_DISTANCE = 1e-2
"""Largest cosine distance between the bfloat16 and float32 features of an image with which `auto` chooses bfloat16."""
MEASURED_ITEMS = 16
"""Number of items whose features `auto` compares."""
NATIVE_BFLOAT16 = ("avx512_bf16", "amx_bf16")
"""Capabilities of a processor, as in `torch.cpu.get_capabilities`, with which it multiplies in bfloat16."""

P = ParamSpec("P")
Result = TypeVar("Result")


class EncodesImages(Protocol):
    """A model whose image tower can compute in lower precision than its weights."""

    image_dtype: torch.dtype | None

    @property
    def device(self) -> torch.device:
        """Device of the weights."""


ModelT = TypeVar("ModelT", bound=EncodesImages)


def in_image_dtype(method: Callable[Concatenate[ModelT, P], Result]) -> Callable[Concatenate[ModelT, P], Result]:
    """Return a method of a model that runs under autocast to the model's `image_dtype`, if it is not `None`.

    Args:
        method: method that runs the image tower.
    """

    @functools.wraps(method)
    def wrapped(self: ModelT, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        if self.image_dtype is None:
            return method(self, *args, **kwargs)
        with torch.autocast(self.device.type, self.image_dtype):
            return method(self, *args, **kwargs)

    return wrapped


def has_native_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies matrices in bfloat16 faster than in float32, by its instructions."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    read: Any = getattr(torch.cpu, "get_capabilities", None)  # torch < 2.10 has none
    found = {name for name, has in read().items() if has is True} if read else set(_flags_of_linux())
    return any(name in found for name in NATIVE_BFLOAT16)


def _flags_of_linux() -> list[str]:
    """Return the processor's flags that Linux reports, or none elsewhere."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        return []
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return next((line.split() for line in file if line.startswith("flags")), [])


def cosine_distances(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return 1 minus the cosine similarity of features along the last dimension, in double precision.

    Args:
        one: (..., dim) features.
        other: (..., dim) features.
    """
    return 1 - torch.nn.functional.cosine_similarity(one.double(), other.double(), dim=-1)


def wanted_dtype(feature_dtype: str | None, bf16: bool) -> str:
    """Return the choice of `--feature_dtype`, whose default is bfloat16 with `--bf16 true`, else float32."""
    return feature_dtype or ("bfloat16" if bf16 else "float32")


def choose_image_dtype(
    model: EncodesImages, feature_dtype: str, encode: Callable[..., torch.Tensor], dataset: Any
) -> torch.dtype | None:
    """Return the `image_dtype` for a model: bfloat16, or `None` for the precision of its weights.

    `auto` depends only on the processor, the model and the images, so that all runs on the same data choose the same.
    It prints the choice once per process.

    Args:
        model: the model. Its `image_dtype` is restored.
        feature_dtype: one of `FEATURE_DTYPES`.
        encode: function from a batch of the items' tensors to features, (batch, ..., dim), computed by the model.
        dataset: the items. `auto` compares the features of up to `MEASURED_ITEMS` of them.

    Raises:
        ValueError: for another `feature_dtype`.
    """
    if feature_dtype not in FEATURE_DTYPES:
        raise ValueError(f"Expected feature_dtype to be one of {', '.join(FEATURE_DTYPES)}, got {feature_dtype!r}.")
    if feature_dtype != "auto":
        return torch.bfloat16 if feature_dtype == "bfloat16" else None
    if not has_native_bfloat16(model.device):
        _report("Image features: float32, because this processor has no instructions for bfloat16.")
        return None
    inputs = _some_items(dataset)
    if not inputs:  # no item can be read, which is reported where the items are used
        return None
    before = model.image_dtype
    try:
        with torch.no_grad():
            model.image_dtype = None
            full = encode(**inputs)
            model.image_dtype = torch.bfloat16
            distance = cosine_distances(encode(**inputs), full).max().item()
    finally:
        model.image_dtype = before
    fits = distance < LARGEST_COSINE_DISTANCE
    _report(
        f"Image features: {'bfloat16' if fits else 'float32'}. The largest cosine distance between both, measured on "
        f"{len(full)} items, is {distance:.1e}; the bound is {LARGEST_COSINE_DISTANCE:g}."
    )
    return torch.bfloat16 if fits else None


def _some_items(dataset: Any) -> dict[str, torch.Tensor]:
    """Return the inputs of up to `MEASURED_ITEMS` items, evenly spaced, without those that cannot be read."""
    items = []
    for index in range(0, len(dataset), max(len(dataset) // MEASURED_ITEMS, 1))[:MEASURED_ITEMS]:
        with contextlib.suppress(UnreadableFileError):
            items.append(dataset[index])
    batch = default_collate(items) if items else {}
    batch.pop("labels", None)
    return batch


@functools.cache  # once per process, also if a command trains several methods
def _report(line: str) -> None:
    print(line, file=sys.stderr)
