"""Telling one backbone from another, or from itself before a change, without reading it whole."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import xxhash
from torch.distributed.tensor import DTensor


VALUES_PER_TENSOR = 16
RELATIVE_TOLERANCE = 2**-7
"""bf16 keeps 8 bits of a value: halved copies differ by up to 2^-9, another model by much more."""
ABSOLUTE_TOLERANCE = 1e-6


def compute_fingerprint(state_dict: Mapping[str, torch.Tensor], names: Sequence[str]) -> dict[str, Any]:
    """Shapes of the named tensors, and 16 values sampled at even distances along the first row of each."""
    fingerprint = {}
    for name in names:
        tensor = state_dict[name]
        fingerprint[name] = {
            "shape": " x ".join(map(str, tensor.shape)),
            "values": " ".join(f"{value:.5g}" for value in _sample(tensor)),
        }
    return fingerprint


def check_fingerprint(
    state_dict: Mapping[str, torch.Tensor], fingerprint: Mapping[str, Any], base: str, checkpoint: str
) -> None:
    """Refuse a backbone that is not the one a prompt was learned for.

    Copies in fp16 or bf16, sharded or saved again, pass.

    Args:
        state_dict: the backbone's.
        fingerprint: what `compute_fingerprint` said of the backbone at training time.
        base, checkpoint: where both come from, for the message.

    Raises:
        ValueError: naming the first tensor that differs.
    """
    for name, expected in fingerprint.items():
        shape = " x ".join(map(str, state_dict[name].shape)) if name in state_dict else "missing"
        if shape != expected["shape"]:
            raise ValueError(
                f"The prompt in {checkpoint!r} does not fit the backbone {base!r}: its {name} is {shape}, the prompt "
                f"was learned for one of {expected['shape']}. Pass base_model_name_or_path=... with that backbone."
            )
        values = torch.tensor([float(value) for value in expected["values"].split()])
        sample = _sample(state_dict[name])
        if not torch.allclose(sample, values, rtol=RELATIVE_TOLERANCE, atol=ABSOLUTE_TOLERANCE):
            raise ValueError(
                f"The prompt in {checkpoint!r} was learned for another backbone than {base!r}: their sizes agree, the "
                f"values of {name} do not. Pass base_model_name_or_path=... with the right one."
            )


def digest_tensors(state_dict: Mapping[str, torch.Tensor]) -> dict[str, bytes]:
    """Return 16 bytes for each tensor that differ after any change of its values, its shape or its dtype.

    All values are read, so a change through `tensor.data`, which no version counter sees, counts too. XXH3 reads them
    at the speed of memory: 11 GB/s on one core, 14 ms for the 38 million values of a CLIP's text layers. Offloaded
    tensors (on the meta device) have no values that could change in place; their shapes and dtypes are compared.
    """
    return {name: _digest(tensor) for name, tensor in state_dict.items()}


def value_marks(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return tensors that differ, by `torch.equal`, after any change of values, however it was made.

    On a CPU these are digests. On another device they are the values themselves: a comparison of 150 MB takes less
    than a millisecond there, and copying them to the CPU tens of milliseconds.
    """
    local = [local_values(tensor) for tensor in tensors]
    digests = [_digest(tensor) for tensor in local if tensor.device.type in ("cpu", "meta")]
    marks = [torch.frombuffer(bytearray(b"".join(digests)), dtype=torch.uint8)] if digests else []
    devices = dict.fromkeys(tensor.device for tensor in local if tensor.device.type not in ("cpu", "meta"))
    return marks + [torch.cat([_bits(tensor) for tensor in local if tensor.device == device]) for device in devices]


def local_values(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor without its graph; of one that is sharded over processes, the shard of this one."""
    return (tensor.to_local() if isinstance(tensor, DTensor) else tensor).detach()


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _digest(tensor: torch.Tensor) -> bytes:
    kind = f"{tuple(tensor.shape)} {tensor.dtype}".encode()
    total = xxhash.xxh3_128(kind)
    if tensor.device.type != "meta":
        total.update(_bits(local_values(tensor)).cpu().numpy().data)
    return total.digest()


def _sample(tensor: torch.Tensor) -> torch.Tensor:
    row = tensor.reshape(-1, tensor.shape[-1])[0]
    places = torch.linspace(0, len(row) - 1, VALUES_PER_TENSOR).round().long()
    return row[places.to(row.device)].detach().float().cpu()
