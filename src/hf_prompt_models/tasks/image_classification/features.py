"""Evaluating image classifiers on labelled images."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm.auto import tqdm
from transformers import EvalPrediction

from hf_prompt_models.data.images.dataset import AugmentedViewDataset, FeatureDataset, ImageDataset, ViewFeatureDataset
from hf_prompt_models.data.labelled import LabelledFiles
from hf_prompt_models.metrics.classification import accuracy, mean_class_accuracy
from hf_prompt_models.metrics.guessing import chance_of_classes, most_frequent_class
from hf_prompt_models.modeling_clip_utils import ClipPromptModel
from hf_prompt_models.training.feature_cache import FeatureCache
from hf_prompt_models.utils.distributed import num_processes, process_index, wait_for_all


CACHED_AT_A_TIME = 1000
"""Images whose features are written to the cache at once: what a stopped run loses at most."""


def compute_image_features(
    model: ClipPromptModel, dataset: ImageDataset | AugmentedViewDataset, batch_size: int = 100, **settings: Any
) -> FeatureDataset:
    """Run the frozen image tower over a data set once, for all the prompts that will be compared with it.

    Args:
        model: whose image tower.
        dataset: of one picture an item.
        batch_size, settings: as for `compute_features`.
    """

    def encode(**inputs: torch.Tensor) -> torch.Tensor:
        return model.get_image_features(**{name: each.to(model.device) for name, each in inputs.items()}).pooler_output

    return compute_features(encode, dataset, "image_embeds", batch_size, **settings)


def compute_view_features(
    model: ClipPromptModel, dataset: AugmentedViewDataset, **settings: Any
) -> ViewFeatureDataset:
    """Run the frozen image tower over random crops once, to train on one of an image's crops in each epoch without it.

    Args:
        model: whose image tower.
        dataset: some crops of each image.
        settings: as for `compute_image_features`.
    """
    features = compute_image_features(model, dataset, **settings).features
    views = features.unflatten(0, (-1, dataset.num_views))
    return ViewFeatureDataset(views, torch.tensor(dataset.images.labels), dataset.seed)


@torch.no_grad()
def compute_features(
    encode: Callable[..., torch.Tensor],
    dataset: Any,
    name: str,
    batch_size: int,
    num_workers: int = 0,
    progress: bool = True,
    cache: FeatureCache | None = None,
) -> FeatureDataset:
    """What a frozen tower makes of each item of a data set, computed once.

    Args:
        encode: from a batch of the items' tensors to features, (batch, ...).
        dataset: items with `labels`; has `labels` of all, and a `key` for each.
        name: what the model calls the features.
        batch_size, num_workers: of the loading.
        progress: whether to show a progress bar.
        cache: where features are looked up first, and kept. Several processes each compute a part, and find the
            others' there; without, each computes all.
    """
    computed: list[torch.Tensor] = []

    def compute(missing: list[int]) -> None:
        step = CACHED_AT_A_TIME if cache else max(len(missing), 1)
        with tqdm(
            total=len(missing), desc=f"Features ({name})", leave=False, disable=not progress or not missing
        ) as bar:
            for start in range(0, len(missing), step):
                part = missing[start : start + step]
                features = []
                for batch in DataLoader(Subset(dataset, part), batch_size=batch_size, num_workers=num_workers):
                    batch.pop("labels")
                    features.append(encode(**batch).float().cpu())
                    bar.update(len(features[-1]))
                computed.append(torch.cat(features))
                if cache:
                    known.update(zip((keys[index] for index in part), computed[-1], strict=True))
                    # A file that was replaced since its key was taken would be found by what it held before.
                    kept = [place for place, index in enumerate(part) if _has_key(dataset, index, keys[index])]
                    if kept:
                        cache.write([keys[part[place]] for place in kept], computed[-1][kept])

    if cache is None:
        compute(list(range(len(dataset))))
        return FeatureDataset(torch.cat(computed), dataset.labels, name)
    keys = [dataset.key(index) for index in range(len(dataset))]
    known = cache.read(keys)
    first_of = {key: index for index, key in reversed(list(enumerate(keys)))}  # equal items are computed once
    missing = [index for index, key in enumerate(keys) if key not in known and first_of[key] == index]
    if num_processes() > 1:
        # Each process computes a part, chosen by keys and not by places: one that looks later finds more of them.
        compute([index for index in missing if int.from_bytes(keys[index][:4]) % num_processes() == process_index()])
        wait_for_all()
        known |= cache.read([keys[index] for index in missing if keys[index] not in known])
        missing = [index for index in missing if keys[index] not in known]  # of machines that share no cache
    compute(missing)
    return FeatureDataset(torch.stack([known[key] for key in keys]), dataset.labels, name)


def _has_key(dataset: Any, index: int, key: bytes) -> bool:
    try:
        return dataset.key(index) == key
    except OSError:  # it was removed
        return False


@torch.no_grad()
def class_logits(model: ClipPromptModel, dataset: FeatureDataset, batch_size: int = 1000) -> np.ndarray:
    """(images, classes) logits, from features computed before."""
    logits = [model(image_embeds=features.to(model.device)).logits for features in dataset.features.split(batch_size)]
    return torch.cat(logits).cpu().numpy()


@torch.no_grad()
def image_logits(
    model: ClipPromptModel, dataset: Dataset, batch_size: int, num_workers: int = 0, progress: bool = True
) -> np.ndarray:
    """(images, classes) logits of a model whose image tower was trained with the prompt.

    Args:
        model: the classifier.
        dataset: of the images' inputs, and labels.
        batch_size, num_workers: of the loading.
        progress: whether to show a progress bar.
    """
    loader = DataLoader(dataset, batch_size=batch_size, num_workers=num_workers)
    logits = []
    for batch in tqdm(loader, desc="Testing", leave=False, disable=not progress):
        inputs = {name: tensor.to(model.device) for name, tensor in batch.items() if name != "labels"}
        logits.append(model(**inputs).logits.cpu())
    return torch.cat(logits).numpy()


def predict(model: ClipPromptModel, dataset: FeatureDataset) -> np.ndarray:
    """(images,) predicted class indices, from features computed before."""
    return class_logits(model, dataset).argmax(axis=-1)


def classification_metrics(predictions: np.ndarray, references: Any) -> dict[str, float]:
    """`accuracy` and `mean_class_accuracy`, from 0 to 1."""
    return {
        "accuracy": accuracy(predictions, references),
        "mean_class_accuracy": mean_class_accuracy(predictions, references),
    }


def guessing(files: LabelledFiles) -> dict[str, Any]:
    """Return what answers without looking reach: `chance`, by metric, and `most_frequent_class`, from 0 to 1."""
    if files.multi_label:
        applies = np.zeros((len(files), len(files.class_names)))
        for row, labels in zip(applies, files.labels, strict=True):
            row[labels] = 1
        return {"chance": chance_of_classes(applies, len(files.class_names))}
    return {
        "chance": chance_of_classes(files.labels, len(files.class_names)),
        "most_frequent_class": most_frequent_class(files.labels),
    }


def least_recognised(scores: np.ndarray, files: LabelledFiles) -> list[tuple[str, float]]:
    """Return the classes that are recognised no better than by guessing, each with its recall, the worst first.

    Args:
        scores: (files, classes).
        files: what was tested, with one label each.
    """
    labels, right = np.asarray(files.labels), scores.argmax(axis=-1) == np.asarray(files.labels)
    recalls = {label: float(right[labels == label].mean()) for label in np.unique(labels)}
    weak = sorted((recall, label) for label, recall in recalls.items() if recall <= 1 / len(files.class_names))
    return [(files.class_names[label], recall) for recall, label in weak]


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """For the Trainer's own evaluations (`--eval_strategy epoch`)."""
    return classification_metrics(prediction.predictions.argmax(axis=-1), prediction.label_ids)
