"""Feature adapters: small heads over the features of a frozen CLIP, trained in seconds."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.processing_utils import Unpack
from transformers.utils.generic import TransformersKwargs

from hf_prompt_models.modeling_clip_utils import ClipPromptModel, EnsemblePromptModel
from hf_prompt_models.modeling_utils import at_least_float32
from hf_prompt_models.models.feature_adapter.adapters_feature_adapter import (
    TASKRES_ALPHA,
    Adapter,
    ClassWeights,
    ImageProjection,
    KeyCache,
    ResidualMLP,
    TaskResidual,
    TextWeightedProbe,
)
from hf_prompt_models.models.feature_adapter.configuration_feature_adapter import (
    ADAPTER_TYPES,
    SETTINGS,
    FeatureAdapterConfig,
    check_settings,
)
from hf_prompt_models.models.feature_adapter.fitting_feature_adapter import (
    Fitting,
    OnEpoch,
    Support,
    fit_settings,
    ignore_epoch,
)
from hf_prompt_models.models.feature_adapter.processing_feature_adapter import FeatureAdapterProcessor
from hf_prompt_models.prompts.class_names import check_class_names
from hf_prompt_models.prompts.class_prompts import ClassPrompts, check_ensemble
from hf_prompt_models.utils.forward_options import asks_for_states, forward_options
from hf_prompt_models.utils.parts import run_in_parts


CLASS_WEIGHTS = frozenset({"linear", "clap", "taskres"})
"""Types whose logits compare images with one feature per class, made from the mean of un-normalised text features."""
TEXT_DRIVEN = frozenset({"clip_adapter", "prolip"})
"""Types that adapt the image alone, so that the class names can be changed."""
ADAPTERS: Mapping[str, Callable[[FeatureAdapterConfig, int], Adapter]] = {
    "linear": ClassWeights,
    "clap": ClassWeights,
    "taskres": TaskResidual,
    "lp++": TextWeightedProbe,
    "tip_adapter": KeyCache,
    "tip_adapter_f": KeyCache,
    "clip_adapter": ResidualMLP,
}


class FeatureAdapterPreTrainedModel(EnsemblePromptModel, ClipPromptModel):
    """Base class of feature adapters, with weight initialisation and the processor class."""

    config: FeatureAdapterConfig
    processor_class = FeatureAdapterProcessor
    # The head is small, so it stays in full precision, whatever the precision of the backbone.
    _keep_in_fp32_modules_strict = ["adapter"]  # noqa: RUF012  as transformers declares it

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise a head at random. `from_backbone` then starts it from the text features."""
        if isinstance(module, Adapter):
            for parameter in module.parameters():
                init.normal_(parameter, mean=0.0, std=0.02)


class FeatureAdapterForImageClassification(FeatureAdapterPreTrainedModel):
    """Image classification with a small head over the features of a frozen CLIP.

    `fit_features` trains the head on features that are computed once, in seconds. The types differ in the head:

    - `"linear"` and `"clap"`: class weights that start at the text features (ZS-LP); CLAP keeps them close to the text
      features of the classes that the backbone recognises, and has no setting to tune.
    - `"taskres"`: a residual of the text features.
    - `"lp++"`: a linear probe with a trained weight of each text feature, without temperature.
    - `"tip_adapter"`: a cache of the training images, without training; `"tip_adapter_f"` trains its keys.
    - `"clip_adapter"`: a two-layer network on the image feature.
    - `"prolip"`: the projection of the image tower.

    The last two adapt the image alone and accept other class names. The other types are bound to their classes.
    """

    fits_features = True
    is_linear_in_image_embeds = False
    compares_fixed_features = False

    def __init__(self, config: FeatureAdapterConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config, backbone)
        if config.adapter_type == "prolip":
            self.adapter: Adapter = ImageProjection(config, *self._image_projection().weight.shape)
        else:
            self.adapter = ADAPTERS[config.adapter_type](config, self.image_feature_size)
        self.post_init()
        self.freeze_backbone()

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        class_names: Sequence[str],
        adapter_type: str = "clap",
        templates: Sequence[str] | None = None,
        class_prompts: ClassPrompts | None = None,
        alpha: float | None = None,
        beta: float | None = None,
        ratio: float | None = None,
        regularization: float | None = None,
        legacy_accumulated_gradient: bool | None = None,
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make a new adapter for a pretrained CLIP. It is the zero-shot classifier, except for "clip_adapter".

        Args:
            name_or_path: Hub id or folder of the backbone; "playground" is the tiny CLIP that ships with this package.
            class_names: class names, in the order of the labels. Underscores are read as spaces; names may repeat.
            adapter_type: "clap", "linear", "lp++", "taskres", "tip_adapter", "tip_adapter_f", "clip_adapter" or
                "prolip".
            templates: sentences with one `{}` for the class name. Default: "a photo of a {}.", or none with
                `class_prompts`.
            class_prompts: sentences about each class, by class name, or a list with those of each class. With
                `templates` both form one ensemble.
            alpha: weight of the residual (taskres; default 0.5) or of the cached images (tip_adapter, tip_adapter_f;
                searched by default).
            beta: sharpness of the similarity with the cached images (tip_adapter, tip_adapter_f; searched by default).
            ratio: share of the adapted feature (clip_adapter). Default: 0.2.
            regularization: weight of the squared distance from the backbone's projection (prolip). Default: 1 / shots.
            legacy_accumulated_gradient: whether to accumulate the gradient of the text weights, as the released code
                does (lp++).
            tokenizer: the backbone's tokenizer or processor. Default: the one in the backbone's folder.
            kwargs: keyword arguments of the backbone's `from_pretrained`: `revision`, `token`, `dtype`, `device_map`,
                ….

        Raises:
            ValueError: if the type is unknown, does not have a given setting, or a name is too long for the text
                tower.
            TypeError: if the method does not support the type of the backbone.

        Example:
            ```python
            >>> from hf_prompt_models import FeatureAdapterForImageClassification
            >>> model = FeatureAdapterForImageClassification.from_backbone("playground", ["a red key", "a blue cup"])
            >>> model.class_weights.shape
            torch.Size([2, 64])

            ```
        """
        if adapter_type not in ADAPTER_TYPES:
            raise ValueError(f"adapter_type must be one of {', '.join(ADAPTER_TYPES)}, got {adapter_type!r}.")
        check_settings(alpha, beta, ratio, regularization)
        settings = {
            "alpha": alpha,
            "beta": beta,
            "ratio": ratio,
            "regularization": regularization,
            "legacy_accumulated_gradient": legacy_accumulated_gradient,
        }
        settings = {name: value for name, value in settings.items() if value is not None}
        for name in settings:
            if adapter_type not in SETTINGS[name]:
                types = " or ".join(sorted(SETTINGS[name]))
                raise ValueError(f"{adapter_type} has no {name}. Leave it out, or use it with {types}.")
        if adapter_type == "taskres":
            settings.setdefault("alpha", TASKRES_ALPHA)
        scales = ("alpha", "beta") if adapter_type in SETTINGS["beta"] else ()
        class_names = check_class_names(class_names)
        templates, sentences = check_ensemble(class_names, templates, class_prompts)
        clip, processor, tokenizer = cls._load_parts(name_or_path, tokenizer, kwargs)
        config = FeatureAdapterConfig(
            clip_config=clip.config.to_dict(),
            adapter_type=adapter_type,
            searched=[name for name in scales if name not in settings],
            **settings,
            **cls._ensemble_fields(class_names, templates, sentences, tokenizer, clip.config),
            **cls._base_model_fields(name_or_path, clip, kwargs),
        )
        model = cls._from_parts(config, clip, {}, kwargs.get("attn_implementation"))
        model.processor = processor
        model.reset_adapter()
        return model

    @torch.no_grad()
    def reset_adapter(self) -> None:
        """Set the adapter to its start, before any training."""
        adapter = self.adapter
        if isinstance(adapter, ImageProjection):
            adapter.weight.copy_(self._image_projection().weight)
        elif isinstance(adapter, KeyCache):
            adapter.set_keys(adapter.keys[:0], torch.zeros(0, dtype=torch.long))
        elif isinstance(adapter, TextWeightedProbe):  # with the temperature as the weight, this is zero-shot
            adapter.weight.zero_()
            adapter.bias.zero_()
            adapter.text_weight.fill_(self.similarity_scale().item())
        else:
            adapter.start(self.text_base())

    def set_classes(
        self,
        class_names: Sequence[str],
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        templates: Sequence[str] | None = None,
        class_prompts: ClassPrompts | None = None,
    ) -> None:
        """Replace the classes, which the types "clip_adapter" and "prolip" allow.

        Args:
            class_names: the new class names, in the order of the labels.
            tokenizer: the backbone's tokenizer, or a processor. Default: the tokenizer of the processor that was saved
                with the model.
            templates: new templates.
            class_prompts: new sentences, by class name or in the order of the labels. Default, also for `templates`:
                without either, the model keeps its templates, and the sentences of its classes by their names.

        Raises:
            ValueError: if the head belongs to the classes that it was trained on.
        """
        if (reason := self.fixed_classes) is not None:
            raise ValueError(reason)
        super().set_classes(class_names, tokenizer, templates, class_prompts)

    @property
    def fixed_classes(self) -> str | None:
        """Reason why the classes cannot be replaced, or `None` if they can."""
        if self.config.adapter_type in TEXT_DRIVEN:
            return None
        return (
            f"The head of type {self.config.adapter_type} was trained for its {self.config.num_labels} classes, and "
            "new classes need images. Train a new adapter on images of all classes, or use the type clip_adapter or "
            "prolip, which accept other class names."
        )

    # -- text --------------------------------------------------------------------------------------------------------

    def class_features(self, prompt_features: torch.Tensor) -> torch.Tensor:
        """Return the text features of the classes, (classes, dim).

        They are the mean of un-normalised features for class weights and TaskRes, as in their released codes, and the
        normalised mean of normalised features for the other types.
        """
        if self.config.adapter_type in CLASS_WEIGHTS:
            return self.prompt_means(prompt_features, normalize=False)
        return F.normalize(self.prompt_means(prompt_features), dim=-1)

    def text_base(self) -> torch.Tensor:
        """Return the text features of the classes, (classes, dim), as `class_features` makes them."""
        return (
            super()
            .get_text_features(output_hidden_states=False, output_attentions=False, return_dict=True)
            .pooler_output
        )

    @forward_options
    def get_text_features(self, **kwargs: Unpack[TransformersKwargs]) -> BaseModelOutputWithPooling:
        """Return the features that images are compared with: `.pooler_output`, (classes, dim), L2-normalised.

        Args:
            kwargs: as in [`ClipZeroShotForImageClassification`].
        """
        adapter = self.adapter
        if isinstance(adapter, ClassWeights) and not asks_for_states(kwargs):  # the text tower is not needed
            return BaseModelOutputWithPooling(pooler_output=adapter.class_weights(adapter.weight))
        outputs: Any = super().get_text_features(return_dict=True, **kwargs)
        outputs.pooler_output = adapter.class_weights(outputs.pooler_output)
        return outputs

    @property
    def class_weights(self) -> torch.Tensor | None:
        """Class weights, (classes, dim), L2-normalised, or `None` for a type without them."""
        return self._text_embeds() if self.config.adapter_type in CLASS_WEIGHTS else None

    # -- images ------------------------------------------------------------------------------------------------------

    @property
    def image_feature(self) -> str:
        """Which features of an image the adapter reads, as part of the key of cached features."""
        return "before the projection" if self.config.adapter_type == "prolip" else super().image_feature

    def run_image_tower(self, pooled_only: bool = False, **inputs: Any) -> Any:
        """Return the output of the image tower, whose features are not projected yet for "prolip"."""
        if self.config.adapter_type == "prolip":
            tower: Any = self.clip.vision_model
            return run_in_parts(tower, tower.config, return_dict=True, **inputs)
        return super().run_image_tower(pooled_only, **inputs)

    @forward_options
    def get_image_features(
        self,
        pixel_values: torch.Tensor | None,
        pixel_attention_mask: torch.Tensor | None = None,
        spatial_shapes: torch.Tensor | None = None,
        pooled_only: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Return the image features that the adapter reads: `.pooler_output`, (batch, dim), not normalised.

        Args:
            pixel_values: (batch, 3, height, width)
            pixel_attention_mask: as in [`ClipZeroShotForImageClassification`].
            spatial_shapes: as in [`ClipZeroShotForImageClassification`].
            pooled_only: as in [`ClipZeroShotForImageClassification`].
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.
        """
        return self.encode_images(pixel_values, pixel_attention_mask, spatial_shapes, pooled_only, **kwargs)

    def given_image_features(self, image_embeds: torch.Tensor) -> torch.Tensor:
        """Return image features that a caller passes instead of pixels, which are read as they are."""
        return at_least_float32(image_embeds)

    def image_logits(self, images: Any, text_embeds: torch.Tensor) -> torch.Tensor:
        """Return the logits of images, (batch, classes)."""
        features = images.pooler_output
        with torch.autocast(features.device.type, enabled=False):
            return self.adapter(features, text_embeds, self.class_logits)

    def _image_projection(self) -> nn.Linear:
        """Return the linear projection of the image tower.

        Raises:
            TypeError: if the backbone has none.
        """
        if not self.backbone_type.has_class_token:
            raise TypeError(
                f"prolip trains the projection of the image encoder, but a {type(self.clip).__name__} has "
                "none. Choose another adapter_type."
            )
        return self.clip.visual_projection

    # -- training ----------------------------------------------------------------------------------------------------

    def fit_features(
        self,
        image_embeds: torch.Tensor,
        labels: torch.Tensor,
        validation: tuple[torch.Tensor, torch.Tensor] | None = None,
        *,
        learning_rate: float | None = None,
        num_epochs: int | None = None,
        batch_size: int | None = None,
        on_epoch: OnEpoch = ignore_epoch,
    ) -> dict[str, float]:
        """Train the adapter on stored features. It starts over each time.

        The settings are those of the papers. `alpha` and `beta` of Tip-Adapter are searched on `validation`, or on
        training images that the cache does not hold; a value that the model was made with is not searched.

        Args:
            image_embeds: (images, dim) or (views, images, dim) features, as `get_image_features` returns them, of unit
                length or not. Views are augmented versions of the same images.
            labels: (images,) class indices, in any order.
            validation: features, (images, dim), and labels of held-out training images. They select the epoch, and
                alpha and beta. Default: the last epoch.
            learning_rate: learning rate. Default: the paper's.
            num_epochs: number of epochs. Default: the paper's.
            batch_size: number of rows in a batch. Default: the paper's.
            on_epoch: function that is called after each epoch with its number, counted from 1, its mean loss and its
                last learning rate.

        Returns:
            The settings in use: `alpha`, `beta` or `ratio`, if the type has them, and with `validation` the `epoch`.

        Raises:
            ValueError: if shapes or labels do not fit, or a class has no images.

        Example:
            ```python
            >>> import torch
            >>> from hf_prompt_models import FeatureAdapterForImageClassification
            >>> model = FeatureAdapterForImageClassification.from_backbone(
            ...     "playground", ["a red key", "a blue cup"], adapter_type="taskres"
            ... )
            >>> model.fit_features(torch.randn(8, 64), torch.tensor([0, 1] * 4))
            {'alpha': 0.5}

            ```
        """
        config = self.config
        given: dict[str, Any] = {"learning_rate": learning_rate, "num_epochs": num_epochs, "batch_size": batch_size}
        # Tensors that were made in inference mode cannot be trained on.
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(self.device.type, enabled=False):
            features, labels = self._checked(image_embeds, labels, "image_embeds")
            if config.adapter_type not in TEXT_DRIVEN:
                self._check_all_have_images(labels)
            if validation is not None:
                held_out, held_out_labels = self._checked(*validation, "validation")
                validation = (held_out[0], held_out_labels)
            support = Support(features, labels, config.num_labels)
            settings = fit_settings(config.adapter_type, len(support) / config.num_labels)
            settings = replace(settings, **{name: value for name, value in given.items() if value is not None})
            self.reset_adapter()
            fitting = Fitting(
                config.adapter_type,
                self.adapter,
                support,
                self.text_base(),
                self.class_logits,
                settings,
                on_epoch,
                validation,
            )
            fitting.run()
        self.zero_grad()
        names = [name for name in ("alpha", "beta", "ratio") if config.adapter_type in SETTINGS[name]]
        epoch = {} if fitting.best_epoch is None else {"epoch": fitting.best_epoch}
        return {name: getattr(config, name) for name in names} | epoch

    def _checked(self, features: torch.Tensor, labels: torch.Tensor, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features as (views, images, dim) and labels, on the device and in the precision of the adapter."""
        width = (
            self._image_projection().in_features if self.config.adapter_type == "prolip" else self.image_feature_size
        )
        views = features[None] if features.ndim == 2 else features
        if views.ndim != 3 or views.shape[-1] != width or not len(views):
            raise ValueError(
                f"{name} must be of shape (images, {width}) or (views, images, {width}), got {tuple(features.shape)}."
            )
        if labels.shape != views.shape[1:2] or labels.is_floating_point() or not len(labels):
            raise ValueError(f"{name} has {views.shape[1]} images. Pass as labels one class index per image.")
        if not 0 <= int(labels.min()) <= int(labels.max()) < self.config.num_labels:
            raise ValueError(f"Labels must be from 0 to {self.config.num_labels - 1}, got {labels.unique().tolist()}.")
        if not views.isfinite().all():
            raise ValueError(f"{name} contains values that are not finite. Compute the features again.")
        dtype = torch.promote_types(self.clip.dtype, torch.float32)
        return views.detach().clone().to(self.device, dtype), labels.clone().to(self.device).long()

    def _check_all_have_images(self, labels: torch.Tensor) -> None:
        counts = labels.bincount(minlength=self.config.num_labels)
        missing = [self.config.class_names[index] for index in (counts == 0).nonzero()[:, 0].tolist()]
        if missing:
            raise ValueError(
                f"{len(missing)} classes have no training images, which {self.config.adapter_type} needs: "
                f"{', '.join(missing[:5])}. Add images, or leave the classes out."
            )


__all__ = ["FeatureAdapterForImageClassification", "FeatureAdapterPreTrainedModel"]
