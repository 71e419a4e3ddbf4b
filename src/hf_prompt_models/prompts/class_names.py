"""Conversion of class names and sentences to the token ids of prompts."""

import unicodedata
from collections.abc import Mapping, Sequence

from transformers import CLIPTextConfig, PreTrainedConfig, PreTrainedTokenizerBase, ProcessorMixin

from hf_prompt_models.backbones.two_tower import find_backbone
from hf_prompt_models.utils.describing import describe_value


def get_tokenizer(tokenizer_or_processor: PreTrainedTokenizerBase | ProcessorMixin) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a processor, or the tokenizer itself.

    Args:
        tokenizer_or_processor: a tokenizer, or a processor with one.

    Raises:
        TypeError: if it is neither.
    """
    if isinstance(tokenizer_or_processor, ProcessorMixin):
        return tokenizer_or_processor.tokenizer
    if isinstance(tokenizer_or_processor, PreTrainedTokenizerBase):
        return tokenizer_or_processor
    raise TypeError(
        f"Expected a tokenizer or a processor with a tokenizer, got {type(tokenizer_or_processor).__name__}. "
        "Load the tokenizer of the backbone with AutoTokenizer.from_pretrained(backbone)."
    )


def special_token_fields(tokenizer: PreTrainedTokenizerBase) -> dict[str, int | None]:
    """Return the configuration fields with the ids of the tokenizer's special tokens.

    Args:
        tokenizer: the tokenizer.
    """
    return {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}


def check_class_names(class_names: Sequence[str]) -> list[str]:
    """Return the class names as a list, in Unicode's composed form (NFC) and otherwise unchanged.

    Args:
        class_names: class names, in the order of the labels; those of a set are sorted. Names may repeat, because
            classes are identified by index.

    Raises:
        ValueError: if there are no names, one of them is empty or not a string, or they are a dictionary, whose values
            would be ignored.
    """
    if isinstance(class_names, str):
        raise ValueError(f"Expected a list of class names, got one string. Pass [{class_names!r}].")
    if isinstance(class_names, Mapping):
        raise ValueError(
            "Expected a list of class names in the order of their labels, got a dictionary. Pass "
            "[id2label[label] for label in sorted(id2label)]."
        )
    # The order of a set of strings differs between processes.
    names = sorted(class_names, key=str) if isinstance(class_names, set | frozenset) else list(class_names)
    if not names:
        raise ValueError("Expected at least one class name, got an empty list.")
    for index, name in enumerate(names):
        if not isinstance(name, str) or not name.replace("_", " ").strip():
            raise ValueError(
                f"The name of class {index} is {describe_value(name)}. Pass a string that contains at least one word."
            )
    return [unicodedata.normalize("NFC", name) for name in names]


def clean_class_names(class_names: Sequence[str]) -> list[str]:
    """Return class names as they appear in a prompt: underscores become spaces, as in CoOp.

    Args:
        class_names: class names, in the order of the labels.

    Raises:
        ValueError: as `check_class_names` does.
    """
    return [" ".join(name.replace("_", " ").split()) for name in check_class_names(class_names)]


def tokenize_prompts(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], clip_config: PreTrainedConfig
) -> list[list[int]]:
    """Return the token ids of complete prompts, from the start token, if there is one, to the end token.

    Args:
        tokenizer: the backbone's tokenizer.
        texts: the prompts.
        clip_config: configuration of the backbone. In a `CLIPTextConfig` an `eos_token_id` of 2 marks OpenAI's
            checkpoints, for which transformers reads the tower at the largest token id. For any other value it reads
            the tower at the first token with that id. Bidirectional towers do not read their `eos_token_id`: the end
            token is the tokenizer's, for the BERT of a Chinese-CLIP, AltCLIP or ALIGN its separator.

    Raises:
        ValueError: if a text contains a special token of the tokenizer, or the tokenizer does not fit the text tower.
    """
    kind, text_config = find_backbone(clip_config), clip_config.text_config
    legacy = isinstance(text_config, CLIPTextConfig) and text_config.eos_token_id == 2
    end = tokenizer.eos_token_id if legacy or not kind.packs_prompts else text_config.eos_token_id
    start, special = None, {end}
    if kind.text_pooling == "first position":
        start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
        special = {start, end, tokenizer.pad_token_id}
    prompts: list[list[int]] = tokenizer(list(texts), verbose=False)["input_ids"]
    for text, ids in zip(texts, prompts, strict=True):
        ends_well = end is not None and ids[-1:] == [end] and (not legacy or end == max(ids))
        if not ends_well or max(ids) >= text_config.vocab_size or start not in (None, ids[0]):
            raise ValueError(
                f"The tokenizer turns {text!r} into {ids}, which does not fit a text encoder with "
                f"{text_config.vocab_size} tokens and prompts that end with the token {end}. Pass the "
                "tokenizer of this backbone."
            )
        if held := special.intersection(ids[kind.start_tokens : -1]):
            names = ", ".join(repr(tokenizer.decode([token])) for token in sorted(held))
            raise ValueError(f"{text!r} contains the special token {names}. Remove it from the text.")
    return prompts


def tokenize_class_prompts(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    names: Sequence[str],
    clip_config: PreTrainedConfig,
    n_ctx: int = 0,
) -> tuple[list[list[int]], list[int]]:
    """Return the token ids of complete prompts, and the number of tokens of the class name in each.

    Args:
        tokenizer: the backbone's tokenizer.
        texts: the prompts.
        names: the class name in each prompt, with a leading space if there is one in the prompt.
        clip_config: configuration of the backbone.
        n_ctx: number of context vectors that will be added to each prompt.

    Raises:
        ValueError: as `tokenize_prompts` and `check_prompt_lengths` do, or if the tokenizer removes a complete name.
    """
    prompts = tokenize_prompts(tokenizer, texts, clip_config)
    kind = find_backbone(clip_config)
    start_tokens, num_positions = kind.start_tokens, kind.num_positions(clip_config)
    distinct = list(dict.fromkeys(names))  # an ensemble has each class once per template
    alone = tokenizer(distinct, add_special_tokens=False, verbose=False)["input_ids"]
    ids_of = dict(zip(distinct, alone, strict=True))
    for name, ids in ids_of.items():
        if not ids:  # SigLIP's tokenizer removes punctuation
            raise ValueError(
                f"The tokenizer turns the class name {name.strip()!r} into no tokens. Write the name in words."
            )
    lengths = [len(ids_of[name]) for name in names]
    surroundings = [len(ids) - length + n_ctx for ids, length in zip(prompts, lengths, strict=True)]
    check_prompt_lengths([name.strip() for name in names], lengths, num_positions, surroundings)
    # For CLIP the tokens are only counted, as in the released code of CoOp.
    if not isinstance(clip_config.text_config, CLIPTextConfig):
        for index, (name, ids) in enumerate(zip(names, prompts, strict=True)):
            if ids[start_tokens : start_tokens + lengths[index]] != ids_of[name]:
                lengths[index] = len(ids) - start_tokens - 1  # the next token was merged with the name
    return prompts, lengths


def check_prompt_lengths(
    names: Sequence[str], lengths: Sequence[int], max_length: int, surroundings: Sequence[int]
) -> None:
    """Check that prompts fit the text tower.

    Args:
        names: class name of each prompt.
        lengths: number of tokens of the class name, for each prompt.
        max_length: number of positions of the text tower.
        surroundings: number of other tokens, for each prompt: context or template, start and end.

    Raises:
        ValueError: if prompts are too long. The message contains their class names.
    """
    fitting: dict[tuple[str, int], int] = {}  # the minimum over the prompts of a name
    for name, length, rest in zip(names, lengths, surroundings, strict=True):
        if length + rest > max_length:
            fit = max(max_length - rest, 0)
            fitting[name, length] = min(fit, fitting.get((name, length), fit))
    too_long = [f"{name[:500]!r} has {length} tokens, but only {fit} fit" for (name, length), fit in fitting.items()]
    if too_long:
        more = f"; and {len(too_long) - 5} more" if len(too_long) > 5 else ""
        raise ValueError(
            f"{len(too_long)} class name(s) are too long for the {max_length} positions of the text encoder: "
            f"{'; '.join(too_long[:5])}{more}. Shorten the names, or use fewer context tokens (n_ctx) or a "
            "shorter template."
        )
