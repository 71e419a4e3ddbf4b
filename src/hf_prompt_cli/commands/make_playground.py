"""Generate the images, clips, scenes and cards of the demos, or score descriptions of cards.

    hf-prompt make_playground images pictures --seed 1
    hf-prompt make_playground clips clips --train_per_class 64 --test_per_class 25
    hf-prompt make_playground scenes scenes --train 300 --test 300 --phrases positions

The first argument names what to generate; `hf-prompt make_playground images --help` lists its flags. To train the tiny
models of the package, run `python scripts/train_playground.py` in a checkout of the repository.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from hf_prompt_cli.ending import AGAIN, ending
from hf_prompt_cli.parsing import chosen, parse
from hf_prompt_models.playground import write_image_folder
from hf_prompt_models.playground.product_cards import CARD_SIZE, write_card_folder
from hf_prompt_models.playground.scenes import KINDS, MOST_OBJECTS, SCENE_SIZE, write_scene_folder
from hf_prompt_models.playground.word_binding import write_episode_folder


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each kind of data by the words that call it."""
    commands = argparse.ArgumentParser(prog="hf-prompt make_playground").add_subparsers()
    show_defaults = argparse.ArgumentDefaultsHelpFormatter

    images = commands.add_parser(
        "images",
        help="write the demo's few-shot images, OUTPUT_DIR/{train,test}/<class name>/*.png",
        formatter_class=show_defaults,
    )
    images.add_argument("output_dir", help="folder to write to")
    images.add_argument("--seed", type=int, default=0, help="seed of the generated images")
    images.add_argument("--train_per_class", type=int, default=32, help="number of training images per class")
    images.add_argument("--test_per_class", type=int, default=50, help="number of test images per class")

    clips = commands.add_parser(
        "clips",
        help="write clips whose class cannot be seen in a single frame, OUTPUT_DIR/{train,test}/<class name>/*.mp4",
        formatter_class=show_defaults,
    )
    clips.add_argument("output_dir", help="folder to write to")
    clips.add_argument(
        "--task",
        choices=("motions", "combinations"),
        default="motions",
        help="motions: 12 classes such as 'moving left'; combinations: 60 labels such as 'a key moving "
        "left' to train on, and 20 other combinations of the same words to test on",
    )
    clips.add_argument("--seed", type=int, default=0, help="seed of the generated clips")
    clips.add_argument("--train_per_class", type=int, default=32, help="number of training clips per class")
    clips.add_argument("--test_per_class", type=int, default=10, help="number of test clips per class")

    scenes = commands.add_parser(
        "scenes",
        help="write scenes to ground phrases in, OUTPUT_DIR/{train,test}/{annotations.json,proposals.json,*.png}",
        formatter_class=show_defaults,
    )
    scenes.add_argument("output_dir", help="folder to write to")
    scenes.add_argument("--seed", type=int, default=0, help="seed of the generated scenes")
    scenes.add_argument(
        "--phrases",
        choices=tuple(KINDS),
        default="attributes",
        help="how phrases describe objects; attributes: by shape and size; positions: 'the ring on the "
        "left'; colors: 'the red ring', whose colour is partly hidden when regions are painted; "
        "relations: 'the ring left of the heart'",
    )
    scenes.add_argument("--train", type=int, default=500, help="number of training examples")
    scenes.add_argument("--test", type=int, default=1000, help="number of test examples")
    scenes.add_argument("--objects", type=int, default=MOST_OBJECTS, help="number of objects per scene")
    scenes.add_argument("--size", type=int, default=SCENE_SIZE, help="height and width of the images in pixels")

    cards = commands.add_parser(
        "cards",
        help="write product cards to describe, OUTPUT_DIR/{train,test}/{products.jsonl,captions.jsonl,*.png}",
        formatter_class=show_defaults,
    )
    cards.add_argument("output_dir", help="folder to write to")
    cards.add_argument("--seed", type=int, default=0, help="seed of the generated cards")
    cards.add_argument("--train", type=int, default=4000, help="number of training cards")
    cards.add_argument("--test", type=int, default=500, help="number of test cards")
    cards.add_argument("--size", type=int, default=CARD_SIZE, help="height and width of the images in pixels")

    episodes = commands.add_parser(
        "episodes",
        help="write 2-way few-shot episodes that define the words dax and blicket, OUTPUT_DIR/{episodes.json,*.png}",
        formatter_class=show_defaults,
    )
    episodes.add_argument("output_dir", help="folder to write to")
    episodes.add_argument("--seed", type=int, default=0, help="seed of the generated episodes")
    episodes.add_argument("--episodes", type=int, default=1000, help="number of episodes")
    episodes.add_argument("--size", type=int, default=CARD_SIZE, help="height and width of the images in pixels")

    scores = commands.add_parser(
        "score-cards",
        help="print how often descriptions of cards are right about what only the image shows, with and "
        "without images",
        formatter_class=show_defaults,
    )
    scores.add_argument(
        "--seeing", nargs="+", required=True, help="predictions.jsonl of each seed of `hf-prompt train mantis`"
    )
    scores.add_argument(
        "--blind", nargs="+", required=True, help="predictions.jsonl of each seed of a run with --blind true"
    )
    scores.add_argument("--images", help="folder of the card images, for --picture")
    scores.add_argument("--picture", help="figure to write with the first seed's descriptions")

    captioned = commands.add_parser(
        "captioned_clips",
        help="write clips with sentences, OUTPUT_DIR/{train,test}/{captions.jsonl,questions.jsonl,*.mp4}",
        formatter_class=show_defaults,
    )
    captioned.add_argument("output_dir", help="folder to write to")
    captioned.add_argument("--seed", type=int, default=0, help="seed of the generated clips")
    captioned.add_argument("--train", type=int, default=300, help="number of training clips")
    captioned.add_argument("--test", type=int, default=200, help="number of test clips, each with a different caption")
    captioned.add_argument("--questions", type=int, default=3, help="maximum number of questions per clip")
    captioned.add_argument("--size", type=int, default=64, help="height and width of the images in pixels")

    return {f"make_playground {name}": parser for name, parser in commands.choices.items()}


def main(argv: Sequence[str]) -> int:
    """Run this command and return its exit code."""
    found = {words.split()[1]: parser for words, parser in parsers().items()}
    what = chosen("hf-prompt make_playground", "thing", argv, list(found), f"{__doc__}\nKinds: {', '.join(found)}")
    arguments = vars(parse(found[what], argv[1:]))
    with ending(lambda: "", AGAIN):
        make(what, arguments)
    if "output_dir" in arguments:
        print(f"Saved: {arguments['output_dir']}")
    return 0


def make(what: str, arguments: dict[str, Any]) -> None:
    """Generate data, or score descriptions.

    Args:
        what: The kind of data, the first word of the command line.
        arguments: The other arguments of the command line, by name.
    """
    # Modules that need PyAV or matplotlib are imported only where they are used.
    match what:
        case "images":
            write_image_folder(**arguments)
        case "clips":
            from hf_prompt_models.playground.clips import write_clip_folder

            write_clip_folder(**arguments)
        case "scenes":
            write_scene_folder(**arguments)
        case "cards":
            write_card_folder(**arguments)
        case "episodes":
            write_episode_folder(**arguments)
        case "score-cards":
            compare_cards(**arguments)
        case "captioned_clips":
            from hf_prompt_models.playground.captioned_clips import write_captioned_clips

            write_captioned_clips(**arguments)


def compare_cards(seeing: list[str], blind: list[str], images: str | None, picture: str | None) -> None:
    """Print the scores of descriptions of cards, generated with images and with black images.

    Args:
        seeing: `predictions.jsonl` of each seed.
        blind: The same files of a run with `--blind true`.
        images: Folder of the card images.
        picture: File of a figure to write, if `images` is given, too.
    """
    from hf_prompt_models.playground.card_scores import CHANCE, compare_runs, plot_blind_and_seeing

    scores = compare_runs(seeing, blind)
    print(f"{'':10}{'seeing':>8}{'blind':>8}{'chance':>8}")
    for name in scores["seeing"]:
        chance = f"{CHANCE[name]:8.3f}" if name in CHANCE else ""
        print(f"{name:10}{scores['seeing'][name]:8.3f}{scores['blind'][name]:8.3f}{chance}")
    if picture is not None and images is not None:
        plot_blind_and_seeing(seeing[0], blind[0], images, picture)
        print(f"Saved figure: {picture}")
