"""Reference implementation of ALPRO for tests: slow, and without model code of transformers."""

import math

import torch
from torch.nn import functional as F


Weights = dict[str, torch.Tensor]


def weights_of(model: torch.nn.Module) -> Weights:
    return dict(model.state_dict(keep_vars=True))


def _linear(weights: Weights, name: str, rows: torch.Tensor) -> torch.Tensor:
    return rows @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _norm(weights: Weights, name: str, rows: torch.Tensor, eps: float) -> torch.Tensor:
    centred = rows - rows.mean(dim=-1, keepdim=True)
    deviation = (centred.pow(2).mean(dim=-1, keepdim=True) + eps).sqrt()
    return centred / deviation * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Attention over one sequence of shape (length, width); `mask` selects the tokens that are attended to."""
    size = query.shape[-1] // heads
    parts = []
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        scores = query[:, own] @ key[:, own].T / math.sqrt(size)
        if mask is not None:
            scores = scores.masked_fill(mask[None] == 0, float("-inf"))
        parts.append(scores.softmax(dim=-1) @ value[:, own])
    return torch.cat(parts, dim=-1)


def _video_attention(weights: Weights, name: str, rows: torch.Tensor, heads: int) -> torch.Tensor:
    query, key, value = _linear(weights, f"{name}.attention.qkv", rows).chunk(3, dim=-1)
    return _linear(weights, f"{name}.output.dense", _attend(query, key, value, heads))


def video_tower(weights: Weights, video: torch.Tensor, patch: int, heads: int, eps: float = 1e-6) -> torch.Tensor:
    """One video, (frames, 3, height, width), to (1 + patches, width): divided space-time attention, frames averaged.

    `weights` are those under `video_model.`.
    """
    frames, _, height, width = video.shape
    kernel = weights["embeddings.patch_embeddings.projection.weight"]
    bias = weights["embeddings.patch_embeddings.projection.bias"]
    positions = weights["embeddings.position_embeddings"][0]
    times = weights["embeddings.time_embeddings"][0]
    assert len(times) == frames
    rows, columns = height // patch, width // patch
    patches: dict[tuple[int, int], torch.Tensor] = {}  # by place and time
    for time in range(frames):
        for row in range(rows):
            for column in range(columns):
                part = video[time, :, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
                place = row * columns + column
                seen = (kernel * part).sum(dim=(1, 2, 3)) + bias
                patches[place, time] = seen + positions[1 + place] + times[time]
    whole = weights["embeddings.cls_token"][0, 0] + positions[0]
    places = range(rows * columns)
    layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
    for layer in range(layers):
        name = f"encoder.layer.{layer}"
        for place in places:  # each place looks at itself through time
            line = torch.stack([patches[place, time] for time in range(frames)])
            attended = _video_attention(
                weights, f"{name}.temporal_attention", _norm(weights, f"{name}.temporal_layernorm", line, eps), heads
            )
            line = line + _linear(weights, f"{name}.temporal_dense", attended)
            for time in range(frames):
                patches[place, time] = line[time]
        wholes = []
        for time in range(frames):  # each frame attends to itself and to the token of the complete video
            frame = torch.stack([whole, *(patches[place, time] for place in places)])
            attended = _video_attention(
                weights, f"{name}.attention", _norm(weights, f"{name}.layernorm_before", frame, eps), heads
            )
            wholes.append(attended[0])
            for place in places:
                patches[place, time] = patches[place, time] + attended[1 + place]
        whole = whole + torch.stack(wholes).mean(dim=0)
        for key in patches:
            patches[key] = patches[key] + _video_mlp(weights, name, patches[key], eps)
        whole = whole + _video_mlp(weights, name, whole, eps)
    means = [
        torch.stack([_norm(weights, "layernorm", patches[place, time], eps) for time in range(frames)]).mean(0)
        for place in places
    ]
    return torch.stack([_norm(weights, "layernorm", whole, eps), *means])


def _video_mlp(weights: Weights, name: str, row: torch.Tensor, eps: float) -> torch.Tensor:
    hidden = _linear(weights, f"{name}.intermediate.dense", _norm(weights, f"{name}.layernorm_after", row, eps))
    return _linear(weights, f"{name}.output.dense", F.gelu(hidden))


def bert_embeddings(weights: Weights, ids: torch.Tensor, eps: float = 1e-12) -> torch.Tensor:
    """One text's, (length, width)."""
    words = weights["embeddings.word_embeddings.weight"][ids]
    positions = weights["embeddings.position_embeddings.weight"][: len(ids)]
    total = words + positions + weights["embeddings.token_type_embeddings.weight"][0]
    return _norm(weights, "embeddings.LayerNorm", total, eps)


def bert_layers(
    weights: Weights, rows: torch.Tensor, mask: torch.Tensor, heads: int, layers: range, eps: float = 1e-12
) -> torch.Tensor:
    """One sequence, (length, width), through some of a BERT's layers."""
    for layer in layers:
        name = f"encoder.layer.{layer}"
        query, key, value = (
            _linear(weights, f"{name}.attention.self.{part}", rows) for part in ("query", "key", "value")
        )
        attended = _linear(weights, f"{name}.attention.output.dense", _attend(query, key, value, heads, mask))
        rows = _norm(weights, f"{name}.attention.output.LayerNorm", rows + attended, eps)
        hidden = F.gelu(_linear(weights, f"{name}.intermediate.dense", rows))
        hidden = _linear(weights, f"{name}.output.dense", hidden)
        rows = _norm(weights, f"{name}.output.LayerNorm", rows + hidden, eps)
    return rows


def under(weights: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def two_layers(weights: Weights, name: str, row: torch.Tensor) -> torch.Tensor:
    return _linear(weights, f"{name}.2", _linear(weights, f"{name}.0", row).clamp(min=0))


class WrittenOut:
    """ALPRO over the weights of a model; gradients go to them."""

    def __init__(self, model: torch.nn.Module, prefix: str = "alpro."):
        self.all = weights_of(model)
        self.towers = under(self.all, prefix)
        self.config = model.config

    def video(self, pixels: torch.Tensor) -> torch.Tensor:
        vision = self.config.vision_config
        return video_tower(under(self.towers, "video_model."), pixels, vision.patch_size, vision.num_attention_heads)

    def text(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        weights = under(self.towers, "text_model.")
        heads = self.config.text_config.num_attention_heads
        return bert_layers(weights, bert_embeddings(weights, ids), mask, heads, range(self.config.fusion_layer))

    def fuse(self, text: torch.Tensor, mask: torch.Tensor, video: torch.Tensor) -> torch.Tensor:
        text_config = self.config.text_config
        layers = range(self.config.fusion_layer, text_config.num_hidden_layers)
        mask = torch.cat([mask, torch.ones(len(video), dtype=mask.dtype)])
        heads = text_config.num_attention_heads
        return bert_layers(under(self.towers, "text_model."), torch.cat([text, video]), mask, heads, layers)

    def feature(self, side: str, row: torch.Tensor) -> torch.Tensor:
        projected = _linear(self.towers, f"{side}_projection", row)
        return projected / projected.pow(2).sum().sqrt()

    def head(self, name: str, row: torch.Tensor) -> torch.Tensor:
        return _linear(self.all, name, row)

    def words(self, row: torch.Tensor) -> torch.Tensor:
        hidden = F.gelu(_linear(self.all, "mlm_head.predictions.transform.dense", row))
        hidden = _norm(self.all, "mlm_head.predictions.transform.LayerNorm", hidden, 1e-12)
        return (
            hidden @ self.towers["text_model.embeddings.word_embeddings.weight"].T
            + self.all["mlm_head.predictions.bias"]
        )


def cross_entropy(logits: torch.Tensor, label: int) -> torch.Tensor:
    return -(logits[label] - logits.exp().sum().log())
