"""WaffleCLIP's random descriptors: their sizes, their sharing by all classes, and their words."""

import math
import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from hf_prompt_models.playground import CLIP_DIR
from hf_prompt_models.prompts import waffle_prompts
from hf_prompt_models.prompts.waffle import one_token_words


NAMES = st.lists(
    st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=4).map("_".join), min_size=1, max_size=5
)


def sizes(names: list[str]) -> tuple[int, int, list[int]]:
    """Number of words, their length and the lengths of the groups, as in `waffle_tools.py`."""
    names = [name.replace("_", " ") for name in names]
    num_words = int(np.max([np.round(np.mean([len(name.split(" ")) for name in names])), 1]))
    word_length = int(np.round(np.mean([np.mean([len(word) for word in name.split(" ")]) for name in names])))
    groups = int(np.round(np.mean([name.count(" ") for name in names]))) + 1
    characters = math.ceil(np.mean([max(len(word) for word in name.split(" ")) for name in names]))
    characters += groups - characters % groups
    return num_words, word_length, [characters // groups] * groups


@given(names=NAMES, seed=st.integers(0, 9))
def test_descriptors_have_the_mean_sizes_of_the_names(names: list[str], seed: int) -> None:
    words, characters = ["x" * 12, "yz" * 6], "0123456789"
    prompts = waffle_prompts(names, num_descriptors=3, seed=seed, words=words, characters=characters)
    assert list(prompts) == list(dict.fromkeys(names))
    num_words, word_length, groups = sizes(names)
    for name, sentences in prompts.items():
        assert len(sentences) == 6
        for index, sentence in enumerate(sentences):
            start = f"A photo of a {name.replace('_', ' ')}, which has "
            assert sentence.startswith(start)
            descriptor = sentence.removeprefix(start).removesuffix(".")
            if index % 2:
                assert [len(group) for group in descriptor.split(", ")] == groups
                assert set(descriptor) <= {*characters, ",", " "}
            else:
                assert set(descriptor.split(" ")) <= {word[:word_length] for word in words}
                assert len(descriptor.split(" ")) == num_words


def test_all_classes_share_the_descriptors_of_a_seed() -> None:
    cat, dog = waffle_prompts(["cat", "dog"]).values()
    assert len(cat) == len(set(cat)) == 30
    assert [sentence.replace("cat,", "dog,") for sentence in cat] == dog
    assert waffle_prompts(["cat", "dog"]) == {"cat": cat, "dog": dog}
    assert not set(cat) & set(waffle_prompts(["cat", "dog"], seed=1)["cat"])


def test_words_are_those_that_a_tokenizer_keeps_in_one_token() -> None:
    tokenizer = AutoTokenizer.from_pretrained(CLIP_DIR)
    words = one_token_words(tokenizer, random.Random(0))
    expected = {token.removesuffix("</w>") for token in tokenizer.get_vocab() if token.endswith("</w>")}
    assert set(words) == {word for word in expected if re.fullmatch("[a-z]{3,}", word)}
    assert len(words) == len(set(words))
    assert waffle_prompts(["cat"], tokenizer=tokenizer) == waffle_prompts(["cat"])


@pytest.mark.parametrize(
    "choices", [{"num_descriptors": 0}, {"words": []}, {"characters": ""}], ids=["descriptors", "words", "characters"]
)
def test_nothing_to_choose_from_is_refused(choices: dict) -> None:
    with pytest.raises(ValueError, match=r"num_descriptors must be at least 1, got 0|must not be empty"):
        waffle_prompts(["cat"], **choices)
