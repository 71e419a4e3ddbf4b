"""Command line arguments: the recipe's settings where no flag says otherwise."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from textwrap import wrap
from typing import Any

import torch
from transformers import HfArgumentParser, TrainingArguments
from transformers.hf_argparser import string_to_bool

from hf_prompt_models.data.few_shot import read_few_shot_shots
from hf_prompt_models.data.published_datasets import PUBLISHED_DATASETS, find_dataset
from hf_prompt_models.recipe_utils import ClassificationRecipe, Protocol, Recipe
from hf_prompt_models.training.settings import (
    RunOptions,
    build_training_arguments,
    check_numbers,
    implied_strategies,
    with_laptop_defaults,
)


@dataclass
class FewShotArguments:
    """Data and protocol. Examples are pictures or videos, as the method has it."""

    _argument_group_name = "data and protocol"

    backbone: str = field(metadata={"help": "Hub id or folder of the backbone; `playground`: the package's own."})
    train_dir: str = field(
        metadata={
            "help": "Folder with a folder of images or videos for each class; images: or a `datasets` data set "
            "(`name:split`); videos: or a list, `<folder of frames or video> <number of frames> <class index>` (with "
            "--labels), or a CSV file of columns path and labels, where a video has one or more class names, "
            "separated by semicolons."
        }
    )
    test_dir: str | None = field(
        default=None,
        metadata={
            "help": "What to test on: a source as for --train_dir. This, or --test_fraction, is required. The "
            "`split.json` of an earlier run names the files that it held out."
        },
    )
    test_fraction: float | None = field(
        default=None,
        metadata={
            "help": "Instead of --test_dir: the share of each class in --train_dir, such as 0.2, that is held out for "
            "testing and not trained on. Files with the same content stay together; `split.json` in the output "
            "folder names the files."
        },
    )
    split_seed: int = field(
        default=0,
        metadata={"help": "Seed of --test_fraction, the same split for all --seeds: another seed, other test files."},
    )
    protocol: str = field(
        default="few-shot",
        metadata={
            "help": "few-shot: train and test on all classes. base-to-new: train on the first half of the classes, "
            "test that half and the other, each within itself. cross-dataset: also test --target_dirs, whose "
            "classes the learned prompt has never seen.",
            "choices": ["few-shot", "base-to-new", "cross-dataset"],
        },
    )
    target_dirs: list[str] | None = field(
        default=None,
        metadata={
            "help": "Data sets to carry the prompt to (cross-dataset): sources as for --test_dir. NAME=DIR says that "
            "the class folders are those of a published data set, as --dataset does."
        },
    )
    dataset: str | None = field(
        default=None,
        metadata={
            "help": "The data is this published data set, as folders: use its class names and its prompt. "
            "Not needed for data laid out as CoOp has it, which is recognised.",
            "choices": list(PUBLISHED_DATASETS),
        },
    )
    class_names: str | None = field(
        default=None,
        metadata={
            "help": "File with the names of the classes, where the folders' names are not what one would call them: "
            "a name a line in the order of the sorted folders, or rows `folder,name` (CSV), or JSON. Names as in a "
            'sentence ("rose", not "roses" or "n01234567") help the prompts.'
        },
    )
    shots: int = field(
        default=16,
        metadata={"help": "Training examples a class. Default: 16 pictures; all videos there are, which is 0."},
    )
    seeds: list[int] = field(
        default_factory=lambda: [1], metadata={"help": "One run each: `--seeds 1 2 3`. `--seed n` means `--seeds n`."}
    )
    labels: str | None = field(
        default=None,
        metadata={
            "help": "Videos named in lists: the class names, a CSV file with columns id and name, in order of the ids."
        },
    )
    label_column: str | None = field(
        default=None,
        metadata={
            "help": "Images in a data set or a list (`metadata.csv`) with several columns of labels: the one to train "
            "on and to test with, such as `fine_label`."
        },
    )
    image_column: str | None = field(
        default=None, metadata={"help": "Images in a data set or a list with several columns of images: the one."}
    )
    few_shot_sample: str | None = field(
        default=None,
        metadata={"help": "A `few_shot.json` of an earlier run: train on its images or videos, draw none."},
    )
    on_unreadable: str = field(
        default="refuse",
        metadata={
            "help": "Files that cannot be decoded: stop and list all of them, or name, count and skip them.",
            "choices": ["refuse", "skip"],
        },
    )
    templates: list[str] | None = field(
        default=None,
        metadata={
            "help": "Hand-written prompts for the zero-shot result: sentences with {} for the class name, a text file "
            "with one on each line, or a published list such as imagenet_80; several make an ensemble. Default: the "
            'published data set\'s own, else "a photo of a {}.". A method whose own prompts are hand-written has '
            "these as its own; by default ActionCLIP's 16."
        },
    )
    save_tokenizer: bool = field(
        default=True,
        metadata={
            "help": "Save the backbone's tokenizer with the model. false leaves it out, if the backbone is on the "
            "Hub: loading takes it from there."
        },
    )
    feature_cache: str | None = field(
        default=None,
        metadata={
            "help": "Folder in which features of a frozen image tower are kept for the next run. Default: beside "
            "what Hugging Face libraries fetch. off: keep none."
        },
    )


SCHEDULER_FLAGS = frozenset({"lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"})


@dataclass
class RunArguments:
    """What the command line says, with the recipe's settings beneath.

    Attributes:
        method: the method's own arguments.
        few_shot: data and protocol.
        training: keyword arguments for `TrainingArguments`.
        own_schedule: whether CoOp's learning rate schedule applies: neither the recipe nor a flag named another.
        run: what concerns the run itself.
    """

    method: Any
    few_shot: FewShotArguments
    training: dict[str, Any]
    own_schedule: bool
    run: RunOptions = field(default_factory=RunOptions)


def few_shot_parser(recipe: ClassificationRecipe[Any], prog: str) -> HfArgumentParser:
    """The parser of a classifier's command line."""
    settings = recipe.training_defaults(Protocol(shots=recipe.default_shots)) | {"shots": recipe.default_shots}
    if not SCHEDULER_FLAGS & set(settings):
        settings["lr_scheduler_type"] = "a constant epoch, then the cosine, changed by epoch"
    return build_parser(recipe, FewShotArguments, settings, prog)


def parse_run_arguments(recipe: ClassificationRecipe[Any], argv: Sequence[str], prog: str) -> RunArguments:
    """Parse a method's command line. An explicit flag always wins over the recipe.

    Exits with a message, as argparse does, if flags are wrong or missing.
    """
    parser = few_shot_parser(recipe, prog)
    given = with_laptop_defaults(recipe, parse_given(parser, argv))
    if "few_shot_sample" in given:
        shots = read_few_shot_shots(given["few_shot_sample"])
        if given.setdefault("shots", shots) != shots:
            parser.error(
                f"--few_shot_sample holds {shots} examples a class, --shots says {given['shots']}: leave it out"
            )
    given.setdefault("shots", recipe.default_shots)
    few_shot = FewShotArguments(**fields_of(FewShotArguments, given))
    if few_shot.shots < min(recipe.default_shots, 1):
        parser.error(f"--shots is the number of training examples a class, at least 1; got {few_shot.shots}")
    if len(set(few_shot.seeds)) < len(few_shot.seeds) or not few_shot.seeds:
        parser.error(f"--seeds: name each seed once; got {few_shot.seeds}")
    _check_test_set(parser, few_shot, given)
    if few_shot.class_names is not None and few_shot.dataset is not None:
        parser.error("--class_names and --dataset both name the classes: give one of the two")
    if (few_shot.protocol == "cross-dataset") != bool(few_shot.target_dirs):
        parser.error("--protocol cross-dataset and --target_dirs D2 D3 … go together: give both or neither")
    for target in few_shot.target_dirs or []:
        if "=" in target and target.rpartition("=")[0] not in PUBLISHED_DATASETS:
            parser.error(f"--target_dirs {target}: before the = stands one of {', '.join(PUBLISHED_DATASETS)}")
    explicit = fields_of(TrainingArguments, given)
    found = find_dataset(few_shot.train_dir)
    protocol = Protocol(few_shot.protocol, few_shot.shots, few_shot.dataset or (found.name if found else None))
    training = training_settings(recipe.training_defaults(protocol), explicit)
    method = fields_of(recipe.arguments_class, given)
    return RunArguments(
        method=recipe.arguments_class(**recipe.argument_defaults(protocol, method) | method),
        few_shot=few_shot,
        training=training,
        own_schedule=not SCHEDULER_FLAGS & set(training),
        run=RunOptions(**fields_of(RunOptions, given)),
    )


def _check_test_set(parser: HfArgumentParser, few_shot: FewShotArguments, given: Mapping[str, Any]) -> None:
    """End with a message unless exactly one test set is named."""
    fraction = few_shot.test_fraction
    if few_shot.test_dir is None and fraction is None:
        parser.error(
            "say what to test on: --test_dir DIR, or --test_fraction 0.2, which holds out a fifth of each class"
        )
    if few_shot.test_dir is not None and fraction is not None:
        parser.error("--test_dir and --test_fraction both say what to test on: give one of the two")
    if fraction is not None and not 0 < fraction < 1:
        parser.error(f"--test_fraction is a share between 0 and 1, such as 0.2; got {fraction}")
    if fraction is None and "split_seed" in given:
        parser.error("--split_seed goes with --test_fraction: give both or neither")


class TrainerArguments(TrainingArguments):
    """`TrainingArguments`, under a heading of their own in the help."""

    _argument_group_name = "training (transformers' TrainingArguments)"


MOST_CHOICES_SHOWN = 12


class SourcedDefaultsFormatter(argparse.RawDescriptionHelpFormatter):
    """Help in which each default stands with where it is from.

    Args:
        sources: by the names of arguments.
        args, kwargs: as for argparse's formatters.
    """

    def __init__(self, *args: Any, sources: Mapping[str, str], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.sources = sources

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """The flag once (`--n_ctx` is `--n-ctx`, too), and no list of what it takes that nobody reads to its end."""
        if not action.option_strings or action.nargs == 0:
            return ", ".join(action.option_strings)
        metavar = "true|false" if action.type is string_to_bool else action.dest.upper()
        if (choices := list(action.choices or [])) and len(choices) <= MOST_CHOICES_SHOWN:
            metavar = "|".join(map(str, choices))
        return f"{action.option_strings[0]} {metavar}{' …' if action.nargs == '+' else ''}"

    def _get_help_string(self, action: argparse.Action) -> str:
        help_text = action.help or ""
        if action.required or action.dest == "output_dir":
            return f"{help_text} (required)"
        unset = action.nargs == 0 or action.default in (None, argparse.SUPPRESS)
        return help_text if unset else f"{help_text} (default: {_shown(action.default)}; {self.sources[action.dest]})"


def _shown(default: Any) -> str:
    default = getattr(default, "value", default)  # of an enumeration
    return (" ".join(map(str, default)) if isinstance(default, list) else str(default)).replace("%", "%%")


def build_parser(recipe: Recipe[Any], data: type, settings: Mapping[str, Any], prog: str) -> HfArgumentParser:
    """The parser of a method's command line: its own flags, those for data and protocol, then the Trainer's.

    Args:
        recipe: the method's.
        data: the dataclass of the arguments for data and protocol.
        settings: the recipe's, in place of what the dataclasses have as defaults.
        prog: what the program is called.
    """
    sources = {each.name: "Trainer" for each in fields(TrainingArguments)}
    ours = [each.name for cls in (recipe.arguments_class, data, RunOptions) for each in fields(cls)]
    sources |= dict.fromkeys([*ours, *training_settings({}, {})], "hf-prompt")
    sources |= {**dict.fromkeys(settings, recipe.source), **recipe.sources}
    examples = "\n".join(" \\\n        ".join(wrap(f"    {prog} {each}", 108)) for each in recipe.examples)
    parser = HfArgumentParser(
        (recipe.arguments_class, data, RunOptions, TrainerArguments),
        prog=prog,
        usage=f"{prog} [FLAGS.yaml] --flag value …",
        description=f"{recipe.__doc__}\n\n{examples}",
        formatter_class=partial(SourcedDefaultsFormatter, sources=sources),
        allow_abbrev=False,
    )
    parser.set_defaults(**training_settings(dict(settings), {}))
    for name, value in recipe.laptop_defaults({}).items():
        sources[name] = f"--recipe laptop; {recipe.source}: {_shown(parser.get_default(name))}"
        parser.set_defaults(**{name: value})
    return parser


def parse_given(parser: HfArgumentParser, argv: Sequence[str]) -> dict[str, Any]:
    """What a command line says by itself, no defaults among it.

    Args:
        parser: from `build_parser`; it has no defaults afterwards.
        argv: the command line.
    """
    if {"-h", "--help"} & set(argv):
        parser.parse_args(["--help"])
    for action in parser._actions:  # leaves in the namespace what the command line says, and nothing else
        action.default = argparse.SUPPRESS
    parser._defaults.clear()
    given = vars(parser.parse_args(list(argv)))
    if "output_dir" not in given:
        parser.error("the following arguments are required: --output_dir")
    if "seed" in given:
        if "seeds" in given:
            parser.error("--seed n means --seeds n: give one of the two")
        given["seeds"] = [given["seed"]]
    return given


def training_settings(recipes: dict[str, Any], explicit: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments for `TrainingArguments`: this package's, above them the recipe's, above them the flags'.

    Raises:
        ValueError: if flags contradict each other, or train nothing.
    """
    check_numbers(explicit)
    defaults = recipes | {
        "logging_strategy": "epoch",
        "save_strategy": "steps",
        "save_steps": 0.1,
        "save_total_limit": 1,
        "hub_strategy": "end",
        "remove_unused_columns": False,
        # Of a CLIP's image tower the last norm, of others the pooler: no loss reaches them, also with checkpointing.
        "ddp_find_unused_parameters": True,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }
    if "optim" in explicit:
        defaults.pop("optim_args", None)  # they are the recipe's optimizer's
    if explicit.get("save_strategy") not in (None, "steps"):
        defaults.pop("save_steps")
    return defaults | implied_strategies(explicit) | explicit


def recipe_arguments(recipe: dict[str, Any], output_dir: str, **settings: Any) -> TrainingArguments:
    """A recipe's `TrainingArguments` for code of one's own: what `train.py` trains with, but for `settings`.

    Args:
        recipe: what the `training_defaults` of a `recipe_<method>` module returned.
        output_dir: where checkpoints go.
        settings: further arguments of `TrainingArguments`, above the recipe's.
    """
    return build_training_arguments(training_settings(recipe, {"output_dir": output_dir, **settings}))


def fields_of(cls: type, given: dict[str, Any]) -> dict[str, Any]:
    """Those of the arguments that a dataclass has."""
    return {f.name: given[f.name] for f in fields(cls) if f.name in given}
