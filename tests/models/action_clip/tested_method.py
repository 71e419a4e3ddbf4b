"""ActionCLIP with a frozen backbone for the common tests: each head, and the joint mode."""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForVideoClassification, Pipeline, PreTrainedModel

from hf_prompt_models import ActionClipForVideoClassification
from hf_prompt_models.data.videos.loading import load_video
from tests.models.action_clip.clips import write_mp4
from tests.stand_ins import openai_clip_vit_base_patch32
from tests.tested_method import MethodUnderTest, random_image


NAMES = ["cat", "dog", "the photo"]


def build(backbone: Path, **choices: Any) -> ActionClipForVideoClassification:
    model = ActionClipForVideoClassification.from_backbone(
        backbone, NAMES, num_frames=2, trainable="head", head_num_layers=1, **choices
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and parameter.dim() > 1:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))))
    return model


def video_batch(model: PreTrainedModel, size: int) -> dict[str, torch.Tensor]:
    """Random pixels and labels for a video classifier over a CLIP."""
    generator = torch.Generator().manual_seed(size)
    resolution, frames = model.config.clip_config.vision_config.image_size, model.config.num_frames
    return {
        "pixel_values": torch.randn(size, frames, 3, resolution, resolution, generator=generator),
        "labels": torch.arange(size) % model.config.num_labels,
    }


@torch.no_grad()
def video_answers(model: PreTrainedModel, numbers: Sequence[int]) -> list[torch.Tensor]:
    """Return the outputs of a model for videos of different sizes."""
    videos = [
        [random_image(10 * number + frame, (60 + 20 * number, 40)) for frame in range(model.config.num_frames)]
        for number in numbers
    ]
    return list(model(**model.processor(images=videos, return_tensors="pt")).logits)


def check_video_classification(pipe: Pipeline, model: PreTrainedModel) -> None:
    """The pipeline's labels and scores are the softmax of the model's logits on the video's sampled frames."""
    pytest.importorskip("av")
    with tempfile.TemporaryDirectory() as folder:
        path = write_mp4(Path(folder) / "a clip.mp4", [random_image(seed) for seed in range(5)])
        answers: list[dict[str, Any]] = pipe(str(path), top_k=model.config.num_labels)
        frames = load_video(path, model.config.num_frames)
    with torch.no_grad():
        logits = model(**model.processor(images=frames, return_tensors="pt")).logits[0]
    scores, order = logits.float().softmax(-1).sort(descending=True)
    assert [answer["label"] for answer in answers] == [model.config.id2label[index] for index in order.tolist()]
    torch.testing.assert_close(torch.tensor([answer["score"] for answer in answers]), scores, rtol=1e-4, atol=1e-5)


def method(learned: set[str], **choices: Any) -> Callable[..., MethodUnderTest]:
    return partial(
        MethodUnderTest,
        auto_class=AutoModelForVideoClassification,
        pipeline_task="video-classification",
        learned=frozenset(learned),
        write_backbone=openai_clip_vit_base_patch32,
        build=partial(build, **choices),
        batch=video_batch,
        answers=video_answers,
        check_pipeline=check_video_classification,
    )


def weight_and_bias(*modules: str) -> set[str]:
    return {f"{module}.{kind}" for module in modules for kind in ("weight", "bias")}


CLIP_LAYER = "post_network.encoder.layers.0"
TRANSF = weight_and_bias(
    *(f"{CLIP_LAYER}.self_attn.{part}_proj" for part in ("q", "k", "v", "out")),
    *(f"{CLIP_LAYER}.{part}" for part in ("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2")),
)
TRANSF_CLS = weight_and_bias(
    *(f"{CLIP_LAYER}.{part}" for part in ("self_attn.out_proj", "linear1", "linear2", "norm1", "norm2")),
    "post_network.encoder.norm",
)

METHOD = method({"post_network.frame_position_embeddings.weight", *TRANSF})(
    variants={
        "mean": method(set(), post_network="mean")(),
        "conv1d, shift": method({"post_network.conv.weight"}, post_network="conv1d", in_network="shift")(),
        "lstm": method(
            {f"post_network.lstm.{kind}_{side}_l0" for kind in ("weight", "bias") for side in ("ih", "hh")},
            post_network="lstm",
        )(),
        "transf_cls": method(
            {
                "post_network.cls_token",
                "post_network.pos_embed",
                f"{CLIP_LAYER}.self_attn.in_proj_weight",
                f"{CLIP_LAYER}.self_attn.in_proj_bias",
                *TRANSF_CLS,
            },
            post_network="transf_cls",
        )(),
        "joint": method({"pre_network.time_embedding"}, pre_network="joint", post_network="mean")(),
    }
)
