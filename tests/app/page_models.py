"""Small models for the grounding, text generation and video demos, trained in a few seconds."""

from pathlib import Path

import torch

from hf_prompt_models import (
    AlproForVideoQuestionAnswering,
    CptForVisualGrounding,
    FrozenForConditionalGeneration,
    MantisForConditionalGeneration,
)
from hf_prompt_models.playground import ALPRO_DIR, CLIP_DIR, LM_DIR, VILT_DIR
from hf_prompt_models.playground.product_cards import draw_card


def grounding(folder: Path) -> Path:
    """Save a CPT over the tiny ViLT without training, which grounds most phrases correctly."""
    CptForVisualGrounding.from_backbone(VILT_DIR).save_pretrained(folder, save_backbone=True)
    return folder


def product_writer(folder: Path, steps: int = 0) -> Path:
    """Train a MAnTiS over the tiny language model and the image tower of the tiny CLIP, on 32 cards per step."""
    model = MantisForConditionalGeneration.from_backbone(LM_DIR, CLIP_DIR, num_image_tokens=4)
    model.generation_config.max_new_tokens = 16
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    for step in range(steps):
        cards = [draw_card("train", 7, 32 * step + place) for place in range(32)]
        inputs = model.processor(
            images=[[image] for image, _ in cards],
            text=[product.title for _, product in cards],
            suffix=[product.description for _, product in cards],
            padding=True,
            return_tensors="pt",
        )
        optimizer.zero_grad()
        model(**inputs).loss.backward()
        optimizer.step()
    model.eval().save_pretrained(folder, save_backbone=True)
    return folder


def question_reader(folder: Path) -> Path:
    """Save a Frozen without training."""
    model = FrozenForConditionalGeneration.from_backbone(LM_DIR, CLIP_DIR)
    model.generation_config.max_new_tokens = 8
    model.save_pretrained(folder, save_backbone=True)
    return folder


def answerer(folder: Path) -> Path:
    """Save an ALPRO for question answering with an untrained head, so that its answers are random."""
    answers = ["blue", "green", "key", "left", "one", "red", "two"]
    AlproForVideoQuestionAnswering.from_backbone(ALPRO_DIR, answers=answers).save_pretrained(folder)
    return folder
