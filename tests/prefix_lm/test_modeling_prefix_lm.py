"""The forward pass of methods over a language model, against the language model itself and manual sums."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from hf_prompt_models import FrozenForConditionalGeneration, MantisForConditionalGeneration
from hf_prompt_models.prefix_lm.processing_prefix_lm import IGNORED
from tests.local_hub import push_into
from tests.prefix_lm.backbones import METHODS, TITLES, examples, language_folder, made, make, resnet_folder
from tests.stand_ins_language import LANGUAGE_MODELS
from tests.tested_method import random_image


SUFFIXES = ["it is red", "a thing", "mug", "a red thing in the mug"]


def labelled(model: PreTrainedModel, **arguments: object) -> dict[str, torch.Tensor]:
    return examples(model, [0, 1, 2, 3], suffix=SUFFIXES, **arguments)


@pytest.mark.parametrize("language_model", LANGUAGE_MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_without_an_image_it_is_the_language_model(method: str, language_model: str) -> None:
    """At the start, when MAnTiS's segments are zero. It has two logits more, for its own tokens."""
    folder = language_folder(language_model)
    model = METHODS[method].from_backbone(folder, vision_model=resnet_folder())
    bare = AutoModelForCausalLM.from_pretrained(folder)
    inputs = model.processor.tokenizer(["a red mug", "the thing in the mug"], padding=True, return_tensors="pt")
    with torch.no_grad():
        positions = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        kwargs = {} if language_model == "bloom" else {"position_ids": positions}
        expected = bare(**inputs, **kwargs).logits
        found = model(**inputs).logits
    assert method == "mantis" or found.shape == expected.shape
    found = found[..., : expected.shape[-1]]
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(found[real], expected[real], rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_images_stand_in_their_slots(method: str) -> None:
    """The input of the language model equals a manually constructed one."""
    model = made(method, "gpt2")
    inputs = examples(model, [1])
    features = model.get_image_features(pixel_values=inputs["pixel_values"]).pooler_output
    assert features.shape == (3, 2, 32)
    ids = inputs["input_ids"][0].tolist()
    table = model.language_model.get_input_embeddings().weight
    vectors = iter(features.flatten(0, 1))
    rows = []
    for place, token in enumerate(ids):
        image = token == model.config.image_token_id
        row = next(vectors) if image else table[token]
        if method == "mantis":
            separator = ids.index(model.config.separator_token_id)
            row = row + model.segments.weight[0 if image else 1 if place < separator else 2]
        rows.append(row)
    with torch.no_grad():
        expected = model.language_model(inputs_embeds=torch.stack(rows)[None]).logits
        found = model(**inputs).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_is_the_mean_over_suffix_tokens(method: str) -> None:
    model = made(method, "gptj")
    batch = labelled(model)
    tokenizer = model.processor.tokenizer
    total, count = 0.0, 0
    with torch.no_grad():
        for index in range(4):
            one = examples(model, [index], suffix=SUFFIXES[index])
            suffix = [*tokenizer(SUFFIXES[index])["input_ids"], tokenizer.eos_token_id]
            assert one["input_ids"][0, -len(suffix) :].tolist() == suffix
            log_p = model(**one).logits[0].log_softmax(-1)
            for offset, token in enumerate(suffix):
                total -= log_p[one["input_ids"].shape[1] - len(suffix) + offset - 1, token].item()
                count += 1
        loss = model(**batch).loss.item()
    assert loss == pytest.approx(total / count, rel=1e-5)
    assert int((batch["labels"] != IGNORED).sum()) == count
    ends = (batch["labels"] == tokenizer.eos_token_id).sum(-1)
    assert ends.tolist() == [1, 1, 1, 1]  # also where padding has the end token's id


@pytest.mark.parametrize("language_model", LANGUAGE_MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_the_loss_does_not_depend_on_the_side_of_the_padding(method: str, language_model: str) -> None:
    model = made(method, language_model)
    right, left = labelled(model, padding_side="right"), labelled(model, padding_side="left")
    assert right["attention_mask"][:, -1].min() == 0
    assert left["attention_mask"][:, 0].min() == 0
    with torch.no_grad():
        torch.testing.assert_close(model(**left).loss, model(**right).loss, rtol=1e-5, atol=0)


def test_the_loss_of_a_part_of_a_batch_is_divided_by_the_tokens_of_all() -> None:
    """What the Trainer needs for gradient accumulation."""
    model = made("frozen", "gpt2")
    batch = labelled(model)
    with torch.no_grad():
        mean, scaled = model(**batch).loss, model(**batch, num_items_in_batch=100).loss
    torch.testing.assert_close(scaled, mean * int((batch["labels"] != IGNORED).sum()) / 100)


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_is_in_double_precision_where_the_model_is(method: str) -> None:
    model = make(method, "gpt2").double().eval()
    inputs = labelled(model)
    with torch.no_grad():
        output = model(**inputs)
    labels = inputs["labels"][:, 1:].reshape(-1)
    expected = nn.functional.cross_entropy(output.logits[:, :-1].flatten(0, 1), labels, ignore_index=IGNORED)
    assert output.loss.dtype == torch.float64
    torch.testing.assert_close(output.loss, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_an_exported_program_computes_the_same(method: str) -> None:
    model = made(method, "gpt2")
    inputs = examples(model, [0, 1]) | {"use_cache": False}
    with torch.no_grad():
        expected = model(**inputs).logits
        program = torch.export.export(model, (), inputs, strict=False)
        torch.testing.assert_close(program.module()(**inputs).logits, expected, rtol=0, atol=1e-5)
        with pytest.raises(ValueError, match="placeholders"):  # a live model counts them as before
            model(**inputs | {"pixel_values": inputs["pixel_values"][:1]})


@pytest.mark.parametrize("method", METHODS)
def test_embeddings_as_inputs_give_the_same(method: str) -> None:
    model = made(method, "llama")
    inputs = examples(model, [0, 2])
    with torch.no_grad():
        features = model.get_image_features(inputs["pixel_values"])
        embeds = model._embed(inputs["input_ids"], features.pooler_output)
        mask = inputs["attention_mask"]
        expected = model(**inputs).logits
        torch.testing.assert_close(model(inputs_embeds=embeds, attention_mask=mask).logits, expected)
        encoded = model(inputs["input_ids"], attention_mask=mask, mm_encoder_outputs={"image": features}).logits
    torch.testing.assert_close(encoded, expected)


@pytest.mark.parametrize("method", METHODS)
def test_placeholders_and_images_must_agree(method: str) -> None:
    model = made(method, "gpt2")
    inputs = examples(model, [0, 1])
    for wrong in (
        {"pixel_values": None},
        {"pixel_values": inputs["pixel_values"][:-1]},
        {"input_ids": inputs["input_ids"].masked_fill(inputs["input_ids"] == model.config.image_token_id, 5)},
    ):
        with pytest.raises(ValueError, match="placeholders"):
            model(**inputs | wrong)
        with pytest.raises(ValueError, match="placeholders"):
            model.generate(**{k: v for k, v in (inputs | wrong).items() if v is not None}, max_new_tokens=2)
    with pytest.raises(ValueError, match="images of all examples in order"):
        model(**inputs | {"pixel_values": inputs["pixel_values"][None]})


@pytest.mark.parametrize("language_model", ["gpt2", "llama"])
def test_an_input_longer_than_the_positions_is_refused(language_model: str) -> None:
    model = made("frozen", language_model)
    with torch.no_grad():
        model(torch.full((1, 64), 5))
        # Padding takes no position.
        mask = torch.tensor([[0] * 6 + [1] * 64])
        model(torch.full((1, 70), 5), attention_mask=mask)
    with pytest.raises(ValueError, match="65 positions, but the language model has 64"):
        model(torch.full((1, 65), 5))


# -- making, saving --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language_model", LANGUAGE_MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_a_checkpoint_generates_what_the_model_did(method: str, language_model: str, tmp_path: Path) -> None:
    model = make(method, language_model)
    batch = examples(model, [0, 1, 2, 3])
    expected = model.generate(**batch, max_new_tokens=6)
    embeddings, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    for save_backbone in (None, True):
        model.save_pretrained(tmp_path / str(save_backbone), save_backbone=save_backbone)
        loaded = AutoModelForImageTextToText.from_pretrained(tmp_path / str(save_backbone))
        assert loaded.generation_config.suppress_tokens == sorted(model.own_token_ids)
        assert torch.equal(loaded.generate(**batch, max_new_tokens=6), expected)
        tied = loaded.get_input_embeddings().weight is loaded.get_output_embeddings().weight
        assert tied == (embeddings is head)  # as the language model has it


@pytest.mark.parametrize("method", METHODS)
def test_a_push_tells_no_path_of_this_machine(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    push_into(tmp_path, monkeypatch)
    model = make(method, "gpt2")
    for way in ({"save_backbone": True}, {"base_model": "gpt2"})[: 1 if method == "mantis" else 2]:
        model.push_to_hub("user/repository", **way)
        assert (tmp_path / "README.md").is_file()
        for file in tmp_path.iterdir():
            for folder in (language_folder("gpt2"), resnet_folder()):
                assert str(folder).encode() not in file.read_bytes(), file.name


def test_what_is_no_language_model_or_takes_no_images_is_refused(openai_clip: Path, tmp_path: Path) -> None:
    language_model = language_folder("gpt2")
    with pytest.raises(TypeError, match="not a causal language model") as error:
        FrozenForConditionalGeneration.from_backbone(openai_clip, vision_model=resnet_folder())
    assert str(openai_clip) in str(error.value)
    for file in ("config.json", "preprocessor_config.json", "model.safetensors"):
        source = resnet_folder() if file == "preprocessor_config.json" else language_model
        (tmp_path / file).write_bytes((source / file).read_bytes())
    with pytest.raises(TypeError, match="instead of images"):
        MantisForConditionalGeneration.from_backbone(language_model, vision_model=tmp_path)
    with pytest.raises(OSError, match="nowhere"):
        MantisForConditionalGeneration.from_backbone(tmp_path / "nowhere", vision_model=resnet_folder())


@pytest.mark.parametrize("part", ["language", "vision"])
def test_a_damaged_backbone_is_named(part: str, tmp_path: Path) -> None:
    source = language_folder("gpt2") if part == "language" else resnet_folder()
    for file in source.iterdir():
        content = file.read_bytes()
        (tmp_path / file.name).write_bytes(content[: len(content) // 2] if file.suffix == ".safetensors" else content)
    folders = {"language_model": language_folder("gpt2"), "vision_model": resnet_folder(), f"{part}_model": tmp_path}
    with pytest.raises(OSError, match="damaged") as error:
        MantisForConditionalGeneration.from_backbone(**folders)
    assert str(tmp_path) in str(error.value)


# -- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_batch_norms_of_a_pretrained_vision_backbone_keep_their_statistics(method: str) -> None:
    model = make(method, "gpt2").train()
    norms = [module for module in model.vision_model.modules() if isinstance(module, nn.BatchNorm2d)]
    before = {name: buffer.clone() for name, buffer in model.vision_model.named_buffers()}
    assert norms
    assert not any(norm.training for norm in norms)
    assert norms[0].weight.requires_grad
    model(**labelled(model)).loss.backward()
    for name, buffer in model.vision_model.named_buffers():
        assert torch.equal(buffer, before[name])


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_without_images_has_gradients_of_zero(method: str) -> None:
    model = make(method, "llama").train()
    batch = model.processor(text=["a", "mug"], suffix=["red", "it"], padding=True, return_tensors="pt")
    loss = model(**batch).loss
    loss.backward()
    for name, parameter in model.named_parameters():
        if name.startswith(("vision_model.", "image_projection.")):
            assert not parameter.grad.any(), name
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(**batch).loss, loss)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("language_model", ["gpt2", "opt", "llama"])  # GPT-2 and OPT have dropout, each in its way
def test_activation_checkpointing_of_a_frozen_language_model(language_model: str, method: str) -> None:
    """Its layers are run again in the backward pass, and give the gradients that they give without."""
    gradients, runs = [], []
    for order in ([], ["enable", "train", "train"], ["train", "enable"], ["enable", "train", "disable"]):
        model = make(method, language_model, **{"freeze_text": True} if method == "mantis" else {}).train()
        for call in order:
            model.train() if call == "train" else getattr(model, f"activation_checkpointing_{call}")()
        layers = [
            module for module in model.language_model.modules() if isinstance(module, GradientCheckpointingLayer)
        ]
        calls: list[int] = []
        child = next(module for module in layers[0].modules() if "Norm" in type(module).__name__)
        child.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        model(**labelled(model)).loss.backward()
        gradients.append(model.image_projection.linear.weight.grad)
        runs.append(len(calls))
        assert not any(module.training for module in model.eval().modules())
    assert runs == [1, 2, 2, 1]
    assert gradients[0].abs().sum() > 0
    for each in gradients[1:]:
        torch.testing.assert_close(each, gradients[0])


@pytest.mark.parametrize("method", METHODS)
def test_images_with_vectors_of_tokens_are_refused(method: str) -> None:
    model = make(method, "llama")
    prompt = examples(model, [0])
    embeds = model.get_input_embeddings()(prompt["input_ids"].clamp(max=9))
    with pytest.raises(ValueError, match="Images cannot be combined with inputs_embeds"):
        model(inputs_embeds=embeds, pixel_values=prompt["pixel_values"])
    with pytest.raises(ValueError, match="Images cannot be combined with inputs_embeds"):
        model.generate(inputs_embeds=embeds, pixel_values=prompt["pixel_values"], max_new_tokens=2)
    assert model(inputs_embeds=embeds).logits.shape[1] == embeds.shape[1]


def test_activation_checkpointing_of_a_trained_language_model_changes_no_gradient() -> None:
    gradients = []
    for checkpointing in (False, True):
        model = make("mantis", "llama")  # without dropout
        if checkpointing:
            model.activation_checkpointing_enable()
        model.train()
        model(**labelled(model)).loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0])


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_leaves_the_vision_side_in_full(method: str, tmp_path: Path) -> None:
    folders = {"language_model": language_folder("llama"), "vision_model": resnet_folder()}
    model = METHODS[method].from_backbone(**folders, dtype=torch.bfloat16, device_map="cpu")
    assert model.dtype == model.language_model.dtype == torch.bfloat16
    assert {p.dtype for p in model.vision_model.parameters()} == {torch.float32}
    assert model.image_projection.linear.weight.dtype == torch.float32
    batch = examples(model, [0, 1, 2, 3])
    expected = model.generate(**batch, max_new_tokens=4)
    batch["pixel_values"] = batch["pixel_values"].to(torch.bfloat16)  # as the pipeline hands them over
    assert model.generate(**batch, max_new_tokens=4).shape == expected.shape
    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert loaded.dtype == torch.bfloat16
    assert {p.dtype for p in loaded.vision_model.parameters()} == {torch.float32}
    for loaded_one, one in zip(loaded.state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.equal(loaded_one, one)


def test_two_images_of_different_sizes_share_a_batch() -> None:
    model = made("mantis", "gpt2")
    images = [[random_image(0, (50, 90)), random_image(1, (300, 20))]]
    inputs = model.processor(images=images, text=TITLES[:1], return_tensors="pt")
    assert inputs["pixel_values"].shape == (2, 3, 64, 64)
