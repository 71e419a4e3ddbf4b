"""Video question answering demo (ALPRO): upload a clip, ask a question and see the most probable answers."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from PIL import Image
from transformers import AutoProcessor

from hf_prompt_models.app.clip_search import check_sentence
from hf_prompt_models.app.components import look
from hf_prompt_models.app.components.bars import Series, bars, thumbnail
from hf_prompt_models.app.options import Options
from hf_prompt_models.data.videos.loading import UnreadableVideoError, load_video
from hf_prompt_models.models.alpro import AlproForVideoQuestionAnswering, VideoQuestionAnsweringPipeline


FRAME_PIXELS = 240
LONGEST_QUESTION = 2000
"""Maximum number of characters of the field. The limit in tokens is checked by `check_sentence`."""
NOTHING_SAID = '<p class="nothing">The answers appear here.</p>'


class Answerer:
    """A loaded video question answering model.

    Args:
        model_dir: folder or Hub id of an `AlproForVideoQuestionAnswering`.
        options: `device` is used.
    """

    def __init__(self, model_dir: Path, options: Options):
        self.model = AlproForVideoQuestionAnswering.from_pretrained(model_dir).to(options.torch_device).eval()
        self.processor = AutoProcessor.from_pretrained(model_dir)
        self._pipe = VideoQuestionAnsweringPipeline(
            model=self.model, processor=self.processor, device=self.model.device
        )

    def read(self, path: str) -> list[Image.Image]:
        """Load the frames of a clip that the model reads.

        Raises:
            UnreadableVideoError: if the clip cannot be read; the message names the file without its folder.
        """
        return load_video(path, self.model.config.num_frames, name=Path(path).name)

    @torch.no_grad()
    def answer(self, frames: Sequence[Image.Image], question: str) -> str:
        """Answer a question and render the bars of the answer probabilities as HTML.

        Args:
            frames: the frames of the clip, as returned by `read`.
            question: the question.

        Raises:
            ValueError: if the question is empty or too long.
        """
        check_sentence(question, self.processor.tokenizer, self.processor.max_text_length, "question")
        asked = {"video": list(frames), "question": question.strip()}
        answers = self._pipe(asked, top_k=self.model.config.num_labels)
        series = Series("Probability", [each["score"] for each in answers])
        shown = bars([each["answer"] for each in answers], [series])
        return f'<article class="answer wide"><div><h3>{html.escape(question.strip())}</h3>{shown}</div></article>'


def frames_strip(frames: Sequence[Image.Image]) -> str:
    """Render numbered frames in order as HTML."""
    tiles = (
        f'<li><img src="{thumbnail(frame, FRAME_PIXELS)}" alt=""><span>{number}</span></li>'
        for number, frame in enumerate(frames, start=1)
    )
    return f'<h3>Frames that the model sees</h3><ol class="strip">{"".join(tiles)}</ol>'


def page(model_dir: Path, options: Options) -> gr.Blocks:
    """Build the video question answering demo.

    Args:
        model_dir: folder or Hub id of an `AlproForVideoQuestionAnswering`.
        options: `device` is used.
    """
    answerer = Answerer(model_dir, options)

    def take(path: str | None) -> tuple[Any, ...]:
        if path is None:
            return None, "", NOTHING_SAID
        try:
            frames = answerer.read(path)
        except UnreadableVideoError as error:  # clear the output: answers about the earlier clip would be misleading
            return None, "", NOTHING_SAID, look.problem(str(error))
        return frames, frames_strip(frames), NOTHING_SAID

    def answered(frames: list[Image.Image] | None, question: str) -> tuple[str]:
        if frames is None:
            raise ValueError("There is no video. Upload one first.")
        return (answerer.answer(frames, question),)

    with look.frame(
        "Video question answering", "Upload a video and ask a question about it to see the most likely answers."
    ) as blocks:
        kept = gr.State()
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                video = gr.Video(sources=["upload"], label="Video", height=300, buttons=[], elem_id="clip")
                question = gr.Textbox(
                    label="Question",
                    placeholder="what color is the key?",
                    max_length=LONGEST_QUESTION,
                    elem_id="question",
                )
                button = gr.Button("Ask", variant="primary", elem_id="ask")
            with gr.Column(scale=3, min_width=300):
                said = look.notice()
                strip = look.answer("", "frames")
                answers = look.answer(NOTHING_SAID, "answers")
        video.change(
            look.in_words(take, 3),
            video,
            [kept, strip, answers, said],
            show_progress_on=strip,
            api_visibility="private",
        )
        gr.on(
            [button.click, question.submit],
            look.in_words(answered, 1),
            [kept, question],
            [answers, said],
            show_progress_on=answers,
            api_visibility="private",
        )
    return blocks
