"""Text-to-video search in a folder of clips, used by the video retrieval demo."""

import hashlib
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub.constants import HF_HOME
from transformers import AutoProcessor, PreTrainedTokenizerBase

from hf_prompt_models.app.components.playable import playable_copy
from hf_prompt_models.app.options import Options
from hf_prompt_models.data.videos.files import list_videos
from hf_prompt_models.data.videos.loading import UnreadableVideoError
from hf_prompt_models.models.alpro import AlproForVideoTextRetrieval, AlproVideoIndex, VideoTextRetrievalPipeline
from hf_prompt_models.processing_utils import refuse_long_text
from hf_prompt_models.tasks.video_text.prediction import kept_or_new_index


INDEX_DIRECTORY = Path(HF_HOME) / "hf_prompt_models" / "clips"
"""Folder where clip features are cached, with one file per folder of clips."""

RERANKED = 16
"""Minimum number of clips that are reranked with the joint video-text model."""


@dataclass(frozen=True)
class FoundClip:
    """A search result.

    Args:
        name: path of the file relative to the folder of clips.
        score: matching score between 0 and 1.
        playable: a copy of the clip that browsers can play.
    """

    name: str
    score: float
    playable: Path


class ClipSearch:
    """Text-to-video search in a folder of clips.

    Args:
        model_dir: folder or Hub id of an ALPRO model.
        options: `clips` and `device` are used.
        index_directory: folder where the clip features are cached.

    Raises:
        ValueError: if `options.clips` is not set or is not a folder.
    """

    def __init__(self, model_dir: Path, options: Options, index_directory: Path = INDEX_DIRECTORY):
        if options.clips is None:
            raise ValueError(
                f"{model_dir} retrieves videos from a folder, but no folder was passed. Pass --clips FOLDER."
            )
        if not options.clips.is_dir():
            raise ValueError(
                f"There is no folder of clips {str(options.clips)!r}. Pass an existing folder with --clips."
            )
        self.clips = options.clips
        model = AlproForVideoTextRetrieval.from_pretrained(model_dir).to(options.torch_device).eval()
        self.processor = AutoProcessor.from_pretrained(model_dir)
        self.pipe = VideoTextRetrievalPipeline(model=model, processor=self.processor, device=model.device)
        place = hashlib.sha256(str(self.clips.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        self._file = index_directory / f"{place}.safetensors"
        self._lock = threading.Lock()
        self._copies = Path(tempfile.mkdtemp(prefix="hf-prompt-clips-"))
        weakref.finalize(self, shutil.rmtree, self._copies, ignore_errors=True)

    def index(self, on_read: Callable[[int, int], object] | None = None) -> AlproVideoIndex:
        """Return the clip features, from the cache unless the folder has changed since.

        Args:
            on_read: progress callback that receives the number of processed clips and the total.

        Raises:
            ValueError: if the folder has no clips, or none of them can be read.
        """
        with self._lock:
            return kept_or_new_index(self.pipe, list_videos([str(self.clips)]), self._file, on_read=on_read)

    @torch.no_grad()
    def search(self, sentence: str, index: AlproVideoIndex, top_k: int) -> tuple[list[FoundClip], list[str]]:
        """Find the clips that best match a sentence.

        Args:
            sentence: the text query.
            index: the clip features, as returned by `index`.
            top_k: maximum number of clips to return.

        Returns:
            The clips, best first, and one message for each matching clip that can no longer be read.

        Raises:
            ValueError: if the sentence is empty or too long.
        """
        check_sentence(sentence, self.processor.tokenizer, self.processor.max_text_length, "sentence")
        best = self.pipe(sentence.strip(), index=index, k=max(RERANKED, top_k), top_k=top_k)
        found, problems = [], []
        for each in best:
            clip = each["video"]
            name = hashlib.sha256(clip.encode("utf-8", "surrogateescape")).hexdigest()[:16]
            try:
                playable = playable_copy(clip, self._copies, name)
            except (OSError, UnreadableVideoError):
                problems.append(f"{self.name_of(clip)} was found, but can no longer be read.")
                continue
            found.append(FoundClip(self.name_of(clip), each["score"], playable))
        return found, problems

    def name_of(self, clip: str) -> str:
        """Return the path of a clip relative to the folder of clips."""
        return str(Path(clip).relative_to(self.clips))


def check_sentence(text: str, tokenizer: PreTrainedTokenizerBase, most_tokens: int, what: str) -> None:
    """Check that a text is not empty and fits the model without truncation.

    Args:
        text: the text.
        tokenizer: tokenizer of the model.
        most_tokens: maximum number of tokens of the model.
        what: name of the text in error messages, such as "sentence".

    Raises:
        ValueError: if the text is empty or has more than `most_tokens` tokens.
    """
    if not text.strip():
        raise ValueError(f"The {what} is empty. Write one.")
    count = len(tokenizer(text.strip(), verbose=False).input_ids)
    refuse_long_text(f"The {what}", text.strip(), count, most_tokens, in_python=False)
