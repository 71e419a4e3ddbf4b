"""ALPRO demo: enter a sentence to find the clips of a folder that it describes, or ask questions about a clip."""

import html
from pathlib import Path
from typing import Any

import gradio as gr
from transformers import PreTrainedConfig

from hf_prompt_models.app import video_question_answering
from hf_prompt_models.app.clip_search import ClipSearch, FoundClip
from hf_prompt_models.app.components import look
from hf_prompt_models.app.components.bars import Series, bars
from hf_prompt_models.app.options import Options
from hf_prompt_models.models.alpro import AlproForVideoQuestionAnswering, AlproVideoIndex


SHOWN = 6
LONGEST_SENTENCE = 2000
"""Maximum number of characters of the field. The limit in tokens is checked by `check_sentence`."""
LISTED_PROBLEMS = 3


def describe_index(search: ClipSearch, index: AlproVideoIndex) -> str:
    """Report the number of indexed clips and the unreadable clips as HTML."""
    count = len(index.names)
    said = look.note(f"{count} video{('' if count == 1 else 's')} of {search.clips.resolve().name} can be searched.")
    if not index.skipped:
        return said
    names = [search.name_of(clip) for clip in index.skipped]
    more = f" and {len(names) - LISTED_PROBLEMS} more" if len(names) > LISTED_PROBLEMS else ""
    return said + look.problem(
        f"These videos cannot be read and are left out: {', '.join(names[:LISTED_PROBLEMS])}{more}."
    )


def caption(place: int, clip: FoundClip) -> str:
    """Render the name and the score of a clip as HTML."""
    return bars([f"{place}. {clip.name}"], [Series("Score", [clip.score])])


def page(model_dir: Path, options: Options) -> gr.Blocks:
    """Build the demo of an ALPRO model: question answering for models with that head, else video retrieval.

    Args:
        model_dir: folder or Hub id of an ALPRO model.
        options: `device` is used, and `clips`, the folder to search, for retrieval.

    Raises:
        ValueError: if clips are to be searched, and none are named.
    """
    architectures = PreTrainedConfig.get_config_dict(model_dir)[0].get("architectures")
    if architectures == [AlproForVideoQuestionAnswering.__name__]:
        return video_question_answering.page(model_dir, options)
    search = ClipSearch(model_dir, options)

    def read(progress: gr.Progress = gr.Progress()) -> tuple[Any, ...]:  # noqa: B008  gradio's way
        index = search.index(lambda done, count: progress((done, count), desc="Reading the videos", unit="clips"))
        return (describe_index(search, index),)

    def find(sentence: str) -> tuple[Any, ...]:
        found, problems = search.search(sentence, search.index(), SHOWN)
        shown: list[Any] = []
        for place in range(SHOWN):
            if place < len(found):
                clip = found[place]
                shown += [gr.update(visible=True), caption(place + 1, clip), str(clip.playable)]
            else:
                shown += [gr.update(visible=False), "", None]
        said = look.problem("\n".join(problems)) if problems else look.NO_NOTICE
        return f"<h3>{html.escape(sentence.strip())}</h3>", *shown, said

    folder = html.escape(search.clips.resolve().name)
    what_to_do = f"Describe what happens to find the matching videos in the folder <code>{folder}</code>."
    with look.frame("Video-text retrieval", what_to_do) as blocks:
        said = look.notice()
        status = look.answer('<p class="nothing">Reading the videos …</p>', "status")
        with gr.Row(equal_height=True):
            sentence = gr.Textbox(
                label="Sentence",
                placeholder="a red key moves to the left",
                max_length=LONGEST_SENTENCE,
                scale=5,
                min_width=240,
                elem_id="sentence",
            )
            button = gr.Button("Find videos", variant="primary", scale=1, min_width=120, elem_id="find")
        heading = look.answer('<p class="nothing">The best matches appear here first.</p>', "asked")
        slots: list[Any] = []
        with gr.Row():
            for place in range(SHOWN):
                with gr.Column(min_width=280, visible=False, elem_classes="found") as column:
                    name = gr.HTML("", elem_classes="plain")
                    video = gr.Video(
                        label=f"Video {place + 1}",
                        show_label=False,
                        interactive=False,
                        autoplay=True,
                        loop=True,
                        height=240,
                        buttons=[],
                    )
                slots += [column, name, video]
        blocks.load(look.in_words(read, 1), None, [status, said], api_visibility="private")
        gr.on(
            [button.click, sentence.submit],
            look.in_words(find, 1 + len(slots)),
            sentence,
            [heading, *slots, said],
            show_progress_on=heading,
            api_visibility="private",
        )
    return blocks
