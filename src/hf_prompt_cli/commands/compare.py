r"""Compare methods on your labelled images: one table of accuracies, with what is more than noise.

    hf-prompt compare --backbone openai/clip-vit-base-patch32 --train_dir D/train --test_dir D/test \
        --output_dir runs/compare
    hf-prompt compare --backbone playground --train_dir D/train --test_dir D/test --methods clap tip_adapter coop \
        --shots 1 4 16 --seeds 1 2 3 --output_dir runs/compare
    hf-prompt compare --backbone playground --train_dir D --test_fraction 0.3 --protocol base-to-new \
        --time_budget 10m --output_dir runs/base_to_new

All methods are trained on the same samples. The same command resumes an interrupted comparison; runs that are complete
are kept.
"""

import argparse
import shlex
from collections.abc import Sequence

from hf_prompt_cli.ending import ending
from hf_prompt_cli.flag_files import with_flags_of_file
from hf_prompt_cli.parsing import check_flags
from hf_prompt_models.tasks.image_classification.comparison.arguments import build_parser, parse


PROG = "hf-prompt compare"


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of this command by the words that call it."""
    return {"compare": build_parser(PROG, __doc__ or "")}


def main(argv: Sequence[str]) -> int:
    """Run this command and return its exit code."""
    from transformers.utils import logging

    from hf_prompt_models.tasks.image_classification.comparison.compare import compare

    logging.disable_progress_bar()
    parser = parsers()["compare"]
    with ending(lambda: "Complete runs are kept. Run the same command again to resume."):
        flags = with_flags_of_file(parser, argv)
        check_flags(parser, flags)
        print(compare(parse(parser, flags), shlex.join(["hf-prompt", "compare", *flags])))
    return 0
