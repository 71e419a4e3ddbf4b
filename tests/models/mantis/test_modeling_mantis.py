"""Features specific to MAnTiS: cells, segments, embeddings of its tokens, and trained parameters."""

from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, GPT2Config, ResNetConfig, pipeline

from hf_prompt_models import MantisConfig, MantisForConditionalGeneration, MantisProcessor
from tests.prefix_lm.backbones import examples, language_folder, made, make, resnet_folder
from tests.tested_method import random_image


def new(language_model: str = "gpt2", **choices: object) -> MantisForConditionalGeneration:
    return MantisForConditionalGeneration.from_backbone(
        language_folder(language_model), vision_model=resnet_folder(), **choices
    )


# -- images ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(1, 10))
def test_an_image_is_averaged_over_a_grid_of_cells(count: int) -> None:
    model = new(num_image_tokens=count)
    rows, columns = {4: (2, 2), 6: (3, 2), 8: (4, 2), 9: (3, 3)}.get(count, (count, 1))
    inputs = model.processor(images=[[random_image(0)]], text=[""], return_tensors="pt")
    assert int((inputs["input_ids"] == model.config.image_token_id).sum()) == count
    with torch.no_grad():
        features = model.get_image_features(inputs["pixel_values"])
        (feature_map,) = features.last_hidden_state
        height, width = feature_map.shape[1:]
        cells = []
        for row in range(rows):
            top, bottom = row * height // rows, -(-(row + 1) * height // rows)  # cells that do not divide overlap
            for column in range(columns):
                left, right = column * width // columns, -(-(column + 1) * width // columns)
                cells.append(feature_map[:, top:bottom, left:right].mean(dim=(1, 2)))
        linear = model.image_projection.linear
        expected = torch.stack(cells) @ linear.weight.T + linear.bias
    torch.testing.assert_close(features.pooler_output[0], expected)


@pytest.mark.parametrize("count", [0, 10])
def test_other_numbers_of_cells_are_refused(count: int) -> None:
    with pytest.raises(StrictDataclassError, match="1 to 9"):
        new(num_image_tokens=count)


# -- text ------------------------------------------------------------------------------------------------------------


def test_a_prompt_is_slots_title_separator_and_then_the_description() -> None:
    processor = new(num_image_tokens=2).processor
    inputs = processor(images=[[random_image(0)]], text="a red mug", suffix="it is red")
    text = processor.tokenizer.decode(inputs["input_ids"][0])
    assert text == "<image><image>a red mug<sep>it is red<|endoftext|>"
    assert processor.tokenizer.decode(inputs["input_ids"][0], skip_special_tokens=True) == "a red mugit is red"
    for title in ("a <sep> mug", "<sep>"):
        with pytest.raises(ValueError, match="contains <sep>"):
            processor(text=title)


@pytest.mark.parametrize(
    ("condition_on", "expected"), [("both", "<image>a mug<sep>"), ("images", "<image><sep>"), ("title", "a mug<sep>")]
)
@pytest.mark.parametrize("typed", [False, True])
def test_a_condition_can_be_left_out(typed: bool, condition_on: str, expected: str, tmp_path: Path) -> None:
    processor = new().processor
    processor.condition_on = condition_on
    processor.save_pretrained(tmp_path)
    processor = MantisProcessor.from_pretrained(tmp_path)
    inputs = processor(images=[[random_image(0)]], text=["<image>a mug" if typed else "a mug"])
    assert processor.tokenizer.decode(inputs["input_ids"][0]) == expected
    assert ("pixel_values" in inputs) == (condition_on != "title")
    with pytest.raises(ValueError, match="condition_on"):
        MantisProcessor(processor.image_processor, processor.tokenizer, condition_on="nothing")


def test_segments_tell_image_title_and_description_apart() -> None:
    """Zero at the start; the separator belongs to the description, as all that is written behind it."""
    model = new(num_image_tokens=2)
    assert not model.segments.weight.any()
    ids = model.processor(images=[[random_image(0)]], text=["mug"], suffix=["a"], return_tensors="pt")["input_ids"]
    assert model._segment_ids(ids).tolist() == [[0, 0, *[1] * 3, 2, 2, 2]]
    for place in range(6, 8):  # a token alone, as it comes with a cache
        assert model._segment_ids(ids[:, place : place + 1]).tolist() == [[2]]


# -- rows of the vocabulary ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language_model", ["gpt2", "gptj", "llama", "bloom"])
def test_new_rows_are_the_mean_of_the_others(language_model: str) -> None:
    bare = AutoModelForCausalLM.from_pretrained(language_folder(language_model))
    size = bare.config.vocab_size
    torch.manual_seed(1)
    model = new(language_model)
    assert model.config.text_config.vocab_size == size + 2
    assert {model.config.image_token_id, model.config.separator_token_id} == {size, size + 1}
    pairs = [
        (model.get_input_embeddings().weight, bare.get_input_embeddings().weight),
        (model.get_output_embeddings().weight, bare.get_output_embeddings().weight),
    ]
    if language_model == "gptj":
        pairs.append((model.get_output_embeddings().bias, bare.get_output_embeddings().bias))
    for found, before in pairs:
        assert torch.equal(found[:size], before)
        torch.testing.assert_close(found[size:], before.mean(dim=0).expand_as(found[size:]))


def test_spare_rows_are_used_where_there_are_some() -> None:
    bare = AutoModelForCausalLM.from_pretrained(language_folder("opt"))
    model = new("opt")
    assert torch.equal(model.get_input_embeddings().weight, bare.get_input_embeddings().weight)


def test_a_checkpoint_without_the_language_model_finds_its_rows_again(tmp_path: Path) -> None:
    model = make("mantis", "gpt2", freeze_text=True)
    model.save_pretrained(tmp_path)
    torch.manual_seed(7)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert loaded.config.weights_scope == "prompt"
    assert loaded.config.base_model_name_or_path == str(language_folder("gpt2"))
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_a_configuration_makes_a_model_without_any_checkpoint() -> None:
    config = MantisConfig(
        text_config=GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=32, vocab_size=40),
        vision_config=ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1]),
        image_token_id=40,
        separator_token_id=41,
    )
    model = MantisForConditionalGeneration(config)
    assert model.get_input_embeddings().num_embeddings == 42
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    for missing in ("image_token_id", "separator_token_id"):
        with pytest.raises(ValueError, match=missing):
            MantisForConditionalGeneration(MantisConfig(**config.to_dict() | {missing: None}))


# -- what is trained -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("freeze_vision", [False, True])
@pytest.mark.parametrize("freeze_text", [False, True])
def test_parts_are_trained_or_frozen(freeze_text: bool, freeze_vision: bool) -> None:
    model = make("mantis", "gpt2", freeze_text=freeze_text, freeze_vision=freeze_vision).train()
    model(**examples(model, [0, 1, 2], suffix=["red", "a", "it"])).loss.backward()
    graded = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None}
    frozen = {
        name for name, is_frozen in (("language_model", freeze_text), ("vision_model", freeze_vision)) if is_frozen
    }
    assert graded == {"language_model", "vision_model", "image_projection", "segments"} - frozen
    assert model.language_model.training != freeze_text
    assert model.vision_model.training != freeze_vision


def test_a_trained_language_model_is_saved_and_names_no_base(tmp_path: Path) -> None:
    model = make("mantis", "gpt2")
    assert model.config.weights_scope == "full"
    assert model.config.base_model_name_or_path is None
    with pytest.raises(ValueError, match="save_backbone=True"):
        model.save_pretrained(tmp_path, save_backbone=False)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert all(parameter.requires_grad for parameter in loaded.parameters())


# -- the pipeline ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["mantis", "frozen"])
def test_the_pipeline_takes_one_image_or_many_with_and_without_placeholders(method: str, tmp_path: Path) -> None:
    model = made(method, "gpt2")
    model.save_pretrained(tmp_path)
    pipe = pipeline("image-text-to-text", model=str(tmp_path), max_new_tokens=5)
    first, second = random_image(0), random_image(1)

    def expected(images: list, text: str) -> str:
        prompt = model.processor(images=[images], text=[text], return_tensors="pt")
        out = model.generate(**prompt, max_new_tokens=5)[0, prompt["input_ids"].shape[1] :]
        return model.processor.decode(out, skip_special_tokens=True)

    one, two = expected([first], "a mug"), expected([first, second], "a mug")
    assert one != two

    def answers(**inputs: object) -> list[str]:
        out = pipe(**inputs, return_full_text=False)
        return [(answer[0] if isinstance(answer, list) else answer)["generated_text"] for answer in out]

    assert answers(images=first, text="a mug") == [one]
    assert answers(images=first, text="<image>a mug") == [one]
    assert answers(images=[first, second], text="a mug") == [two]
    assert answers(images=[first, second], text="<image><image>a mug") == [two]
    assert answers(images=[[first], [first, second]], text=["a mug", "a mug"]) == [one, two]
    assert answers(images=[first, first], text=["a mug", "<image>a mug"][:1] * 2) == [one, one]
    assert answers(images=first, text="") == [expected([first], "")]
    full = pipe(images=first, text="a mug")[0]["generated_text"]
    assert full == "a mug" + one
    # One after another and in batches, with different numbers of images.
    data = [{"images": [first], "text": "a mug"}, {"images": [first, second], "text": "a mug"}]
    for batch_size in (1, 2):
        out = pipe((item for item in data), batch_size=batch_size, return_full_text=False)
        assert [answer[0]["generated_text"] for answer in out] == [one, two]
