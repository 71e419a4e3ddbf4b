"""The image tower computes in the precision that is chosen, and nothing else does."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from hf_prompt_models import ClipZeroShotForImageClassification, CoOpForImageClassification
from hf_prompt_models.utils import precision
from hf_prompt_models.utils.precision import choose_image_dtype, cosine_distances, has_native_bfloat16, wanted_dtype


@pytest.fixture(scope="module")
def model(modern_clip: Path) -> ClipZeroShotForImageClassification:
    return ClipZeroShotForImageClassification.from_backbone(modern_clip, ["a cat", "a dog"]).eval()


def pixels(model: ClipZeroShotForImageClassification, count: int = 3) -> torch.Tensor:
    side = model.clip.config.vision_config.image_size
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_features_in_bfloat16_are_rounded_and_text_and_weights_are_not(model) -> None:
    before = {name: each.clone() for name, each in model.state_dict().items()}
    images, full, text = pixels(model), model.encode_images(pixels(model)).pooler_output, model._text_embeds()
    model.image_dtype = torch.bfloat16
    try:
        with torch.autocast("cpu", torch.bfloat16):
            reference = model.clip.get_image_features(images).pooler_output
        rounded = model.encode_images(images).pooler_output
        assert rounded.dtype == torch.float32
        assert torch.equal(rounded, reference.float())
        assert torch.equal(model._text_embeds(), text)
        assert model.clip.dtype == torch.float32
    finally:
        model.image_dtype = None
    distance = cosine_distances(rounded, full).max().item()
    assert 1e-8 < distance < 1e-2
    assert torch.equal(model.encode_images(images).pooler_output, full)
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["siglip", "naflex", "chinese_clip", "align", "altclip"])
def test_the_image_tower_of_each_backbone_computes_in_bfloat16(backbone: str, request: pytest.FixtureRequest) -> None:
    model = CoOpForImageClassification.from_backbone(request.getfixturevalue(backbone), ["cat", "dog"], n_ctx=2).eval()
    inputs = model.processor(images=[Image.effect_noise((60, 50), 80).convert("RGB")], return_tensors="pt")
    full = model.encode_images(**inputs).pooler_output
    model.image_dtype = torch.bfloat16
    rounded = model.encode_images(**inputs).pooler_output
    assert 0 < cosine_distances(rounded, full).max() < 1e-2


def test_a_model_with_another_precision_is_the_same_when_it_is_saved(model, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "full")
    model.image_dtype = torch.bfloat16
    model.save_pretrained(tmp_path / "rounded")
    model.image_dtype = None
    saved = {
        folder: {file.name: file.read_bytes() for file in (tmp_path / folder).iterdir()}
        for folder in ("full", "rounded")
    }
    assert "config.json" in saved["full"]
    assert saved["full"] == saved["rounded"]


class Rows:
    """A dataset whose items are their own features."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"pixel_values": torch.full((2,), float(index)), "labels": torch.tensor(0)}


class Tower:
    """A tower whose features in bfloat16 are turned by an angle."""

    def __init__(self, angle: float):
        self.image_dtype: torch.dtype | None = None
        self.device = torch.device("cpu")
        self.angle, self.seen = angle, []

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        self.seen.append(pixel_values[:, 0].tolist())
        angle = torch.tensor(0.0 if self.image_dtype is None else self.angle)
        return torch.stack([angle.cos(), angle.sin()]).expand(len(pixel_values), 2)


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_native_bfloat16", lambda device: True)
    precision._report.cache_clear()


@pytest.mark.parametrize(("distance", "chosen"), [(0.9e-2, torch.bfloat16), (1.1e-2, None)])
def test_auto_takes_bfloat16_if_the_features_differ_by_less_than_the_bound(
    distance: float, chosen: torch.dtype | None, native: None, capsys: pytest.CaptureFixture
) -> None:
    tower = Tower(float(torch.acos(torch.tensor(1 - distance, dtype=torch.float64))))
    for _ in range(2):
        assert choose_image_dtype(tower, "auto", tower.encode, Rows()) == chosen
    assert tower.image_dtype is None
    assert tower.seen[0] == tower.seen[1] == list(range(0, 32, 2))  # 16 items, evenly spaced
    printed = capsys.readouterr().err
    assert printed.count("Image features: ") == 1
    assert ("Image features: bfloat16" in printed) == (chosen is not None)
    assert f"{distance:.1e}; the bound is 0.01" in printed


def test_auto_without_instructions_for_bfloat16_keeps_float32(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(precision, "has_native_bfloat16", lambda device: False)
    precision._report.cache_clear()
    tower = Tower(0.0)
    assert choose_image_dtype(tower, "auto", tower.encode, Rows()) is None
    assert not tower.seen
    assert "no instructions for bfloat16" in capsys.readouterr().err


def test_what_is_chosen_is_not_measured() -> None:
    tower = Tower(1.0)
    assert choose_image_dtype(tower, "bfloat16", tower.encode, Rows()) == torch.bfloat16
    assert choose_image_dtype(tower, "float32", tower.encode, Rows()) is None
    assert not tower.seen
    with pytest.raises(ValueError, match="auto, float32, bfloat16, got 'half'"):
        choose_image_dtype(tower, "half", tower.encode, Rows())


def test_bf16_is_the_default_of_features_that_a_flag_overrides() -> None:
    assert wanted_dtype(None, bf16=True) == "bfloat16"
    assert wanted_dtype(None, bf16=False) == "float32"
    assert wanted_dtype("float32", bf16=True) == "float32"


@pytest.mark.parametrize(
    ("capabilities", "native_there"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx512_bf16": False, "avx512_f": True}, False)],
)
def test_processors_with_instructions_for_bfloat16_are_known(
    capabilities: dict[str, bool], native_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_native_bfloat16(torch.device("cpu")) == native_there
    assert not has_native_bfloat16(torch.device("meta"))
