"""Conversion of updates of the original CLIP-LoRA code."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForImageClassification, AutoTokenizer, CLIPModel

from hf_prompt_cli.main import main
from hf_prompt_models.models.clip_lora.convert_clip_lora import convert_from_original
from tests.models.clip_lora import original_clip_lora as original
from tests.prompted_clip_reference import encode_image, plain_text_feature
from tests.stand_ins import openai_clip_vit_base_patch32


NAMES = ["cat", "dog", "the photo"]
DEPTHS, WIDTHS = {"text": 2, "vision": 3}, {"text": 32, "vision": 48}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return openai_clip_vit_base_patch32(tmp_path_factory.mktemp("hub") / "clip", vision_layers=3)


@pytest.mark.parametrize(("encoder", "rank", "alpha"), [("both", 2, 1), ("vision", 4, 2.0), ("text", 1, 0.5)])
def test_a_converted_model_has_the_logits_of_the_original_code(
    encoder: str, rank: int, alpha: float, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    depths = DEPTHS if encoder == "both" else {encoder: DEPTHS[encoder]}
    weights, metadata = (
        original.matrices(depths, WIDTHS, rank),
        original.settings(r=rank, alpha=alpha, encoder=encoder),
    )
    file = original.save(tmp_path, weights, metadata)
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    flags = ["--checkpoint", str(file), "--backbone", str(folder), "--class_names", str(tmp_path / "names.txt")]
    assert main(["convert", "clip_lora", *flags, "--templates", "the {}.", "--output_dir", str(tmp_path / "out")]) == 0
    assert f"rank {rank}, alpha {alpha:g}" in capsys.readouterr().out

    clip = CLIPModel.from_pretrained(folder)
    original.load(clip, weights, metadata)
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "out")
    pixels = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        images = torch.stack([encode_image(clip, each, []) for each in pixels])
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
        texts = [plain_text_feature(clip, tokenizer, f"the {name}.") for name in NAMES]
        expected = clip.logit_scale.exp() * images @ F.normalize(torch.stack(texts), dim=1).T
        torch.testing.assert_close(model(pixels).logits, expected, rtol=0, atol=1e-4)
    assert sum(each.numel() for each in model.parameters() if each.requires_grad) == sum(
        6 * rank * WIDTHS[each] * depths[each] for each in depths
    )


def deeper(weights: dict[str, Any], metadata: dict[str, Any]) -> str:
    weights["layer_5"] = weights["layer_4"]
    return "updates of 2 text and 3 vision layers, as encoder 'both' .* got 6 layers"


def of_one_encoder(weights: dict[str, Any], metadata: dict[str, Any]) -> str:
    metadata["encoder"] = "vision"
    return "updates of 3 vision layers, as encoder 'vision' .* got 5 layers"


def other_rank(weights: dict[str, Any], metadata: dict[str, Any]) -> str:
    metadata["r"] = 3
    return r"layer_0, q_proj, w_lora_A .* to be \(3, 32\), as for rank 3 .* got \(2, 32\)"


def other_order(weights: dict[str, Any], metadata: dict[str, Any]) -> str:
    weights["layer_0"], weights["layer_4"] = weights["layer_4"], weights["layer_0"]
    return r"layer_0, q_proj, w_lora_A .* to be \(2, 32\), .* got \(2, 48\)"


def half_of_the_layers(weights: dict[str, Any], metadata: dict[str, Any]) -> str:
    metadata["position"] = "half-up"
    return "q_proj, k_proj and v_proj in all layers .* at position 'half-up'"


def output_projections(weights: dict[str, Any], metadata: dict[str, Any]) -> str:
    for layer in weights.values():
        layer["proj"] = layer["q_proj"]
    return "those of k_proj, proj, q_proj, v_proj at position 'all'"


def a_missing_matrix(weights: dict[str, Any], metadata: dict[str, Any]) -> str:
    del weights["layer_3"]["k_proj"]["w_lora_B"]
    return "layer_3, k_proj, w_lora_B .* got missing"


def a_missing_projection(weights: dict[str, Any], metadata: dict[str, Any]) -> str:
    del weights["layer_3"]["k_proj"]
    return "layer_3, k_proj, w_lora_A .* got missing"


def not_finite(weights: dict[str, Any], metadata: dict[str, Any]) -> str:
    weights["layer_3"]["v_proj"]["w_lora_B"][0, 0] = float("nan")
    return "layer_3, v_proj, w_lora_B .* to hold finite"


def no_numbers(weights: dict[str, Any], metadata: dict[str, Any]) -> str:
    metadata["alpha"] = "1"
    return "an integer r, a number alpha and an encoder out of vision, text, both, got 2, '1' and 'both'"


def other_contents(weights: dict[str, Any], metadata: dict[str, Any]) -> str:
    weights["layer_0"] = [1]
    return "to be dictionaries of layers"


def enormous(weights: dict[str, Any], metadata: dict[str, Any]) -> str:
    metadata["r"] = 10**9
    return "rank must be at most 32, .* got 1000000000"


CHANGES = [
    deeper,
    of_one_encoder,
    other_rank,
    other_order,
    half_of_the_layers,
    output_projections,
    a_missing_matrix,
    a_missing_projection,
    not_finite,
    no_numbers,
    other_contents,
    enormous,
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_does_not_fit_is_refused_with_the_place(
    change: Callable[[dict[str, Any], dict[str, Any]], str], folder: Path, tmp_path: Path
) -> None:
    weights, metadata = copy.deepcopy(original.matrices(DEPTHS, WIDTHS)), original.settings()
    said = change(weights, metadata)
    with pytest.raises(ValueError, match=said):
        convert_from_original(original.save(tmp_path, weights, metadata), folder, NAMES)


@pytest.mark.parametrize("content", [[1], {"state_dict": {}}, {"weights": {}, "metadata": 3}])
def test_other_files_are_refused(content: object, folder: Path, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "file.pt")
    with pytest.raises(ValueError, match="is not a file of CLIP-LoRA"):
        convert_from_original(tmp_path / "file.pt", folder, NAMES)


class Harmful:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("ran",)


def test_code_in_a_file_is_not_run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = original.save(tmp_path, original.matrices(DEPTHS, WIDTHS), {**original.settings(), "note": Harmful()})
    with pytest.raises(ValueError, match="none of its code was run"):
        convert_from_original(file, folder, NAMES)
    assert "ran" not in capsys.readouterr().out
