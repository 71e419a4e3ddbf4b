"""Forward passes of a CLIP image tower with prompts between its tokens: loops over its unmodified layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import CLIPVisionModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.output_capturing import capture_outputs


@capture_outputs(tie_last_hidden_states=False)
def encode_with_appended_prompts(
    vision_model: CLIPVisionModel,
    pixel_values: torch.Tensor,
    prompts: Sequence[torch.Tensor],
    interpolate_pos_encoding: bool = False,
    **kwargs: Any,
) -> BaseModelOutputWithPooling:
    """Run an image tower with prompts after the patches (VPT, arXiv 2203.12119, at the positions in MaPLe's code).

    Args:
        vision_model: the image tower.
        pixel_values: (batch, 3, height, width)
        prompts: prompts by layer, each (number of prompts, hidden size). The first is appended before `pre_layrnorm`.
            The others replace it at the input of layers 1, 2, …, without a position embedding or that norm.
        interpolate_pos_encoding: as in the forward pass of the tower.
        kwargs: `output_hidden_states`, `output_attentions`.

    Returns:
        `last_hidden_state` of all tokens, and `pooler_output` (batch, hidden size), the class token after the final
        norm.
    """
    hidden_states = vision_model.embeddings(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding)
    count = len(prompts[0])
    hidden_states = torch.cat([hidden_states, _expand(prompts[0], hidden_states)], dim=1)
    hidden_states = vision_model.pre_layrnorm(hidden_states)
    for index, layer in enumerate(vision_model.encoder.layers):
        if 0 < index < len(prompts):
            hidden_states = torch.cat([hidden_states[:, :-count], _expand(prompts[index], hidden_states)], dim=1)
        hidden_states = _run_layer(vision_model, layer, hidden_states)
    pooled = vision_model.post_layernorm(hidden_states[:, 0])
    return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=pooled)


@capture_outputs(tie_last_hidden_states=False)
def encode_with_inserted_prompts(
    vision_model: CLIPVisionModel,
    pixel_values: torch.Tensor,
    prompts: Mapping[int, torch.Tensor],
    interpolate_pos_encoding: bool = False,
    **kwargs: Any,
) -> BaseModelOutputWithPooling:
    """Run an image tower with prompts between class token and patches, from some layer on (MMRL, arXiv 2503.08497).

    Args:
        vision_model: the image tower.
        pixel_values: (batch, 3, height, width)
        prompts: prompts, each (number of prompts, hidden size), by the layer at whose input they are inserted or
            replace the previous ones.
        interpolate_pos_encoding: as in the forward pass of the tower.
        kwargs: `output_hidden_states`, `output_attentions`.

    Returns:
        `last_hidden_state` of all tokens, and `pooler_output` (batch, hidden size), the class token after the final
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
        hidden_states = _run_layer(vision_model, layer, hidden_states)
    pooled = vision_model.post_layernorm(hidden_states[:, 0])
    return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=pooled)


def _expand(prompts: torch.Tensor, hidden_states: torch.Tensor) -> torch.Tensor:
    return prompts.to(hidden_states.dtype).expand(hidden_states.shape[0], -1, -1)


def _run_layer(vision_model: CLIPVisionModel, layer: torch.nn.Module, hidden_states: torch.Tensor) -> torch.Tensor:
    # The checkpointing of the layer only works in train mode, and a frozen tower is in eval mode.
    if vision_model.encoder.gradient_checkpointing and torch.is_grad_enabled():
        return checkpoint(layer, hidden_states, None, use_reentrant=False)
    return layer(hidden_states, None)
