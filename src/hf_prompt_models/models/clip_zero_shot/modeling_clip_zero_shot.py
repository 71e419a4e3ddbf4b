"""Zero-shot classification with hand-written prompts (CLIP, arXiv 2103.00020, §3.1.4)."""

import os
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from hf_prompt_models.modeling_clip_utils import ClipPromptModel, EnsemblePromptModel
from hf_prompt_models.models.clip_zero_shot.configuration_clip_zero_shot import ClipZeroShotConfig
from hf_prompt_models.models.clip_zero_shot.processing_clip_zero_shot import ClipZeroShotProcessor
from hf_prompt_models.prompts.class_names import check_class_names
from hf_prompt_models.prompts.class_prompts import ClassPrompts, check_ensemble


class ClipZeroShotPreTrainedModel(EnsemblePromptModel, ClipPromptModel):
    """Base class of zero-shot CLIP models, with the processor class."""

    config: ClipZeroShotConfig
    processor_class = ClipZeroShotProcessor

    def _init_weights(self, module: torch.nn.Module) -> None:
        """No-op: the model has no weights besides those of the backbone."""


class ClipZeroShotForImageClassification(ClipZeroShotPreTrainedModel):
    """Zero-shot image classification by the similarity of images and sentences about the classes.

    The sentences are class names in hand-written templates, sentences of each class (`class_prompts`), or both. The
    feature of a class is the mean of the normalised features of its sentences, normalised again.

    Example:
        ```python
        >>> from hf_prompt_models import ClipZeroShotForImageClassification
        >>> class_prompts = {"ring": ["A ring is round.", "A hoop of metal."], "cross": ["Two bars that cross."]}
        >>> model = ClipZeroShotForImageClassification.from_backbone(
        ...     "playground", ["ring", "cross"], class_prompts=class_prompts
        ... )
        >>> model.get_text_features().pooler_output.shape[0]
        2

        ```
    """

    def __init__(self, config: ClipZeroShotConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        self.post_init()
        self.freeze_backbone()

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        class_names: Sequence[str],
        templates: Sequence[str] | None = None,
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        class_prompts: ClassPrompts | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make a classifier from a pretrained CLIP, SigLIP or similar model, class names and templates.

        Args:
            name_or_path: Hub id or folder of the backbone: a checkpoint of CLIP (also `ClipResNetModel`), MetaCLIP 2,
                SigLIP, SigLIP 2, Chinese-CLIP, AltCLIP or ALIGN. "playground" is the tiny CLIP that ships with this
                package.
            class_names: class names, in the order of the labels. Underscores are read as spaces; names may repeat.
            templates: sentences with one `{}`. The published lists are in `hf_prompt_models.prompts.templates`.
                Default: "a photo of a {}.", or none with `class_prompts`.
            tokenizer: the backbone's tokenizer or processor. Default: the one in the backbone's folder.
            class_prompts: sentences about each class, by class name (`{"ring": ["A ring is round.", …]}`, as
                `hf_prompt_models.read_class_prompts` returns them), or a list with those of each class. With
                `templates` both form one ensemble. The end of a sentence that is too long is cut, with a warning.
            kwargs: keyword arguments of the backbone's `from_pretrained`: `revision`, `token`, `dtype`, `device_map`,
                ….

        Raises:
            ValueError: if a template does not contain `{}`, a name is too long for the text tower, or a class has no
                template and no sentence.
            TypeError: if the method does not support the type of the backbone.
        """
        class_names = check_class_names(class_names)
        templates, sentences = check_ensemble(class_names, templates, class_prompts)
        clip, processor, tokenizer = cls._load_parts(name_or_path, tokenizer, kwargs)
        config = ClipZeroShotConfig(
            clip_config=clip.config.to_dict(),
            **cls._ensemble_fields(class_names, templates, sentences, tokenizer, clip.config),
            **cls._base_model_fields(name_or_path, clip, kwargs),
        )
        model = cls._from_parts(config, clip, {}, kwargs.get("attn_implementation"))
        model.processor = processor
        return model

    def class_features(self, prompt_features: torch.Tensor) -> torch.Tensor:
        """Return the normalised mean of the normalised features of each class's prompts, (classes, dim)."""
        return F.normalize(self.prompt_means(prompt_features), dim=-1)


__all__ = ["ClipZeroShotForImageClassification", "ClipZeroShotPreTrainedModel"]
