"""Flags of `hf-prompt compare`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import torch
from transformers import HfArgumentParser

from hf_prompt_models.tasks.arguments import SourcedDefaultsFormatter, parse_time
from hf_prompt_models.tasks.classification.arguments import ImageClassificationArguments
from hf_prompt_models.utils.loading import num_cores


SHOTS = (1, 2, 4, 8, 16)
TIME_BUDGET = "30m"
RESAMPLES = 10_000
WORTH_A_PROCESS = 30.0
"""Seconds of work from which on further processes are started, each of which imports all libraries first."""


@dataclass
class CompareArguments(ImageClassificationArguments):
    """Arguments of a comparison.

    Attributes:
        few_shot_sample: Not a flag: the images are sampled for each number of shots.
    """

    few_shot_sample: str | None = field(default=None, init=False)
    output_dir: str = field(
        default="", metadata={"help": "Folder for the report and all runs. The same command resumes a comparison."}
    )
    methods: list[str] | None = field(
        default=None,
        metadata={
            "help": "Methods to compare, as in `hf-prompt train`, and types of feature adapters, such as `clap coop`. "
            "Default: all that fit the data and --time_budget; zero-shot is always included."
        },
    )
    shots: list[int] | None = field(  # type: ignore[assignment]  # several, where a run has one
        default=None,
        metadata={
            "help": f"Numbers of training images per class. Default: those of {' '.join(map(str, SHOTS))} that every "
            "class has."
        },
    )
    seeds: list[int] = field(
        default_factory=lambda: [1, 2, 3],
        metadata={"help": "Seeds. Each seed is one sample of images, which all methods are trained on."},
    )
    time_budget: str = field(
        default=TIME_BUDGET,
        metadata={
            "help": "Time that the methods of the default list may take on this machine, such as 90s, 30m or 1h30m. "
            "Methods that would take longer are left out and named."
        },
    )
    recipe: str = field(
        default="laptop",
        metadata={
            "help": "Settings of the methods. laptop: those of `hf-prompt train`, but methods that leave the image "
            "encoder unchanged train on 4 stored views of each image. paper: all settings of the papers.",
            "choices": ["laptop", "paper"],
        },
    )
    num_workers: int | None = field(
        default=None,
        metadata={
            "help": "Number of processes that train, each on one core. The results do not depend on it. Default: one "
            "per core, or one if there is a GPU."
        },
    )
    resamples: int = field(
        default=RESAMPLES, metadata={"help": "Number of samples of the test images that intervals are computed from."}
    )
    allow_shared_files: bool = field(
        default=False, metadata={"help": "Allow test images that are also trained on, as in `hf-prompt train`."}
    )
    bf16: bool = field(
        default=False, metadata={"help": "Train and compute the image encoder in bfloat16, as in `hf-prompt train`."}
    )
    disable_tqdm: bool = field(default=False, metadata={"help": "Show no progress bar."})

    def __post_init__(self) -> None:
        for name in ("shots", "seeds", "methods"):
            values = getattr(self, name)
            if values is not None and (not values or len(set(values)) < len(values)):
                raise ValueError(f"Expected different --{name}, got {' '.join(map(str, values))}. Name each once.")
        if any(each < 1 for each in self.shots or ()):
            raise ValueError(f"Expected --shots of at least 1, got {' '.join(map(str, self.shots or ()))}.")
        for name in ("num_workers", "resamples"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"Expected --{name} to be at least 1, got {value}.")
        parse_time(self.time_budget)

    def of_training(self) -> dict[str, Any]:
        """Return the flags that are also flags of `hf-prompt train`, of the data and for all methods."""
        names = {each.name for each in fields(ImageClassificationArguments)} - {"few_shot_sample", "shots", "seeds"}
        names |= {"recipe", "allow_shared_files", "bf16"}
        defaults = {each.name: each.default for each in fields(self)}
        given = {name: getattr(self, name) for name in sorted(names)}
        return {name: value for name, value in given.items() if value != defaults[name] or name == "recipe"}

    def workers(self, cells: int, seconds: float = math.inf) -> int:
        """Return the number of processes for cells.

        Args:
            cells: Number of cells.
            seconds: Time that they take in one process. For a short time no further process is started by default.
        """
        number = self.num_workers
        if number is None:
            alone = torch.accelerator.is_available() or seconds < WORTH_A_PROCESS
            number = 1 if alone else num_cores()
        return max(min(number, cells), 1)


def build_parser(prog: str, description: str) -> HfArgumentParser:
    """Return the parser of the command.

    Args:
        prog: Name of the program.
        description: Description, with examples.
    """
    sources = {each.name: "hf-prompt" for each in fields(CompareArguments)}
    parser = HfArgumentParser(
        (CompareArguments,),
        prog=prog,
        usage=f"{prog} [FLAGS.yaml] --flag value …",
        description=description,
        formatter_class=partial(SourcedDefaultsFormatter, sources=sources),
        allow_abbrev=False,
    )
    return parser


def parse(parser: HfArgumentParser, argv: Sequence[str]) -> CompareArguments:
    """Return the arguments of a command line. Exits with a message, as argparse does, if flags are wrong or missing.

    Args:
        parser: Result of `build_parser`.
        argv: The command line after the command.
    """
    given = vars(parser.parse_args(list(argv)))
    if not given["output_dir"]:
        parser.error("the following arguments are required: --output_dir")
    try:
        return CompareArguments(**given)
    except ValueError as error:
        parser.error(str(error))
    raise AssertionError("parser.error exits")
