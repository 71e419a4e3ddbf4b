"""`--bf16` and `--feature_dtype` in training, evaluation and prediction of image classifiers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hf_prompt_cli.main import main
from hf_prompt_models.data.images.dataset import AugmentedViewDataset, ImageDataset
from hf_prompt_models.data.images.labelled import read_labelled_images
from hf_prompt_models.modeling_two_tower_utils import TwoTowerModel
from hf_prompt_models.tasks.image_classification.advice import ways_to_shorten, ways_to_shorten_features
from hf_prompt_models.tasks.image_classification.features import compute_image_features
from hf_prompt_models.training.feature_cache import open_feature_cache
from tests.pictures import write_pictures


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_pictures(folder / "train", {"cat": 3, "dog": 3})
    write_pictures(folder / "test", {"cat": 3, "dog": 3}, seed=1)
    return folder


@pytest.fixture
def dtypes(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype | None]:
    """The precision of each call of an image tower, in which it really computed."""
    seen: list[torch.dtype | None] = []
    run = TwoTowerModel.run_image_tower

    def recorded(self: Any, pooled_only: bool = False, **inputs: Any) -> Any:
        outputs = run(self, pooled_only, **inputs)
        assert (outputs.pooler_output.dtype == torch.bfloat16) == torch.is_autocast_enabled("cpu")
        seen.append(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None)
        return outputs

    monkeypatch.setattr(TwoTowerModel, "run_image_tower", recorded)
    return seen


def train(backbone: Path, data: Path, output_dir: Path, *more: str, method: str = "coop") -> dict[str, Any]:
    flags = {
        "--backbone": backbone,
        "--train_dir": data / "train",
        "--test_dir": data / "test",
        "--output_dir": output_dir,
        "--shots": 2,
        "--feature_cache": output_dir.parent / "cache",
        "--disable_tqdm": "true",
    }
    loop = [] if method == "feature_adapter" else ["--max_steps", "2", "--n_ctx", "2"]
    main(["train", method, *(str(part) for item in flags.items() for part in item), *loop, *more])
    return json.loads((output_dir / "results.json").read_text())


def settings_of(cache: Path) -> dict[str, int]:
    """The number of cached features, by the precision in their key."""
    found: dict[str, int] = {}
    for file in cache.glob("*/setting.json"):
        keys = sum(len(load_file(each)["keys"]) for each in file.parent.glob("*.safetensors"))
        found[json.loads(file.read_text())["dtype"]] = keys
    return found


def test_bf16_needs_no_gpu_and_reaches_features_training_evaluation_and_prediction(
    modern_clip: Path, data: Path, tmp_path: Path, dtypes: list[torch.dtype | None], capsys: pytest.CaptureFixture
) -> None:
    results = train(modern_clip, data, tmp_path / "run", "--bf16", "true")
    assert results["feature_dtype"] == "bfloat16"
    assert set(dtypes) == {torch.bfloat16}
    assert settings_of(tmp_path / "cache") == {"torch.bfloat16": 6}

    dtypes.clear()
    flags = ["--test_dir", str(data / "test"), "--feature_cache", "off", "--json", str(tmp_path / "tested.json")]
    main(["evaluate", str(tmp_path / "run"), "--bf16", "true", *flags])
    assert set(dtypes) == {torch.bfloat16}
    assert json.loads((tmp_path / "tested.json").read_text())["accuracy"]["mean"] == results["accuracy"]["mean"]
    dtypes.clear()
    main(["evaluate", str(tmp_path / "run"), *flags])
    assert set(dtypes) == {None}

    for flag, expected in (("--feature_dtype=bfloat16", torch.bfloat16), ("--bf16=true", torch.bfloat16), ("", None)):
        dtypes.clear()
        main(["predict", str(tmp_path / "run"), str(data / "test" / "cat"), *([flag] if flag else [])])
        assert set(dtypes) == {expected}
    capsys.readouterr()


@pytest.mark.parametrize(
    ("method", "more", "key"),
    [
        ("coop", ("--augmented_views", "2"), "torch.float32"),
        ("coop", ("--augmented_views", "2", "--feature_dtype", "bfloat16"), "torch.bfloat16"),
        ("coop", ("--augmented_views", "2", "--bf16", "true", "--feature_dtype", "float32"), "torch.float32"),
        ("feature_adapter", ("--augmented_views", "2", "--bf16", "true"), "torch.bfloat16"),
    ],
)
def test_cached_features_have_the_precision_in_their_key(
    method: str, more: tuple[str, ...], key: str, modern_clip: Path, data: Path, tmp_path: Path, capsys: Any
) -> None:
    results = train(modern_clip, data, tmp_path / "run", *more, method=method)
    assert settings_of(tmp_path / "cache") == {key: 6 + 4 * 2}  # the test images, and two views of four images
    assert f"torch.{results['feature_dtype']}" == key
    capsys.readouterr()


def test_a_checkpoint_is_not_resumed_in_another_precision(
    modern_clip: Path, data: Path, tmp_path: Path, capsys: Any
) -> None:
    train(modern_clip, data, tmp_path / "run", "--feature_dtype", "bfloat16")
    with pytest.raises(SystemExit) as stop:
        train(modern_clip, data, tmp_path / "run", "--resume_from_checkpoint", "true")
    assert "feature_dtype" in str(stop.value.code)
    capsys.readouterr()


def test_reduced_jpegs_are_recorded_and_cached_apart(
    modern_clip: Path, data: Path, tmp_path: Path, capsys: Any
) -> None:
    first = train(modern_clip, data, tmp_path / "run", "--augmented_views", "0")
    second = train(modern_clip, data, tmp_path / "other", "--augmented_views", "0", "--reduced_jpeg", "true")
    assert (first["reduced_jpeg"], second["reduced_jpeg"]) == (False, True)
    assert settings_of(tmp_path / "cache") == {"torch.float32": 2 * (6 + 4)}
    flags = ["--test_dir", str(data / "test"), "--feature_cache", str(tmp_path / "cache"), "--reduced_jpeg", "true"]
    main(["evaluate", str(tmp_path / "other"), *flags])
    assert settings_of(tmp_path / "cache") == {"torch.float32": 2 * (6 + 4)}
    capsys.readouterr()


def test_features_of_both_precisions_are_cached_side_by_side(modern_clip: Path, data: Path, tmp_path: Path) -> None:
    from hf_prompt_models import ClipZeroShotForImageClassification

    model = ClipZeroShotForImageClassification.from_backbone(modern_clip, ["cat", "dog"]).eval()
    processor = model.processor.image_processor
    dataset = ImageDataset(read_labelled_images(data / "test", "test"), processor)
    found = []
    for dtype in (None, torch.bfloat16, None):
        model.image_dtype = dtype
        cache = open_feature_cache(tmp_path, model, processor)
        found.append(compute_image_features(model, dataset, progress=False, cache=cache).features)
    assert torch.equal(found[0], found[2])
    distance = 1 - torch.nn.functional.cosine_similarity(found[0], found[1])
    assert 0 < distance.max() < 1e-2
    assert settings_of(tmp_path) == {"torch.float32": 6, "torch.bfloat16": 6}


def test_a_long_run_names_the_flags_that_shorten_it(modern_clip: Path, data: Path, monkeypatch) -> None:
    from hf_prompt_models import CoOpForImageClassification, FeatureAdapterForImageClassification
    from hf_prompt_models.data.images.dataset import FeatureDataset
    from hf_prompt_models.models import recipe_of

    monkeypatch.setattr("hf_prompt_models.tasks.image_classification.advice.has_native_bfloat16", lambda device: True)
    model = CoOpForImageClassification.from_backbone(modern_clip, ["cat", "dog"], n_ctx=2)
    images = ImageDataset(read_labelled_images(data / "train", "train"), model.processor.image_processor)
    features = FeatureDataset(torch.zeros(2, 4), torch.zeros(2))
    method, cpu = recipe_of("coop").arguments_class(), torch.device("cpu")

    def flags(dataset: Any, bf16: bool, model: Any = model) -> list[str]:
        ways = ways_to_shorten(model, dataset, method, bf16, cpu)
        return [name for way in ways for name in ("--augmented_views", "--bf16", "feature_adapter") if name in way]

    assert flags(images, False) == ["--augmented_views", "--bf16", "feature_adapter"]
    assert flags(images, True) == ["--augmented_views", "feature_adapter"]
    assert flags(features, False) == ["--bf16", "feature_adapter"]
    adapter = FeatureAdapterForImageClassification.from_backbone(modern_clip, ["cat", "dog"])
    assert flags(features, True, adapter) == []
    views = AugmentedViewDataset(4, images.images, images.image_processor)
    assert [way.split()[0] for way in ways_to_shorten_features(model, views)] == ["--bf16", "--augmented_views"]
    model.image_dtype = torch.bfloat16
    assert ways_to_shorten_features(model, images) == []
