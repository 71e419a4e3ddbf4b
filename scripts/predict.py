#!/usr/bin/env python
"""Classify images, or folders of images, with a trained model.

python scripts/predict.py runs/coop photo.jpg other.jpg --top_k 5
python scripts/predict.py runs/coop photos/ --csv predictions.csv

Of images given by name the best classes are printed; of folders, how many images went to each class. Scores are the
probabilities that pipeline("image-classification") gives.
"""

import argparse
import csv
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tqdm.auto import tqdm
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline
from transformers.utils import logging

import hf_prompt_models  # noqa: F401  registers the methods with the Auto classes
from hf_prompt_models.data.files import replacing
from hf_prompt_models.data.image_files import list_images, readable_images
from hf_prompt_models.playground import CLIP_DIR
from hf_prompt_models.training.inference import classify_images
from hf_prompt_models.training.run_folder import model_directory


SUMMARY_CLASSES = 20

Predictions = Iterator[tuple[str, list[dict[str, Any]]]]
"""Images, each with its best classes as `pipeline()` gives them: `label` and `score`."""


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model folder")
    parser.add_argument(
        "images", nargs="+", metavar="PATH", help="image files, or folders, whose images at any depth are taken"
    )
    parser.add_argument("--top_k", type=int, default=5, help="classes to give for each image (default: 5)")
    parser.add_argument("--json", action="store_true", help="print JSON: a list with an entry for each image")
    parser.add_argument(
        "--csv",
        metavar="FILE",
        help="write a table with the columns image, rank, label, score: for each image top_k rows, the best (rank 1) "
        "first; with --top_k 1, a row an image",
    )
    parser.add_argument("--batch_size", type=int, default=32, help="images classified at a time (default: 32)")
    parser.add_argument("--num_workers", type=int, default=0, help="processes that decode images (default: 0, none)")
    parser.add_argument("--on_unreadable", choices=["refuse", "skip"], default="refuse", help="unreadable images")
    parser.add_argument(
        "--backbone",
        metavar="DIR",
        help="where the backbone is now, if it moved since training; `playground`: the package's own",
    )
    arguments = parser.parse_args(argv)
    if arguments.top_k < 1:
        parser.error(f"--top_k is a number of classes, at least 1; got {arguments.top_k}")
    if arguments.batch_size < 1:
        parser.error(f"--batch_size is a number of images, at least 1; got {arguments.batch_size}")
    if arguments.num_workers < 0:
        parser.error(f"--num_workers is a number of processes, or 0 for none; got {arguments.num_workers}")
    logging.disable_progress_bar()
    try:
        classify(arguments)
    except (ImportError, OSError, TypeError, ValueError) as error:
        sys.exit(f"error: {error}")


def classify(arguments: argparse.Namespace) -> None:
    directory = model_directory(arguments.model)
    has_folders = any(os.path.isdir(path) for path in arguments.images)
    images = readable_images(list_images(arguments.images), arguments.on_unreadable, progress=has_folders)
    moved = {}
    if arguments.backbone:
        moved["base_model_name_or_path"] = CLIP_DIR if arguments.backbone == "playground" else arguments.backbone
    model = AutoModelForImageClassification.from_pretrained(directory, **moved)
    image_processor = AutoImageProcessor.from_pretrained(directory)
    classifier = pipeline("image-classification", model=model, image_processor=image_processor)
    results = classify_images(
        classifier, images, arguments.top_k, batch_size=arguments.batch_size, num_workers=arguments.num_workers
    )
    bar = tqdm(results, total=len(images), desc="Predictions", leave=False, disable=not has_folders)
    predictions: Predictions = zip(images, bar, strict=True)
    if arguments.csv:
        predictions = kept_as_csv(predictions, arguments.csv)

    if arguments.json:
        entries = [{"image": path, "predictions": classes} for path, classes in predictions]
        print(json.dumps(entries, indent=2, ensure_ascii=False))
        return
    if has_folders:
        print(summarise(Counter(classes[0]["label"] for _, classes in predictions)))
    else:
        for path, classes in list(predictions):
            print(path)
            for entry in classes:
                print(f"  {entry['score']:7.2%}  {entry['label']}")
    if arguments.csv:
        print(f"\nEach image's classes and scores are in {arguments.csv}.")


def kept_as_csv(predictions: Predictions, path: str) -> Predictions:
    """The same predictions, written to a file as they go by."""
    with (
        replacing(path) as beside,
        # A file's name may be no text; the table is UTF-8 all the same.
        open(beside, "w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["image", "rank", "label", "score"])
        for image, classes in predictions:
            writer.writerows([image, rank, entry["label"], entry["score"]] for rank, entry in enumerate(classes, 1))
            yield image, classes


def summarise(counts: Counter[str]) -> str:
    """How many images went to each class, the most frequent first."""
    shown, others = counts.most_common(SUMMARY_CLASSES), len(counts) - SUMMARY_CLASSES
    lines = [f"  {count:7}  {count / counts.total():6.1%}  {label}" for label, count in shown]
    if others > 0:
        lines.append(f"  and {counts.total() - sum(count for _, count in shown)} in {others} other classes")
    return "\n".join([f"{counts.total()} images, by the best class:", *lines])


if __name__ == "__main__":
    main(sys.argv[1:])
