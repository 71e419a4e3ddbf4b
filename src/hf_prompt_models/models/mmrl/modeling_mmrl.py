"""MMRL: representation tokens in the later layers of both towers (arXiv 2503.08497; `trainers/mmrl.py`)."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.processing_utils import Unpack
from transformers.utils.generic import TransformersKwargs

from hf_prompt_models.modeling_context_utils import ContextPromptModel, init_linear
from hf_prompt_models.modeling_utils import at_least_float32
from hf_prompt_models.models.mmrl.configuration_mmrl import MMRLConfig
from hf_prompt_models.models.mmrl.processing_mmrl import MMRLProcessor
from hf_prompt_models.prompts.image_encoding import encode_with_inserted_prompts
from hf_prompt_models.prompts.packing import PackedPrompts
from hf_prompt_models.prompts.regularization import cosine_distance
from hf_prompt_models.prompts.templates import DEFAULT_TEMPLATE, check_templates
from hf_prompt_models.utils.forward_options import captured, forward_options


class MMRLPromptLearner(nn.Module):
    """Representation tokens, and their projections into both towers.

    Args:
        n_rep: number of representation tokens.
        rep_dim: size of the representation tokens.
        text_layers: number of layers of the text tower with tokens.
        text_width: hidden size of the text tower.
        vision_layers: number of layers of the image tower with tokens.
        vision_width: hidden size of the image tower.
        dim: size of the image features.

    Attributes:
        representation: (n_rep, rep_dim)
        text_projections: one linear layer, rep_dim to text_width, for each layer of the text tower with tokens.
        vision_projections: one linear layer, rep_dim to vision_width, for each layer of the image tower with tokens.
        representation_projection: linear layer, vision_width to dim, for the outputs of the representation tokens.
    """

    def __init__(
        self,
        n_rep: int,
        rep_dim: int,
        text_layers: int,
        text_width: int,
        vision_layers: int,
        vision_width: int,
        dim: int,
    ):
        super().__init__()
        self.representation = nn.Parameter(torch.empty(n_rep, rep_dim))
        self.text_projections = nn.ModuleList(nn.Linear(rep_dim, text_width) for _ in range(text_layers))
        self.vision_projections = nn.ModuleList(nn.Linear(rep_dim, vision_width) for _ in range(vision_layers))
        self.representation_projection = nn.Linear(vision_width, dim, bias=False)

    def initialize(self) -> None:
        """Initialise the parameters as the released code does: all projections into a tower are equal."""
        init.normal_(self.representation, mean=0.0, std=0.02)
        for projections in (self.text_projections, self.vision_projections):
            init_linear(projections[0])
            for projection in projections[1:]:
                init.copy_(projection.weight, projections[0].weight)
                init.copy_(projection.bias, projections[0].bias)
        weight = self.representation_projection.weight
        init.normal_(weight, mean=0.0, std=weight.shape[1] ** -0.5)


class MMRLPreTrainedModel(ContextPromptModel):
    """Base class of MMRL models, with weight initialisation and the processor class."""

    config: MMRLConfig
    processor_class = MMRLProcessor
    uses_teacher = True
    needs_causal_text = True

    @property
    def needs_class_token(self) -> bool:
        """Whether the model puts prompts next to the class token of the image tower."""
        return True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, MMRLPromptLearner):
            module.initialize()


class MMRLForImageClassification(MMRLPreTrainedModel):
    """Image classification with two image features, of the class token and of the representation tokens (MMRL).

    The representation tokens are inserted at `first_layer`, after the start token of the text tower and the class
    token of the image tower. They are replaced at every later layer.
    """

    def __init__(self, config: MMRLConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        text, vision = self.clip.text_model.config, self.clip.vision_model.config
        for tower, layers in (("text", text.num_hidden_layers), ("image", vision.num_hidden_layers)):
            if not 0 <= config.first_layer < layers:
                raise ValueError(
                    f"first_layer={config.first_layer} does not fit the backbone, whose {tower} encoder has "
                    f"{layers} layers, counted from 0. Pass a smaller number."
                )
        self.prompt_learner = MMRLPromptLearner(
            config.n_rep,
            config.rep_dim,
            text.num_hidden_layers - config.first_layer,
            text.hidden_size,
            vision.num_hidden_layers - config.first_layer,
            vision.hidden_size,
            self.image_feature_size,
        )
        self.post_init()
        self.freeze_backbone()

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        class_names: Sequence[str],
        n_rep: int = 5,
        first_layer: int = 5,
        rep_dim: int = 512,
        alpha: float = 0.7,
        reg_weight: float = 0.5,
        templates: Sequence[str] | None = None,
        text_chunk_size: int | None = None,
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make new representation tokens for a pretrained CLIP.

        Args:
            name_or_path: Hub id or folder of the backbone; "playground" is the tiny CLIP that ships with this package.
            class_names: class names, in the order of the labels. Underscores are read as spaces.
            n_rep: number of representation tokens.
            first_layer: layer of both towers, counted from 0, at whose input they are inserted.
            rep_dim: size of the representation tokens.
            alpha: weight of the logits of the class token, from 0 to 1. Those of the representation tokens have weight
                1 - `alpha`.
            reg_weight: weight in the loss of the distances from the features without the tokens.
            templates: hand-written prompts. The first one is the input of the text tower; the teacher averages its
                features over all of them. Default: "a photo of a {}.".
            text_chunk_size: number of prompts to encode at a time in training, to save memory. Default: all at once,
                or 64 with gradient checkpointing.
            tokenizer: the backbone's tokenizer or processor. Default: the one in the backbone's folder.
            kwargs: keyword arguments of the backbone's `from_pretrained`: `revision`, `token`, `dtype`, `device_map`.

        Raises:
            TypeError: if the method does not support the type of the backbone.
            ValueError: if a tower does not have the layer, a template does not contain `{}`, or a name is too long for
                the text tower.

        Example:
            ```python
            >>> from hf_prompt_models import MMRLForImageClassification
            >>> model = MMRLForImageClassification.from_backbone(
            ...     "playground", ["a red key", "a blue cup"], n_rep=3, first_layer=1, rep_dim=16
            ... )
            >>> model.prompt_learner.representation.shape
            torch.Size([3, 16])
            >>> model.set_classes(["a green bell"], role="new")
            >>> model.config.role
            'new'

            ```
        """
        return cls._from_backbone(
            name_or_path,
            class_names,
            tokenizer,
            kwargs,
            n_rep=n_rep,
            first_layer=first_layer,
            rep_dim=rep_dim,
            alpha=alpha,
            reg_weight=reg_weight,
            templates=check_templates([DEFAULT_TEMPLATE] if templates is None else templates),
            text_chunk_size=text_chunk_size,
        )

    def set_classes(
        self,
        class_names: Sequence[str],
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        role: Literal["base", "new"] = "new",
    ) -> None:
        """Replace the classes and keep the trained tensors.

        Args:
            class_names: the new class names, in the order of the labels.
            tokenizer: the backbone's tokenizer, or a processor. Default: the tokenizer of the model's processor.
            role: "new" for classes that the model was not trained on: only the class token is used, as in the paper.
                "base" for classes that it was trained on: the representation tokens are used too.

        Raises:
            ValueError: if a name is empty or does not fit the text tower, or if the role is unknown.
        """
        super().set_classes(class_names, tokenizer)
        self.config.update({"role": role})

    @classmethod
    def _prompt_text(cls, config: MMRLConfig) -> str:
        return (config.templates or [DEFAULT_TEMPLATE])[0]

    @classmethod
    def _num_added_tokens(cls, config: MMRLConfig) -> int:
        return 0  # the inserted tokens do not use positions of the text tower

    def prompt_fields(self) -> tuple[Any, ...]:
        """Return the configuration fields that the prompts and the class features depend on."""
        return *super().prompt_fields(), self.config.n_rep, self.config.first_layer

    def prompt_token_ids(self) -> list[list[int]]:
        """Return the token ids of all prompts; ids past the vocabulary are context vectors."""
        tokens = range(self.vocab_size, self.vocab_size + self.config.n_rep)
        return [[ids[0], *tokens, *ids[1:]] for ids in self.class_token_ids()]

    def _placed(self, prompts: PackedPrompts) -> PackedPrompts:
        if not (prompts.input_ids >= self.vocab_size).any():  # prompts of the teacher
            return prompts
        n_rep, positions = self.config.n_rep, prompts.position_ids
        # Words keep the positions that they have without the tokens. The positions of the tokens have no effect.
        positions = torch.where(positions > n_rep, positions - n_rep, positions.clamp(max=1))  # type: ignore[assignment]
        return replace(prompts, position_ids=positions)

    @property
    def context(self) -> torch.Tensor:
        """Placeholders for the representation tokens, (n_rep, hidden size), all zero."""
        # No token attends to the placeholders before they are replaced at `first_layer`.
        width = self.clip.text_model.config.hidden_size
        return torch.zeros(self.config.n_rep, width, device=self.clip.device)

    @property
    def layer_context(self) -> Mapping[int, torch.Tensor]:
        """Representation tokens of the text tower, (n_rep, hidden size), by the layer whose input they are in."""
        return self._tokens(self.prompt_learner.text_projections)

    @property
    def first_layer(self) -> int:
        """First layer of both towers with representation tokens."""
        return self.config.first_layer

    def _tokens(self, projections: nn.ModuleList) -> dict[int, torch.Tensor]:
        tokens = self.prompt_learner.representation
        return {index: project(tokens) for index, project in enumerate(projections, self.config.first_layer)}

    def learned_text_tensors(self) -> list[torch.Tensor]:
        """Return the trained tensors outside of the backbone that the class features depend on."""
        learner = self.prompt_learner
        return [learner.representation, *learner.text_projections.parameters()]

    has_fixed_image_features = False
    is_linear_in_image_embeds = False
    accepts_image_embeds = False

    @forward_options
    def get_image_features(
        self,
        pixel_values: torch.Tensor | None,
        pixel_attention_mask: torch.Tensor | None = None,
        spatial_shapes: torch.Tensor | None = None,
        pooled_only: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Return the image features of the class token: `.pooler_output`, (batch, dim), L2-normalised.

        Args:
            pixel_values: (batch, 3, height, width)
            pixel_attention_mask: not supported; it belongs to NaFlex backbones, which have no class token.
            spatial_shapes: not supported, for the same reason.
            pooled_only: whether to compute only `.pooler_output` and `.representation_embeds`, for which the last
                layer needs less time.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.

        Returns:
            The output of the image tower with an additional attribute `representation_embeds`, (batch, dim): the image
            features of the representation tokens, L2-normalised.
        """
        self.check_pixels(pixel_values, pixel_attention_mask, spatial_shapes)
        tower = self.clip.vision_model
        outputs: Any = encode_with_inserted_prompts(
            tower,
            pixel_values,
            self._tokens(self.prompt_learner.vision_projections),
            num_read=1 + self.config.n_rep if pooled_only else None,
            **captured(kwargs),
        )
        tokens = tower.post_layernorm(outputs.last_hidden_state[:, 1 : 1 + self.config.n_rep]).mean(dim=1)
        project = self.prompt_learner.representation_projection
        outputs.representation_embeds = F.normalize(at_least_float32(project(tokens.to(project.weight.dtype))), dim=-1)
        outputs.pooler_output = self.normalized_image_features(outputs.pooler_output)
        return outputs

    def image_logits(self, images: Any, text_embeds: torch.Tensor) -> torch.Tensor:
        """Return the logits, (batch, classes).

        With `role="base"` they are `alpha` * class token logits + (1 - `alpha`) * representation token logits, with
        `role="new"` the class token logits.

        Args:
            images: the output of `get_image_features`.
            text_embeds: (classes, dim) class features, L2-normalised.
        """
        class_logits = self.class_logits(images.pooler_output, text_embeds)
        if self.config.role != "base":
            return class_logits
        representation_logits = self.class_logits(images.representation_embeds, text_embeds)
        return self.config.alpha * class_logits + (1 - self.config.alpha) * representation_logits

    def loss_terms(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        images: Any,
        text_embeds: torch.Tensor,
        pixel_values: torch.Tensor | None,
    ) -> dict[str, torch.Tensor]:
        """Return the terms of the loss by name, without their weights."""
        class_logits = self.class_logits(images.pooler_output, text_embeds)
        representation_logits = self.class_logits(images.representation_embeds, text_embeds)
        return {
            "cross_entropy": F.cross_entropy(class_logits, labels),
            "representation_cross_entropy": F.cross_entropy(representation_logits, labels),
            "image": cosine_distance(images.pooler_output, self.get_plain_image_features(pixel_values)),
            "text": cosine_distance(text_embeds, self.get_teacher_features()),
        }

    def loss_weights(self) -> dict[str, float]:
        """Return the weight of each of `loss_terms` in the loss."""
        alpha, weight = self.config.alpha, self.config.reg_weight
        return {"cross_entropy": alpha, "representation_cross_entropy": 1 - alpha, "image": weight, "text": weight}


__all__ = ["MMRLForImageClassification", "MMRLPreTrainedModel"]
