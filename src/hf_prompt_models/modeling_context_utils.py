"""Base classes of methods with a learned context that all classes share: prompts, classes and a frozen teacher."""

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

from hf_prompt_models.configuration_utils import ClassifierConfig, class_fields, ids_from_string, ids_to_string
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
class ContextPromptConfig(ClassifierConfig):
    r"""Base class of the configurations of methods with a learned context before each class name.

    Attributes:
        clip_config (`PreTrainedConfig` or `dict`, *optional*):
            Configuration of the backbone.
        n_ctx (`int`, *optional*, defaults to 4):
            Number of context vectors in a prompt.
        context_init (`str`, *optional*):
            Words whose token embeddings initialised the context; `None` for the method's own initialisation.
        text_chunk_size (`int`, *optional*):
            Number of prompts to encode at a time in training, to save memory. Gradients do not change.
        class_token_ids (`list[str]`, *optional*):
            Token ids of each class, one string per class: `start name . end`.
        templates (`list[str]`, *optional*):
            Hand-written prompts of the frozen teacher.
        teacher_token_ids (`list[str]`, *optional*):
            Token ids of all classes in the first template, then in the second, and so on.
    """

    task = "image-classification"

    sub_configs_defaults: ClassVar[dict] = {"clip_config": SubConfigSpec(AutoConfig, model_type="clip")}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["image_embeds"]

    clip_config: PreTrainedConfig | dict | None = None
    n_ctx: int = 4
    context_init: str | None = None
    text_chunk_size: int | None = None
    class_token_ids: list[str] | None = None
    templates: list[str] | None = None
    teacher_token_ids: list[str] | None = None

    def validate_architecture(self) -> None:
        """Check the fields; `@strict` calls this method."""
        if self.n_ctx < 1:
            raise ValueError(f"Expected n_ctx, the number of context vectors, to be at least 1, got {self.n_ctx}.")
        if self.text_chunk_size is not None and self.text_chunk_size < 1:
            raise ValueError(
                f"Expected text_chunk_size, a number of prompts, to be at least 1, got {self.text_chunk_size}."
            )


class ContextPromptModel(ClipPromptModel):
    """Base class of methods with prompts `start, context, class name, ending` and one context for all classes.

    A subclass builds `prompt_learner`, a module with all trained tensors, including `context`.
    """

    config: ContextPromptConfig
    uses_teacher: ClassVar[bool] = False
    """Whether the training loss uses the class features of a frozen teacher."""
    needs_causal_text: ClassVar[bool] = False
    """Whether the method puts prompts into layers of a causal text tower."""
    # Trained tensors are small, so they stay in full precision, whatever the precision of the backbone.
    _keep_in_fp32_modules_strict: ClassVar[list[str]] = ["prompt_learner"]

    def __init__(self, config: ContextPromptConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        self._teacher: tuple[Any, list[torch.Tensor], torch.Tensor] | None = None
        kind = self.backbone_type
        image_tower = "convolutional, without tokens" if kind.image_tokens == "none" else "pooled by attention"
        for needed, has, what, found in (
            (self.needs_causal_text, kind.packs_prompts, "a causal text encoder", "bidirectional"),
            (self.needs_class_token, kind.has_class_token, "an image encoder with a class token", image_tower),
        ):
            if needed and not has:
                raise TypeError(
                    f"{type(self).__name__} needs {what}, but that of {kind.model_class.__name__} is {found}. Pass a "
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
        """Load the backbone and make a new model; `fields` are fields of the configuration."""
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
        """Return the configuration fields with the classes, after checking that every prompt fits the text tower."""
        clip_config = config.clip_config
        # The leading space tokenizes a name as after words: the released codes have a placeholder before the name.
        class_names = check_class_names(class_names)  # a list, because it is iterated twice
        names = clean_class_names(class_names)
        texts = [f" {fill_template(cls._prompt_text(config), name)}" for name in names]
        names = [f" {name}" for name in names]
        prompts, _ = tokenize_class_prompts(tokenizer, texts, names, clip_config, cls._num_added_tokens(config))
        fields = {
            **class_fields(class_names),
            **special_token_fields(tokenizer),
            "class_token_ids": [ids_to_string(ids) for ids in prompts],
        }
        if cls.uses_teacher:
            fields["teacher_token_ids"] = tokenize_templates(config.templates, class_names, tokenizer, clip_config)
        return fields

    @classmethod
    def _prompt_text(cls, config: Any) -> str:
        """Return the template of the text after the context."""
        return f"{PLACEHOLDER}."

    @classmethod
    def _num_added_tokens(cls, config: Any) -> int:
        """Return the number of tokens in a prompt besides those in `class_token_ids`."""
        return config.n_ctx

    @torch.no_grad()
    def _start_from_words(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Initialise from words the trained tensors that start from words; all tensors are initialised before."""
        if self.config.context_init is not None:
            self.prompt_learner.context.copy_(self._embed_words(tokenize_words(self.config.context_init, tokenizer)))

    def set_classes(
        self, class_names: Sequence[str], tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None
    ) -> None:
        """Replace the classes and keep the trained tensors.

        Args:
            class_names: the new class names, in the order of the labels.
            tokenizer: the backbone's tokenizer, or a processor. Default: the tokenizer of the model's processor.

        Raises:
            ValueError: if a name is empty or does not fit the text tower.
        """
        self.config.update(self._tokenize_classes(self.config, class_names, self._tokenizer_or_own(tokenizer)))
        self._note_classes()

    @property
    def needs_class_token(self) -> bool:
        """Whether the model puts prompts next to the class token of the image tower."""
        return False

    @property
    def context(self) -> torch.Tensor | None:
        """Learned context vectors."""
        return self.prompt_learner.context

    @property
    def text_chunk_size(self) -> int | None:
        """Number of prompts to encode at a time in training; `None` for all at once."""
        return self.config.text_chunk_size or super().text_chunk_size

    def class_token_ids(self) -> list[list[int]]:
        """Return the token ids of each class: `start name . end`.

        Raises:
            ValueError: if the model has no classes.
        """
        if self.config.class_token_ids is None:
            raise ValueError("This model has no classes yet. Call set_classes(names, tokenizer=...).")
        return [ids_from_string(ids) for ids in self.config.class_token_ids]

    def prompt_fields(self) -> tuple[Any, ...]:
        """Return the configuration fields that the prompts and the class features depend on."""
        config = self.config
        return tuple(config.class_token_ids or ()), tuple(config.teacher_token_ids or ()), config.n_ctx

    def prompt_token_ids(self) -> list[list[int]]:
        """Return the token ids of all prompts; ids past the vocabulary are context vectors."""
        context = range(self.vocab_size, self.vocab_size + self.config.n_ctx)
        start_tokens = self.backbone_type.start_tokens
        return [insert_context(ids, 0, context, "end", start_tokens) for ids in self.class_token_ids()]

    def class_features(self, prompt_features: torch.Tensor) -> torch.Tensor:
        """Return the L2-normalised features of the prompts, one for each class, (classes, dim)."""
        return F.normalize(prompt_features, dim=-1)

    @torch.no_grad()
    def get_teacher_features(self) -> torch.Tensor:
        """Return the class features of the teacher: the backbone without prompts, on hand-written templates.

        The features are averaged over the templates before they are normalised. They are computed once and cached as
        long as nothing changes that they depend on: the weights of the text side, the classes, the dtype, the device.

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

        Args:
            pixel_values: (batch, 3, height, width)

        Raises:
            ValueError: if no images are given.
        """
        if pixel_values is None:
            raise ValueError(
                f"The loss of {type(self).__name__} compares with the image encoder without prompts. Pass "
                "pixel_values with labels instead of image_embeds."
            )
        return ClipPromptModel.get_image_features(self, pixel_values, pooled_only=True).pooler_output

    def check_pixels(self, pixel_values: torch.Tensor | None, *others: torch.Tensor | None) -> None:
        """Check that the inputs of an image tower with prompts are only pixels.

        Args:
            pixel_values: (batch, 3, height, width)
            others: the inputs of NaFlex backbones.

        Raises:
            ValueError: if there are no pixels, or inputs of NaFlex backbones.
        """
        if pixel_values is None or any(each is not None for each in others):
            raise ValueError(f"{type(self).__name__} accepts only pixel_values for images.")

    def normalized_image_features(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return the projected image features, (batch, dim), L2-normalised.

        Args:
            pooled: (batch, hidden size) pooled output of the image tower of a CLIP.
        """
        return F.normalize(at_least_float32(self.clip.visual_projection(pooled)), dim=-1)

    def _embed_words(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the token embeddings of words, (tokens, hidden size), in full precision."""
        embedding = self.token_embedding
        return embedding(torch.tensor(ids, device=embedding.weight.device)).detach().float()


class KnowledgeGuidedModel(ContextPromptModel):
    """Base class of methods that keep the class features close to those of the teacher.

    The loss has a term 1 - c, where c is their mean cosine similarity. Its weight is the configuration field
    `knowledge_weight` (KgCoOp, arXiv 2303.13283, §3.2).
    """

    uses_teacher = True

    def loss_weights(self) -> dict[str, float]:
        """Return the weight of each of `loss_terms` in the loss."""
        return super().loss_weights() | {"knowledge": self.config.knowledge_weight}

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
        return terms | {"knowledge": cosine_distance(text_embeds, self.get_teacher_features())}


class MetaNetPromptLearner(nn.Module):
    """A learned context, and a network that makes prompt vectors from features.

    Args:
        n_ctx: number of context vectors.
        width: hidden size of the text tower.
        dim: input size of the network.
        hidden: size of its hidden layer.
        out: output size of the network.
        activation: activation function between its layers, by its name in transformers.

    Attributes:
        context: (n_ctx, width)
        meta_net: network that maps (batch, dim) to (batch, out).
    """

    def __init__(self, n_ctx: int, width: int, dim: int, hidden: int, out: int, activation: str):
        super().__init__()
        self.context = nn.Parameter(torch.empty(n_ctx, width))
        self.meta_net = MetaNet(dim, hidden, out, activation)

    def initialize(self) -> None:
        """Initialise the context from a normal distribution with standard deviation 0.02, and the layers as torch."""
        init.normal_(self.context, mean=0.0, std=0.02)
        init_linear(self.meta_net.linear1)
        init_linear(self.meta_net.linear2)


class MetaNet(nn.Module):
    """Two linear layers with an activation function between them.

    Args:
        dim: input size.
        hidden: size of the hidden layer.
        out: output size.
        activation: activation function, by its name in transformers.
    """

    def __init__(self, dim: int, hidden: int, out: int, activation: str):
        super().__init__()
        self.linear1 = nn.Linear(dim, hidden)
        self.linear2 = nn.Linear(hidden, out)
        self.activation = ACT2FN[activation]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features of shape (batch, dim) to (batch, out)."""
        return self.linear2(self.activation(self.linear1(features)))


def init_linear(layer: nn.Module) -> None:
    """Initialise a linear layer as torch does.

    Args:
        layer: an `nn.Linear`.
    """
    assert isinstance(layer, nn.Linear)
    bound = layer.in_features**-0.5
    init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        init.uniform_(layer.bias, -bound, bound)


def tokenize_templates(
    templates: Sequence[str],
    class_names: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    clip_config: PreTrainedConfig,
) -> list[str]:
    """Return the token ids of prompts, as strings: all classes in the first template, then in the second, ….

    Args:
        templates: sentences with one `{}` for the class name.
        class_names: class names, in the order of the labels.
        tokenizer: the backbone's tokenizer.
        clip_config: configuration of the backbone.

    Raises:
        ValueError: if a prompt does not fit the text tower.
    """
    names = clean_class_names(class_names)
    texts = [fill_template(template, name) for template in templates for name in names]
    prompts, _ = tokenize_class_prompts(tokenizer, texts, names * len(templates), clip_config)
    return [ids_to_string(ids) for ids in prompts]


def tokenize_words(words: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the token ids of the words that initialise a context.

    Args:
        words: the words; underscores are read as spaces.
        tokenizer: the backbone's tokenizer.

    Raises:
        ValueError: if there are no words, or they contain the placeholder `{}`.
    """
    words = " ".join(words.replace("_", " ").split())
    if PLACEHOLDER in words:
        raise ValueError(
            f"context_init={words!r} contains {PLACEHOLDER!r}. Pass only the words before the class name."
        )
    ids = tokenizer(words, add_special_tokens=False)["input_ids"]
    if not ids:
        raise ValueError("context_init contains no words. Remove it for a random initialization.")
    return ids
