"""MAnTiS: a product's images and title as the prefix of its description (arXiv 2109.01229).

There is no released code, and the paper gives few details of the architecture. Details that are not in its abstract
are choices of this implementation.
"""

import os
from collections.abc import Iterable
from typing import Any, ClassVar, Self

import torch
from torch import nn
from torch.nn import functional as F
from transformers import GenerationMixin, PreTrainedModel
from transformers import initialization as init

from hf_prompt_models.modeling_utils import at_least_float32
from hf_prompt_models.models.mantis.configuration_mantis import MantisConfig
from hf_prompt_models.models.mantis.processing_mantis import MantisProcessor
from hf_prompt_models.prefix_lm.modeling_prefix_lm import PrefixLMModel
from hf_prompt_models.prefix_lm.vision import feature_width


IMAGE, TITLE, DESCRIPTION = range(3)


class MantisImageProjection(nn.Module):
    """Average features over a grid of cells, and map each cell to a token vector (grid and map are those of MMBT)."""

    def __init__(self, grid: tuple[int, int], in_features: int, out_features: int):
        super().__init__()
        self.grid = grid
        self.linear = nn.Linear(in_features, out_features)

    def forward(self, feature_map: torch.Tensor) -> torch.Tensor:
        """Map features (images, channels, rows, columns) to slots (images, cells, dim)."""
        cells = F.adaptive_avg_pool2d(feature_map, self.grid).flatten(2).transpose(1, 2)
        return self.linear(cells)


class MantisSegments(nn.Embedding):
    """Segment embeddings for image, title and description tokens, which are added to the token embeddings."""


class MantisPreTrainedModel(PrefixLMModel):
    """Base of the MAnTiS models: the processor class and the initialisation of new weights."""

    config: MantisConfig
    processor_class = MantisProcessor

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # Compare with the layer itself: transformers does not pass modules without parameters of their own.
        if module is self.image_projection.linear:
            init.normal_(module.weight, mean=0.0, std=0.02)
            init.zeros_(module.bias)
        elif isinstance(module, MantisSegments):
            init.zeros_(module.weight)  # so that training starts from the unchanged pretrained language model


class MantisForConditionalGeneration(MantisPreTrainedModel, GenerationMixin):
    """Generate a text, such as a product's description, from images and a title.

    The language model reads `image slots, title, <sep>` and continues with the description. Language model and vision
    backbone are trained together, unless the configuration freezes one of them.
    """

    _keep_in_fp32_modules_strict: ClassVar[list[str]] = [*PrefixLMModel._keep_in_fp32_modules_strict, "segments"]

    def __init__(self, config: MantisConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        if config.separator_token_id is None:
            raise ValueError("The configuration has no separator_token_id. Create the model with from_backbone(...).")
        self.separator_token_id = config.separator_token_id
        grid, width = config.grids[config.num_image_tokens], feature_width(config.vision_config)
        self.image_projection = MantisImageProjection(grid, width, self.token_dim)
        self.segments = MantisSegments(3, self.token_dim)
        self.post_init()
        self._add_rows(max(self.own_token_ids) + 1)  # here, because post_init would initialise the new rows randomly
        self.freeze_backbone()

    @classmethod
    def from_backbone(
        cls,
        language_model: str | os.PathLike,
        vision_model: str | os.PathLike | None = None,
        num_image_tokens: int = 1,
        freeze_vision: bool = False,
        freeze_text: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Create a new model from a pretrained language model and a pretrained vision backbone.

        Args:
            language_model: Hub id or folder of any causal language model; "playground" is the tiny one in this
                package.
            vision_model: Hub id or folder of any model that takes images. Default: microsoft/resnet-152. With the
                language model in this package the default is "playground", the tiny CLIP in this package.
            num_image_tokens: number of cells, 1 to 9, that an image is pooled to. Each takes a slot in the language
                model's input.
            freeze_vision: whether to freeze the vision backbone.
            freeze_text: whether to freeze the language model. Checkpoints can then leave it out.
            kwargs: arguments of the language model's `from_pretrained` (`revision`, `dtype`, `device_map`,
                `attn_implementation`, …). `token`, `cache_dir` and similar ones apply to both models.

        Raises:
            OSError: if there is no such backbone.
            TypeError: if `language_model` is not a causal language model, or `vision_model` does not take images.
            ValueError: if the tokenizer has no end token.

        Example:
            ```python
            >>> from PIL import Image
            >>> from hf_prompt_models import MantisForConditionalGeneration, MantisProcessor
            >>> model = MantisForConditionalGeneration.from_backbone("playground", num_image_tokens=4)
            >>> processor = MantisProcessor.from_backbone("playground", num_image_tokens=4)
            >>> inputs = processor(images=[Image.new("RGB", (64, 48))], text=["red key"], return_tensors="pt")
            >>> model.generate(**inputs, max_new_tokens=5, min_new_tokens=5).shape
            torch.Size([1, 12])

            ```
        """
        return cls._from_backbones(
            language_model,
            vision_model,
            kwargs,
            num_image_tokens=num_image_tokens,
            freeze_vision=freeze_vision,
            freeze_text=freeze_text,
        )

    @property
    def own_token_ids(self) -> tuple[int, ...]:
        """Ids of the image placeholder and of the separator, which are never generated."""
        return (self.image_token_id, self.separator_token_id)

    def trained_backbone_parameters(self) -> Iterable[nn.Parameter]:
        """Return the parameters of the language model, or none if `config.freeze_text` is set."""
        return () if self.config.freeze_text else self.language_model.parameters()

    @torch.no_grad()
    def _add_rows(self, num_tokens: int) -> None:
        """Extend the language model's vocabulary by the method's special tokens.

        New rows are the mean of the others. transformers would sample them around the mean, but a checkpoint without
        the language model must get the same rows again when it is loaded.
        """
        model = self.language_model
        before = model.get_input_embeddings().num_embeddings
        if num_tokens <= before:
            return
        model.resize_token_embeddings(num_tokens, mean_resizing=False)
        embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
        for tensor in (embeddings.weight, head.weight, head.bias):
            if tensor is not None:
                tensor[before:] = at_least_float32(tensor[:before]).mean(dim=0).to(tensor.dtype)

    def _embed(self, input_ids: torch.Tensor, features: torch.Tensor | None) -> torch.Tensor:
        embeds = super()._embed(input_ids, features)
        return embeds + self.segments(self._segment_ids(input_ids)).to(embeds.dtype)

    def _segment_ids(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return the segment of each token: tokens before a separator are the title, others the description.

        Generated tokens are passed one at a time, without a separator, and so belong to the description.
        """
        is_separator = (input_ids == self.separator_token_id).long()
        separators_ahead = is_separator.flip(1).cumsum(1).flip(1) - is_separator
        segments = torch.where(separators_ahead > 0, TITLE, DESCRIPTION)
        return segments.masked_fill(input_ids == self.image_token_id, IMAGE)

    def _check_continuation(self, input_ids: torch.Tensor) -> None:
        if bool((input_ids == self.separator_token_id).any()):
            raise ValueError(
                "Images, title and separator must be processed in one forward pass, because the separator "
                "determines their segments. Leave prefill_chunk_size out."
            )


__all__ = ["MantisForConditionalGeneration", "MantisPreTrainedModel"]
