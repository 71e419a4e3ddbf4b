"""Every visual prompt against a reference implementation in double precision, gradients included."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from hf_prompt_models import ActionClipForVideoClassification
from tests.models.action_clip import written_out
from tests.models.action_clip.written_out import Weights, part


NAMES = ["cat", "dog", "the photo"]
PIXELS = torch.randn(2, 3, 3, 224, 224, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

HEADS: dict[str, Callable[[torch.Tensor, Weights], torch.Tensor]] = {
    "mean": written_out.mean_head,
    "conv1d": written_out.conv1d_head,
    "lstm": written_out.lstm_head,
    "transf": partial(written_out.transf_head, layers=2, heads=2),
    "transf_cls": partial(written_out.transf_cls_head, layers=2, heads=2),
}


def build(backbone: Path, **choices: Any) -> ActionClipForVideoClassification:
    """In double precision, with weights of which every one matters."""
    choices = {"num_frames": 3, "head_num_layers": 2, "head_num_attention_heads": 2, "post_network": "mean"} | choices
    model = ActionClipForVideoClassification.from_backbone(backbone, NAMES, **choices).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("clip."):
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def expected_features(model: ActionClipForVideoClassification, pixels: torch.Tensor) -> torch.Tensor:
    config, weights = model.config, dict(model.named_parameters())
    head = HEADS[config.post_network] if not config.legacy_conv1d_layout else written_out.legacy_conv1d_head
    videos = []
    for video in pixels:
        frames = written_out.frame_features(
            video, weights, layers=2, heads=4, pre=config.pre_network, shift=config.in_network == "shift"
        )
        videos.append(written_out.unit(head(frames, part(weights, "post_network."))))
    return torch.stack(videos)


def check_features_and_gradients(model: ActionClipForVideoClassification, pixels: torch.Tensor) -> None:
    pixels = pixels.clone().requires_grad_()
    features = model.get_video_features(pixels).pooler_output
    expected = expected_features(model, pixels)
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-6)
    probe = torch.randn_like(features)
    taught = {name: each for name, each in model.named_parameters() if "text" not in name and "scale" not in name}
    inputs = [pixels, *taught.values()]
    gradients = torch.autograd.grad((features * probe).sum(), inputs)
    wanted = torch.autograd.grad((expected * probe).sum(), inputs)
    for name, one, other in zip(["pixels", *taught], gradients, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize(
    "choices",
    [
        *({"post_network": head} for head in HEADS),
        *({"post_network": head, "in_network": "shift"} for head in ("mean", "transf")),
        {"pre_network": "joint"},
    ],
    ids=lambda choices: " ".join(choices.values()),
)
def test_video_features_equal_the_written_out_ones(choices: dict[str, str], openai_clip: Path) -> None:
    check_features_and_gradients(build(openai_clip, **choices), PIXELS)


def test_the_legacy_layout_scrambles_time_and_channels_as_the_released_code_does(openai_clip: Path) -> None:
    model = build(openai_clip, post_network="conv1d", legacy_conv1d_layout=True)
    check_features_and_gradients(model, PIXELS)
    scrambled = model.get_video_features(PIXELS).pooler_output
    model.config.legacy_conv1d_layout = False
    check_features_and_gradients(model, PIXELS)
    assert not torch.allclose(model.get_video_features(PIXELS).pooler_output, scrambled, atol=1e-3)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("choices", [{}, {"in_network": "shift"}, {"pre_network": "joint"}])
@torch.no_grad()
def test_attention_implementations_agree(choices: dict[str, str], attention: str, openai_clip: Path) -> None:
    model = build(openai_clip, attn_implementation=attention, **choices)
    torch.testing.assert_close(
        model.get_video_features(PIXELS).pooler_output, expected_features(model, PIXELS), rtol=0, atol=1e-6
    )


# -- what must hold of them --------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_joint_mode_starts_as_clip_where_there_is_one_frame(openai_clip: Path) -> None:
    model = ActionClipForVideoClassification.from_backbone(
        openai_clip, NAMES, pre_network="joint", post_network="mean", num_frames=4
    )
    pixels = PIXELS[:, :1].float()
    expected = model.clip.get_image_features(pixel_values=pixels[:, 0]).pooler_output
    torch.testing.assert_close(model.get_frame_features(pixels).pooler_output[:, 0], expected, rtol=0, atol=1e-5)
    assert torch.count_nonzero(model.pre_network.time_embedding) == 0


@torch.no_grad()
def test_joint_attention_looks_over_frames(openai_clip: Path) -> None:
    model = build(openai_clip, pre_network="joint")
    turned = model.get_video_features(PIXELS.flip(1)).pooler_output
    assert not torch.allclose(turned, model.get_video_features(PIXELS).pooler_output, atol=1e-3)


@torch.no_grad()
def test_a_shift_of_one_frame_zeroes_the_shifted_channels(openai_clip: Path) -> None:
    model = build(openai_clip, in_network="shift")
    hooks = []
    for layer in model.clip.vision_model.encoder.layers:

        def zero(_: Any, arguments: tuple) -> tuple:
            tokens = arguments[0].clone()
            tokens[:, 1:, : 2 * 48 // 8] = 0
            return (tokens, *arguments[1:])

        hooks.append(layer.register_forward_pre_hook(zero))
    expected = model.clip.get_image_features(pixel_values=PIXELS[:, 0]).pooler_output
    for hook in hooks:
        hook.remove()
    features = model.get_frame_features(PIXELS[:, :1]).pooler_output[:, 0]
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-9)
    assert not torch.allclose(features, model.clip.get_image_features(pixel_values=PIXELS[:, 0]).pooler_output)


@torch.no_grad()
def test_the_mean_of_equal_frames_is_one_frame(openai_clip: Path) -> None:
    model = build(openai_clip)
    repeated = model.get_video_features(PIXELS[:, :1].expand(-1, 5, -1, -1, -1)).pooler_output
    torch.testing.assert_close(repeated, model.get_video_features(PIXELS[:, :1]).pooler_output, rtol=0, atol=1e-9)


@torch.no_grad()
def test_the_convolution_starts_as_a_shift(openai_clip: Path) -> None:
    model = ActionClipForVideoClassification.from_backbone(openai_clip, NAMES, post_network="conv1d")
    frames = torch.randn(1, 3, 24)
    moved = torch.zeros_like(frames)
    moved[:, 1:, :6] = frames[:, :-1, :6]
    moved[:, :, 6:18] = frames[:, :, 6:18]
    moved[:, :-1, 18:] = frames[:, 1:, 18:]
    torch.testing.assert_close(model.post_network(frames), (frames + moved).mean(1))


def test_heads_start_with_the_released_codes_deviations(openai_clip: Path) -> None:
    wide = {"head_num_layers": 1, "head_num_attention_heads": 2}
    transf = ActionClipForVideoClassification.from_backbone(openai_clip, NAMES, **wide).post_network
    layer = transf.encoder.layers[0]
    assert transf.frame_position_embeddings.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert layer.mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert layer.self_attn.out_proj.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert layer.self_attn.q_proj.weight.std().item() == pytest.approx((2 / (4 * 24)) ** 0.5, rel=0.1)
    assert layer.layer_norm1.eps == 1e-12
    cls = ActionClipForVideoClassification.from_backbone(
        openai_clip, NAMES, post_network="transf_cls", **wide
    ).post_network
    layer = cls.encoder.layers[0]
    for tensor in (cls.pos_embed, layer.linear1.weight, layer.self_attn.out_proj.weight):
        assert tensor.std().item() == pytest.approx(0.02, rel=0.1)
    assert layer.self_attn.in_proj_weight.std().item() == pytest.approx((2 / (4 * 24)) ** 0.5, rel=0.1)
    for head in (transf, cls):
        assert all(not each.any() for name, each in head.named_parameters() if name.endswith("bias"))


# -- how many frames ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choices", "taken", "refused"),
    [
        ({"post_network": "mean"}, [1, 2, 5], []),
        ({"post_network": "conv1d"}, [1, 2, 5], []),
        ({"post_network": "lstm"}, [1, 2, 5], []),
        ({"post_network": "mean", "in_network": "shift"}, [1, 2, 5], []),
        ({"post_network": "transf"}, [1, 5, 77], [78]),
        ({"post_network": "transf_cls"}, [3], [1, 2, 4]),
        ({"pre_network": "joint"}, [1, 2, 3], [4]),
    ],
    ids=str,
)
@torch.no_grad()
def test_any_number_of_frames_that_the_head_allows_is_taken(
    choices: dict[str, str], taken: list[int], refused: list[int], openai_clip: Path
) -> None:
    model = build(openai_clip, **choices)
    frames = PIXELS[:1, :1].expand(1, 78, 3, 224, 224)
    for count in taken:
        if count < 10 or model.config.pre_network:
            assert model.get_video_features(frames[:, :count]).pooler_output.shape == (1, 24)
        else:
            embeds = torch.randn(1, count, 24, dtype=torch.float64)
            assert model.get_video_features(frame_embeds=embeds).pooler_output.shape == (1, 24)
    for count in refused:
        with pytest.raises(ValueError, match=str(count)) as error:
            model.get_video_features(frames[:, :count])
        assert all(f"{name}={value!r}" in str(error.value) for name, value in choices.items())


@torch.no_grad()
def test_pixels_of_single_frames_are_refused_by_their_shape(openai_clip: Path) -> None:
    with pytest.raises(ValueError, match=r"\(batch, frames, 3, height, width\).*\(3, 3, 224, 224\)"):
        build(openai_clip)(pixel_values=PIXELS[0])
