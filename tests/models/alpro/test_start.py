"""From what ALPRO's training begins."""

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, PreTrainedModel

from hf_prompt_models import (
    AlproForPreTraining,
    AlproForVideoQuestionAnswering,
    AlproForVideoTextRetrieval,
    AlproModel,
    AlproPrompter,
)
from hf_prompt_models.models.alpro.start_alpro import load_prompter, load_start, new_small_model, word_tokenizer
from tests.models.alpro import little


def saved(model: PreTrainedModel, directory: Path) -> str:
    model.processor = little.processor()
    model.save_pretrained(directory)
    return str(directory)


CLASSES = [AlproModel, AlproForPreTraining, AlproForVideoTextRetrieval, AlproForVideoQuestionAnswering]


@pytest.mark.parametrize("source", CLASSES)
@pytest.mark.parametrize("wanted", CLASSES[1:])
def test_every_class_begins_from_every_other_silently(source: type, wanted: type, tmp_path: Path) -> None:
    """`transformers_records` fails the test if a warning goes by."""
    before = little.lively(source(little.config(num_entities=0)))
    model = load_start(wanted, saved(before, tmp_path / "a"), 2, 20)
    towers = before if isinstance(before, AlproModel) else before.alpro
    for name, tensor in towers.state_dict().items():
        assert torch.equal(model.alpro.state_dict()[name], tensor), name
    assert all(bool(torch.isfinite(each).all()) for each in model.parameters())
    if "vtm_head.weight" in before.state_dict() and "vtm_head.weight" in model.state_dict():
        assert torch.equal(model.vtm_head.weight, before.vtm_head.weight)
    assert (model.processor.num_frames, model.processor.max_text_length) == (2, 20)


def test_more_frames_resize_the_time_embeddings(tmp_path: Path) -> None:
    before = little.lively(AlproForPreTraining(little.config(num_entities=0)))
    model = load_start(AlproForVideoTextRetrieval, saved(before, tmp_path / "a"), 4, 30)
    old, new = (each.alpro.video_model.embeddings.time_embeddings for each in (before, model))
    assert torch.equal(new, old[:, [0, 0, 1, 1]])
    assert model.config.num_frames == model.processor.num_frames == 4


def test_the_same_answers_keep_their_head_and_others_get_a_new_one(tmp_path: Path) -> None:
    answers = ["dog", "cat", "ball"]
    fields = {"id2label": dict(enumerate(answers)), "label2id": {each: n for n, each in enumerate(answers)}}
    before = little.lively(AlproForVideoQuestionAnswering(little.config(num_entities=0, **fields)))
    directory = saved(before, tmp_path / "a")
    same = load_start(AlproForVideoQuestionAnswering, directory, 2, 30, answers=answers)
    assert torch.equal(same.classifier[2].weight, before.classifier[2].weight)
    for others in (["cat", "dog", "ball"], ["dog", "cat"], [*answers, "tree"]):
        model = load_start(AlproForVideoQuestionAnswering, directory, 2, 30, answers=others)
        assert list(model.config.id2label.values()) == others
        assert model.config.label2id[others[0]] == 0
        assert model.classifier[2].weight.shape[0] == len(others)
        assert not torch.equal(model.classifier[0].weight, before.classifier[0].weight)
        assert torch.equal(model.alpro.video_projection.weight, before.alpro.video_projection.weight)


def test_a_prompter_is_made_of_any_alpro_and_keeps_its_own_entities(tmp_path: Path) -> None:
    towers = little.lively(AlproModel(little.config(num_entities=0)))
    directory = saved(towers, tmp_path / "a")
    made = load_prompter(directory, ["dog", "cat"], 2)
    expected = AlproPrompter.from_entities(towers, ["dog", "cat"], little.processor())
    assert torch.allclose(made.video_prompts, expected.video_prompts, atol=1e-6)
    kept = load_prompter(saved(made, tmp_path / "b"), None, 4)
    assert (kept.config.entities, kept.config.num_frames) == (["dog", "cat"], 4)
    with pytest.raises(ValueError, match="--entities"):
        load_prompter(directory, None, 2)
    with pytest.raises(ValueError, match="again"):
        load_prompter(directory, ["dog", "Dog"], 2)


def test_something_else_is_refused(tmp_path: Path) -> None:
    BertForMaskedLM(
        BertConfig(vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(tmp_path)
    with pytest.raises(TypeError, match="'bert'"):
        load_start(AlproModel, str(tmp_path), 2, 30)


def test_a_file_that_lacks_towers_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    directory = saved(little.lively(AlproForPreTraining(little.config(num_entities=0))), tmp_path / "a")
    file = Path(directory) / "model.safetensors"
    tensors = {name: each for name, each in load_file(file).items() if "video_projection" not in name}
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(ValueError, match="lacks weights of ALPRO's towers"):
        load_start(AlproForVideoTextRetrieval, directory, 2, 30)


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
