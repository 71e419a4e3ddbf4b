"""Flags that do not apply to the given model are refused with the reason, never ignored."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from hf_prompt_cli.main import main
from hf_prompt_models import ClipZeroShotForImageClassification, CptForVisualGrounding, FrozenForConditionalGeneration
from hf_prompt_models.playground import ALPRO_DIR, draw_example


MODELS: dict[str, Any] = {
    "classifies": lambda: ClipZeroShotForImageClassification.from_backbone("playground", ["key", "cup"]),
    "grounds": lambda: CptForVisualGrounding.from_backbone("playground"),
    "generates": lambda: FrozenForConditionalGeneration.from_backbone("playground"),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name, make in MODELS.items():
        make().save_pretrained(folder / name)
    shutil.copytree(ALPRO_DIR, folder / "searches")
    draw_example("key", "test", seed=0, index=0).save(folder / "a.png")
    return folder


@pytest.mark.parametrize(
    ("does", "flags"),
    [
        ("classifies", "--num_beams 2"),
        ("classifies", "--blind"),
        ("classifies", "--box 0 0 9 9"),
        ("grounds", "--csv t.csv --text key --box 0 0 9 9"),
        ("grounds", "--max_new_tokens 3 --text key --box 0 0 9 9"),
        ("generates", "--top_k 2"),
        ("generates", "--on_unreadable skip"),
        ("searches", "--dtype float16 --text key"),
        ("searches", "--backbone playground --text key"),
    ],
)
def test_predict_refuses_a_flag_of_other_models(does: str, flags: str, models: Path) -> None:
    flag = flags.split()[0]
    with pytest.raises(SystemExit, match=f"error: {flag} does not apply to .*{does}, which {does}.*Remove it"):
        main(["predict", str(models / does), str(models / "a.png"), *flags.split()])


@pytest.mark.parametrize(
    ("does", "flags"),
    [
        ("classifies", "--rerank 3"),
        ("classifies", "--test_images x"),
        ("grounds", "--temporal_views 3"),
        ("grounds", "--confusion_matrix m.png"),
        ("generates", "--set_classes"),
        ("generates", "--test_videos x"),
        ("searches", "--spatial_views 3"),
        ("searches", "--shots 2"),
    ],
)
def test_evaluate_refuses_a_flag_of_other_models(does: str, flags: str, models: Path) -> None:
    flag = flags.split()[0]
    with pytest.raises(SystemExit, match=f"error: {flag} does not apply to .*{does}, which {does}.*Remove it"):
        main(["evaluate", str(models / does), "--test_dir", str(models), *flags.split()])


@pytest.mark.parametrize("name", ["photos/cat.JPG", "clip.mp4"])
def test_tables_do_not_replace_images_or_videos(name: str, capsys: pytest.CaptureFixture) -> None:
    for words in (["predict", "model", "x.png", "--csv"], ["evaluate", "model", "--test_dir", "d", "--predictions"]):
        with pytest.raises(SystemExit) as ended:
            main([*words, name])
        assert ended.value.code == 2
        assert f"'{name}' is the name of an image or a video" in capsys.readouterr().err
