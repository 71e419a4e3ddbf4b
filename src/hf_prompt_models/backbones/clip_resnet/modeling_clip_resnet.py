"""CLIP with a ResNet as image tower: RN50, RN101, RN50x4, RN50x16 and RN50x64 (arXiv 2103.00020, §2.4).

transformers' ResNet differs: CLIP's has a stem of three convolutions, blurs by average pooling in place of strided
convolutions, and pools the last feature map by attention.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTextModel, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.clip.modeling_clip import CLIPOutput
from transformers.processing_utils import Unpack
from transformers.utils.generic import TransformersKwargs, can_return_tuple
from transformers.utils.output_capturing import capture_outputs

from hf_prompt_models.backbones.clip_resnet.configuration_clip_resnet import ClipResNetConfig, ClipResNetVisionConfig


class ClipResNetBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that stays in eval mode while its weights are frozen.

    Args:
        num_features: number of channels.
        starts_at_zero: whether its weights are initialised with zero, so that a block starts as its shortcut.
    """

    def __init__(self, num_features: int, starts_at_zero: bool = False):
        super().__init__(num_features)
        self.starts_at_zero = starts_at_zero

    def train(self, mode: bool = True) -> Self:
        """Set the train mode if the weights are trained, and the eval mode otherwise."""
        return super().train(mode and self.weight.requires_grad)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *args: Any
    ) -> None:
        # Without a version, torch adds the count of batches to a state dict that lacks it, as do those of prompts.
        super()._load_from_state_dict(state_dict, prefix, local_metadata | {"version": self._version}, *args)


class ClipResNetConvLayer(nn.Module):
    """Convolution without bias, batch normalisation and, if `activates`, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, activates: bool = True):
        super().__init__()
        self.convolution = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2, bias=False
        )
        self.normalization = ClipResNetBatchNorm2d(out_channels)
        self.activation = nn.ReLU() if activates else nn.Identity()

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.activation(self.normalization(self.convolution(hidden_states)))


class ClipResNetEmbeddings(nn.Module):
    """Stem: three convolutions and an average pool, which divide height and width by four."""

    def __init__(self, config: ClipResNetVisionConfig):
        super().__init__()
        half = config.width // 2
        self.conv1 = ClipResNetConvLayer(config.num_channels, half, kernel_size=3, stride=2)
        self.conv2 = ClipResNetConvLayer(half, half, kernel_size=3)
        self.conv3 = ClipResNetConvLayer(half, config.width, kernel_size=3)
        self.pool = nn.AvgPool2d(2)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.pool(self.conv3(self.conv2(self.conv1(pixel_values))))


class ClipResNetBottleneck(nn.Module):
    """Residual block. Where it halves height and width, an average pool does so, and convolutions have stride 1."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        out_channels = 4 * channels
        self.conv1 = ClipResNetConvLayer(in_channels, channels, kernel_size=1)
        self.conv2 = ClipResNetConvLayer(channels, channels, kernel_size=3)
        self.conv3 = ClipResNetConvLayer(channels, out_channels, kernel_size=1, activates=False)
        self.conv3.normalization.starts_at_zero = True
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.shortcut = (
            ClipResNetConvLayer(in_channels, out_channels, kernel_size=1, activates=False)
            if in_channels != out_channels
            else nn.Identity()
        )

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        shortcut = self.shortcut(self.pool(hidden_states))
        hidden_states = self.conv3(self.pool(self.conv2(self.conv1(hidden_states))))
        return F.relu(hidden_states + shortcut)


class ClipResNetStage(nn.Module):
    """Residual blocks with the same number of channels. The first one changes it, and divides the size by `stride`."""

    def __init__(self, in_channels: int, channels: int, num_layers: int, stride: int):
        super().__init__()
        self.layers = nn.Sequential(
            ClipResNetBottleneck(in_channels, channels, stride),
            *(ClipResNetBottleneck(4 * channels, channels, stride=1) for _ in range(num_layers - 1)),
        )

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.layers(hidden_states)


class ClipResNetEncoder(nn.Module):
    """Four stages, of which all but the first halve height and width."""

    def __init__(self, config: ClipResNetVisionConfig):
        super().__init__()
        width = config.width
        widths = [width, 2 * width, 4 * width, 8 * width]
        inputs = [width, *(4 * each for each in widths[:-1])]
        stages = zip(inputs, widths, config.layers, [1, 2, 2, 2], strict=True)
        self.stages = nn.Sequential(*(ClipResNetStage(*each) for each in stages))

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.stages(hidden_states)


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Unpack[TransformersKwargs],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute attention in plain operations, with a softmax in single precision or, in float64, in double."""
    attn_weights = query @ key.transpose(-1, -2) * scaling
    dtype = torch.promote_types(query.dtype, torch.float32)
    attn_weights = attn_weights.softmax(dim=-1, dtype=dtype).to(query.dtype)
    return (attn_weights @ value).transpose(1, 2).contiguous(), attn_weights


class ClipResNetAttentionPool(nn.Module):
    """Attention whose only query is the mean of the feature map, followed by the projection to image features."""

    def __init__(self, config: ClipResNetVisionConfig):
        super().__init__()
        self.config = config
        self.head_dim = config.head_width
        self.scaling = self.head_dim**-0.5
        self.is_causal = False
        self.grid_size = config.image_size // 32
        width = config.hidden_size
        self.position_embedding = nn.Embedding(1 + self.grid_size**2, width)
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, config.output_dim)

    def forward(
        self, feature_map: torch.Tensor, **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return image features, (batch, output_dim), and attention weights, (batch, heads, 1, 1 + positions).

        Args:
            feature_map: (batch, channels, height, width)
            kwargs: options of the attention implementation.
        """
        tokens = feature_map.flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
        tokens = tokens + self.interpolate_pos_encoding(*feature_map.shape[2:])
        query = self._split_heads(self.q_proj(tokens[:, :1]))
        key, value = self._split_heads(self.k_proj(tokens)), self._split_heads(self.v_proj(tokens))
        attend: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        pooled, attn_weights = attend(self, query, key, value, None, scaling=self.scaling, dropout=0.0, **kwargs)
        return self.out_proj(pooled.flatten(1)), attn_weights

    def interpolate_pos_encoding(self, height: int, width: int) -> torch.Tensor:
        """Return the position embeddings of the mean and of a grid of `height` x `width` positions.

        Those of a grid of another size than the learned one are interpolated.
        """
        positions = self.position_embedding.weight
        size = self.grid_size
        if (height, width) == (size, size):
            return positions
        grid = positions[1:].T.reshape(1, -1, size, size)
        grid = F.interpolate(grid, size=(height, width), mode="bicubic", align_corners=False)
        return torch.cat([positions[:1], grid[0].flatten(1).T])

    def _split_heads(self, states: torch.Tensor) -> torch.Tensor:
        return states.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


class ClipResNetPreTrainedModel(PreTrainedModel):
    """Base class of CLIP models with a ResNet as image tower, with weight initialisation."""

    config: ClipResNetConfig
    base_model_prefix = "clip_resnet"
    input_modalities: ClassVar[tuple[str, ...]] = ("image", "text")
    _no_split_modules: ClassVar[list[str]] = [
        "ClipResNetEmbeddings",
        "ClipResNetBottleneck",
        "ClipResNetAttentionPool",
    ]
    # As in the original code. The count of batches is not listed, because it is an integer.
    _keep_in_fp32_modules_strict: ClassVar[list[str]] = [
        f"normalization.{name}" for name in ("weight", "bias", "running_mean", "running_var")
    ]
    _supports_sdpa = True
    _supports_attention_backend = True
    _can_record_outputs: ClassVar[dict[str, type[nn.Module]]] = {
        "hidden_states": ClipResNetStage,
        "attentions": ClipResNetAttentionPool,
    }

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, ClipResNetBatchNorm2d) and module.starts_at_zero:
            init.zeros_(module.weight)
        elif isinstance(module, nn.Linear | nn.Embedding):
            init.normal_(module.weight, std=module.weight.shape[1] ** -0.5)
        elif isinstance(module, ClipResNetModel):
            init.constant_(module.logit_scale, self.config.logit_scale_init_value)


class ClipResNetVisionModel(ClipResNetPreTrainedModel):
    """Image tower of a CLIP with a ResNet.

    Example:
        ```python
        >>> import torch
        >>> from hf_prompt_models import ClipResNetVisionConfig, ClipResNetVisionModel
        >>> config = ClipResNetVisionConfig(layers=[1, 1, 1, 1], width=8, image_size=64, output_dim=32)
        >>> model = ClipResNetVisionModel(config).eval()
        >>> model(torch.randn(2, 3, 64, 64)).pooler_output.shape
        torch.Size([2, 32])

        ```
    """

    config: ClipResNetVisionConfig
    base_model_prefix = "vision_model"
    main_input_name = "pixel_values"
    input_modalities = ("image",)

    def __init__(self, config: ClipResNetVisionConfig):
        super().__init__(config)
        self.embeddings = ClipResNetEmbeddings(config)
        self.encoder = ClipResNetEncoder(config)
        self.attention_pool = ClipResNetAttentionPool(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the first convolution."""
        return self.embeddings.conv1.convolution

    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Return the last feature map and the features of images.

        Args:
            pixel_values: (batch, channels, height, width)
            interpolate_pos_encoding: whether images may have another size than `config.image_size`; the positions of
                the attention pool are then interpolated.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.

        Returns:
            `.last_hidden_state`, (batch, positions, 32 * width), the last feature map, row by row, and
            `.pooler_output`, (batch, output_dim), the image features. `.hidden_states` are the feature maps of the
            stem and of each stage, (batch, channels, height, width), and `.attentions` has those of the attention
            pool, (batch, heads, 1, 1 + positions). They need `attn_implementation="eager"`.

        Raises:
            ValueError: if there are no images, or they have another size and positions are not interpolated.
        """
        if pixel_values is None:
            raise ValueError("ClipResNetVisionModel needs images. Pass pixel_values.")
        size = self.config.image_size
        if not interpolate_pos_encoding and tuple(pixel_values.shape[2:]) != (size, size):
            raise ValueError(
                f"Expected images of {size} x {size} pixels, got {pixel_values.shape[2]} x {pixel_values.shape[3]}. "
                "Pass interpolate_pos_encoding=True for other sizes."
            )
        pixel_values = pixel_values.to(self.embeddings.conv1.convolution.weight.dtype)
        feature_map = self.encoder(self.embeddings(pixel_values))
        pooled, _ = self.attention_pool(feature_map, **kwargs)
        return BaseModelOutputWithPooling(
            last_hidden_state=feature_map.flatten(2).transpose(1, 2), pooler_output=pooled
        )


class ClipResNetModel(ClipResNetPreTrainedModel):
    """CLIP with a ResNet as image tower and transformers' CLIP text tower.

    It is used as `CLIPModel`, but has no `visual_projection`: the attention pool of the image tower ends with the
    projection. While the weights of the image tower are frozen, its batch normalisation stays in eval mode.

    Example:
        ```python
        >>> import torch
        >>> from hf_prompt_models import ClipResNetConfig, ClipResNetModel
        >>> vision = {"layers": [1, 1, 1, 1], "width": 8, "image_size": 64, "output_dim": 32}
        >>> text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        >>> model = ClipResNetModel(ClipResNetConfig(text_config=text, vision_config=vision, projection_dim=32)).eval()
        >>> texts = torch.tensor([[49406, 320, 49407], [49406, 518, 49407]])
        >>> model(input_ids=texts, pixel_values=torch.randn(1, 3, 64, 64)).logits_per_image.shape
        torch.Size([1, 2])

        ```
    """

    # Checkpointed blocks would update the running statistics of batch normalisation twice, so that only the layers of
    # the text tower are checkpointed.
    supports_gradient_checkpointing = True

    def __init__(self, config: ClipResNetConfig):
        super().__init__(config)
        text_config: Any = config.text_config
        vision_config: Any = config.vision_config
        self.text_model = CLIPTextModel._from_config(text_config)
        self.vision_model = ClipResNetVisionModel._from_config(vision_config)
        self.text_projection = nn.Linear(text_config.hidden_size, vision_config.output_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
        self.post_init()

    @can_return_tuple
    def get_text_features(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Return the output of the text tower with text features as `.pooler_output`, (batch, projection_dim).

        Args:
            input_ids: (batch, length)
            attention_mask: (batch, length), 0 for padding.
            position_ids: (batch, length)
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.
        """
        outputs: Any = self.text_model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, return_dict=True, **kwargs
        )
        outputs.pooler_output = self.text_projection(outputs.pooler_output)
        return outputs

    @can_return_tuple
    def get_image_features(
        self,
        pixel_values: torch.Tensor,
        interpolate_pos_encoding: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Return the output of the image tower, whose `.pooler_output` are image features, (batch, projection_dim).

        Args:
            pixel_values: (batch, channels, height, width)
            interpolate_pos_encoding: as in the forward pass of the image tower.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.
        """
        return self.vision_model(
            pixel_values=pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, return_dict=True, **kwargs
        )

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        return_loss: bool | None = None,
        interpolate_pos_encoding: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CLIPOutput:
        """Compare images and texts.

        Args:
            input_ids: (texts, length)
            pixel_values: (images, channels, height, width)
            attention_mask: (texts, length), 0 for padding.
            position_ids: (texts, length)
            return_loss: whether to return the contrastive loss of matching images and texts.
            interpolate_pos_encoding: as in the forward pass of the image tower.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.

        Returns:
            `.logits_per_image`, (images, texts), `.logits_per_text`, L2-normalised `.image_embeds` and `.text_embeds`,
            the outputs of both towers, and the loss if it is requested.
        """
        images: Any = self.get_image_features(pixel_values, interpolate_pos_encoding, return_dict=True, **kwargs)
        texts: Any = self.get_text_features(input_ids, attention_mask, position_ids, return_dict=True, **kwargs)
        image_embeds = F.normalize(images.pooler_output, dim=-1)
        text_embeds = F.normalize(texts.pooler_output, dim=-1)
        logits_per_text = self.logit_scale.exp() * text_embeds @ image_embeds.to(text_embeds.device).T
        loss = None
        if return_loss:
            labels = torch.arange(len(logits_per_text), device=logits_per_text.device)
            loss = (F.cross_entropy(logits_per_text, labels) + F.cross_entropy(logits_per_text.T, labels)) / 2
        return CLIPOutput(
            loss=loss,
            logits_per_image=logits_per_text.T,
            logits_per_text=logits_per_text,
            text_embeds=text_embeds,
            image_embeds=image_embeds,
            text_model_output=texts,
            vision_model_output=images,
        )


__all__ = ["ClipResNetModel", "ClipResNetPreTrainedModel", "ClipResNetVisionModel"]
