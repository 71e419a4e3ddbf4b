"""Video classification demo: upload a clip, edit the class names, see the sampled frames and class probabilities."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from PIL import Image
from transformers import AutoModelForVideoClassification, AutoProcessor

from hf_prompt_models.app.components import look
from hf_prompt_models.app.components.bars import Series, bars, thumbnail
from hf_prompt_models.app.components.class_editor import TextSide, names_box, read_names
from hf_prompt_models.app.options import Options
from hf_prompt_models.data.videos.files import prepare_frames
from hf_prompt_models.data.videos.frame_sampling import segment_indices
from hf_prompt_models.data.videos.loading import load_video_views


FRAME_PIXELS = 240


@dataclass(frozen=True)
class Clip:
    """An uploaded video.

    Args:
        name: file name.
        thumbnails: data URLs of the sampled frames, for the `src` of an `<img>`.
        numbers: positions of the sampled frames in the video, counted from 1.
        count: number of frames of the video.
        embeds: video features, of shape (1, dim).
    """

    name: str
    thumbnails: tuple[str, ...]
    numbers: tuple[int, ...]
    count: int
    embeds: torch.Tensor


class VideoClassifier:
    """A loaded video classifier.

    Args:
        model_dir: folder or Hub id of the model.
        options: `backbone` and `device` are used.
    """

    def __init__(self, model_dir: Path, options: Options):
        model = AutoModelForVideoClassification.from_pretrained(model_dir, **options.moved)
        self.model = model.to(options.torch_device).eval()
        self.processor = AutoProcessor.from_pretrained(model_dir)
        self.class_names: list[str] = self.model.config.class_names
        self._side = TextSide(self.model, self.processor, self.class_names)

    @torch.inference_mode()
    def read(self, path: str) -> Clip:
        """Load a video: sample its frames and compute its features.

        Raises:
            UnreadableVideoError: if the video cannot be read; the message names the file.
        """
        frames, indices, count = sample_frames(path, self.model.config.num_frames)
        pixels = prepare_frames(self.processor.image_processor, frames)[None]
        embeds = self.model.get_video_features(pixels.to(self.model.device, self.model.dtype)).pooler_output
        return Clip(
            Path(path).name,
            tuple(thumbnail(frame, FRAME_PIXELS) for frame in frames),
            tuple(index + 1 for index in indices),
            count,
            embeds,
        )

    @torch.inference_mode()
    def classify(self, clip: Clip, names: Sequence[str]) -> list[float]:
        """Return the class probabilities: sigmoid for multi-label models, softmax otherwise."""
        logits = self._side.calibrated(self.model.class_logits(clip.embeds, self._side.features(names)), names)[0]
        several = self.model.config.problem_type == "multi_label_classification"
        return (logits.sigmoid() if several else logits.softmax(dim=-1)).tolist()

    def answers(self, clip: Clip | None, names: Sequence[str]) -> str:
        """Render the bars of the class probabilities as HTML."""
        if clip is None:
            return '<p class="nothing">The predictions appear here.</p>'
        series = [Series("Probability", self.classify(clip, names))]
        return (
            f'<article class="answer wide"><div><h3>{html.escape(clip.name)}</h3>{bars(names, series)}</div></article>'
        )


def sample_frames(path: str, num_frames: int) -> tuple[list[Image.Image], list[int], int]:
    """Sample frames of a video, one from each of `num_frames` segments.

    Returns:
        The frames, their indices counted from 0, and the number of frames of the video.

    Raises:
        UnreadableVideoError: if the video cannot be read; the message names the file without its folder.
    """
    counts = []

    def choose(count: int) -> list[list[int]]:
        counts.append(count)
        return [segment_indices(count, num_frames)]

    (frames,) = load_video_views(path, choose, Path(path).name)
    return frames, segment_indices(counts[-1], num_frames), counts[-1]


def frame_strip(clip: Clip | None) -> str:
    """Render the sampled frames in order as HTML."""
    if clip is None:
        return ""
    tiles = (
        f'<li><img src="{address}" alt=""><span>{number}</span></li>'
        for address, number in zip(clip.thumbnails, clip.numbers, strict=True)
    )
    return f"""<h3>Frames that the model sees, out of {clip.count}</h3><ol class="strip">{"".join(tiles)}</ol>"""


def page(model_dir: Path, options: Options) -> gr.Blocks:
    """Build the video classification demo.

    Args:
        model_dir: folder or Hub id of the model.
        options: `backbone` and `device` are used.
    """
    classifier = VideoClassifier(model_dir, options)

    def answer(clip: Clip | None, text: str) -> tuple[str, str]:
        typed = read_names(text)
        return classifier.answers(clip, typed.names), look.note(typed.remark) if typed.remark else look.NO_NOTICE

    def take(path: str | None, text: str) -> tuple[Any, ...]:
        try:
            clip = None if path is None else classifier.read(path)
        except ValueError as error:  # clear the output: the answer for the earlier clip would be misleading
            return None, "", classifier.answers(None, ()), look.problem(str(error))
        return (clip, frame_strip(clip), *answer(clip, text))

    with look.frame(
        "Video classification",
        "Upload a video to classify it. Edit the class names to try other actions.",
    ) as blocks:
        kept = gr.State(None)
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                video = gr.Video(sources=["upload"], label="Video", height=300, buttons=[], elem_id="clip")
                names = names_box(classifier.class_names)
            with gr.Column(scale=3, min_width=300):
                said = look.notice()
                strip = look.answer("", "frames")
                answers = look.answer(classifier.answers(None, ()), "answers")
        video.change(
            look.in_words(take, 3),
            [video, names],
            [kept, strip, answers, said],
            show_progress_on=answers,
            api_visibility="private",
        )
        names.change(
            look.in_words(answer, 1),
            [kept, names],
            [answers, said],
            trigger_mode="always_last",
            show_progress="hidden",
            api_visibility="private",
        )
    return blocks
