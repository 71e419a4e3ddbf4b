"""ALPRO's towers: transformers' TimeSformer for videos, and a BERT for texts and for texts with videos."""

import os
import re
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel, PreTrainedConfig, TimesformerModel, ViTConfig
from transformers import initialization as init
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.timesformer.modeling_timesformer import TimesformerEmbeddings
from transformers.utils import SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file
from transformers.utils.output_capturing import capture_outputs

from hf_prompt_models.models.alpro.configuration_alpro import AlproVisionConfig


SIZES = (
    "image_size",
    "patch_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "layer_norm_eps",
    "qkv_bias",
)
TEMPORAL = {".attention.": ".temporal_attention.", ".layernorm_before.": ".temporal_layernorm."}
"""Names of a ViT's weights that the attention between frames starts as a copy of."""


class AlproVideoModel(TimesformerModel):
    """A TimeSformer whose patches are averaged over the frames (`timesformer/vit.py` of the released code).

    With new weights, or those of a ViT, it reads each frame as a ViT does, because the time embeddings and the output
    projection of the attention between frames are zero.
    """

    config: AlproVisionConfig
    # TimeSformer has a single attention implementation, which is used for every `attn_implementation`.
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, TimesformerEmbeddings):
            init.zeros_(module.time_embeddings)
        # transformers does not call this for modules of other packages that have no parameters of their own.
        elif any(module is layer.temporal_dense for layer in self.encoder.layer):
            init.zeros_(module.weight)

    def get_input_embeddings(self) -> nn.Module:
        """Return the convolution that embeds patches.

        A hook on it gets a tensor, as expected by the hook that PEFT adds for gradient checkpointing.
        """
        return self.embeddings.patch_embeddings.projection

    def forward(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutput:
        """Return the tokens of videos.

        Args:
            pixel_values: (batch, frames, 3, height, width).
            kwargs: `output_hidden_states`, `output_attentions`, both over the patches of all frames.

        Returns:
            `.last_hidden_state` (batch, 1 + patches of a frame, width): a token for the video, then one per patch
            position, row by row, averaged over the frames.

        Raises:
            ValueError: if the shape, the frames' size or their number is not the configuration's.
        """
        self._check(pixel_values)
        pixel_values = pixel_values.to(self.embeddings.patch_embeddings.projection.weight.dtype)
        outputs = super().forward(pixel_values, return_dict=True, **kwargs)
        hidden = outputs.last_hidden_state
        patches = hidden[:, 1:].unflatten(1, (-1, self.config.num_frames)).mean(dim=2)  # frames change fastest
        outputs.last_hidden_state = torch.cat([hidden[:, :1], patches], dim=1)
        return outputs

    def _check(self, pixel_values: torch.Tensor) -> None:
        # The layers in transformers assume the configuration's sizes and would mix up frames and patches.
        size, frames = self.config.image_size, self.config.num_frames
        if pixel_values.dim() != 5:
            raise ValueError(
                "Expected pixel_values of shape (batch, frames, 3, height, width), as returned by the processor, got "
                f"{tuple(pixel_values.shape)}. Use pixel_values[None] to make a batch of the frames of one video."
            )
        if pixel_values.shape[1] != frames:
            raise ValueError(
                f"The model has time embeddings for {frames} frames, got {pixel_values.shape[1]}. Sample {frames} "
                f"frames from each video, or call model.resize_time_embeddings({pixel_values.shape[1]})."
            )
        if tuple(pixel_values.shape[-2:]) != (size, size):
            raise ValueError(f"Expected frames of {size} x {size} pixels, got {tuple(pixel_values.shape[-2:])}.")

    @torch.no_grad()
    def resize_time_embeddings(self, num_frames: int) -> None:
        """Change the number of frames: each new frame gets the embedding of the nearest old one, not a mixture."""
        if num_frames < 1:
            raise ValueError(f"Expected num_frames >= 1, got {num_frames}.")
        old = self.embeddings.time_embeddings
        new = F.interpolate(old.transpose(1, 2), size=num_frames, mode="nearest").transpose(1, 2).contiguous()
        self.embeddings.time_embeddings = nn.Parameter(new, requires_grad=old.requires_grad)
        self.config.num_frames = num_frames


class AlproTextModel(BertModel):
    """A BERT whose first layers encode text, and whose other layers read text and video as one sequence.

    Released code: `xbert.py`.
    """

    def __init__(self, config: BertConfig, fusion_layer: int):
        super().__init__(config, add_pooling_layer=False)
        self.fusion_layer = fusion_layer

    def encode(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **kwargs: Any) -> BaseModelOutput:
        """Encode text with the layers before `fusion_layer`.

        Args:
            input_ids: (batch, length).
            attention_mask: (batch, length) 1 for tokens, 0 for padding.
            kwargs: `output_hidden_states`, `output_attentions`.

        Returns:
            `.last_hidden_state` (batch, length, width).

        Raises:
            ValueError: if the text is longer than the model has positions.
        """
        positions = self.config.max_position_embeddings
        if input_ids.shape[1] > positions:
            raise ValueError(
                f"The text has {input_ids.shape[1]} tokens, but the model has {positions} positions. Truncate "
                "it (truncation=True, max_length=...)."
            )
        return self._run(0, self.fusion_layer, self.embeddings(input_ids), attention_mask, return_dict=True, **kwargs)

    def fuse(
        self, text: torch.Tensor, attention_mask: torch.Tensor, video: torch.Tensor, **kwargs: Any
    ) -> BaseModelOutput:
        """Read text and video together with the layers from `fusion_layer` on.

        Args:
            text: (batch, length, width) from `encode`.
            attention_mask: (batch, length) of the text.
            video: (batch, tokens, width) from the video tower.
            kwargs: `output_hidden_states`, `output_attentions`.

        Returns:
            `.last_hidden_state` (batch, length + tokens, width).
        """
        mask = torch.cat([attention_mask, attention_mask.new_ones(video.shape[:2])], dim=1)
        layers = self.config.num_hidden_layers
        hidden = torch.cat([text, video], dim=1)
        return self._run(self.fusion_layer, layers, hidden, mask, return_dict=True, **kwargs)

    @capture_outputs
    def _run(self, start: int, end: int, hidden: torch.Tensor, mask: torch.Tensor, **kwargs: Any) -> BaseModelOutput:
        attention = create_bidirectional_mask(config=self.config, inputs_embeds=hidden, attention_mask=mask)
        for layer in self.encoder.layer[start:end]:
            hidden = layer(hidden, attention, **kwargs)
        return BaseModelOutput(last_hidden_state=hidden)


def read_vit(
    name_or_path: str | os.PathLike, num_frames: int, **kwargs: Any
) -> tuple[AlproVisionConfig, dict[str, torch.Tensor]]:
    """Read a ViT as the configuration and the weights of a video tower (paper, 4.1).

    The attention between frames starts as a copy of the ViT's. Its output projection and the time embeddings are left
    out: they start at zero.

    Args:
        name_or_path: Hub id or folder of a ViT of transformers.
        num_frames: frames of a video.
        kwargs: `revision`, `token`, `cache_dir`, …

    Raises:
        OSError: if the ViT is missing or damaged.
        TypeError: if it is another model.
    """
    found, _ = PreTrainedConfig.get_config_dict(name_or_path, **kwargs)
    if found.get("model_type") != ViTConfig.model_type:
        raise TypeError(
            f"{str(name_or_path)!r} is of type {found.get('model_type')!r}. The video encoder of ALPRO needs "
            "a ViT, such as google/vit-base-patch16-224-in21k."
        )
    config = ViTConfig.from_dict(found)
    file = cached_file(name_or_path, SAFE_WEIGHTS_NAME, **kwargs)
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise OSError(f"{file} is damaged ({error}). Copy or save it again.") from error
    vision = AlproVisionConfig(num_frames=num_frames, **{name: getattr(config, name) for name in SIZES})
    return vision, _as_timesformer({name.removeprefix("vit."): tensor for name, tensor in tensors.items()})


def _as_timesformer(vit: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename a ViT's weights: those in its checkpoints have a TimeSformer's names except in the attention."""
    tensors = {}
    for name, tensor in vit.items():
        if name.startswith(("pooler.", "classifier.", "decoder.")) or name.endswith("mask_token"):
            continue
        if ".attention.attention." in name:
            layer = re.sub(r"(query|key|value)\.(weight|bias)$", "", name)
            kind = name.rpartition(".")[2]
            tensor = torch.cat([vit[f"{layer}{part}.{kind}"] for part in ("query", "key", "value")])
            name = f"{layer}qkv.{kind}"
        tensors[name] = tensor
        for spatial, temporal in TEMPORAL.items():
            if spatial in name:
                tensors[name.replace(spatial, temporal, 1)] = tensor.clone()
    return tensors


__all__ = ["AlproTextModel", "AlproVideoModel"]
