"""The folder in which the code of the pages is run.

It has synthetic files under the names that the pages use. Random models with the configurations of Hub checkpoints are
in the cache of `huggingface_hub`, as if they had been downloaded.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub import constants
from transformers import CLIPConfig, CLIPModel, YolosConfig, YolosForObjectDetection, YolosImageProcessorPil

from hf_prompt_models.playground import ALPRO_DIR, CLASS_NAMES, CLIP_DIR, LM_DIR, VILT_DIR, draw_example
from hf_prompt_models.playground.captioned_clips import write_captioned_clips
from hf_prompt_models.playground.clips import write_clip_folder
from hf_prompt_models.playground.product_cards import write_card_folder
from hf_prompt_models.playground.scenes import write_scene_folder
from hf_prompt_models.playground.word_binding import write_episode_folder
from tests.stand_ins_language import resnet_152


CHECKPOINTS = {
    "openai/clip-vit-base-patch32": CLIP_DIR,
    "dandelin/vilt-b32-mlm": VILT_DIR,
    "openai-community/gpt2": LM_DIR,
    "EleutherAI/pythia-410m": LM_DIR,
}
"""Of the Hub, by id, and what stands in for each: the package's own tiny models."""
DEEP_CHECKPOINT = "openai/clip-vit-base-patch16"
"""A tiny CLIP with as many layers as the real one: some methods have prompts in nine of them."""


PHOTOS = ("photo.jpg", "front.jpg", "back.jpg", "cat.jpg", "a.jpg", "b.jpg", "c.jpg")


def write_place(folder: Path) -> Path:
    """Write small versions of all files that the pages use."""
    for split, count in (("train", 16), ("test", 2)):
        for name in CLASS_NAMES[:4]:
            pictures = folder / "photos" / split / name
            pictures.mkdir(parents=True)
            for index in range(count):
                draw_example(name, split, seed=1, index=index).save(pictures / f"{index}.jpg")
    shutil.copytree(folder / "photos", folder / "pets")
    for name, land in zip(CLASS_NAMES, ("Forest", "Highway", "Pasture", "River"), strict=False):
        shutil.copytree(folder / "photos" / "test" / name, folder / "satellite" / land)
    for name, file in zip(CLASS_NAMES[4:], PHOTOS, strict=False):
        draw_example(name, "test", seed=1, index=0).save(folder / file)

    write_clip_folder(folder / "videos", seed=1, train_per_class=2, test_per_class=1)
    motions = sorted(path.name for path in (folder / "videos" / "test").iterdir())
    (folder / "other-videos").mkdir()
    for name in motions[4:]:
        shutil.rmtree(folder / "videos" / "train" / name)
        (folder / "videos" / "test" / name).rename(folder / "other-videos" / name)
    shutil.copy(folder / "videos" / "test" / motions[0] / "000.mp4", folder / "clip.mp4")

    write_scene_folder(folder / "scenes", seed=1, train=6, test=4)
    write_card_folder(folder / "products", seed=1, train=8, test=4)
    write_episode_folder(folder / "episodes", seed=1, episodes=2)
    write_captioned_clips(folder / "clips", seed=1, train=6, test=4, questions=2)
    shutil.copytree(ALPRO_DIR, folder / "alpro-pretrained")
    shutil.copytree(CLIP_DIR, folder / "my-clip")
    return folder


@contextmanager
def fetched_checkpoints(scratch: Path) -> Iterator[None]:
    """Checkpoints of the Hub in the cache of this process, and out of it again."""
    folders = {
        **CHECKPOINTS,
        DEEP_CHECKPOINT: _write_deep_clip(scratch / "clip"),
        "microsoft/resnet-152": resnet_152(scratch / "resnet"),
        "microsoft/resnet-50": scratch / "resnet",
        "hustvl/yolos-tiny": _write_detector(scratch / "detector"),
    }
    made = []
    for name, source in folders.items():
        cached = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
        shutil.copytree(source, cached / "snapshots" / ("c" * 40))
        (cached / "refs").mkdir()
        (cached / "refs" / "main").write_text("c" * 40)
        made.append(cached)
    yield
    for cached in made:
        shutil.rmtree(cached)


def _write_deep_clip(folder: Path) -> Path:
    """A CLIP of random weights with twelve layers in each tower, otherwise as the package's own."""
    torch.manual_seed(0)
    shutil.copytree(CLIP_DIR, folder)
    config = CLIPConfig.from_pretrained(CLIP_DIR)
    config.text_config.num_hidden_layers = config.vision_config.num_hidden_layers = 12
    CLIPModel(config).save_pretrained(folder)
    return folder


def _write_detector(folder: Path) -> Path:
    """An object detector of random weights that is sure of everything it sees."""
    torch.manual_seed(0)
    config = YolosConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[32, 32],
        num_detection_tokens=6,
        num_labels=1,
    )
    model = YolosForObjectDetection(config)
    model.class_labels_classifier.layers[-1].bias.data = torch.tensor([9.0, -9.0])
    model.save_pretrained(folder)
    YolosImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 64}).save_pretrained(folder)
    return folder
