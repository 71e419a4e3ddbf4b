"""The tiny language model: training texts, initialisation, and word binding of the packaged model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_prompt_models.models.frozen import recipe_frozen
from hf_prompt_models.playground import LM_DIR
from hf_prompt_models.playground.product_cards import CARD_COLOURS, MATERIALS, SIZES
from hf_prompt_models.playground.shapes import SHAPES
from hf_prompt_models.playground.word_binding import NONSENSE_WORDS
from hf_prompt_models.tasks.text_generation.arguments import TextGenerationArguments
from hf_prompt_models.tasks.text_generation.run import backbones
from scripts.playground import language_model
from scripts.playground.card_texts import binding_text, caption_text, product_text
from scripts.playground.language_model import (
    binding_accuracy,
    build_language_model,
    encode_texts,
    learn_language_tokenizer,
    pretrain_language_model,
    write_text,
)


# -- what it reads ---------------------------------------------------------------------------------------------------


def test_a_name_is_given_before_it_is_asked_and_always_goes_with_the_same_product() -> None:
    for index in range(60):
        pieces = binding_text(np.random.default_rng(index))
        names: dict[str, str] = {}
        for place, piece in enumerate(pieces):
            name = piece.text.removesuffix(".")
            if name not in NONSENSE_WORDS:
                continue
            product = pieces[place - 2].text
            assert names.setdefault(product, name) == name
            assert piece.told == (product in [earlier.text for earlier in pieces[: place - 2]])
        assert 2 <= len(set(names.values())) == len(names) <= 4
        assert sorted(names.values()) == pieces[0].text.removeprefix("answer with ").removesuffix(".").split(" or ")
        assert (pieces[-2].text, pieces[-1].told) == ("what is this? this is a", 1)


def test_a_caption_repeats_what_is_before_it() -> None:
    for index in range(20):
        pieces = caption_text(np.random.default_rng(index))
        names, carriers, said = pieces[::3], pieces[1::3], pieces[2::3]
        assert [piece.text for piece in names] == [piece.text.removesuffix(".") for piece in said]
        assert {piece.text for piece in carriers} <= {"this is a", "what is this? this is a"}


def test_words_between_a_product_and_its_name_can_be_left_out() -> None:
    for frame, words in enumerate(((), ("a",), ("is a",), ("this is a",))):
        pieces = binding_text(np.random.default_rng(3), frame, headed=False)
        between = {piece.text.removesuffix(".") for piece in pieces} - {*NONSENSE_WORDS, "what is this? this is a"}
        assert {text for text in between if text.split()[0] not in CARD_COLOURS} == set(words)


def test_stories_never_hold_a_name() -> None:
    for index in range(20):
        (piece,) = product_text(np.random.default_rng(index))
        assert not set(piece.text.split()) & set(NONSENSE_WORDS)


def test_tokens_are_those_of_the_whole_text_and_what_was_given_is_marked() -> None:
    tokenizer = AutoTokenizer.from_pretrained(LM_DIR)
    texts = [write_text(np.random.default_rng(index)) for index in range(20)]
    tokens, told = encode_texts(texts, tokenizer)
    for text, row, marks in zip(texts, tokens.tolist(), told.tolist(), strict=True):
        whole = tokenizer(" ".join(piece.text for piece in text))["input_ids"]
        ends = len(row) - len(whole)
        assert row == whole + [tokenizer.eos_token_id] * ends
        assert ends >= 1
        marked = [token for token, mark in zip(row, marks, strict=True) if mark]
        assert tokenizer.decode(marked).split() == [
            word.removesuffix(".") for piece in text for word in piece.text.split()[: piece.told]
        ]


# -- how it is made --------------------------------------------------------------------------------------------------


def test_heads_of_the_first_layer_look_back_from_the_start() -> None:
    torch.manual_seed(0)
    model = build_language_model(AutoTokenizer.from_pretrained(LM_DIR)).eval()
    with torch.no_grad():
        attention = model(input_ids=torch.arange(30)[None], output_attentions=True).attentions[0][0]
    for head in range(8):
        for position in (12, 29):
            assert attention[head, position].argmax() == position - head - 1
            assert attention[head, position].max() > 0.8


def test_pre_training_writes_a_folder_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_model, "BATCH_SIZE", 2)
    monkeypatch.setattr(language_model, "binding_accuracy", lambda *_: 0.0)
    pretrain_language_model(tmp_path, seed=3, steps=2)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = tokenizer("red lamp this is a", return_tensors="pt")["input_ids"]
    assert model(input_ids=ids).logits.isfinite().all()


def test_the_tokenizer_has_the_words_of_its_texts_in_one_piece() -> None:
    tokenizer = learn_language_tokenizer(["a dax and a blicket"] * 3)
    assert tokenizer.tokenize("dax blicket") == ["Ġdax", "Ġblicket"]


# -- the shipped one -------------------------------------------------------------------------------------------------


def test_the_shipped_folder_is_small_and_complete() -> None:
    sizes = {path.name: path.stat().st_size for path in Path(LM_DIR).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= sizes.keys()
    assert sum(sizes.values()) < 4_000_000


def test_the_shipped_tokenizer_has_the_cards_words_in_one_piece_and_spells_any_text() -> None:
    tokenizer = AutoTokenizer.from_pretrained(LM_DIR)
    for word in (*SHAPES, *CARD_COLOURS, *MATERIALS, *SIZES, *NONSENSE_WORDS):
        assert tokenizer.tokenize(word) == [f"Ġ{word}"]
    for text in ("Größe: 3½ — “fine”", "日本語 🦆"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]).strip() == text


def test_the_shipped_model_binds_names_to_what_words_say() -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(LM_DIR).eval(), AutoTokenizer.from_pretrained(LM_DIR)
    assert binding_accuracy(model, tokenizer, seed=54321, episodes=100) >= 0.9  # chance is 0.5
    assert binding_accuracy(model, tokenizer, seed=54321, episodes=50, words=("dax", "blicket")) >= 0.9


def test_training_pairs_the_packaged_language_model_with_the_packaged_vision_model() -> None:
    settings = TextGenerationArguments(language_model="playground", train_file="")
    assert backbones(settings, recipe_frozen.RECIPE) == ("playground", "playground")
    settings = TextGenerationArguments(language_model="gpt2", train_file="")
    assert backbones(settings, recipe_frozen.RECIPE) == ("gpt2", "microsoft/resnet-50")
