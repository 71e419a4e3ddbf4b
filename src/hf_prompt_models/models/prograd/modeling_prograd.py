"""ProGrad: gradients without what goes against the teacher (arXiv 2205.14865; `trainers/prograd.py`)."""

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
    config: ProGradConfig
    processor_class = ProGradProcessor
    uses_teacher = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, LearnableContext):
            init.zeros_(module.context)


class ProGradForImageClassification(ProGradPreTrainedModel):
    """Image classification with a learned context whose gradient does not go against the zero-shot prompt's.

    `.loss` is the cross-entropy. Where its gradient a in the context and the gradient b of the divergence from the
    teacher's probabilities point apart, `.backward()` leaves a - `gradient_weight` * <a, b/|b|> b/|b| in the context.
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

        The context starts as zeros, with the words before `{}` of the first template in its last places.

        Args:
            name_or_path: Hub id or folder of the backbone.
            class_names: one name a class, in the order of the labels. Underscores are read as spaces.
            n_ctx: number of context vectors.
            gradient_weight: how much of the gradient's part against the teacher is taken away.
            temperature: of the divergence from the teacher's probabilities.
            templates: the teacher's hand-written prompts; of several the mean. Default: "a photo of a {}.".
            text_chunk_size: prompts to encode at a time in training, where memory is short.
            tokenizer: the backbone's tokenizer or processor, where it is not in the backbone's folder.
            kwargs: for the backbone's `from_pretrained`: `revision`, `token`, `dtype`, `device_map`.

        Raises:
            ValueError: for a template without `{}` or with more words than `n_ctx` vectors, or a name that is too long
                for the text tower.
            TypeError: if the backbone is of another type.
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
                f"The template {template!r} has {len(words)} tokens before the class name, more than "
                f"the n_ctx={n_ctx} context vectors. Pass n_ctx={len(words)} or more."
            )
        if words:
            self.prompt_learner.context[-len(words) :] = self._embed_words(words)

    @property
    def context(self) -> torch.Tensor | None:
        context = self.prompt_learner.context
        return context if self._rule is None else self._rule(context)

    def learned_text_tensors(self) -> list[torch.Tensor]:
        return [self.prompt_learner.context]

    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        image_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> ClipClassifierOutput | tuple:
        """Classify images; arguments are those of [`CoOpForImageClassification`].

        With labels, the gradient that `.loss.backward()` leaves in the context follows the rule.
        """
        if labels is not None and torch.is_grad_enabled() and self.prompt_learner.context.requires_grad:
            self._rule = GradientRule(self.config.gradient_weight)
        try:
            return super().forward(pixel_values, image_embeds, labels, *args, **kwargs)
        finally:
            self._rule = None  # the graph holds it from here on

    def loss_terms(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        images: Any,
        text_embeds: torch.Tensor,
        pixel_values: torch.Tensor | None,
    ) -> dict[str, torch.Tensor]:
        terms = super().loss_terms(logits, labels, images, text_embeds, pixel_values)
        temperature = self.config.temperature
        target = self.class_logits(images.pooler_output.detach(), self.get_teacher_features())
        # The released code's, without the teacher's own entropy, which no gradient passes through.
        divergence = temperature**2 * F.cross_entropy(logits / temperature, (target / temperature).softmax(-1))
        if self._rule is not None:
            self._rule.divergence_from(divergence)
        return terms | {"divergence": divergence.detach()}


class GradientRule:
    """Leaves a gradient without its part against another.

    Args:
        weight: how much of that part is taken away.
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
        """Take the gradient of a divergence for the other one."""
        assert self._tensor is not None
        (self._other,) = torch.autograd.grad(divergence, self._tensor, retain_graph=True)
        self._tensor = None

    def apply(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return the gradient by the rule; of several processes, that of the means of both gradients."""
        other = self._other
        if other is None:
            return gradient
        gradient, other = mean_over_processes(gradient), mean_over_processes(other)
        length = other.norm()
        product = (gradient * other).sum() / length
        # A divergence without a gradient has nothing to go against.
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
    """Return the mean of a tensor over all processes that train together."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return tensor
    tensor = tensor.clone()
    torch.distributed.all_reduce(tensor)
    return tensor / torch.distributed.get_world_size()


__all__ = ["ProGradForImageClassification", "ProGradPreTrainedModel"]
