#!/usr/bin/env python
"""Convert checkpoints of a method's original code to this package's, CoOp's also back. Nothing in a checkpoint is run.

    python scripts/convert.py coop --checkpoint prompt_learner/model.pth.tar-50 \\
        --backbone openai/clip-vit-base-patch16 --class_names names.txt --output_dir my-prompt
    python scripts/convert.py coop --to_original --checkpoint my-prompt --output_dir original
    python scripts/convert.py action_clip --checkpoint vit-b-16-8f.pt --backbone openai/clip-vit-base-patch16 \\
        --labels kinetics_400_labels.csv --output_dir actionclip-k400

The first argument names the method; `convert.py coop --help` lists its flags.
"""

import argparse
import sys
from importlib import import_module

from huggingface_hub.errors import StrictDataclassError
from transformers.utils import logging

from hf_prompt_models.models import METHODS, methods_with
from hf_prompt_models.playground import CLIP_DIR


def main(argv: list[str]) -> None:
    methods = methods_with("convert")
    if not argv or argv[0] not in METHODS:
        print(f"{__doc__}\nMethods: {', '.join(methods)}")
        sys.exit(0 if argv[:1] in (["-h"], ["--help"]) else 2)
    method, *flags = argv
    if method not in methods:
        sys.exit(f"{method} has no other format to convert from.")
    conversion = import_module(f"hf_prompt_models.models.{method}.convert_{method}")
    parser = argparse.ArgumentParser(prog=f"convert.py {method}", description=conversion.__doc__)
    conversion.add_arguments(parser)
    arguments = parser.parse_args(flags)
    if vars(arguments).get("backbone") == "playground":
        arguments.backbone = CLIP_DIR
    logging.disable_progress_bar()
    try:
        report = conversion.convert(arguments)
    except (OSError, StrictDataclassError, TypeError, ValueError) as error:
        sys.exit(f"error: {error}")
    print("\n".join(report))


if __name__ == "__main__":
    main(sys.argv[1:])
