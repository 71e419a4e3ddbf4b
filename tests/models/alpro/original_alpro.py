"""Checkpoints in the formats of the original ALPRO code and of LAVIS, with random tensors of a small model.

The names are copied from these codes, not derived from the tables of the converter.
"""

from pathlib import Path
from typing import Any

import torch


WIDTH, SIDE, PATCH, FRAMES, FEATURES, ENTITIES, ANSWERS = 64, 2, 16, 2, 12, 5, 6
VIDEO_LAYERS, TEXT_LAYERS, POSITIONS = 2, 4, 40


class Original:
    """Draws tensors by name.

    Args:
        vocabulary: size of the tokenizer's.
    """

    def __init__(self, vocabulary: int, seed: int = 0):
        self.vocabulary = vocabulary
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, *shape: int, near: float = 0.0) -> torch.Tensor:
        scale = shape[-1] ** -0.5 if len(shape) > 1 else 0.1
        return near + scale * torch.randn(*shape, generator=self.generator)

    def linear(self, name: str, outputs: int, inputs: int) -> dict[str, torch.Tensor]:
        return {f"{name}.weight": self.draw(outputs, inputs), f"{name}.bias": self.draw(outputs)}

    def norm(self, name: str) -> dict[str, torch.Tensor]:
        return {f"{name}.weight": self.draw(WIDTH, near=1.0), f"{name}.bias": self.draw(WIDTH)}

    def video(self) -> dict[str, torch.Tensor]:
        tensors = {
            "cls_token": self.draw(1, 1, WIDTH),
            "pos_embed": self.draw(1, SIDE * SIDE + 1, WIDTH),
            "time_embed": self.draw(1, FRAMES, WIDTH),
            "patch_embed.proj.weight": 0.1 * self.draw(WIDTH, 3, PATCH, PATCH),
            "patch_embed.proj.bias": self.draw(WIDTH),
        }
        for layer in range(VIDEO_LAYERS):
            for norm in ("norm1", "temporal_norm1", "norm2"):
                tensors |= self.norm(f"blocks.{layer}.{norm}")
            for attention in ("attn", "temporal_attn"):
                tensors |= self.linear(f"blocks.{layer}.{attention}.qkv", 3 * WIDTH, WIDTH)
                tensors |= self.linear(f"blocks.{layer}.{attention}.proj", WIDTH, WIDTH)
            tensors |= self.linear(f"blocks.{layer}.temporal_fc", WIDTH, WIDTH)
            tensors |= self.linear(f"blocks.{layer}.mlp.fc1", 2 * WIDTH, WIDTH)
            tensors |= self.linear(f"blocks.{layer}.mlp.fc2", WIDTH, 2 * WIDTH)
        tensors |= self.norm("norm") | self.linear("head", 400, WIDTH)
        return {f"visual_encoder.model.{name}": tensor for name, tensor in tensors.items()}

    def text(self, bert: str) -> dict[str, torch.Tensor]:
        tensors: dict[str, torch.Tensor] = {
            "embeddings.position_ids": torch.arange(POSITIONS)[None],
            "embeddings.word_embeddings.weight": self.draw(self.vocabulary, WIDTH),
            "embeddings.position_embeddings.weight": self.draw(POSITIONS, WIDTH),
            "embeddings.token_type_embeddings.weight": self.draw(2, WIDTH),
            **self.norm("embeddings.LayerNorm"),
        }
        for layer in range(TEXT_LAYERS):
            name = f"encoder.layer.{layer}"
            for part in ("query", "key", "value"):
                tensors |= self.linear(f"{name}.attention.self.{part}", WIDTH, WIDTH)
            tensors |= self.linear(f"{name}.attention.output.dense", WIDTH, WIDTH)
            tensors |= self.norm(f"{name}.attention.output.LayerNorm")
            tensors |= self.linear(f"{name}.intermediate.dense", 2 * WIDTH, WIDTH)
            tensors |= self.linear(f"{name}.output.dense", WIDTH, 2 * WIDTH)
            tensors |= self.norm(f"{name}.output.LayerNorm")
        return {f"text_encoder.{bert}{name}": tensor for name, tensor in tensors.items()}

    def masked_language_model(self, words: torch.Tensor) -> dict[str, torch.Tensor]:
        bias = self.draw(self.vocabulary)
        tensors = {
            "bias": bias,
            **self.linear("transform.dense", WIDTH, WIDTH),
            **self.norm("transform.LayerNorm"),
            "decoder.weight": words,
            "decoder.bias": bias,
        }
        return {f"text_encoder.cls.predictions.{name}": tensor for name, tensor in tensors.items()}

    def base(self, bert: str = "bert.", language_model: bool = True) -> dict[str, torch.Tensor]:
        tensors = {
            "temp": torch.tensor(0.2),
            **self.video(),
            **self.text(bert),
            **self.linear("vision_proj", FEATURES, WIDTH),
            **self.linear("text_proj", FEATURES, WIDTH),
            **self.linear("itm_head", 2, WIDTH),
        }
        if language_model:
            tensors |= self.masked_language_model(tensors[f"text_encoder.{bert}embeddings.word_embeddings.weight"])
        return tensors

    def prompts(self) -> dict[str, torch.Tensor]:
        return {f"{kind}_prompt_feat": self.draw(ENTITIES, FEATURES) for kind in ("video", "image")}

    def prompter(self) -> dict[str, torch.Tensor]:
        return self.base() | self.prompts()

    def pretraining(self) -> dict[str, torch.Tensor]:
        return {
            **self.base(),
            **self.linear("mpm_head.0", 2 * WIDTH, WIDTH),
            **self.linear("mpm_head.2", ENTITIES, 2 * WIDTH),
            **{f"prompter.{name}": tensor for name, tensor in self.prompter().items()},
        }

    def question_answering(self) -> dict[str, torch.Tensor]:
        return {**self.base(bert="", language_model=False), **self.classifier()}

    def classifier(self) -> dict[str, torch.Tensor]:
        return {
            **self.linear("classifier.0", 2 * WIDTH, WIDTH),
            **self.linear("classifier.2", ANSWERS, 2 * WIDTH),
        }

    def lavis_retrieval(self) -> dict[str, Any]:
        return {"model": self.base(bert="", language_model=False), "epoch": 3}

    def lavis_question_answering(self) -> dict[str, Any]:
        return {"model": {**self.video(), **self.text(""), **self.classifier()}}


def write(folder: Path, state_dict: dict[str, Any]) -> Path:
    file = folder / "model.pt"
    torch.save(state_dict, file)
    return file
