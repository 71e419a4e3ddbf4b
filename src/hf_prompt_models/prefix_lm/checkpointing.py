"""Activation checkpointing of a model that is frozen."""

from collections.abc import Callable
from typing import Any

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer


def checkpoint_frozen_layers(model: nn.Module) -> None:
    """Let the layers of a frozen model be checkpointed, where that is switched on.

    transformers checkpoints layers in train mode alone. A frozen language model is in eval mode, though gradients go
    through it to the images, and its activations are most of the memory. So its layers are said to train, and made to
    run as in eval mode, without dropout.

    Args:
        model: the language model, in eval mode; its layers are changed in place.
    """
    for layer in model.modules():
        if not isinstance(layer, GradientCheckpointingLayer):
            continue
        layer.training = layer.gradient_checkpointing
        if layer.gradient_checkpointing and not isinstance(layer._gradient_checkpointing_func, _CheckpointInEval):
            layer._gradient_checkpointing_func = _CheckpointInEval(layer, layer._gradient_checkpointing_func)


class _CheckpointInEval:
    """`checkpoint(function, *inputs)` with `function` run, and run again in the backward pass, in eval mode."""

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
