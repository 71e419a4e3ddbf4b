"""From class names and sentences to the token ids that a prompt is made of."""

import unicodedata
from collections.abc import Mapping, Sequence

from transformers import CLIPTextConfig, PreTrainedConfig, PreTrainedTokenizerBase, ProcessorMixin

from hf_prompt_models.backbones.two_tower import find_backbone
from hf_prompt_models.utils.describing import describe_value


def get_tokenizer(tokenizer_or_processor: PreTrainedTokenizerBase | ProcessorMixin) -> PreTrainedTokenizerBase:
    """The tokenizer itself, also where a processor was passed."""
    if isinstance(tokenizer_or_processor, ProcessorMixin):
        return tokenizer_or_processor.tokenizer
    if isinstance(tokenizer_or_processor, PreTrainedTokenizerBase):
        return tokenizer_or_processor
    raise TypeError(
        f"Pass a tokenizer or a processor that holds one, not {type(tokenizer_or_processor).__name__}; "
        "AutoTokenizer.from_pretrained(backbone) loads the backbone's own."
    )


def special_token_fields(tokenizer: PreTrainedTokenizerBase) -> dict[str, int | None]:
    """The configuration fields that name the tokenizer's special tokens."""
    return {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}


def check_class_names(class_names: Sequence[str]) -> list[str]:
    """Return the class names as a list, in Unicode's composed form (NFC), each else as it is; those of a set sorted.

    Raises:
        ValueError: if there are no names, or they are a dictionary, whose values would not be read, or one is empty or
            not a string. Names may repeat: classes are told apart by index.
    """
    if isinstance(class_names, str):
        raise ValueError(f"Pass the class names as a list, not one string: [{class_names!r}].")
    if isinstance(class_names, Mapping):
        raise ValueError(
            "Pass the class names as a list, in the order of their labels, not as a dictionary: "
            "[id2label[label] for label in sorted(id2label)]."
        )
    # The order of a set of texts is another one in each process.
    names = sorted(class_names, key=str) if isinstance(class_names, set | frozenset) else list(class_names)
    if not names:
        raise ValueError("Pass at least one class name.")
    for index, name in enumerate(names):
        if not isinstance(name, str) or not name.replace("_", " ").strip():
            raise ValueError(
                f"Class {index} has no usable name: {describe_value(name)}. A name is a string with a word in it."
            )
    return [unicodedata.normalize("NFC", name) for name in names]


def clean_class_names(class_names: Sequence[str]) -> list[str]:
    """Class names as they are read out in a prompt: underscores become spaces, as in CoOp; nothing else changes.

    Raises:
        ValueError: as `check_class_names` does.
    """
    return [" ".join(name.replace("_", " ").split()) for name in check_class_names(class_names)]


def tokenize_prompts(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], text_config: PreTrainedConfig
) -> list[list[int]]:
    """Token ids of whole prompts, from the start token, if there is one, up to the end token.

    Args:
        tokenizer: the backbone's own.
        texts: the prompts.
        text_config: the text tower's. In a `CLIPTextConfig` an `eos_token_id` of 2 marks OpenAI's checkpoints, where
            transformers reads the tower at the largest token id; any other is looked up, first place first. SigLIP's
            tower is read at its last position: its `eos_token_id` says nothing.

    Raises:
        ValueError: if a text holds a special token of the tokenizer, or the tokenizer is not this tower's.
    """
    legacy = isinstance(text_config, CLIPTextConfig) and text_config.eos_token_id == 2
    by_tokenizer = legacy or not find_backbone(text_config).packs_prompts
    end = tokenizer.eos_token_id if by_tokenizer else text_config.eos_token_id
    prompts: list[list[int]] = tokenizer(list(texts), verbose=False)["input_ids"]
    trimmed = []
    for text, ids in zip(texts, prompts, strict=True):
        if end not in ids or max(ids) >= text_config.vocab_size or (legacy and end != max(ids)):
            raise ValueError(
                f"The tokenizer turns {text!r} into {ids}, which does not fit a text tower of "
                f"{text_config.vocab_size} tokens whose prompts end with the token {end}: it is not this backbone's "
                "tokenizer."
            )
        if ids.index(end) != len(ids) - 1:
            raise ValueError(f"{text!r} holds the special token {tokenizer.decode([end])!r}: remove it from the text.")
        trimmed.append(ids)
    return trimmed


def tokenize_class_prompts(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    names: Sequence[str],
    text_config: PreTrainedConfig,
    n_ctx: int = 0,
) -> tuple[list[list[int]], list[int]]:
    """Token ids of whole prompts and the number of tokens of the class name in each, checked to fit the text tower.

    Args:
        tokenizer: the backbone's own.
        texts: the prompts.
        names: the class name that each holds, with the space before it if it stands there.
        text_config: the text tower's.
        n_ctx: context vectors that will be added to each.

    Raises:
        ValueError: as `tokenize_prompts` and `check_prompt_lengths` do, or if the tokenizer drops a whole name.
    """
    prompts = tokenize_prompts(tokenizer, texts, text_config)
    start_tokens = find_backbone(text_config).start_tokens
    distinct = list(dict.fromkeys(names))  # an ensemble names each class once a template
    alone = tokenizer(distinct, add_special_tokens=False, verbose=False)["input_ids"]
    ids_of = dict(zip(distinct, alone, strict=True))
    for name, ids in ids_of.items():
        if not ids:  # SigLIP's tokenizer removes punctuation
            raise ValueError(f"The tokenizer leaves nothing of the class name {name.strip()!r}: write it in words.")
    lengths = [len(ids_of[name]) for name in names]
    surroundings = [len(ids) - length + n_ctx for ids, length in zip(prompts, lengths, strict=True)]
    check_prompt_lengths([name.strip() for name in names], lengths, text_config.max_position_embeddings, surroundings)
    if not isinstance(text_config, CLIPTextConfig):  # there the tokens are counted, as in CoOp's released code
        for index, (name, ids) in enumerate(zip(names, prompts, strict=True)):
            if ids[start_tokens : start_tokens + lengths[index]] != ids_of[name]:
                lengths[index] = len(ids) - start_tokens - 1  # what follows changed the name's tokens: it joins them
    return prompts, lengths


def check_prompt_lengths(
    names: Sequence[str], lengths: Sequence[int], max_length: int, surroundings: Sequence[int]
) -> None:
    """Refuse prompts that do not fit the text tower, naming them.

    Args:
        names: one class name a prompt.
        lengths: tokens of the name itself, a prompt.
        max_length: positions of the text tower.
        surroundings: tokens of the rest of the prompt: context or template, start and end.
    """
    fitting: dict[tuple[str, int], int] = {}  # the fewest of a name's prompts
    for name, length, rest in zip(names, lengths, surroundings, strict=True):
        if length + rest > max_length:
            fit = max(max_length - rest, 0)
            fitting[name, length] = min(fit, fitting.get((name, length), fit))
    too_long = [f"{name[:500]!r} has {length} tokens, {fit} fit" for (name, length), fit in fitting.items()]
    if too_long:
        more = f"; and {len(too_long) - 5} more" if len(too_long) > 5 else ""
        raise ValueError(
            f"{len(too_long)} class name(s) too long for the {max_length} positions of the text tower: "
            f"{'; '.join(too_long[:5])}{more}. Shorten the names, or use fewer context tokens (n_ctx) or a shorter "
            "template."
        )
