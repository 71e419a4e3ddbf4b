"""Configurations of open_clip are translated, or refused by the name of what transformers lacks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, CLIPImageProcessorPil

from hf_prompt_models import OpenClipImageProcessor
from hf_prompt_models.backbones.clip_resnet import ClipResNetModel
from hf_prompt_models.backbones.open_clip import make_image_processor, read_open_clip_config
from tests.backbones.original_clip import EMBED_DIM, TEXT, VISION


def written(folder: Path, vision: Any = None, text: Any = None, preprocess: Any = None, **model: Any) -> Path:
    """Write a configuration whose fields differ in these values."""
    model_cfg = {
        "embed_dim": EMBED_DIM,
        "vision_cfg": VISION | (vision or {}),
        "text_cfg": TEXT | (text or {}),
    } | model
    file = folder / "open_clip_config.json"
    file.write_text(json.dumps({"model_cfg": model_cfg, "preprocess_cfg": preprocess}))
    return file


# -- models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "vision", "heads", "mlp"),
    [
        ("ViT-B-32", {"width": 768}, 12, 3072),
        ("ViT-H-14", {"width": 1280, "head_width": 80}, 16, 5120),
        ("ViT-g-14", {"width": 1408, "head_width": 88, "mlp_ratio": 4.3637}, 16, 6144),
        ("ViT-bigG-14", {"width": 1664, "head_width": 104, "mlp_ratio": 4.9231}, 16, 8192),
        ("ViT-e-14", {"width": 1792, "head_width": 112, "mlp_ratio": 8.5715}, 16, 15360),
    ],
)
def test_heads_and_widths_are_those_of_the_released_models(
    name: str, vision: dict[str, Any], heads: int, mlp: int, tmp_path: Path
) -> None:
    config = read_open_clip_config(written(tmp_path, vision)).config.vision_config
    assert (config.num_attention_heads, config.intermediate_size) == (heads, mlp)


@pytest.mark.parametrize(
    ("layers", "width", "image_size", "embed_dim", "heads"),
    [
        ([3, 4, 6, 3], 64, 224, 1024, 32),
        ([3, 4, 23, 3], 64, 224, 512, 32),
        ([4, 6, 10, 6], 80, 288, 640, 40),
        ([6, 8, 18, 8], 96, 384, 768, 48),
        ([3, 15, 36, 10], 128, 448, 1024, 64),
    ],
    ids=["RN50", "RN101", "RN50x4", "RN50x16", "RN50x64"],
)
def test_resnets_have_the_released_sizes(
    layers: list[int], width: int, image_size: int, embed_dim: int, heads: int, tmp_path: Path
) -> None:
    vision = {"layers": layers, "width": width, "image_size": image_size, "patch_size": None}
    read = read_open_clip_config(written(tmp_path, vision, embed_dim=embed_dim))
    assert read.model_class is ClipResNetModel
    assert read.config.vision_config.layers == layers
    assert read.config.vision_config.num_attention_heads == heads
    assert read.config.projection_dim == embed_dim
    assert read.image_processor.crop_size.height == image_size


def test_missing_fields_have_open_clips_defaults(tmp_path: Path) -> None:
    file = tmp_path / "open_clip_config.json"
    file.write_text(json.dumps({"model_cfg": {"embed_dim": 512, "vision_cfg": {}, "text_cfg": {}}}))
    read = read_open_clip_config(file)
    text, vision = read.config.text_config, read.config.vision_config
    assert (vision.hidden_size, vision.num_hidden_layers, vision.num_attention_heads) == (768, 12, 12)
    assert (vision.image_size, vision.patch_size, vision.intermediate_size) == (224, 16, 3072)
    assert (text.hidden_size, text.num_hidden_layers, text.num_attention_heads) == (512, 12, 8)
    assert (text.vocab_size, text.max_position_embeddings, text.hidden_act) == (49408, 77, "gelu")


def test_fields_that_change_nothing_are_accepted(tmp_path: Path) -> None:
    vision = {
        "patch_dropout": 0.5,
        "timm_model_name": None,
        "timm_pool": "avg",
        "ls_init_value": None,
        "pool_type": "tok",
    }
    text = {"hf_tokenizer_name": "openai/clip", "output_tokens": True, "norm_kwargs": {"eps": 1e-6}, "pad_id": 1}
    config = read_open_clip_config(written(tmp_path, vision, text, nonscalar_logit_scale=True)).config
    assert config.text_config.layer_norm_eps == 1e-6
    assert config.vision_config.layer_norm_eps == 1e-5


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"multimodal_cfg": {"width": 512}, "custom_text": True}, "CoCa"),
        ({"vision": {"timm_model_name": "convnext_base"}}, "ConvNeXt"),
        ({"vision": {"timm_model_name": "eva02_base_patch16_clip_224"}}, "EVA"),
        ({"vision": {"timm_model_name": "vitamin_base_224"}}, "ViTamin"),
        ({"vision": {"timm_model_name": "fastvit_mci2"}, "text": {"no_causal_mask": True}}, "MobileCLIP"),
        ({"vision": {"timm_model_name": "vit_base_mci_224"}}, "MobileCLIP"),
        ({"vision": {"timm_model_name": "vit_pe_core_base_patch16_224"}}, "PE-Core"),
        ({"vision": {"timm_model_name": "vit_base_patch16_siglip_224"}, "init_logit_bias": -10}, "SigLIP"),
        ({"vision": {"timm_model_name": "vit_relpos_medium_patch16_cls_224"}}, "'vit_relpos_medium_patch16_cls_224'"),
        ({"vision": {"no_ln_pre": True, "pool_type": "avg"}, "text": {"no_causal_mask": True}}, "CLIPA"),
        ({"text": {"hf_model_name": "roberta-base"}}, "'roberta-base'"),
        ({"text": {"hf_model_name": "xlm-roberta-large"}}, "'xlm-roberta-large'"),
        ({"text": {"hf_model_name": "google/mt5-base"}}, "'google/mt5-base'"),
        ({"vision": {"ls_init_value": 0.0001}}, "ls_init_value of vision_cfg is 0.0001"),
        ({"vision": {"no_ln_pre": True}}, "no_ln_pre of vision_cfg is True"),
        ({"vision": {"attentional_pool": True}}, "attentional_pool of vision_cfg"),
        ({"vision": {"final_ln_after_pool": True}}, "final_ln_after_pool of vision_cfg"),
        ({"vision": {"pool_type": "avg"}}, "pool_type of vision_cfg is 'avg'"),
        ({"vision": {"qk_norm": True}}, "qk_norm of vision_cfg"),
        ({"vision": {"act_kwargs": {"approximate": "tanh"}}}, "act_kwargs of vision_cfg"),
        ({"text": {"no_causal_mask": True}}, "no_causal_mask of text_cfg"),
        ({"text": {"pool_type": "last"}}, "pool_type of text_cfg is 'last'"),
        ({"text": {"proj_bias": True}}, "proj_bias of text_cfg"),
        ({"text": {"proj_type": "none"}}, "proj_type of text_cfg"),
        ({"init_logit_bias": -10}, "init_logit_bias of model_cfg is -10"),
        ({"vision": {"future": 1}}, "future of vision_cfg is not a field of open_clip"),
        ({"vision": {"layers": [1, 1, 1]}}, "four stages"),
        ({"vision": {"layers": [1, 1, 1, 1], "image_size": 65}}, "multiple of 32"),
        ({"vision": {"layers": [1, 1, 1, 1]}, "text": {"pool_type": "eos"}}, "pool_type of text_cfg is 'eos'"),
        ({"vision": {"image_size": [224, 160]}}, "Expected one number for both sides of image_size"),
        ({"vision": {"head_width": 200}}, "is not divisible into 0 attention heads"),
        ({"vision": {"width": "wide"}}, "Expected a whole number from 1 to 16777216 for width"),
        ({"vision": {"mlp_ratio": -1}}, "Expected a positive number for mlp_ratio"),
        ({"text": {"norm_kwargs": {"bias": False}}}, "Expected only eps"),
        ({"quick_gelu": "yes"}, "Expected true or false for quick_gelu"),
        ({"embed_dim": None}, "Expected a whole number from 1 to 16777216 for embed_dim"),
    ],
)
def test_what_transformers_does_not_compute_is_refused_by_name(
    fields: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"open_clip_config\.json: ") as refused:
        read_open_clip_config(written(tmp_path, **fields))
    assert said in str(refused.value)


@pytest.mark.parametrize("content", ["[]", "{}", '{"model_cfg": {"vision_cfg": 1, "text_cfg": {}}}', "{"])
def test_other_files_are_refused_by_name(content: str, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text(content)
    with pytest.raises(ValueError, match=r"open_clip_config\.json"):
        read_open_clip_config(tmp_path / "open_clip_config.json")


# -- images ----------------------------------------------------------------------------------------------------------

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]


def original_pixels(image: Image.Image, mode: str, side: int, interpolation: str, fill: int = 0) -> torch.Tensor:
    """Prepare an image as open_clip's `image_transform` does, with the operations of torchvision on PIL images.

    Resize(int) truncates the longer side; CenterCrop and the rounding of "longest" round half to even.
    """
    resample = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[interpolation]
    width, height = image.size
    match mode:
        case "shortest":
            short = min(width, height)
            image = image.resize((int(side * width / short), int(side * height / short)), resample)
            left, top = (round((each - side) / 2) for each in image.size)
            image = image.crop((left, top, left + side, top + side))
        case "squash":
            image = image.resize((side, side), resample)
        case "longest":
            ratio = max(width / side, height / side)
            image = image.resize((round(width / ratio), round(height / ratio)), resample)
            canvas = Image.new("RGB", (side, side), (fill, fill, fill))
            canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
            image = canvas
    pixels = torch.tensor(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 255
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


SIZES = [(50, 50), (32, 32), (64, 33), (33, 64), (100, 37), (37, 100), (20, 9), (9, 20), (31, 45), (300, 7)]


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
def test_pixels_are_those_of_open_clip(mode: str, interpolation: str, tmp_path: Path) -> None:
    preprocess = {"mean": MEAN, "std": STD, "interpolation": interpolation, "resize_mode": mode, "size": 7}
    read_open_clip_config(written(tmp_path, preprocess=preprocess)).image_processor.save_pretrained(tmp_path / "out")
    image_processor = AutoImageProcessor.from_pretrained(tmp_path / "out")
    for size in SIZES:
        pixels = image_processor(noise(*size), return_tensors="pt").pixel_values[0]
        expected = original_pixels(noise(*size), mode, VISION["image_size"], interpolation)
        if mode == "shortest" and (int(32 * max(size) / min(size)) - 32) % 4 == 3:
            continue  # the centre of CLIPImageProcessor, which rounds down, is one pixel beside torchvision's
        torch.testing.assert_close(pixels, expected, rtol=1e-5, atol=1e-5, msg=f"{mode} of {size}")


def test_the_centre_crop_is_at_most_a_pixel_beside_torchvisions() -> None:
    image_processor = make_image_processor({"mean": MEAN, "std": STD}, 32)
    pixels = image_processor(noise(67, 32), return_tensors="pt").pixel_values[0]  # 67 - 32 = 35: 17 here, 18 there
    expected = original_pixels(noise(67, 32), "shortest", 32, "bicubic")
    torch.testing.assert_close(pixels[:, :, 1:], expected[:, :, :-1], rtol=1e-5, atol=1e-5)


def test_the_rest_of_a_longest_image_has_the_fill_color() -> None:
    image_processor = make_image_processor({"mean": MEAN, "std": STD, "resize_mode": "longest", "fill_color": 200}, 32)
    pixels = image_processor([noise(64, 33), noise(20, 45)], return_tensors="pt").pixel_values
    for given, image in zip(pixels, [noise(64, 33), noise(20, 45)], strict=True):
        expected = original_pixels(image, "longest", 32, "bicubic", fill=200)
        torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5)
    other = image_processor(noise(64, 33), fill_color=0, return_tensors="pt").pixel_values[0]
    assert not torch.equal(other, pixels[0])


def test_a_longest_image_may_be_a_line() -> None:
    assert OpenClipImageProcessor()(noise(500, 1), return_tensors="pt").pixel_values.shape == (1, 3, 224, 224)


@pytest.mark.parametrize("preprocess", [{}, {"resize_mode": "shortest", "interpolation": "random", "fill_color": 9}])
def test_shortest_is_the_plain_image_processor_of_clip(preprocess: dict[str, Any]) -> None:
    image_processor = make_image_processor(preprocess, 32)
    assert type(image_processor) is CLIPImageProcessorPil
    assert list(image_processor.image_mean) == [0.48145466, 0.4578275, 0.40821073]
    assert image_processor.resample == Image.Resampling.BICUBIC


def test_one_mean_is_that_of_all_channels() -> None:
    assert list(make_image_processor({"mean": 0.5, "std": 0.25}, 32).image_mean) == [0.5] * 3


@pytest.mark.parametrize(
    ("preprocess", "said"),
    [
        ([], "Expected a preprocess_cfg of"),
        ({"crop": 1}, "Expected a preprocess_cfg of"),
        ({"mode": "L"}, "Expected the mode 'RGB'"),
        ({"interpolation": "nearest"}, "Expected an interpolation of bicubic, bilinear, random, got 'nearest'"),
        ({"resize_mode": "crop"}, "Expected a resize_mode of 'shortest', 'longest' or 'squash'"),
        ({"resize_mode": "longest", "fill_color": 300}, "a fill_color from 0 to 255"),
        ({"mean": [0.5, 0.5]}, "Expected one or three numbers for mean"),
        ({"std": [0.5, 0, 0.5]}, "Expected one or three numbers for std"),
        ({"mean": "none"}, "Expected one or three numbers for mean"),
    ],
)
def test_settings_of_images_that_are_not_supported_are_refused(preprocess: Any, said: str) -> None:
    with pytest.raises(ValueError, match="Expected") as refused:
        make_image_processor(preprocess, 32)
    assert said in str(refused.value)
