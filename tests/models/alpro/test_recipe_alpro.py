"""The prompters and the new small models for the start of training."""

from pathlib import Path

import pytest
import torch

from hf_prompt_models import (
    AlproForVideoTextRetrieval,
    AlproModel,
    AlproPrompter,
)
from hf_prompt_models.models.alpro.recipe_alpro import load_prompter, new_small_model, word_tokenizer
from tests.models.alpro import little


def test_a_prompter_is_made_of_any_alpro_and_keeps_its_own_entities(tmp_path: Path) -> None:
    towers = little.lively(AlproModel(little.config(num_entities=0)))
    directory = little.saved(towers, tmp_path / "a")
    made = load_prompter(directory, ["dog", "cat"], 2)
    expected = AlproPrompter.from_entities(towers, ["dog", "cat"], little.processor())
    assert torch.allclose(made.video_prompts, expected.video_prompts, atol=1e-6)
    kept = load_prompter(little.saved(made, tmp_path / "b"), None, 4)
    assert (kept.config.entities, kept.config.num_frames) == (["dog", "cat"], 4)
    with pytest.raises(ValueError, match="--entities"):
        load_prompter(directory, None, 2)
    with pytest.raises(ValueError, match="the same name as entity 0"):
        load_prompter(directory, ["dog", "Dog"], 2)


def test_a_new_model_knows_the_words_that_are_there_twice_and_spells_others() -> None:
    texts = ["a zebra runs", "the zebra sleeps", "one axolotl runs"]
    tokenizer = word_tokenizer(texts, 20)
    assert tokenizer.tokenize("A zebra runs") == ["a", "zebra", "runs"]
    assert tokenizer.tokenize("axe") == ["a", "##x", "##e"]
    model = new_small_model(AlproForVideoTextRetrieval, texts, 3, 20, 32, 16, 64, 2, num_labels=2)
    batch = model.processor(text=texts, return_tensors="pt")
    assert tokenizer.unk_token_id not in batch["input_ids"]
    assert model.config.num_frames == 3
    with pytest.raises(ValueError, match="multiple of 32"):
        new_small_model(AlproForVideoTextRetrieval, texts, 3, 20, 32, 16, 60, 2)
