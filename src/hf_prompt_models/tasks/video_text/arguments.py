"""Flags for the data of models over videos with texts, and for what training starts from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import HfArgumentParser

from hf_prompt_models.models.alpro.recipe_alpro import PRETRAINING, QUESTIONS


@dataclass
class VideoTextArguments:
    """Data, and what training begins with."""

    _argument_group_name = "data, and what training begins with"

    train_file: list[str] = field(
        metadata={
            "help": "Lists to learn from, JSONL, JSON or CSV: `video` (or `clip_name`; or `image`, a still picture) "
            "and `caption`; questions: `video` (or `video_id`), `question`, `answer` and, if you like, `answer_type`. "
            "A video is a file or a folder of frames."
        }
    )
    test_file: list[str] = field(metadata={"help": "Lists to test on, likewise."})
    train_videos: str | None = field(
        default=None, metadata={"help": "Folder of the videos that --train_file names. Default: each list's own."}
    )
    test_videos: str | None = field(default=None, metadata={"help": "Likewise. Default: --train_videos."})
    backbone: str | None = field(
        default=None,
        metadata={
            "help": "Folder or Hub id of a saved ALPRO of any class to begin from; `playground`: the package's own."
        },
    )
    vision: str | None = field(
        default=None, metadata={"help": "Instead, with --text: a ViT, such as google/vit-base-patch16-224-in21k."}
    )
    text: str | None = field(default=None, metadata={"help": "And a BERT, such as google-bert/bert-base-uncased."})
    from_scratch: bool = field(
        default=False,
        metadata={"help": "Instead, a new small model that knows the training texts' words (--hidden_size, …)."},
    )
    prompter: str | None = field(
        default=None,
        metadata={"help": "Pre-training: the trained prompter that names entities (a run of --task prompter)."},
    )
    entities: str | None = field(
        default=None, metadata={"help": "Its entities, a file with one a line (`hf-prompt build_entities`)."}
    )
    answers: str | None = field(
        default=None,
        metadata={
            "help": "Question answering: the answers to choose from, a JSON list, or an object of answers and their "
            "indices. Default: the most frequent ones of --train_file."
        },
    )
    num_answers: int | None = field(
        default=None, metadata={"help": "How many of them. Default: as released, 1500 (MSRVTT) or 2423 (MSVD)."}
    )
    seeds: list[int] = field(
        default_factory=lambda: [42],
        metadata={"help": "One run each: `--seeds 1 2 3`. `--seed n` means `--seeds n`. Released: 42."},
    )
    on_unreadable: str = field(
        default="refuse",
        metadata={
            "help": "Videos that cannot be decoded: stop and list all of them, or name, count and skip them.",
            "choices": ["refuse", "skip"],
        },
    )


def check_data(parser: HfArgumentParser, data: VideoTextArguments, given: Mapping[str, Any]) -> None:
    """End with a message where flags for the data do not go together.

    Args:
        parser: of the command line.
        data: the flags.
        given: those that the command line gives, the method's among them.
    """
    starts = [data.backbone is not None, data.vision is not None or data.text is not None, data.from_scratch]
    if sum(starts) != 1 or (data.vision is None) != (data.text is None):
        parser.error("say what training begins from: --backbone, or --vision and --text, or --from_scratch true")
    of_task = {"prompter": PRETRAINING, "entities": PRETRAINING, "answers": QUESTIONS, "num_answers": QUESTIONS}
    for name, its_task in of_task.items():
        if name in given and given["task"] != its_task:
            parser.error(f"--{name} is of --task {its_task}, not of {given['task']}")
    if data.entities is not None and data.prompter is None:
        parser.error("--entities are what a prompter names: pass it, too, as --prompter")


def check_method(parser: HfArgumentParser, method: Any) -> None:
    """End with a message where the method's own flags are out of range."""
    for name, least in (("num_frames", 1), ("max_text_length", 3), ("rerank", 0)):
        if getattr(method, name) < least:
            parser.error(f"--{name} is at least {least}; got {getattr(method, name)}")
