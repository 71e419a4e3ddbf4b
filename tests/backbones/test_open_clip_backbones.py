"""Folders and repositories of open_clip are backbones as they are, without conversion."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from hf_prompt_cli.main import main
from hf_prompt_models import CoOpForImageClassification, CoOpProcessor, OpenClipImageProcessor
from hf_prompt_models.hub.reachable import check_reachable
from tests.backbones.original_clip import EMBED_DIM, TEXT, VISION, random_clip, write_archive, write_open_clip
from tests.local_hub import Repository, serve
from tests.pictures import write_pictures
from tests.programs import run_program
from tests.tested_method import assert_same


NAMES = ["cat", "dog"]
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


@pytest.fixture(scope="module")
def open_clip(openai_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like timm's repositories, whose config.json is timm's. Its images are padded."""
    torch.manual_seed(5)
    folder = write_open_clip(
        tmp_path_factory.mktemp("hub") / "vit.openai",
        random_clip(),
        {"embed_dim": EMBED_DIM, "vision_cfg": VISION, "text_cfg": TEXT, "quick_gelu": True},
        {"resize_mode": "longest", "interpolation": "bilinear"},
    )
    for name in TOKENIZER_FILES:
        shutil.copy(openai_clip / name, folder)
    (folder / "config.json").write_text(json.dumps({"architecture": "vit_base_patch32_clip_224", "num_classes": 0}))
    return folder


@pytest.fixture(scope="module")
def converted(open_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted") / "clip"
    assert main(["convert", "clip", "--checkpoint", str(open_clip), "--output_dir", str(folder)]) == 0
    return folder


def scores(model: CoOpForImageClassification) -> torch.Tensor:
    pixels = model._find_processor()(
        images=Image.new("RGB", (40, 21), (90, 10, 200)), return_tensors="pt"
    ).pixel_values
    with torch.no_grad():
        return model(pixels).logits


def test_a_folder_gives_the_outputs_of_the_converted_one(open_clip: Path, converted: Path) -> None:
    models = []
    for backbone in (open_clip, converted):
        torch.manual_seed(0)
        models.append(CoOpForImageClassification.from_backbone(str(backbone), NAMES, n_ctx=2))
    assert_same(scores(models[0]), scores(models[1]))
    assert models[0].config.base_model_name_or_path == str(open_clip)
    processor = AutoProcessor.from_pretrained(converted)
    assert isinstance(processor.image_processor, OpenClipImageProcessor)
    assert processor(text="a cat", images=Image.new("RGB", (40, 21))).pixel_values[0].shape == (3, 32, 32)


def test_options_of_loading_apply(open_clip: Path) -> None:
    model = CoOpForImageClassification.from_backbone(
        open_clip, NAMES, n_ctx=2, dtype=torch.bfloat16, attn_implementation="eager"
    )
    assert model.clip.dtype == torch.bfloat16
    assert model.clip.config.vision_config._attn_implementation == "eager"
    assert model.context.dtype == torch.float32


def test_a_saved_prompt_finds_the_folder_again(open_clip: Path, tmp_path: Path) -> None:
    model = CoOpForImageClassification.from_backbone(open_clip, NAMES, n_ctx=2)
    model.save_pretrained(tmp_path / "prompt")
    loaded = CoOpForImageClassification.from_pretrained(tmp_path / "prompt")
    assert_same(scores(loaded), scores(model))
    assert loaded.config.weights_scope == "prompt"
    model.save_pretrained(tmp_path / "full", save_backbone=True)
    assert_same(scores(CoOpForImageClassification.from_pretrained(tmp_path / "full")), scores(model))


def test_a_folder_that_also_has_a_model_of_transformers_is_read_as_that(
    open_clip: Path, modern_clip: Path, tmp_path: Path
) -> None:
    both = shutil.copytree(modern_clip, tmp_path / "both")
    for file in open_clip.glob("open_clip*"):
        shutil.copy(file, both)
    models = []
    for backbone in (both, modern_clip):
        torch.manual_seed(0)
        models.append(CoOpForImageClassification.from_backbone(backbone, NAMES, n_ctx=2))
    assert_same(scores(models[0]), scores(models[1]))


def test_what_cannot_be_a_backbone_is_refused_by_name(open_clip: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in open_clip.glob("open_clip*"):
        shutil.copy(file, bare)
    with pytest.raises(OSError, match="bare' has no tokenizer files"):
        CoOpProcessor.from_backbone(bare)
    (bare / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": {"vision_cfg": {"timm_model_name": "convnext_base"}, "text_cfg": {}}})
    )
    with pytest.raises(ValueError, match=r"open_clip_config\.json: This model is of the family ConvNeXt"):
        CoOpForImageClassification.from_backbone(bare, NAMES)
    file = write_archive(tmp_path / "ViT.pt", random_clip())
    with pytest.raises(OSError, match=r"ViT\.pt' is a file.*`hf-prompt convert clip`"):
        check_reachable(file)


def test_commands_take_a_folder_as_the_backbone(
    open_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split, count in (("train", 2), ("test", 1)):
        write_pictures(tmp_path / split, dict.fromkeys(NAMES, count))
    flags = ["--train_dir", tmp_path / "train", "--test_dir", tmp_path / "test", "--shots", 2, "--n_ctx", 2]
    flags += ["--num_train_epochs", 1, "--per_device_train_batch_size", 2, "--output_dir", tmp_path / "run"]
    assert main(["train", "coop", "--backbone", str(open_clip), *map(str, flags)]) == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["base_model_name_or_path"] == str(open_clip)
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    capsys.readouterr()
    image = str(next((tmp_path / "test").rglob("*.png")))
    assert main(["predict", str(open_clip), image, "--class_names", str(tmp_path / "names.txt")]) == 0
    assert "cat" in capsys.readouterr().out


HUB_PROGRAM = """
from hf_prompt_models import CoOpForImageClassification
for name in ("user/vit.openai", "user/without-config"):
    model = CoOpForImageClassification.from_backbone(name, ["cat", "dog"], n_ctx=2)
    model.save_pretrained("prompt")
    config = CoOpForImageClassification.from_pretrained("prompt").config
    print(config.base_model_name_or_path, config.base_model_revision)
"""


def test_repositories_on_the_hub_are_backbones(open_clip: Path, tmp_path: Path) -> None:
    files = {file.name: file.read_bytes() for file in open_clip.iterdir()}
    with serve() as hub:
        expected = []
        for name, left_out in (("user/vit.openai", ""), ("user/without-config", "config.json")):
            hub.repositories[name] = Repository()
            kept = {file: content for file, content in files.items() if file != left_out}
            expected.append(f"{name} {hub.repositories[name].commit('main', kept)}")
        done = run_program([sys.executable, "-c", HUB_PROGRAM], env=hub.environment(tmp_path, None), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected
