"""Conversion of anchored prompts of other code: a file with the tensor `ctx`."""

import argparse

from anchored_prompts.anchored.modeling_anchored import AnchoredForImageClassification

from hf_prompt_models.convert_context_utils import add_conversion_arguments, convert_prompt


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_conversion_arguments(parser, "prompt_learner")


def convert(arguments: argparse.Namespace) -> list[str]:
    return convert_prompt(
        arguments,
        AnchoredForImageClassification,
        "prompt_learner",
        lambda state: {"context": "ctx"},
        lambda tensors: {"n_ctx": len(tensors["context"])},
    )
