"""The run of `hf-prompt train auto`: reads the training data, and writes the chosen model with its results."""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hf_prompt_models.backbones.packaged import portable_name
from hf_prompt_models.data.few_shot import sample_few_shot, write_few_shot_sample
from hf_prompt_models.data.images.labelled import LabelledImages, read_labelled_images
from hf_prompt_models.data.labelled import readable_sets
from hf_prompt_models.data.published_datasets import PUBLISHED_DATASETS, find_dataset
from hf_prompt_models.data.splits import source_title
from hf_prompt_models.hub.model_card import CARD_FILE, is_generated, make_card, read_card, write_card
from hf_prompt_models.prompts.templates import DEFAULT_TEMPLATE
from hf_prompt_models.tasks.classification.class_prompts import with_class_prompts
from hf_prompt_models.tasks.classification.protocols import (
    ProtocolData,
    TestSet,
    class_names_of,
    read_source,
    templates_of,
)
from hf_prompt_models.tasks.image_classification.auto.arguments import AutoArguments
from hf_prompt_models.tasks.image_classification.auto.budget import Budget
from hf_prompt_models.tasks.image_classification.auto.reporting import (
    CANDIDATES_FIGURE,
    CANDIDATES_FILE,
    card_of_search,
    plot_search,
    results_of_search,
    summarise_search,
    write_candidates,
)
from hf_prompt_models.tasks.image_classification.auto.search import find_best
from hf_prompt_models.tasks.results import origin, write_results
from hf_prompt_models.training.earlier_runs import check_output_dir, clear_output_dir
from hf_prompt_models.training.run_folder import RUN_FILE, SAMPLE_FILE, digest_of, saved_bytes
from hf_prompt_models.training.run_lock import only_run
from hf_prompt_models.training.run_start import check_backbones
from hf_prompt_models.utils.distributed import num_processes
from hf_prompt_models.utils.files import move_files, staging, write_json


def train_auto(arguments: AutoArguments, command: str, began: float | None = None) -> str:
    """Run `hf-prompt train auto` and return the text that it prints at the end.

    Nothing but the training data, the backbone, the feature cache and the files that flags name is read. All files
    are moved into the output folder at the end.

    Args:
        arguments: The parsed command line.
        command: The command line, for the results.
        began: Start of the time budget on the clock of `time.monotonic`. Default: now.

    Raises:
        OSError: If a backbone cannot be found or a folder cannot be written to.
        ValueError: For data or settings that cannot be used, or an output folder that holds another run.
    """
    budget = Budget(arguments.seconds, time.monotonic() if began is None else began)
    if num_processes() > 1:
        raise ValueError("train auto runs in one process, because trainings take seconds. Start it without torchrun.")
    directory, seed = Path(arguments.output_dir), arguments.seeds[0]
    settings: dict[str, Any] = {"output_dir": str(directory)}
    check_backbones([arguments.backbone])
    check_output_dir(settings, [seed], arguments.overwrite_output_dir)
    data = read_training_data(arguments)
    images = data.train
    assert isinstance(images, LabelledImages)
    with only_run(directory, is_main=True):
        clear_output_dir(settings, [seed], arguments.overwrite_output_dir)
        search, learner = find_best(arguments, data, images, budget)
        results: dict[str, Any] = {
            "method": "auto",
            "task": "image-classification",
            "kind": "image",
            "backbone": arguments.backbone,
            "data": {
                "name": data.title,
                "train": images.source,
                "train_digest": digest_of([list(images.names), list(images.labels)]),
                "classes": len(images.class_names),
                "train_images": len(images),
            },
            "shots": arguments.shots,
            **results_of_search(search),
            "arguments": {"time_budget": arguments.time_budget},
            **origin(command),
        }
        model = learner.model
        if not arguments.save_tokenizer:
            model.processor.leave_out_tokenizer(portable_name(arguments.backbone), model.config.base_model_revision)
        with staging(directory) as locked:
            folder = locked / "run"  # saving a model locks its folder, which the staging folder already is
            folder.mkdir()
            model.save_pretrained(folder)
            results["seeds"] = {str(seed): {"model": str(directory), "bytes": saved_bytes(folder), "steps": 0}}
            write_few_shot_sample(folder / SAMPLE_FILE, images, range(len(images)), arguments.shots, seed)
            write_candidates(folder / CANDIDATES_FILE, search)
            plot_search(folder / CANDIDATES_FIGURE, search)
            card = read_card(directory / CARD_FILE)
            if card is None or is_generated(card):
                run = card_of_search(search, results, str(seed))
                write_card(make_card(model.describe_checkpoint(), run=run), folder / CARD_FILE)
            record = {"method": "auto", "seed": seed, "backbone": portable_name(arguments.backbone)}
            write_json(folder / RUN_FILE, record | {"images": list(images.names), "classes": list(images.class_names)})
            write_results(folder, results)
            move_files(folder, directory)
    return summarise_search(search, directory, arguments.train_dir)


def read_training_data(arguments: AutoArguments) -> ProtocolData:
    """Return the training images, sampled if `--shots` is given, with the user's prompts as their only test set.

    Args:
        arguments: The parsed command line.

    Raises:
        ValueError: If the data cannot be used.
    """
    given = arguments.data()
    named = None if arguments.dataset is None else PUBLISHED_DATASETS[arguments.dataset]
    published = named or find_dataset(arguments.train_dir)
    train = read_source(partial(read_labelled_images, **given.reading()), arguments.train_dir, "train", named)
    names = None
    if arguments.class_names is not None:
        names = class_names_of(arguments.class_names, train)
        train = replace(train, class_names=names.names)
    seed = arguments.seeds[0]
    if arguments.shots:
        train = train.select(sample_few_shot(train, arguments.shots, seed, arguments.on_unreadable))
    (train,) = readable_sets([train], arguments.on_unreadable, not arguments.disable_tqdm)
    title = published.title if published else source_title(arguments.train_dir)
    templates = templates_of(given, published, (DEFAULT_TEMPLATE,))
    data = ProtocolData(title, train, {"train": TestSet(title, train, templates)}, names)
    if arguments.class_prompts is None:
        return data
    return with_class_prompts(data, arguments.class_prompts, arguments.templates is not None, arguments.backbone)
