"""Flags for the data and the protocol of classifiers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from transformers import HfArgumentParser

from hf_prompt_models.data.few_shot import read_few_shot_shots
from hf_prompt_models.data.published_datasets import PUBLISHED_DATASETS, find_dataset
from hf_prompt_models.recipe_utils import ClassificationRecipe, Protocol
from hf_prompt_models.utils.precision import FEATURE_DTYPES


@dataclass
class ClassificationArguments:
    """Arguments for the data and protocol of classifiers.

    Attributes:
        READING: Names of the fields that are arguments of the recipe's `read_examples`.
    """

    READING: ClassVar[tuple[str, ...]] = ()

    _argument_group_name = "data and protocol"

    backbone: str = field(
        metadata={
            "help": "Hub id or folder of the backbone; `playground`: the tiny model that ships with the package."
        }
    )
    train_dir: str = field(
        metadata={
            "help": "Folder with one folder of images or videos per class. For images also a Hugging Face dataset "
            "(`name:split`). For videos also a list with lines `<folder of frames or video> <number of "
            "frames> <class index>` (with --labels), or a CSV file with the columns path and labels, "
            "where a video has one or more class names, separated by semicolons."
        }
    )
    test_dir: str | None = field(
        default=None,
        metadata={
            "help": "Data to test on, in the same formats as --train_dir. Either this flag or --test_fraction is "
            "required. To test on the files that an earlier run held out, pass its `split.json`."
        },
    )
    test_fraction: float | None = field(
        default=None,
        metadata={
            "help": "Share of each class in --train_dir, such as 0.2, to hold out for testing, instead of "
            "--test_dir. Files with the same content stay together. `split.json` in the output folder "
            "lists the files."
        },
    )
    split_seed: int = field(
        default=0,
        metadata={
            "help": "Seed of the split of --test_fraction. All --seeds share one split; another seed holds out "
            "other files."
        },
    )
    protocol: str = field(
        default="few-shot",
        metadata={
            "help": "Evaluation protocol. few-shot: train and test on all classes. base-to-new: train on the "
            "first half of the classes, then test on each half separately. cross-dataset: also test on "
            "--target_dirs, whose classes are new to the trained prompt.",
            "choices": ["few-shot", "base-to-new", "cross-dataset"],
        },
    )
    target_dirs: list[str] | None = field(
        default=None,
        metadata={
            "help": "Datasets to transfer the prompt to (cross-dataset), in the same formats as --test_dir. "
            "NAME=DIR means that the class folders are those of the published dataset NAME, as with "
            "--dataset."
        },
    )
    dataset: str | None = field(
        default=None,
        metadata={
            "help": "Published dataset whose class folders the data has: use its class names and its prompt. Data "
            "in CoOp's layout is recognised without this flag.",
            "choices": list(PUBLISHED_DATASETS),
        },
    )
    class_names: str | None = field(
        default=None,
        metadata={
            "help": "File with class names, for folders that are not named like their classes: one name per line "
            "in the order of the sorted folders, rows `folder,name` (CSV), or JSON. Names as in a "
            'sentence ("rose", not "roses" or "n01234567") help the prompts.'
        },
    )
    shots: int = field(
        default=16,
        metadata={"help": "Number of training examples per class. 0: all. Default: 16 for images; all for videos."},
    )
    seeds: list[int] = field(
        default_factory=lambda: [1],
        metadata={
            "help": "Seeds, with one training run per seed, such as `--seeds 1 2 3`. `--seed n` means `--seeds n`."
        },
    )
    few_shot_sample: str | None = field(
        default=None,
        metadata={
            "help": "The `few_shot.json` of an earlier run: train on its images or videos instead of sampling new "
            "ones."
        },
    )
    calibrate: bool = field(
        default=False,
        metadata={
            "help": "Fit a temperature, so that probabilities match how often predictions are right, and save it with "
            "the model. It is fitted by cross-validation on training examples, and left out if it does not help on "
            "those that it was not fitted on. This trains the model five more times, each on four fifths of the "
            "examples, which takes seconds for feature_adapter."
        },
    )
    on_unreadable: str = field(
        default="refuse",
        metadata={
            "help": "How files that cannot be decoded are handled. refuse: stop and list all of them; skip: "
            "report, count and skip them.",
            "choices": ["refuse", "skip"],
        },
    )
    templates: list[str] | None = field(
        default=None,
        metadata={
            "help": "Hand-written prompts for the zero-shot result: sentences with {} for the class name, a text "
            "file with one sentence per line, or a published list such as imagenet_80. Several prompts "
            'form an ensemble. Default: the prompt of the published dataset, else "a photo of a {}.". A '
            "method whose own prompts are hand-written uses these; its default is ActionCLIP's 16 "
            "prompts."
        },
    )
    save_tokenizer: bool = field(
        default=True,
        metadata={
            "help": "Save the backbone's tokenizer with the model. false: leave it out if the backbone is on the "
            "Hub, from which it is then loaded."
        },
    )
    feature_cache: str | None = field(
        default=None,
        metadata={
            "help": "Folder in which the features of a frozen image encoder are cached between runs. Default: in "
            "the Hugging Face cache folder. off: no cache."
        },
    )
    feature_dtype: str | None = field(
        default=None,
        metadata={
            "help": "Precision in which the image encoder computes. float32: that of the backbone's weights. "
            "bfloat16: faster on processors with instructions for it. auto: bfloat16 on such a processor if the "
            "features of some images differ little. Default: bfloat16 with --bf16 true, else float32.",
            "choices": list(FEATURE_DTYPES),
        },
    )

    def reading(self) -> dict[str, str]:
        """Return the given arguments of the recipe's `read_examples`."""
        return {name: value for name in self.READING if (value := getattr(self, name)) is not None}


@dataclass
class ImageClassificationArguments(ClassificationArguments):
    """Arguments for the data and protocol of image classifiers."""

    READING = ("image_column", "label_column")

    label_column: str | None = field(
        default=None,
        metadata={
            "help": "Column of the labels to train on and test with, such as `fine_label`, if a dataset or a list "
            "(`metadata.csv`) has several."
        },
    )
    image_column: str | None = field(
        default=None, metadata={"help": "Column of the images, if a dataset or a list has several."}
    )
    class_prompts: str | None = field(
        default=None,
        metadata={
            "help": "Sentences about each class for the zero-shot result, instead of --templates or, with both flags, "
            'as one ensemble: a JSON file {"class name": ["A sentence.", …]}, or waffle for random descriptors. '
            "Feature adapters use these, too."
        },
    )

    reduced_jpeg: bool = field(
        default=False,
        metadata={
            "help": "Decode JPEGs at a half, a quarter or an eighth of their size where they are resized to less "
            "anyway: all images but random crops. Large photos are read several times faster, and features change a "
            "little."
        },
    )


@dataclass
class VideoClassificationArguments(ClassificationArguments):
    """Arguments for the data and protocol of video classifiers."""

    READING = ("labels",)

    labels: str | None = field(
        default=None,
        metadata={
            "help": "CSV file of the class names of videos in a list, with the columns id and name, in the order "
            "of the ids."
        },
    )


SCHEDULER_FLAGS = frozenset({"lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"})


def shown_defaults(recipe: ClassificationRecipe[Any]) -> dict[str, Any]:
    """Return the recipe's defaults that `--help` shows."""
    settings = recipe.training_defaults(Protocol(shots=recipe.default_shots)) | {"shots": recipe.default_shots}
    if not SCHEDULER_FLAGS & set(settings):
        settings["lr_scheduler_type"] = "one constant epoch, then cosine decay, updated once per epoch"
    return settings


def protocol_of(data: ClassificationArguments) -> Protocol:
    """Return the protocol of a classifier."""
    found = find_dataset(data.train_dir)
    return Protocol(data.protocol, data.shots, data.dataset or (found.name if found else None))


def add_sampled_shots(parser: HfArgumentParser, given: dict[str, Any]) -> None:
    """Add the number of shots of `--few_shot_sample` to the given flags; exit if `--shots` differs."""
    if "few_shot_sample" not in given:
        return
    shots = read_few_shot_shots(given["few_shot_sample"])
    if given.setdefault("shots", shots) != shots:
        parser.error(
            f"--few_shot_sample contains {shots} examples per class, but --shots is {given['shots']}: remove --shots"
        )


def check_data(parser: HfArgumentParser, data: ClassificationArguments, given: Mapping[str, Any], least: int) -> None:
    """Exit with a message if data flags do not go together.

    Args:
        parser: Parser of the command line.
        data: The flags.
        given: Flags that the command line gives.
        least: Minimum number of shots.
    """
    if data.shots < least:
        parser.error(
            f"expected --shots, the number of training examples per class, to be at least 1, got {data.shots}"
        )
    _check_test_set(parser, data, given)
    if data.class_names is not None and data.dataset is not None:
        parser.error("pass only one of --class_names and --dataset, because both set the class names")
    if (data.protocol == "cross-dataset") != bool(data.target_dirs):
        parser.error(
            "--protocol cross-dataset needs --target_dirs D2 D3 …, and --target_dirs needs this protocol: pass "
            "both or neither"
        )
    for target in data.target_dirs or []:
        if "=" in target and target.rpartition("=")[0] not in PUBLISHED_DATASETS:
            parser.error(f"--target_dirs {target}: expected one of {', '.join(PUBLISHED_DATASETS)} before the =")


def _check_test_set(parser: HfArgumentParser, data: ClassificationArguments, given: Mapping[str, Any]) -> None:
    """Exit with a message unless exactly one test set is named."""
    fraction = data.test_fraction
    if data.test_dir is None and fraction is None:
        parser.error(
            "the test data is missing: pass --test_dir DIR, or --test_fraction 0.2 to hold out a fifth of each class"
        )
    if data.test_dir is not None and fraction is not None:
        parser.error("pass only one of --test_dir and --test_fraction, because both set the test data")
    if fraction is not None and not 0 < fraction < 1:
        parser.error(f"expected --test_fraction to be between 0 and 1, such as 0.2, got {fraction}")
    if fraction is None and "split_seed" in given:
        parser.error("--split_seed has no effect without --test_fraction: pass both or neither")
