"""Sentences with random words and characters about each class (WaffleCLIP, arXiv 2306.07282)."""

import math
import random
import string
from collections.abc import Sequence
from statistics import fmean

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from hf_prompt_models.backbones.packaged import CLIP_DIR
from hf_prompt_models.prompts.class_names import check_class_names, clean_class_names


CHARACTERS = string.ascii_letters + string.digits
SHORTEST_WORD = 3
MAX_WORDS = 1000
"""Number of words of a tokenizer to choose from, which is more than an ensemble needs."""


def waffle_prompts(
    class_names: Sequence[str],
    num_descriptors: int = 15,
    seed: int = 0,
    words: Sequence[str] | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    characters: str = CHARACTERS,
) -> dict[str, list[str]]:
    """Return sentences with random descriptors about each class, for the argument `class_prompts`.

    They show how much of the gain of class descriptions is that of an ensemble. Each sentence is "A photo of a
    <class>, which has <descriptor>.", with the same descriptors for all classes. A descriptor is a sequence of random
    words or, in each second sentence, groups of random characters. As in the released code, their sizes are means over
    the class names: the number of words, their length, to which words are cut, and the number of groups. The groups
    have at least as many characters in total as the longest word of a name has in the mean.

    The released code takes its words from a list in a file, and its characters from descriptions that GPT-3 wrote;
    here both are arguments. It also scores a class by the mean of the similarities of its sentences. A zero-shot model
    takes the similarity with the mean of their features, which it normalises; the method `prompt_means` of the model
    returns the mean that is not normalised.

    Args:
        class_names: class names. Underscores are read as spaces.
        num_descriptors: number of descriptors of each of the two kinds, so there are twice as many sentences.
        seed: seed of the random choices.
        words: words to choose from. Default: a random thousand of those that `tokenizer` keeps in one token.
        tokenizer: a tokenizer, if `words` is not given. Default: that of the packaged CLIP, which has 400 such words.
        characters: characters to choose from.

    Raises:
        ValueError: if there are no class names, descriptors, words or characters.

    Example:
        ```python
        >>> from hf_prompt_models.prompts import waffle_prompts
        >>> waffle_prompts(["ring", "cross"], num_descriptors=1, words=["marble"], characters="x")["ring"]
        ['A photo of a ring, which has marb.', 'A photo of a ring, which has xxxxxx.']

        ```
    """
    if num_descriptors < 1:
        raise ValueError(f"num_descriptors must be at least 1, got {num_descriptors}.")
    generator = random.Random(seed)
    if words is None:
        words = one_token_words(AutoTokenizer.from_pretrained(CLIP_DIR) if tokenizer is None else tokenizer, generator)
    if not words or not characters:
        raise ValueError("words and characters must not be empty. Pass at least one of each to choose from.")
    names = clean_class_names(class_names)
    split = [name.split() for name in names]
    num_words = round(fmean(map(len, split)))
    word_length = round(fmean(fmean(map(len, own)) for own in split))
    num_groups = round(fmean(len(own) - 1 for own in split)) + 1
    group_length = math.ceil(fmean(max(map(len, own)) for own in split)) // num_groups + 1
    descriptors = []
    for _ in range(num_descriptors):
        descriptors.append(" ".join(word[:word_length] for word in generator.choices(words, k=num_words)))
        groups = ("".join(generator.choices(characters, k=group_length)) for _ in range(num_groups))
        descriptors.append(", ".join(groups))
    return {
        own: [f"A photo of a {name}, which has {descriptor}." for descriptor in descriptors]
        for own, name in zip(check_class_names(class_names), names, strict=True)
    }


def one_token_words(tokenizer: PreTrainedTokenizerBase, generator: random.Random) -> list[str]:
    """Return up to a thousand random words of letters that a tokenizer keeps in one token; some are endings of words.

    Args:
        tokenizer: the tokenizer.
        generator: source of the random choices.
    """
    words: list[str] = []
    for index in generator.sample(range(len(tokenizer)), k=len(tokenizer)):
        word = tokenizer.decode([index]).strip()
        if len(word) < SHORTEST_WORD or not word.isalpha():
            continue
        if tokenizer(word, add_special_tokens=False)["input_ids"] == [index]:
            words.append(word)
        if len(words) == MAX_WORDS:
            break
    return words
