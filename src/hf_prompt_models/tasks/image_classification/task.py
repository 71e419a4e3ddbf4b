"""Task "image-classification"."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import AutoModelForImageClassification, Pipeline
from transformers.hf_argparser import string_to_bool

from hf_prompt_models.data.images.files import ImageFiles, list_images, readable_images
from hf_prompt_models.data.images.labelled import read_labelled_images
from hf_prompt_models.data.published_datasets import PUBLISHED_DATASETS, find_dataset
from hf_prompt_models.models.clip_zero_shot import ClipZeroShotForImageClassification
from hf_prompt_models.prompts.class_prompts import ClassPrompts
from hf_prompt_models.recipe_utils import ImageClassificationRecipe
from hf_prompt_models.tasks.base import task_of_saved
from hf_prompt_models.tasks.classification.arguments import ImageClassificationArguments
from hf_prompt_models.tasks.classification.base import ClassificationTask
from hf_prompt_models.tasks.classification.class_prompts import add_class_prompts_argument
from hf_prompt_models.tasks.classification.evaluation import ModelsToTest, Tested, renamed
from hf_prompt_models.tasks.image_classification.data_check.check import check_data, training_images
from hf_prompt_models.tasks.image_classification.data_check.images import FrozenTower, backbone_classifier
from hf_prompt_models.tasks.image_classification.evaluation import evaluate_images
from hf_prompt_models.tasks.image_classification.features import image_encoder
from hf_prompt_models.tasks.image_classification.run import ImageClassificationRun
from hf_prompt_models.training.feature_cache import open_feature_cache


class ImageClassification(ClassificationTask[ImageClassificationRecipe[Any]]):
    """Classify images."""

    name = "image-classification"
    does = "classifies images"
    kind = "image"
    data_arguments = ImageClassificationArguments
    auto_class = AutoModelForImageClassification
    run_class = ImageClassificationRun
    prediction_batch_size = 32
    page = "hf_prompt_models.app.image_classification"
    evaluation_examples = ("runs/coop --test_dir D/test --json accuracy.json",)
    prediction_examples = (
        "runs/coop photo.jpg other.jpg --top_k 5",
        "runs/coop photos/ --csv predictions.csv",
        "openai/clip-vit-base-patch32 photos/ --class_names names.txt",
    )

    def build_zero_shot(
        self,
        backbone: str,
        class_names: Sequence[str],
        templates: Sequence[str] | None,
        class_prompts: ClassPrompts | None = None,
    ) -> Any:
        """Return a classifier of a backbone and class names, without training."""
        return ClipZeroShotForImageClassification.from_backbone(
            backbone, class_names, templates, class_prompts=class_prompts
        ).eval()

    def list_files(self, paths: Iterable[str]) -> list[str]:
        """Return paths, with each folder replaced by the files in it."""
        return list_images(paths)

    def readable(self, files: Sequence[str], on_unreadable: str, progress: bool) -> list[str]:
        """Return the files that can be decoded; the others are refused or reported."""
        return readable_images(files, on_unreadable, progress=progress)

    def inputs(self, files: Sequence[str], classifier: Pipeline) -> Dataset:
        """Return the inputs of a classifier for files, which are decoded on access."""
        return ImageFiles(files, classifier.image_processor)

    def encoder(self, model: Any) -> Callable[..., torch.Tensor]:
        """Return the function from a batch of a model's inputs to the features of its image tower."""
        return image_encoder(model)

    def add_evaluation_arguments(
        self, parser: argparse.ArgumentParser, recipe: ImageClassificationRecipe[Any] | None
    ) -> None:
        """Add the task's flags of `hf-prompt evaluate`."""
        super().add_evaluation_arguments(parser, recipe)
        parser.add_argument(
            "--label_column",
            metavar="NAME",
            help="column of the labels to test with, if a dataset or a list (`metadata.csv`) has several",
        )
        parser.add_argument(
            "--image_column", metavar="NAME", help="column of the images, if a dataset or a list has several"
        )
        parser.add_argument(
            "--dataset",
            choices=PUBLISHED_DATASETS,
            help="published dataset whose class folders --test_dir holds; sets the class names",
        )
        parser.add_argument(
            "--reduced_jpeg",
            type=string_to_bool,
            nargs="?",
            const=True,
            default=False,
            metavar="true|false",
            help="decode JPEGs at a reduced size, as for `hf-prompt train`",
        )
        add_class_prompts_argument(parser, "sentences about the classes of a zero-shot model, with --set_classes")
        parser.add_argument(
            "--data_check",
            metavar="DIR",
            help="also check the data, and write a table for each check to this folder: the most confident errors, "
            "with thumbnails; test images that nearly are training images (features as similar as those of 95%% of "
            "the test images to a copy at half the size, and pixels that agree); labels that look wrong by "
            "cross-validation; class names that the backbone does not know. With several seeds, the first one is "
            "checked",
        )
        parser.add_argument(
            "--train_dir",
            metavar="DIR",
            help="training images for --data_check (default: those in the few_shot.json of the model folder)",
        )

    def add_prediction_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the task's flags of `hf-prompt predict`."""
        super().add_prediction_arguments(parser)
        add_class_prompts_argument(parser, "sentences about the classes of a zero-shot classifier")

    def check_data(
        self, models: ModelsToTest, tested: Mapping[str, Tested], arguments: argparse.Namespace
    ) -> dict[str, Any]:
        """Check the data as the flags request, and return entries for the results."""
        if arguments.data_check is None:
            return {}
        seed, first = next(iter(tested.items()))
        _, model, processor, _ = next(models.load(self.auto_class, first.files))
        names, train = model.config.class_names, None
        if arguments.train_dir is not None or not arguments.set_classes:  # the sample has the classes of training
            train = training_images(models.directories[seed], names, arguments)
        classifier = backbone_classifier(model, processor)
        cache = open_feature_cache(models.feature_cache, classifier, processor.image_processor)
        tower = FrozenTower(classifier, processor, cache, arguments.num_workers, arguments.batch_size or 100)
        return {"data_check": check_data(tower, first, train, Path(arguments.data_check))}

    def test(self, models: ModelsToTest, arguments: argparse.Namespace) -> dict[str, Tested]:
        """Test saved models on the data that the flags name, by seed."""
        if arguments.train_dir is not None and arguments.data_check is None:
            raise ValueError("--train_dir needs --data_check DIR. Pass both.")
        images = read_labelled_images(arguments.test_dir, "test", arguments.image_column, arguments.label_column)
        if arguments.dataset and find_dataset(arguments.test_dir) is None:
            images = images.named_as(PUBLISHED_DATASETS[arguments.dataset])
        images = renamed(images, arguments.class_names).readable(arguments.on_unreadable)
        return evaluate_images(
            models,
            images,
            arguments.batch_size or 100,
            arguments.num_workers,
            arguments.on_unreadable,
            arguments.reduced_jpeg,
        )


TASK = ImageClassification()


def check_image_classifier(directory: Path) -> None:
    """Check that a saved model classifies images.

    Raises:
        ValueError: If the model is of another task.
    """
    task, _ = task_of_saved(directory)
    if task is not TASK:
        raise ValueError(f"{directory} {task.does}. Pass a model that classifies images.")
