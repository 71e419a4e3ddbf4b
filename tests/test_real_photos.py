"""Real photos and a CLIP trained on photos, where they are available next to the project."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import CLIPModel, CLIPProcessor

from hf_prompt_models import ClipZeroShotForImageClassification, CoOpForImageClassification
from hf_prompt_models.data.few_shot import sample_few_shot
from hf_prompt_models.data.images.dataset import ImageDataset
from hf_prompt_models.data.images.labelled import read_labelled_images
from hf_prompt_models.tasks.image_classification.features import compute_image_features, predict


SHARED = Path(__file__).parents[2] / "shared"
PHOTOS, CLIP = SHARED / "data" / "grocery", SHARED / "models" / "clip-photos-tiny"

pytestmark = pytest.mark.skipif(not CLIP.is_dir(), reason="needs photos and a model that are not part of the project")


@pytest.mark.slow
def test_zero_shot_predictions_are_those_of_the_clip_itself() -> None:
    images = read_labelled_images(PHOTOS / "val", "val")
    model = ClipZeroShotForImageClassification.from_backbone(CLIP, images.class_names)
    ours = predict(model, compute_image_features(model, ImageDataset(images, model.processor.image_processor)))

    clip, processor = CLIPModel.from_pretrained(CLIP), CLIPProcessor.from_pretrained(CLIP, backend="pil")
    texts = processor(text=[f"a photo of a {name}." for name in images.class_names], padding=True, return_tensors="pt")
    with torch.no_grad():
        pixels = processor(
            images=[Image.open(PHOTOS / "val" / name).convert("RGB") for name in images.names], return_tensors="pt"
        )
        theirs = clip(**pixels, **texts).logits_per_image.argmax(dim=-1)
    assert ours.tolist() == theirs.tolist()
    assert (theirs == torch.tensor(images.labels)).float().mean() > 0.08  # chance is 0.017


def test_a_few_training_steps_lower_the_loss_on_photos() -> None:
    images = read_labelled_images(PHOTOS / "train", "train")
    images = images.select(sample_few_shot(images, 2, seed=1))
    torch.manual_seed(0)
    model = CoOpForImageClassification.from_backbone(CLIP, images.class_names)
    features = compute_image_features(model, ImageDataset(images, model.processor.image_processor))
    optimizer = torch.optim.SGD(model.prompt_learner.parameters(), lr=0.002, momentum=0.9)
    losses = []
    for _ in range(15):
        loss = model(image_embeds=features.image_embeds, labels=features.labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.3
