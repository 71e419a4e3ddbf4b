"""Shared base of the recipes of image classifiers that use a CLIP: arguments, data, and optimizer settings."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from hf_prompt_models.data.images.dataset import AugmentedImageDataset, AugmentedViewDataset, ImageDataset
from hf_prompt_models.data.images.labelled import LabelledImages, read_labelled_images
from hf_prompt_models.modeling_clip_utils import ClipPromptModel, EnsemblePromptModel
from hf_prompt_models.processing_utils import ClipPromptProcessor
from hf_prompt_models.prompts.class_prompts import ClassPrompts
from hf_prompt_models.prompts.templates import DATASET_TEMPLATES, DEFAULT_TEMPLATE
from hf_prompt_models.recipe_utils import ImageClassificationRecipe


@dataclass
class CropArguments:
    """Arguments of every method that trains on random crops of images."""

    min_crop_area: float = field(
        default=0.08,
        metadata={
            "help": "Smallest share of the image area that a random crop keeps in training. Use 0.5 where a small "
            "part of an image shows nothing, as in small drawings."
        },
    )

    def __post_init__(self) -> None:
        if not 0 < self.min_crop_area <= 1:
            raise ValueError(f"Expected --min_crop_area to be above 0 and at most 1, got {self.min_crop_area}.")


@dataclass
class ClipPromptArguments(CropArguments):
    """Arguments of every method that trains a prompt for a CLIP."""

    text_chunk_size: int | None = field(
        default=None,
        metadata={
            "help": "Number of prompts to encode at a time in training. Lower values use less memory if there are "
            "thousands of classes; gradients do not change."
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text_chunk_size is not None and self.text_chunk_size < 1:
            raise ValueError(
                f"Expected --text_chunk_size, a number of prompts, to be at least 1, got {self.text_chunk_size}."
            )


@dataclass
class FixedImageArguments(ClipPromptArguments):
    """Arguments of methods that leave the image tower unchanged."""

    augmented_views: int | None = field(
        default=None,
        metadata={
            "help": (
                "Sample this number of random crops of each image once, compute their features, and train on "
                "these features without running the image encoder. This is much faster, but differs from the "
                "paper's recipe, which samples new crops in each epoch (the default). 0: train on the images as "
                "they are prepared for testing."
            )
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.augmented_views is not None and self.augmented_views < 0:
            raise ValueError(
                f"Expected --augmented_views, a number of views, to be at least 0, got {self.augmented_views}."
            )


ArgumentsT = TypeVar("ArgumentsT", bound=CropArguments)
STORED_VIEWS = 4
"""Number of views of each image in comparisons, as for feature adapters on a laptop, with which they share them."""


class ClipPromptRecipe(ImageClassificationRecipe[ArgumentsT]):
    """Base class of the recipes of image classifiers that train prompts for a CLIP.

    Attributes:
        model_class: Model class of the method.
        not_of_the_model: Names of the arguments that `from_backbone` does not take.
        uses_templates: Whether the model is made from the hand-written prompts of the zero-shot result.
    """

    model_class: ClassVar[type[Any]]
    not_of_the_model: ClassVar[frozenset[str]] = frozenset({"min_crop_area", "augmented_views"})
    uses_templates: ClassVar[bool] = False

    def read_examples(self, source: str, split: str, **columns: Any) -> LabelledImages:
        """Read the labelled images of a source."""
        return read_labelled_images(source, split, **columns)

    def build_processor(self, backbone: str) -> ClipPromptProcessor:
        """Return the processor of a backbone."""
        return self.model_class.processor_class.from_backbone(backbone)

    def build_model(
        self,
        arguments: ArgumentsT,
        backbone: str,
        class_names: Sequence[str],
        processor: ClipPromptProcessor,
        templates: Sequence[str] | None = None,
        class_prompts: ClassPrompts | None = None,
    ) -> ClipPromptModel:
        """Return a new, untrained model."""
        choices = {name: value for name, value in vars(arguments).items() if name not in self.not_of_the_model}
        if "teacher_templates" in choices:  # `--templates` sets the prompts of the zero-shot result
            choices["templates"] = choices.pop("teacher_templates")
        if self.uses_templates:
            choices["templates"] = templates or None  # there are none with sentences alone
            if issubclass(self.model_class, EnsemblePromptModel):
                choices["class_prompts"] = class_prompts
        return self.model_class.from_backbone(backbone, class_names, tokenizer=processor, **choices)

    def build_train_dataset(
        self, arguments: ArgumentsT, files: LabelledImages, processor: ClipPromptProcessor, seed: int
    ) -> ImageDataset | AugmentedImageDataset | AugmentedViewDataset:
        """Return random crops and mirrored images, sampled again in each epoch unless `augmented_views` is given."""
        image_processor = processor.image_processor
        views = arguments.augmented_views if isinstance(arguments, FixedImageArguments) else None
        if views is None:
            return AugmentedImageDataset(files, image_processor, seed, arguments.min_crop_area)
        if views == 0:
            return ImageDataset(files, image_processor)
        return AugmentedViewDataset(views, files, image_processor, seed, arguments.min_crop_area)

    def stored_views(self) -> dict[str, Any]:
        """Return a number of stored views for methods with `augmented_views`."""
        return {"augmented_views": STORED_VIEWS} if issubclass(self.arguments_class, FixedImageArguments) else {}

    def build_test_dataset(self, files: LabelledImages, processor: ClipPromptProcessor) -> ImageDataset:
        """Return the images without augmentation."""
        return ImageDataset(files, processor.image_processor)

    def learning_rate_factors(self, arguments: ArgumentsT) -> dict[str, float]:
        """Return one factor for all parameters, so that weight decay applies to biases, too, as in Dassl."""
        return {"": 1.0}


def dassl_defaults(learning_rate: float, epochs: int, batch_size: int, **settings: Any) -> dict[str, Any]:
    """Return the `TrainingArguments` that released code based on Dassl shares: SGD with weight decay and no clipping.

    Args:
        learning_rate: Learning rate of the method.
        epochs: Number of epochs.
        batch_size: Batch size per device in training.
        settings: Additional `TrainingArguments`, which take precedence.
    """
    return {
        "optim": "sgd",
        "optim_args": "momentum=0.9",
        "learning_rate": learning_rate,
        "weight_decay": 5e-4,
        "max_grad_norm": 0.0,
        "num_train_epochs": epochs,
        "per_device_train_batch_size": batch_size,
        "per_device_eval_batch_size": 100,
        "dataloader_drop_last": True,
        **settings,
    }


def coop_epochs(shots: int, dataset: str | None) -> int:
    """Return CoOp's number of epochs: 50, 100 or 200, depending on the shots, and 50 on ImageNet.

    The numbers are from arXiv 2109.01134, section 4.1.

    Args:
        shots: Training examples per class; 0: all.
        dataset: Key of a published dataset, or `None`.
    """
    return 50 if shots == 1 or dataset == "imagenet" else 100 if 0 < shots <= 4 else 200


def teacher_templates(dataset: str | None) -> list[str]:
    """Return the hand-written prompt of a published dataset in a list, or the default prompt for other data."""
    return [DATASET_TEMPLATES.get(dataset or "", DEFAULT_TEMPLATE)]
