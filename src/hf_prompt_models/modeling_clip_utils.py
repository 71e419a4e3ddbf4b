"""Base classes of methods that classify images with a CLIP-like backbone: class logits, prompts from templates."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedTokenizerBase, ProcessorMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput
from transformers.utils.generic import TransformersKwargs

from hf_prompt_models.backbones.two_tower import find_backbone
from hf_prompt_models.configuration_utils import class_fields, ids_from_string, ids_to_string
from hf_prompt_models.modeling_text_prompt_utils import TextPromptModel
from hf_prompt_models.modeling_utils import at_least_float32
from hf_prompt_models.processing_utils import report_cut_texts
from hf_prompt_models.prompts.class_names import (
    check_class_names,
    clean_class_names,
    special_token_fields,
    tokenize_class_prompts,
)
from hf_prompt_models.prompts.class_prompts import ClassPrompts, check_ensemble, tokenize_sentences
from hf_prompt_models.prompts.templates import check_templates, fill_template
from hf_prompt_models.utils.forward_options import asks_for_states, forward_options


@dataclass
class ClipClassifierOutput(ModelOutput):
    """Output of classifiers that compare images with class prompts.

    Args:
        loss (`torch.FloatTensor` of shape `(1,)`, *optional*): loss of the method, if labels were given.
        logits (`torch.FloatTensor` of shape `(batch, classes)`): cosine similarities times the backbone's temperature,
            plus the bias of a SigLIP, divided by `config.calibration_temperature`.
        image_embeds (`torch.FloatTensor` of shape `(batch, dim)`): image features, L2-normalised.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*): hidden states of the image tower, with
            `output_hidden_states=True`: the embedded patches, then the output of each layer, of shape `(batch, tokens,
            width)`.
        attentions (`tuple(torch.FloatTensor)`, *optional*): attentions of the image tower, with
            `output_attentions=True`, of shape `(batch, heads, tokens, tokens)` for each layer. They need
            `attn_implementation="eager"`.

    The output also has the attributes `text_embeds`, the L2-normalised class features (`torch.FloatTensor` of shape
    `(classes, dim)`), and `loss_terms`, the terms of the loss by name, or `None` without labels.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    image_embeds: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class ClipPromptModel(TextPromptModel):
    """Base class of methods that classify images by the similarity of image and class features."""

    input_modalities = ("image",)
    pipeline_task = "image-classification"
    is_linear_in_image_embeds: ClassVar[bool] = True
    """Whether the logits are an affine function of `image_embeds`, so that an exported model needs no text side."""
    compares_fixed_text: ClassVar[bool] = True
    """Whether the class features do not depend on the image, so that an exported model holds them as constants."""
    accepts_image_embeds: ClassVar[bool] = True
    """Whether `forward` accepts image features instead of pixels."""
    fits_features: ClassVar[bool] = False
    """Whether the model is trained by its method `fit_features`, on stored image features."""

    @property
    def has_fixed_image_features(self) -> bool:
        """Whether training leaves the image features unchanged, so that they can be computed once."""
        return True

    @property
    def compares_fixed_features(self) -> bool:
        """Whether logits depend only on the backbone's feature of the image and on one feature per class."""
        return self.has_fixed_image_features

    @forward_options
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        image_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        pixel_attention_mask: torch.Tensor | None = None,
        spatial_shapes: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ClipClassifierOutput | tuple:
        """Return the class logits of images or of precomputed image features, and the loss if labels are given.

        Args:
            pixel_values: images, as in `get_image_features`.
            image_embeds: (batch, dim) image features instead of pixels, normalised or not.
            labels: (batch,) class indices.
            pixel_attention_mask: as in `get_image_features`.
            spatial_shapes: as in `get_image_features`.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.

        Raises:
            ValueError: if neither or both of pixels and image features are given, the method does not accept image
                features, or hidden states or attentions are requested for image features.
        """
        if not self.accepts_image_embeds and (pixel_values is None or image_embeds is not None):
            raise ValueError(
                f"{type(self).__name__} needs more of an image than image_embeds. Pass only pixel_values."
            )
        if pixel_values is not None and image_embeds is None:
            images: Any = self.get_image_features(
                pixel_values,
                pixel_attention_mask,
                spatial_shapes,
                pooled_only=not asks_for_states(kwargs),
                return_dict=True,
                **kwargs,
            )
        elif image_embeds is not None and pixel_values is None:
            if asks_for_states(kwargs):
                raise ValueError(
                    "Hidden states and attentions come from the image encoder, which image_embeds skip. Pass "
                    "pixel_values instead."
                )
            images = BaseModelOutputWithPooling(pooler_output=self.given_image_features(image_embeds))
        else:
            raise ValueError("Expected either pixel_values or image_embeds. Pass exactly one of them.")
        image_embeds = images.pooler_output
        text_embeds = self.image_text_features(image_embeds)
        logits = self.image_logits(images, text_embeds)
        loss, terms = None, None
        if labels is not None:
            terms = self.loss_terms(logits, labels, images, text_embeds, pixel_values)
            loss = weighted_sum(terms, self.loss_weights())
        logits = self.calibrated(logits)  # not in the loss, which stays that of the method
        output = ClipClassifierOutput(loss, logits, image_embeds, images.hidden_states, images.attentions)
        # Not fields: fields are items, and pipelines and the Trainer expect one value per image in each item.
        output.text_embeds = text_embeds
        output.loss_terms = terms
        return output

    def given_image_features(self, image_embeds: torch.Tensor) -> torch.Tensor:
        """Return image features that a caller passes instead of pixels, as `get_image_features` returns them.

        Args:
            image_embeds: (batch, dim) image features, normalised or not.
        """
        return F.normalize(at_least_float32(image_embeds), dim=-1)

    def image_text_features(self, image_embeds: torch.Tensor) -> torch.Tensor:
        """Return the class features that images are compared with, (classes, dim), L2-normalised.

        Args:
            image_embeds: (batch, dim) image features, for methods whose class features depend on the image.
        """
        return self._text_embeds()

    def loss_weights(self) -> dict[str, float]:
        """Return the weight of each of `loss_terms` in the loss."""
        return {"cross_entropy": 1.0}

    def loss_terms(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        images: Any,
        text_embeds: torch.Tensor,
        pixel_values: torch.Tensor | None,
    ) -> dict[str, torch.Tensor]:
        """Return the terms of the loss by name, without their weights.

        Args:
            logits: (batch, classes), as returned by `image_logits`.
            labels: (batch,) class indices.
            images: the output of `get_image_features`.
            text_embeds: (classes, dim), L2-normalised.
            pixel_values: the images, if they were given.
        """
        return {"cross_entropy": F.cross_entropy(logits, labels)}

    def image_logits(self, images: Any, text_embeds: torch.Tensor) -> torch.Tensor:
        """Return the logits of images, (batch, classes).

        Args:
            images: the output of `get_image_features`, for methods that compare more than its `.pooler_output`.
            text_embeds: (classes, dim), L2-normalised.
        """
        return self.class_logits(images.pooler_output, text_embeds)

    def class_logits(self, image_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
        """Return the logits, (batch, classes).

        Args:
            image_embeds: (batch, dim), as returned by `get_image_features`.
            text_embeds: (classes, dim), as returned by `get_text_features`.
        """
        with torch.autocast(image_embeds.device.type, enabled=False):
            logits = self.similarity_scale() * image_embeds @ text_embeds.T
        return logits + at_least_float32(self.clip.logit_bias) if self.backbone_type.has_logit_bias else logits


class TemplatePromptModel(TextPromptModel):
    """Base class of methods whose prompts are class names in hand-written templates.

    The configuration has the fields `templates` and `prompt_token_ids`. The latter has one string of token ids per
    prompt: all classes in the first template, then in the second, ….
    """

    def set_classes(
        self,
        class_names: Sequence[str],
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        templates: Sequence[str] | None = None,
    ) -> None:
        """Replace the classes, and the templates if new ones are given.

        Args:
            class_names: the new class names, in the order of the labels.
            tokenizer: the backbone's tokenizer, or a processor. Default: the tokenizer of the processor that was saved
                with the model.
            templates: new templates. Default: those of the model.
        """
        templates = check_templates(self.config.templates if templates is None else templates)
        tokenizer = self._tokenizer_or_own(tokenizer)
        self.config.update(self._tokenized_classes(class_names, templates, tokenizer, self.config.clip_config))
        self._note_classes()

    @property
    def context(self) -> None:
        """Learned context: `None`, because hand-written prompts have none."""
        return None

    def _named_classes(self) -> tuple[Any, ...]:
        return *super()._named_classes(), list(self.config.templates or ())

    def prompt_fields(self) -> tuple[Any, ...]:
        """Return the configuration fields that the prompts and the class features depend on."""
        config = self.config
        return tuple(config.prompt_token_ids or ()), config.num_labels, self.num_templates

    @property
    def num_templates(self) -> int:
        """Number of templates."""
        return len(self.config.templates)

    def prompt_token_ids(self, indices: Iterable[int] | None = None) -> list[list[int]]:
        """Return the token ids of prompts.

        Args:
            indices: indices of the prompts in `config.prompt_token_ids`. Default: all prompts.

        Raises:
            ValueError: if the model has no classes.
        """
        strings = self.config.prompt_token_ids
        if strings is None:
            raise ValueError("This model has no classes yet. Call set_classes(names, tokenizer=..., templates=[...]).")
        chosen = range(len(strings)) if indices is None else indices
        return [ids_from_string(strings[index]) for index in chosen]

    @staticmethod
    def names_in_prompts(class_names: Sequence[str]) -> list[str]:
        """Return class names as they appear in a prompt.

        Args:
            class_names: class names, in the order of the labels.
        """
        return clean_class_names(class_names)

    @classmethod
    def _tokenized_classes(
        cls,
        class_names: Sequence[str],
        templates: list[str],
        tokenizer: PreTrainedTokenizerBase,
        clip_config: PreTrainedConfig,
    ) -> dict[str, Any]:
        """Return the configuration fields with classes and templates, after checking that every prompt fits."""
        class_names = check_class_names(class_names)  # a list, because it is iterated twice
        names = cls.names_in_prompts(class_names)
        texts = [fill_template(template, name) for template in templates for name in names]
        prompts: list[list[int]] = []
        if texts:
            prompts, _ = tokenize_class_prompts(tokenizer, texts, names * len(templates), clip_config)
        return {
            **class_fields(class_names),
            **special_token_fields(tokenizer),
            "templates": templates,
            "prompt_token_ids": [ids_to_string(ids) for ids in prompts],
        }


class EnsemblePromptModel(TemplatePromptModel):
    """Base class of methods whose prompts are class names in templates, sentences about each class, or both.

    The configuration also has the field `class_prompts`: a list of sentences for each class, by its index. In
    `prompt_token_ids` the sentences of the first class follow the filled templates, then those of the second, ….
    """

    def set_classes(
        self,
        class_names: Sequence[str],
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        templates: Sequence[str] | None = None,
        class_prompts: ClassPrompts | None = None,
    ) -> None:
        """Replace the classes, and their prompts if templates, sentences or both are given, as in `from_backbone`.

        Args:
            class_names: the new class names, in the order of the labels.
            tokenizer: the backbone's tokenizer, or a processor. Default: the tokenizer of the processor that was saved
                with the model.
            templates: new templates.
            class_prompts: new sentences, by class name or in the order of the labels. Default, also for `templates`:
                without either, the model keeps its templates, and the sentences of its classes by their names.

        Raises:
            ValueError: if a class has no template and no sentence; the message names it.
        """
        class_names = check_class_names(class_names)
        if templates is None and class_prompts is None:
            templates = self.config.templates or ()
            if self.config.class_prompts is not None:
                class_prompts = self._sentences_by_name(class_names)
        templates, sentences = check_ensemble(class_names, templates, class_prompts)
        tokenizer = self._tokenizer_or_own(tokenizer)
        self.config.update(
            self._ensemble_fields(class_names, templates, sentences, tokenizer, self.config.clip_config)
        )
        self._note_classes()

    def prompt_means(self, prompt_features: torch.Tensor, normalize: bool = True) -> torch.Tensor:
        """Return the mean of the features of each class's prompts, (classes, dim), which is not normalised.

        Args:
            prompt_features: (prompts, dim) projected features of all prompts, in the order of `prompt_token_ids`.
            normalize: whether to normalise the feature of each prompt first.

        Raises:
            ValueError: if the configuration has templates and sentences for another number of prompts.
        """
        classes, templates = self.config.num_labels, self.num_templates
        numbers = self._sentence_numbers()
        if len(numbers) != classes or len(prompt_features) != templates * classes + sum(numbers):
            raise ValueError(
                f"The configuration has {len(prompt_features)} prompts for {classes} classes, which do not "
                f"match its {templates} templates and {sum(numbers)} sentences. Call set_classes(names)."
            )
        features = F.normalize(prompt_features, dim=-1) if normalize else prompt_features
        filled, described = features.split([templates * classes, sum(numbers)])
        sums = filled.unflatten(0, (templates, classes)).sum(dim=0)
        if any(numbers):
            # Sums of slices: on a GPU index_add adds in another order each time.
            sums = sums + torch.stack([own.sum(dim=0) for own in described.split(numbers)])
        return sums / (templates + torch.tensor(numbers, device=sums.device))[:, None]

    def prompt_fields(self) -> tuple[Any, ...]:
        """Return the configuration fields that the prompts and the class features depend on."""
        return *super().prompt_fields(), tuple(self._sentence_numbers())

    def _named_classes(self) -> tuple[Any, ...]:
        return *super()._named_classes(), [list(own) for own in self.config.class_prompts or ()]

    def _sentence_numbers(self) -> list[int]:
        """Return the number of sentences of each class."""
        sentences = self.config.class_prompts
        return [0] * self.config.num_labels if sentences is None else [len(own) for own in sentences]

    def _sentences_by_name(self, class_names: Sequence[str]) -> dict[str, list[str]]:
        """Return the model's sentences about those of its classes that are in `class_names`."""
        wanted = set(clean_class_names(class_names))
        found: dict[str, list[str]] = {}
        for name, sentences in zip(clean_class_names(self.config.class_names), self.config.class_prompts, strict=True):
            if name in wanted and found.setdefault(name, sentences) != sentences:
                raise ValueError(
                    f"The model has two classes {name!r} with different sentences. Pass class_prompts as a list, in "
                    "the order of the labels."
                )
        return found

    @classmethod
    def _ensemble_fields(
        cls,
        class_names: Sequence[str],
        templates: list[str],
        sentences: list[list[str]] | None,
        tokenizer: PreTrainedTokenizerBase,
        clip_config: PreTrainedConfig,
    ) -> dict[str, Any]:
        """Return the configuration fields with classes, templates and sentences, which `check_ensemble` returns.

        A warning counts the sentences that are too long.
        """
        fields = cls._tokenized_classes(class_names, templates, tokenizer, clip_config) | {"class_prompts": sentences}
        if sentences is None:
            return fields
        texts = [sentence for own in sentences for sentence in own]
        prompts, lengths = tokenize_sentences(tokenizer, texts, clip_config)
        longest = find_backbone(clip_config).num_positions(clip_config)
        report_cut_texts(zip(texts, lengths, strict=True), longest, "class_prompts")
        return fields | {"prompt_token_ids": fields["prompt_token_ids"] + [ids_to_string(ids) for ids in prompts]}


def weighted_sum(terms: Mapping[str, torch.Tensor], weights: Mapping[str, float]) -> torch.Tensor:
    """Return the weighted sum of the terms of a loss.

    Args:
        terms: scalar tensors by name.
        weights: weights by name. A term without a weight, or with weight 0, is ignored.
    """
    return torch.stack([weights[name] * term for name, term in terms.items() if weights.get(name)]).sum()
