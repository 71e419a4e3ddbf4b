"""The command line of training a method over videos with texts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import HfArgumentParser, TrainingArguments

from hf_prompt_models.models.alpro.recipe_alpro import PRETRAINING, QUESTIONS, RETRIEVAL
from hf_prompt_models.recipe_utils import VideoTextRecipe
from hf_prompt_models.tasks.classification.arguments import build_parser, fields_of, parse_given, training_settings
from hf_prompt_models.training.settings import RunOptions, with_laptop_defaults


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


@dataclass
class VideoTextRun:
    """What the command line says, with the recipe's settings beneath.

    Attributes:
        method: the method's own arguments.
        data: data, and what training begins with.
        training: keyword arguments for `TrainingArguments`.
        run: what concerns the run itself.
    """

    method: Any
    data: VideoTextArguments
    training: dict[str, Any]
    run: RunOptions = field(default_factory=RunOptions)


def video_text_parser(recipe: VideoTextRecipe[Any], prog: str) -> HfArgumentParser:
    """The parser of a method's command line."""
    return build_parser(recipe, VideoTextArguments, recipe.training_defaults(RETRIEVAL), prog)


def parse_video_text_arguments(recipe: VideoTextRecipe[Any], argv: Sequence[str], prog: str) -> VideoTextRun:
    """Parse a method's command line. An explicit flag always wins over the recipe.

    Exits with a message, as argparse does, if flags are wrong or missing.
    """
    parser = video_text_parser(recipe, prog)
    given = with_laptop_defaults(recipe, parse_given(parser, argv))
    data = VideoTextArguments(**fields_of(VideoTextArguments, given))
    if len(set(data.seeds)) < len(data.seeds) or not data.seeds:
        parser.error(f"--seeds: name each seed once; got {data.seeds}")
    starts = [data.backbone is not None, data.vision is not None or data.text is not None, data.from_scratch]
    if sum(starts) != 1 or (data.vision is None) != (data.text is None):
        parser.error("say what training begins from: --backbone, or --vision and --text, or --from_scratch true")
    task = given["task"]
    of_task = {"prompter": PRETRAINING, "entities": PRETRAINING}
    of_task |= {"answers": QUESTIONS, "num_answers": QUESTIONS}
    for name, its_task in of_task.items():
        if name in given and task != its_task:
            parser.error(f"--{name} is of --task {its_task}, not of {task}")
    if data.entities is not None and data.prompter is None:
        parser.error("--entities are what a prompter names: pass it, too, as --prompter")
    try:
        settings = recipe.training_defaults(task, given.get("dataset"))
        method = recipe.arguments_class(**recipe.argument_defaults(given) | fields_of(recipe.arguments_class, given))
    except ValueError as error:
        parser.error(str(error))
    for name, least in (("num_frames", 1), ("max_text_length", 3), ("rerank", 0)):
        if getattr(method, name) < least:
            parser.error(f"--{name} is at least {least}; got {getattr(method, name)}")
    training = training_settings(settings, fields_of(TrainingArguments, given))
    return VideoTextRun(method, data, training, RunOptions(**fields_of(RunOptions, given)))
