"""Command line of `hf-prompt train auto`."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

from transformers import HfArgumentParser

from hf_prompt_models.tasks.arguments import NOT_GIVEN, SourcedDefaultsFormatter, parse_time
from hf_prompt_models.tasks.classification.arguments import ImageClassificationArguments
from hf_prompt_models.tasks.image_classification.auto.candidates import KINDS
from hf_prompt_models.training.settings import RunOptions


NO_TEST_DATA = "auto needs no test data; evaluate the result afterwards with hf-prompt evaluate"
NOT_TAKEN = dict.fromkeys(("--test_dir", "--test-dir", "--test_fraction", "--test-fraction"), NO_TEST_DATA)
"""Flags of other methods that are refused, with the reason."""


def _help_of(name: str, owner: type = ImageClassificationArguments) -> Mapping[str, Any]:
    """Return the help of a flag of other methods."""
    return {each.name: each.metadata for each in fields(owner)}[name]


@dataclass
class AutoArguments:
    """Arguments of `hf-prompt train auto`."""

    _argument_group_name = "auto"

    backbone: str = field(metadata=_help_of("backbone"))
    train_dir: str = field(
        metadata={
            "help": "Folder with one folder of images per class, a list of images, or a Hugging Face dataset "
            "(`name:split`). No other data is read."
        }
    )
    output_dir: str = field(metadata={"help": "New folder for the model, its results and figures."})
    time_budget: str = field(
        default="5m",
        metadata={
            "help": "Time in which the run has to end, such as 90s, 5m or 1h. Candidates that do not fit are left out "
            "and listed with the reason."
        },
    )
    methods: list[str] | None = field(
        default=None,
        metadata={
            "help": f"Kinds of candidates to compare, to save time. Default: all: {', '.join(KINDS)}.",
            "choices": list(KINDS),
        },
    )
    shots: int = field(default=0, metadata={"help": "Number of training images per class to sample. 0: all images."})
    seeds: list[int] = field(
        default_factory=lambda: [1],
        metadata={"help": "Seed of the sample, the folds and the training. `--seed n` means `--seeds n`."},
    )
    seed: int | None = field(default=None, metadata={"help": "The same as --seeds, for one seed."})
    templates: list[str] | None = field(
        default=None,
        metadata={
            "help": "Hand-written prompts to try first: sentences with {} for the class name, a text file with one "
            "sentence per line, or a published list such as imagenet_80. imagenet_7 and random descriptors are always "
            'tried. Default: the prompt of the published dataset, else "a photo of a {}.".'
        },
    )
    class_prompts: str | None = field(
        default=None,
        metadata={
            "help": "Sentences about each class to try first, instead of --templates or, with both flags, as one "
            'ensemble: a JSON file {"class name": ["A sentence.", …]}.'
        },
    )
    class_names: str | None = field(default=None, metadata=_help_of("class_names"))
    dataset: str | None = field(default=None, metadata=_help_of("dataset"))
    label_column: str | None = field(default=None, metadata=_help_of("label_column"))
    image_column: str | None = field(default=None, metadata=_help_of("image_column"))
    on_unreadable: str = field(default="refuse", metadata=_help_of("on_unreadable"))
    feature_cache: str | None = field(default=None, metadata=_help_of("feature_cache"))
    save_tokenizer: bool = field(default=True, metadata=_help_of("save_tokenizer"))
    overwrite_output_dir: bool = field(default=False, metadata=_help_of("overwrite_output_dir", RunOptions))
    use_cpu: bool = field(default=False, metadata={"help": "Do not use an accelerator."})
    disable_tqdm: bool = field(default=False, metadata={"help": "Show no progress bars."})

    def __post_init__(self) -> None:
        self.seconds = parse_time(self.time_budget)

    def data(self) -> ImageClassificationArguments:
        """Return the flags for the data as other methods have them."""
        names = {each.name for each in fields(ImageClassificationArguments)} & {each.name for each in fields(self)}
        return ImageClassificationArguments(**{name: getattr(self, name) for name in names})


DESCRIPTION = """\
Find the best image classifier for a folder of images. No test set is needed, and none is read.

Hand-written prompts without training, all types of feature adapters and CoOp are compared by cross-validation on the
training images, on features that are computed once. The best one is trained on all images and saved as an ordinary
model of its method, with an estimate of its test accuracy and an interval (docs/auto.md).

    hf-prompt train auto --backbone openai/clip-vit-base-patch32 --train_dir photos --output_dir runs/auto
    hf-prompt train auto --backbone playground --train_dir photos --time_budget 1m --output_dir runs/auto
    hf-prompt evaluate runs/auto --test_dir other_photos"""


def auto_parser(prog: str) -> HfArgumentParser:
    """Return the parser of `hf-prompt train auto`.

    Args:
        prog: Name of the program in messages.
    """
    sources = {each.name: "hf-prompt" for each in fields(AutoArguments)}
    return HfArgumentParser(
        AutoArguments,
        prog=prog,
        usage=f"{prog} [FLAGS.yaml] --flag value …",
        description=DESCRIPTION,
        formatter_class=partial(SourcedDefaultsFormatter, sources=sources),
        allow_abbrev=False,
    )


def parse_auto(argv: Sequence[str], prog: str) -> AutoArguments:
    """Return the arguments of a command line; exit with a message if flags are wrong or missing.

    Args:
        argv: The command line after the method.
        prog: Name of the program in messages.
    """
    parser = auto_parser(prog)
    unset = argparse.Namespace(**dict.fromkeys((each.name for each in fields(AutoArguments)), NOT_GIVEN))
    given = {
        name: value for name, value in vars(parser.parse_args(list(argv), unset)).items() if value is not NOT_GIVEN
    }
    if "seed" in given:
        if "seeds" in given:
            parser.error("--seed n is the same as --seeds n: pass only one of the two flags")
        given["seeds"] = [given["seed"]]
    try:
        arguments = AutoArguments(**given)
    except ValueError as error:
        parser.error(f"argument --time_budget: {error}")
    if len(arguments.seeds) != 1:
        parser.error(f"expected one seed, because one model is written, got --seeds {arguments.seeds}")
    if arguments.shots < 0:
        parser.error(
            f"expected --shots, the number of training images per class, to be at least 0, got {arguments.shots}"
        )
    if arguments.class_names is not None and arguments.dataset is not None:
        parser.error("pass only one of --class_names and --dataset, because both set the class names")
    return arguments
