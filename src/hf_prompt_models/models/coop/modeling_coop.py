"""CoOp: learnable context before the class names (arXiv 2109.01134; reference code `trainers/coop.py`)."""

import os
import re
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers import initialization as init

from hf_prompt_models.configuration_utils import class_fields, ids_from_string, ids_to_string
from hf_prompt_models.modeling_clip_utils import ClipPromptModel
from hf_prompt_models.models.coop.configuration_coop import CoOpConfig
from hf_prompt_models.models.coop.processing_coop import CoOpProcessor
from hf_prompt_models.prompts.class_names import (
    check_class_names,
    clean_class_names,
    special_token_fields,
    tokenize_class_prompts,
)
from hf_prompt_models.prompts.context import CLASS_TOKEN_POSITIONS, LearnableContext, insert_context


class CoOpPreTrainedModel(ClipPromptModel):
    """Base class of CoOp models, with weight initialisation and the processor class."""

    config: CoOpConfig
    processor_class = CoOpProcessor
    # The prompt is small and is trained, so it stays in full precision, whatever the precision of the backbone.
    _keep_in_fp32_modules_strict: ClassVar[list[str]] = ["prompt_learner"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, LearnableContext):
            init.normal_(module.context, mean=0.0, std=0.02)


class CoOpForImageClassification(CoOpPreTrainedModel):
    """Image classification by the similarity of images and class prompts with learned context (CoOp)."""

    def __init__(self, config: CoOpConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        num_classes = config.num_labels if config.class_specific_context else None
        self.prompt_learner = LearnableContext(config.n_ctx, self.clip.text_model.config.hidden_size, num_classes)
        self.post_init()
        self.freeze_backbone()

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        class_names: Sequence[str],
        n_ctx: int = 16,
        class_token_position: str = "end",
        class_specific_context: bool = False,
        context_init: str | None = None,
        text_chunk_size: int | None = None,
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make a new, untrained prompt for a pretrained CLIP, SigLIP or similar model.

        Args:
            name_or_path: Hub id or folder of the backbone: a checkpoint of CLIP (also `ClipResNetModel`), MetaCLIP 2,
                SigLIP, SigLIP 2, Chinese-CLIP, AltCLIP or ALIGN. "playground" is the tiny CLIP that ships with this
                package.
            class_names: class names, in the order of the labels. Underscores are read as spaces; names may repeat.
            n_ctx: number of context vectors.
            class_token_position: position of the class name: "end", "middle" or "front" of the prompt.
            class_specific_context: whether each class has its own context instead of sharing one.
            context_init: words that initialise the context, such as "a photo of a". Their number of tokens replaces
                `n_ctx`. Default: random initialisation.
            text_chunk_size: number of classes to encode at a time in training, to save memory. Default: all at once,
                or 64 with gradient checkpointing.
            tokenizer: the backbone's tokenizer or processor. Default: the one in the backbone's folder.
            kwargs: keyword arguments of the backbone's `from_pretrained`: `revision`, `token`, `dtype`, `device_map`,
                ….

        Raises:
            ValueError: if the position is unknown, or a name is too long for the text tower.
            TypeError: if the method does not support the type of the backbone.

        Example:
            ```python
            >>> import torch
            >>> from hf_prompt_models import CoOpForImageClassification
            >>> model = CoOpForImageClassification.from_backbone("playground", ["a red key", "a blue cup"], n_ctx=4)
            >>> model.prompt_learner.context.shape
            torch.Size([4, 64])
            >>> model.set_classes(["a red key", "a blue cup", "a green bell"])
            >>> model(pixel_values=torch.zeros(1, 3, 48, 48)).logits.shape
            torch.Size([1, 3])

            ```
        """
        if class_token_position not in CLASS_TOKEN_POSITIONS:
            raise ValueError(
                f"Expected one of {', '.join(CLASS_TOKEN_POSITIONS)} as class_token_position, got "
                f"{class_token_position!r}."
            )
        clip, processor, tokenizer = cls._load_parts(name_or_path, tokenizer, kwargs)
        init_ids = None
        if context_init is not None:
            context_init = " ".join(context_init.replace("_", " ").split())
            if placeholder := re.search(r"\{.*?\}|\[.*?\]|<.*?>|%s", context_init):
                raise ValueError(
                    f"context_init contains the placeholder {placeholder[0]!r}, which would become context "
                    "vectors. Pass only the words around the class name, such as 'a photo of a'; "
                    "class_token_position determines where the name is."
                )
            init_ids = tokenizer(context_init, add_special_tokens=False)["input_ids"]
            if not init_ids:
                raise ValueError("context_init contains no words. Remove it for a random initialization.")
            n_ctx = len(init_ids)
        config = CoOpConfig(
            clip_config=clip.config.to_dict(),
            n_ctx=n_ctx,
            class_token_position=class_token_position,
            class_specific_context=class_specific_context,
            context_init=context_init,
            text_chunk_size=text_chunk_size,
            **_tokenized_classes(class_names, tokenizer, clip.config, n_ctx),
            **cls._base_model_fields(name_or_path, clip, kwargs),
        )
        model = cls._from_parts(config, clip, {}, kwargs.get("attn_implementation"))
        model.processor = processor
        if init_ids is not None:
            embedding = model.token_embedding
            words = embedding(torch.tensor(init_ids, device=embedding.weight.device))
            with torch.no_grad():
                model.prompt_learner.context.copy_(words)
        return model

    def set_classes(
        self, class_names: Sequence[str], tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None
    ) -> None:
        """Replace the classes and keep the learned context.

        Args:
            class_names: the new class names, in the order of the labels.
            tokenizer: the backbone's tokenizer, or a processor. Default: the tokenizer of the processor that was saved
                with the model.

        Raises:
            ValueError: if the context is class-specific, because it belongs to the classes that it was trained on.
        """
        if (reason := self.fixed_classes) is not None:
            raise ValueError(reason)
        fields = _tokenized_classes(
            class_names, self._tokenizer_or_own(tokenizer), self.config.clip_config, self.config.n_ctx
        )
        self.config.update(fields)
        self._note_classes()

    @property
    def fixed_classes(self) -> str | None:
        """Reason why the classes cannot be replaced, or `None` if they can."""
        if not self.config.class_specific_context:
            return None
        return (
            "This prompt has a class-specific context, so it works only with its own class names. Train a prompt with "
            "class_specific_context=False to change classes."
        )

    @property
    def context(self) -> torch.Tensor:
        """Learned context, (n_ctx, hidden size), or (classes, n_ctx, hidden size) if class-specific."""
        return self.prompt_learner.context

    @property
    def text_chunk_size(self) -> int | None:
        """Number of prompts to encode at a time in training; `None` for all at once."""
        return self.config.text_chunk_size or super().text_chunk_size

    def prompt_fields(self) -> tuple[Any, ...]:
        """Return the configuration fields that the prompts and the class features depend on."""
        config = self.config
        words = tuple(config.class_token_ids or ()), tuple(config.class_name_lengths or ())
        return *words, config.n_ctx, config.class_token_position, config.class_specific_context

    def prompt_token_ids(self) -> list[list[int]]:
        """Return the token ids of all prompts; ids past the vocabulary are context vectors."""
        config = self.config
        if config.class_token_ids is None or config.class_name_lengths is None:
            raise ValueError("This model has no classes yet. Call set_classes(names, tokenizer=...).")
        prompts = []
        for index, (ids, length) in enumerate(zip(config.class_token_ids, config.class_name_lengths, strict=True)):
            first = self.vocab_size + (index * config.n_ctx if config.class_specific_context else 0)
            context_ids = range(first, first + config.n_ctx)
            prompts.append(
                insert_context(
                    ids_from_string(ids),
                    length,
                    context_ids,
                    config.class_token_position,
                    self.backbone_type.start_tokens,
                )
            )
        return prompts

    def class_features(self, prompt_features: torch.Tensor) -> torch.Tensor:
        """Return the L2-normalised features of the prompts, one for each class, (classes, dim)."""
        return F.normalize(prompt_features, dim=-1)


def _tokenized_classes(
    class_names: Sequence[str], tokenizer: PreTrainedTokenizerBase, clip_config: PreTrainedConfig, n_ctx: int
) -> dict[str, Any]:
    """Return the configuration fields with the classes, after checking that every prompt fits the text tower."""
    # The leading space tokenizes a name as after words, wherever the context will be: the released code has a
    # placeholder before the name.
    class_names = check_class_names(class_names)  # a list, because it is iterated twice
    names = [f" {name}" for name in clean_class_names(class_names)]
    texts = [f"{name}." for name in names]
    prompts, lengths = tokenize_class_prompts(tokenizer, texts, names, clip_config, n_ctx)
    return {
        **class_fields(class_names),
        **special_token_fields(tokenizer),
        "class_token_ids": [ids_to_string(ids) for ids in prompts],
        "class_name_lengths": lengths,
    }


__all__ = ["CoOpForImageClassification", "CoOpPreTrainedModel"]
