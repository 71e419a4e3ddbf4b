"""Training and test data of the protocols that prompt learning is reported under.

Sources: few-shot, CoOp (arXiv 2109.01134, section 4.1); base-to-new and cross-dataset, CoCoOp (arXiv 2203.05557,
sections 4.1 and 4.2).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hf_prompt_models.data.class_names_file import ClassNames, read_class_names_file
from hf_prompt_models.data.few_shot import base_and_new_classes
from hf_prompt_models.data.held_out import describe_split, hold_out, report_untested
from hf_prompt_models.data.images.labelled import LabelledImages
from hf_prompt_models.data.labelled import LabelledFiles
from hf_prompt_models.data.published_datasets import PUBLISHED_DATASETS, PublishedDataset, find_dataset
from hf_prompt_models.data.splits import source_title
from hf_prompt_models.prompts.templates import DATASET_TEMPLATES, DEFAULT_TEMPLATE
from hf_prompt_models.tasks.classification.arguments import ClassificationArguments
from hf_prompt_models.tasks.classification.templates import read_templates


@dataclass(frozen=True)
class TestSet:
    """Images or videos to test on.

    Attributes:
        title: Title of the dataset.
        images: The images or videos, with their own classes.
        templates: Hand-written prompts of the zero-shot result.
        class_prompts: Sentences about each class, for the zero-shot result.
    """

    title: str
    images: LabelledFiles
    templates: list[str]
    class_prompts: list[list[str]] | None = None


@dataclass(frozen=True)
class ProtocolData:
    """Data of a protocol.

    Attributes:
        title: Title of the training dataset.
        train: Files from which the shots of each class are sampled, with the classes that the prompt is trained for.
        tests: Test sets by role: "test"; "base" and "new"; or "source" and one for each target, by title. The first
            one has the classes that are trained on.
        names: Class names from `--class_names`, by folder.
        split: Files that `--test_fraction` holds out, as in `split.json`.
    """

    title: str
    train: LabelledFiles
    tests: dict[str, TestSet]
    names: ClassNames | None = None
    split: dict[str, Any] | None = None


def read_protocol(
    arguments: ClassificationArguments,
    read_examples: Callable[..., LabelledFiles],
    default_templates: Sequence[str] = (DEFAULT_TEMPLATE,),
) -> ProtocolData:
    """Read the data of a protocol.

    Args:
        arguments: Protocol and sources of the data.
        read_examples: The recipe's function, called with a source and a split.
        default_templates: Templates of datasets without their own.

    Raises:
        ValueError: If sources cannot be read or do not fit the protocol.
    """
    published = find_dataset(arguments.train_dir)
    named = None if arguments.dataset is None else PUBLISHED_DATASETS[arguments.dataset]
    train = read_source(read_examples, arguments.train_dir, "train", named)
    split = None
    if arguments.test_dir is not None:
        test = read_source(read_examples, arguments.test_dir, "test", named).with_classes(train.class_names)
    elif arguments.test_fraction is not None:
        held_out = hold_out(train, arguments.test_fraction, arguments.split_seed)
        report_untested(train, held_out)
        split = describe_split(train, held_out, arguments.train_dir, arguments.test_fraction, arguments.split_seed)
        train, test = train.select(held_out.train), train.select(held_out.test)
    else:
        raise ValueError(
            "The test data is missing. Pass test_dir, or test_fraction to hold out a share of each class."
        )
    names = None
    if arguments.class_names is not None:
        names = class_names_of(arguments.class_names, train)
        train, test = (replace(files, class_names=names.names) for files in (train, test))
    published = named or published
    title = published.title if published else source_title(arguments.train_dir)
    templates = templates_of(arguments, published, default_templates)

    if arguments.protocol == "few-shot":
        return ProtocolData(title, train, {"test": TestSet(title, test, templates)}, names, split)
    if arguments.protocol == "base-to-new":
        if len(train.class_names) < 4:
            raise ValueError(
                f"{train.source} has {len(train.class_names)} classes, but base-to-new needs at least 4, two "
                "base and two new ones."
            )
        base, new = base_and_new_classes(len(train.class_names))
        halves = {"base": test.subset_of_classes(base), "new": test.subset_of_classes(new)}
        for role, half in halves.items():
            if not len(half):
                raise ValueError(f"{test.source} contains no images of the {role} classes. Add images of them.")
        tests = {role: TestSet(title, half, templates) for role, half in halves.items()}
        return ProtocolData(title, train.subset_of_classes(base), tests, names, split)
    tests = {"source": TestSet(title, test, templates)}
    for target in arguments.target_dirs or []:
        name, _, source = target.rpartition("=")
        target_published = PUBLISHED_DATASETS[name] if name else find_dataset(source)
        images = read_source(read_examples, source, "test", PUBLISHED_DATASETS[name] if name else None)
        target_title = target_published.title if target_published else source_title(source)
        role, number = target_title, 2
        while role in tests:
            role, number = f"{target_title} ({number})", number + 1
        tests[role] = TestSet(role, images, templates_of(arguments, target_published, default_templates))
    return ProtocolData(title, train, tests, names, split)


def read_source(
    read_examples: Callable[[str, str], LabelledFiles], source: str, split: str, named: PublishedDataset | None
) -> LabelledFiles:
    """Return labelled files, with the published class names if `named` is given.

    Args:
        read_examples: The recipe's function, called with a source and a split.
        source: The source.
        split: "train" or "test".
        named: The published dataset that `--dataset` names.

    Raises:
        ValueError: If the source cannot be read, or holds videos and `named` is given.
    """
    files = read_examples(source, split)
    if named is None or find_dataset(source) is not None:
        return files
    if not isinstance(files, LabelledImages):
        raise ValueError(f"{named.title} is an image dataset, but {source} contains videos. Remove --dataset.")
    return files.named_as(named)


def class_names_of(path: str, train: LabelledFiles) -> ClassNames:
    """Return the class names of `--class_names` for the class folders of the training data.

    Args:
        path: The file.
        train: The training data, whose classes are named like the folders.

    Raises:
        ValueError: If the file does not fit the folders.
    """
    folders = list(train.class_names)
    given = read_class_names_file(path)
    return ClassNames(given.source, given.of_classes(folders, train.source), folders)


def templates_of(
    arguments: ClassificationArguments, published: PublishedDataset | None, default_templates: Sequence[str]
) -> list[str]:
    """Return the templates of `--templates`, else of the published dataset, else the default ones.

    Args:
        arguments: The flags.
        published: The published dataset, or `None`.
        default_templates: Templates of datasets without their own.
    """
    if arguments.templates is not None:
        return read_templates(arguments.templates)
    return [DATASET_TEMPLATES[published.name]] if published else list(default_templates)
