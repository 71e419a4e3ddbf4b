#!/usr/bin/env python
"""Write a trained image classifier as an ONNX file, for programs without PyTorch.

python scripts/export.py runs/coop --output onnx/model.onnx

The file takes `pixel_values` (batch, 3, height, width), made as preprocessor_config.json beside it says, and gives
`logits` (batch, classes); its metadata hold the classes' names as `id2label`. It is compared with the model, on random
and on drawn pictures, before it is moved into place. Needs pip install 'hf_prompt_models[onnx]'.
"""

import argparse
import sys
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoImageProcessor, AutoModelForImageClassification
from transformers.utils import logging

import hf_prompt_models  # noqa: F401  registers the methods with the Auto classes
from hf_prompt_models.data.image_files import list_images
from hf_prompt_models.data.images import load_image
from hf_prompt_models.onnx_export import export_onnx
from hf_prompt_models.playground import CLASS_NAMES, CLIP_DIR, draw_example
from hf_prompt_models.training.run_folder import model_directory


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model folder")
    parser.add_argument("--output", required=True, metavar="FILE", help="the file to write, such as model.onnx")
    parser.add_argument("--opset", type=int, help="version of ONNX's operator set, from 18 (default: torch's choice)")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-4,
        help="largest difference of logits, divided by the largest logit, that is let pass (default: 1e-4)",
    )
    parser.add_argument(
        "--images", nargs="+", metavar="PATH", help="images or folders to compare on, instead of drawn pictures"
    )
    parser.add_argument(
        "--backbone",
        metavar="DIR",
        help="where the backbone is now, if it moved since training; `playground`: the package's own",
    )
    arguments = parser.parse_args(argv)
    logging.disable_progress_bar()
    try:
        export(arguments)
    except (ImportError, OSError, StrictDataclassError, TypeError, ValueError) as error:
        sys.exit(f"error: {error}")


def export(arguments: argparse.Namespace) -> None:
    directory = model_directory(arguments.model)
    if arguments.images:
        pictures = [load_image(path) for path in list_images(arguments.images)]
    else:
        pictures = [draw_example(name, "test", seed=0, index=0, size=256) for name in CLASS_NAMES]
    moved = {}
    if arguments.backbone:
        moved["base_model_name_or_path"] = CLIP_DIR if arguments.backbone == "playground" else arguments.backbone
    # Eager attention makes the smallest graph; in float32 whatever the checkpoint's, as ONNX runs it on any machine.
    model = AutoModelForImageClassification.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager", **moved
    )
    image_processor = AutoImageProcessor.from_pretrained(directory)
    report = export_onnx(
        model, arguments.output, image_processor, pictures, opset=arguments.opset, tolerance=arguments.tolerance
    )
    output = Path(arguments.output)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, opset {report.opset}, {model.config.num_labels} classes")
    print(f"{output.with_name('preprocessor_config.json')}: how to prepare images")
    print(
        f"On {report.checked_images} images, one by one and by three, onnxruntime's logits differ from the model's by "
        f"{report.absolute_difference:.1e} at most, {report.relative_difference:.1e} of the largest logit."
    )


if __name__ == "__main__":
    main(sys.argv[1:])
