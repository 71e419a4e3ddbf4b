"""ProGrad: gradients that do not conflict with the teacher (arXiv 2205.14865; `trainers/prograd.py`)."""

import os
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers import initialization as init

from hf_prompt_models.modeling_clip_utils import ClipClassifierOutput
from hf_prompt_models.modeling_context_utils import ContextPromptModel, tokenize_words
from hf_prompt_models.models.prograd.configuration_prograd import ProGradConfig
from hf_prompt_models.models.prograd.processing_prograd import ProGradProcessor
from hf_prompt_models.prompts.context import LearnableContext
from hf_prompt_models.prompts.templates import DEFAULT_TEMPLATE, PLACEHOLDER, check_templates


class ProGradPreTrainedModel(ContextPromptModel):
    """Base class of ProGrad models, with weight initialisation and the processor class."""

    config: ProGradConfig
    processor_class = ProGradProcessor
    uses_teacher = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, LearnableContext):
            init.zeros_(module.context)


class ProGradForImageClassification(ProGradPreTrainedModel):
    """Image classification with a learned context whose gradient does not conflict with zero-shot CLIP (ProGrad).

    `.loss` is the cross-entropy. Let a be its gradient with respect to the context, and b that of the divergence from
    the teacher's probabilities. If their dot product is negative, the gradient of the context after `.backward()` is
    a - `gradient_weight` * <a, b/|b|> b/|b|, otherwise a.
    """

    def __init__(self, config: ProGradConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        self.prompt_learner = LearnableContext(config.n_ctx, self.clip.text_model.config.hidden_size)
        self._rule: GradientRule | None = None
        self.post_init()
        self.freeze_backbone()

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        class_names: Sequence[str],
        n_ctx: int = 16,
        gradient_weight: float = 1.0,
        temperature: float = 1.0,
        templates: Sequence[str] | None = None,
        text_chunk_size: int | None = None,
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make a new prompt for a pretrained CLIP.

        The context is initialised with zeros, and its last vectors with the words before `{}` in the first template.

        Args:
            name_or_path: Hub id or folder of the backbone; "playground" is the tiny CLIP that ships with this package.
            class_names: class names, in the order of the labels. Underscores are read as spaces.
            n_ctx: number of context vectors.
            gradient_weight: fraction that is removed of the gradient component that conflicts with the teacher.
            temperature: temperature of the divergence from the teacher's probabilities, above 0.
            templates: hand-written prompts of the teacher, which averages its features over them. Default:
                "a photo of a {}.".
            text_chunk_size: number of prompts to encode at a time in training, to save memory. Default: all at once,
                or 64 with gradient checkpointing.
            tokenizer: the backbone's tokenizer or processor. Default: the one in the backbone's folder.
            kwargs: keyword arguments of the backbone's `from_pretrained`: `revision`, `token`, `dtype`, `device_map`.

        Raises:
            ValueError: if a template does not contain `{}`, the first one has more than `n_ctx` tokens before it, or a
                name is too long for the text tower.
            TypeError: if the method does not support the type of the backbone.

        Example:
            ```python
            >>> import torch
            >>> from hf_prompt_models import ProGradForImageClassification
            >>> names = ["a red key", "a blue cup"]
            >>> model = ProGradForImageClassification.from_backbone("playground", names, gradient_weight=0.8)
            >>> output = model.train()(pixel_values=torch.randn(2, 3, 48, 48), labels=torch.tensor([0, 1]))
            >>> output.loss.backward()
            >>> model.prompt_learner.context.grad.shape
            torch.Size([16, 64])

            ```
        """
        return cls._from_backbone(
            name_or_path,
            class_names,
            tokenizer,
            kwargs,
            n_ctx=n_ctx,
            gradient_weight=gradient_weight,
            temperature=temperature,
            templates=check_templates([DEFAULT_TEMPLATE] if templates is None else templates),
            text_chunk_size=text_chunk_size,
        )

    @torch.no_grad()
    def _start_from_words(self, tokenizer: PreTrainedTokenizerBase) -> None:
        template, n_ctx = (self.config.templates or [DEFAULT_TEMPLATE])[0], self.config.n_ctx
        before = template.partition(PLACEHOLDER)[0]
        words = tokenize_words(before, tokenizer) if before.strip() else []
        if len(words) > n_ctx:
            raise ValueError(
                f"The template {template!r} has {len(words)} tokens before the class name, but there are only "
                f"n_ctx={n_ctx} context vectors. Pass n_ctx={len(words)} or more."
            )
        if words:
            self.prompt_learner.context[-len(words) :] = self._embed_words(words)

    @property
    def context(self) -> torch.Tensor | None:
        """Learned context, (n_ctx, hidden size); during a training step its gradient follows the rule."""
        context = self.prompt_learner.context
        return context if self._rule is None else self._rule(context)

    def learned_text_tensors(self) -> list[torch.Tensor]:
        """Return the trained tensors outside of the backbone that the class features depend on."""
        return [self.prompt_learner.context]

    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        image_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> ClipClassifierOutput | tuple:
        """Return class logits, and with labels a loss whose gradient in the context follows the rule of ProGrad.

        Args:
            pixel_values: images, as `get_image_features` takes them.
            image_embeds: (batch, dim) image features instead of pixels, normalised or not.
            labels: (batch,) class indices.
            args: further arguments of [`CoOpForImageClassification`].
            kwargs: further keyword arguments of [`CoOpForImageClassification`].
        """
        if labels is not None and torch.is_grad_enabled() and self.prompt_learner.context.requires_grad:
            self._rule = GradientRule(self.config.gradient_weight)
        try:
            return super().forward(pixel_values, image_embeds, labels, *args, **kwargs)
        finally:
            self._rule = None  # from here on the autograd graph holds it

    def loss_terms(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        images: Any,
        text_embeds: torch.Tensor,
        pixel_values: torch.Tensor | None,
    ) -> dict[str, torch.Tensor]:
        """Return the terms of the loss by name, without their weights."""
        terms = super().loss_terms(logits, labels, images, text_embeds, pixel_values)
        temperature = self.config.temperature
        target = self.class_logits(images.pooler_output.detach(), self.get_teacher_features())
        # As in the released code, without the teacher's own entropy, which has no gradient.
        divergence = temperature**2 * F.cross_entropy(logits / temperature, (target / temperature).softmax(-1))
        if self._rule is not None:
            self._rule.divergence_from(divergence)
        return terms | {"divergence": divergence.detach()}


class GradientRule:
    """Remove from a gradient the component that conflicts with another gradient.

    Args:
        weight: fraction of that component that is removed.
    """

    def __init__(self, weight: float):
        self.weight = weight
        self._tensor: torch.Tensor | None = None
        self._other: torch.Tensor | None = None

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the same tensor, whose gradient goes through the rule."""
        if self._tensor is None:
            self._tensor = _RuledGradient.apply(tensor, self)
        return self._tensor

    def divergence_from(self, divergence: torch.Tensor) -> None:
        """Set the gradient of a divergence as the other gradient.

        Args:
            divergence: scalar tensor, computed from the tensor that the rule was applied to.
        """
        assert self._tensor is not None
        (self._other,) = torch.autograd.grad(divergence, self._tensor, retain_graph=True)
        self._tensor = None

    def apply(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return the gradient without the conflicting component.

        With several processes, both gradients are averaged over the processes first.

        Args:
            gradient: gradient of the loss.
        """
        other = self._other
        if other is None:
            return gradient
        gradient, other = mean_over_processes(gradient), mean_over_processes(other)
        length = other.norm()
        product = (gradient * other).sum() / length
        # A divergence whose gradient is zero cannot conflict.
        against = torch.where((product < 0) & (length > 0), self.weight * product / length, torch.zeros_like(length))
        return gradient - against * other


class _RuledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, rule: GradientRule) -> torch.Tensor:
        ctx.rule = rule
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return ctx.rule.apply(gradients[0]), None


def mean_over_processes(tensor: torch.Tensor) -> torch.Tensor:
    """Return the mean of a tensor over all processes of a distributed run."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return tensor
    tensor = tensor.clone()
    torch.distributed.all_reduce(tensor)
    return tensor / torch.distributed.get_world_size()


__all__ = ["ProGradForImageClassification", "ProGradPreTrainedModel"]
