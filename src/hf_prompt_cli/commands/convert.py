r"""Convert checkpoints of a method's original code to this package's format; CoOp's also back.

`clip` is no method: it converts CLIPs of OpenAI's code and of open_clip to models of transformers.

    hf-prompt convert coop --checkpoint prompt_learner/model.pth.tar-50 \
        --backbone openai/clip-vit-base-patch16 --class_names names.txt --output_dir my-prompt
    hf-prompt convert coop --to_original --checkpoint my-prompt --output_dir original
    hf-prompt convert action_clip --checkpoint vit-b-16-8f.pt --backbone openai/clip-vit-base-patch16 \
        --labels kinetics_400_labels.csv --output_dir actionclip-k400
    hf-prompt convert clip --checkpoint ViT-B-32.pt --tokenizer openai/clip-vit-base-patch32 --output_dir vit-b-32

No code in a checkpoint is run.

The first argument names the method; `hf-prompt convert coop --help` lists its flags.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from hf_prompt_cli.methods import methods, methods_with, packages
from hf_prompt_cli.parsing import chosen, examples_parser, parse


BACKBONES = {"clip": "hf_prompt_models.backbones.convert_clip"}
"""Conversion modules of backbones, which are no methods."""


def convertible() -> list[str]:
    """Return the methods and the backbones that can be converted."""
    return sorted([*methods_with("convert"), *BACKBONES])


def conversion_of(method: str) -> ModuleType:
    """Return the conversion module of a method, or of a backbone."""
    return import_module(BACKBONES[method] if method in BACKBONES else f"{packages()[method]}.convert_{method}")


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each method by the words that call it."""
    return {f"convert {method}": parser_of(method) for method in convertible()}


def parser_of(method: str) -> argparse.ArgumentParser:
    """Return the parser of a method."""
    parser = examples_parser(f"hf-prompt convert {method}", conversion_of(method).__doc__)
    conversion_of(method).add_arguments(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Run this command and return its exit code."""
    known = convertible()
    if argv and argv[0] in methods() and argv[0] not in known:
        sys.exit(f"error: {argv[0]} has no original format to convert from.")
    help_text = f"{__doc__}\nMethods: {', '.join(known)}"
    method, flags = chosen("hf-prompt convert", "method", argv, known, help_text), argv[1:]

    from transformers.utils import logging

    from hf_prompt_cli.ending import ending
    from hf_prompt_models.backbones.packaged import CLIP_DIR, PLAYGROUND

    arguments = parse(parser_of(method), flags)
    if vars(arguments).get("backbone") == PLAYGROUND:
        arguments.backbone = CLIP_DIR
    logging.disable_progress_bar()
    with ending(lambda: f"The checkpoint was not changed; {arguments.output_dir} is incomplete."):
        print("\n".join(conversion_of(method).convert(arguments)))
    return 0
