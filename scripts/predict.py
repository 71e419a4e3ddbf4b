#!/usr/bin/env python
"""Classify images with a trained model.

python scripts/predict.py runs/coop photo.jpg other.jpg --top_k 5
"""

import argparse
import json
import sys

from transformers import pipeline
from transformers.utils import logging

import hf_prompt_models  # noqa: F401  registers the methods with the Auto classes
from hf_prompt_models.data.images import load_image
from hf_prompt_models.training.few_shot import model_directories


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model folder")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files")
    parser.add_argument("--top_k", type=int, default=5, help="classes to show (default: 5)")
    parser.add_argument("--json", action="store_true", help="print JSON: a list with an entry for each image")
    arguments = parser.parse_args(argv)
    if arguments.top_k < 1:
        parser.error(f"--top_k is a number of classes, at least 1; got {arguments.top_k}")
    logging.disable_progress_bar()
    try:
        directories = model_directories(arguments.model)
        if len(directories) > 1:
            raise ValueError(
                f"{arguments.model} holds the models of {len(directories)} seeds: name one, such as "
                f"{next(iter(directories.values()))}."
            )
        images = [load_image(path) for path in arguments.images]
        classifier = pipeline("image-classification", model=str(*directories.values()))
        predictions = [classifier(image, top_k=arguments.top_k) for image in images]
    except (ImportError, OSError, TypeError, ValueError) as error:
        sys.exit(f"error: {error}")
    if arguments.json:
        entries = [{"image": path, "predictions": p} for path, p in zip(arguments.images, predictions, strict=True)]
        print(json.dumps(entries, indent=2, ensure_ascii=False))
        return
    for path, prediction in zip(arguments.images, predictions, strict=True):
        print(path)
        for entry in prediction:
            print(f"  {entry['score']:7.2%}  {entry['label']}")


if __name__ == "__main__":
    main(sys.argv[1:])
