"""Text generation demo (MAnTiS, Frozen): upload images, enter a title or a question and generate texts."""

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from hf_prompt_models.app.components import look
from hf_prompt_models.app.components.bars import thumbnail
from hf_prompt_models.app.components.uploads import open_image
from hf_prompt_models.app.options import Options
from hf_prompt_models.app.product_writer import (
    BEAMS,
    GREEDY,
    MAX_BEAMS,
    MAX_NEW_TOKENS,
    MAX_TEXTS,
    SAMPLING,
    Decoding,
    TextGenerator,
)
from hf_prompt_models.data.images.loading import IMAGE_SUFFIXES, UnreadableImageError
from hf_prompt_models.models.frozen import FrozenConfig


MAX_IMAGES = 12
IMAGE_PIXELS = 1024
"""Longest side of a loaded image. Larger images are downscaled, because they are kept in memory and no image tower
reads as many pixels."""
THUMBNAIL_PIXELS = 240
LONGEST_TITLE = 20_000
"""Maximum number of characters of the field. The limit in tokens is checked by the model's processor."""
NOTHING_WRITTEN = '<p class="nothing">The generated text appears here.</p>'
AT_THE_END = "Beam search compares the beams until the end, so all texts appear at once."


def take(files: Sequence[str] | None) -> tuple[Any, ...]:
    """Load the uploaded images.

    Returns:
        The images that can be read, their thumbnails as HTML and, if there are problems, a notice about them.
    """
    files = list(files or [])
    problems = []
    if len(files) > MAX_IMAGES:
        problems.append(f"{len(files)} images are too many for this page, so only the first {MAX_IMAGES} are used.")
    pictures = []
    for file in files[:MAX_IMAGES]:
        try:
            picture = open_image(file)
        except UnreadableImageError as error:
            problems.append(str(error))
            continue
        picture.thumbnail((IMAGE_PIXELS, IMAGE_PIXELS))
        pictures.append(picture)
    said = [look.problem("\n".join(problems))] if problems else []
    return (pictures, images_strip(pictures), *said)


def images_strip(pictures: Sequence[Image.Image]) -> str:
    """Render numbered thumbnails of images as HTML."""
    tiles = (
        f'<li><img src="{thumbnail(picture, THUMBNAIL_PIXELS)}" alt=""><span>{number}</span></li>'
        for number, picture in enumerate(pictures, start=1)
    )
    return f'<ol class="strip">{"".join(tiles)}</ol>' if pictures else ""


def write(
    writer: TextGenerator, pictures: Sequence[Image.Image], title: str, blind: bool, decoding: Decoding
) -> Iterator[tuple[Any, ...]]:
    """Generate texts and yield them as HTML while they grow.

    Args:
        writer: the model.
        pictures: the images; may be empty.
        title: the title or the question; may be empty.
        blind: whether to replace the images with black images.
        decoding: decoding settings.

    Yields:
        The texts so far and an empty notice, both as HTML.

    Raises:
        ValueError: if there is neither an image nor a title.
    """
    if not pictures and not title.strip():
        raise ValueError("There is no input. Upload an image, or write a title.")
    shown = [Image.new("RGB", picture.size) for picture in pictures] if blind else list(pictures)
    if not decoding.streams:
        yield f'<p class="nothing">Generating … {AT_THE_END}</p>', look.NO_NOTICE
    for texts in writer.write(shown, title.strip(), decoding):
        yield texts_list(texts), look.NO_NOTICE


def texts_list(texts: Sequence[str]) -> str:
    """Render texts as HTML, numbered if there are several."""
    if len(texts) == 1:
        return f'<article class="answer wide"><p>{_said(texts[0])}</p></article>'
    items = (
        f'<article class="answer wide"><div><h3>{number}</h3><p>{_said(text)}</p></div></article>'
        for number, text in enumerate(texts, start=1)
    )
    return f'<div class="answers">{"".join(items)}</div>'


def _said(text: str) -> str:
    return html.escape(text) if text else "<em>(the model generated no text)</em>"


def fitting(method: str) -> tuple[Any, ...]:
    """Return which fields to show for a decoding method: texts, beams, temperature, top_p and the note on beams."""
    sampling = method == SAMPLING
    return (
        gr.update(visible=method != GREEDY),
        gr.update(visible=method == BEAMS),
        gr.update(visible=sampling),
        gr.update(visible=sampling),
        gr.update(visible=method == BEAMS),
    )


def page(model_dir: Path, options: Options) -> gr.Blocks:
    """Build the text generation demo.

    Args:
        model_dir: folder or Hub id of the model.
        options: `backbone` and `device` are used.
    """
    writer = TextGenerator(model_dir, options)
    saved = writer.model.generation_config
    method = BEAMS if (saved.num_beams or 1) > 1 else SAMPLING if saved.do_sample else GREEDY
    asks = isinstance(writer.model.config, FrozenConfig)

    def written(
        pictures: list[Image.Image],
        title: str,
        blind: bool,
        method: str,
        texts: float,
        new_tokens: float,
        beams: float,
        temperature: float,
        top_p: float,
    ) -> Iterator[tuple[Any, ...]]:
        decoding = Decoding(method, int(texts), int(new_tokens), int(beams), temperature, top_p)
        yield from write(writer, pictures, title, blind, decoding)

    name = "Images and questions" if asks else "Product description"
    what_to_do = (
        (
            "Upload images, and write a question or the beginning of a sentence. The model continues the text. "
            "<code>&lt;image&gt;</code> marks the place of an image."
        )
        if asks
        else "Upload images of a product and write its title to generate a description. One of them is enough."
    )
    with look.frame(name, what_to_do) as blocks:
        pictures = gr.State([])
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                files = gr.File(
                    file_count="multiple",
                    file_types=sorted(IMAGE_SUFFIXES),
                    label="Images",
                    height=160,
                    elem_id="pictures",
                )
                strip = look.answer("", "shown")
                title = gr.Textbox(
                    label="Question, or the beginning of a sentence" if asks else "Title",
                    lines=2,
                    max_lines=6,
                    max_length=LONGEST_TITLE,
                    elem_id="title",
                )
                way = gr.Radio([GREEDY, BEAMS, SAMPLING], value=method, label="Decoding", elem_id="decoding")
                shown = fitting(method)
                texts, beams, temperature, top_p = (
                    gr.Slider(low, high, value, step=step, label=label, visible=update["visible"])
                    for (low, high, value, step, label), update in zip(
                        [
                            (1, MAX_TEXTS, 1, 1, "Descriptions"),
                            (2, MAX_BEAMS, max(4, saved.num_beams or 1), 1, "Beams"),
                            (0.1, 2.0, saved.temperature or 1.0, 0.05, "Temperature"),
                            (0.05, 1.0, saved.top_p or 1.0, 0.05, "top_p: probability of the most likely tokens"),
                        ],
                        shown,
                        strict=False,
                    )
                )
                remark = gr.HTML(look.note(AT_THE_END), visible=shown[-1]["visible"], elem_classes="plain")
                new_tokens = gr.Slider(
                    4,
                    MAX_NEW_TOKENS,
                    min(saved.max_new_tokens or 64, MAX_NEW_TOKENS),
                    step=1,
                    label="Maximum length, in tokens",
                )
                blind = gr.Checkbox(
                    label="Use black images instead, to see what the model generates without seeing the images"
                )
                with gr.Row():
                    button = gr.Button("Generate", variant="primary", min_width=120, elem_id="write")
                    stop = gr.Button("Stop", min_width=80)
            with gr.Column(scale=3, min_width=300):
                said = look.notice()
                answers = look.answer(NOTHING_WRITTEN, "answers")
        files.change(
            look.in_words(take, 2), files, [pictures, strip, said], show_progress_on=strip, api_visibility="private"
        )
        way.change(
            fitting, way, [texts, beams, temperature, top_p, remark], show_progress="hidden", api_visibility="private"
        )
        writing = gr.on(
            [button.click, title.submit],
            look.in_words(written, 1),
            [pictures, title, blind, way, texts, new_tokens, beams, temperature, top_p],
            [answers, said],
            api_visibility="private",
        )
        stop.click(None, cancels=[writing])
    return blocks
