"""Without PyAV, images and frames work as before, and errors about video files name the package to install."""

import subprocess
import sys

import pytest

from tests.models.action_clip.tested_method import METHOD as ACTION_CLIP
from tests.models.coop.tested_method import METHOD as COOP
from tests.tested_method import random_image


PROGRAM = """
import sys
sys.modules["av"] = None  # as where it is absent
import numpy as np
from PIL import Image
from transformers import pipeline
from hf_prompt_models.data.images.labelled import read_image_folder
from hf_prompt_models.data.videos.labelled import read_video_folder
from hf_prompt_models.data.videos.writing import write_video
from hf_prompt_models.data.videos.loading import load_video

frames = [Image.open(f"clips/cat/a/{number}.png").convert("RGB") for number in range(5)]
assert len(pipeline("image-classification", "coop")(frames[0])) == 3
assert len(read_image_folder("pictures")) == 2
assert len(load_video("clips/cat/a", 2)) == 2
assert len(read_video_folder("clips")) == 2
pipe = pipeline("video-classification", "action_clip")
assert len(pipe(frames[:2])) == len(pipe("clips/cat/a")) == 3
for use in (
    lambda: load_video("clip.mp4", 2),
    lambda: load_video(b"bytes", 2),
    lambda: pipe("clip.mp4"),
    lambda: write_video("out.mp4", np.zeros((2, 16, 16, 3), np.uint8)),
):
    try:
        use()
    except ImportError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The errors of a program that meets no PyAV."""
    folder = tmp_path_factory.mktemp("without-av")
    for name, method in {"coop": COOP, "action_clip": ACTION_CLIP}.items():
        method.build(method.write_backbone(folder / f"backbone-{name}")).save_pretrained(folder / name)
    (folder / "clip.mp4").touch()
    for kind in ("cat", "dog"):
        (folder / f"pictures/{kind}").mkdir(parents=True)
        random_image().save(folder / f"pictures/{kind}/0.png")
        (folder / f"clips/{kind}/a").mkdir(parents=True)
        for number in range(5):
            random_image(number).save(folder / f"clips/{kind}/a/{number}.png")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_images_and_frames_work_and_each_video_file_reports_what_to_install(said: list[str]) -> None:
    assert len(said) == 4
    assert all("pip install av" in line for line in said)
    assert ["clip.mp4" in line for line in said] == [True, False, True, False]
    assert "out.mp4" in said[-1]


@pytest.mark.slow
def test_the_decoder_alone_cannot_be_imported() -> None:
    program = """
import sys
sys.modules["av"] = None
import importlib, pkgutil
import hf_prompt_models
for name in ("data", "models", "playground", "training"):
    package = importlib.import_module(f"hf_prompt_models.{name}")
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            print(module.name, error.name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["hf_prompt_models.data.videos.decoding av"]
