"""Benchmark the extraction of image features against the image tower alone and against a plain loop.

Images are JPEG files. "Tower" is the rate of the image tower on images that are already prepared, which no extraction
can exceed. "Plain loop" opens, prepares and encodes batches of files one after the other, with transformers alone. The
weights are random, in the shapes of CLIP. With --photos and --model, the part "accuracy" compares both precisions of a
saved classifier on real photos.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, CLIPModel

from hf_prompt_models.backbones.activations import replace_quick_gelu
from hf_prompt_models.backbones.packaged import CLIP_DIR
from hf_prompt_models.data.images.dataset import ImageDataset
from hf_prompt_models.data.images.labelled import read_labelled_images
from hf_prompt_models.models.clip_zero_shot import ClipZeroShotForImageClassification
from hf_prompt_models.tasks.image_classification.features import class_logits, compute_image_features, image_encoder
from hf_prompt_models.utils.precision import cosine_distances

from .measuring import (
    CLIP_SHAPES,
    build_random_clip,
    describe_machine,
    fastest_in_turn,
    markdown_table,
    transformers_activations,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the benchmark."""
    parser.add_argument("--images", type=int, default=100, help="number of images (default: 100)")
    parser.add_argument(
        "--size", type=int, nargs=2, default=[500, 375], help="width and height of the images (default: 500 375)"
    )
    parser.add_argument("--batch_size", type=int, default=100, help="number of images per batch (default: 100)")
    parser.add_argument(
        "--backbones",
        nargs="+",
        choices=[*CLIP_SHAPES, "playground"],
        default=["vit-b-32", "vit-b-16"],
        help="CLIP models whose shapes are used (default: vit-b-32 vit-b-16)",
    )
    parser.add_argument(
        "--precisions",
        nargs="+",
        choices=["float32", "bfloat16"],
        default=["float32", "bfloat16"],
        help="precisions of the image tower; the first is the one that others are compared with (default: both)",
    )
    parser.add_argument("--num_workers", type=int, default=0, help="number of decoding processes (default: 0)")
    parser.add_argument(
        "--repeats", type=int, default=2, help="number of timed rounds; the fastest is reported (default: 2)"
    )
    parser.add_argument("--model", metavar="DIR", help="saved classifier, for the part about accuracy")
    parser.add_argument("--photos", metavar="DIR", help="class folders of photos to test it on")


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Run the benchmark and yield its results as Markdown, part by part.

    Raises:
        ValueError: if only one of --model and --photos is given.
    """
    if (arguments.model is None) != (arguments.photos is None):
        raise ValueError("--model and --photos belong together. Pass both or neither.")
    yield describe_machine()
    yield measure_extraction(arguments)
    if arguments.model is not None:
        yield measure_accuracy(arguments)


def draw_photos(folder: Path, classes: int, per_class: int, size: Sequence[int], seed: int = 0) -> Path:
    """Write smooth random images as JPEG files into class folders, and return the folder."""
    rng = np.random.default_rng(seed)
    width, height = size
    for label in range(classes):
        directory = folder / f"class {label:04d}"
        directory.mkdir(parents=True)
        for number in range(per_class):
            coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
            image.save(directory / f"{number:04d}.jpg", quality=90)
    return folder


def random_backbone(name: str, folder: Path) -> tuple[CLIPModel, Any]:
    """Return a CLIP with random weights and its image processor; the packaged one for "playground"."""
    processor: Any = AutoImageProcessor.from_pretrained(CLIP_DIR)
    if name == "playground":
        return CLIPModel.from_pretrained(CLIP_DIR).eval(), processor
    clip = build_random_clip(CLIP_SHAPES[name])
    side = clip.config.vision_config.image_size
    processor.size, processor.crop_size = {"shortest_edge": side}, {"height": side, "width": side}
    return clip, processor


def measure_extraction(arguments: argparse.Namespace, device: torch.device | str = "cpu") -> str:
    """Measure images per second of the tower, of the extraction and of the plain loop.

    Args:
        arguments: flags of the benchmark.
        device: device of the tower.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        photos = draw_photos(Path(folder) / "photos", 2, arguments.images // 2, arguments.size)
        images = read_labelled_images(photos, "test")
        files = [photos / name for name in images.names]
        for name in arguments.backbones:
            clip, processor = random_backbone(name, Path(folder))
            model = ClipZeroShotForImageClassification.from_backbone(CLIP_DIR, ["a", "b"])
            model.clip = clip
            replace_quick_gelu(clip)
            model.to(device)
            dataset = ImageDataset(images, processor)
            batches = [
                torch.stack([dataset[index]["pixel_values"] for index in range(start, stop)])
                for start, stop in _spans(len(files), arguments.batch_size)
            ]
            full = None
            for precision in arguments.precisions:
                dtype = None if precision == "float32" else torch.bfloat16
                model.image_dtype = dtype
                arms: list[Callable[[], Any]] = [
                    partial(tower, model, batches),
                    partial(extraction, model, dataset, arguments.batch_size, arguments.num_workers),
                ]
                if dtype is None:
                    arms.append(partial(plain_loop, clip, processor, files, arguments.batch_size))
                (alone, _), (ours, features), *plain = fastest_in_turn(arms, arguments.repeats)
                full = features if full is None else full
                rates = [len(files) / seconds for seconds in (alone, ours)]
                loop = len(files) / plain[0][0] if plain else None
                rows.append(
                    [
                        name,
                        precision,
                        *(f"{rate:.1f}" for rate in rates),
                        f"{rates[1] / rates[0]:.0%}",
                        "" if loop is None else f"{loop:.1f}",
                        "" if loop is None else f"{rates[1] / loop:.2f}",
                        f"{cosine_distances(features, full).max().item():.1e}",
                    ]
                )
    header = ["shapes", "precision", "tower images/s", "ours images/s", "of the tower", "plain loop images/s"]
    header += ["times faster than the loop", "largest cosine distance"]
    size = " x ".join(map(str, arguments.size))
    return (
        f"### Image features\n\n{len(files)} JPEG images of {size} pixels in batches of {arguments.batch_size}, "
        f"{arguments.num_workers} decoding processes.\n\n" + markdown_table(header, rows)
    )


def _spans(count: int, size: int) -> list[tuple[int, int]]:
    return [(start, min(start + size, count)) for start in range(0, count, size)]


@torch.no_grad()
def tower(model: Any, batches: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the features of images that are already prepared."""
    encode = image_encoder(model)
    return torch.cat([encode(pixel_values=pixels) for pixels in batches])


def extraction(model: Any, dataset: ImageDataset, batch_size: int, num_workers: int) -> torch.Tensor:
    """Return the features of files, as every command computes them."""
    return compute_image_features(model, dataset, batch_size, num_workers=num_workers, progress=False).features


@torch.no_grad()
def plain_loop(clip: CLIPModel, processor: Any, files: Sequence[Path], batch_size: int) -> torch.Tensor:
    """Return the features of files, as with transformers alone."""
    features = []
    with transformers_activations(clip):
        for start, stop in _spans(len(files), batch_size):
            images = [Image.open(file).convert("RGB") for file in files[start:stop]]
            inputs = processor(images=images, return_tensors="pt").to(clip.device)
            features.append(clip.get_image_features(**inputs).pooler_output.cpu())
    return torch.cat(features)


def measure_accuracy(arguments: argparse.Namespace) -> str:
    """Compare the test accuracy of a saved classifier in both precisions."""
    model: Any = AutoModelForImageClassification.from_pretrained(arguments.model).eval()
    images = read_labelled_images(arguments.photos, "test").with_classes(model.config.class_names)
    labels = np.array(images.labels)
    dataset = ImageDataset(images, AutoImageProcessor.from_pretrained(arguments.model))
    rows, full = [], None
    for dtype in (None, torch.bfloat16):
        model.image_dtype = dtype
        features = compute_image_features(model, dataset, arguments.batch_size, progress=False)
        full = features.features if full is None else full
        predicted = class_logits(model, features).argmax(axis=-1)
        distances = cosine_distances(features.features, full)
        rows.append(
            [
                "float32" if dtype is None else "bfloat16",
                f"{(predicted == labels).mean():.2%}",
                f"{distances.mean().item():.1e}",
                f"{distances.max().item():.1e}",
            ]
        )
    header = ["precision", "accuracy", "mean cosine distance", "largest cosine distance"]
    about = f"{len(labels)} photos of {len(images.class_names)} classes."
    return f"### Accuracy on photos\n\n{about}\n\n{markdown_table(header, rows)}"
