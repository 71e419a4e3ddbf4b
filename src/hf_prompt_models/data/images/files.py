"""Unlabelled image files and folders of images, for inference."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from hf_prompt_models.data.images.loading import is_image_file, load_image, readable_formats
from hf_prompt_models.data.listing import find_files, report_left_out
from hf_prompt_models.data.path_lists import expand_lists
from hf_prompt_models.data.readable import check_all, refuse, report_skipped


def find_images(directory: str | os.PathLike) -> list[Path]:
    """Return the images in a folder and its subfolders, sorted by path.

    A file is an image if its suffix or its content is that of an image format. Symbolic links are followed. Hidden
    files and folders are ignored; the number of other files is logged.

    Raises:
        ValueError: if the folder holds no images.
    """
    found, others = find_files(directory, is_image_file)
    report_left_out(others, directory, "not images")
    if not found:
        raise ValueError(
            f"The folder {directory} contains no images. Supported formats: {', '.join(readable_formats())}."
        )
    return found


def list_images(paths: Iterable[str]) -> list[str]:
    """Return paths with each folder replaced by its images and each list (`expand_lists`) by its files.

    Other files are returned unchanged, whatever their suffix.

    Raises:
        ValueError: if a folder holds no images, or a list is invalid (`expand_lists`).
    """
    files = expand_lists(paths)
    return [str(image) for path in files for image in (find_images(path) if os.path.isdir(path) else [path])]


def readable_images(paths: Iterable[str], on_unreadable: str, progress: bool = True) -> list[str]:
    """Check that every image can be decoded and return the paths of those that can.

    Args:
        paths: image files.
        on_unreadable: "refuse" raises an error if any image cannot be decoded; "skip" warns about each of these
            images, logs their number and leaves them out.
        progress: whether to show a progress bar.

    Raises:
        UnreadableImageError: if images cannot be decoded (the message names the files), or none is left.
    """
    kept, broken = check_all(
        paths, lambda path: load_image(path, shrink=True), on_unreadable, "Checking images", progress
    )
    if on_unreadable != "skip":
        refuse(broken)
    report_skipped(kept, broken, "images")
    return kept


class ImageFiles(Dataset):
    """Dataset of preprocessed image files, decoded on access.

    An item holds the output of the image processor (`pixel_values`, …).

    Args:
        paths: image files.
        image_processor: image processor of the model.
    """

    def __init__(self, paths: Sequence[str], image_processor: Any):
        self.paths = paths
        self.image_processor = image_processor

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        inputs = self.image_processor(load_image(self.paths[index]), return_tensors="pt")
        return {name: tensor[0] for name, tensor in inputs.items()}
