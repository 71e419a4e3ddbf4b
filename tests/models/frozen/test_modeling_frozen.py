"""Features specific to Frozen: a frozen language model, one vector per image, and few-shot prompts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from PIL import Image
from safetensors import safe_open
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from hf_prompt_models import FrozenForConditionalGeneration, FrozenProcessor, build_fewshot_prompt
from tests.prefix_lm.backbones import examples, language_folder, made, make, resnet_folder
from tests.stand_ins import openai_clip_vit_base_patch32
from tests.stand_ins_language import LANGUAGE_MODELS, gpt2
from tests.tested_method import random_image


def new(language_model: str = "gpt2", **choices: object) -> FrozenForConditionalGeneration:
    return FrozenForConditionalGeneration.from_backbone(
        language_folder(language_model), vision_model=resnet_folder(), **choices
    )


# -- the language model never changes --------------------------------------------------------------------------------


@pytest.mark.parametrize("language_model", ["gpt2", "llama"])
@pytest.mark.parametrize("vision_from_scratch", [False, True])
def test_a_hundred_steps_leave_every_tensor_of_the_language_model(
    vision_from_scratch: bool, language_model: str, tmp_path: Path
) -> None:
    model = new(language_model, vision_from_scratch=vision_from_scratch)
    batch = examples(model, [0, 1, 2, 3], suffix=["red", "a thing", "mug", "it"])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    losses = []
    for _ in range(100):
        model.train()
        assert not any(module.training for module in model.language_model.modules())
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    after = model.state_dict()
    bare = AutoModelForCausalLM.from_pretrained(language_folder(language_model)).state_dict()
    assert {name.removeprefix("language_model.") for name in after if name.startswith("language_model.")} == set(bare)
    for name, tensor in after.items():
        if name.startswith("language_model."):
            assert torch.equal(tensor, before[name])
            assert torch.equal(tensor, bare[name.removeprefix("language_model.")])
        elif "running" not in name and "num_batches" not in name:
            assert not torch.equal(tensor, before[name]), name
    statistics = [name for name in after if "running" in name]
    assert {not torch.equal(after[name], before[name]) for name in statistics} == {vision_from_scratch}

    model.eval()
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert {name.split(".")[0] for name in file.keys()} == {"vision_model", "image_projection"}  # noqa: SIM118
    learned = [tensor for name, tensor in after.items() if not name.startswith("language_model.")]
    assert (tmp_path / "model.safetensors").stat().st_size < sum(t.nbytes for t in learned) + 200 * len(learned) + 1000
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert loaded.config.base_model_name_or_path == str(language_folder(language_model))
    with torch.no_grad():
        assert torch.equal(loaded(**batch).logits, model(**batch).logits)


@pytest.mark.parametrize("language_model", LANGUAGE_MODELS)
def test_its_vocabulary_is_not_extended(language_model: str) -> None:
    bare = AutoModelForCausalLM.from_pretrained(language_folder(language_model))
    model = new(language_model)
    assert model.get_input_embeddings().weight.shape == bare.get_input_embeddings().weight.shape
    assert model.config.text_config.vocab_size == bare.config.vocab_size
    assert len(model.processor.tokenizer) > model.config.image_token_id


def test_another_language_model_of_the_same_sizes_is_refused(tmp_path: Path) -> None:
    new().save_pretrained(tmp_path / "saved")
    gpt2(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match="another backbone"):
        AutoModelForImageTextToText.from_pretrained(
            tmp_path / "saved", base_model_name_or_path=str(tmp_path / "other")
        )


# -- images ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 4])
def test_one_vector_an_image_makes_all_of_its_slots(count: int) -> None:
    model = new(num_image_tokens=count)
    inputs = model.processor(images=[[random_image(0), random_image(1)]], text=[""], return_tensors="pt")
    assert int((inputs["input_ids"] == model.config.image_token_id).sum()) == 2 * count
    with torch.no_grad():
        features = model.get_image_features(inputs["pixel_values"])
        linear = model.image_projection.linear
        flat = features.last_hidden_state.mean(dim=(2, 3)) @ linear.weight.T + linear.bias
    torch.testing.assert_close(features.pooler_output, flat.reshape(2, count, 32))


def test_a_vision_side_from_scratch_has_new_weights_and_trains_its_batch_norms(tmp_path: Path) -> None:
    pretrained, scratch = new(), new(vision_from_scratch=True)
    weights = [model.vision_model.embedder.embedder.convolution.weight for model in (pretrained, scratch)]
    assert not torch.allclose(*weights)
    for model, trains in ((pretrained, False), (scratch, True)):
        model.save_pretrained(tmp_path / str(trains))
        loaded = AutoModelForImageTextToText.from_pretrained(tmp_path / str(trains))
        for each in (model, loaded):
            norms = [module for module in each.train().modules() if isinstance(module, nn.BatchNorm2d)]
            assert {norm.training for norm in norms} == {trains}
    with pytest.raises(StrictDataclassError, match="untrained"):
        new(vision_from_scratch=True, freeze_vision=True)


@pytest.mark.parametrize("size", [(60, 30), (30, 60), (64, 64), (200, 100)])
@pytest.mark.parametrize("vision", ["resnet", "clip"])
def test_images_are_padded_with_black_to_a_square_and_none_of_them_is_cut(
    vision: str, size: tuple[int, int], tmp_path: Path
) -> None:
    folder = resnet_folder() if vision == "resnet" else openai_clip_vit_base_patch32(tmp_path / "clip")
    processor = FrozenProcessor.from_backbone(language_folder("gpt2"), folder)
    side = 64 if vision == "resnet" else 224
    (pixels,) = processor(images=[[Image.new("RGB", size, "white")]], text=[""], return_tensors="pt")["pixel_values"]
    assert pixels.shape == (3, side, side)
    settings = processor.image_processor
    mean, std = torch.tensor(settings.image_mean), torch.tensor(settings.image_std)
    brightness = pixels * std[:, None, None] + mean[:, None, None]
    width, height = (side * edge // max(size) for edge in size)
    left, top = (side - width) // 2, (side - height) // 2
    expected = torch.zeros(3, side, side)
    expected[:, top : top + height, left : left + width] = 1.0
    inner = torch.ones(side, side, dtype=torch.bool)  # where the edge is not blurred
    for edge in (left, left + width):
        inner[:, max(edge - 3, 0) : edge + 3] &= edge in (0, side)
    for edge in (top, top + height):
        inner[max(edge - 3, 0) : edge + 3] &= edge in (0, side)
    torch.testing.assert_close(brightness[:, inner], expected[:, inner], rtol=0, atol=1e-4)


# -- few-shot prompts ------------------------------------------------------------------------------------------------

A, B, C = (random_image(seed) for seed in range(3))
SHOTS = [(A, "This is a dax."), (B, "This is a blicket.")]
QUERY = (C, "Q: What is this? A: This is a")


def test_a_few_shot_prompt_interleaves_images_and_texts() -> None:
    text, images = build_fewshot_prompt("Answer with dax or blicket.", SHOTS, QUERY)
    assert text == (
        "Answer with dax or blicket. <image>This is a dax. <image>This is a blicket. "
        "<image>Q: What is this? A: This is a"
    )
    assert images == [A, B, C]
    text, images = build_fewshot_prompt("", shots=SHOTS, query=QUERY, repeats=2)
    assert text == "<image>This is a dax. <image>This is a blicket. " * 3 + f"<image>{QUERY[1]}"
    assert images == [A, B] * 3 + [C]
    assert build_fewshot_prompt("", [], QUERY) == (f"<image>{QUERY[1]}", [C])


def test_a_few_shot_prompt_is_ready_for_the_processor() -> None:
    model = made("frozen", "llama")
    text, images = build_fewshot_prompt("a", [(A, "b"), (B, "d")], (C, "e"))
    inputs = model.processor(images=[images], text=[text], return_tensors="pt")
    alone = model.processor(images=images, text=text, return_tensors="pt")
    assert all(torch.equal(inputs[name], alone[name]) for name in inputs)
    slots = (inputs["input_ids"][0] == model.config.image_token_id).tolist()
    assert slots == [False, False, False, True, True, False, False, True, True, False, False, True, True, False]
    assert model.generate(**inputs, max_new_tokens=3).shape == (1, 17)


def test_wrong_few_shot_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="repeats"):
        build_fewshot_prompt("", SHOTS, QUERY, repeats=-1)
    for induction, query in (("<image>", QUERY), ("", (A, "a <image>"))):
        with pytest.raises(ValueError, match="<image>"):
            build_fewshot_prompt(induction, SHOTS, query)


def test_words_and_images_may_come_in_any_order() -> None:
    """The same images behind other words give other answers."""
    model = made("frozen", "gpt_neox")
    arrays = [np.asarray(image) for image in (A, B)]
    one = model.processor(images=[arrays], text=["<image>a <image>the"], return_tensors="pt")
    other = model.processor(images=[arrays[::-1]], text=["<image>a <image>the"], return_tensors="pt")
    with torch.no_grad():
        assert not torch.allclose(model(**one).logits[:, -1], model(**other).logits[:, -1], atol=1e-2)


def test_training_one_step_by_a_language_model_of_half_precision() -> None:
    model = make("frozen", "llama", dtype=torch.bfloat16).train()
    model(**examples(model, [0, 1], suffix=["red", "a"])).loss.backward()
    gradient = model.image_projection.linear.weight.grad
    assert gradient.dtype == torch.float32
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
