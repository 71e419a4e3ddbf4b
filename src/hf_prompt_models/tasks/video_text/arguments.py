"""Flags for the data of models for videos with texts, and for the weights that training starts from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import HfArgumentParser

from hf_prompt_models.models.alpro.recipe_alpro import PRETRAINING, QUESTIONS


@dataclass
class VideoTextArguments:
    """Arguments for the data and the weights that training starts from."""

    _argument_group_name = "data, and the model to start from"

    train_file: list[str] = field(
        metadata={
            "help": "JSONL, JSON or CSV files to train on. Captions have the columns `video` (or `clip_name`; or "
            "`image` for an image) and `caption`; questions have `video` (or `video_id`), `question`, "
            "`answer` and optionally `answer_type`. A video is a file or a folder of frames."
        }
    )
    test_file: list[str] = field(metadata={"help": "Files to test on, in the same formats as --train_file."})
    train_videos: str | None = field(
        default=None,
        metadata={"help": "Folder of the videos that --train_file names. Default: the folder of each file."},
    )
    test_videos: str | None = field(
        default=None, metadata={"help": "Folder of the videos that --test_file names. Default: --train_videos."}
    )
    backbone: str | None = field(
        default=None,
        metadata={
            "help": "Folder or Hub id of a saved ALPRO model of any class to start from; `playground`: the tiny "
            "model that ships with the package."
        },
    )
    vision: str | None = field(
        default=None,
        metadata={
            "help": "ViT to start from, such as google/vit-base-patch16-224-in21k; with --text, instead of --backbone."
        },
    )
    text: str | None = field(
        default=None,
        metadata={
            "help": "BERT to start from, such as google-bert/bert-base-uncased; with --vision, instead of --backbone."
        },
    )
    from_scratch: bool = field(
        default=False,
        metadata={
            "help": "Start from a new small model whose vocabulary is that of the training texts (--hidden_size, "
            "…), instead of --backbone."
        },
    )
    prompter: str | None = field(
        default=None,
        metadata={"help": "Pre-training: the trained prompter that names entities (a run of --task prompter)."},
    )
    entities: str | None = field(
        default=None,
        metadata={
            "help": "Pre-training: file with the prompter's entities, one per line (see `hf-prompt build_entities`)."
        },
    )
    answers: str | None = field(
        default=None,
        metadata={
            "help": "Question answering: file with the answers to choose from, a JSON list or an object that maps "
            "answers to indices. Default: the most frequent answers in --train_file."
        },
    )
    num_answers: int | None = field(
        default=None,
        metadata={
            "help": "Question answering: number of answers to choose from. Default: as released, 1500 (MSRVTT) or "
            "2423 (MSVD)."
        },
    )
    seeds: list[int] = field(
        default_factory=lambda: [42],
        metadata={
            "help": "Seeds, with one training run per seed, such as `--seeds 1 2 3`. `--seed n` means `--seeds "
            "n`. Released: 42."
        },
    )
    on_unreadable: str = field(
        default="refuse",
        metadata={
            "help": "How videos that cannot be decoded are handled. refuse: stop and list all of them; skip: "
            "report, count and skip them.",
            "choices": ["refuse", "skip"],
        },
    )


def check_data(parser: HfArgumentParser, data: VideoTextArguments, given: Mapping[str, Any]) -> None:
    """Exit with a message if data flags do not go together.

    Args:
        parser: Parser of the command line.
        data: The flags.
        given: Flags that the command line gives, with the method's own.
    """
    starts = [data.backbone is not None, data.vision is not None or data.text is not None, data.from_scratch]
    if sum(starts) != 1 or (data.vision is None) != (data.text is None):
        parser.error(
            "the model to start from is missing: pass --backbone, or --vision and --text, or --from_scratch true"
        )
    of_task = {"prompter": PRETRAINING, "entities": PRETRAINING, "answers": QUESTIONS, "num_answers": QUESTIONS}
    for name, its_task in of_task.items():
        if name in given and given["task"] != its_task:
            parser.error(f"--{name} applies to --task {its_task}, not to {given['task']}")
    if data.entities is not None and data.prompter is None:
        parser.error("--entities are the entities of a prompter: pass --prompter too")


def check_method(parser: HfArgumentParser, method: Any) -> None:
    """Exit with a message if the method's own flags are out of range."""
    for name, least in (("num_frames", 1), ("max_text_length", 3), ("rerank", 0)):
        if getattr(method, name) < least:
            parser.error(f"expected --{name} to be at least {least}, got {getattr(method, name)}")
