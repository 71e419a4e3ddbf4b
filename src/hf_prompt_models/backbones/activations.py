"""QuickGELU, the activation of CLIP's towers, with less memory and time than in transformers."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers.activations import QuickGELUActivation


SLOPE = 1.702  # of the sigmoid in QuickGELU


class QuickGELU(nn.Module):
    """`x * sigmoid(1.702 * x)`, computed as `silu(1.702 * x) / 1.702`. Both are equal up to rounding.

    The backward pass keeps one tensor instead of two, and on the CPU both passes together take about two thirds of the
    time.
    """

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Return the activation, of the shape of the input."""
        if torch.compiler.is_compiling() or torch.jit.is_tracing():  # compilers fuse the formula
            return hidden_states * torch.sigmoid(SLOPE * hidden_states)
        return _QuickGELU.apply(hidden_states)


class _QuickGELU(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(hidden_states: torch.Tensor) -> torch.Tensor:
        return F.silu(SLOPE * hidden_states, inplace=True).mul_(1 / SLOPE)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        scaled = SLOPE * ctx.saved_tensors[0]
        if torch.is_grad_enabled():  # for second derivatives, which `silu_backward` does not have
            sigmoid = torch.sigmoid(scaled)
            return gradient * sigmoid * (1 + scaled * (1 - sigmoid))
        return torch.ops.aten.silu_backward(gradient, scaled)


def replace_quick_gelu(backbone: nn.Module) -> None:
    """Replace transformers' QuickGELU in all layers of a backbone by the one of this module."""
    for module in backbone.modules():
        if type(getattr(module, "activation_fn", None)) is QuickGELUActivation:
            module.activation_fn = QuickGELU()
