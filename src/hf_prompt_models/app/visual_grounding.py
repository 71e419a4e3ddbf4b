"""Visual grounding demo (CPT): upload an image, mark regions, enter a phrase and see which region it refers to."""

import contextlib
import html
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from hf_prompt_models.app.components import look
from hf_prompt_models.app.components.bars import Series, bars, thumbnail
from hf_prompt_models.app.components.drawn_boxes import (
    MAX_BOXES,
    draw_boxes,
    read_boxes,
    view_factor,
    without_last_line,
    write_boxes,
)
from hf_prompt_models.app.components.uploads import open_image
from hf_prompt_models.app.grounder import Grounded, Grounder
from hf_prompt_models.app.options import Options
from hf_prompt_models.data.images.loading import IMAGE_SUFFIXES, UnreadableImageError
from hf_prompt_models.models.cpt.visualization_cpt import ShownCopy


LONGEST_PHRASE = 500
"""Maximum number of characters of the field. The limit in tokens is lower and is checked by the processor."""
COPY_PIXELS = 240
HOW_TO_DRAW = "Click two opposite corners of each region in the image, or write one box per line in the field below."
OR_FIND = " Or find regions with a model."
NOTHING_SAID = '<p class="nothing">The answer appears here, with the coloured prompt that the model was given.</p>'

Proposal = tuple[str, list[np.ndarray] | None]
"""Text of the proposed boxes and their masks. The masks are used until the text is edited."""


def take(file: str | None) -> tuple[Any, ...]:
    """Load an uploaded image and reset the page.

    Returns:
        The image, its view, empty boxes, no corner, no proposal, the visibility of the canvas, the four cleared
        outputs and, if the image cannot be read, a notice.
    """
    try:
        image = None if file is None else open_image(file)
    except UnreadableImageError as error:  # clear the page: answers about the earlier image would be misleading
        return (*_started(None), look.problem(str(error)))
    return _started(image)


def _started(image: Image.Image | None) -> tuple[Any, ...]:
    view = None if image is None else draw_boxes(image, [])
    no_answer = (NOTHING_SAID, gr.update(value=None, visible=False), "", "")
    return image, view, "", None, None, gr.update(visible=image is not None), *no_answer


def redraw(image: Image.Image | None, text: str, corner: tuple[int, int] | None) -> Any:
    """Redraw the view while the user edits the boxes; skip lines that are not valid boxes yet."""
    if image is None:
        return gr.skip()
    boxes = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            boxes += read_boxes(line, image.size)
    return draw_boxes(image, boxes[:MAX_BOXES], corner=corner)


def click(
    image: Image.Image, text: str, corner: tuple[int, int] | None, place: tuple[float, float]
) -> tuple[Any, ...]:
    """Handle a click on the view, which sets the first corner of a box or completes the box.

    Args:
        image: the image at its original size.
        text: the text of the boxes so far.
        corner: first corner of the current box in pixels of the image, if it was clicked already.
        place: position of the click in pixels of the view.

    Returns:
        Text of the boxes, corner, view and, if the box is empty, a notice.
    """
    factor = view_factor(image.size)
    x, y = (round(at / factor) for at in place)
    boxes = read_boxes(text, image.size)
    if corner is None:
        return text, (x, y), draw_boxes(image, boxes, corner=(x, y))
    box = (min(x, corner[0]), min(y, corner[1]), max(x, corner[0]), max(y, corner[1]))
    if box[0] == box[2] or box[1] == box[3]:
        return (
            text,
            None,
            draw_boxes(image, boxes),
            look.problem("The two corners do not form a box, because they are on one line."),
        )
    text = "\n".join(filter(None, [text.strip(), write_boxes([box])]))
    return text, None, draw_boxes(image, read_boxes(text, image.size))


def undo(image: Image.Image | None, text: str, corner: tuple[int, int] | None) -> tuple[Any, ...]:
    """Remove the corner that was clicked last, or else the last box; return boxes, corner and view."""
    text = text if corner is not None else without_last_line(text)
    return text, None, gr.skip() if image is None else draw_boxes(image, read_boxes(text, image.size))


def clear(image: Image.Image | None) -> tuple[Any, ...]:
    """Remove all boxes; return boxes, corner and view."""
    return "", None, gr.skip() if image is None else draw_boxes(image, [])


def propose(grounder: Grounder, image: Image.Image | None) -> tuple[Any, ...]:
    """Propose regions with a model; return boxes, corner, view and proposal."""
    boxes, masks = grounder.propose(checked(image))
    text = write_boxes(boxes)
    return text, None, draw_boxes(checked(image), boxes), (text, masks)


def answer(
    grounder: Grounder, image: Image.Image | None, text: str, phrase: str, proposal: Proposal | None
) -> tuple[Any, ...]:
    """Find the region that a phrase refers to.

    Args:
        grounder: the model.
        image: the image.
        text: text of the boxes.
        phrase: the referring expression.
        proposal: proposed boxes with their masks, which are used if the text is unchanged.

    Returns:
        The answer in words, the image with the answer, the scores of the regions, and the coloured prompt.

    Raises:
        ValueError: if there is no image, no box or no phrase.
    """
    image = checked(image)
    boxes = read_boxes(text, image.size)
    if not boxes:
        raise ValueError(f"There are no boxes to choose from. {HOW_TO_DRAW}")
    if not phrase.strip():
        raise ValueError("The phrase is empty. Describe a region, for example: the ring on the left.")
    masks = proposal[1] if proposal is not None and proposal[0] == text else None
    grounded = grounder.ground(image, phrase, boxes, masks)
    return (
        describe(grounded, phrase),
        gr.update(value=draw_boxes(image, boxes, best=grounded.order[0]), visible=True),
        ranking(grounded),
        describe_prompt(grounded),
    )


def checked(image: Image.Image | None) -> Image.Image:
    """Return the image.

    Raises:
        ValueError: if there is none.
    """
    if image is None:
        raise ValueError("There is no image. Upload one first.")
    return image


def describe(grounded: Grounded, phrase: str) -> str:
    """Describe the answer in words, as HTML."""
    best = grounded.order[0]
    corners = " ".join(map(str, grounded.boxes[best]))
    return (
        f"<p><strong>{html.escape(phrase.strip())}</strong> is region <strong>{best + 1}</strong> of "
        f"{len(grounded.boxes)} ({corners}), at {grounded.scores[0]:.0%}.</p>"
    )


def ranking(grounded: Grounded) -> str:
    """Render every region with a bar, best first, as HTML."""
    names = [f"Region {number + 1}" for number in grounded.order]
    return bars(names, [Series("Score", grounded.scores)], count=len(names))


def describe_prompt(grounded: Grounded) -> str:
    """Render the text prompt, also with its blank filled in if it has one, and the painted copies as HTML."""
    sentence = html.escape(grounded.sentence)
    read = f"<p>Its prompt: “{sentence}”</p>"
    if "[MASK]" in sentence:
        filled = sentence.replace("[MASK]", f"<strong>{html.escape(grounded.mark_of(grounded.order[0]))}</strong>")
        read += f"<p>With the answer filled in: “{filled}”</p>"
    return f"<h3>Input of the model</h3>{read}{copies_strip(grounded.copies)}"


def copies_strip(copies: list[ShownCopy]) -> str:
    """Render the painted copies, each with the marks of its regions, as HTML."""
    tiles = []
    for copy in copies:
        marks = ", ".join(f"{number + 1} {mark}" for number, mark in copy.marks.items())
        tiles.append(
            f'<li><img src="{thumbnail(copy.image, COPY_PIXELS)}" alt=""><span>{html.escape(marks)}</span></li>'
        )
    return f'<ol class="strip">{"".join(tiles)}</ol>'


def page(model_dir: Path, options: Options) -> gr.Blocks:
    """Build the visual grounding demo.

    Args:
        model_dir: folder or Hub id of a `CptForVisualGrounding`.
        options: `backbone`, `device` and `proposals`, the model that proposes regions, are used.

    Raises:
        ValueError: if the backbone needs region features of a detector.
    """
    grounder = Grounder(model_dir, options)
    has_proposer = grounder.proposer is not None

    def clicked(
        image: Image.Image, text: str, corner: tuple[int, int] | None, event: gr.SelectData
    ) -> tuple[Any, ...]:
        return click(image, text, corner, event.index)

    def proposed(image: Image.Image | None) -> tuple[Any, ...]:
        return propose(grounder, image)

    def answered(*inputs: Any) -> tuple[Any, ...]:
        return answer(grounder, *inputs)

    what_to_do = (
        f"Find the region of an image that a phrase refers to. {HOW_TO_DRAW}{(OR_FIND if has_proposer else '')}"
    )
    with look.frame("Visual grounding", what_to_do) as blocks:
        image, corner, proposal = gr.State(), gr.State(), gr.State()
        with gr.Row():
            with gr.Column(min_width=300):
                file = gr.File(file_types=sorted(IMAGE_SUFFIXES), label="Image", height=120, elem_id="picture")
                with gr.Column(visible=False) as canvas:
                    view = gr.Image(
                        label="Regions",
                        show_label=False,
                        interactive=False,
                        format="png",
                        buttons=[],
                        alt_text="The image with its boxes, whose corners are in the field below.",
                        elem_id="view",
                    )
                    with gr.Row():
                        undo_button = gr.Button("Undo", size="sm", min_width=80)
                        clear_button = gr.Button("Clear boxes", size="sm", min_width=80)
                        find_button = gr.Button("Find regions", size="sm", min_width=80, visible=has_proposer)
                boxes = gr.Textbox(
                    label="Boxes",
                    info="One box per line: x0 y0 x1 y1, in pixels from the upper left corner.",
                    placeholder="10 20 90 120",
                    lines=3,
                    max_lines=8,
                    elem_id="boxes",
                )
                phrase = gr.Textbox(
                    label="Phrase", placeholder="the ring on the left", max_length=LONGEST_PHRASE, elem_id="phrase"
                )
                button = gr.Button("Find it", variant="primary", elem_id="find")
            with gr.Column(min_width=300):
                said = look.notice()
                words = look.answer(NOTHING_SAID, "answer")
                drawn = gr.Image(
                    label="Answer",
                    show_label=False,
                    interactive=False,
                    format="png",
                    buttons=[],
                    visible=False,
                    alt_text="The image with the answer in red and the other regions in grey.",
                    elem_id="drawn",
                )
                scores = look.answer("", "scores")
                prompt = look.answer("", "prompt")
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        drawing = [boxes, corner, view, said]
        answers = [words, drawn, scores, prompt]
        file.change(
            look.in_words(take, 10),
            file,
            [image, view, boxes, corner, proposal, canvas, *answers, said],
            show_progress_on=file,
            api_visibility="private",
        )
        view.select(look.in_words(clicked, 3), [image, boxes, corner], drawing, **quiet)
        # `blur` is needed because pasting text does not trigger `input`. `change` is not used because it is also
        # triggered by clicked boxes, and the redrawn view would hide the next corner.
        gr.on([boxes.input, boxes.blur], redraw, [image, boxes, corner], view, trigger_mode="always_last", **quiet)
        undo_button.click(look.in_words(undo, 3), [image, boxes, corner], drawing, **quiet)
        clear_button.click(look.in_words(clear, 3), image, drawing, **quiet)
        find_button.click(
            look.in_words(proposed, 4),
            image,
            [boxes, corner, view, proposal, said],
            show_progress_on=view,
            api_visibility="private",
        )
        gr.on(
            [button.click, phrase.submit],
            look.in_words(answered, 4),
            [image, boxes, phrase, proposal],
            [*answers, said],
            show_progress_on=words,
            api_visibility="private",
        )
    return blocks
