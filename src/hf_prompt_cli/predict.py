"""Classify images or videos, or folders of them, with a trained model; or find the region that a phrase means, the
videos that a sentence describes, or the answer to a question about a video; or write about images.

hf-prompt predict runs/coop photo.jpg other.jpg --top_k 5
hf-prompt predict runs/coop photos/ --csv predictions.csv
hf-prompt predict openai/clip-vit-base-patch32 photos/ --class_names names.txt
hf-prompt predict runs/action_clip clip.mp4 --frame_strip clip.png
hf-prompt predict runs/cpt photo.jpg --text "the horse on the left" --box 10 20 90 120 --box 95 30 180 140
hf-prompt predict runs/mantis --image front.jpg --image back.jpg --title "a mug" --num_beams 4
hf-prompt predict runs/retrieval clips/ --text "a ball rolls to the left" --index features --drawing found.png
hf-prompt predict runs/answers clip.mp4 --question "what colour is the ball?" --frame_strip clip.png

With --class_names the model may be a backbone, which then classifies by hand-written prompts without any training; a
trained prompt that all classes share takes the new names.

What the model takes stands in its configuration. A video is a file, or a folder of its frames as
pictures. Of files given by name the best classes are printed; of folders, how many files went to each class. Scores
are the probabilities that pipeline("image-classification") or pipeline("video-classification") gives; where a video
may have several labels, each class's own.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import AutoConfig, Pipeline
from transformers.utils import logging

import hf_prompt_models  # noqa: F401  registers the methods with the Auto classes
from hf_prompt_cli.console import print_json
from hf_prompt_cli.ending import AGAIN, ending
from hf_prompt_cli.parsing import examples_parser, output_file, parse, refuse_flags
from hf_prompt_cli.prediction_rows import answered, drawn, kept_as_csv, summarise
from hf_prompt_models.backbones.packaged import PLAYGROUND
from hf_prompt_models.data.class_names_file import read_class_names
from hf_prompt_models.modeling_clip_utils import TemplatePromptModel
from hf_prompt_models.tasks.classification.prediction import VIDEOS, Kind, classify_files, kind_of_model
from hf_prompt_models.tasks.classification.templates import read_templates
from hf_prompt_models.tasks.classification.zero_shot import build_zero_shot, is_backbone, kind_of_files
from hf_prompt_models.tasks.text_generation.arguments import (
    DecodingArguments,
    add_decoding_arguments,
    given_decoding,
)
from hf_prompt_models.tasks.text_generation.evaluation import text_recipe, write_about
from hf_prompt_models.tasks.video_classification.frame_strip import strip_files
from hf_prompt_models.tasks.video_text.prediction import (
    answer_question,
    find_videos_by_text,
    takes_videos_with_texts,
)
from hf_prompt_models.tasks.visual_grounding.prediction import ground_phrase
from hf_prompt_models.tasks.visual_grounding.training import grounds_phrases
from hf_prompt_models.training.foreign_checkpoints import is_hub_id
from hf_prompt_models.training.run_folder import describe_interrupted, holds_model, model_directory
from hf_prompt_models.utils.boxes import BOX_FORMATS
from hf_prompt_models.utils.files import UnreadableFileError


DEFAULT_TOP_K = 5

FOR_FILES = frozenset({"csv", "frame_strip", "batch_size", "num_workers", "on_unreadable"})
"""Flags for models that answer about many files."""
FOR_REGIONS = frozenset({"boxes", "box_format", "masks", "proposals", "drawing"})
FOR_TEXTS = frozenset({"num_return_sequences", "blind", "dtype", "device_map"}) | {
    each.name for each in fields(DecodingArguments)
}


def parsers() -> dict[str, argparse.ArgumentParser]:
    parser = examples_parser("hf-prompt predict", __doc__)
    parser.add_argument("model", help="a model folder; with --class_names also Hub id or folder of a backbone")
    parser.add_argument(
        "files",
        nargs="*",
        metavar="PATH",
        help="image or video files, folders of a video's frames, or folders, whose images or videos at any depth are "
        "taken; or lists of them: .txt with a path a line, .csv or .jsonl with a column `path`, `image` or `video`",
    )
    parser.add_argument(
        "--class_names",
        metavar="FILE",
        help="classify into these classes: a name a line, rows `folder,name`, or JSON. With --backbone in place of a "
        "model, its zero-shot classifier is used",
    )
    parser.add_argument(
        "--templates",
        nargs="+",
        metavar="TEMPLATE",
        help="hand-written prompts of a zero-shot classifier, as for `hf-prompt zero_shot`",
    )
    parser.add_argument("--top_k", type=int, default=DEFAULT_TOP_K, help="classes to give for each file (default: 5)")
    parser.add_argument("--json", action="store_true", help="print JSON: a list with an entry for each file")
    parser.add_argument(
        "--csv",
        metavar="FILE",
        type=output_file,
        help="write a table with the columns image or video, rank, label, score: for each file top_k rows, the best "
        "(rank 1) first; with --top_k 1, a row a file",
    )
    parser.add_argument(
        "--frame_strip",
        metavar="FILE_OR_DIR",
        help="videos: draw the frames that the model saw and its best classes, as FILE.png of one video, or in a "
        "folder, one picture a video",
    )
    parser.add_argument("--batch_size", type=int, help="files classified at a time (default: 32 images, or 8 videos)")
    parser.add_argument("--num_workers", type=int, default=0, help="processes that decode files (default: 0, none)")
    parser.add_argument(
        "--on_unreadable",
        choices=["refuse", "skip"],
        default="refuse",
        help="files that cannot be decoded: stop and list them, or name, count and skip them",
    )
    parser.add_argument(
        "--backbone",
        metavar="DIR",
        help="where the backbone is now, if it moved since training; `playground`: the package's own",
    )
    grounding = parser.add_argument_group("models that ground phrases")
    grounding.add_argument(
        "--text", metavar="PHRASE", help="what to find in the image; models that search videos: the sentence"
    )
    grounding.add_argument(
        "--box",
        dest="boxes",
        nargs=4,
        type=float,
        action="append",
        metavar=("X1", "Y1", "X2", "Y2"),
        help="a candidate region, in pixels; once for each",
    )
    grounding.add_argument(
        "--box_format", choices=BOX_FORMATS, default="xyxy", help="xywh: boxes are X Y WIDTH HEIGHT (default: xyxy)"
    )
    grounding.add_argument("--masks", nargs="+", metavar="FILE", help="instead, an image for each, not black inside")
    grounding.add_argument(
        "--proposals", metavar="MODEL", help="instead, an object-detection or mask-generation model that finds them"
    )
    grounding.add_argument(
        "--drawing",
        metavar="FILE",
        help="the picture with the answer (default: IMAGE-grounded.png, in this folder); of videos that were found, "
        "their frames (default: none)",
    )
    writing = parser.add_argument_group("models that write texts")
    writing.add_argument("--image", dest="images", action="append", metavar="FILE", help="a picture; once for each")
    writing.add_argument(
        "--title", metavar="TEXT", help="the product's title, or what is asked; <image> may stand where a picture goes"
    )
    writing.add_argument("--num_return_sequences", type=int, default=1, help="texts to write (default: 1)")
    writing.add_argument("--blind", action="store_true", help="show black pictures instead")
    writing.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], help="of the language model's weights")
    writing.add_argument("--device_map", help="where the language model's parts go: auto spreads them, by accelerate")
    add_decoding_arguments(writing)
    texts = parser.add_argument_group("models over videos with texts")
    texts.add_argument("--question", help="what to answer about each video")
    texts.add_argument("--index", metavar="DIR", help="a folder to keep the videos' features in, for the next --text")
    return {"predict": parser}


def main(argv: Sequence[str]) -> int:
    parser = parsers()["predict"]
    arguments = parse(parser, argv)
    if arguments.top_k < 1:
        parser.error(f"--top_k is a number of classes, at least 1; got {arguments.top_k}")
    if arguments.batch_size is not None and arguments.batch_size < 1:
        parser.error(f"--batch_size is a number of files, at least 1; got {arguments.batch_size}")
    if arguments.num_workers < 0:
        parser.error(f"--num_workers is a number of processes, or 0 for none; got {arguments.num_workers}")
    logging.disable_progress_bar()
    with ending(lambda: kept(arguments), AGAIN):
        predict(arguments)
    return 0


def predict(arguments: argparse.Namespace) -> None:
    """Whatever the model does."""
    if arguments.templates is not None and arguments.class_names is None:
        raise ValueError("--templates goes with --class_names: give both.")
    if (backbone := raw_backbone(arguments)) is not None:
        classify_without_training(arguments, backbone)
        return
    run = arguments.model
    arguments.model = str(directory := model_directory(run))
    if said := describe_interrupted(run, {"-": directory}):
        print(said, file=sys.stderr)
    writes, grounds = text_recipe(arguments.model) is not None, grounds_phrases(arguments.model)
    if arguments.class_names is not None and (writes or grounds or takes_videos_with_texts(arguments.model)):
        raise ValueError(f"--class_names is for models that classify, and {arguments.model} does not.")
    if writes:
        refuse(arguments, FOR_FILES | FOR_REGIONS | {"text", "question", "index", "top_k"}, "generates text")
        write(arguments)
        return
    check_files(arguments)
    if grounds:
        refuse(arguments, FOR_FILES | FOR_TEXTS | {"question", "index"}, "grounds phrases")
        ground(arguments)
    elif takes_videos_with_texts(arguments.model):
        others = {"num_workers", "backbone", "boxes", "masks", "proposals"}
        others |= {"batch_size"} if arguments.text is None else {"on_unreadable"}
        refuse(arguments, FOR_TEXTS | others, "searches videos or answers questions about them")
        search_or_answer(arguments)
    else:
        classify(arguments, kind_of_model(arguments.model), load_classifier)


def refuse(arguments: argparse.Namespace, names: Collection[str], does: str) -> None:
    """Refuse flags that do not apply to the model."""
    refuse_flags(parsers()["predict"], arguments, names, arguments.model, does)


def check_files(arguments: argparse.Namespace) -> None:
    """Refuse flags of models that write texts, and a command line without files."""
    if arguments.images is not None or arguments.title is not None:
        raise ValueError(f"--image and --title are for models that write texts, and {arguments.model} does not.")
    if not arguments.files:
        raise ValueError("Name files, or folders of them, behind the model.")


def raw_backbone(arguments: argparse.Namespace) -> str | None:
    """Return the backbone that is to classify without any training; `None` where a model of this package is named.

    It is named as the model, or by --backbone, and then all paths are files.
    """
    model = arguments.model
    if arguments.class_names is None:
        return None
    if arguments.backbone is not None and not holds_model(model):
        arguments.files.insert(0, model)
        arguments.model = arguments.backbone
    elif model != PLAYGROUND and (not holds_model(model) if os.path.exists(model) else not is_hub_id(model)):
        return None
    return arguments.model if is_backbone(arguments.model) else None


def classify_without_training(arguments: argparse.Namespace, backbone: str) -> None:
    check_files(arguments)
    kind = kind_of_files(arguments.files)

    def load(arguments: argparse.Namespace, kind: Kind) -> Pipeline:
        model = build_zero_shot(kind, backbone, arguments.class_names, arguments.templates)
        return kind.classifier_of(model, model.processor.image_processor)

    classify(arguments, kind, load)


def load_classifier(arguments: argparse.Namespace, kind: Kind) -> Pipeline:
    """Load a trained model, with the classes of --class_names, and the hand-written prompts of --templates."""
    classifier = kind.load_classifier(arguments.model, arguments.backbone)
    if arguments.class_names is not None:
        templates = {} if arguments.templates is None else {"templates": read_templates(arguments.templates)}
        if templates and not isinstance(classifier.model, TemplatePromptModel):
            raise ValueError(f"--templates is for hand-written prompts, and {arguments.model} has a learned one.")
        model: Any = classifier.model
        model.set_classes(read_class_names(arguments.class_names), **templates)
    return classifier


def kept(arguments: argparse.Namespace) -> str:
    """What an unfinished command leaves: tables and indices are moved into place when they are whole."""
    files = [file for file in (arguments.csv, arguments.drawing) if file is not None]
    earlier = [file for file in files if Path(file).exists()]
    unwritten = [file for file in files if file not in earlier]
    said = f"{arguments.model} is as it was" + (f", and so is {' and '.join(earlier)}" if earlier else "")
    return f"{said}{'; not written: ' + ' and '.join(unwritten) if unwritten else ''}."


def write(arguments: argparse.Namespace) -> None:
    images = [*arguments.files, *(arguments.images or [])]
    if not images and not arguments.title:
        raise ValueError(
            f"{arguments.model} writes about pictures: name them, --image FILE, and a --title if it has one."
        )
    if arguments.num_return_sequences < 1:
        raise ValueError(f"--num_return_sequences is at least 1; got {arguments.num_return_sequences}.")
    loading = {name: getattr(arguments, name) for name in ("dtype", "device_map") if getattr(arguments, name)}
    texts = write_about(
        arguments.model,
        images,
        arguments.title or "",
        given_decoding(arguments),
        arguments.num_return_sequences,
        arguments.blind,
        language_model=arguments.backbone,
        **loading,
    )
    if arguments.json:
        print_json([{"images": images, "title": arguments.title, "generated": texts}])
        return
    print("\n".join(texts))


def classify(arguments: argparse.Namespace, kind: Kind, load: Callable[[argparse.Namespace, Kind], Pipeline]) -> None:
    directory = arguments.model
    refuse(arguments, FOR_TEXTS | FOR_REGIONS, f"classifies {kind.name}s")
    for flag, value in (("--text", arguments.text), ("--question", arguments.question), ("--index", arguments.index)):
        if value is not None:
            raise ValueError(f"{flag} is for models that read sentences, and {directory} classifies {kind.name}s.")
    if arguments.frame_strip and kind is not VIDEOS:
        raise ValueError(f"--frame_strip draws the frames of videos, and {directory} classifies {kind.name}s.")
    files = kind.list_files(arguments.files)
    has_folders = files != arguments.files
    listed = len(files)
    classifier = load(arguments, kind)  # first: checking many files takes its time
    if arguments.top_k > max(DEFAULT_TOP_K, classes := classifier.model.config.num_labels):
        print(f"--top_k is {arguments.top_k}, and the model has {classes} classes: all are given.", file=sys.stderr)
    files = kind.readable(files, arguments.on_unreadable, progress=has_folders)
    strips = strip_files(arguments.frame_strip, files) if arguments.frame_strip else []
    results = classify_files(
        classifier,
        kind.prepare(files, classifier),
        arguments.top_k,
        batch_size=arguments.batch_size or kind.batch_size,
        num_workers=arguments.num_workers,
    )
    bar = tqdm(results, total=len(files), desc="Predictions", leave=False, disable=not has_folders)
    skipped: list[UnreadableFileError] = []
    predictions = answered(files, bar, arguments.on_unreadable, skipped, kind.name)
    if arguments.csv:
        predictions = kept_as_csv(predictions, arguments.csv, kind.name)
    if strips:
        predictions = drawn(predictions, dict(zip(files, strips, strict=True)), classifier.model.config.num_frames)

    if arguments.json:
        entries = [{kind.name: path, "predictions": classes} for path, classes in predictions]
        print_json(entries)
        return
    if has_folders:
        print(summarise(Counter(classes[0]["label"] for _, classes in predictions), kind.name))
    else:
        for path, classes in list(predictions):
            print(path)
            for entry in classes:
                print(f"  {entry['score']:7.2%}  {entry['label']}")
    if left_out := listed - len(files) + len(skipped):
        print(f"Left out, as they cannot be read: {left_out} of {listed} {kind.name}s.")
    if arguments.csv:
        kept = min(arguments.top_k, len(classifier.model.config.id2label))
        rows = f"The {kept} best classes" if kept > 1 else "The best class"
        print(f"\n{rows} of each {kind.name}, with scores: {arguments.csv}")
    if strips:
        print(f"\nThe frames that the model saw are in {arguments.frame_strip}.")


def ground(arguments: argparse.Namespace) -> None:
    if arguments.text is None or len(arguments.files) != 1:
        raise ValueError(f"{arguments.model} grounds phrases: pass one image, and the phrase as --text.")
    if (arguments.boxes is not None) + (arguments.masks is not None) + (arguments.proposals is not None) != 1:
        raise ValueError("Say where candidate regions are: --box once for each, or --masks, or --proposals.")
    image = arguments.files[0]
    drawing = arguments.drawing or f"{Path(image).stem}-grounded.png"
    answers = ground_phrase(
        arguments.model,
        image,
        arguments.text,
        drawing,
        boxes=arguments.boxes,
        masks=arguments.masks,
        proposals=arguments.proposals,
        backbone=arguments.backbone,
        box_format=arguments.box_format,
    )
    if arguments.json:
        print_json([{"image": image, "predictions": answers}])
        return
    print(f"{image}: {arguments.text}; regions as (x1, y1, x2, y2)")
    for answer in answers[: arguments.top_k]:
        box = answer["box"]
        corners = ", ".join(f"{box[side]:g}" for side in ("xmin", "ymin", "xmax", "ymax"))
        print(f"  {answer['score']:7.2%}  ({corners})")
    print(f"\nThe answer is drawn in {drawing}.")


def search_or_answer(arguments: argparse.Namespace) -> None:
    if (arguments.text is None) == (arguments.question is None):
        raise ValueError(f"{arguments.model} takes videos with a sentence: pass --text to search them, or --question.")
    of_others = {"--csv": arguments.csv}
    of_others |= {"--frame_strip": arguments.frame_strip} if arguments.text is not None else {}
    of_others |= {} if arguments.text is not None else {"--index": arguments.index, "--drawing": arguments.drawing}
    if given := [flag for flag, value in of_others.items() if value is not None]:
        asked = "--text" if arguments.text is not None else "--question"
        raise ValueError(f"{given[0]} does not go with {asked}: leave it out.")
    directory = arguments.model
    if arguments.text is not None:
        best, index = find_videos_by_text(
            directory,
            arguments.files,
            arguments.text,
            arguments.top_k,
            arguments.index,
            arguments.drawing,
            batch_size=arguments.batch_size or 8,
        )
        if arguments.json:
            print_json({"text": arguments.text, "videos": best})
            return
        print(f"{arguments.text}: among {len(index.names)} videos")
        print("\n".join(f"  {each['score']:7.2%}  {each['video']}" for each in best))
        if index.skipped:
            print(
                f"Skipped, as they cannot be read: {len(index.skipped)} videos, such as {next(iter(index.skipped))}."
            )
        if arguments.drawing:
            print(f"\nTheir frames are in {arguments.drawing}.")
        return
    answers = answer_question(directory, arguments.files, arguments.question, arguments.top_k, arguments.on_unreadable)
    if arguments.frame_strip:
        strips = strip_files(arguments.frame_strip, [file for file, _ in answers])
        num_frames = AutoConfig.from_pretrained(directory).num_frames
        files = [file for file, _ in answers]
        answers = list(drawn(iter(answers), dict(zip(files, strips, strict=True)), num_frames))
    if arguments.json:
        entries = [{"video": file, "predictions": best} for file, best in answers]
        print_json(entries)
        return
    for file, best in answers:
        print(f"{file}: {arguments.question}")
        print("\n".join(f"  {each['score']:7.2%}  {each['label']}" for each in best))
    if arguments.frame_strip:
        print(f"\nThe frames that the model saw are in {arguments.frame_strip}.")
