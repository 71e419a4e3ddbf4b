"""Class names as they are written in prompts, and invalid class names."""

import pytest
from transformers import CLIPConfig

from hf_prompt_models.prompts.class_names import (
    check_class_names,
    check_prompt_lengths,
    clean_class_names,
    get_tokenizer,
    tokenize_prompts,
)
from tests.stand_ins import CLIP_MERGES, END, clip_tokenizer, clip_vocabulary


VOCABULARY = clip_vocabulary()
LEGACY = CLIPConfig(
    text_config={"vocab_size": len(VOCABULARY), "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
)
MODERN = CLIPConfig(
    text_config={
        "vocab_size": len(VOCABULARY),
        "bos_token_id": len(VOCABULARY) - 2,
        "eos_token_id": len(VOCABULARY) - 1,
        "pad_token_id": 1,
    }
)


def test_underscores_become_spaces_and_nothing_else_changes() -> None:
    assert clean_class_names(["sea_or_lake", "Mexican hairless", "kite (bird)."]) == [
        "sea or lake",
        "Mexican hairless",
        "kite (bird).",
    ]


@pytest.mark.parametrize(
    ("names", "said"),
    [([], "at least one"), ([""], "0"), (["cat", " _ "], "1"), (["cat", None], "1"), ("cat", "list")],
)
def test_names_that_cannot_be_read_are_refused(names: list, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        clean_class_names(names)


@pytest.mark.parametrize("config", [LEGACY, MODERN])
def test_prompts_run_from_the_start_token_to_the_end_token(config: CLIPConfig) -> None:
    (ids,) = tokenize_prompts(clip_tokenizer(), ["a photo of a cat."], config)
    tokens = ["a</w>", "photo</w>", "of</w>", "a</w>", "cat</w>", ".</w>"]
    assert ids == [len(VOCABULARY) - 2, *(VOCABULARY[token] for token in tokens), len(VOCABULARY) - 1]


@pytest.mark.parametrize("config", [LEGACY, MODERN])
def test_a_name_that_holds_the_end_token_is_refused(config: CLIPConfig) -> None:
    with pytest.raises(ValueError, match="special token"):
        tokenize_prompts(clip_tokenizer(), [f"a {END} cat."], config)


@pytest.mark.parametrize("config", [LEGACY, MODERN])
@pytest.mark.parametrize(("kind", "text"), [("too large", "cat."), ("no end token", "cat."), ("no end token", "!.")])
def test_another_towers_tokenizer_is_refused(kind: str, text: str, config: CLIPConfig) -> None:
    tokenizer = clip_tokenizer()
    if kind == "too large":
        tokenizer.add_tokens(["cat"])
    else:  # as GPT-2's: no special tokens around the text
        tokenizer.backend_tokenizer.post_processor = None
    with pytest.raises(ValueError, match="Pass the tokenizer of this backbone"):
        tokenize_prompts(tokenizer, [text], config)


def test_a_tokenizer_or_its_processor_is_asked_for() -> None:
    tokenizer = clip_tokenizer(CLIP_MERGES)
    assert get_tokenizer(tokenizer) is tokenizer
    with pytest.raises(TypeError, match=r"got str.*AutoTokenizer"):
        get_tokenizer("openai/clip-vit-base-patch32")


def test_names_too_long_are_named_with_their_length_and_what_fits() -> None:
    check_prompt_lengths(["cat", "dog"], [58, 1], 77, [19, 19])
    with pytest.raises(ValueError, match=r"1 class name.* 77 .*'dog' has 59 tokens, but only 58 fit"):
        check_prompt_lengths(["cat", "dog"], [58, 59], 77, [19, 19])


def test_a_name_too_long_for_several_templates_is_reported_once() -> None:
    with pytest.raises(
        ValueError, match=r"^1 class name.*positions of the text encoder: 'dog' has 59 tokens, but only 57 fit\."
    ):
        check_prompt_lengths(["cat", "dog"] * 3, [1, 59] * 3, 77, [19, 19, 20, 20, 19, 19])


def test_sets_of_names_are_sorted_and_dictionaries_refused() -> None:
    assert check_class_names({"wren", "finch", "owl"}) == ["finch", "owl", "wren"]
    assert check_class_names({"wren": 0, "finch": 1}.keys()) == ["wren", "finch"]
    for names in ({"wren": 1, "finch": 0}, {0: "finch", 1: "wren"}):
        with pytest.raises(ValueError, match="list of class names in the order of their labels, got a dictionary"):
            check_class_names(names)
