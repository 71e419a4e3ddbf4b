"""Features of a frozen image tower on disk: computed once, for every run that shows it the same pictures.

An entry is found by what the picture's file holds, never by its name, and lies in a folder of its own for each setting
(image processor, weights of the tower, precision), so that features of one are never used under another. Files are
written whole and moved into place, each with a checksum: processes may share a cache, a run that was stopped goes on
where it was, and a damaged file is thrown away and its features are computed again.
"""

import contextlib
import hashlib
import json
import logging
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.constants import HF_HOME
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from hf_prompt_models.modeling_clip_utils import ClipPromptModel
from hf_prompt_models.utils.files import (
    SECONDS_TO_WRITE,
    has_vanished,
    list_directory,
    remove_unfinished,
    replacing,
    write_json,
)


logger = logging.getLogger(__name__)

DEFAULT_DIRECTORY = Path(HF_HOME) / "hf_prompt_models" / "features"
FORMAT = 1
"""Part of every setting: raised when the way from a picture to its features changes."""
TRIES = 5
"""To write into a folder that other processes remove."""


class FeatureCache:
    """One setting's features.

    Args:
        directory: of all settings' features.
        setting: everything, besides a picture's content, on which its features depend; anything JSON can say.
    """

    def __init__(self, directory: str | os.PathLike, setting: dict[str, Any]):
        self.setting = {"format": FORMAT, **setting}
        name = hashlib.sha256(json.dumps(self.setting, sort_keys=True).encode()).hexdigest()
        self.directory = Path(directory) / name[:32]
        self._is_kept = True

    def read(self, keys: Sequence[bytes]) -> dict[bytes, torch.Tensor]:
        """The features that are there, of those asked for: (dim,) each.

        Args:
            keys: 32 bytes each, of a picture as `ImageDataset.key` gives it.
        """
        wanted, found = set(keys), {}
        for file in self._files():
            if not wanted:
                break
            try:
                stored, features = _read_file(file)
            except OSError as error:
                if not has_vanished(error):
                    logger.warning(f"Cannot read {file} ({error}), computing its features again.")
                continue
            except (ValueError, SafetensorError) as error:
                logger.warning(f"Damaged, computing its features again: {file} ({error}).")
                with contextlib.suppress(OSError):  # of a cache that is read-only
                    file.unlink()
                continue
            for key, row in zip(stored, features, strict=True):
                if key in wanted:
                    found[key] = row.clone()  # not a view, which would keep all of the file in memory
                    wanted.remove(key)
        return found

    def write(self, keys: Sequence[bytes], features: torch.Tensor) -> None:
        """Add features, in a file of their own. What cannot be written, as on a full disk, is said once, and not kept.

        Args:
            keys: 32 bytes each.
            features: (keys, dim), float32.
        """
        if not self._is_kept:
            return
        try:
            self._write(keys, features)
        except OSError as error:
            self._is_kept = False
            logger.warning(f"{error} Going on without; --feature_cache names another folder.")

    def _files(self) -> list[Path]:
        try:
            return list_directory(self.directory, "*.safetensors")
        except OSError as error:
            logger.warning(f"Cannot read the feature cache {self.directory} ({error.strerror}).")
            return []

    def _write(self, keys: Sequence[bytes], features: torch.Tensor) -> None:
        tensors = {"keys": torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8).view(-1, 32)}
        tensors["features"] = features.detach().cpu().contiguous()
        content = save(tensors, {"checksum": _checksum(**tensors)})  # save_file does not tell why it fails
        for tries_left in reversed(range(TRIES)):
            try:
                if not (self.directory / "setting.json").exists():
                    write_json(self.directory / "setting.json", self.setting)  # for people: nothing reads it
                remove_unfinished(self.directory, SECONDS_TO_WRITE)
                with replacing(self.directory / f"{uuid.uuid4().hex}.safetensors") as beside:
                    beside.write_bytes(content)
                return
            except OSError as error:
                if not has_vanished(error) or not tries_left:  # the cache was emptied meanwhile: it is made again
                    raise


def open_feature_cache(
    directory: str | os.PathLike | None, model: ClipPromptModel, image_processor: Any
) -> FeatureCache | None:
    """The cache for a model's image tower and an image processor.

    Args:
        directory: where it lies; `None`: in the folder where Hugging Face libraries keep what they fetched; `"off"`
            for no cache.
        model: whose backbone's image side counts: two models that differ in the prompt alone share their cache.
        image_processor: by its settings.
    """
    if directory == "off":
        return None
    setting = {
        "image_processor": json.loads(image_processor.to_json_string()),
        # Each backend resizes a little differently, and each way to compute attention rounds differently.
        "image_processor_class": type(image_processor).__name__,
        "attention": str(model.clip.config.vision_config._attn_implementation),
        "image_tower": _digest_image_tower(model),
        "dtype": str(model.clip.dtype),
    }
    return FeatureCache(DEFAULT_DIRECTORY if directory is None else directory, setting)


def _digest_image_tower(model: ClipPromptModel) -> str:
    """Of all that a picture passes through: every weight counts, not a sample of them as in the fingerprint."""
    digest = hashlib.sha256(model.clip.config.vision_config.to_json_string().encode())
    for name, tensor in sorted(model.clip.state_dict().items()):
        if name.startswith(("vision_model.", "visual_projection.")):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _read_file(file: Path) -> tuple[list[bytes], torch.Tensor]:
    with safe_open(file, framework="pt") as stored:
        if set(stored.keys()) != {"features", "keys"}:
            raise ValueError("it holds something else than features")
        tensors = {name: stored.get_tensor(name) for name in ("keys", "features")}
        if (stored.metadata() or {}).get("checksum") != _checksum(**tensors):
            raise ValueError("its checksum is wrong")
    digests = tensors["keys"].numpy().tobytes()
    return [digests[start : start + 32] for start in range(0, len(digests), 32)], tensors["features"]


def _checksum(keys: torch.Tensor, features: torch.Tensor) -> str:
    digest = hashlib.sha256(f"{tuple(keys.shape)} {tuple(features.shape)} {features.dtype}".encode())
    digest.update(keys.numpy().tobytes())
    digest.update(features.numpy().tobytes())
    return digest.hexdigest()
