"""ActionCLIP as a model: probabilities, lazy text encoding, trained parameters, and saved files."""

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoImageProcessor, AutoModelForVideoClassification, Trainer, TrainingArguments

from hf_prompt_models import ActionClipConfig, ActionClipForVideoClassification, ActionClipImageProcessor
from hf_prompt_models.prompts.templates import ACTION_TEMPLATES
from tests.models.action_clip import written_out
from tests.tested_method import random_image


NAMES = ["cat", "dog", "the photo"]
PIXELS = torch.randn(2, 2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
EMBEDS = torch.randn(4, 2, 24, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 1])


def build(backbone: Path, **choices: object) -> ActionClipForVideoClassification:
    return ActionClipForVideoClassification.from_backbone(
        backbone, **{"class_names": NAMES, "post_network": "mean", "num_frames": 2} | choices
    )


@pytest.fixture
def model(openai_clip: Path) -> ActionClipForVideoClassification:
    """As it comes: everything is trained."""
    return build(openai_clip)


@contextmanager
def counting(model: ActionClipForVideoClassification) -> Iterator[list[int]]:
    """Record the number of rows in each call of the text encoder."""
    calls: list[int] = []
    hook = model.clip.text_model.encoder.layers[0].register_forward_hook(
        lambda _, inputs, output: calls.append(inputs[0].shape[0] * inputs[0].shape[1])
    )
    yield calls
    hook.remove()


def fresh(model: ActionClipForVideoClassification) -> torch.Tensor:
    """Text features without any cache."""
    return copy.deepcopy(model)._encode_classes().detach()


# -- probabilities ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("backbone", ["openai_clip", "modern_clip", "metaclip2"])
@torch.no_grad()
def test_one_template_and_equal_frames_are_clip_itself(
    backbone: str, attention: str, request: pytest.FixtureRequest
) -> None:
    """At the backbone's own temperature; its logits and ours differ by a constant for each image."""
    model = build(request.getfixturevalue(backbone), templates=["A video of {}"], attn_implementation=attention)
    model.config.eval_logit_scale = None
    images = PIXELS[:, 0]
    texts = [f"A video of {name}" for name in NAMES]
    tokens = model.processor.tokenizer(texts, padding="max_length", return_tensors="pt")
    expected = model.clip(pixel_values=images, **tokens).logits_per_image
    logits = model(pixel_values=images[:, None].expand(-1, 3, -1, -1, -1)).logits
    torch.testing.assert_close(logits, expected.log_softmax(-1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("scale", [100.0, 7.0, None])
@torch.no_grad()
def test_softmax_of_the_logits_is_the_mean_of_the_templates(scale: float | None, openai_clip: Path) -> None:
    model = build(openai_clip).double()
    model.config.eval_logit_scale = scale
    output = model(frame_embeds=EMBEDS.double())
    factor = model.clip.logit_scale.exp().item() if scale is None else scale
    expected = [written_out.mean_probabilities(video, output.text_embeds, factor) for video in output.video_embeds]
    torch.testing.assert_close(output.logits.softmax(-1), torch.stack(expected), rtol=0, atol=1e-6)
    torch.testing.assert_close(output.logits.exp(), torch.stack(expected), rtol=0, atol=1e-6)


@torch.no_grad()
def test_the_sigmoid_of_log_odds_is_the_same_probability_and_always_finite(openai_clip: Path) -> None:
    one, several = build(openai_clip), build(openai_clip, problem_type="multi_label_classification")
    torch.testing.assert_close(
        several(frame_embeds=EMBEDS).logits.sigmoid(), one(frame_embeds=EMBEDS).logits.softmax(-1), rtol=0, atol=1e-6
    )
    several.config.eval_logit_scale = 1e6
    several.set_classes(NAMES, templates=["{}"])
    logits = several(frame_embeds=EMBEDS).logits
    assert logits.isfinite().all()
    assert logits.max() > 15


@torch.no_grad()
def test_all_templates_of_all_classes_are_encoded_as_clip_does(model: ActionClipForVideoClassification) -> None:
    model.set_classes(["push_up", "cat", "kite (bird of prey)"])
    features = model.get_text_features().pooler_output
    assert features.shape == (16, 3, 24)
    for index, template in enumerate(ACTION_TEMPLATES):
        texts = [template.text.replace("{}", name) for name in model.config.class_names]  # labels as they are
        tokens = model.processor.tokenizer(texts, padding="max_length", return_tensors="pt")
        expected = F.normalize(model.clip.get_text_features(**tokens).pooler_output, dim=-1)
        torch.testing.assert_close(features[index], expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_new_classes_give_what_a_new_model_gives(model: ActionClipForVideoClassification, openai_clip: Path) -> None:
    model(frame_embeds=EMBEDS)
    model.set_classes(["zebra", "cat"], tokenizer=model.processor)
    expected = build(openai_clip, class_names=["zebra", "cat"])(frame_embeds=EMBEDS).logits
    assert torch.equal(model(frame_embeds=EMBEDS).logits, expected)
    model.set_classes(["zebra", "cat"], templates=["{}"])
    assert model.get_text_features().pooler_output.shape == (1, 2, 24)


@torch.no_grad()
def test_frame_features_computed_before_give_the_same_logits(openai_clip: Path) -> None:
    model = build(openai_clip, post_network="transf", in_network="shift")
    embeds = model.get_frame_features(PIXELS).pooler_output
    assert embeds.shape == (2, 2, 24)
    assert torch.equal(model(frame_embeds=embeds).logits, model(pixel_values=PIXELS).logits)
    for inputs in ({}, {"pixel_values": PIXELS, "frame_embeds": embeds}):
        with pytest.raises(ValueError, match="either pixel_values or frame_embeds"):
            model(**inputs)


def test_features_for_retrieval_are_normalised_and_in_the_output(model: ActionClipForVideoClassification) -> None:
    output = model(pixel_values=PIXELS)
    videos, texts = (
        model.get_video_features(pixel_values=PIXELS).pooler_output,
        model.get_text_features().pooler_output,
    )
    assert torch.equal(output.video_embeds, videos)
    assert torch.equal(output.text_embeds, texts)
    assert list(output) == ["logits", "video_embeds"]  # each item has a row a video
    torch.testing.assert_close(videos.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(texts.norm(dim=-1), torch.ones(16, 3))
    assert torch.equal(model(pixel_values=PIXELS, return_dict=False)[0], output.logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_heads_and_probabilities_are_in_full_precision_under_autocast(dtype: torch.dtype, openai_clip: Path) -> None:
    model = build(openai_clip, post_network="transf")
    full = model(frame_embeds=EMBEDS)
    with torch.autocast("cpu", dtype):
        output = model(frame_embeds=EMBEDS)
    assert torch.equal(output.video_embeds, full.video_embeds)
    assert not torch.equal(output.text_embeds, full.text_embeds)  # the tower itself takes the faster precision
    assert output.logits.dtype == torch.float32
    similarities = 100 * torch.einsum("bd,kcd->bkc", output.video_embeds, output.text_embeds)
    torch.testing.assert_close(output.logits.exp(), similarities.softmax(-1).mean(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["mean", "conv1d", "lstm", "transf", "transf_cls"])
@torch.no_grad()
def test_a_model_turned_into_half_precision_runs(head: str, openai_clip: Path) -> None:
    model = build(openai_clip, post_network=head, num_frames=2)
    expected = model(pixel_values=PIXELS).video_embeds
    output = model.to(torch.bfloat16)(pixel_values=PIXELS)
    assert output.logits.dtype == torch.float32
    torch.testing.assert_close(output.video_embeds, expected, rtol=0, atol=0.1)


# -- text is encoded when needed, and not otherwise ------------------------------------------------------------------


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_in_eval_mode_text_is_encoded_once(guard: Callable, model: ActionClipForVideoClassification) -> None:
    with counting(model) as calls, guard():
        logits = [model(frame_embeds=EMBEDS, labels=LABELS).logits for _ in range(3)]
    assert len(calls) == 1
    assert torch.equal(logits[0], logits[2])


def test_in_train_mode_only_the_sampled_sentences_are_encoded_and_equal_ones_once(openai_clip: Path) -> None:
    model = build(openai_clip, templates=["a photo of {}"]).train()
    with counting(model) as calls:
        for labels in ([0, 0, 0, 0], [0, 1, 2, 2]):
            model(frame_embeds=EMBEDS, labels=torch.tensor(labels))
    tokens = model.processor.tokenizer([f"a photo of {name}" for name in NAMES]).input_ids
    assert calls[0] == len(tokens[0])
    assert calls[1] < sum(map(len, tokens)) + len(tokens[2])


@pytest.mark.parametrize("trainable", ["image", "head"])
def test_frozen_text_is_encoded_once_in_training_too(trainable: str, openai_clip: Path) -> None:
    model = build(openai_clip, trainable=trainable, post_network="lstm").train()
    with counting(model) as calls:
        for _ in range(3):
            model(frame_embeds=EMBEDS, labels=LABELS).loss.backward()
        model.eval()(frame_embeds=EMBEDS)
    assert len(calls) == 1


def _write_data(model: ActionClipForVideoClassification) -> None:
    model.clip.text_model.encoder.layers[0].mlp.fc1.bias.data[3] += 1.0


def _assign_data(model: ActionClipForVideoClassification) -> None:
    projection = model.clip.text_projection.weight
    projection.data = projection.data.flip(0).clone()


def _swap_rows(model: ActionClipForVideoClassification) -> None:
    weight = model.clip.text_model.embeddings.token_embedding.weight
    weight.data.copy_(weight.data.roll(1, 0))


def _load_state(model: ActionClipForVideoClassification) -> None:
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["clip.text_model.final_layer_norm.weight"] *= torch.linspace(0.5, 1.5, 32)
    model.load_state_dict(state)


def _replace(model: ActionClipForVideoClassification) -> None:
    model.clip.text_projection = torch.nn.Linear(32, 24, bias=False)


def _train(model: ActionClipForVideoClassification) -> None:
    model.train()
    with torch.enable_grad():
        model(frame_embeds=EMBEDS, labels=LABELS).loss.backward()
    torch.optim.AdamW(model.parameters(), lr=0.01).step()
    model.eval()


def _train_in_eval_mode(model: ActionClipForVideoClassification) -> None:
    for parameter in model.clip.text_model.parameters():
        parameter.grad = torch.randn_like(parameter)
    torch.optim.SGD(model.clip.text_model.parameters(), lr=0.01).step()


@pytest.mark.parametrize(
    "change", [_write_data, _assign_data, _swap_rows, _load_state, _replace, _train, _train_in_eval_mode]
)
def test_text_features_are_never_stale(change: Callable, model: ActionClipForVideoClassification) -> None:
    with torch.no_grad():
        before = model.get_text_features().pooler_output
        change(model)
        after = model.get_text_features().pooler_output
        assert torch.equal(after, fresh(model))
    assert not torch.allclose(after, before, atol=1e-3)


def test_in_train_mode_text_features_are_differentiable_and_in_eval_mode_they_hold_no_graph(
    model: ActionClipForVideoClassification,
) -> None:
    assert not model.get_text_features().pooler_output.requires_grad
    model.train()
    model.get_text_features().pooler_output[0, 0, 0].backward()
    assert model.clip.text_projection.weight.grad.abs().max() > 0


@torch.no_grad()
def test_another_dtype_is_encoded_again(model: ActionClipForVideoClassification) -> None:
    full = model.get_text_features().pooler_output
    half = model.to(torch.bfloat16).get_text_features().pooler_output
    torch.testing.assert_close(half, full, rtol=0, atol=0.05)
    assert not torch.equal(half, full)


# -- what is trained, and what a checkpoint holds --------------------------------------------------------------------


def trained(model: ActionClipForVideoClassification) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_the_configuration_gives_what_is_trained(openai_clip: Path, tmp_path: Path) -> None:
    for trainable, text, image in (("all", True, True), ("image", False, True), ("head", False, False)):
        built = build(openai_clip, trainable=trainable, post_network="conv1d")
        built.save_pretrained(tmp_path / trainable)
        loaded = AutoModelForVideoClassification.from_pretrained(tmp_path / trainable)
        for model in (built, loaded):
            names = trained(model)
            assert "post_network.conv.weight" in names
            assert ("clip.text_model.final_layer_norm.weight" in names) == text
            assert ("clip.text_projection.weight" in names) == text
            assert ("clip.vision_model.post_layernorm.weight" in names) == image
            assert ("clip.visual_projection.weight" in names) == image
            assert ("clip.logit_scale" in names) == image
            model.train()
            assert model.clip.text_model.training == text
            assert model.clip.vision_model.training == image


def test_a_trained_backbone_is_always_saved(openai_clip: Path, tmp_path: Path) -> None:
    for trainable in ("all", "image"):
        model = build(openai_clip, trainable=trainable)
        with torch.no_grad():
            model.clip.visual_projection.weight.mul_(-1)
        with pytest.raises(ValueError, match="save_backbone=True"):
            model.save_pretrained(tmp_path / "prompt", save_backbone=False)
        model.save_pretrained(tmp_path / trainable)
        config = json.loads((tmp_path / trainable / "config.json").read_text())
        assert config["weights_scope"] == "full"
        assert config["base_model_name_or_path"] is None
        assert config["base_model_fingerprint"] is None
        loaded = AutoModelForVideoClassification.from_pretrained(tmp_path / trainable)
        with torch.no_grad():
            assert torch.equal(loaded(pixel_values=PIXELS).logits, model(pixel_values=PIXELS).logits)


def test_a_fine_tuned_model_whose_head_is_trained_further_keeps_its_backbone(
    openai_clip: Path, tmp_path: Path
) -> None:
    build(openai_clip, post_network="conv1d").save_pretrained(tmp_path / "whole")
    model = ActionClipForVideoClassification.from_pretrained(tmp_path / "whole", trainable="head")
    assert trained(model) == {"post_network.conv.weight"}
    with pytest.raises(ValueError, match="save_backbone=True"):
        model.save_pretrained(tmp_path / "again", save_backbone=False)
    model.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["weights_scope"] == "full"


def test_a_head_learned_on_a_frozen_backbone_can_be_tuned_with_it_afterwards(
    openai_clip: Path, tmp_path: Path
) -> None:
    build(openai_clip, post_network="conv1d", trainable="head").save_pretrained(tmp_path / "head")
    assert json.loads((tmp_path / "head" / "config.json").read_text())["weights_scope"] == "prompt"
    model = ActionClipForVideoClassification.from_pretrained(tmp_path / "head", trainable="all")
    assert trained(model) == {name for name, _ in model.named_parameters()}
    with torch.no_grad():
        model.clip.visual_projection.weight.mul_(-1)
    model.save_pretrained(tmp_path / "whole")
    loaded = ActionClipForVideoClassification.from_pretrained(tmp_path / "whole")
    assert torch.equal(loaded.clip.visual_projection.weight, model.clip.visual_projection.weight)


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_trainer_tunes_the_whole_model_and_resumes_it(
    checkpointing: bool, openai_clip: Path, tmp_path: Path
) -> None:
    """The same sentences are sampled again, because the Trainer saves the state of the generator."""
    examples = [{"pixel_values": PIXELS[index % 2], "labels": LABELS[index % 4]} for index in range(8)]

    def train(folder: Path, resume: Path | None = None) -> ActionClipForVideoClassification:
        model = build(openai_clip, post_network="transf_cls", head_num_layers=1)
        if checkpointing:
            model.activation_checkpointing_enable()
        arguments = TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=2,
            max_steps=4,
            save_steps=2,
            learning_rate=1e-3,
            eval_strategy="steps",
            eval_steps=2,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=examples, eval_dataset=examples)
        trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
        logits = trainer.predict(examples).predictions
        assert logits.shape == (8, 3)
        return model.eval()

    torch.manual_seed(0)
    start = build(openai_clip, post_network="transf_cls", head_num_layers=1)
    torch.manual_seed(0)
    whole = train(tmp_path)
    for name, parameter in whole.named_parameters():
        assert not torch.equal(parameter, start.get_parameter(name)), name
    torch.manual_seed(1)
    resumed = train(tmp_path, resume=tmp_path / "checkpoint-2")
    with torch.no_grad():
        torch.testing.assert_close(
            resumed(pixel_values=PIXELS).logits, whole(pixel_values=PIXELS).logits, rtol=0, atol=1e-4
        )
        loaded = AutoModelForVideoClassification.from_pretrained(tmp_path / "checkpoint-4")
        assert torch.equal(loaded(pixel_values=PIXELS).logits, resumed(pixel_values=PIXELS).logits)


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"pre_network": "joint", "in_network": "shift", "post_network": "mean"}, "Choose only one"),
        ({"pre_network": "joint", "post_network": "transf"}, "post_network='mean'"),
        ({"pre_network": "joint"}, "post_network='mean'"),
        ({"post_network": "mean", "legacy_conv1d_layout": True}, "legacy_conv1d_layout"),
        ({"post_network": "transf", "num_frames": 78}, "78 frames are too many"),
        ({"num_frames": 0}, "num_frames"),
        ({"post_network": "meanP"}, "post_network"),
        ({"trainable": "text"}, "trainable"),
    ],
)
def test_settings_that_make_no_sense_are_refused(choices: dict[str, object], message: str) -> None:
    with pytest.raises(Exception, match=message):  # huggingface_hub's validation has classes of its own
        ActionClipConfig(**choices)


def test_combinations_are_refused_before_a_backbone_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="post_network='mean'"):
        build(tmp_path / "nowhere", pre_network="joint", post_network="transf")


def test_a_backbone_of_another_type_is_refused(siglip: Path) -> None:
    with pytest.raises(TypeError, match=r"'siglip'.*CLIPModel"):
        build(siglip)
    with pytest.raises(TypeError, match=r"CLIPModel, MetaClip2Model.*SiglipModel"):
        ActionClipForVideoClassification(ActionClipConfig(clip_config={"model_type": "siglip"}))


def test_attention_heads_that_do_not_divide_the_features_are_refused(openai_clip: Path) -> None:
    with pytest.raises(ValueError, match=r"dimension 24 .*is not divisible by 5.*head_num_attention_heads"):
        build(openai_clip, post_network="transf", head_num_attention_heads=5)


def test_a_model_without_classes_requests_them(model: ActionClipForVideoClassification) -> None:
    model.config.prompt_token_ids = None
    model._classes_changed()
    with pytest.raises(ValueError, match="set_classes"):
        model(frame_embeds=EMBEDS)


# -- the processor ---------------------------------------------------------------------------------------------------


def test_frames_are_prepared_as_the_released_code_does(model: ActionClipForVideoClassification) -> None:
    frames = [random_image(seed, size=(300, 200)) for seed in range(3)]
    pixels = model.processor(images=frames, return_tensors="pt").pixel_values
    assert pixels.shape == (1, 3, 3, 224, 224)
    for index, frame in enumerate(frames):
        resized = frame.resize((384, 256), resample=3).crop((80, 16, 304, 240))  # 300 x 200 -> short side 256
        expected = torch.frombuffer(bytearray(resized.tobytes()), dtype=torch.uint8).reshape(224, 224, 3) / 255
        mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])
        std = torch.tensor([0.26862954, 0.26130258, 0.27577711])
        torch.testing.assert_close(pixels[0, index], ((expected - mean) / std).permute(2, 0, 1), rtol=0, atol=1e-5)


def test_many_videos_make_a_batch_whatever_form_their_frames_have(model: ActionClipForVideoClassification) -> None:
    frames = [random_image(seed) for seed in range(4)]
    batch = model.processor(images=[frames[:2], frames[2:]], return_tensors="pt").pixel_values
    assert batch.shape == (2, 2, 3, 224, 224)
    for index in range(2):
        alone = model.processor(images=frames[2 * index : 2 * index + 2], return_tensors="pt").pixel_values
        assert torch.equal(batch[index : index + 1], alone)
    arrays = torch.stack(
        [torch.frombuffer(bytearray(frame.tobytes()), dtype=torch.uint8).reshape(40, 60, 3) for frame in frames[:2]]
    )
    for video in (arrays, arrays.permute(0, 3, 1, 2), arrays.numpy()):
        assert torch.equal(model.processor(images=video, return_tensors="pt").pixel_values, batch[:1])


@pytest.mark.parametrize("backend", [None, "pil", "torchvision"])
def test_frames_are_prepared_by_pil_whatever_is_installed(
    backend: str | None, model: ActionClipForVideoClassification, tmp_path: Path
) -> None:
    model.processor.save_pretrained(tmp_path)
    loaded = AutoImageProcessor.from_pretrained(tmp_path, backend=backend)
    assert type(loaded) is ActionClipImageProcessor
    assert loaded.to_dict() == model.processor.image_processor.to_dict()


def test_the_settings_follow_the_backbones_size(model: ActionClipForVideoClassification) -> None:
    settings = model.processor.image_processor.to_dict()
    assert settings["size"] == {"shortest_edge": 256}
    assert settings["crop_size"] == {"height": 224, "width": 224}
    assert settings["resample"] == 3
    own = copy.deepcopy(model.processor.image_processor)
    own.crop_size = type(own.crop_size)(height=336, width=336)
    larger = type(own).from_image_processor(own).to_dict()
    assert larger["size"] == {"shortest_edge": 384}
    assert larger["crop_size"] == {"height": 336, "width": 336}
