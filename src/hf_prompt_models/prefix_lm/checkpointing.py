"""Gradient checkpointing for a frozen language model."""

from collections.abc import Callable
from typing import Any

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer


def checkpoint_frozen_layers(model: nn.Module) -> None:
    """Enable gradient checkpointing in the layers of a frozen model that is in eval mode.

    transformers checkpoints layers only in train mode. A frozen language model is in eval mode, although gradients
    flow through it to the image features, and its activations take most of the memory. Therefore its layers are marked
    as training, and each layer's computation still runs in eval mode, without dropout.

    Args:
        model: the language model, in eval mode. Its layers are changed in place. Layers for which checkpointing is not
            switched on stay as they are.
    """
    for layer in model.modules():
        if not isinstance(layer, GradientCheckpointingLayer):
            continue
        layer.training = layer.gradient_checkpointing
        if layer.gradient_checkpointing and not isinstance(layer._gradient_checkpointing_func, _CheckpointInEval):
            layer._gradient_checkpointing_func = _CheckpointInEval(layer, layer._gradient_checkpointing_func)


class _CheckpointInEval:
    """Checkpoint a function that runs in eval mode, in the forward pass and again in the backward pass."""

    def __init__(self, layer: nn.Module, checkpoint: Callable):
        self.layer = layer
        self.checkpoint = checkpoint

    def __call__(self, function: Callable, *inputs: Any) -> Any:
        def run(*inputs: Any) -> Any:
            self.layer.training = False
            try:
                return function(*inputs)
            finally:
                self.layer.training = True

        return self.checkpoint(run, *inputs)
