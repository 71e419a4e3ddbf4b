"""Base of methods with a context that all classes share: their prompts, their classes, a frozen teacher."""

import os
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.configuration_utils import SubConfigSpec

from hf_prompt_models.configuration_utils import PromptConfig, class_fields, ids_from_string, ids_to_string
from hf_prompt_models.modeling_clip_utils import ClipPromptModel
from hf_prompt_models.modeling_text_prompt_utils import same_tensors
from hf_prompt_models.modeling_utils import at_least_float32
from hf_prompt_models.prompts.class_names import (
    check_class_names,
    clean_class_names,
    special_token_fields,
    tokenize_class_prompts,
)
from hf_prompt_models.prompts.context import insert_context
from hf_prompt_models.prompts.regularization import cosine_distance
from hf_prompt_models.prompts.templates import PLACEHOLDER, fill_template


@strict
class ContextPromptConfig(PromptConfig):
    r"""
    Base of the configurations of methods with a learned context before each class name.

    clip_config (`PreTrainedConfig` or `dict`, *optional*):
        Configuration of the backbone.
    n_ctx (`int`, *optional*, defaults to 4):
        Number of context vectors in a prompt.
    context_init (`str`, *optional*):
        Words whose token embeddings the context started from; `None` for the method's own start.
    text_chunk_size (`int`, *optional*):
        Number of prompts to encode at a time in training. Bounds memory; gradients do not change.
    class_token_ids (`list[str]`, *optional*):
        Token ids of each class, one string a class: `start name . end`.
    templates (`list[str]`, *optional*):
        Hand-written prompts of the frozen teacher.
    teacher_token_ids (`list[str]`, *optional*):
        Token ids of all classes in the first template, then in the second, and so on.
    """

    task = "image-classification"

    sub_configs_defaults: ClassVar[dict] = {"clip_config": SubConfigSpec(AutoConfig, model_type="clip")}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["image_embeds"]

    clip_config: dict | PreTrainedConfig | None = None
    n_ctx: int = 4
    context_init: str | None = None
    text_chunk_size: int | None = None
    class_token_ids: list[str] | None = None
    templates: list[str] | None = None
    teacher_token_ids: list[str] | None = None

    def validate_architecture(self) -> None:
        """Part of `@strict` validation."""
        if self.n_ctx < 1:
            raise ValueError(f"n_ctx is the number of context vectors, at least 1; got {self.n_ctx}.")
        if self.text_chunk_size is not None and self.text_chunk_size < 1:
            raise ValueError(f"text_chunk_size is a number of prompts, at least 1; got {self.text_chunk_size}.")


class ContextPromptModel(ClipPromptModel):
    """Base of methods whose prompts are `start, context, class name, ending`, with a context that all classes share.

    A subclass builds its `prompt_learner`, which holds all trained tensors, `context` among them.
    """

    config: ContextPromptConfig
    uses_teacher: ClassVar[bool] = False
    """Whether the training loss compares with a frozen teacher's class features."""
    needs_causal_text: ClassVar[bool] = False
    """Whether the method puts prompts into layers of a causal text tower."""
    needs_class_token: ClassVar[bool] = False
    """Whether the method puts prompts beside the class token of the image tower."""
    # Trained tensors are few: they stay in full precision whatever the backbone's.
    _keep_in_fp32_modules_strict: ClassVar[list[str]] = ["prompt_learner"]

    def __init__(self, config: ContextPromptConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        self._teacher: tuple[Any, list[torch.Tensor], torch.Tensor] | None = None
        for needed, has, what in (
            (self.needs_causal_text, self.backbone_type.packs_prompts, "a causal text tower"),
            (self.needs_class_token, self.backbone_type.has_class_token, "an image tower with a class token"),
        ):
            if needed and not has:
                raise TypeError(
                    f"{type(self).__name__} needs {what}, which a {type(self.clip).__name__} does not have. Pass a "
                    "CLIP or MetaCLIP 2 as the backbone."
                )

    @classmethod
    def _from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        class_names: Sequence[str],
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None,
        kwargs: dict[str, Any],
        **fields: Any,
    ) -> Self:
        """Load the backbone and make a new model; `fields` are the configuration's."""
        clip, processor, tokenizer = cls._load_parts(name_or_path, tokenizer, kwargs)
        if (words := fields.get("context_init")) is not None:
            fields["n_ctx"] = len(tokenize_words(words, tokenizer))
        config = cls.config_class(
            clip_config=clip.config.to_dict(), **fields, **cls._base_model_fields(name_or_path, clip, kwargs)
        )
        config.update(cls._tokenize_classes(config, class_names, tokenizer))
        model = cls._from_parts(config, clip, {}, kwargs.get("attn_implementation"))
        model.processor = processor
        model._start_from_words(tokenizer)
        return model

    @classmethod
    def _tokenize_classes(
        cls, config: Any, class_names: Sequence[str], tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, Any]:
        """Return the configuration fields that hold the classes, after checking that every prompt fits the tower."""
        text_config = config.clip_config.text_config
        # With the space that is in front of a name after words. The released codes write a placeholder there.
        class_names = check_class_names(class_names)  # a list: it is read twice
        names = clean_class_names(class_names)
        texts = [f" {fill_template(cls._prompt_text(config), name)}" for name in names]
        names = [f" {name}" for name in names]
        prompts, _ = tokenize_class_prompts(tokenizer, texts, names, text_config, cls._num_added_tokens(config))
        fields = {
            **class_fields(class_names),
            **special_token_fields(tokenizer),
            "class_token_ids": [ids_to_string(ids) for ids in prompts],
        }
        if cls.uses_teacher:
            fields["teacher_token_ids"] = tokenize_templates(config.templates, class_names, tokenizer, text_config)
        return fields

    @classmethod
    def _prompt_text(cls, config: Any) -> str:
        """Return the template of what follows the context."""
        return f"{PLACEHOLDER}."

    @classmethod
    def _num_added_tokens(cls, config: Any) -> int:
        """Return the number of tokens that a prompt has besides those of `class_token_ids`."""
        return config.n_ctx

    @torch.no_grad()
    def _start_from_words(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Set the trained tensors that start from words; all are initialised before."""
        if self.config.context_init is not None:
            self.prompt_learner.context.copy_(self._embed_words(tokenize_words(self.config.context_init, tokenizer)))

    def set_classes(
        self, class_names: Sequence[str], tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None
    ) -> None:
        """Classify into other classes from now on, with the trained tensors as they are.

        Args:
            class_names: the new names, in the order of the labels.
            tokenizer: the backbone's tokenizer, or the processor. Default: that of the model's processor.

        Raises:
            ValueError: if a name is empty or does not fit the text tower.
        """
        self.config.update(self._tokenize_classes(self.config, class_names, self._tokenizer_or_own(tokenizer)))
        self._prompted_classes = self._named_classes()

    @property
    def context(self) -> torch.Tensor | None:
        return self.prompt_learner.context

    @property
    def text_chunk_size(self) -> int | None:
        return self.config.text_chunk_size or super().text_chunk_size

    def class_token_ids(self) -> list[list[int]]:
        """Return each class's `start name . end`.

        Raises:
            ValueError: if the model has no classes.
        """
        if self.config.class_token_ids is None:
            raise ValueError("This model has no classes yet. Call set_classes(names, tokenizer=...).")
        return [ids_from_string(ids) for ids in self.config.class_token_ids]

    @property
    def vocab_size(self) -> int:
        """Number of tokens of the text tower, at which the ids of context vectors begin."""
        return self.clip.text_model.embeddings.token_embedding.num_embeddings

    def prompt_fields(self) -> tuple[Any, ...]:
        config = self.config
        return tuple(config.class_token_ids or ()), tuple(config.teacher_token_ids or ()), config.n_ctx

    def prompt_token_ids(self) -> list[list[int]]:
        context = range(self.vocab_size, self.vocab_size + self.config.n_ctx)
        start_tokens = self.backbone_type.start_tokens
        return [insert_context(ids, 0, context, "end", start_tokens) for ids in self.class_token_ids()]

    def class_features(self, prompt_features: torch.Tensor) -> torch.Tensor:
        return F.normalize(prompt_features, dim=-1)

    @torch.no_grad()
    def get_teacher_features(self) -> torch.Tensor:
        """Return the class features of the teacher: the backbone without prompts, on hand-written templates.

        The mean over the templates of features that are not normalised, normalised then. Computed once and kept as
        long as all that it depends on stays what it is: the text side's weights, the classes, the dtype, the device.

        Returns:
            (classes, dim), L2-normalised.

        Raises:
            ValueError: if the model has no classes.
        """
        ids = self.config.teacher_token_ids
        if ids is None:
            raise ValueError("This model has no classes yet. Call set_classes(names, tokenizer=...).")
        prompts = [ids_from_string(each) for each in ids]
        tokens = sorted({token for prompt in prompts for token in prompt})
        setting, values = self._state_of_text((self.clip.device, self.text_chunk_size, tuple(ids)), tokens)
        kept = self._teacher
        if kept is None or kept[0] != setting or not same_tensors(kept[1], values):
            with torch.inference_mode(False):
                features = self._encode_prompts(self._lay_out_prompts(prompts))
                features = features.unflatten(0, (-1, self.config.num_labels)).mean(dim=0)
            kept = self._teacher = setting, values, F.normalize(features, dim=-1)
        return kept[2]

    @torch.no_grad()
    def get_plain_image_features(self, pixel_values: torch.Tensor | None) -> torch.Tensor:
        """Return the image features of the backbone without prompts, (batch, dim), L2-normalised.

        Raises:
            ValueError: without images.
        """
        if pixel_values is None:
            raise ValueError(
                f"The loss of {type(self).__name__} compares with the image tower without prompts. Pass pixel_values "
                "with labels, not image_embeds."
            )
        return ClipPromptModel.get_image_features(self, pixel_values).pooler_output

    def check_pixels(self, pixel_values: torch.Tensor | None, *others: torch.Tensor | None) -> None:
        """Refuse other inputs than pixels for a tower with prompts.

        Raises:
            ValueError: without pixels, or with what a NaFlex backbone takes.
        """
        if pixel_values is None or any(each is not None for each in others):
            raise ValueError(f"{type(self).__name__} takes pixel_values of images and nothing else.")

    def normalized_image_features(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return image features, (batch, dim), L2-normalised, of a CLIP's pooled output, (batch, hidden size)."""
        return F.normalize(at_least_float32(self.clip.visual_projection(pooled)), dim=-1)

    @property
    def image_feature_size(self) -> int:
        """Size of the features that images and classes are compared by."""
        text_config = self.clip.config.text_config
        return self.clip.config.projection_dim if self.backbone_type.packs_prompts else text_config.projection_size

    def _embed_words(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the token embeddings of words, (tokens, hidden size), in full precision."""
        embedding = self.clip.text_model.embeddings.token_embedding
        return embedding(torch.tensor(ids, device=embedding.weight.device)).detach().float()


class KnowledgeGuidedModel(ContextPromptModel):
    """Base of methods whose class features stay near to the teacher's: the loss has 1 - their mean cosine.

    The configuration has its weight, `knowledge_weight` (KgCoOp, arXiv 2303.13283, §3.2).
    """

    uses_teacher = True

    def loss_weights(self) -> dict[str, float]:
        return super().loss_weights() | {"knowledge": self.config.knowledge_weight}

    def loss_terms(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        images: Any,
        text_embeds: torch.Tensor,
        pixel_values: torch.Tensor | None,
    ) -> dict[str, torch.Tensor]:
        terms = super().loss_terms(logits, labels, images, text_embeds, pixel_values)
        return terms | {"knowledge": cosine_distance(text_embeds, self.get_teacher_features())}


class MetaNetPromptLearner(nn.Module):
    """A context, and the network that makes a prompt from features.

    Args:
        n_ctx, width: number of context vectors and hidden size of the text tower.
        dim, hidden, out: sizes of the network's input, hidden layer and output.
        activation: between its layers, by the name that transformers has for it.

    Attributes:
        context: (n_ctx, width)
        meta_net: from (batch, dim) to (batch, out).
    """

    def __init__(self, n_ctx: int, width: int, dim: int, hidden: int, out: int, activation: str):
        super().__init__()
        self.context = nn.Parameter(torch.empty(n_ctx, width))
        self.meta_net = MetaNet(dim, hidden, out, activation)

    def initialize(self) -> None:
        """Draw the context from a normal distribution of standard deviation 0.02, and the layers as torch does."""
        init.normal_(self.context, mean=0.0, std=0.02)
        init_linear(self.meta_net.linear1)
        init_linear(self.meta_net.linear2)


class MetaNet(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, dim: int, hidden: int, out: int, activation: str):
        super().__init__()
        self.linear1 = nn.Linear(dim, hidden)
        self.linear2 = nn.Linear(hidden, out)
        self.activation = ACT2FN[activation]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.linear2(self.activation(self.linear1(features)))


def init_linear(layer: nn.Module) -> None:
    """Initialise a linear layer as torch does."""
    assert isinstance(layer, nn.Linear)
    bound = layer.in_features**-0.5
    init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        init.uniform_(layer.bias, -bound, bound)


def tokenize_templates(
    templates: Sequence[str],
    class_names: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    text_config: PreTrainedConfig,
) -> list[str]:
    """Return the token ids of all classes in the first template, then in the second, and so on."""
    names = clean_class_names(class_names)
    texts = [fill_template(template, name) for template in templates for name in names]
    prompts, _ = tokenize_class_prompts(tokenizer, texts, names * len(templates), text_config)
    return [ids_to_string(ids) for ids in prompts]


def tokenize_words(words: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the token ids of words that a context starts from.

    Raises:
        ValueError: if there are no words, or a placeholder is among them.
    """
    words = " ".join(words.replace("_", " ").split())
    if PLACEHOLDER in words:
        raise ValueError(f"context_init={words!r} holds {PLACEHOLDER!r}. Pass the words before the class name alone.")
    ids = tokenizer(words, add_special_tokens=False)["input_ids"]
    if not ids:
        raise ValueError("context_init holds no words. Leave it out for a random start.")
    return ids
