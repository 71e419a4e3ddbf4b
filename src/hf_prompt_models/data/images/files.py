"""Image files without labels, by name or in folders, for prediction."""

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
    """The images of a folder and of the folders in it, in the order of their names.

    Files are images by their suffix or their content. Links are followed. Hidden files and folders are passed over,
    other files are reported with a count.

    Raises:
        ValueError: if there is none.
    """
    found, others = find_files(directory, is_image_file)
    report_left_out(others, directory, "not images")
    if not found:
        raise ValueError(f"The folder {directory} holds no images ({', '.join(readable_formats())}).")
    return found


def list_images(paths: Iterable[str]) -> list[str]:
    """`paths` with each folder replaced by its images and each list (`expand_lists`) by its files.

    Other files stay as they are, whatever their suffix.

    Raises:
        ValueError: if a folder holds no images, or a list no files.
    """
    files = expand_lists(paths)
    return [str(image) for path in files for image in (find_images(path) if os.path.isdir(path) else [path])]


def readable_images(paths: Iterable[str], on_unreadable: str, progress: bool = True) -> list[str]:
    """Check that every image can be decoded, before any work depends on it.

    Args:
        paths: the files.
        on_unreadable: "refuse" raises for those that cannot; "skip" names each of them in a warning, counts them and
            leaves them out.
        progress: show a bar.

    Raises:
        UnreadableImageError: naming the files; or if none is left.
    """
    kept, broken = check_all(
        paths, lambda path: load_image(path, shrink=True), on_unreadable, "Checking images", progress
    )
    if on_unreadable != "skip":
        refuse(broken)
    report_skipped(kept, broken, "images")
    return kept


class ImageFiles(Dataset):
    """Image files as what an image processor makes of them (`pixel_values`), each decoded when it is asked for.

    Args:
        paths: the files.
        image_processor: the model's.
    """

    def __init__(self, paths: Sequence[str], image_processor: Any):
        self.paths = paths
        self.image_processor = image_processor

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        inputs = self.image_processor(load_image(self.paths[index]), return_tensors="pt")
        return {name: tensor[0] for name, tensor in inputs.items()}
