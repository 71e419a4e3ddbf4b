"""ALPRO's video tower: transformers' TimeSformer as ALPRO has it (`timesformer/vit.py` of the released code)."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import TimesformerModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.timesformer.modeling_timesformer import TimesformerEmbeddings

from hf_prompt_models.models.alpro.configuration_alpro import AlproVisionConfig


class AlproVideoModel(TimesformerModel):
    """A TimeSformer whose patches are averaged over the frames.

    A new one reads each frame as a ViT does, and so does one that got a ViT's weights: time embeddings and what
    leads out of the attention between frames are zero.
    """

    config: AlproVisionConfig
    # Its attention is computed in one way, whichever is chosen for the rest of the model.
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, TimesformerEmbeddings):
            init.zeros_(module.time_embeddings)
        # Asked of the module itself: transformers passes by modules of other packages without parameters of their own.
        elif any(module is layer.temporal_dense for layer in self.encoder.layer):
            init.zeros_(module.weight)

    def get_input_embeddings(self) -> nn.Module:
        """The convolution that embeds patches: a hook on it gets a tensor, as PEFT's with checkpointing expects."""
        return self.embeddings.patch_embeddings.projection

    def forward(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutput:
        """Tokens of videos.

        Args:
            pixel_values: (batch, frames, 3, height, width).
            kwargs: `output_hidden_states`, `output_attentions`; both are of all frames' patches.

        Returns:
            `.last_hidden_state` of (batch, 1 + patches of a frame, width): one for the whole video, then one for each
            place, row by row, the mean over the frames.

        Raises:
            ValueError: for another shape, another size than the configuration's or another number of frames.
        """
        self._check(pixel_values)
        pixel_values = pixel_values.to(self.embeddings.patch_embeddings.projection.weight.dtype)
        outputs = super().forward(pixel_values, return_dict=True, **kwargs)
        hidden = outputs.last_hidden_state
        patches = hidden[:, 1:].unflatten(1, (-1, self.config.num_frames)).mean(dim=2)  # frames change fastest
        outputs.last_hidden_state = torch.cat([hidden[:, :1], patches], dim=1)
        return outputs

    def _check(self, pixel_values: torch.Tensor) -> None:
        # transformers' layers take the configuration's sizes for the input's and would mix up frames and places.
        size, frames = self.config.image_size, self.config.num_frames
        if pixel_values.dim() != 5:
            raise ValueError(
                "pixel_values of videos are (batch, frames, 3, height, width), as the processor makes them; got "
                f"{tuple(pixel_values.shape)}. pixel_values[None] makes a batch of one video's frames."
            )
        if pixel_values.shape[1] != frames:
            raise ValueError(
                f"The model has time embeddings for {frames} frames and got {pixel_values.shape[1]}: sample {frames} "
                f"from each video, or call model.resize_time_embeddings({pixel_values.shape[1]})."
            )
        if tuple(pixel_values.shape[-2:]) != (size, size):
            raise ValueError(f"Frames are {size} x {size} pixels here; got {tuple(pixel_values.shape[-2:])}.")

    @torch.no_grad()
    def resize_time_embeddings(self, num_frames: int) -> None:
        """Take another number of frames: each new frame gets the embedding of the nearest old one, not a mixture."""
        if num_frames < 1:
            raise ValueError(f"A video has at least one frame; got num_frames={num_frames}.")
        old = self.embeddings.time_embeddings
        new = F.interpolate(old.transpose(1, 2), size=num_frames, mode="nearest").transpose(1, 2).contiguous()
        self.embeddings.time_embeddings = nn.Parameter(new, requires_grad=old.requires_grad)
        self.config.num_frames = num_frames


__all__ = ["AlproVideoModel"]
