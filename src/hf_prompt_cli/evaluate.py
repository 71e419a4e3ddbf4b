"""Test a trained model, or each seed's model of a run, on images, videos, phrases, captions, questions or texts.

hf-prompt evaluate runs/coop --test_dir D/test --json accuracy.json
hf-prompt evaluate runs/action_clip --test_dir D/test --temporal_views 10 --spatial_views 3
hf-prompt evaluate runs/cpt --test_dir scenes/test
hf-prompt evaluate runs/mantis --test_file products.jsonl --num_beams 1
hf-prompt evaluate runs/alpro --test_file msrvtt_test.jsonl --test_videos videos --rerank 0

What the models take stands in their configuration. Of videos with several labels the mean average
precision is given.
"""

import argparse
import sys
from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers.utils import logging

import hf_prompt_models  # noqa: F401  registers the methods with the Auto classes
from hf_prompt_cli.ending import AGAIN, ending
from hf_prompt_cli.parsing import examples_parser, output_file, parse, refuse_flags
from hf_prompt_models.data.class_names_file import read_class_names_file
from hf_prompt_models.data.images.labelled import read_labelled_images
from hf_prompt_models.data.labelled import Files
from hf_prompt_models.data.published_datasets import PUBLISHED_DATASETS, find_dataset
from hf_prompt_models.data.videos.labelled import read_labelled_videos
from hf_prompt_models.metrics.classification import confusion_counts, mean_and_deviation
from hf_prompt_models.recipe_utils import TextGenerationRecipe
from hf_prompt_models.tasks.classification.evaluation import ModelsToTest, Tested, evaluate_images, evaluate_videos
from hf_prompt_models.tasks.classification.prediction import VIDEOS, kind_of_model
from hf_prompt_models.tasks.classification.predictions import write_predictions
from hf_prompt_models.tasks.classification.protocols import TestSet
from hf_prompt_models.tasks.classification.summary import shown_metrics
from hf_prompt_models.tasks.image_classification.features import guessing
from hf_prompt_models.tasks.text_generation.arguments import (
    DecodingArguments,
    add_decoding_arguments,
    given_decoding,
)
from hf_prompt_models.tasks.text_generation.evaluation import (
    evaluate_writing,
    summarise_writing_evaluation,
    text_recipe,
)
from hf_prompt_models.tasks.video_text import prediction as video_text_inference
from hf_prompt_models.tasks.video_text.evaluation import Loading
from hf_prompt_models.tasks.video_text.prediction import evaluate_video_text, takes_videos_with_texts
from hf_prompt_models.tasks.visual_grounding.training import evaluate_grounding, grounds_phrases, summarise_evaluation
from hf_prompt_models.training.foreign_checkpoints import check_backbone
from hf_prompt_models.training.plots import plot_confusion_matrix
from hf_prompt_models.training.run_folder import describe_interrupted, model_directories, predictions_file, seed_words
from hf_prompt_models.utils.boxes import BOX_FORMATS
from hf_prompt_models.utils.files import write_json


TITLES = {
    "accuracy": "accuracy",
    "top5_accuracy": "top-5",
    "mean_class_accuracy": "mean over classes",
    "mean_average_precision": "mean average precision",
}


FOR_CLASSES = frozenset(
    [
        "set_classes",
        "labels",
        "label_column",
        "image_column",
        "temporal_views",
        "spatial_views",
        "dataset",
        "feature_cache",
        "confusion_matrix",
    ]
)
FOR_TEXTS = frozenset(
    [
        "test_annotations",
        "blind",
        "induction",
        "repeats",
        "question",
        "shots",
        "shots_file",
        "shots_images",
        "shots_annotations",
        "dtype",
        "device_map",
    ]
) | {each.name for each in fields(DecodingArguments)}
FOR_VIDEO_TEXTS = frozenset({"test_videos", "rerank"})


def parsers() -> dict[str, argparse.ArgumentParser]:
    parser = examples_parser("hf-prompt evaluate", __doc__)
    parser.add_argument("run", help="a model folder, or the output folder of a run with several seeds")
    parser.add_argument(
        "--test_dir",
        "--test_file",
        required=True,
        help="what to test on, as for `hf-prompt train`: of labelled images or videos a folder with a folder for each "
        "class, or a list; of phrases, products, captions or questions a file",
    )
    parser.add_argument(
        "--set_classes",
        action="store_true",
        help="classify into the test set's own classes, whatever the prompt was learned for",
    )
    parser.add_argument(
        "--class_names",
        metavar="FILE",
        help="the model's names for the test set's class folders, as for `hf-prompt train`: rows `folder,name`, or a "
        "name a line in the order of the sorted folders",
    )
    parser.add_argument(
        "--labels", metavar="FILE", help="of videos in a list: the class names, a CSV file, as for `hf-prompt train`"
    )
    parser.add_argument(
        "--label_column",
        metavar="NAME",
        help="of images in a data set or a list (`metadata.csv`) with several columns of labels: the one to test with",
    )
    parser.add_argument("--image_column", metavar="NAME", help="likewise, the column with the images")
    parser.add_argument("--temporal_views", type=int, default=1, help="of videos: samples of frames to average")
    parser.add_argument("--spatial_views", type=int, default=1, choices=[1, 3], help="of videos: crops to average")
    parser.add_argument("--dataset", choices=PUBLISHED_DATASETS, help="the folders are those of this data set")
    parser.add_argument(
        "--backbone",
        metavar="DIR",
        help="where the backbone is now, if it moved since training; `playground`: the package's own",
    )
    parser.add_argument(
        "--feature_cache", metavar="DIR", help="where features of a frozen tower are kept; off: nowhere"
    )
    parser.add_argument("--json", metavar="FILE", type=output_file, help="also write the numbers to a file")
    parser.add_argument(
        "--predictions",
        metavar="FILE",
        type=output_file,
        help="also write the answer to each test example, from which the numbers can be counted again: CSV, or JSONL "
        "of generated texts; of several seeds one file each, `seed-<n>.` in front of its name",
    )
    parser.add_argument(
        "--confusion_matrix",
        metavar="FILE",
        help="also draw the confusion matrix, a PNG; of several seeds, their sum",
    )
    parser.add_argument("--batch_size", type=int, help="files at a time (default: 100 images, or 8 videos or phrases)")
    parser.add_argument("--num_workers", type=int, default=0, help="processes that decode files (default: 0, none)")
    parser.add_argument(
        "--on_unreadable",
        choices=["refuse", "skip"],
        default="refuse",
        help="files that cannot be decoded: stop and list them, or name, count and skip them",
    )
    grounding = parser.add_argument_group("models that ground phrases")
    grounding.add_argument(
        "--test_images", metavar="DIR", help="the folder of the pictures that --test_dir, a file, names"
    )
    grounding.add_argument("--test_proposals", metavar="FILE", help="the candidate regions, a JSON file")
    grounding.add_argument(
        "--box_format",
        choices=BOX_FORMATS,
        default="xywh",
        help="how files write boxes, in pixels: xywh is [x, y, width, height] (default), xyxy is [x1, y1, x2, y2]",
    )
    writing = parser.add_argument_group("models that write texts; --test_images is for them too")
    writing.add_argument("--test_annotations", metavar="FILE", help="the answers to VQA's questions")
    writing.add_argument("--blind", action="store_true", help="show black pictures instead")
    writing.add_argument("--induction", metavar="TEXT", help="Frozen: words in front of the first picture")
    writing.add_argument("--repeats", type=int, help="Frozen: how often examples come again")
    writing.add_argument("--question", metavar="TEXT", help="Frozen: what to ask instead of a list's own questions")
    writing.add_argument("--shots", type=int, help="Frozen: examples in front of each of VQA's questions")
    writing.add_argument("--shots_file", metavar="FILE", help="the questions that these are drawn from")
    writing.add_argument("--shots_images", metavar="DIR", help="the folder of their pictures")
    writing.add_argument("--shots_annotations", metavar="FILE", help="their answers")
    writing.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], help="of the language model's weights")
    writing.add_argument("--device_map", help="where the language model's parts go: auto spreads them, by accelerate")
    add_decoding_arguments(writing)
    texts = parser.add_argument_group("models over videos with texts")
    texts.add_argument("--test_videos", metavar="DIR", help="the folder of the videos that --test_file names")
    texts.add_argument(
        "--rerank",
        type=int,
        default=16,
        help="candidates that are read together with the query (default: 16); 0: all, as the released code does",
    )
    return {"evaluate": parser}


def main(argv: Sequence[str]) -> int:
    parser = parsers()["evaluate"]
    arguments = parse(parser, argv)
    for name, least in (("rerank", 0), ("batch_size", 1), ("num_workers", 0), ("temporal_views", 1)):
        if (value := getattr(arguments, name)) is not None and value < least:
            parser.error(f"--{name} is at least {least}; got {value}")
    logging.disable_progress_bar()
    with ending(lambda: f"{arguments.run} is as it was, and no results were written.", AGAIN):
        print(report(arguments))
    if written := written_files(arguments):
        print(f"\nWritten: {', '.join(map(str, written))}")
    return 0


def written_files(arguments: argparse.Namespace) -> list[Path]:
    """Return the files that a test wrote: of several seeds, each has its own predictions."""
    files = [Path(file) for file in (arguments.json, arguments.confusion_matrix) if file is not None]
    if arguments.predictions is None:
        return files
    directories = model_directories(arguments.run)
    tables = [predictions_file(arguments.predictions, seed, directories) for seed in directories]
    return [*tables, *files]


def report(arguments: argparse.Namespace) -> str:
    """Test, write what is asked for, and say in lines what came out."""
    directories = model_directories(arguments.run)
    if said := describe_interrupted(arguments.run, directories):
        print(said, file=sys.stderr)
    for directory in directories.values():
        check_backbone(directory, arguments.backbone)
    recipe, grounds = text_recipe(arguments.run), grounds_phrases(arguments.run)
    if arguments.class_names is not None and (recipe or grounds or takes_videos_with_texts(arguments.run)):
        raise ValueError(f"--class_names is for models that classify, and {arguments.run} does not: leave it out.")
    if recipe is not None:
        refuse(arguments, FOR_CLASSES | FOR_VIDEO_TEXTS | {"test_proposals", "box_format"}, "generates text")
        return report_writing(arguments, recipe)
    if grounds:  # its --test_dir has phrases
        refuse(arguments, FOR_CLASSES | FOR_TEXTS | FOR_VIDEO_TEXTS, "grounds phrases")
        return report_grounding(arguments)
    if takes_videos_with_texts(arguments.run):
        others = {"test_images", "test_proposals", "box_format", "backbone"}
        refuse(arguments, FOR_CLASSES | FOR_TEXTS | others, "searches videos or answers questions about them")
        return report_video_text(arguments)
    refuse(arguments, FOR_TEXTS | FOR_VIDEO_TEXTS | {"test_images", "test_proposals", "box_format"}, "classifies")
    return report_classification(arguments)


def refuse(arguments: argparse.Namespace, names: Collection[str], does: str) -> None:
    """Refuse flags that do not apply to the model."""
    refuse_flags(parsers()["evaluate"], arguments, names, arguments.run, does)


def report_classification(arguments: argparse.Namespace) -> str:
    results = evaluate(arguments)
    data, kind = results["data"], results["kind"]
    test = {"classes": data["classes"], "zero_shot": next(iter(results["seeds"].values()))}
    shown = [name for name in TITLES if name in shown_metrics(test)]
    counts = f"{data[f'test_{kind}s']} {kind}s of {data['classes']} classes"
    lines = [
        f"{counts}; {title}: {', '.join(f'{TITLES[name]} {guessed[name]:.2%}' for name in shown if name in guessed)}"
        for title, guessed in (("chance", results["chance"]),)
    ]
    frequent = results.get("most_frequent_class", 0.0)
    if frequent > results["chance"]["accuracy"] + 1e-9:
        lines.append(f"always the most frequent class: accuracy {frequent:.2%}")
    for seed, metrics in results["seeds"].items():
        lines.append(f"{seed_words(seed):<13} " + ", ".join(f"{TITLES[name]} {metrics[name]:.2%}" for name in shown))
    if len(results["seeds"]) > 1:
        lines.append(f"mean ± deviation  {results['accuracy']['mean']:.2%} ± {results['accuracy']['std']:.2%}")
    if arguments.json:
        write_json(arguments.json, results)
    return "\n".join(lines)


def report_writing(arguments: argparse.Namespace, recipe: TextGenerationRecipe[Any]) -> str:
    names = {each.name for each in fields(recipe.arguments_class)}
    settings = {name: getattr(arguments, name) for name in ("induction", "repeats", "question", "shots")}
    settings = {name: value for name, value in settings.items() if value is not None}
    if unknown := sorted(set(settings) - names):
        raise ValueError(f"--{unknown[0]} does not apply to {recipe.title}: leave it out.")
    if arguments.blind:
        settings["blind"] = True
    shots = None
    if arguments.shots_file is not None:
        shots = (arguments.shots_file, arguments.shots_images, arguments.shots_annotations)
    loading = {name: getattr(arguments, name) for name in ("dtype", "device_map") if getattr(arguments, name)}
    results = evaluate_writing(
        arguments.run,
        recipe,
        arguments.test_dir,
        arguments.test_images,
        arguments.test_annotations,
        shots,
        settings,
        given_decoding(arguments),
        arguments.predictions,
        arguments.on_unreadable,
        arguments.batch_size or 16,
        arguments.num_workers,
        language_model=arguments.backbone,
        **loading,
    )
    if arguments.json:
        write_json(arguments.json, results)
    return summarise_writing_evaluation(results)


def report_grounding(arguments: argparse.Namespace) -> str:
    results = evaluate_grounding(
        arguments.run,
        arguments.test_dir,
        arguments.test_images,
        arguments.test_proposals,
        arguments.backbone,
        arguments.batch_size or 8,
        arguments.num_workers,
        arguments.predictions,
        arguments.on_unreadable,
        arguments.box_format,
    )
    if arguments.json:
        write_json(arguments.json, results)
    return summarise_evaluation(results)


def report_video_text(arguments: argparse.Namespace) -> str:
    results = evaluate_video_text(
        arguments.run,
        arguments.test_dir,
        arguments.test_videos,
        arguments.rerank,
        arguments.on_unreadable,
        Loading(arguments.batch_size or 16, arguments.num_workers),
        arguments.predictions,
    )
    if arguments.json:
        write_json(arguments.json, results)
    return video_text_inference.summarise_evaluation(results)


def evaluate(arguments: argparse.Namespace) -> dict:
    directories = model_directories(arguments.run)
    models = ModelsToTest(
        directories,
        arguments.set_classes,
        arguments.backbone,
        arguments.feature_cache,
    )
    kind = kind_of_model(next(iter(directories.values())))
    tested = (test_videos if kind is VIDEOS else test_images)(models, arguments)
    first = next(iter(tested.values())).files
    if arguments.confusion_matrix:
        counts = [
            confusion_counts(each.scores.argmax(axis=-1), each.files.labels, len(first.class_names))
            for each in tested.values()
        ]
        plot_confusion_matrix(
            np.sum(counts, axis=0), first.class_names, arguments.confusion_matrix, kind.name, len(tested)
        )
    if arguments.predictions:
        for seed, each in tested.items():
            sets = {"test": TestSet(first.source, each.files, [])}
            write_predictions(predictions_file(arguments.predictions, seed, tested), sets, {"test": each.scores})
    return {
        "kind": kind.name,
        **guessing(first),
        "data": {"test": first.source, "classes": len(first.class_names), f"test_{kind.name}s": len(first)},
        "seeds": {seed: each.metrics | {"model": str(directories[seed])} for seed, each in tested.items()},
        "accuracy": mean_and_deviation([each.metrics["accuracy"] for each in tested.values()]),
    }


def test_images(models: ModelsToTest, arguments: argparse.Namespace) -> dict[str, Tested]:
    if arguments.labels or (arguments.temporal_views, arguments.spatial_views) != (1, 1):
        raise ValueError(f"--labels and views are of videos, and {arguments.run} classifies images: leave them out.")
    images = read_labelled_images(arguments.test_dir, "test", arguments.image_column, arguments.label_column)
    if arguments.dataset and find_dataset(arguments.test_dir) is None:
        images = images.named_as(PUBLISHED_DATASETS[arguments.dataset])
    images = renamed(images, arguments.class_names).readable(arguments.on_unreadable)
    return evaluate_images(models, images, arguments.batch_size or 100, arguments.num_workers, arguments.on_unreadable)


def renamed(files: Files, class_names: str | None) -> Files:
    """Return the files with the names that `--class_names` gives their class folders."""
    if class_names is None:
        return files
    names = read_class_names_file(class_names).of_classes(files.class_names, files.source, complete=False)
    return replace(files, class_names=names)


def test_videos(models: ModelsToTest, arguments: argparse.Namespace) -> dict[str, Tested]:
    for flag in ("image_column", "label_column"):
        if getattr(arguments, flag) is not None:
            raise ValueError(f"--{flag} is of images, and {arguments.run} classifies videos: leave it out.")
    if arguments.dataset:
        raise ValueError(f"--dataset names a data set of images, and {arguments.run} classifies videos: leave it out.")
    videos = read_labelled_videos(arguments.test_dir, "test", arguments.labels)
    if arguments.confusion_matrix and videos.multi_label:
        raise ValueError(f"--confusion_matrix is of one label each, and {videos.source} gives several: leave it out.")
    return evaluate_videos(
        models,
        renamed(videos, arguments.class_names).readable(arguments.on_unreadable),
        arguments.batch_size or VIDEOS.batch_size,
        arguments.num_workers,
        arguments.temporal_views,
        arguments.spatial_views,
        arguments.on_unreadable,
    )
