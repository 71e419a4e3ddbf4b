"""Classifying many image or video files, a batch at a time."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate
from transformers import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForVideoClassification,
    BatchFeature,
    Pipeline,
    pipeline,
)
from transformers.modeling_outputs import ImageClassifierOutput

from hf_prompt_models.data.images.files import ImageFiles, list_images, readable_images
from hf_prompt_models.data.videos.files import VideoFiles, list_videos, readable_videos
from hf_prompt_models.utils.files import UnreadableFileError


@dataclass(frozen=True)
class Kind:
    """What a model classifies.

    Attributes:
        name: of one of them: "image" or "video".
        auto_class: loads the model.
        list_files: paths with each folder replaced by what it holds.
        readable: those that can be decoded.
        prepare: from paths and a classifier to its inputs.
        batch_size: a default.
    """

    name: str
    auto_class: Any
    list_files: Callable[[Iterable[str]], list[str]]
    readable: Callable[..., list[str]]
    prepare: Callable[[Sequence[str], Pipeline], Dataset]
    batch_size: int

    def load_model(self, directory: str | os.PathLike, backbone: str | None = None) -> Any:
        """A saved model.

        Args:
            directory: of the model.
            backbone: where the backbone is now, if it moved since training.
        """
        moved = {} if backbone is None else {"base_model_name_or_path": backbone}
        return self.auto_class.from_pretrained(directory, **moved)

    def load_classifier(self, directory: str | os.PathLike, backbone: str | None = None) -> Pipeline:
        """The pipeline of a saved model; arguments are as for `load_model`."""
        model = self.load_model(directory, backbone)
        return self.classifier_of(model, AutoImageProcessor.from_pretrained(directory))

    def classifier_of(self, model: Any, image_processor: Any) -> Pipeline:
        """The pipeline of a model and its image processor."""
        task: Any = f"{self.name}-classification"
        return pipeline(task, model=model, image_processor=image_processor)


IMAGES = Kind(
    "image",
    AutoModelForImageClassification,
    list_images,
    readable_images,
    lambda paths, classifier: ImageFiles(paths, classifier.image_processor),
    batch_size=32,
)

VIDEOS = Kind(
    "video",
    AutoModelForVideoClassification,
    list_videos,
    readable_videos,
    lambda paths, classifier: VideoFiles(paths, classifier.image_processor, classifier.model.config.num_frames),
    batch_size=8,
)


def kind_of_model(directory: str | os.PathLike) -> Kind:
    """Return whether a saved model classifies images or videos, by its configuration.

    Raises:
        ValueError: if it classifies neither.
    """
    config = AutoConfig.from_pretrained(directory)
    if type(config) in MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING:
        return VIDEOS
    if type(config) in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        return IMAGES
    named = (config.architectures or [f"model of type {config.model_type!r}"])[0]
    raise ValueError(
        f"{directory} holds a {named}, which this command does not run. Load it in Python, as its page in docs/ shows."
    )


def check_image_classifier(directory: str | os.PathLike) -> None:
    """Check that a saved model classifies images.

    Raises:
        ValueError: if it does something else.
    """
    if (kind := kind_of_model(directory)) is not IMAGES:
        raise ValueError(f"{directory} classifies {kind.name}s. Pass a model that classifies images.")


class _Attempts(Dataset):
    """Items of a data set, or the errors of those that cannot be read."""

    def __init__(self, files: Any):
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.files[index]
        except UnreadableFileError as error:
            return error


def _collate_attempts(items: list[Any]) -> tuple[Any, list[UnreadableFileError | None]]:
    """A batch of what was read, if anything was, and for each item its error, if it has one."""
    errors = [item if isinstance(item, UnreadableFileError) else None for item in items]
    read = [item for item, error in zip(items, errors, strict=True) if error is None]
    return (default_collate(read) if read else None), errors


def classify_files(
    classifier: Pipeline, files: Dataset, top_k: int = 5, batch_size: int = 32, num_workers: int = 0
) -> Iterator[list[dict[str, Any]] | UnreadableFileError]:
    """The best classes of each file, as `classifier(file, top_k=...)` gives them: dicts of `label` and `score`.

    The pipeline's own steps, on a loader of ours that decodes each file when its batch comes.

    Args:
        classifier: the pipeline of a model that was loaded with its image processor.
        files: the inputs that `Kind.prepare` makes of them.
        top_k: classes for each.
        batch_size: files that go through the model at once.
        num_workers: processes that decode and prepare files; 0 does it in this one.

    Yields:
        For each file its classes, or the error of a file that cannot be read, which names it.
    """
    loader = DataLoader(_Attempts(files), batch_size=batch_size, num_workers=num_workers, collate_fn=_collate_attempts)
    for batch, errors in loader:
        answers: Iterator[torch.Tensor] = iter(())
        if batch is not None:
            answers = iter(classifier.forward(BatchFeature(batch).to(classifier.dtype)).logits)
        for error in errors:
            if error is not None:
                yield error
            else:
                yield classifier.postprocess(ImageClassifierOutput(logits=next(answers)[None]), top_k=top_k)
