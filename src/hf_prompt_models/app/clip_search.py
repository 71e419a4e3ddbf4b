"""A folder of clips and a model that finds them by sentences, for the page."""

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
"""Where the features of clips are kept, a file for each folder of clips."""

RERANKED = 16
"""Clips that are read together with a sentence."""


@dataclass(frozen=True)
class FoundClip:
    """
    Args:
        name: of the file within the folder of clips.
        score: from 0 to 1.
        playable: a file that browsers play.
    """

    name: str
    score: float
    playable: Path


class ClipSearch:
    """
    Args:
        model_dir: folder or Hub id of an ALPRO.
        options: `clips`, and where the model runs.
        index_directory: where the features are kept.

    Raises:
        ValueError: if the options name no folder of clips.
    """

    def __init__(self, model_dir: Path, options: Options, index_directory: Path = INDEX_DIRECTORY):
        if options.clips is None:
            raise ValueError(
                f"{model_dir} finds clips by sentences, and searches a folder of yours for them: name it by "
                "--clips FOLDER."
            )
        if not options.clips.is_dir():
            raise ValueError(f"There is no folder of clips {str(options.clips)!r}: name one by --clips.")
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
        """The clips' features: those that are kept, if the folder has not changed since, or new ones.

        Args:
            on_read: called now and then with how many clips are done, and how many there are.

        Raises:
            ValueError: if there is no clip, or none that can be read.
        """
        with self._lock:
            return kept_or_new_index(self.pipe, list_videos([str(self.clips)]), self._file, on_read=on_read)

    @torch.no_grad()
    def search(self, sentence: str, index: AlproVideoIndex, top_k: int) -> tuple[list[FoundClip], list[str]]:
        """The clips that a sentence describes, best first; and what is wrong with those that cannot be shown.

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
                problems.append(f"{self.name_of(clip)} was found, and cannot be read any more.")
                continue
            found.append(FoundClip(self.name_of(clip), each["score"], playable))
        return found, problems

    def name_of(self, clip: str) -> str:
        """Of a clip within the folder."""
        return str(Path(clip).relative_to(self.clips))


def check_sentence(text: str, tokenizer: PreTrainedTokenizerBase, most_tokens: int, what: str) -> None:
    """See that a text is read as a whole.

    Args:
        text: the text.
        tokenizer: the model's.
        most_tokens: what the model reads.
        what: to call it in an error.

    Raises:
        ValueError: if there is none, or it is longer.
    """
    if not text.strip():
        raise ValueError(f"The {what} is empty: write one.")
    count = len(tokenizer(text.strip(), verbose=False).input_ids)
    refuse_long_text(f"The {what}", text.strip(), count, most_tokens, in_python=False)
