"""Visual prompts of ActionCLIP before and inside the image tower.

They run the parts of the transformers tower one by one. The released code is `clip/model.py` (joint, which does not
run there) and `modules/temporal_shift.py`. Pixels are (batch, frames, 3, height, width).
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.output_capturing import capture_outputs


SHIFT_DIVISOR = 8
"""One eighth of the channels comes from the previous frame, and one eighth from the next frame."""


class JointSpaceTime(nn.Module):
    """Joint attention over the patches of all frames, with one class token for the complete video.

    Args:
        num_frames: number of time positions.
        width: hidden size of the image tower.

    Attributes:
        time_embedding: (frames, width), added to the patches of each frame. It is initialised with zeros, so that the
            untrained model is CLIP over all patches, and with one frame CLIP itself.
    """

    def __init__(self, num_frames: int, width: int):
        super().__init__()
        self.time_embedding = nn.Parameter(torch.empty(num_frames, width))

    def forward(
        self, vision_model: PreTrainedModel, pixel_values: torch.Tensor, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """Return the output of the image tower for all frames at once.

        Args:
            vision_model: image tower of a CLIP.
            pixel_values: (batch, frames, 3, height, width).
            kwargs: `output_hidden_states`, `output_attentions`.

        Returns:
            `.last_hidden_state` (batch, 1 + frames * patches, width), `.pooler_output` (batch, 1, width).
        """
        return _encode_jointly(vision_model, pixel_values, self.time_embedding, return_dict=True, **kwargs)


# These are functions with the tower as first argument, because `capture_outputs` looks up its layers.
@capture_outputs(tie_last_hidden_states=False)
def _encode_jointly(
    vision_model: PreTrainedModel, pixel_values: torch.Tensor, time_embedding: torch.Tensor, **kwargs: Any
) -> BaseModelOutputWithPooling:
    batch, num_frames = pixel_values.shape[:2]
    embedded = vision_model.embeddings(pixel_values.flatten(0, 1)).unflatten(0, (batch, num_frames))
    class_token = embedded[:, 0, :1]  # it is the same for all frames before the first block
    patches = embedded[:, :, 1:] + time_embedding[:num_frames, None].to(embedded.dtype)
    hidden_states = vision_model.pre_layrnorm(torch.cat([class_token, patches.flatten(1, 2)], dim=1))
    hidden_states = vision_model.encoder(inputs_embeds=hidden_states, **kwargs).last_hidden_state
    return BaseModelOutputWithPooling(
        last_hidden_state=hidden_states, pooler_output=vision_model.post_layernorm(hidden_states[:, :1])
    )


@capture_outputs(tie_last_hidden_states=False)
def encode_with_shift(
    vision_model: PreTrainedModel, pixel_values: torch.Tensor, **kwargs: Any
) -> BaseModelOutputWithPooling:
    """Return the output of the image tower for each frame, with `shift_frames` before every block.

    Args:
        vision_model: image tower of a CLIP.
        pixel_values: (batch, frames, 3, height, width).
        kwargs: `output_hidden_states`, `output_attentions`.

    Returns:
        `.last_hidden_state` (batch * frames, 1 + patches, width), `.pooler_output` (batch, frames, width).
    """
    batch, num_frames = pixel_values.shape[:2]
    hidden_states = vision_model.pre_layrnorm(vision_model.embeddings(pixel_values.flatten(0, 1)))
    for layer in vision_model.encoder.layers:
        hidden_states = layer(shift_frames(hidden_states, num_frames), None, **kwargs)
    pooled = vision_model.post_layernorm(hidden_states[:, 0]).unflatten(0, (batch, num_frames))
    return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=pooled)


def shift_frames(hidden_states: torch.Tensor, num_frames: int) -> torch.Tensor:
    """Shift an eighth of the patch channels one frame back and another eighth one frame forward, padded with zeros.

    Args:
        hidden_states: (batch * frames, 1 + patches, width), with the frames of a video one after the other.
        num_frames: number of frames per video.

    Returns:
        Shifted hidden states of the same shape. The first eighth of the channels is from the next frame and the second
        from the previous frame. The other channels and the class token are unchanged.
    """
    class_token, patches = hidden_states[:, :1], hidden_states[:, 1:].unflatten(0, (-1, num_frames))
    fold = patches.shape[-1] // SHIFT_DIVISOR
    from_next, from_previous, own = patches.split([fold, fold, patches.shape[-1] - 2 * fold], dim=-1)
    from_next = F.pad(from_next[:, 1:], (0, 0, 0, 0, 0, 1))
    from_previous = F.pad(from_previous[:, :-1], (0, 0, 0, 0, 1, 0))
    shifted = torch.cat([from_next, from_previous, own], dim=-1).flatten(0, 1)
    return torch.cat([class_token, shifted], dim=1)
