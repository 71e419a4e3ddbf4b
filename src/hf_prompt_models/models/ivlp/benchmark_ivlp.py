"""Measure the text side of IVLP here against the released code's way, side by side in one run.

Both arms use the same random weights in CLIP's shapes and the same prompts. The full-length arm does what the released
code does, written plainly: every class is a row of 77 tokens.
"""

import argparse
from collections.abc import Iterator

from hf_prompt_models.benchmark_context_utils import add_arguments, run_text_side
from hf_prompt_models.models.ivlp.modeling_ivlp import IVLPForImageClassification


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Markdown, part by part."""
    return run_text_side(IVLPForImageClassification, arguments)


__all__ = ["add_arguments", "run"]
