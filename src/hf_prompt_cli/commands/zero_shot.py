r"""Write a zero-shot classifier: a backbone with your class names in hand-written prompts, without training.

hf-prompt zero_shot --backbone openai/clip-vit-base-patch32 --class_names names.txt --output_dir runs/zero_shot
hf-prompt zero_shot --backbone openai/clip-vit-base-patch32 --class_names names.txt --templates imagenet_80 \
    "a sketch of a {}." --output_dir runs/zero_shot
hf-prompt zero_shot --backbone openai/clip-vit-base-patch32 --class_names names.txt --class_prompts sentences.json \
    --output_dir runs/zero_shot
hf-prompt zero_shot --backbone openai/clip-vit-base-patch32 --class_names actions.txt --kind video --output_dir runs/zs

The model is used like a trained one, by predict, evaluate, app and export. A file of class names has one name per
line, rows `folder,name`, or is JSON.
"""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers.utils import logging

import hf_prompt_models  # noqa: F401  registers the methods with the Auto classes
from hf_prompt_cli.ending import ending
from hf_prompt_cli.parsing import examples_parser, parse
from hf_prompt_models.data.class_names_file import read_class_names
from hf_prompt_models.hub.model_card import CARD_FILE, make_card, write_card
from hf_prompt_models.tasks.base import task_named
from hf_prompt_models.tasks.classification.base import ClassificationTask
from hf_prompt_models.tasks.classification.class_prompts import (
    add_class_prompts_argument,
    backbone_tokenizer,
    read_sentences,
)
from hf_prompt_models.tasks.classification.templates import TEMPLATE_LISTS, read_templates


SHOWN_CLASSES = 5
KINDS = ("image", "video")


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of this command by the words that call it."""
    parser = examples_parser("hf-prompt zero_shot", __doc__)
    parser.add_argument(
        "--backbone",
        required=True,
        help="Hub id or folder of a CLIP, SigLIP or similar model (docs/choosing.md lists the types); `playground`: "
        "the tiny model that ships with the package",
    )
    parser.add_argument("--class_names", required=True, metavar="FILE", help="file with the class names")
    parser.add_argument(
        "--templates",
        nargs="+",
        metavar="TEMPLATE",
        help="hand-written prompts: sentences with {} for the class name, a text file with one sentence per line, or "
        f"a published list ({', '.join(TEMPLATE_LISTS)}); several prompts form an ensemble. Default: "
        '"a photo of a {}.", for videos ActionCLIP\'s 16 prompts',
    )
    add_class_prompts_argument(parser, "sentences about the classes")
    parser.add_argument("--kind", choices=KINDS, default="image", help="kind of files to classify (default: image)")
    parser.add_argument(
        "--save_backbone",
        action="store_true",
        help="also save the backbone, so that the folder can be loaded without it",
    )
    parser.add_argument("--output_dir", required=True, metavar="DIR", help="new folder for the model")
    return {"zero_shot": parser}


def main(argv: Sequence[str]) -> int:
    """Run this command and return its exit code."""
    arguments = parse(parsers()["zero_shot"], argv)
    logging.disable_progress_bar()
    with ending(lambda: f"No model was saved to {arguments.output_dir}."):
        print(write_zero_shot(arguments))
    return 0


def write_zero_shot(arguments: argparse.Namespace) -> str:
    """Write the model with its card, and return the lines to print.

    Args:
        arguments: The parsed command line.

    Raises:
        ValueError: If the folder is not empty.
    """
    directory, task = Path(arguments.output_dir), task_named(f"{arguments.kind}-classification")
    assert isinstance(task, ClassificationTask)
    if directory.is_dir() and any(directory.iterdir()):
        raise ValueError(f"{directory} already contains files. Choose a new --output_dir.")
    templates = None if arguments.templates is None else read_templates(arguments.templates)
    names, class_prompts = read_class_names(arguments.class_names), None
    if arguments.class_prompts is not None:
        class_prompts = read_sentences(arguments.class_prompts, names, backbone_tokenizer(arguments.backbone))
    model = task.build_zero_shot(arguments.backbone, names, templates, class_prompts)
    model.save_pretrained(directory, save_backbone=arguments.save_backbone)
    write_card(make_card(model.describe_checkpoint()), directory / CARD_FILE)
    shown = ", ".join(names[:SHOWN_CLASSES]) + (", …" if len(names) > SHOWN_CLASSES else "")
    folder = shlex.quote(str(directory))
    return "\n".join(
        [
            f"{directory}: a zero-shot classifier for {arguments.kind}s",
            f"  {len(names)} classes: {shown}",
            *describe_prompts(arguments, model),
            "",
            f"Predict with: hf-prompt predict {folder} {'photo.jpg' if arguments.kind == 'image' else 'clip.mp4'}",
            f"Evaluate with: hf-prompt evaluate {folder} --test_dir DIR",
            f"Try it with: hf-prompt app {folder}",
        ]
    )


def describe_prompts(arguments: argparse.Namespace, model: Any) -> list[str]:
    """Return the lines about the templates and sentences of a model that was made with these arguments."""
    lines, templates = [], model.config.templates
    if templates:
        one = len(templates) == 1
        lines.append(f"  1 template: {templates[0]}" if one else f"  {len(templates)} templates: {templates[0]}, …")
    if arguments.class_prompts is not None:
        number = sum(map(len, model.config.class_prompts))
        lines.append(f"  {number} sentences about the classes: {arguments.class_prompts}")
    return lines
