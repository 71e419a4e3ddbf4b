"""Teach a method your data from labelled examples, and test it beside what it knows without.

    hf-prompt train coop --backbone openai/clip-vit-base-patch16 --train_dir D/train --test_dir D/test \\
        --shots 16 --seeds 1 2 3 --output_dir runs/coop
    hf-prompt train action_clip --backbone openai/clip-vit-base-patch16 --train_dir D/train --test_dir D/test \\
        --output_dir runs/action_clip
    hf-prompt train coop run.yaml --shots 4

The first argument names the method; `hf-prompt train coop --help` lists its flags, the data's and the Trainer's, and
`hf-prompt train` alone says which method is for what. A file that ends in .yaml or .json and comes next holds flags, a
line for each (`shots: 16`); those on the command line win. Ctrl-C saves a checkpoint and says how to go on from it.
With several processes: `torchrun --nproc_per_node 2 -m hf_prompt_cli train …`.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from hf_prompt_cli.methods import methods, methods_with
from hf_prompt_cli.parsing import check_flags, chosen


ROOMS = {
    "image-classification": "classification",
    "video-classification": "classification",
    "visual-grounding": "visual_grounding",
    "image-text-to-text": "text_generation",
    "video-text": "video_text",
}
"""What of `hf_prompt_models.tasks` trains for each task: it has `parser(recipe, prog)`, and
`train(recipe, flags, prog, command)`, which returns the lines to print."""


def recipe_of(method: str) -> Any:
    return import_module(f"hf_prompt_models.models.{method}.recipe_{method}").RECIPE


def room_of(method: str) -> ModuleType:
    return import_module(f"hf_prompt_models.tasks.{ROOMS[recipe_of(method).task]}.training")


def parsers() -> dict[str, argparse.ArgumentParser]:
    return {f"train {method}": parser_of(method) for method in methods_with("recipe")}


def parser_of(method: str) -> argparse.ArgumentParser:
    return room_of(method).parser(recipe_of(method), f"hf-prompt train {method}")


def main(argv: Sequence[str]) -> int:
    trained = methods_with("recipe")
    if not argv:
        from hf_prompt_cli.advice import ADVICE

        print(ADVICE)
        return 0
    if argv[0] in methods() and argv[0] not in trained:
        sys.exit(
            f"error: there is nothing to train of {argv[0]}: its prompts are written by hand. "
            "`hf-prompt train` says what can be."
        )
    help_text = f"{__doc__}\nMethods: {', '.join(trained)}"
    method, typed = chosen("hf-prompt train", "method", argv, trained, help_text), list(argv[1:])

    from accelerate import PartialState
    from transformers.utils import logging

    from hf_prompt_cli.ending import ending
    from hf_prompt_cli.flag_files import with_flags_of_file
    from hf_prompt_cli.resuming import how_to_go_on

    logging.disable_progress_bar()  # of loading and writing weights: training has a bar of its own
    began, flags = time.time(), typed
    typed_command = shlex.join(["hf-prompt", "train", method, *typed])
    with ending(
        lambda: how_to_go_on(typed_command, flags, began),
        fix=lambda: how_to_go_on(typed_command, flags, began, cured=False),
    ):
        parser = parser_of(method)
        flags = with_flags_of_file(parser, typed)
        check_flags(parser, flags)
        command = shlex.join(["hf-prompt", "train", method, *flags])
        summary = room_of(method).train(recipe_of(method), flags, parser.prog, command)
    if PartialState().is_main_process:
        print(summary)
    return 0
