"""A left-padded batch generates the same as each example alone, for every kind of decoding and caching."""

import copy
from itertools import pairwise

import pytest
import torch
from transformers import GenerationConfig, PreTrainedModel

from tests.prefix_lm.backbones import METHODS, examples, made, make


LANGUAGE_MODELS = ["gpt2", "opt", "gptj", "gpt_neox", "llama"]
NEW_TOKENS = 8


def written(model: PreTrainedModel, inputs: dict[str, torch.Tensor], **arguments: object) -> list[list[int]]:
    tokens = model.generate(**inputs, **{"max_new_tokens": NEW_TOKENS, "do_sample": False, **arguments})
    return tokens[:, inputs["input_ids"].shape[1] :].tolist()


def alone(model: PreTrainedModel, **arguments: object) -> list[list[int]]:
    """What the four examples give one at a time, filled up as `generate` fills finished texts up in a batch."""
    texts = [text for index in range(4) for text in written(model, examples(model, [index]), **arguments)]
    longest = max(map(len, texts))
    return [text + [model.config.pad_token_id] * (longest - len(text)) for text in texts]


@pytest.mark.parametrize("language_model", [*LANGUAGE_MODELS, "bloom"])
@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_generated_as_its_examples_alone(method: str, language_model: str) -> None:
    """With 1, 3, 0 and 1 images."""
    model = made(method, language_model)
    batch = examples(model, [0, 1, 2, 3])
    assert batch["attention_mask"][:, 0].min() == 0
    assert batch["attention_mask"][:, -1].min() == 1
    for arguments in ({}, {"num_beams": 3, "num_return_sequences": 2}):
        together = written(model, batch, **arguments)
        assert together == alone(model, **arguments)
        assert len({tuple(text) for text in together}) > 2  # the examples differ


@pytest.mark.parametrize("language_model", LANGUAGE_MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_every_kind_of_cache_generates_the_same(method: str, language_model: str) -> None:
    model = made(method, language_model)
    batch = examples(model, [0, 1, 2, 3])
    for arguments in ({}, {"num_beams": 2}):
        expected = written(model, batch, **arguments)
        assert written(model, batch, use_cache=False, **arguments) == expected
        assert written(model, batch, cache_implementation="static", **arguments) == expected


@pytest.mark.parametrize("method", METHODS)
def test_vectors_instead_of_tokens_and_images_generate_the_same(method: str) -> None:
    model = made(method, "llama")
    inputs = examples(model, [1])
    pixels = inputs.pop("pixel_values")
    is_slot = inputs["input_ids"] == model.image_token_id
    vectors = model.get_input_embeddings()(inputs["input_ids"].masked_fill(is_slot, 0))
    vectors[is_slot] = model.get_image_features(pixels).pooler_output.flatten(0, 1)
    length = inputs["input_ids"].shape[1]
    alone = model.generate(inputs_embeds=vectors, max_new_tokens=NEW_TOKENS, do_sample=False)
    both = model.generate(**inputs, pixel_values=pixels, max_new_tokens=NEW_TOKENS, do_sample=False)
    if method == "frozen":  # MAnTiS adds a segment to each vector, which it knows by the tokens
        assert alone.tolist() == both[:, length:].tolist()
    with pytest.raises(ValueError, match="cannot be combined with inputs_embeds"):
        model.generate(inputs_embeds=vectors, pixel_values=pixels, max_new_tokens=2)


@pytest.mark.parametrize("method", METHODS)
def test_generation_stops_at_a_string(method: str) -> None:
    model = made(method, "gpt2")
    inputs, tokenizer = examples(model, [3]), model.processor.tokenizer
    full = written(model, inputs)[0]
    assert written(model, inputs, stop_strings=["no such words"], tokenizer=tokenizer)[0] == full
    ends = [token for token in full if (text := tokenizer.decode(token)).isascii() and text.strip()]
    for token in ends[:1]:
        stopped = written(model, inputs, stop_strings=[tokenizer.decode(token)], tokenizer=tokenizer)[0]
        assert stopped == full[: full.index(token) + 1]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"num_beams": 3, "num_return_sequences": 3},
        {"use_cache": False},
        {"cache_implementation": "static"},
        {"do_sample": True, "num_return_sequences": 4},
    ],
)
def test_images_are_encoded_once(method: str, arguments: dict) -> None:
    model = made(method, "gpt2")
    calls = []
    hook = model.vision_model.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    written(model, examples(model, [0, 1, 2, 3]), **arguments)
    hook.remove()
    assert calls == [5]


@pytest.mark.parametrize("method", METHODS)
def test_images_and_their_order_matter(method: str) -> None:
    """Otherwise the tests above would hold of a model that is blind."""
    model = made(method, "llama")
    batch = examples(model, [1])
    swapped = batch | {"pixel_values": batch["pixel_values"].flip(0)}
    with torch.no_grad():
        assert not torch.allclose(model(**batch).logits, model(**swapped).logits, atol=0.01)
    assert written(model, batch) != written(model, batch | {"pixel_values": torch.zeros_like(batch["pixel_values"])})


@pytest.mark.parametrize("language_model", ["gpt2", "opt"])  # without and with spare rows in the vocabulary
@pytest.mark.parametrize("method", METHODS)
def test_the_methods_own_tokens_are_never_generated(method: str, language_model: str) -> None:
    model = make(method, language_model)
    own = set(model.own_token_ids)
    head = model.get_output_embeddings()
    with torch.no_grad():  # all but independent of the input, were they not kept from it
        favoured = [token for token in own if token < head.weight.shape[0]]
        head.weight[favoured] *= 50
    inputs = examples(model, [0, 1])
    wild = {"do_sample": True, "temperature": 20.0, "top_k": 0, "num_return_sequences": 20}
    for arguments in ({}, {"num_beams": 2}, wild):
        assert not own & {token for text in written(model, inputs, **arguments) for token in text}
    out = model.generate(**inputs, generation_config=GenerationConfig(max_new_tokens=10, **wild))  # of the user's own
    assert not own & set(out[:, inputs["input_ids"].shape[1] :].flatten().tolist())


@pytest.mark.parametrize("language_model", ["gpt2", "opt"])
@pytest.mark.parametrize("method", METHODS)
def test_penalties_that_look_at_the_prompt_work(method: str, language_model: str) -> None:
    """They look up every token of the prompt among the logits, placeholders too."""
    model = made(method, language_model)
    batch = examples(model, [0, 1, 2, 3])
    tokens = written(model, batch, repetition_penalty=1.3, no_repeat_ngram_size=2, num_beams=2)
    for text in tokens:
        pairs = [pair for pair in pairwise(text) if pair[1] != model.config.pad_token_id]
        assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize("method", METHODS)
def test_transition_scores_are_the_log_probabilities_of_what_was_generated(method: str) -> None:
    model = made(method, "gpt2")
    batch = examples(model, [0])
    for num_beams in (1, 3):
        out = model.generate(
            **batch, max_new_tokens=4, num_beams=num_beams, output_scores=True, return_dict_in_generate=True
        )
        beams = {} if num_beams == 1 else {"beam_indices": out.beam_indices}
        scores = model.compute_transition_scores(out.sequences, out.scores, normalize_logits=num_beams == 1, **beams)
        mask = torch.ones_like(out.sequences)
        with torch.no_grad():
            logits = model(**batch | {"input_ids": out.sequences, "attention_mask": mask}).logits
        own = [token for token in model.own_token_ids if token < logits.shape[-1]]
        logits[..., own] = -torch.inf  # which are not to be written
        prompt = batch["input_ids"].shape[1]
        new = out.sequences[:, prompt:]
        expected = logits[:, prompt - 1 : -1].log_softmax(-1).gather(-1, new[..., None])[..., 0]
        torch.testing.assert_close(scores, expected[:, : scores.shape[1]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_prompt_without_images_takes_no_pixels(method: str) -> None:
    model = made(method, "gpt2")
    prompt = model.processor(text=["a red mug", "mug"], padding=True, return_tensors="pt")
    assert "pixel_values" not in prompt
    assert len(written(model, dict(prompt))) == 2


def test_a_prefix_may_be_read_in_chunks_where_no_separator_has_a_say() -> None:
    model = made("frozen", "llama")
    batch = examples(model, [0, 1])
    assert written(model, batch, prefill_chunk_size=4) == written(model, batch)
    model = made("mantis", "llama")
    with pytest.raises(ValueError, match="prefill_chunk_size"):
        written(model, examples(model, [0, 1]), prefill_chunk_size=4)


@pytest.mark.parametrize("method", METHODS)
def test_a_draft_model_changes_no_text(method: str, transformers_records: list[str]) -> None:
    """Whether it is a copy, which takes the images as they are, or of another width, which sees none."""
    model = make(method, "gpt2")
    narrow = copy.deepcopy(model.config)
    narrow.text_config.n_embd = 16
    for index in (0, 1):
        prompt = examples(model, [index])
        expected = model.generate(**prompt, max_new_tokens=6, do_sample=False)
        for draft in (copy.deepcopy(model), type(model)(narrow).eval()):
            written = model.generate(**prompt, max_new_tokens=6, do_sample=False, assistant_model=draft)
            assert torch.equal(written, expected)
    transformers_records.clear()  # transformers warns of how it calls the draft itself


@pytest.mark.parametrize("method", METHODS)
def test_images_without_their_placeholders_are_refused(method: str) -> None:
    model = make(method, "llama")
    with pytest.raises(ValueError, match="Images need input_ids with their placeholders"):
        model.generate(pixel_values=examples(model, [0])["pixel_values"], max_new_tokens=2)
