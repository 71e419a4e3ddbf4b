"""Heads that turn frame features into one vector (ActionCLIP's post-network prompts, `modules/Visual_Prompt.py`).

Each head is built from an `ActionClipConfig`, maps (batch, frames, dim) to (batch, dim), and is initialised as in the
released code. There all heads have frame positions, although only `transf` uses them; here only `transf` has them.
"""

import math
from collections.abc import Callable

import torch
from torch import nn
from transformers import CLIPVisionConfig, PreTrainedConfig
from transformers import initialization as init
from transformers.models.clip.modeling_clip import CLIPEncoder


class FrameHead(nn.Module):
    """Base class of the heads."""

    def init_part(self, part: nn.Module) -> None:
        """Initialise the parameters of the head itself or of a module in it, but not those of submodules.

        Args:
            part: the head or a module in it.
        """
        if isinstance(part, nn.LayerNorm):
            init.ones_(part.weight)
            init.zeros_(part.bias)

    def set_attention(self, implementation: str) -> None:
        """Choose the attention implementation; no-op for heads whose layers have no such choice.

        Args:
            implementation: name of the implementation, such as "sdpa".
        """


class MeanHead(FrameHead):
    """Mean over the frames."""

    def __init__(self, config: PreTrainedConfig, dim: int):
        super().__init__()

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Return one vector per video, (batch, dim), for the features of its frames, (batch, frames, dim)."""
        return frames.mean(dim=1)


class Conv1dHead(FrameHead):
    """Depth-wise convolution over time with kernel size 3, added to the frames, then the mean over the frames.

    It is initialised as a shift: a quarter of the channels takes the previous frame, half the same frame, and a
    quarter the next frame.
    """

    def __init__(self, config: PreTrainedConfig, dim: int):
        super().__init__()
        self.config = config
        self.conv = nn.Conv1d(dim, dim, kernel_size=3, padding=1, groups=dim, bias=False)

    def init_part(self, part: nn.Module) -> None:
        """Initialise the parameters of the head itself or of a module in it."""
        if part is self.conv:
            dim = len(self.conv.weight)
            taps = torch.ones(dim, dtype=torch.long)
            taps[: dim // 4] = 0
            taps[dim - dim // 4 :] = 2
            init.copy_(self.conv.weight, nn.functional.one_hot(taps, 3)[:, None])

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Return one vector per video, (batch, dim), for the features of its frames, (batch, frames, dim)."""
        batch, num_frames, dim = frames.shape
        channels = (
            frames.reshape(batch, dim, num_frames) if self.config.legacy_conv1d_layout else frames.transpose(1, 2)
        )
        return (frames + self.conv(channels).transpose(1, 2)).mean(dim=1)


class LstmHead(FrameHead):
    """LSTM with one layer, added to the frames, then the mean over the frames."""

    def __init__(self, config: PreTrainedConfig, dim: int):
        super().__init__()
        self.lstm = nn.LSTM(dim, dim, batch_first=True)

    def init_part(self, part: nn.Module) -> None:
        """Initialise the parameters of the head itself or of a module in it."""
        for parameter in part.parameters(recurse=False):
            init.uniform_(parameter, -(self.lstm.hidden_size**-0.5), self.lstm.hidden_size**-0.5)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Return one vector per video, (batch, dim), for the features of its frames, (batch, frames, dim)."""
        return (frames + self.lstm(frames)[0]).mean(dim=1)


class TransfHead(FrameHead):
    """Transformer over the frames, added to the frames without their positions, then the mean over the frames.

    The blocks are those of CLIP: pre-norm, QuickGELU, and a feed-forward part four times as wide. There is no norm
    after the last block.
    """

    def __init__(self, config: PreTrainedConfig, dim: int):
        super().__init__()
        heads = config.head_num_attention_heads or max(config.clip_config.text_config.hidden_size // 64, 1)
        self.frame_position_embeddings = nn.Embedding(config.max_frames, dim)
        encoder_config = CLIPVisionConfig(
            hidden_size=dim,
            intermediate_size=4 * dim,
            num_hidden_layers=config.head_num_layers,
            num_attention_heads=_check_heads(heads, dim),
            hidden_act="quick_gelu",
            layer_norm_eps=config.head_layer_norm_eps,
        )
        self.encoder = CLIPEncoder(encoder_config)
        self.set_attention("sdpa")

    def set_attention(self, implementation: str) -> None:
        """Choose the attention implementation of the encoder."""
        # The head computes in full precision, which flash attention does not support.
        self.encoder.config._attn_implementation = implementation if implementation in ("eager", "sdpa") else "sdpa"

    def init_part(self, part: nn.Module) -> None:
        """Initialise the parameters of the head itself or of a module in it."""
        super().init_part(part)
        if isinstance(part, nn.Embedding):
            init.normal_(part.weight, std=0.02)
        elif isinstance(part, nn.Linear):
            init.zeros_(part.bias)
            attentions = (layer.self_attn for layer in self.encoder.layers)
            if any(part in (each.q_proj, each.k_proj, each.v_proj) for each in attentions):
                bound = math.sqrt(6 / (4 * part.in_features))  # Xavier initialisation of the three as one matrix
                init.uniform_(part.weight, -bound, bound)
            else:
                init.normal_(part.weight, std=0.02)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Return one vector per video, (batch, dim), for the features of its frames, (batch, frames, dim)."""
        hidden_states = frames + self.frame_position_embeddings.weight[: frames.shape[1]]
        return (frames + self.encoder(inputs_embeds=hidden_states).last_hidden_state).mean(dim=1)


class TransfClsHead(FrameHead):
    """Transformer over a class token and the frames; the output is that of the class token.

    The blocks are those of torch: post-norm, ReLU, a feed-forward part of size 2048, and dropout 0.1. There is a norm
    after the last block.
    """

    def __init__(self, config: PreTrainedConfig, dim: int):
        super().__init__()
        heads = _check_heads(config.head_num_attention_heads or 8, dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, config.num_frames + 1, dim))
        layer = nn.TransformerEncoderLayer(dim, heads, dim_feedforward=2048, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(
            layer, config.head_num_layers, norm=nn.LayerNorm(dim), enable_nested_tensor=False
        )

    def init_part(self, part: nn.Module) -> None:
        """Initialise the parameters of the head itself or of a module in it."""
        super().init_part(part)
        if part is self:
            init.trunc_normal_(self.cls_token, std=0.02)
            init.trunc_normal_(self.pos_embed, std=0.02)
        elif isinstance(part, nn.MultiheadAttention):
            init.xavier_uniform_(part.in_proj_weight)
            init.zeros_(part.in_proj_bias)
        elif isinstance(part, nn.Linear):
            init.trunc_normal_(part.weight, std=0.02)
            init.zeros_(part.bias)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Return one vector per video, (batch, dim), for the features of its frames, (batch, frames, dim)."""
        tokens = torch.cat([self.cls_token.expand(len(frames), 1, -1), frames], dim=1)
        return self.encoder(tokens + self.pos_embed)[:, 0]


HEADS: dict[str, Callable[[PreTrainedConfig, int], FrameHead]] = {
    "mean": MeanHead,
    "conv1d": Conv1dHead,
    "lstm": LstmHead,
    "transf": TransfHead,
    "transf_cls": TransfClsHead,
}
"""Head classes by `post_network`. Each takes the configuration and the size of the backbone's features."""


def _check_heads(heads: int, dim: int) -> int:
    if dim % heads:
        raise ValueError(
            f"The feature dimension {dim} of the backbone is not divisible by {heads} attention heads. Pass a "
            "head_num_attention_heads that divides it."
        )
    return heads
