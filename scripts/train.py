#!/usr/bin/env python
"""Train a prompt method from a handful of labelled examples, and test it beside hand-written prompts.

    python scripts/train.py coop --backbone openai/clip-vit-base-patch16 --train_dir D/train --test_dir D/test \\
        --shots 16 --seeds 1 2 3 --output_dir runs/coop
    python scripts/train.py action_clip --backbone openai/clip-vit-base-patch16 --train_dir D/train \\
        --test_dir D/test --output_dir runs/action_clip

The second learns from videos; `torchrun --nproc_per_node 2 scripts/train.py …` trains with two processes.
The first argument names the method; `train.py coop --help` lists its flags, the data's and the Trainer's.
"""

import shlex
import sys
from importlib import import_module

from accelerate import PartialState
from huggingface_hub.errors import StrictDataclassError
from transformers.utils import logging

from hf_prompt_models.models import METHODS, methods_with
from hf_prompt_models.training import few_shot, text_generation, video_text, visual_grounding


TASKS = {
    "image-classification": few_shot,
    "video-classification": few_shot,
    "visual-grounding": visual_grounding,
    "image-text-to-text": text_generation,
    "video-text": video_text,
}
"""What trains for each task: `train(recipe, flags, prog, command)` returns the lines to print."""


def main(argv: list[str]) -> None:
    methods = methods_with("recipe")
    if not argv or argv[0] not in METHODS:
        print(f"{__doc__}\nMethods: {', '.join(methods)}")
        sys.exit(0 if argv[:1] in (["-h"], ["--help"]) else 2)
    method, *flags = argv
    if method not in methods:
        sys.exit(f"There is nothing to train of {method}, or no script for it yet.")
    recipe = import_module(f"hf_prompt_models.models.{method}.recipe_{method}")
    command = shlex.join(["python", "scripts/train.py", *argv])
    logging.disable_progress_bar()  # of loading and writing weights: training has a bar of its own
    try:
        summary = TASKS[recipe.TASK].train(recipe, flags, f"train.py {method}", command)
    except (ImportError, OSError, StrictDataclassError, TypeError, ValueError) as error:
        sys.exit(f"error: {error}")
    if PartialState().is_main_process:
        print(summary)


if __name__ == "__main__":
    main(sys.argv[1:])
