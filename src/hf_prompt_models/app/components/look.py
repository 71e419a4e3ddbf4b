"""Layout, styles and error messages of all demos."""

import functools
import html
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
import torch
from huggingface_hub.errors import StrictDataclassError


logger = logging.getLogger(__name__)

FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif")
MONO_FONTS = ("ui-monospace", "Consolas", "DejaVu Sans Mono", "monospace")

THEME = gr.themes.Default(
    primary_hue="blue",
    secondary_hue="blue",
    # System fonts, so that the browser downloads nothing.
    font=[gr.themes.Font(name) for name in FONTS],
    font_mono=[gr.themes.Font(name) for name in MONO_FONTS],
).set(
    # The contrast of the default colours is too low.
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
    block_label_text_color="*neutral_700",
    block_label_text_color_dark="*neutral_200",
    block_title_text_color="*neutral_700",
    block_title_text_color_dark="*neutral_200",
)

CSS = """
.gradio-container { width: 100%; max-width: 1180px !important; margin: 0 auto !important; }
/* A video is below its label. The trimming of Gradio would load code from elsewhere. */
.block > .video-container { margin-top: 32px; height: calc(100% - 32px) !important; }
[aria-label="Trim video to selection"], [aria-label="Reset video to initial value"] { display: none !important; }
.plain > .html-container { padding: 0 !important; }
.block.notice:not(:has(p)) { display: none; }
.problem, .note { margin: 0; padding: 10px 14px; border-radius: 8px; border-left: 4px solid; white-space: pre-line;
  overflow-wrap: anywhere; }
.problem { background: #fef2f2; color: #7f1d1d; border-color: #dc2626; }
.note { background: #eff6ff; color: #1e3a8a; border-color: #2563eb; }
.problem + .note { margin-top: 8px; }
.answers { display: grid; gap: 16px; }
.answer { display: grid; grid-template-columns: 128px minmax(0, 1fr); gap: 14px; align-items: start; padding: 14px;
  border: 1px solid var(--border-color-primary); border-radius: 8px; background: var(--background-fill-primary); }
.answer > img { width: 128px; max-height: 128px; object-fit: contain; border-radius: 4px; }
.answer h3 { margin: 0 0 8px; font-size: 0.95rem; overflow-wrap: anywhere; }
.answer.wide { grid-template-columns: minmax(0, 1fr); }
.bars { list-style: none; margin: 0; padding: 0; display: grid; gap: 10px; }
.bars li { margin: 0; }
.bars .name { overflow-wrap: anywhere; font-weight: 600; }
.bar { display: grid; grid-template-columns: minmax(0, 1fr) 4.2em; gap: 8px; align-items: center; }
.bar .track { height: 10px; border-radius: 5px; background: var(--border-color-primary); overflow: hidden; }
.bar .fill { display: block; height: 100%; border-radius: 5px; }
.bar .value { text-align: right; font-variant-numeric: tabular-nums; font-size: 0.9rem; }
.first .fill, .first.swatch { background: #2563eb; }
.second .fill, .second.swatch { background: #d97706; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 12px; padding: 0; list-style: none; }
.legend li { margin: 0; }
.swatch { display: inline-block; width: 0.8em; height: 0.8em; border-radius: 3px; margin-right: 6px; }
.strip { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 8px; margin: 0 0 12px;
  padding: 0; list-style: none; }
.strip li { margin: 0; text-align: center; font-size: 0.85rem; }
.strip img { width: 100%; border-radius: 4px; display: block; }
.nothing { color: var(--block-info-text-color); margin: 0; }
.read-aloud { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
:focus-visible { outline: 3px solid #2563eb !important; outline-offset: 2px; }
@media (max-width: 640px) {
  .answer { grid-template-columns: 72px minmax(0, 1fr); padding: 10px; gap: 10px; }
  .answer > img { width: 72px; max-height: 72px; }
}
"""

EXPECTED = (OSError, StrictDataclassError, TypeError, ValueError)
"""Exceptions of the package whose messages are shown to the user."""

NO_NOTICE = ""

SHOW_PROBLEM = """
() => { setTimeout(() => document.querySelector(".problem")?.scrollIntoView({ block: "nearest" }), 100); }
"""
"""Scrolls to the notice, because on a phone it may be outside the screen."""


@contextmanager
def frame(title: str, what_to_do: str) -> Iterator[gr.Blocks]:
    """Create a page with a heading; components created inside the `with` are placed below it.

    Args:
        title: title of the page.
        what_to_do: one or two sentences of instructions, in Markdown.
    """
    # Uploads are deleted after one hour.
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        gr.Markdown(f"# {title}\n\n{what_to_do}")
        yield blocks


def notice() -> gr.HTML:
    """Create the component for error messages, the last output of each function wrapped by `in_words`."""
    said = gr.HTML(NO_NOTICE, elem_classes=["plain", "notice"])
    said.change(None, js=SHOW_PROBLEM)
    return said


def answer(html_text: str, name: str) -> gr.HTML:
    """Create a component for HTML output.

    Args:
        html_text: the initial HTML.
        name: id of the element.
    """
    return gr.HTML(html_text, elem_id=name, elem_classes="plain")


def problem(text: str) -> str:
    """Render an error message as HTML for `notice`; screen readers read it immediately."""
    return f'<p class="problem" role="alert">{html.escape(text)}</p>'


def note(text: str) -> str:
    """Render a note as HTML for `notice`."""
    return f'<p class="note" role="status">{html.escape(text)}</p>'


def in_words(function: Callable[..., Any], outputs: int) -> Callable[..., Any]:
    """Wrap an event handler so that its errors are shown in the notice, as one more output.

    Args:
        function: returns, or yields, a tuple of `outputs` values, optionally with one more value, the HTML of the
            notice. After an error the outputs are not updated.
        outputs: number of outputs without the notice.
    """

    def with_notice(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return values if len(values) > outputs else (*values, NO_NOTICE)

    def failed(error: Exception) -> tuple[Any, ...]:
        return (*[gr.skip()] * outputs, problem(_words(error)))

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def stream(*inputs: Any) -> Iterator[tuple[Any, ...]]:
            try:
                for values in function(*inputs):
                    yield with_notice(values)
            except Exception as error:
                yield failed(error)

        return stream

    @functools.wraps(function)
    def answer(*inputs: Any) -> tuple[Any, ...]:
        try:
            return with_notice(function(*inputs))
        except Exception as error:
            return failed(error)

    return answer


def _words(error: Exception) -> str:
    if isinstance(error, EXPECTED):
        return str(error)
    logger.exception("A function of the page failed.")
    if isinstance(error, torch.OutOfMemoryError):
        return "The device is out of memory. Try fewer files at once, or restart with --device cpu."
    return (
        f"Something went wrong ({type(error).__name__}). The details are in the terminal in which the page was "
        "started."
    )
