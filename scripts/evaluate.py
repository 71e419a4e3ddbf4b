#!/usr/bin/env python
"""Test a trained model, or each seed's model of a run, on labelled images.

python scripts/evaluate.py runs/coop --test_dir D/test --json accuracy.json
"""

import argparse
import sys
from typing import Any

from transformers import AutoModelForImageClassification, AutoProcessor
from transformers.utils import logging

import hf_prompt_models  # noqa: F401  registers the methods with the Auto classes
from hf_prompt_models.data.files import write_json
from hf_prompt_models.data.image_dataset import ImageDataset
from hf_prompt_models.data.labelled_images import read_labelled_images
from hf_prompt_models.data.published_datasets import PUBLISHED_DATASETS, find_dataset
from hf_prompt_models.metrics.classification import mean_and_deviation
from hf_prompt_models.playground import CLIP_DIR
from hf_prompt_models.training.evaluation import classification_metrics, compute_image_features, predict
from hf_prompt_models.training.feature_cache import open_feature_cache
from hf_prompt_models.training.run_folder import model_directories
from hf_prompt_models.training.visual_grounding import evaluate_grounding, grounds_phrases, summarise_evaluation


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test_images", metavar="DIR", help="of phrases in a JSON file: the folder of the pictures")
    parser.add_argument("--test_proposals", metavar="FILE", help="of phrases: the candidate regions, a JSON file")
    parser.add_argument("run", help="a model folder, or the output folder of a run with several seeds")
    parser.add_argument("--test_dir", required=True, help="folder with a folder of images for each class")
    parser.add_argument(
        "--set_classes",
        action="store_true",
        help="classify into the test folder's own classes, whatever the prompt was learned for",
    )
    parser.add_argument("--dataset", choices=PUBLISHED_DATASETS, help="the folders are those of this data set")
    parser.add_argument(
        "--backbone",
        metavar="DIR",
        help="where the backbone is now, if it moved since training; `playground`: the package's own",
    )
    parser.add_argument("--feature_cache", metavar="DIR", help="where image features are kept; off: nowhere")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to a file")
    parser.add_argument("--batch_size", type=int, default=100)
    parser.add_argument("--on_unreadable", choices=["refuse", "skip"], default="refuse", help="unreadable images")
    arguments = parser.parse_args(argv)
    logging.disable_progress_bar()
    try:
        if grounds_phrases(arguments.run):  # its --test_dir has phrases
            print(report_grounding(arguments))
            return
        results = evaluate(arguments)
    except (ImportError, OSError, TypeError, ValueError) as error:
        sys.exit(f"error: {error}")
    for seed, metrics in results["seeds"].items():
        by_class = metrics["mean_class_accuracy"]
        print(f"seed {seed:<8} accuracy {metrics['accuracy']:.2%}, mean over classes {by_class:.2%}")
    if len(results["seeds"]) > 1:
        print(f"mean ± deviation  {results['accuracy']['mean']:.2%} ± {results['accuracy']['std']:.2%}")
    if arguments.json:
        write_json(arguments.json, results)


def report_grounding(arguments: argparse.Namespace) -> str:
    results = evaluate_grounding(
        arguments.run, arguments.test_dir, arguments.test_images, arguments.test_proposals, arguments.backbone
    )
    if arguments.json:
        write_json(arguments.json, results)
    return summarise_evaluation(results)


def evaluate(arguments: argparse.Namespace) -> dict:
    test = read_labelled_images(arguments.test_dir, "test")
    if arguments.dataset and find_dataset(arguments.test_dir) is None:
        test = test.named_as(PUBLISHED_DATASETS[arguments.dataset])
    test = test.readable(arguments.on_unreadable)
    moved = {}
    if arguments.backbone:
        moved["base_model_name_or_path"] = CLIP_DIR if arguments.backbone == "playground" else arguments.backbone
    seeds: dict[str, dict[str, Any]] = {}
    features = None
    for seed, directory in model_directories(arguments.run).items():
        model = AutoModelForImageClassification.from_pretrained(directory, **moved)
        processor = AutoProcessor.from_pretrained(directory)
        if arguments.set_classes:
            model.set_classes(test.class_names, tokenizer=processor)
        test = test.with_classes(model.config.class_names)
        if features is None:  # the seeds share one frozen backbone
            cache = open_feature_cache(arguments.feature_cache, model, processor.image_processor)
            dataset = ImageDataset(test, processor.image_processor)
            features = compute_image_features(model, dataset, arguments.batch_size, cache=cache)
        seeds[seed] = classification_metrics(predict(model, features), test.labels) | {"model": str(directory)}
    return {
        "data": {"test": test.source, "classes": len(test.class_names), "test_images": len(test)},
        "seeds": seeds,
        "accuracy": mean_and_deviation([metrics["accuracy"] for metrics in seeds.values()]),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
