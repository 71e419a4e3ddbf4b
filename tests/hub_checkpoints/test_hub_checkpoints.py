"""Published checkpoints give published values. `make test-hub` runs these tests; they download some GB.

The docstring of each test states the expected value and its source. A value that is only known from a paper is printed
next to the measured one, and fails nothing.
"""

from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, ModelCard, hf_hub_download
from PIL import Image, ImageDraw
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    CLIPModel,
    SiglipModel,
    SiglipProcessor,
    ViltForMaskedLM,
    ViltProcessor,
)

from hf_prompt_cli.main import main
from hf_prompt_models import ClipZeroShotForImageClassification, CoOpForImageClassification
from hf_prompt_models.backbones.clip_checkpoints import read_clip_checkpoint
from hf_prompt_models.backbones.clip_resnet import ClipResNetModel


pytestmark = [pytest.mark.hub, pytest.mark.filterwarnings("default")]

CLIP_B32 = "openai/clip-vit-base-patch32"
TWO_TOWERS = [
    CLIP_B32,
    "openai/clip-vit-base-patch16",
    "google/siglip2-base-patch16-224",
    "google/siglip2-base-patch16-naflex",
    "timm/vit_base_patch32_clip_224.openai",
    "timm/vit_base_patch32_clip_224.laion2b_e16",
    "timm/resnet50_clip.openai",
]
"""Backbones that the documentation names, as far as they are small."""
RESNETS = {
    "timm/resnet50_clip.openai": ((3, 4, 6, 3), 64, 50, 1024, 512),
    "timm/resnet101_clip.openai": ((3, 4, 23, 3), 64, 50, 512, 512),
    "timm/resnet50x4_clip.openai": ((4, 6, 10, 6), 80, 82, 640, 640),
    "timm/resnet50x16_clip.openai": ((6, 8, 18, 8), 96, 145, 768, 768),
    "timm/resnet50x64_clip.openai": ((3, 15, 36, 10), 128, 197, 1024, 1024),
}
"""Blocks, width, positions of the attention pool, width of the features and of the text tower."""
LICENSES = {
    "openai-community/gpt2": "mit",
    "dandelin/vilt-b32-mlm": "apache-2.0",
    "microsoft/resnet-152": "apache-2.0",
    "google/siglip-base-patch16-224": "apache-2.0",
    "google-bert/bert-base-uncased": "apache-2.0",
}
UNSTATED = [CLIP_B32, "google/siglip2-base-patch16-224", "timm/resnet50_clip.openai"]
"""Repositories whose licence is only printed."""


@pytest.fixture(scope="module")
def two_cats() -> Image.Image:
    """The image 39769 of COCO's val2017, which transformers' own tests use: two cats on a couch."""
    file = hf_hub_download("hf-internal-testing/fixtures-coco", "val2017/000000039769.jpg", repo_type="dataset")
    return Image.open(file).convert("RGB")


def disc(colour: str) -> Image.Image:
    image = Image.new("RGB", (224, 224), "white")
    ImageDraw.Draw(image).ellipse((40, 40, 184, 184), fill=colour)
    return image


# -- CLIP ------------------------------------------------------------------------------------------------------------


def test_clip_scores_an_image_as_published(two_cats: Image.Image) -> None:
    """CLIP ViT-B/32: logits 24.5701 for "a photo of a cat" and 19.3049 for "a photo of a dog" on COCO's image 39769.

    Source: `CLIPModelIntegrationTest.test_inference` of transformers.
    """
    model = ClipZeroShotForImageClassification.from_backbone(CLIP_B32, ["cat", "dog"], ["a photo of a {}"])
    inputs = model.processor(images=two_cats, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits
    torch.testing.assert_close(logits, torch.tensor([[24.5701, 19.3049]]), rtol=1e-3, atol=1e-3)


def test_clip_recognises_the_colour_of_drawn_discs() -> None:
    """CLIP ViT-B/32: zero-shot predictions on drawn discs are their colours. Source: the test, which draws them."""
    colours = ["red", "green", "blue", "yellow", "black"]
    model = ClipZeroShotForImageClassification.from_backbone(CLIP_B32, colours, ["a {} circle"])
    inputs = model.processor(images=[disc(colour) for colour in colours], return_tensors="pt")
    with torch.no_grad():
        predictions = model(**inputs).logits.argmax(-1).tolist()
    assert [colours[label] for label in predictions] == colours


def test_clips_tokens_are_those_of_openai() -> None:
    """CLIP's tokenizer: "a photo of a cat" is 49406, 320, 1125, 539, 320, 2368, 49407.

    Source: OpenAI's `simple_tokenizer.py` with its vocabulary, as in the tests of many ports, such as Bumblebee's.
    """
    tokenizer = AutoTokenizer.from_pretrained(CLIP_B32)
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert len(tokenizer) == 49408


@pytest.mark.parametrize("backbone", TWO_TOWERS)
def test_a_backbone_of_the_documentation_sees_two_cats(backbone: str, two_cats: Image.Image) -> None:
    """The backbone loads with `from_backbone`, and prefers "two cats" on COCO's image 39769. Source: its caption."""
    names = ["two cats", "two dogs", "a car", "a plate of food"]
    model = ClipZeroShotForImageClassification.from_backbone(backbone, names, ["a photo of {}."])
    inputs = model.processor(images=two_cats, return_tensors="pt")
    with torch.no_grad():
        assert model(**inputs).logits.argmax().item() == 0
        prompted = CoOpForImageClassification.from_backbone(backbone, names, context_init="a photo of")
        assert prompted(**inputs).logits.argmax().item() == 0


# -- open_clip -------------------------------------------------------------------------------------------------------


def test_the_vit_of_open_clip_is_that_of_transformers(two_cats: Image.Image, tmp_path: Path) -> None:
    """timm/vit_base_patch32_clip_224.openai, converted, has the features of openai/clip-vit-base-patch32, to 1e-4.

    Source: both are OpenAI's ViT-B/32, by the cards of the repositories.
    """
    folder = hf_hub_download("timm/vit_base_patch32_clip_224.openai", "open_clip_config.json")
    hf_hub_download("timm/vit_base_patch32_clip_224.openai", "open_clip_model.safetensors")
    flags = ["--tokenizer", CLIP_B32, "--output_dir", str(tmp_path / "clip")]
    assert main(["convert", "clip", "--checkpoint", str(Path(folder).parent), *flags]) == 0
    converted, expected = (CLIPModel.from_pretrained(place) for place in (tmp_path / "clip", CLIP_B32))
    assert converted.config.vision_config.hidden_act == "quick_gelu"
    pixels = AutoImageProcessor.from_pretrained(CLIP_B32, backend="pil")(two_cats, return_tensors="pt")
    own = AutoImageProcessor.from_pretrained(tmp_path / "clip", backend="pil")(two_cats, return_tensors="pt")
    torch.testing.assert_close(own.pixel_values, pixels.pixel_values)
    ids = AutoTokenizer.from_pretrained(CLIP_B32)(["a photo of two cats"], return_tensors="pt").input_ids
    with torch.no_grad():
        for read in (lambda model: model.get_image_features(**pixels), lambda model: model.get_text_features(ids)):
            ours, theirs = (read(model).pooler_output for model in (converted, expected))
            assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


@pytest.mark.parametrize("name", RESNETS)
def test_resnets_have_the_shapes_that_the_converter_expects(name: str) -> None:
    """open_clip_model.safetensors: blocks, widths and positions of RN50, RN101, RN50x4, RN50x16 and RN50x64.

    Source: OpenAI's `clip/model.py`, and the configurations of open_clip.
    """
    blocks, width, positions, features, text_width = RESNETS[name]
    header = HfApi().parse_safetensors_file_metadata(name, "open_clip_model.safetensors").tensors
    shapes = {name: tuple(info.shape) for name, info in header.items()}
    assert shapes["visual.attnpool.positional_embedding"] == (positions, 32 * width)
    assert shapes["visual.attnpool.c_proj.weight"] == (features, 32 * width)
    assert shapes["text_projection"] == (text_width, features)
    for stage, count in enumerate(blocks, start=1):
        assert f"visual.layer{stage}.{count - 1}.conv1.weight" in shapes
        assert f"visual.layer{stage}.{count}.conv1.weight" not in shapes


def test_rn50_has_as_many_parameters_as_published() -> None:
    """timm/resnet50_clip.openai is a `ClipResNetModel` with 102.0 M parameters, 38.3 M of them in the image tower.

    Source: `docs/openclip_results.csv` of open_clip. Its zero-shot accuracy on ImageNet, 59.8 there, needs ImageNet.
    """
    read = read_clip_checkpoint("timm/resnet50_clip.openai")
    assert read.model_class is ClipResNetModel
    assert read.config.text_config.hidden_act == "quick_gelu"
    model = read.build()
    total = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    visual = sum(parameter.numel() for parameter in model.vision_model.parameters()) / 1e6
    assert (round(total, 1), round(visual, 1)) == (102.0, 38.3)


# -- the other backbones ---------------------------------------------------------------------------------------------


def test_vilt_fills_in_the_mask(two_cats: Image.Image) -> None:
    """dandelin/vilt-b32-mlm: "a bunch of [MASK] laying on a [MASK]." is "cats" on the image 39769 of COCO.

    The first three logits of the first token are -12.5061, -12.5123 and -12.5174. Source:
    `ViltModelIntegrationTest.test_inference_masked_lm` of transformers.
    """
    processor = ViltProcessor.from_pretrained("dandelin/vilt-b32-mlm")
    model = ViltForMaskedLM.from_pretrained("dandelin/vilt-b32-mlm").eval()
    inputs = processor(two_cats, "a bunch of [MASK] laying on a [MASK].", return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits
    assert logits.shape == (1, 11, 30522)
    assert processor.decode([logits[0, 4].argmax().item()]) == "cats"
    print(f"first logits: measured {logits[0, 0, :3].tolist()}, published [-12.5061, -12.5123, -12.5174]")


def test_gpt2_continues_a_text_as_published() -> None:
    """openai-community/gpt2: "The dog was found in a field near the intersection of West and West Streets." is greedy.

    Source: `GPT2ModelLanguageGenerationTest.test_lm_generate_gpt2` of transformers.
    """
    tokenizer = AutoTokenizer.from_pretrained("openai-community/gpt2")
    model = AutoModelForCausalLM.from_pretrained("openai-community/gpt2").eval()
    inputs = tokenizer("The dog", return_tensors="pt")
    assert inputs.input_ids.tolist() == [[464, 3290]]
    ids = model.generate(**inputs, do_sample=False, max_length=20, pad_token_id=tokenizer.eos_token_id)
    expected = "The dog was found in a field near the intersection of West and West Streets.\n\nThe dog"
    assert tokenizer.decode(ids[0]) == expected


def test_resnet_152_has_its_feature_map_and_batch_norm(two_cats: Image.Image) -> None:
    """microsoft/resnet-152: a feature map of (1, 2048, 7, 7) for 224 pixels, and 155 batch norms with statistics.

    Source: arXiv 1512.03385, table 1: a stem, 50 blocks of three convolutions, and four shortcuts with a convolution.
    """
    model = AutoModel.from_pretrained("microsoft/resnet-152").eval()
    inputs = AutoImageProcessor.from_pretrained("microsoft/resnet-152", backend="pil")(two_cats, return_tensors="pt")
    with torch.no_grad():
        assert model(**inputs).last_hidden_state.shape == (1, 2048, 7, 7)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(norms) == 1 + 3 * 50 + 4
    assert all(norm.running_mean.abs().max() > 0 and norm.running_var.min() >= 0 for norm in norms)


def test_siglip_scores_an_image_as_published(two_cats: Image.Image) -> None:
    """google/siglip-base-patch16-224: logits -0.7567 for "a photo of 2 cats" and -10.3354 for "a photo of 2 dogs".

    Source: `SiglipModelIntegrationTest.test_inference` of transformers. In training, the bias starts at -10 and the
    scale at 10 (arXiv 2303.15343); the learned ones are printed.
    """
    model = SiglipModel.from_pretrained("google/siglip-base-patch16-224").eval()
    processor = SiglipProcessor.from_pretrained("google/siglip-base-patch16-224", backend="pil")
    texts = ["a photo of 2 cats", "a photo of 2 dogs"]
    inputs = processor(text=texts, images=two_cats, padding="max_length", return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits_per_image
    torch.testing.assert_close(logits, torch.tensor([[-0.7567, -10.3354]]), rtol=1e-3, atol=1e-3)
    assert model.logit_bias.item() < 0
    print(f"bias: learned {model.logit_bias.item():.2f}, at the start of training -10")
    print(f"scale: learned {model.logit_scale.exp().item():.2f}, at the start of training 10")


# -- licences --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LICENSES)
def test_the_licence_is_the_one_that_is_expected(name: str) -> None:
    """The licence on the card: MIT for GPT-2, Apache 2.0 for ViLT, ResNet-152, SigLIP and BERT.

    Source: the licences of their authors' code.
    """
    assert ModelCard.load(name).data.license == LICENSES[name]


@pytest.mark.parametrize("name", UNSTATED)
def test_other_licences_are_printed(name: str) -> None:
    """The licence on the card is printed, as none is expected."""
    print(f"{name}: {ModelCard.load(name).data.license}")
