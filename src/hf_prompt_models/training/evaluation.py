"""Evaluating image classifiers on labelled images."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import EvalPrediction

from hf_prompt_models.data.image_dataset import FeatureDataset, ImageDataset
from hf_prompt_models.metrics.classification import accuracy, mean_class_accuracy
from hf_prompt_models.modeling_clip_utils import ClipPromptModel


@torch.no_grad()
def compute_image_features(
    model: ClipPromptModel, dataset: ImageDataset, batch_size: int = 100, num_workers: int = 0, progress: bool = True
) -> FeatureDataset:
    """Run the frozen image tower over a data set once, for all the prompts that will be compared with it."""
    loader = DataLoader(dataset, batch_size=batch_size, num_workers=num_workers)
    embeds, labels = [], []
    description = f"Image features of {Path(dataset.images.source).name}"
    for batch in tqdm(loader, desc=description, leave=False, disable=not progress):
        labels.append(batch.pop("labels"))
        inputs = {name: tensor.to(model.device) for name, tensor in batch.items()}
        embeds.append(model.get_image_features(**inputs).pooler_output.cpu())
    return FeatureDataset(torch.cat(embeds), torch.cat(labels))


@torch.no_grad()
def predict(model: ClipPromptModel, dataset: FeatureDataset, batch_size: int = 1000) -> np.ndarray:
    """(images,) predicted class indices, from features computed before."""
    logits = [
        model(image_embeds=features.to(model.device)).logits for features in dataset.image_embeds.split(batch_size)
    ]
    return torch.cat(logits).argmax(dim=-1).cpu().numpy()


def classification_metrics(predictions: np.ndarray, references: Any) -> dict[str, float]:
    """`accuracy` and `mean_class_accuracy`, from 0 to 1."""
    return {
        "accuracy": accuracy(predictions, references),
        "mean_class_accuracy": mean_class_accuracy(predictions, references),
    }


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """For the Trainer's own evaluations (`--eval_strategy epoch`)."""
    return classification_metrics(prediction.predictions.argmax(axis=-1), prediction.label_ids)
