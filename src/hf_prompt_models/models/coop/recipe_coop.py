"""How CoOp is trained: its arguments, the paper's settings, its data (arXiv 2109.01134, §4.1; released configs)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_prompt_models.data.image_dataset import AugmentedImageDataset, AugmentedViewDataset, ImageDataset
from hf_prompt_models.data.labelled_images import LabelledImages, read_labelled_images
from hf_prompt_models.models.coop.modeling_coop import CoOpForImageClassification
from hf_prompt_models.models.coop.processing_coop import CoOpProcessor
from hf_prompt_models.prompts.templates import DEFAULT_TEMPLATE


TITLE = "CoOp"
TASK = "image-classification"
DEFAULT_SHOTS = 16
DEFAULT_TEMPLATES = [DEFAULT_TEMPLATE]
CONTRASTS_BATCH = False
SOURCE = "CoOp recipe"
SOURCES = {
    **dict.fromkeys(("n_ctx", "class_token_position", "class_specific_context"), "CoOp's train.py"),
    "min_crop_area": "CoOp's released configs",
    "shots": "CoOp's paper, section 4.1",
}
EXAMPLES = [
    "--backbone openai/clip-vit-base-patch16 --train_dir train --test_dir test --output_dir mine",
    "--backbone playground --train_dir train --test_dir test --shots 4 --seeds 1 2 3 --output_dir mine",
    "--backbone playground --train_dir train --test_dir test --protocol base-to-new --output_dir mine",
]


@dataclass
class Arguments:
    """The learned prompt."""

    _argument_group_name = "CoOp: the learned prompt"

    n_ctx: int = field(default=16, metadata={"help": "Number of context vectors (paper: 16; 4 carries over better)."})
    class_token_position: str = field(
        default="end",
        metadata={"help": "Where the class name stands in the prompt.", "choices": ["end", "middle", "front"]},
    )
    class_specific_context: bool = field(
        default=False, metadata={"help": "Learn a context for each class instead of one that all share."}
    )
    context_init: str | None = field(
        default=None,
        metadata={"help": 'Words to start the context from, such as "a photo of a"; they replace --n_ctx.'},
    )
    text_chunk_size: int | None = field(
        default=None,
        metadata={"help": "Classes whose prompts are encoded at a time: bounds memory where there are thousands."},
    )
    min_crop_area: float = field(
        default=0.08,
        metadata={
            "help": "Smallest share of a picture that a random crop keeps in training (paper: 0.08). "
            "Where a small part of a picture shows nothing, as in little drawings, 0.5 learns more."
        },
    )

    augmented_views: int | None = field(
        default=None,
        metadata={
            "help": "Draw so many random crops of each picture once, compute their features, and train on those "
            "without the image tower: far faster, but not the paper's recipe, which draws anew each epoch (the "
            "default). 0: the pictures as in testing."
        },
    )

    def __post_init__(self) -> None:
        if self.augmented_views is not None and self.augmented_views < 0:
            raise ValueError(f"--augmented_views is a number of views, at least 0; got {self.augmented_views}.")
        if self.n_ctx < 1:
            raise ValueError(f"--n_ctx is the number of context vectors, at least 1; got {self.n_ctx}.")
        if self.text_chunk_size is not None and self.text_chunk_size < 1:
            raise ValueError(f"--text_chunk_size is a number of classes, at least 1; got {self.text_chunk_size}.")
        if not 0 < self.min_crop_area <= 1:
            raise ValueError(f"--min_crop_area is a share above 0, at most 1; got {self.min_crop_area}.")


def argument_defaults(protocol: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Where a prompt is carried to other classes, CoCoOp's paper starts CoOp from words (arXiv 2203.05557, §4)."""
    if protocol == "few-shot" or {"n_ctx", "context_init"} & set(given):
        return {}
    return {"context_init": "a photo of a"}


def training_defaults(shots: int, dataset: str | None = None) -> dict[str, Any]:
    """`TrainingArguments` of the paper: SGD, batches of 32, 50 to 200 epochs by the shots, 50 on ImageNet."""
    return {
        "optim": "sgd",
        "optim_args": "momentum=0.9",
        "learning_rate": 2e-3,
        "weight_decay": 5e-4,
        "max_grad_norm": 0.0,
        "num_train_epochs": 50 if shots == 1 or dataset == "imagenet" else 100 if 0 < shots <= 4 else 200,
        "per_device_train_batch_size": 32,
        "per_device_eval_batch_size": 100,
        "dataloader_drop_last": True,
    }


def laptop_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """None: a laptop can wait for these settings."""
    return {}


def read_examples(
    source: str, split: str, image_column: str | None = None, label_column: str | None = None
) -> LabelledImages:
    return read_labelled_images(source, split, image_column, label_column)


def build_processor(backbone: str) -> CoOpProcessor:
    return CoOpProcessor.from_backbone(backbone)


def build_model(
    arguments: Arguments, backbone: str, class_names: Sequence[str], processor: CoOpProcessor
) -> CoOpForImageClassification:
    return CoOpForImageClassification.from_backbone(
        backbone,
        class_names,
        n_ctx=arguments.n_ctx,
        class_token_position=arguments.class_token_position,
        class_specific_context=arguments.class_specific_context,
        context_init=arguments.context_init,
        text_chunk_size=arguments.text_chunk_size,
        tokenizer=processor,
    )


def build_train_dataset(
    arguments: Arguments, images: LabelledImages, processor: CoOpProcessor, seed: int
) -> ImageDataset | AugmentedImageDataset | AugmentedViewDataset:
    """Random crops and mirror images, drawn anew each epoch unless `augmented_views` says otherwise."""
    image_processor, views = processor.image_processor, arguments.augmented_views
    if views is None:
        return AugmentedImageDataset(images, image_processor, seed, arguments.min_crop_area)
    if views == 0:
        return ImageDataset(images, image_processor)
    return AugmentedViewDataset(views, images, image_processor, seed, arguments.min_crop_area)


def build_test_dataset(images: LabelledImages, processor: CoOpProcessor) -> ImageDataset:
    return ImageDataset(images, processor.image_processor)
