"""Search videos by a sentence, and answer questions about them."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoProcessor, PreTrainedConfig

from hf_prompt_models.data.readable import logger, refuse, report_skipped
from hf_prompt_models.data.text.captioned_videos import (
    VideoText,
)
from hf_prompt_models.data.videos.files import list_videos, readable_videos
from hf_prompt_models.models.alpro import (
    AlproForPreTraining,
    AlproForVideoQuestionAnswering,
    AlproForVideoTextRetrieval,
    AlproVideoIndex,
    VideoQuestionAnsweringPipeline,
    VideoTextRetrievalPipeline,
)
from hf_prompt_models.models.alpro.video_index_alpro import digest
from hf_prompt_models.tasks.video_text.plots import plot_found
from hf_prompt_models.utils.files import UnreadableFileError


INDEX_FILE = "videos.safetensors"


def answer_question(
    directory: str | os.PathLike, videos: Sequence[str], question: str, top_k: int, on_unreadable: str
) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return each video with its best answers as `label` and `score`.

    Args:
        directory: Folder of the model.
        videos: Files, folders of frames, or folders of videos.
        question: The question.
        top_k: Number of answers for each video.
        on_unreadable: "refuse", or "skip" to leave out videos that cannot be read.

    Raises:
        UnreadableVideoError: If videos cannot be read; the message names them.
        ValueError: If the model does not answer questions, or there is no question.
    """
    architecture = _architecture(directory)
    if architecture != AlproForVideoQuestionAnswering.__name__:
        raise ValueError(
            f"{directory} contains an {architecture}, which does not answer questions. Remove --question."
        )
    model = AlproForVideoQuestionAnswering.from_pretrained(directory)
    files = readable_videos(list_videos(videos), on_unreadable, progress=False)
    pipe = VideoQuestionAnsweringPipeline(model=model, processor=AutoProcessor.from_pretrained(directory))
    answers = []
    skipped: list[UnreadableFileError] = []
    for file in files:
        try:
            best = pipe({"video": file, "question": question}, top_k=top_k)
        except UnreadableFileError as error:  # the check above does not decode the complete video
            if on_unreadable != "skip":
                refuse([error])
            logger.warning(f"Skipped. {error}")
            skipped.append(error)
            continue
        answers.append((file, [{"label": each["answer"], "score": each["score"]} for each in best]))
    report_skipped(answers, skipped, "videos")
    return answers


def find_videos_by_text(
    directory: str | os.PathLike,
    videos: Sequence[str],
    text: str,
    top_k: int,
    index: str | os.PathLike | None = None,
    drawing: str | os.PathLike | None = None,
    rerank: int = 16,
    batch_size: int = 8,
) -> tuple[list[dict[str, Any]], AlproVideoIndex]:
    """Return the videos that a sentence describes, best first, as `video` and `score`; and the index of all videos.

    Args:
        directory: Folder of the model.
        videos: Files, folders of frames, or folders of videos. Those that cannot be read are skipped.
        text: The sentence.
        top_k: Number of videos to return.
        index: Folder in which the features of the videos are kept. They are computed again if videos were added,
            removed or changed, or if the model is another.
        drawing: PNG to write with the frames of the best videos, if any.
        rerank: Number of videos that are scored together with the sentence; 0: all.
        batch_size: Number of videos to encode at a time.

    Raises:
        ValueError: If the model does not search videos, or no video can be read.
    """
    architecture = _architecture(directory)
    if architecture not in (AlproForVideoTextRetrieval.__name__, AlproForPreTraining.__name__):
        raise ValueError(f"{directory} contains an {architecture}, which does not search videos. Remove --text.")
    model = AlproForVideoTextRetrieval.from_pretrained(directory)
    pipe = VideoTextRetrievalPipeline(model=model, processor=AutoProcessor.from_pretrained(directory))
    files = list_videos(videos)
    found = kept_or_new_index(pipe, files, None if index is None else Path(index) / INDEX_FILE, batch_size)
    best = pipe(text, index=found, k=rerank or None, top_k=top_k)
    if drawing is not None:
        shown = [VideoText(Path(each["video"]), text) for each in best]
        plot_found(text, shown, [each["score"] for each in best], drawing)
    return best, found


def kept_or_new_index(
    pipe: VideoTextRetrievalPipeline,
    videos: Sequence[str],
    file: Path | None,
    batch_size: int = 8,
    on_read: Callable[[int, int], object] | None = None,
) -> AlproVideoIndex:
    """Return the index in a file if it matches the videos, their contents and the model; else a new one.

    Args:
        pipe: Pipeline whose model encodes the videos.
        videos: The files.
        file: File in which a new index is saved, or `None`.
        batch_size: As for `pipe.index_videos`.
        on_read: As for `pipe.index_videos`.

    Raises:
        ValueError: If the file is not an index, or no video can be read.
    """
    found = None if file is None else _kept_index(file, videos, pipe.model)
    return pipe.index_videos(videos, file, batch_size, on_read) if found is None else found


def _kept_index(file: Path, videos: Sequence[str], model: Any) -> AlproVideoIndex | None:
    """Return the index in a file, or `None` if it does not match the videos, their contents and the model."""
    try:
        made = file.stat().st_mtime  # before reading: another process could replace the file
        index = AlproVideoIndex.load(file)
    except FileNotFoundError:
        return None
    if {*index.names, *index.skipped} != set(videos) or index.model_digest != digest(model):
        return None
    return index if all(_is_older(Path(video), made) for video in index.names) else None


def _is_older(video: Path, made: float) -> bool:
    try:
        return video.stat().st_mtime <= made
    except FileNotFoundError:  # reading it raises the error
        return False


def _architecture(directory: str | os.PathLike) -> str:
    return _config(directory).get("architectures", ["model"])[0]


def _config(directory: str | os.PathLike) -> dict[str, Any]:
    return PreTrainedConfig.get_config_dict(directory)[0]
