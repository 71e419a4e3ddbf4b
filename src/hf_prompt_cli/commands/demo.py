"""Train a method on generated data with the tiny models that ship with the package, offline.

    hf-prompt demo                            images: a prompt trained on 16 images per class (CoOp), about a minute
    hf-prompt demo clips                      motions that cannot be seen in a single frame (ActionCLIP)
    hf-prompt demo scenes                     the region that a phrase means, after 0, 1, 4 and 16 examples (CPT)
    hf-prompt demo cards                      product descriptions, with images and with black images (MAnTiS)
    hf-prompt demo captioned_clips            video search by a sentence, and question answering (ALPRO)

Each demo is a list of commands that you can also run yourself; each command is printed before it runs. Running a demo
again replaces its models.
"""

import argparse
import shlex
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from hf_prompt_cli.parsing import did_you_mean, examples_parser, parse


KINDS = {
    "images": """
make_playground images {out}/pictures --seed 1
train coop --backbone playground --train_dir {out}/pictures/train --test_dir {out}/pictures/test --shots 16
    --min_crop_area 0.5 --output_dir {out}/coop
predict {out}/coop {out}/pictures/test/boat/000.png
""",
    "clips": """
make_playground clips {out}/clips --seed 1 --train_per_class 64 --test_per_class 25
train action_clip --backbone playground --train_dir {out}/clips/train --test_dir {out}/clips/test --flip false
    --rand_augment false --post_network mean --learning_rate 5e-4 --num_train_epochs 5 --output_dir {out}/mean
train action_clip --backbone playground --train_dir {out}/clips/train --test_dir {out}/clips/test --flip false
    --trainable head --post_network transf --learning_rate 1e-4 --num_train_epochs 100 --output_dir {out}/transf
predict {out}/transf {out}/clips/test/growing/000.mp4 --frame_strip {out}/growing.png
""",
    "scenes": """
make_playground scenes {out}/scenes --seed 1 --train 300 --test 300
train cpt --backbone playground --train_dir {out}/scenes/train --test_dir {out}/scenes/test --shots 1 --seeds 0
    --learning_rate 1e-4 --num_train_epochs 60 --loss listwise --sample_regions false --output_dir {out}/cpt-1
train cpt --backbone playground --train_dir {out}/scenes/train --test_dir {out}/scenes/test --shots 4 --seeds 0
    --learning_rate 1e-4 --num_train_epochs 60 --loss listwise --sample_regions false --output_dir {out}/cpt-4
train cpt --backbone playground --train_dir {out}/scenes/train --test_dir {out}/scenes/test --shots 16 --seeds 0
    --learning_rate 1e-4 --num_train_epochs 60 --loss listwise --sample_regions false --output_dir {out}/cpt-16
""",
    "cards": """
make_playground cards {out}/cards --seed 1 --train 4000 --test 200
train mantis --language_model playground --vision_model playground --blind false
    --train_file {out}/cards/train/products.jsonl --test_file {out}/cards/test/products.jsonl --validation_fraction 0
    --num_image_tokens 4 --learning_rate 1e-3 --vision_rate_factor 1 --projection_rate_factor 1 --num_train_epochs 5
    --per_device_train_batch_size 32 --num_beams 1 --max_new_tokens 16 --output_dir {out}/mantis-blind-false
train mantis --language_model playground --vision_model playground --blind true
    --train_file {out}/cards/train/products.jsonl --test_file {out}/cards/test/products.jsonl --validation_fraction 0
    --num_image_tokens 4 --learning_rate 1e-3 --vision_rate_factor 1 --projection_rate_factor 1 --num_train_epochs 5
    --per_device_train_batch_size 32 --num_beams 1 --max_new_tokens 16 --output_dir {out}/mantis-blind-true
make_playground score-cards --seeing {out}/mantis-blind-false/predictions.jsonl
    --blind {out}/mantis-blind-true/predictions.jsonl --images {out}/cards/test --picture {out}/cards.png
""",
    "captioned_clips": """
make_playground captioned_clips {out}/captioned --seed 1 --train 300 --test 100 --questions 6
train alpro --task retrieval --backbone playground --num_frames 4 --sampling segments
    --train_file {out}/captioned/train/captions.jsonl --test_file {out}/captioned/test/captions.jsonl
    --learning_rate 1e-4 --num_train_epochs 1 --per_device_train_batch_size 32 --output_dir {out}/retrieval
train alpro --task question-answering --backbone playground --num_frames 4 --sampling segments
    --train_file {out}/captioned/train/questions.jsonl --test_file {out}/captioned/test/questions.jsonl
    --rand_augment false --learning_rate 1e-3 --num_train_epochs 8 --per_device_train_batch_size 32
    --gradient_accumulation_steps 1 --output_dir {out}/answers
predict {out}/retrieval {out}/captioned/test --text 'a red key moves to the left' --index {out}/index
    --drawing {out}/found.png
""",
}
"""Commands of each demo, without `hf-prompt`. An indented line continues the line before."""

DURATIONS = {
    "images": "about a minute",
    "clips": "about 10 minutes",
    "scenes": "about 3 minutes",
    "cards": "about 10 minutes",
    "captioned_clips": "about 10 minutes",
}
"""Durations, estimated from shorter runs."""
OUTPUT_FLAGS = ("--output_dir", "--frame_strip", "--picture", "--index", "--drawing")

LOOK_AT = {
    "images": (["coop/confusion_matrix.png", "coop/learning_curve.png", "pictures/test"], "coop"),
    "clips": (["growing.png", "transf/confusion_matrix.png", "mean/confusion_matrix.png"], "transf"),
    "scenes": (["cpt-16/zero_shot_answers.png", "cpt-16/answers.png"], "cpt-16"),
    "cards": (["cards.png", "mantis-blind-false/written.png"], "mantis-blind-false"),
    "captioned_clips": (["found.png", "retrieval/answers.png", "answers/answers.png"], "retrieval"),
}
"""Most informative figures of each demo, and the model to try."""


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of this command by the words that call it."""
    parser = examples_parser("hf-prompt demo", __doc__)
    parser.add_argument(
        "kind", nargs="?", default="images", metavar="KIND", help=f"demo to run: {', '.join(KINDS)} (default: images)"
    )
    parser.add_argument(
        "--output_dir", default="hf-prompt-demo", metavar="DIR", help="folder to write to (default: hf-prompt-demo)"
    )
    return {"demo": parser}


def main(argv: Sequence[str]) -> int:
    """Run this command and return its exit code."""
    parser = parsers()["demo"]
    arguments = parse(parser, argv)
    if arguments.kind not in KINDS:
        hint = did_you_mean(arguments.kind, KINDS) or f" Choose one of: {', '.join(KINDS)}."
        parser.error(f"there is no demo {arguments.kind!r}.{hint}")
    print(announcement(arguments.kind, arguments.output_dir))
    for words in commands(arguments.kind, arguments.output_dir):
        print(f"\n$ {shlex.join(['hf-prompt', *words])}\n", flush=True)
        import_module(f"hf_prompt_cli.commands.{words[0]}").main(words[1:])
    pictures, model = LOOK_AT[arguments.kind]
    folder = Path(arguments.output_dir)
    print("\nLook at:", *(f"  {folder / picture}" for picture in pictures), sep="\n")
    print("Then open the web page: " + shlex.join(["hf-prompt", "app", str(folder / model)]))
    return 0


def announcement(kind: str, output_dir: str) -> str:
    """Return how long a demo takes, and which folders and files it writes."""
    written = []
    for words in commands(kind, output_dir):
        written += words[2:3] if words[0] == "make_playground" and not words[2].startswith("--") else []
        written += [words[words.index(flag) + 1] for flag in OUTPUT_FLAGS if flag in words]
    return f"This takes {DURATIONS[kind]} on two CPU cores, and writes {', '.join(written)}."


def commands(kind: str, output_dir: str) -> list[list[str]]:
    """Return the arguments of each `hf-prompt` command of a demo, in order."""
    lines = KINDS[kind].replace("\n    ", " ").strip().splitlines()
    typed = [[word.format(out=output_dir) for word in shlex.split(line)] for line in lines]
    return [[*words, "--overwrite_output_dir", "true"] if words[0] == "train" else words for words in typed]
