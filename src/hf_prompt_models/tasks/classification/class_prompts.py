"""Sentences about each class on command lines."""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from hf_prompt_models.backbones.packaged import CLIP_DIR, locate_backbone
from hf_prompt_models.data.class_names_file import comparable
from hf_prompt_models.data.class_prompts_file import read_class_prompts
from hf_prompt_models.modeling_clip_utils import EnsemblePromptModel
from hf_prompt_models.prompts.class_prompts import sentences_of_classes
from hf_prompt_models.prompts.waffle import waffle_prompts
from hf_prompt_models.tasks.classification.protocols import ProtocolData


logger = logging.getLogger(__name__)

WAFFLE = "waffle"
"""Value of `--class_prompts` for the random descriptors of WaffleCLIP, with seed 0, in place of a file."""
SHOWN_CLASSES = 5


def add_class_prompts_argument(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add the flag `--class_prompts` to a parser.

    Args:
        parser: The parser.
        purpose: What the sentences are for.
    """
    parser.add_argument(
        "--class_prompts",
        metavar="FILE",
        help=f'{purpose}: a JSON file {{"class name": ["A sentence.", …]}}, or {WAFFLE} for random descriptors; with '
        "--templates both form one ensemble",
    )


def backbone_tokenizer(backbone: str) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a backbone: a Hub id, a folder, or "playground"."""
    return AutoTokenizer.from_pretrained(locate_backbone(backbone, CLIP_DIR))


def read_sentences(
    source: str, class_names: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> dict[str, list[str]]:
    """Return the sentences that `--class_prompts` names, by class name.

    Args:
        source: A JSON file, or `WAFFLE`.
        class_names: Class names, which random descriptors are made for.
        tokenizer: Tokenizer whose words random descriptors have.

    Raises:
        OSError: If there is no such file.
        ValueError: If the file is malformed.
    """
    if source == WAFFLE:
        return waffle_prompts(class_names, tokenizer=tokenizer)
    return read_class_prompts(source)


def check_takes_sentences(model: Any, name: str | Path) -> None:
    """Check that a model takes sentences about its classes.

    Raises:
        ValueError: If it does not. The message has the name of the model.
    """
    if not isinstance(model, EnsemblePromptModel):
        raise ValueError(
            f"--class_prompts applies to zero-shot models and feature adapters, but {name} is neither. Remove the "
            "flag."
        )


def with_class_prompts(data: ProtocolData, source: str, with_templates: bool, backbone: str) -> ProtocolData:
    """Return the data of a protocol with sentences about the classes of each test set, for the zero-shot result.

    A warning reports the names in the file that no test set has.

    Args:
        data: The data.
        source: A JSON file, or `WAFFLE`.
        with_templates: Whether the templates are part of the ensemble, in which case a class needs no sentences.
        backbone: The backbone, whose tokenizer has the words of random descriptors.

    Raises:
        OSError: If there is no such file.
        ValueError: If the file is malformed, or a class has neither sentences nor templates; the message names it.
    """
    tokenizer = backbone_tokenizer(backbone)
    unused: dict[str, None] = {}
    used: set[str] = set()
    tests = {}
    for role, test in data.tests.items():
        names = test.images.class_names
        given = read_sentences(source, names, tokenizer)
        wanted = {comparable(name) for name in names}
        own = {name: sentences for name, sentences in given.items() if comparable(name) in wanted}
        missing = sorted(wanted - {comparable(name) for name in own})
        if missing and not with_templates:
            raise ValueError(
                f"{source} has no sentences for {len(missing)} class(es) of {test.title}: {_some(missing)}. Write at "
                "least one for each, or also pass --templates, which are prompts for all classes."
            )
        used |= wanted
        unused |= dict.fromkeys(given)
        templates = test.templates if with_templates else []
        tests[role] = replace(test, templates=templates, class_prompts=sentences_of_classes(own, names))
    if surplus := [name for name in unused if comparable(name) not in used]:
        logger.warning(f"Ignored {len(surplus)} name(s) in {source} that are not classes: {_some(surplus)}.")
    return replace(data, tests=tests)


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:SHOWN_CLASSES])) + (" …" if len(names) > SHOWN_CLASSES else "")
