"""CLIP-LoRA: low-rank updates of the attention layers of a CLIP (arXiv 2405.18541; `loralib` of its repository)."""

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers import initialization as init

from hf_prompt_models.lora import PREFIX, LoraUpdates
from hf_prompt_models.modeling_clip_utils import ClipPromptModel, EnsemblePromptModel
from hf_prompt_models.models.clip_lora.configuration_clip_lora import ClipLoraConfig, Encoder
from hf_prompt_models.models.clip_lora.low_rank_clip_lora import (
    PROJECTIONS,
    LowRankUpdate,
    LowRankUpdates,
    UpdatedLinear,
    replace_submodules,
)
from hf_prompt_models.models.clip_lora.processing_clip_lora import ClipLoraProcessor
from hf_prompt_models.prompts.class_names import check_class_names
from hf_prompt_models.prompts.class_prompts import ClassPrompts, check_ensemble


ATTENTION = re.compile(r"encoder\.layers\.\d+\.self_attn")
"""Names of the attention layers in a tower that is a transformer."""


class ClipLoraPreTrainedModel(EnsemblePromptModel, ClipPromptModel):
    """Base class of CLIP-LoRA models, with weight initialisation and the processor class."""

    config: ClipLoraConfig
    processor_class = ClipLoraProcessor
    # The updates are small, so they stay in full precision, whatever the precision of the backbone.
    _keep_in_fp32_modules_strict: ClassVar[list[str]] = ["low_rank"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, LowRankUpdate):
            init.kaiming_uniform_(module.A, a=math.sqrt(5))
            init.zeros_(module.B)


class ClipLoraForImageClassification(ClipLoraPreTrainedModel):
    """Image classification with low-rank updates of the attention layers of a frozen CLIP (CLIP-LoRA).

    Each `q_proj`, `k_proj` and `v_proj` of the towers in `encoder` computes `W x + lora_alpha / sqrt(rank) * B A x`.
    At first, B is zero, so that the model equals zero-shot CLIP with the same templates. The class prompts are encoded
    with the updates in every training step.

    Attributes:
        low_rank: the updates, such as `low_rank.text_model[0]["q"].A` of the first text layer.
    """

    def __init__(self, config: ClipLoraConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        self._attention_names = {tower: self._find_attention(tower) for tower in config.towers}
        layers = {
            tower: [self.clip.get_submodule(name) for name in names] for tower, names in self._attention_names.items()
        }
        self.low_rank = LowRankUpdates(layers, config.rank, config.scaling, config.lora_dropout)
        self.post_init()
        self.freeze_backbone()

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        class_names: Sequence[str],
        templates: Sequence[str] | None = None,
        encoder: Encoder = "both",
        rank: int = 2,
        lora_alpha: float = 1.0,
        lora_dropout: float = 0.25,
        text_chunk_size: int | None = None,
        class_prompts: ClassPrompts | None = None,
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make new updates, which change nothing before training, for a pretrained CLIP.

        Args:
            name_or_path: Hub id or folder of the backbone; "playground" is the tiny CLIP that ships with this package.
            class_names: class names, in the order of the labels. Underscores are read as spaces; names may repeat.
            templates: sentences with one `{}` for the class name. Default: "a photo of a {}.", or none with
                `class_prompts`.
            encoder: towers to update. With "text" the image features stay those of the backbone, with "vision" the
                class features do.
            rank: rank of the updates.
            lora_alpha: scale of the updates, which are multiplied with `lora_alpha / sqrt(rank)`.
            lora_dropout: dropout probability of the input of the updates in training.
            text_chunk_size: number of prompts to encode at a time in training, to save memory. Default: all at once,
                or 64 with gradient checkpointing.
            class_prompts: sentences about each class, by class name, or a list with those of each class. With
                `templates` both form one ensemble.
            tokenizer: the backbone's tokenizer or processor. Default: the one in the backbone's folder.
            kwargs: keyword arguments of the backbone's `from_pretrained`: `revision`, `token`, `dtype`, ….

        Raises:
            ValueError: if a setting is out of range, a template does not contain `{}`, or a name is too long for the
                text tower.
            TypeError: if the method does not support the type of the backbone, or a tower in `encoder` has no such
                attention layers.

        Example:
            ```python
            >>> from hf_prompt_models import ClipLoraForImageClassification
            >>> model = ClipLoraForImageClassification.from_backbone("playground", ["a red key", "a blue cup"], rank=2)
            >>> model.low_rank.text_model[0]["q"].A.shape
            torch.Size([2, 64])

            ```
        """
        class_names = check_class_names(class_names)
        templates, sentences = check_ensemble(class_names, templates, class_prompts)
        clip, processor, tokenizer = cls._load_parts(name_or_path, tokenizer, kwargs)
        config = ClipLoraConfig(
            clip_config=clip.config.to_dict(),
            encoder=encoder,
            rank=rank,
            lora_alpha=float(lora_alpha),
            lora_dropout=float(lora_dropout),
            text_chunk_size=text_chunk_size,
            **cls._ensemble_fields(class_names, templates, sentences, tokenizer, clip.config),
            **cls._base_model_fields(name_or_path, clip, kwargs),
        )
        model = cls._from_parts(config, clip, {}, kwargs.get("attn_implementation"))
        model.processor = processor
        return model

    # -- towers with updates -----------------------------------------------------------------------------------------

    def _find_attention(self, tower: str) -> list[str]:
        """Return the names of a tower's attention layers in the backbone.

        Raises:
            TypeError: if it has none with the linear layers to update.
            ValueError: if the rank is above their width.
        """
        modules = dict(self.clip.get_submodule(tower).named_modules())
        names = [name for name in modules if ATTENTION.fullmatch(name)]
        updated = [modules.get(f"{name}.{each}_proj") for name in names for each in PROJECTIONS]
        widths = [min(linear.weight.shape) for linear in updated if isinstance(linear, nn.Linear)]
        if not updated or len(widths) < len(updated):
            kind, other = ("text", "vision") if tower == "text_model" else ("image", "text")
            raise TypeError(
                f"{type(self).__name__} updates the layers q_proj, k_proj and v_proj of a transformer, which the "
                f"{kind} encoder of a {type(self.clip).__name__} does not have. Pass encoder={other!r} to update the "
                "other encoder alone, or use another backbone."
            )
        if self.config.rank > min(widths):
            raise ValueError(f"rank must be at most {min(widths)}, the width of the layers, got {self.config.rank}.")
        return [f"{tower}.{name}" for name in names]

    def named_updates(self, tower: str) -> dict[str, LowRankUpdate]:
        """Return the updates of a tower by the names of their linear layers in the backbone.

        Args:
            tower: a tower in `config.towers`, "text_model" or "vision_model".
        """
        return {
            f"{name}.{each}_proj": updates[each]
            for name, updates in zip(self._attention_names[tower], getattr(self.low_rank, tower), strict=True)
            for each in PROJECTIONS
        }

    def encoding_backbone(self, tower: str) -> PreTrainedModel:
        """Return the backbone, with the updates of a tower if it has some.

        The towers run with copies of their attention layers, so that the backbone itself stays as it is.

        Args:
            tower: "text_model" or "vision_model".

        Raises:
            ValueError: if the tower is split over devices or wrapped.
        """
        if tower not in self.config.towers:
            return self.clip
        updated: Any = replace_submodules(
            self.clip,
            {
                name: UpdatedLinear(self.clip.get_submodule(name), update)
                for name, update in self.named_updates(tower).items()
            },
        )
        if tower == "vision_model":
            # Gradient checkpointing of a layer needs its train mode, and a frozen tower is in eval mode. What is
            # inside of the copied layers stays in eval mode.
            for layer in updated.vision_model.encoder.layers:
                layer.training = self.training
        return updated

    @property
    def has_fixed_image_features(self) -> bool:
        """Whether training leaves the image features unchanged, so that they can be computed once."""
        return "vision_model" not in self.config.towers

    def learned_text_tensors(self) -> list[torch.Tensor]:
        """Return the updates of the text tower."""
        return list(self.low_rank.text_model.parameters()) if "text_model" in self.config.towers else []

    def _is_text_adapted(self) -> bool:
        # With dropout, features differ from call to call.
        return super()._is_text_adapted() or (self.training and self._trains_text() and self.config.lora_dropout > 0)

    @property
    def text_chunk_size(self) -> int | None:
        """Number of prompts to encode at a time in training; `None` for all at once."""
        return self.config.text_chunk_size or super().text_chunk_size

    def class_features(self, prompt_features: torch.Tensor) -> torch.Tensor:
        """Return the normalised mean of the normalised features of each class's prompts, (classes, dim)."""
        return F.normalize(self.prompt_means(prompt_features), dim=-1)

    # -- other programs ----------------------------------------------------------------------------------------------

    def save_peft_adapter(self, directory: str | os.PathLike) -> None:
        """Write the updates as an adapter of the backbone, for programs that use peft without this package.

        `PeftModel.from_pretrained(CLIPModel.from_pretrained(...), directory)` then computes the same features. Only
        `save_pretrained` also saves the class names and the processor.

        Args:
            directory: folder to write `adapter_config.json` and `adapter_model.safetensors` to, created if needed.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        updates = {name: each for tower in self.config.towers for name, each in self.named_updates(tower).items()}
        tensors = {
            f"{PREFIX}{name}.lora_{matrix}.weight": tensor.detach().to("cpu", copy=True)
            for name, update in updates.items()
            for matrix, tensor in update.named_parameters()
        }
        config = {
            "peft_type": "LORA",
            "r": self.config.rank,
            "lora_alpha": self.config.lora_alpha,
            "use_rslora": True,  # alpha / sqrt(r)
            "lora_dropout": self.config.lora_dropout,
            "target_modules": sorted(updates),
            "inference_mode": True,
        }
        LoraUpdates(config, tensors).write(directory, self.config.base_model_name_or_path)


__all__ = ["ClipLoraForImageClassification", "ClipLoraPreTrainedModel"]
