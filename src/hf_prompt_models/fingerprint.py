"""Telling one backbone from another, or from itself before a change, without reading it whole."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch


VALUES_PER_TENSOR = 16
RELATIVE_TOLERANCE = 2**-7
"""bf16 keeps 8 bits of a value: halved copies differ by up to 2^-9, another model by much more."""
ABSOLUTE_TOLERANCE = 1e-6
MARKED_VALUES = 64


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


def change_marks(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """What differs after tensors were changed: where they lie, how often they were written to, sums and some values.

    Every change in place is counted but those through `tensor.data`. Of these, a change of a few values shows in its
    tensor's sum, and values that changed places in 64 of them, spread over all of the tensor.

    Returns:
        Three tensors, or none of no tensors.
    """
    if not tensors:
        return []
    counted = [[tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version] for tensor in tensors]
    sums = [tensor.detach().sum(dtype=torch.float32) for tensor in tensors]
    # An odd distance: an even one could meet the same column in each row.
    sampled = [tensor.detach().reshape(-1)[:: tensor.numel() // MARKED_VALUES | 1] for tensor in tensors]
    return [torch.tensor(counted), torch.stack(sums), torch.cat(sampled)]


def _sample(tensor: torch.Tensor) -> torch.Tensor:
    row = tensor.reshape(-1, tensor.shape[-1])[0]
    places = torch.linspace(0, len(row) - 1, VALUES_PER_TENSOR).round().long()
    return row[places.to(row.device)].detach().float().cpu()
