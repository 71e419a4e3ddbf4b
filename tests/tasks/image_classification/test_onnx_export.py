"""ONNX files against the models that they were exported from."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from transformers import AutoImageProcessor, PreTrainedModel

from hf_prompt_models import (
    ClipLoraForImageClassification,
    ClipZeroShotForImageClassification,
    CoCoOpForImageClassification,
    CoOpForImageClassification,
    FeatureAdapterForImageClassification,
    MMRLForImageClassification,
)
from hf_prompt_models.tasks.image_classification.onnx_export import OnnxExport, PixelsToLogits, export_onnx
from tests.tested_method import random_image


NAMES = ["cat", "dog", "a_photo", "cat", "größer"]  # names may repeat, and need not be ASCII


def coop(backbone: Path, **kwargs: Any) -> CoOpForImageClassification:
    return CoOpForImageClassification.from_backbone(backbone, NAMES, n_ctx=2, **kwargs)


def zero_shot(backbone: Path, **kwargs: Any) -> ClipZeroShotForImageClassification:
    return ClipZeroShotForImageClassification.from_backbone(backbone, NAMES, ["a photo of a {}.", "{}"], **kwargs)


def clip_lora(backbone: Path, **kwargs: Any) -> ClipLoraForImageClassification:
    model = ClipLoraForImageClassification.from_backbone(backbone, NAMES, **kwargs)
    with torch.no_grad():
        for parameter in model.low_rank.parameters():
            parameter.normal_(std=0.2)
    return model.eval()


@pytest.fixture(
    scope="module",
    params=[(coop, "eager"), (zero_shot, "sdpa"), pytest.param((clip_lora, "sdpa"), marks=pytest.mark.slow)],
    ids=["coop", "zero-shot", "clip-lora"],
)
def exported(
    request: pytest.FixtureRequest, modern_clip: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PreTrainedModel, Path, OnnxExport]:
    build, attention = request.param
    model = build(modern_clip, attn_implementation=attention)
    path = tmp_path_factory.mktemp("onnx") / "new" / "model.onnx"
    return model, path, export_onnx(model, path, model.processor.image_processor, [random_image(1)])


def run(path: Path, pixels: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"pixel_values": pixels.numpy()})
    return logits


@pytest.mark.parametrize("images", [1, 2, 5])
def test_logits_are_the_models_for_any_batch(images: int, exported: tuple[PreTrainedModel, Path, OnnxExport]) -> None:
    model, path, report = exported
    pixels = model.processor(images=[random_image(seed) for seed in range(images)], return_tensors="pt").pixel_values
    with torch.no_grad():
        expected = model(pixels).logits
    torch.testing.assert_close(torch.from_numpy(run(path, pixels)), expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 1  # these logits have something to get wrong
    assert report.checked_images == 5
    assert 0 < report.absolute_difference < 1e-3
    assert report.relative_difference < 1e-5


def test_the_file_reports_what_is_needed_to_use_it(exported: tuple[PreTrainedModel, Path, OnnxExport]) -> None:
    model, path, report = exported
    metadata = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert json.loads(metadata["id2label"]) == {str(index): name for index, name in enumerate(NAMES)}
    processor = AutoImageProcessor.from_pretrained(path.parent)
    assert processor.to_dict() == model.processor.image_processor.to_dict()
    assert {file.name for file in path.parent.iterdir()} == {"model.onnx", "preprocessor_config.json"}
    graph = onnx.load(path)
    onnx.checker.check_model(graph, full_check=True)
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", report.opset)]


def test_the_file_holds_the_image_tower_alone_and_nothing_of_this_machine(
    exported: tuple[PreTrainedModel, Path, OnnxExport],
) -> None:
    model, path, _ = exported
    weights = sum(parameter.nbytes for parameter in model.clip.vision_model.parameters())
    assert weights < path.stat().st_size < weights + 100_000
    assert os.fsencode(Path(__file__).parents[3]) not in path.read_bytes()
    assert os.fsencode(Path(torch.__file__).parent) not in path.read_bytes()


class BiasedCoOp(CoOpForImageClassification):
    """Logits with a bias, as SigLIP's."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = output.logits - 11.5
        return output


def test_a_bias_of_the_models_logits_is_kept(modern_clip: Path) -> None:
    model = BiasedCoOp.from_backbone(modern_clip, NAMES, n_ctx=2)
    pixels = model.processor(images=[random_image(0), random_image(1)], return_tensors="pt").pixel_values
    with torch.no_grad():
        torch.testing.assert_close(PixelsToLogits(model)(pixels), model(pixels).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_file_that_differs_is_not_left_behind(
    modern_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = coop(modern_clip), tmp_path / "model.onnx"
    path.write_text("an earlier one")
    right = PixelsToLogits.forward
    monkeypatch.setattr(PixelsToLogits, "forward", lambda self, pixel_values: 1.01 * right(self, pixel_values))
    with pytest.raises(
        ValueError, match=r"differ from those of the model .* 0\.01 of the largest, but only 0\.0001 is allowed"
    ):
        export_onnx(model, path, model.processor.image_processor)
    assert path.read_text() == "an earlier one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("opset", [17, 99])
def test_an_opset_that_cannot_be_written_is_refused(opset: int, modern_clip: Path, tmp_path: Path) -> None:
    model = coop(modern_clip)
    with pytest.raises(ValueError, match=rf"an opset from 18 to \d+, got {opset}"):
        export_onnx(model, tmp_path / "model.onnx", model.processor.image_processor, opset=opset)


def other_precision(model: PreTrainedModel) -> str:
    model.to(torch.bfloat16)
    return "dtype=torch.float32"


def other_images(model: PreTrainedModel) -> str:
    model.processor.image_processor.image_mean = [0.5, 0.5, 0.5]
    return "Export to another folder"


@pytest.mark.parametrize("spoil", [other_precision, other_images])
def test_what_cannot_be_exported_is_refused_before_work(
    spoil: Callable[[PreTrainedModel], str], modern_clip: Path, tmp_path: Path
) -> None:
    model = coop(modern_clip)
    model.processor.image_processor.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=spoil(model)):
        export_onnx(model, tmp_path / "model.onnx", model.processor.image_processor)
    assert not (tmp_path / "model.onnx").exists()


def test_missing_packages_are_named(modern_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    model = coop(modern_clip)
    with pytest.raises(ImportError, match=r"onnxruntime, which.*pip install 'hf_prompt_models\[onnx\]'"):
        export_onnx(model, tmp_path / "model.onnx", model.processor.image_processor)


@pytest.mark.parametrize(
    "adapter_type",
    [
        "clap",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("tip_adapter", "taskres", "lp++", "clip_adapter", "prolip")
        ),
    ],
)
def test_feature_adapters_are_exported_with_their_head(modern_clip: Path, tmp_path: Path, adapter_type: str) -> None:
    model = FeatureAdapterForImageClassification.from_backbone(modern_clip, NAMES, adapter_type=adapter_type)
    width = model.clip.visual_projection.in_features if adapter_type == "prolip" else model.image_feature_size
    features = torch.randn(15, width, generator=torch.Generator().manual_seed(0))
    model.fit_features(features, torch.arange(15) % len(NAMES), validation=None)
    export_onnx(model, tmp_path / "model.onnx", model.processor.image_processor, [random_image(1)])
    pixels = model.processor(images=[random_image(2), random_image(3)], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = model(pixels).logits.numpy()
    np.testing.assert_allclose(run(tmp_path / "model.onnx", pixels), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (CoCoOpForImageClassification, {}),
        pytest.param(MMRLForImageClassification, {"first_layer": 1, "rep_dim": 8}, marks=pytest.mark.slow),
    ],
    ids=["cocoop", "mmrl"],
)
def test_methods_that_compare_more_than_one_image_feature_are_exported(
    modern_clip: Path, tmp_path: Path, method: Any, settings: dict[str, Any]
) -> None:
    model = method.from_backbone(modern_clip, NAMES, attn_implementation="eager", **settings)
    with torch.no_grad():
        for parameter in model.prompt_learner.parameters():
            parameter.normal_(std=0.2)
    export_onnx(model.eval(), tmp_path / "model.onnx", model.processor.image_processor, [random_image(1)])
    for images in (1, 4):
        pixels = model.processor(images=[random_image(seed) for seed in range(images)], return_tensors="pt")
        with torch.no_grad():
            expected = model(pixels["pixel_values"]).logits.numpy()
        logits = run(tmp_path / "model.onnx", pixels["pixel_values"])
        np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)
    assert np.ptp(logits, axis=0).max() > 0.1  # they depend on the image


@pytest.mark.parametrize("adapter_type", ["linear", "tip_adapter"])
def test_a_calibration_temperature_is_in_the_file(modern_clip: Path, tmp_path: Path, adapter_type: str) -> None:
    model = FeatureAdapterForImageClassification.from_backbone(modern_clip, NAMES, adapter_type=adapter_type)
    model.fit_features(torch.randn(10, model.image_feature_size), torch.arange(10) % len(NAMES))
    pixels = model.processor(images=[random_image(0)], return_tensors="pt").pixel_values
    with torch.no_grad():
        logits = model.eval()(pixels).logits.numpy()
    model.config.calibration_temperature = 2.0
    export_onnx(model, tmp_path / "model.onnx", model.processor.image_processor)
    np.testing.assert_allclose(run(tmp_path / "model.onnx", pixels), logits / 2, rtol=1e-4, atol=1e-4)
