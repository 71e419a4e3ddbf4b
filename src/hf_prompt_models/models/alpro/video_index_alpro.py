"""An index of videos: their ALPRO features, in memory or in a file, to search them with many texts."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from transformers import ProcessorMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import logging

from hf_prompt_models.checkpoints.fingerprint import digest_tensors
from hf_prompt_models.data.videos.files import videos_in
from hf_prompt_models.data.videos.loading import VIDEO_SUFFIXES, UnreadableVideoError, load_video
from hf_prompt_models.models.alpro.modeling_alpro import AlproPreTrainedModel
from hf_prompt_models.utils.files import replacing


logger = logging.get_logger(__name__)

TOKENS, EMBEDS = "video_tokens", "video_embeds"


@dataclass(frozen=True)
class AlproVideoIndex:
    """Features of videos, to search them with many texts.

    Args:
        names: files of the videos.
        tokens: (videos, 1 + patches of a frame, width) input of the fusion layers.
        embeds: (videos, projection_dim) L2-normalised features.
        model_digest: digest of the weights that computed the features.
        skipped: videos that could not be read, each with the reason.

    Example:
        ```python
        >>> import numpy as np
        >>> from hf_prompt_models import AlproForVideoTextRetrieval, AlproVideoIndex
        >>> from hf_prompt_models.data import write_video
        >>> write_video("clips/key.mp4", np.zeros((8, 48, 64, 3), dtype=np.uint8))
        >>> model = AlproForVideoTextRetrieval.from_backbone("playground")
        >>> AlproVideoIndex.build(model, model.processor, "clips").save("clips.safetensors")
        >>> AlproVideoIndex.load("clips.safetensors").embeds.shape
        torch.Size([1, 64])

        ```
    """

    names: list[str]
    tokens: torch.Tensor
    embeds: torch.Tensor
    model_digest: str
    skipped: dict[str, str] = field(default_factory=dict)

    @classmethod
    @torch.no_grad()
    def build(
        cls,
        model: AlproPreTrainedModel,
        processor: ProcessorMixin,
        videos: str | os.PathLike | Sequence[str | os.PathLike],
        batch_size: int = 8,
        on_read: Callable[[int, int], object] | None = None,
    ) -> Self:
        """Sample frames of videos and encode them. A video that cannot be read is skipped with a warning.

        Args:
            model: the model, in eval mode.
            processor: the model's processor.
            videos: a folder, searched with its subfolders, or a list of files.
            batch_size: number of videos encoded at a time.
            on_read: function that is called after each batch with the number of processed videos and the total number.

        Raises:
            ValueError: if no video is found or none can be read.
        """
        files = find_videos(videos)
        skipped: dict[str, str] = {}
        names: list[str] = []
        found: list[BaseModelOutputWithPooling] = []
        for some in _batches(_readable(files, model.config.num_frames, skipped), batch_size):
            names += [name for name, _ in some]
            pixels = processor(images=[frames for _, frames in some], return_tensors="pt")["pixel_values"]
            found.append(model.get_video_features(pixels.to(model.device)))
            if on_read is not None:
                on_read(len(names) + len(skipped), len(files))
        if not names:
            raise ValueError(
                f"None of the {len(files)} videos can be read. The first error: {next(iter(skipped.values()))}"
            )
        return cls(
            names,
            torch.cat([each.last_hidden_state for each in found]).cpu(),
            torch.cat([each.pooler_output for each in found]).cpu(),
            digest(model),
            skipped,
        )

    def save(self, file: str | os.PathLike) -> None:
        """Write a safetensors file. It is written to a temporary file, which is then moved into place."""
        lists = {"names": self.names, "skipped": self.skipped, "model_digest": self.model_digest}
        with replacing(file) as beside:
            tensors = {TOKENS: self.tokens.contiguous(), EMBEDS: self.embeds.contiguous()}
            save_file(tensors, beside, {"alpro_video_index": json.dumps(lists)})

    @classmethod
    def load(cls, file: str | os.PathLike) -> Self:
        """Read an index that `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not an index, or is damaged.
        """
        if not Path(file).is_file():
            raise FileNotFoundError(f"There is no index {str(file)!r}. Create it with index_videos(..., file=...).")
        try:
            with safe_open(file, framework="pt") as opened:
                lists = json.loads((opened.metadata() or {})["alpro_video_index"])
                tokens, embeds = opened.get_tensor(TOKENS), opened.get_tensor(EMBEDS)
            index = cls(lists["names"], tokens, embeds, lists["model_digest"], lists["skipped"])
        except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"{file} is not an index of videos, or it is damaged ({error!r}). Create it again."
            ) from error
        told = (
            isinstance(index.names, list) and isinstance(index.skipped, dict) and isinstance(index.model_digest, str)
        )
        if not told or not all(isinstance(text, str) for text in (*index.names, *index.skipped.values())):
            raise ValueError(f"{file} has no names of videos. Create it again.")
        if (tokens.dim(), embeds.dim()) != (3, 2) or {len(tokens), len(embeds)} != {len(index.names)}:
            raise ValueError(f"{file} contains {len(tokens)} videos, but {len(index.names)} names. Create it again.")
        return index

    def features_for(self, model: AlproPreTrainedModel) -> BaseModelOutputWithPooling:
        """Return the videos' features for `model.rank`.

        Raises:
            ValueError: if another model computed them.
        """
        if digest(model) != self.model_digest:
            raise ValueError(
                "The features of the videos were computed with another model or another precision. Index the "
                "videos again."
            )
        return BaseModelOutputWithPooling(
            last_hidden_state=self.tokens.to(model.device), pooler_output=self.embeds.to(model.device)
        )


def digest(model: AlproPreTrainedModel) -> str:
    """Return a digest of all weights that a video's features depend on."""
    towers = model.alpro
    parts = {"video_model": towers.video_model, "video_projection": towers.video_projection}
    total = hashlib.sha256()
    for part, module in parts.items():
        for name, values in sorted(digest_tensors(module.state_dict()).items()):
            total.update(f"{part}.{name}".encode() + values)
    return total.hexdigest()


def find_videos(videos: str | os.PathLike | Sequence[str | os.PathLike]) -> list[Path]:
    """Return the videos in a folder and its subfolders, or those of a list.

    Raises:
        ValueError: if there are none.
    """
    if isinstance(videos, str | os.PathLike):
        folder = Path(videos)
        if not folder.is_dir():
            raise ValueError(f"{str(folder)!r} is not a folder of videos. Pass a single video in a list.")
        files = videos_in(folder)
        if not files:
            listed = ", ".join(sorted(VIDEO_SUFFIXES))
            raise ValueError(f"There are no videos in {str(folder)!r}. Supported: {listed}, or folders of frames.")
        return files
    if not videos:
        raise ValueError("The list of videos is empty. Pass at least one video.")
    return [Path(file) for file in videos]


def _readable(
    files: Iterable[Path], num_frames: int, skipped: dict[str, str]
) -> Iterator[tuple[str, list[Image.Image]]]:
    for file in files:
        try:
            yield str(file), load_video(file, num_frames)
        except UnreadableVideoError as error:
            skipped[str(file)] = str(error)
            logger.warning(f"Skipped. {error}")


def _batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    some: list[Any] = []
    for item in items:
        some.append(item)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


__all__ = ["AlproVideoIndex"]
