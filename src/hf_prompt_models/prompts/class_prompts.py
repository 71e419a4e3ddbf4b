"""Sentences that describe classes, in the order of the labels, and their token ids."""

import logging
from collections.abc import Mapping, Sequence

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from hf_prompt_models.backbones.two_tower import find_backbone
from hf_prompt_models.prompts.class_names import clean_class_names, tokenize_prompts
from hf_prompt_models.prompts.templates import DEFAULT_TEMPLATE, check_templates
from hf_prompt_models.utils.describing import describe_value


logger = logging.getLogger(__name__)

ClassPrompts = Mapping[str, Sequence[str]] | Sequence[Sequence[str]]
"""Sentences by class name, or a list with the sentences of each class, in the order of the labels."""


def check_ensemble(
    class_names: Sequence[str], templates: Sequence[str] | None, class_prompts: ClassPrompts | None
) -> tuple[list[str], list[list[str]] | None]:
    """Return the templates and the sentences of each class.

    Args:
        class_names: class names, in the order of the labels.
        templates: sentences with one `{}`. Default: none with `class_prompts`, "a photo of a {}." without.
        class_prompts: sentences about each class. A class without sentences has the templates alone.

    Returns:
        The templates, and the sentences in the order of the labels, or `None` if there are no sentences.

    Raises:
        ValueError: if templates or sentences are malformed, or a class has no prompt; the message names it.
    """
    if class_prompts is None:
        return check_templates([DEFAULT_TEMPLATE] if templates is None else templates), None
    templates = check_templates(templates) if templates else []
    sentences = sentences_of_classes(class_prompts, class_names)
    bare = [str(name) for name, own in zip(class_names, sentences, strict=True) if not own]
    if bare and not templates:
        raise ValueError(
            f"class_prompts has no sentences for {len(bare)} class(es): {_some(bare)}. Write at least one for "
            "each, or pass templates, which are prompts for all classes."
        )
    return templates, sentences if any(sentences) else None


def sentences_of_classes(class_prompts: ClassPrompts, class_names: Sequence[str]) -> list[list[str]]:
    """Return the sentences of each class, in the order of the labels; classes without sentences have an empty list.

    A dictionary is matched by name, in which underscores are spaces, so classes with the same name share their
    sentences. A warning reports the names in it that are not classes.

    Args:
        class_prompts: sentences by class name, or a list with those of each class.
        class_names: class names, in the order of the labels.

    Raises:
        ValueError: if these are not lists of sentences, a name is there twice with other sentences, or a list has
            another length than `class_names`.
    """
    names = clean_class_names(class_names)
    if not isinstance(class_prompts, Mapping):
        if isinstance(class_prompts, str) or len(class_prompts) != len(names):
            raise ValueError(
                f"class_prompts must be a list with the sentences of each of the {len(names)} classes, or a "
                f'dictionary {{"class name": ["A sentence.", …]}}, got {describe_value(class_prompts)}.'
            )
        return [_checked(sentences, name) for sentences, name in zip(class_prompts, names, strict=True)]
    sentences_of: dict[str, list[str]] = {}
    for name, sentences in class_prompts.items():
        (key,) = clean_class_names([name])
        own = _checked(sentences, name)
        if sentences_of.setdefault(key, own) != own:
            raise ValueError(f"class_prompts has the class {name!r} twice. Put all of its sentences into one list.")
    if surplus := sorted(set(sentences_of) - set(names)):
        logger.warning(f"Ignored {len(surplus)} name(s) in class_prompts that are not classes: {_some(surplus)}.")
    return [sentences_of.get(name, []) for name in names]


def tokenize_sentences(
    tokenizer: PreTrainedTokenizerBase, sentences: Sequence[str], clip_config: PreTrainedConfig
) -> tuple[list[list[int]], list[int]]:
    """Return the token ids of sentences, cut at the end if they are too long, and their numbers of tokens before that.

    Args:
        tokenizer: the backbone's tokenizer.
        sentences: the sentences.
        clip_config: configuration of the backbone.

    Raises:
        ValueError: as `tokenize_prompts` does.
    """
    prompts = tokenize_prompts(tokenizer, sentences, clip_config)
    kind = find_backbone(clip_config)
    longest = kind.num_positions(clip_config)
    # SigLIP's tokenizer removes punctuation, and CuPL's released files have sentences that are only a full stop.
    shortest = kind.start_tokens + 1
    if empty := [text for text, ids in zip(sentences, prompts, strict=True) if len(ids) <= shortest]:
        shown = _some(empty)
        logger.warning(f"The tokenizer turns {len(empty)} sentence(s) in class_prompts into no tokens: {shown}.")
    cut = [ids if len(ids) <= longest else [*ids[: longest - 1], ids[-1]] for ids in prompts]
    return cut, [len(ids) for ids in prompts]


def _checked(sentences: Sequence[str], name: str) -> list[str]:
    if isinstance(sentences, str) or not isinstance(sentences, Sequence):
        raise ValueError(
            f"The sentences of the class {name!r} must be a list of strings, got {describe_value(sentences)}."
        )
    for sentence in sentences:
        if not isinstance(sentence, str) or not sentence.strip():
            raise ValueError(f"A sentence of the class {name!r} is {describe_value(sentence)}. Write a text.")
    return list(sentences)


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (" …" if len(names) > 5 else "")
