"""Benchmark the text side, the image tower and the extraction of features on a GPU, in about five minutes on an H200.

It needs the wheels of WHEELS, in the versions of constraints.txt, and torch for the CUDA version of the machine. Each
table compares two implementations in one run, as on the CPU. --device cpu --quick shows that the script works.
"""

import argparse
import platform
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version

import torch

from hf_prompt_models.utils.loading import default_num_workers
from hf_prompt_models.utils.precision import cosine_distances

from . import features
from .coop import Arms, Prompts
from .measuring import (
    CLIP_SHAPES,
    build_random_clip,
    fastest,
    fastest_in_turn,
    markdown_table,
    matmul_rate,
    random_tensor,
    relative_difference,
)


WHEELS = (
    "torch",
    "transformers",
    "tokenizers",
    "huggingface_hub",
    "safetensors",
    "accelerate",
    "numpy",
    "pillow",
    "matplotlib",
    "tqdm",
    "psutil",
)
"""Packages whose wheels the machine needs next to this one; their versions are printed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the benchmark."""
    parser.add_argument("--device", default="cuda", help="device to measure (default: cuda)")
    parser.add_argument("--quick", action="store_true", help="measure tiny sizes, which show that the script works")


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Run the benchmark and yield its results as Markdown, part by part.

    Raises:
        ValueError: if the device is not available.
    """
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("No GPU is available to torch. Install torch for the machine's CUDA, or pass --device cpu.")
    yield describe(device)
    yield measure_text(device, arguments.quick)
    yield measure_tower(device, arguments.quick)
    sizes = {"images": 4000, "size": [500, 375], "batch_size": 256, "backbones": ["vit-b-32"], "repeats": 2}
    if arguments.quick:
        sizes = {"images": 4, "size": [60, 50], "batch_size": 2, "backbones": ["playground"], "repeats": 1}
    workers = default_num_workers(device.type)
    sizes |= {"num_workers": workers, "precisions": ["float32", "bfloat16"]}
    yield features.measure_extraction(argparse.Namespace(**sizes), device)


def describe(device: torch.device) -> str:
    """Return the description of the device and the versions of the packages."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    rates = [f"{_rate(device, dtype) / 1e12:.1f} TFLOP/s in {name}" for name, dtype in DTYPES.items()]
    versions = ", ".join(f"{package} {version(package)}" for package in WHEELS)
    return f"{name}, CUDA {torch.version.cuda}: {', '.join(rates)}. {versions}."


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def _rate(device: torch.device, dtype: torch.dtype) -> float:
    size = 8192 if device.type == "cuda" else 256
    with torch.device(device):
        return matmul_rate(size, dtype=dtype)


def measure_text(device: torch.device, quick: bool) -> str:
    """Measure the features of all classes and the gradient of the context, as the benchmark of CoOp does."""
    clip, rows = build_random_clip().to(device), []
    for classes in (3,) if quick else (100, 1000):
        for autocast in (None, "bf16"):
            prompts = Prompts(classes, 2 if quick else 16, "end")
            settings = argparse.Namespace(
                name_length=2, chunk=100, repeats=1 if quick else 5, autocast=autocast, compile=False
            )
            arms, weights = Arms(clip, prompts, settings), random_tensor(classes, 512, seed=1).to(device)
            ours, (found, gradient) = fastest(partial(arms.text, weights), settings.repeats)
            with arms.autocast():  # the reference implementation trains in half precision on a GPU, too
                theirs, (expected, expected_gradient) = fastest(
                    partial(arms.full_length_text, weights), settings.repeats
                )
            rows.append(
                [
                    str(classes),
                    autocast or "fp32",
                    f"{theirs * 1000:.1f}",
                    f"{ours * 1000:.1f}",
                    f"{theirs / ours:.1f}",
                    relative_difference(found, expected),
                    relative_difference(gradient, expected_gradient),
                ]
            )
    header = ["classes", "precision", "full-length ms", "ours ms", "times faster", "features differ"]
    header += ["gradients differ"]
    return "### Text side of a training step\n\nBoth implementations in the same precision.\n\n" + markdown_table(
        header, rows
    )


@torch.no_grad()
def measure_tower(device: torch.device, quick: bool) -> str:
    """Measure images per second of the image towers in float32 and under autocast to bfloat16."""
    rows = []
    for name, patch in {"vit-b-32": 32}.items() if quick else CLIP_SHAPES.items():
        clip = build_random_clip(patch).to(device)
        pixels = random_tensor(2 if quick else 256, 3, 224, 224, seed=0).to(device)

        def encode(clip: torch.nn.Module, pixels: torch.Tensor, is_half: bool) -> torch.Tensor:
            with torch.autocast(pixels.device.type, torch.bfloat16, enabled=is_half):
                return clip.get_image_features(pixel_values=pixels).pooler_output.float()  # type: ignore[operator]

        arms = [partial(encode, clip, pixels, is_half) for is_half in (False, True)]
        encode(clip, pixels, True)  # warm-up
        (full, exact), (half, rounded) = fastest_in_turn(arms, 1 if quick else 5)
        rates = [len(pixels) / seconds for seconds in (full, half)]
        distance = cosine_distances(rounded, exact).max().item()
        rows.append([name, *(f"{rate:.0f}" for rate in rates), f"{full / half:.1f}", f"{distance:.1e}"])
    header = ["shapes", "float32 images/s", "bfloat16 images/s", "times faster", "largest cosine distance"]
    return "### Image tower\n\n" + markdown_table(header, rows)
