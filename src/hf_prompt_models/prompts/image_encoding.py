"""Forward passes of a CLIP image tower, with or without prompts between its tokens: loops over its layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import CLIPVisionModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.output_capturing import capture_outputs


def encode_class_token(vision_model: CLIPVisionModel, pixel_values: torch.Tensor) -> torch.Tensor:
    """Return the class token after the final norm, (batch, hidden size): `.pooler_output` of the image tower.

    The feed-forward part of the last layer runs only for this token, as nothing reads the others.

    Args:
        vision_model: the image tower of a CLIP with a class token.
        pixel_values: (batch, 3, height, width)
    """
    hidden_states = vision_model.pre_layrnorm(vision_model.embeddings(pixel_values))
    *earlier, last = vision_model.encoder.layers
    for layer in earlier:
        hidden_states = layer(hidden_states, None)
    return vision_model.post_layernorm(_run_for_first(last, hidden_states, 1)[:, 0])


@capture_outputs(tie_last_hidden_states=False)
def encode_with_appended_prompts(
    vision_model: CLIPVisionModel,
    pixel_values: torch.Tensor,
    prompts: Sequence[torch.Tensor],
    interpolate_pos_encoding: bool = False,
    num_read: int | None = None,
    **kwargs: Any,
) -> BaseModelOutputWithPooling:
    """Run an image tower with prompts after the patches (VPT, arXiv 2203.12119, at the positions in MaPLe's code).

    Args:
        vision_model: the image tower.
        pixel_values: (batch, 3, height, width)
        prompts: prompts by layer, each (number of prompts, hidden size). The first is appended before `pre_layrnorm`.
            The others replace it at the input of layers 1, 2, …, without a position embedding or that norm.
        interpolate_pos_encoding: as in the forward pass of the tower.
        num_read: number of first tokens that are read. The output contains only these, and the last layer computes
            its feed-forward part only for them. Default: all.
        kwargs: `output_hidden_states`, `output_attentions`.

    Returns:
        `last_hidden_state` of the tokens, and `pooler_output` (batch, hidden size), the class token after the final
        norm.
    """
    hidden_states = vision_model.embeddings(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding)
    count = len(prompts[0])
    hidden_states = torch.cat([hidden_states, _expand(prompts[0], hidden_states)], dim=1)
    hidden_states = vision_model.pre_layrnorm(hidden_states)
    for index, layer in enumerate(vision_model.encoder.layers):
        if 0 < index < len(prompts):
            hidden_states = torch.cat([hidden_states[:, :-count], _expand(prompts[index], hidden_states)], dim=1)
        hidden_states = _run_layer(vision_model, layer, hidden_states, num_read)
    pooled = vision_model.post_layernorm(hidden_states[:, 0])
    return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=pooled)


@capture_outputs(tie_last_hidden_states=False)
def encode_with_inserted_prompts(
    vision_model: CLIPVisionModel,
    pixel_values: torch.Tensor,
    prompts: Mapping[int, torch.Tensor],
    interpolate_pos_encoding: bool = False,
    num_read: int | None = None,
    **kwargs: Any,
) -> BaseModelOutputWithPooling:
    """Run an image tower with prompts between class token and patches, from some layer on (MMRL, arXiv 2503.08497).

    Args:
        vision_model: the image tower.
        pixel_values: (batch, 3, height, width)
        prompts: prompts, each (number of prompts, hidden size), by the layer at whose input they are inserted or
            replace the previous ones.
        interpolate_pos_encoding: as in the forward pass of the tower.
        num_read: number of first tokens that are read. The output contains only these, and the last layer computes
            its feed-forward part only for them. Default: all.
        kwargs: `output_hidden_states`, `output_attentions`.

    Returns:
        `last_hidden_state` of the tokens, and `pooler_output` (batch, hidden size), the class token after the final
        norm.
    """
    hidden_states = vision_model.embeddings(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding)
    hidden_states = vision_model.pre_layrnorm(hidden_states)
    patches = 1  # index of the first patch
    for index, layer in enumerate(vision_model.encoder.layers):
        if index in prompts:
            inserted = _expand(prompts[index], hidden_states)
            hidden_states = torch.cat([hidden_states[:, :1], inserted, hidden_states[:, patches:]], dim=1)
            patches = 1 + inserted.shape[1]
        hidden_states = _run_layer(vision_model, layer, hidden_states, num_read)
    pooled = vision_model.post_layernorm(hidden_states[:, 0])
    return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=pooled)


def _expand(prompts: torch.Tensor, hidden_states: torch.Tensor) -> torch.Tensor:
    return prompts.to(hidden_states.dtype).expand(hidden_states.shape[0], -1, -1)


def _run_layer(
    vision_model: CLIPVisionModel, layer: torch.nn.Module, hidden_states: torch.Tensor, num_read: int | None
) -> torch.Tensor:
    if num_read is not None and layer is vision_model.encoder.layers[-1]:
        return _run_for_first(layer, hidden_states, num_read)
    # The checkpointing of the layer only works in train mode, and a frozen tower is in eval mode.
    if vision_model.encoder.gradient_checkpointing and torch.is_grad_enabled():
        return checkpoint(layer, hidden_states, None, use_reentrant=False)
    return layer(hidden_states, None)


def _run_for_first(layer: Any, hidden_states: torch.Tensor, count: int) -> torch.Tensor:
    """Return the output of a layer for the first tokens, (batch, count, hidden size)."""
    attended, _ = layer.self_attn(layer.layer_norm1(hidden_states), attention_mask=None)
    first = hidden_states[:, :count] + attended[:, :count]
    return first + layer.mlp(layer.layer_norm2(first))
