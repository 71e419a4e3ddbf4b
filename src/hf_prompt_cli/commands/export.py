"""Write a trained image classifier as an ONNX file, for programs without PyTorch.

hf-prompt export runs/coop --output onnx/model.onnx

The file takes `pixel_values` (batch, 3, height, width), prepared as in the preprocessor_config.json next to it, and
returns `logits` (batch, classes). Its metadata contain the class names as `id2label`. Before the file is written, its
logits are compared with the model's on random pixels and generated images. Requires:
pip install 'hf_prompt_models[onnx]'.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification
from transformers.utils import logging

import hf_prompt_models  # noqa: F401  registers the methods with the Auto classes
from hf_prompt_cli.ending import ending
from hf_prompt_cli.parsing import examples_parser, parse
from hf_prompt_models.data.images.files import list_images
from hf_prompt_models.data.images.loading import load_image
from hf_prompt_models.playground import CLASS_NAMES, draw_example
from hf_prompt_models.tasks.image_classification.onnx_export import export_onnx
from hf_prompt_models.tasks.image_classification.task import check_image_classifier
from hf_prompt_models.training.run_folder import describe_interrupted, model_directory


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of this command by the words that call it."""
    parser = examples_parser("hf-prompt export", __doc__)
    parser.add_argument("model", help="model folder")
    parser.add_argument("--output", required=True, metavar="FILE", help="file to write, such as model.onnx")
    parser.add_argument(
        "--opset", type=int, help="version of the ONNX operator set, at least 18 (default: torch's choice)"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-4,
        help="maximum difference of logits, relative to the largest logit (default: 1e-4)",
    )
    parser.add_argument(
        "--images",
        nargs="+",
        metavar="PATH",
        help="images or folders to compare the logits on, instead of generated images",
    )
    parser.add_argument(
        "--backbone",
        metavar="DIR",
        help="current location of the backbone, if it moved since training; `playground`: the tiny model "
        "that ships with the package",
    )
    return {"export": parser}


def main(argv: Sequence[str]) -> int:
    """Run this command and return its exit code."""
    arguments = parse(parsers()["export"], argv)
    logging.disable_progress_bar()
    with ending(lambda: f"{arguments.model} and {arguments.output} were not changed."):
        export(arguments)
    return 0


def export(arguments: argparse.Namespace) -> None:
    """Write the ONNX file, and print its size and its largest difference from the model.

    Args:
        arguments: The parsed command line.
    """
    directory = model_directory(arguments.model)
    if said := describe_interrupted(arguments.model, {"-": directory}):
        print(said, file=sys.stderr)
    check_image_classifier(directory)
    if arguments.images:
        pictures = [load_image(path) for path in list_images(arguments.images)]
    else:
        pictures = [draw_example(name, "test", seed=0, index=0, size=256) for name in CLASS_NAMES]
    moved = {}
    if arguments.backbone:
        moved["base_model_name_or_path"] = arguments.backbone
    # Eager attention makes the smallest graph. ONNX runs float32 on any machine, whatever the checkpoint's data type.
    model = AutoModelForImageClassification.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager", **moved
    )
    image_processor = AutoImageProcessor.from_pretrained(directory)
    report = export_onnx(
        model, arguments.output, image_processor, pictures, opset=arguments.opset, tolerance=arguments.tolerance
    )
    output = Path(arguments.output)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, opset {report.opset}, {model.config.num_labels} classes")
    print(f"{output.with_name('preprocessor_config.json')}: settings of the image preprocessing")
    print(
        f"On {report.checked_images} images, one at a time and in batches of three, the logits of onnxruntime "
        f"differ from those of the model by at most {report.absolute_difference:.1e}, which is "
        f"{report.relative_difference:.1e} of the largest logit."
    )
