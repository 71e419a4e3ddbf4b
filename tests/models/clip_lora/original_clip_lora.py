"""What the original CLIP-LoRA code saves (`loralib/utils.py:save_lora`), and how it computes with it."""

import math
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPModel


def settings(**changes: Any) -> dict[str, Any]:
    return {"r": 2, "alpha": 1, "encoder": "both", "params": ["q", "k", "v"], "position": "all"} | changes


def matrices(depths: dict[str, int], widths: dict[str, int], rank: int = 2, seed: int = 0) -> dict[str, Any]:
    """Random matrices of each layer, those of the text encoder first."""
    generator = torch.Generator().manual_seed(seed)
    layers = [widths[encoder] for encoder in ("text", "vision") for _ in range(depths.get(encoder, 0))]
    return {
        f"layer_{index}": {
            f"{letter}_proj": {
                "w_lora_A": torch.randn(rank, width, generator=generator) / 5,
                "w_lora_B": torch.randn(width, rank, generator=generator) / 5,
            }
            for letter in "qkv"
        }
        for index, width in enumerate(layers)
    }


def save(folder: Path, weights: dict[str, Any], metadata: dict[str, Any]) -> Path:
    torch.save({"weights": weights, "metadata": metadata}, folder / "lora_weights.pt")
    return folder / "lora_weights.pt"


@torch.no_grad()
def load(clip: CLIPModel, weights: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Add the updates to the weights: `LinearLoRA` adds `alpha / sqrt(r) * B A` to those of its layer."""
    layers = [*clip.text_model.encoder.layers] if metadata["encoder"] in ("text", "both") else []
    layers += [*clip.vision_model.encoder.layers] if metadata["encoder"] in ("vision", "both") else []
    for index, layer in enumerate(layers):
        for letter in "qkv":
            update = weights[f"layer_{index}"][f"{letter}_proj"]
            product = update["w_lora_B"] @ update["w_lora_A"]
            getattr(layer.self_attn, f"{letter}_proj").weight += metadata["alpha"] / math.sqrt(metadata["r"]) * product
