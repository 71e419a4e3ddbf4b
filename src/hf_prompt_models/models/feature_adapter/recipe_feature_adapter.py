"""Recipe of feature adapters: their arguments, and the settings of their papers (`fit_settings`)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from transformers import TrainingArguments

from hf_prompt_models.data.images.dataset import AugmentedViewDataset, ImageDataset
from hf_prompt_models.data.images.labelled import LabelledImages
from hf_prompt_models.models.feature_adapter.configuration_feature_adapter import (
    ADAPTER_TYPES,
    SETTINGS,
    check_settings,
)
from hf_prompt_models.models.feature_adapter.fitting_feature_adapter import FULL_BATCH, fit_settings
from hf_prompt_models.models.feature_adapter.modeling_feature_adapter import FeatureAdapterForImageClassification
from hf_prompt_models.processing_utils import ClipPromptProcessor
from hf_prompt_models.recipe_clip_utils import ClipPromptRecipe, CropArguments
from hf_prompt_models.recipe_utils import Protocol


FIT_FLAGS: Mapping[str, frozenset[str]] = {
    "learning_rate": frozenset({"lp++", "tip_adapter"}),
    "num_train_epochs": frozenset({"tip_adapter"}),
    "per_device_train_batch_size": frozenset({"lp++", "tip_adapter", "prolip"}),
}
"""Flags of the training loop, with the types of adapters that do not have them."""
OTHER_FLAGS = frozenset(
    {
        "output_dir",
        "seed",
        "use_cpu",
        "bf16",
        "disable_tqdm",
        "per_device_eval_batch_size",
        "dataloader_num_workers",
        "dataloader_pin_memory",
        "resume_from_checkpoint",
        "push_to_hub",
        "hub_model_id",
        "hub_token",
        "hub_private_repo",
        "hub_revision",
    }
)
"""Flags of `TrainingArguments` that apply although there is no training loop of the Trainer."""


@dataclass
class Arguments(CropArguments):
    """Arguments of feature adapters: the head over stored features."""

    _argument_group_name = "feature adapter: the head over stored features"

    adapter_type: str = field(
        default="clap",
        metadata={
            "help": "Type of the head. clap, linear, taskres, lp++: class weights. tip_adapter: a cache of the "
            "training images; tip_adapter_f also trains its keys. clip_adapter, prolip: adapt the image, for any "
            "class names.",
            "choices": list(ADAPTER_TYPES),
        },
    )
    augmented_views: int = field(
        default=20,
        metadata={
            "help": "Number of random crops of each training image whose features are computed, once. 0: the images "
            "as they are prepared for testing."
        },
    )
    alpha: float | None = field(
        default=None,
        metadata={
            "help": "Weight of the residual (taskres, default: 0.5), or of the cached images (tip_adapter, "
            "tip_adapter_f; searched on training images by default)."
        },
    )
    beta: float | None = field(
        default=None,
        metadata={
            "help": "Sharpness of the similarity with the cached images (tip_adapter, tip_adapter_f; searched on "
            "training images by default)."
        },
    )
    ratio: float | None = field(
        default=None, metadata={"help": "Share of the adapted feature (clip_adapter, default: 0.2)."}
    )
    regularization: float | None = field(
        default=None,
        metadata={"help": "Weight of the distance from the backbone's projection (prolip, default: 1 / shots)."},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.augmented_views < 0:
            raise ValueError(f"--augmented_views must be at least 0, got {self.augmented_views}.")
        check_settings(self.alpha, self.beta, self.ratio, self.regularization)
        for name, types in SETTINGS.items():
            if getattr(self, name, None) is not None and self.adapter_type not in types:
                raise ValueError(f"--{name} has no effect on --adapter_type {self.adapter_type}. Leave it out.")


class FeatureAdapterRecipe(ClipPromptRecipe[Arguments]):
    """Train a feature adapter: a small head over image features that are computed once."""

    title = "Feature adapter"
    arguments_class = Arguments
    model_class = FeatureAdapterForImageClassification
    uses_templates = True
    use_case = "classifies images, trained in seconds on any number of labelled images per class"
    variants: ClassVar = {each: {"adapter_type": each} for each in ADAPTER_TYPES}
    source = "the paper of the adapter type"
    examples = (
        "--backbone openai/clip-vit-base-patch16 --train_dir train --test_dir test --output_dir mine",
        "--backbone playground --train_dir train --test_dir test --adapter_type tip_adapter --output_dir mine",
    )

    def laptop_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return fewer views, because on a laptop most of the time of a run is that of the image tower."""
        return {"augmented_views": 4}

    def argument_defaults(self, protocol: Protocol, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of the released codes that depend on the type and the dataset."""
        adapter_type = given.get("adapter_type", "clap")
        defaults: dict[str, Any] = {}
        if adapter_type.startswith("tip_adapter"):
            defaults["min_crop_area"] = 0.5
        if adapter_type == "lp++":
            defaults["augmented_views"] = 1
        if adapter_type == "taskres" and protocol.dataset == "oxford_flowers":
            defaults["alpha"] = 1.0
        return defaults

    def training_defaults(self, protocol: Protocol) -> dict[str, Any]:
        """Return the settings of the default type."""
        return self.method_settings(protocol, Arguments())

    def method_settings(self, protocol: Protocol, arguments: Arguments) -> dict[str, Any]:
        """Return the settings of the type's paper."""
        settings = fit_settings(arguments.adapter_type, protocol.shots or 16)
        rate = settings.learning_rate
        return {
            "learning_rate": 2e-4 if arguments.adapter_type == "taskres" and protocol.dataset == "imagenet" else rate,
            "num_train_epochs": settings.num_epochs,
            "per_device_train_batch_size": settings.batch_size,
            "per_device_eval_batch_size": 100,
            "dataloader_drop_last": settings.batch_size < FULL_BATCH,
            "save_strategy": "no",
        }

    def check_flags(self, arguments: Arguments, given: Collection[str]) -> None:
        """Refuse flags of the Trainer's loop, which does not run."""
        kind = arguments.adapter_type
        for name in given:
            if name not in TrainingArguments.__dataclass_fields__ or name in OTHER_FLAGS:
                continue
            if name not in FIT_FLAGS:
                raise ValueError(
                    f"--{name} has no effect on feature_adapter, whose head is fitted without the Trainer's loop. "
                    "Leave it out."
                )
            if kind in FIT_FLAGS[name]:
                raise ValueError(f"--{name} has no effect on --adapter_type {kind}. Leave it out.")

    def build_train_dataset(
        self, arguments: Arguments, files: LabelledImages, processor: ClipPromptProcessor, seed: int
    ) -> ImageDataset | AugmentedViewDataset:
        """Return the views of each image whose features are computed."""
        image_processor = processor.image_processor
        if arguments.augmented_views == 0:
            return ImageDataset(files, image_processor)
        views = arguments.augmented_views
        return AugmentedViewDataset(views, files, image_processor, seed, arguments.min_crop_area)


RECIPE = FeatureAdapterRecipe()
