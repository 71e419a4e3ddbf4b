"""The image tower of OpenAI's ResNets, slow and simple, on tensors with the names of OpenAI's files.

Nothing of `hf_prompt_models` and no module of torch is used: batch norms, pools and attention are written out.
"""

import re
from collections.abc import Mapping

import torch
from torch.nn import functional as F


Tensors = Mapping[str, torch.Tensor]
MOMENTUM, EPS = 0.1, 1e-5


def as_in_openai(name: str) -> str:
    """The name in OpenAI's files, without `visual.`, of a tensor of `ClipResNetVisionModel`."""
    for pattern, replacement in (
        (r"^embeddings\.", ""),
        (r"^encoder\.stages\.(\d)\.layers\.", lambda match: f"layer{int(match[1]) + 1}."),
        (r"shortcut\.convolution\.", "downsample.0."),
        (r"shortcut\.normalization\.", "downsample.1."),
        (r"conv(\d)\.convolution\.", r"conv\1."),
        (r"conv(\d)\.normalization\.", r"bn\1."),
        (r"^attention_pool\.position_embedding\.weight$", "attnpool.positional_embedding"),
        (r"^attention_pool\.out_proj\.", "attnpool.c_proj."),
        (r"^attention_pool\.", "attnpool."),
    ):
        name = re.sub(pattern, replacement, name)
    return name


def encode_image(
    state: Tensors, layers: list[int], pixels: torch.Tensor, head_width: int, training: bool = False
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Image features (batch, dim), and the running statistics after a step in train mode."""
    updated: dict[str, torch.Tensor] = {}

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        if training:
            number = x.shape[0] * x.shape[2] * x.shape[3]
            batch_mean = x.mean(dim=(0, 2, 3))
            batch_var = ((x - batch_mean[:, None, None]) ** 2).mean(dim=(0, 2, 3))
            updated[f"{name}.running_mean"] = (1 - MOMENTUM) * mean + MOMENTUM * batch_mean
            updated[f"{name}.running_var"] = (1 - MOMENTUM) * var + MOMENTUM * batch_var * number / (number - 1)
            mean, var = batch_mean, batch_var
        x = (x - mean[:, None, None]) / (var[:, None, None] + EPS).sqrt()
        return x * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]

    def convolve(x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def pool(x: torch.Tensor, size: int) -> torch.Tensor:
        batch, channels, height, width = x.shape
        x = x[:, :, : height // size * size, : width // size * size]
        return x.reshape(batch, channels, height // size, size, width // size, size).mean(dim=(3, 5))

    x = pixels
    for number in (1, 2, 3):
        x = norm(convolve(x, f"conv{number}", stride=2 if number == 1 else 1), f"bn{number}").clamp(min=0)
    x = pool(x, 2)
    for stage, blocks in enumerate(layers, 1):
        for block in range(blocks):
            own = f"layer{stage}.{block}."
            size = 2 if stage > 1 and block == 0 else 1
            out = norm(convolve(x, own + "conv1"), own + "bn1").clamp(min=0)
            out = norm(convolve(out, own + "conv2"), own + "bn2").clamp(min=0)
            out = norm(convolve(pool(out, size), own + "conv3"), own + "bn3")
            if block == 0:
                x = norm(convolve(pool(x, size), own + "downsample.0"), own + "downsample.1")
            x = (out + x).clamp(min=0)
    return pool_by_attention(state, x, head_width), updated


def pool_by_attention(state: Tensors, x: torch.Tensor, head_width: int) -> torch.Tensor:
    """Attention of the mean over itself and all positions, head by head."""

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ state[f"attnpool.{name}.weight"].T + state[f"attnpool.{name}.bias"]

    features = []
    for image in x:
        tokens = image.flatten(1).T
        tokens = torch.cat([tokens.mean(dim=0, keepdim=True), tokens]) + state["attnpool.positional_embedding"]
        query, key, value = linear(tokens[0], "q_proj"), linear(tokens, "k_proj"), linear(tokens, "v_proj")
        heads = []
        for start in range(0, tokens.shape[1], head_width):
            own = slice(start, start + head_width)
            weights = (key[:, own] @ query[own] / head_width**0.5).softmax(dim=0)
            heads.append(weights @ value[:, own])
        features.append(linear(torch.cat(heads), "c_proj"))
    return torch.stack(features)


def interpolate_positions(positions: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Positions (1 + side * side, dim) for a grid of another size: a cubic convolution in each direction."""
    side = round((len(positions) - 1) ** 0.5)
    grid = positions[1:].reshape(side, side, -1)
    grid = torch.einsum("hy,wx,yxd->hwd", cubic_weights(side, height), cubic_weights(side, width), grid)
    return torch.cat([positions[:1], grid.flatten(0, 1)])


def cubic_weights(old: int, new: int, a: float = -0.75) -> torch.Tensor:
    """(new, old) weights of Keys' cubic convolution; pixels are squares, and the border is repeated."""
    weights = torch.zeros(new, old, dtype=torch.float64)
    for index in range(new):
        place = (index + 0.5) * old / new - 0.5
        for neighbour in range(int(place // 1) - 1, int(place // 1) + 3):
            x = abs(place - neighbour)
            near = (a + 2) * x**3 - (a + 3) * x**2 + 1
            far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
            weights[index, min(max(neighbour, 0), old - 1)] += near if x <= 1 else far
    return weights
