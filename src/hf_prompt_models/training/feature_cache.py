"""Cache for the features of a frozen image tower on disk: computed once for all runs on the same images.

An entry is found by the content of the image file, never by its name. Each setting (image processor, weights of the
tower, precision) has its own folder, so that its features are never used under another one. Files are written
completely and then moved into place, each with a checksum. Processes can therefore share a cache, an interrupted run
resumes where it stopped, and a damaged file is deleted and its features are computed again.
"""

import contextlib
import hashlib
import json
import logging
import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.constants import HF_HOME
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch.utils.data import Subset
from tqdm.auto import tqdm

from hf_prompt_models.data.images.dataset import FeatureDataset
from hf_prompt_models.modeling_clip_utils import ClipPromptModel
from hf_prompt_models.training.callbacks.progress import FeaturePace
from hf_prompt_models.utils.distributed import num_processes, process_index, wait_for_all
from hf_prompt_models.utils.files import (
    SECONDS_TO_WRITE,
    has_vanished,
    list_directory,
    remove_unfinished,
    replacing,
    write_json,
)
from hf_prompt_models.utils.loading import load_batches


logger = logging.getLogger(__name__)

DEFAULT_DIRECTORY = Path(HF_HOME) / "hf_prompt_models" / "features"
FORMAT = 2
"""Part of every setting. It is increased when the computation of features changes."""
TRIES = 5
"""Number of attempts to write into a folder that other processes may remove."""


class FeatureCache:
    """The cached features of one setting.

    Args:
        directory: folder for the features of all settings.
        setting: everything except the image itself on which its features depend, as JSON-serialisable values.
    """

    def __init__(self, directory: str | os.PathLike, setting: dict[str, Any]):
        self.setting = {"format": FORMAT, **setting}
        name = hashlib.sha256(json.dumps(self.setting, sort_keys=True).encode()).hexdigest()
        self.directory = Path(directory) / name[:32]
        self._is_kept = True

    def read(self, keys: Sequence[bytes]) -> dict[bytes, torch.Tensor]:
        """Return those of the requested features that are cached, by key, (dim,) each.

        Args:
            keys: keys of images, 32 bytes each, as returned by `ImageDataset.key`.
        """
        wanted, found = set(keys), {}
        for file in self._files():
            if not wanted:
                break
            try:
                stored, features = _read_file(file)
            except OSError as error:
                if not has_vanished(error):
                    logger.warning(f"Cannot read {file} ({error}). Its features are computed again.")
                continue
            except (ValueError, SafetensorError) as error:
                logger.warning(f"{file} is damaged ({error}). Its features are computed again.")
                with contextlib.suppress(OSError):  # the cache may be read-only
                    file.unlink()
                continue
            for key, row in zip(stored, features, strict=True):
                if key in wanted:
                    found[key] = row.clone()  # a view would keep the complete file in memory
                    wanted.remove(key)
        return found

    def write(self, keys: Sequence[bytes], features: torch.Tensor) -> None:
        """Add features in a new file. If writing fails, warn once and cache nothing from then on.

        Args:
            keys: keys of images, 32 bytes each.
            features: (keys, dim), float32.
        """
        if not self._is_kept:
            return
        try:
            self._write(keys, features)
        except OSError as error:
            self._is_kept = False
            logger.warning(f"{error} Continuing without a feature cache. Choose another folder with --feature_cache.")

    def _files(self) -> list[Path]:
        try:
            return list_directory(self.directory, "*.safetensors")
        except OSError as error:
            logger.warning(f"Cannot read the feature cache {self.directory} ({error.strerror}).")
            return []

    def _write(self, keys: Sequence[bytes], features: torch.Tensor) -> None:
        tensors = {"keys": torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8).view(-1, 32)}
        tensors["features"] = features.detach().cpu().contiguous()
        content = save(tensors, {"checksum": _checksum(**tensors)})  # save_file does not report why it fails
        for tries_left in reversed(range(TRIES)):
            try:
                if not (self.directory / "setting.json").exists():
                    write_json(self.directory / "setting.json", self.setting)  # for users only: no code reads it
                remove_unfinished(self.directory, SECONDS_TO_WRITE)
                with replacing(self.directory / f"{uuid.uuid4().hex}.safetensors") as beside:
                    beside.write_bytes(content)
                return
            except OSError as error:
                if not has_vanished(error) or not tries_left:  # if the cache was emptied meanwhile, retry
                    raise


def open_feature_cache(
    directory: str | os.PathLike | None, model: ClipPromptModel, image_processor: Any
) -> FeatureCache | None:
    """Return the cache for the image tower of a model and an image processor.

    Args:
        directory: folder of the cache. `None` means a folder in the cache of the Hugging Face libraries (`HF_HOME`),
            `"off"` means no cache.
        model: the model. Only the image tower of its backbone and its `image_dtype` count: models that differ only in
            the prompt share their cache.
        image_processor: the image processor. Only its class and its settings count.

    Returns:
        The cache, or `None` if `directory` is `"off"`.
    """
    if directory == "off":
        return None
    setting = {
        "image_processor": json.loads(image_processor.to_json_string()),
        # Backends resize slightly differently, and attention implementations round differently.
        "image_processor_class": type(image_processor).__name__,
        "attention": str(model.clip.config.vision_config._attn_implementation),
        "image_tower": _digest_image_tower(model),
        "dtype": str(model.image_dtype or model.clip.dtype),
        "feature": model.image_feature,
    }
    return FeatureCache(DEFAULT_DIRECTORY if directory is None else directory, setting)


def _digest_image_tower(model: ClipPromptModel) -> str:
    """Return a digest of the image tower. It covers all weights, not only a sample as the fingerprint does."""
    digest = hashlib.sha256(model.clip.config.vision_config.to_json_string().encode())
    for name, tensor in sorted(model.clip.state_dict().items()):
        if name.startswith(("vision_model.", "visual_projection.")):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _read_file(file: Path) -> tuple[list[bytes], torch.Tensor]:
    with safe_open(file, framework="pt") as stored:
        if set(stored.keys()) != {"features", "keys"}:
            raise ValueError("it contains something other than features")
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


CACHED_AT_A_TIME = 1000
"""Number of images after whose batch features are written to the cache; an interrupted run loses the others."""


@torch.no_grad()
def compute_features(
    encode: Callable[..., torch.Tensor],
    dataset: Any,
    name: str,
    batch_size: int,
    num_workers: int = 0,
    progress: bool = True,
    cache: FeatureCache | None = None,
    device: torch.device | str = "cpu",
    advice: Sequence[str] = (),
) -> FeatureDataset:
    """Return the features of each item of a dataset under a frozen tower, computed once.

    Args:
        encode: function from a batch of the items' tensors to features, (batch, ...).
        dataset: a dataset whose items have `labels`. With `cache`, its method `key` returns the key of an item; its
            attribute `labels` holds the labels of all items.
        name: the keyword under which the model takes the features.
        batch_size: number of items per batch.
        num_workers: number of processes that load items; 0: threads of this process.
        progress: whether to show a progress bar.
        cache: the cache in which features are looked up and stored. Of several processes, each computes a part and
            reads the rest from the cache; without a cache, each process computes all features.
        device: device of the model, to which batches are moved.
        advice: sentences about flags that would shorten the computation, printed if it takes long.
    """
    device = torch.device(device)
    computed: list[torch.Tensor] = []

    def keep(indices: Sequence[int], features: torch.Tensor) -> None:
        computed.append(features)
        if cache:
            known.update(zip((keys[index] for index in indices), features, strict=True))
            # Skip files that were replaced after their key was computed: the key is of the old content.
            kept = [place for place, index in enumerate(indices) if _has_key(dataset, index, keys[index])]
            if kept:
                cache.write([keys[indices[place]] for place in kept], features[kept])

    def compute(missing: list[int]) -> None:
        if not missing:
            return
        waiting: list[torch.Tensor] = []
        done, pace = 0, FeaturePace(len(missing), advice)
        with tqdm(total=len(missing), desc=f"Features ({name})", leave=False, disable=not progress) as bar:
            for batch in load_batches(Subset(dataset, missing), batch_size, device, num_workers):
                batch.pop("labels")
                waiting.append(encode(**batch).float().cpu())
                bar.update(len(waiting[-1]))
                pace.update(len(waiting[-1]))
                done += len(waiting[-1])
                if (cache and sum(map(len, waiting)) >= CACHED_AT_A_TIME) or done == len(missing):
                    features = torch.cat(waiting)
                    keep(missing[done - len(features) : done], features)
                    waiting.clear()

    if cache is None:
        compute(list(range(len(dataset))))
        return FeatureDataset(torch.cat(computed), dataset.labels, name)
    keys = [dataset.key(index) for index in range(len(dataset))]
    known = cache.read(keys)
    first_of = {key: index for index, key in reversed(list(enumerate(keys)))}  # equal items are computed once
    missing = [index for index, key in enumerate(keys) if key not in known and first_of[key] == index]
    if num_processes() > 1:
        # Each process computes a part, chosen by key, not by index: a process that reads later misses fewer items.
        compute([index for index in missing if int.from_bytes(keys[index][:4]) % num_processes() == process_index()])
        wait_for_all()
        known |= cache.read([keys[index] for index in missing if keys[index] not in known])
        missing = [index for index in missing if keys[index] not in known]  # on machines that do not share the cache
    compute(missing)
    return FeatureDataset(torch.stack([known[key] for key in keys]), dataset.labels, name)


def _has_key(dataset: Any, index: int, key: bytes) -> bool:
    try:
        return dataset.key(index) == key
    except OSError:  # it was removed
        return False
