"""Benchmark feature adapters on stored features against running the image tower in each epoch.

The released codes of TaskRes, CLIP-Adapter and Tip-Adapter-F read images in each epoch, so that the image tower
encodes every image once per epoch. Here it encodes a number of views of each image once. Both arms have random weights
in the shapes of ViT-B/32 and random pixels. The time of the image tower is measured on some images and multiplied; the
head is fitted completely.
"""

import argparse
import time
from collections.abc import Iterator

import torch

from hf_prompt_models.models.feature_adapter.adapters_feature_adapter import ClassLogits
from hf_prompt_models.models.feature_adapter.configuration_feature_adapter import ADAPTER_TYPES, FeatureAdapterConfig
from hf_prompt_models.models.feature_adapter.fitting_feature_adapter import (
    Fitting,
    Support,
    fit_settings,
    ignore_epoch,
)
from hf_prompt_models.models.feature_adapter.modeling_feature_adapter import ADAPTERS

from .measuring import (
    CLIP_SHAPES,
    build_random_clip,
    describe_machine,
    fastest,
    markdown_table,
    random_tensor,
)


DIM = 512
RELEASED_PASSES = {"clap": 20, "linear": 20, "lp++": 1, "tip_adapter": 10}
"""Passes over the images in the released codes that store features; the others run the image tower in each epoch."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the benchmark."""
    parser.add_argument("--classes", type=int, default=100, help="number of classes (default: 100)")
    parser.add_argument("--shots", type=int, default=16, help="number of images per class (default: 16)")
    parser.add_argument("--views", type=int, default=4, help="number of views of each image (default: 4)")
    parser.add_argument(
        "--measured_images",
        type=int,
        default=64,
        help="number of images on which the time of the image tower is measured (default: 64)",
    )


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Run the benchmark and yield its results as Markdown, part by part."""
    yield describe_machine()
    clip = build_random_clip(CLIP_SHAPES["vit-b-32"])
    size = clip.config.vision_config.image_size
    pixels = random_tensor(arguments.measured_images, 3, size, size, seed=0)
    with torch.no_grad():
        seconds, _ = fastest(lambda: clip.get_image_features(pixel_values=pixels), 3)
    images = arguments.classes * arguments.shots
    per_image = seconds / arguments.measured_images
    scale = clip.logit_scale.exp().item()
    rows = []
    for adapter_type in ADAPTER_TYPES:
        if adapter_type == "prolip":  # its features have another size
            continue
        fitted = fit_seconds(adapter_type, arguments, lambda image, text: scale * image @ text.T)
        epochs = fit_settings(adapter_type, arguments.shots).num_epochs
        passes = RELEASED_PASSES.get(adapter_type, epochs)
        tower, once = passes * images * per_image, arguments.views * images * per_image
        cells = [f"{fitted:.1f}", f"{once:.0f}", f"{tower:.0f}", f"{(tower + fitted) / (once + fitted):.1f}"]
        rows.append([adapter_type, str(passes), *cells, f"{(tower + fitted) / fitted:.0f}"])
    header = ["type", "released passes", "head s", "views once s", "released passes s", "times faster", "next run"]
    yield (
        f"### Heads over stored features\n\n{images} images of {arguments.classes} classes, {arguments.views} views. "
        "The image tower encodes "
        f"{1 / per_image:.0f} images/s, measured on {arguments.measured_images}; its columns are multiplied. "
        "`next run` is a run whose features are in the cache.\n\n" + markdown_table(header, rows)
    )


def fit_seconds(adapter_type: str, arguments: argparse.Namespace, class_logits: ClassLogits) -> float:
    """Return the seconds in which a head is fitted to random features around one centre per class."""
    images = arguments.classes * arguments.shots
    labels = torch.arange(images) % arguments.classes
    centres = random_tensor(arguments.classes, DIM, seed=1)
    features = centres[labels] + random_tensor(arguments.views, images, DIM, seed=2)
    config = FeatureAdapterConfig(
        adapter_type=adapter_type, num_labels=arguments.classes, searched=["alpha", "beta"], alpha=None
    )
    adapter = ADAPTERS[adapter_type](config, DIM)
    text = torch.nn.functional.normalize(centres + random_tensor(arguments.classes, DIM, seed=3), dim=-1)
    with torch.no_grad():
        adapter.start(text)
    settings = fit_settings(adapter_type, arguments.shots)
    support = Support(features, labels, arguments.classes)
    start = time.perf_counter()
    Fitting(adapter_type, adapter, support, text, class_logits, settings, ignore_epoch).run()
    return time.perf_counter() - start
