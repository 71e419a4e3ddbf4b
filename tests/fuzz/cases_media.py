"""Images, videos and checkpoints, the formats whose headers may declare anything."""

import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from hf_prompt_models.backbones.clip_checkpoints import read_clip_checkpoint
from hf_prompt_models.checkpoints.dassl_checkpoints import find_dassl_file, read_dassl_checkpoint
from hf_prompt_models.checkpoints.legacy_checkpoints import read_legacy_checkpoint
from hf_prompt_models.checkpoints.torch_checkpoints import read_torch_checkpoint
from hf_prompt_models.checkpoints.torchscript_archives import read_torchscript_archive
from hf_prompt_models.data.images.files import find_images
from hf_prompt_models.data.images.loading import load_image
from hf_prompt_models.data.videos.loading import check_video, load_video
from hf_prompt_models.models.alpro.video_index_alpro import AlproVideoIndex
from hf_prompt_models.training.checkpoints import newest_complete_checkpoint
from hf_prompt_models.training.feature_cache import FeatureCache
from tests.backbones.original_clip import TEXT, VISION, random_clip, write_archive, write_open_clip
from tests.fuzz.cases import Case, refusing, write_json, write_text
from tests.tested_method import random_image
from tests.videos import write_video


# -- images ----------------------------------------------------------------------------------------------------------


IMAGE_FORMATS: dict[str, dict[str, Any]] = {
    "a.png": {},
    "b.jpg": {"quality": 60, "exif": Image.Exif()},
    "c.gif": {},
    "d.webp": {"quality": 60},
    "e.bmp": {},
    "f.ppm": {},
    "g.tif": {"compression": "tiff_lzw"},
    "h.jpg": {"progressive": True},
}


def write_images(folder: Path) -> None:
    picture = random_image(size=(12, 9))
    for name, options in IMAGE_FORMATS.items():
        picture.save(folder / name, **options)
    picture.convert("P").save(folder / "i.png", transparency=1)
    Image.new("I;16", (5, 4), 700).save(folder / "j.png")
    picture.save(folder / "k.gif", save_all=True, append_images=[picture.rotate(90)])
    picture.save(folder / "l.tif", compression="tiff_adobe_deflate")


def read_images(folder: Path) -> None:
    for shrink in (True, False):
        for file in find_images(folder):
            load_image(file, shrink=shrink)


# -- videos ----------------------------------------------------------------------------------------------------------


VIDEO_FORMATS: dict[str, dict[str, Any]] = {
    "a.mp4": {"codec": "libx264", "gop": 2},
    "b.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8"}},
    "c.mkv": {"codec": "libx264"},
    "d.gif": {"codec": "gif"},
    "e.avi": {"codec": "mpeg4"},
    "f.mp4": {"codec": "mpeg4", "rotation": 90},
    "g.ts": {"codec": "libx264"},
    "h.webm": {"codec": "libvpx"},
}


def write_one_video(name: str, folder: Path) -> None:
    write_video(folder / name, 4, **VIDEO_FORMATS[name])


def read_one_video(name: str, folder: Path) -> None:
    load_video(folder / name, 2)
    check_video((folder / name).read_bytes(), name)


def video(name: str) -> Case:
    return Case(lambda folder: write_one_video(name, folder), lambda folder: read_one_video(name, folder))


# -- checkpoints -----------------------------------------------------------------------------------------------------


class Attack:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.path.join("..", "outside", "ran"),)


def content() -> dict[str, Any]:
    parameter = torch.nn.Parameter(torch.arange(6.0).view(2, 3))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    state = OrderedDict(ctx=parameter.data.half(), bias=torch.zeros(0))
    return {"state_dict": state, "epoch": 5, "optimizer": optimizer, "values": [1.5, "a", None, (True, b"x")]}


def write_checkpoints(folder: Path) -> None:
    for protocol in (2, 4):
        torch.save(content(), folder / f"{protocol}.pt", pickle_protocol=protocol)
    torch.save({"state_dict": Attack()}, folder / "attack.pt")


def write_legacy(folder: Path) -> None:
    state = {"a": torch.ones(4), "b": [torch.zeros(2, 2), "text"], "c": {1: 2.5}}
    torch.save(state, folder / "model.bin", _use_new_zipfile_serialization=False)
    torch.save({"a": Attack()}, folder / "attack.bin", _use_new_zipfile_serialization=False)
    (folder / "bare.bin").write_bytes(pickle.dumps(Attack()))


def write_archives(folder: Path) -> None:
    weights = {"a.weight": torch.ones(4), "a.b.bias": torch.zeros(2, 2), "numbers": torch.arange(3)}
    write_archive(folder / "model.pt", weights, context_length=20)


def write_open_clip_folder(folder: Path) -> None:
    vision, text = VISION | {"layers": 1, "width": 64}, TEXT | {"layers": 1, "vocab_size": 8}
    model = {"embed_dim": 4, "vision_cfg": vision, "text_cfg": text, "quick_gelu": True}
    write_open_clip(folder, random_clip(vision, text, embed_dim=4), model, {"resize_mode": "longest"})


def read_open_clip_folder(folder: Path) -> None:
    read = read_clip_checkpoint(folder)
    read.build()
    read.image_processor(Image.new("RGB", (5, 4)))


def read_each(read: Any, folder: Path) -> None:
    for file in sorted(folder.iterdir()):
        with refusing(file.name):
            read(file)


def write_dassl(folder: Path) -> None:
    (folder / "prompt_learner").mkdir()
    torch.save(content(), folder / "prompt_learner" / "model.pth.tar-5")
    write_text(folder / "prompt_learner" / "checkpoint", "model.pth.tar-5")


def write_features(folder: Path) -> None:
    FeatureCache(folder, {}).write([bytes([number]) * 32 for number in (1, 2)], torch.ones(2, 4))


def read_features(folder: Path) -> None:
    found = FeatureCache(folder, {}).read([bytes([1]) * 32])
    assert all(torch.equal(feature, torch.ones(4)) for feature in found.values())  # the right ones, or none


def write_index(folder: Path) -> None:
    AlproVideoIndex(["a.mp4", "b.mp4"], torch.ones(2, 5, 3), torch.ones(2, 4), "0" * 64).save(
        folder / "index.safetensors"
    )


def read_index(folder: Path) -> None:
    index = AlproVideoIndex.load(folder / "index.safetensors")
    assert len(index.names) == len(index.tokens) == len(index.embeds)
    assert all(isinstance(name, str) for name in (*index.names, *index.skipped, index.model_digest))


def write_training(folder: Path) -> None:
    from safetensors.torch import save_file

    for step in (1, 2):
        checkpoint = folder / f"checkpoint-{step}"
        write_json(checkpoint / "trainer_state.json", {"global_step": step, "log_history": [{"loss": 1.0}]})
        save_file({"a": torch.ones(2)}, checkpoint / "model.safetensors")
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            torch.save({"a": 1}, checkpoint / name)


def read_training(folder: Path) -> None:
    assert newest_complete_checkpoint(folder) in {str(folder / f"checkpoint-{step}") for step in (1, 2)}


def bomb_png(side: int) -> bytes:
    """A PNG that claims side x side pixels and holds a few."""
    file = io.BytesIO()
    Image.new("1", (64, 64)).save(file, "PNG")
    data = bytearray(file.getvalue())
    data[16:24] = side.to_bytes(4, "big") * 2
    return bytes(data)


CASES: dict[str, Case] = {
    "images": Case(write_images, read_images),
    **{f"videos, {Path(name).suffix[1:]} {options['codec']}": video(name) for name, options in VIDEO_FORMATS.items()},
    "checkpoints of torch.save": Case(write_checkpoints, lambda folder: read_each(read_torch_checkpoint, folder)),
    "checkpoints before PyTorch 1.6": Case(write_legacy, lambda folder: read_each(read_legacy_checkpoint, folder)),
    "TorchScript archives": Case(write_archives, lambda folder: read_each(read_torchscript_archive, folder)),
    "folders of open_clip": Case(write_open_clip_folder, read_open_clip_folder),
    "Dassl's folders": Case(
        write_dassl, lambda folder: read_dassl_checkpoint(find_dassl_file(folder, "prompt_learner"))
    ),
    "feature cache": Case(write_features, read_features, ("*/*.safetensors",)),
    "video index": Case(write_index, read_index),
    "training checkpoints": Case(write_training, read_training, ("checkpoint-2/*",)),
}
