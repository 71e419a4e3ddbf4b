"""Low-rank updates of the attention layers of a CLIP, apart from its weights (LoRA, arXiv 2106.09685)."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional as F


PROJECTIONS = ("q", "k", "v")
"""The updated linear layers of an attention layer: `q_proj`, `k_proj`, `v_proj`."""


class LowRankUpdate(nn.Module):
    """What is added to the output of a linear layer: `scaling * B A x`.

    Args:
        linear: the layer.
        rank: rank of the update.
        scaling: factor of the product.
        dropout: dropout probability of the input.

    Attributes:
        A: (rank, in_features)
        B: (out_features, rank)
    """

    def __init__(self, linear: nn.Linear, rank: int, scaling: float, dropout: float):
        super().__init__()
        self.scaling = scaling
        self.dropout = nn.Dropout(dropout)
        self.A = nn.Parameter(torch.empty(rank, linear.in_features))
        self.B = nn.Parameter(torch.empty(linear.out_features, rank))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the update, (..., out_features), for inputs (..., in_features)."""
        inputs = self.dropout(inputs.to(self.A.dtype))
        return self.scaling * F.linear(F.linear(inputs, self.A), self.B)


class LowRankUpdates(nn.Module):
    """The updates of all attention layers of one or both towers.

    They are in a module of their own, not inside of the backbone, whose weights, names and modes stay as they are.

    Args:
        attentions: attention layers by the name of the tower.
        rank: as in `LowRankUpdate`.
        scaling: as in `LowRankUpdate`.
        dropout: as in `LowRankUpdate`.

    Attributes:
        text_model: updates of the layers of the text tower, if it has some, by the letter of the projection.
        vision_model: those of the image tower.
    """

    text_model: nn.ModuleList
    vision_model: nn.ModuleList

    def __init__(self, attentions: Mapping[str, Sequence[nn.Module]], rank: int, scaling: float, dropout: float):
        super().__init__()
        for tower, layers in attentions.items():
            updates = [
                {name: LowRankUpdate(getattr(layer, f"{name}_proj"), rank, scaling, dropout) for name in PROJECTIONS}
                for layer in layers
            ]
            self.add_module(tower, nn.ModuleList(map(nn.ModuleDict, updates)))


class UpdatedLinear(nn.Module):
    """A linear layer and its update.

    Args:
        linear: the layer, or what replaces it, such as an adapter's layer.
        update: the update.
    """

    def __init__(self, linear: nn.Module, update: nn.Module):
        super().__init__()
        self.linear, self.update = linear, update

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the sum of both for inputs (..., in_features)."""
        output = self.linear(inputs)
        return output + self.update(inputs).to(output.dtype)


def replace_submodules(module: nn.Module, replacements: Mapping[str, nn.Module]) -> nn.Module:
    """Return a copy of a module with other submodules. It shares all others and all weights with the module.

    Only the modules on the way to the replacements are copied, which takes a millisecond for a tower.

    Args:
        module: the module, which is not changed.
        replacements: new submodules by name.

    Raises:
        ValueError: if a module on the way is wrapped, so that its copy would still run the original.
    """
    copied = copy.copy(module)
    # The dictionaries of children, parameters and hooks, which are shared otherwise.
    vars(copied).update({name: value.copy() for name, value in vars(module).items() if isinstance(value, dict)})
    children = dict(module.named_children())
    inner: dict[str, dict[str, nn.Module]] = {}
    for name, replacement in replacements.items():
        child, _, rest = name.partition(".")
        inner.setdefault(child, {})[rest] = replacement
    if "forward" in vars(module) or inner.keys() - children.keys():
        raise ValueError(
            f"The {type(module).__name__} is split over devices or wrapped, so that it would run without the low-rank "
            "updates. Load the model on one device (device_map='cuda:0'); torchrun trains on several."
        )
    for child, below in inner.items():
        setattr(copied, child, below[""] if "" in below else replace_submodules(children[child], below))
    return copied
