"""Small models for the demos, trained in about a second."""

from pathlib import Path

import torch
from transformers import PreTrainedModel

from hf_prompt_models import ActionClipForVideoClassification, CoOpForImageClassification
from hf_prompt_models.playground import CLASS_NAMES, CLIP_DIR, draw_example
from hf_prompt_models.playground.motions import OBJECTS


def learned_prompt(folder: Path) -> Path:
    """Train a CoOp on eight drawings of each class, so that it differs from its initialisation."""
    model = CoOpForImageClassification.from_backbone(CLIP_DIR, CLASS_NAMES, context_init="a photo of a")
    pictures = [draw_example(name, "train", seed=1, index=index) for name in CLASS_NAMES for index in range(8)]
    labels = torch.arange(len(CLASS_NAMES)).repeat_interleave(8)
    with torch.no_grad():
        pixels = model.processor.image_processor(pictures, return_tensors="pt")["pixel_values"]
        embeds = model.get_image_features(pixels).pooler_output
    optimizer = torch.optim.Adam([model.prompt_learner.context], lr=2e-3)
    for _ in range(20):
        optimizer.zero_grad()
        model(image_embeds=embeds, labels=labels).loss.backward()
        optimizer.step()
    return _saved(model, folder)


def class_specific_prompt(folder: Path) -> Path:
    """Save a CoOp with class-specific context."""
    return _saved(
        CoOpForImageClassification.from_backbone(CLIP_DIR, CLASS_NAMES, n_ctx=2, class_specific_context=True), folder
    )


def actions(folder: Path) -> Path:
    """Save an untrained ActionCLIP with mean pooling, which recognises objects but not motions."""
    names = [f"a {shape}" for shape in OBJECTS]
    model = ActionClipForVideoClassification.from_backbone(CLIP_DIR, names, post_network="mean", trainable="head")
    return _saved(model, folder)


def _saved(model: PreTrainedModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder
