"""Task "video-classification"."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import AutoModelForVideoClassification, Pipeline

from hf_prompt_models.data.videos.files import VideoFiles, list_videos, readable_videos
from hf_prompt_models.data.videos.labelled import read_labelled_videos
from hf_prompt_models.models.action_clip import ActionClipForVideoClassification
from hf_prompt_models.prompts.class_prompts import ClassPrompts
from hf_prompt_models.recipe_utils import VideoClassificationRecipe
from hf_prompt_models.tasks.arguments import positive
from hf_prompt_models.tasks.classification.arguments import VideoClassificationArguments
from hf_prompt_models.tasks.classification.base import ClassificationTask
from hf_prompt_models.tasks.classification.evaluation import ModelsToTest, Tested, renamed
from hf_prompt_models.tasks.classification.prediction import Predictions
from hf_prompt_models.tasks.frame_strip import drawn, strip_files
from hf_prompt_models.tasks.video_classification.evaluation import evaluate_videos
from hf_prompt_models.tasks.video_classification.features import frame_encoder
from hf_prompt_models.tasks.video_classification.run import VideoClassificationRun


BATCH_SIZE = 8


class VideoClassification(ClassificationTask[VideoClassificationRecipe[Any]]):
    """Classify videos."""

    name = "video-classification"
    does = "classifies videos"
    kind = "video"
    data_arguments = VideoClassificationArguments
    auto_class = AutoModelForVideoClassification
    run_class = VideoClassificationRun
    prediction_batch_size = BATCH_SIZE
    page = "hf_prompt_models.app.video_classification"
    evaluation_examples = ("runs/action_clip --test_dir D/test --temporal_views 10 --spatial_views 3",)
    prediction_examples = ("runs/action_clip clip.mp4 --frame_strip clip.png",)

    def build_zero_shot(
        self,
        backbone: str,
        class_names: Sequence[str],
        templates: Sequence[str] | None,
        class_prompts: ClassPrompts | None = None,
    ) -> Any:
        """Return a classifier of a backbone and class names, without training.

        It applies CLIP to each frame and averages the frame features. The default templates are ActionCLIP's 16.
        """
        if class_prompts is not None:
            raise ValueError("--class_prompts applies to images. Remove the flag, or pass --templates.")
        return ActionClipForVideoClassification.from_backbone(
            backbone, class_names, templates=templates, post_network="mean", trainable="head"
        ).eval()

    def list_files(self, paths: Iterable[str]) -> list[str]:
        """Return paths, with each folder replaced by the files in it."""
        return list_videos(paths)

    def readable(self, files: Sequence[str], on_unreadable: str, progress: bool) -> list[str]:
        """Return the files that can be decoded; the others are refused or reported."""
        return readable_videos(files, on_unreadable, progress=progress)

    def inputs(self, files: Sequence[str], classifier: Pipeline) -> Dataset:
        """Return the inputs of a classifier for files, which are decoded on access."""
        return VideoFiles(files, classifier.image_processor, classifier.model.config.num_frames)

    def encoder(self, model: Any) -> Callable[..., torch.Tensor]:
        """Return the function from a batch of a model's inputs to the features of its image tower."""
        return frame_encoder(model)

    def add_evaluation_arguments(
        self, parser: argparse.ArgumentParser, recipe: VideoClassificationRecipe[Any] | None
    ) -> None:
        """Add the task's flags of `hf-prompt evaluate`."""
        super().add_evaluation_arguments(parser, recipe)
        parser.add_argument(
            "--labels",
            metavar="FILE",
            help="CSV file of the class names of videos in a list, as for `hf-prompt train`",
        )
        parser.add_argument(
            "--temporal_views", type=positive, default=1, help="number of frame samples to average over (default: 1)"
        )
        parser.add_argument(
            "--spatial_views", type=int, default=1, choices=[1, 3], help="number of crops to average over (default: 1)"
        )

    def test(self, models: ModelsToTest, arguments: argparse.Namespace) -> dict[str, Tested]:
        """Test saved models on the data that the flags name, by seed."""
        videos = read_labelled_videos(arguments.test_dir, "test", arguments.labels)
        if videos.multi_label:
            for flag in ("confusion_matrix", "reliability_plot", "min_score"):
                if getattr(arguments, flag) is not None:
                    raise ValueError(
                        f"--{flag} needs one label per video, but {videos.source} has several. Remove the flag."
                    )
        return evaluate_videos(
            models,
            renamed(videos, arguments.class_names).readable(arguments.on_unreadable),
            arguments.batch_size or BATCH_SIZE,
            arguments.num_workers,
            arguments.temporal_views,
            arguments.spatial_views,
            arguments.on_unreadable,
        )

    def add_prediction_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the task's flags of `hf-prompt predict`."""
        super().add_prediction_arguments(parser)
        parser.add_argument(
            "--frame_strip",
            metavar="FILE_OR_DIR",
            help="draw the frames that the model saw and its best classes: FILE.png for one video, or a folder "
            "with one figure per video",
        )

    def drawn(
        self, predictions: Predictions, files: Sequence[str], classifier: Pipeline, arguments: argparse.Namespace
    ) -> Predictions:
        """Return the predictions, and write the figures that the flags request."""
        if not arguments.frame_strip:
            return predictions
        strips = dict(zip(files, strip_files(arguments.frame_strip, files), strict=True))
        return drawn(predictions, strips, classifier.model.config.num_frames)

    def drawn_lines(self, arguments: argparse.Namespace) -> list[str]:
        """Return lines that report where these figures are."""
        return ["", f"The frames that the model saw are in {arguments.frame_strip}."] if arguments.frame_strip else []


TASK = VideoClassification()
