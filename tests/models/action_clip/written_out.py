"""Reference implementation of ActionCLIP, slow and simple: one video, one frame, one channel group at a time.

It follows the released code: `clip/model.py`, `modules/temporal_shift.py`, `modules/Visual_Prompt.py`,
`utils/KLLoss.py`, `test.py`. Nothing of `hf_prompt_models` is used. Weights are given as a dict of named tensors.
"""

import math

import torch


Weights = dict[str, torch.Tensor]


def part(weights: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


# -- layers ----------------------------------------------------------------------------------------------------------


def linear(x: torch.Tensor, weights: Weights) -> torch.Tensor:
    return x @ weights["weight"].T + weights.get("bias", 0)


def norm(x: torch.Tensor, weights: Weights, eps: float) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weights["weight"] + weights["bias"]


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int) -> torch.Tensor:
    """(tokens, width) of one sequence; a head at a time."""
    size = query.shape[-1] // heads
    outputs = []
    for head in range(heads):
        columns = slice(head * size, (head + 1) * size)
        scores = query[:, columns] @ key[:, columns].T / math.sqrt(size)
        outputs.append(scores.softmax(-1) @ value[:, columns])
    return torch.cat(outputs, dim=-1)


def clip_block(x: torch.Tensor, weights: Weights, heads: int, eps: float) -> torch.Tensor:
    """(tokens, width) of one sequence."""
    normed = norm(x, part(weights, "layer_norm1."), eps)
    query, key, value = (linear(normed, part(weights, f"self_attn.{name}_proj.")) for name in "qkv")
    x = x + linear(attend(query, key, value, heads), part(weights, "self_attn.out_proj."))
    hidden = linear(norm(x, part(weights, "layer_norm2."), eps), part(weights, "mlp.fc1."))
    return x + linear(hidden * torch.sigmoid(1.702 * hidden), part(weights, "mlp.fc2."))


# -- the image tower -------------------------------------------------------------------------------------------------


def embed(frame: torch.Tensor, weights: Weights) -> tuple[torch.Tensor, torch.Tensor]:
    """The class token and the patches of a frame, with positions."""
    kernel = weights["embeddings.patch_embedding.weight"]
    size = kernel.shape[-1]
    patches = [
        (kernel * frame[:, top : top + size, left : left + size]).sum(dim=(1, 2, 3))
        for top in range(0, frame.shape[1], size)
        for left in range(0, frame.shape[2], size)
    ]
    positions = weights["embeddings.position_embedding.weight"]
    return weights["embeddings.class_embedding"] + positions[0], torch.stack(patches) + positions[1:]


def run_blocks(sequences: list[torch.Tensor], weights: Weights, layers: int, heads: int, shift: bool) -> torch.Tensor:
    """The tower's pooled output of each sequence."""
    sequences = [norm(tokens, part(weights, "pre_layrnorm."), 1e-5) for tokens in sequences]
    for layer in range(layers):
        if shift:
            sequences = shifted(sequences)
        block = part(weights, f"encoder.layers.{layer}.")
        sequences = [clip_block(tokens, block, heads, 1e-5) for tokens in sequences]
    return torch.stack([norm(tokens[0], part(weights, "post_layernorm."), 1e-5) for tokens in sequences])


def shifted(frames: list[torch.Tensor]) -> list[torch.Tensor]:
    """Patches take channels 0 to 1/8 from the next frame and 1/8 to 2/8 from the frame before, zeros at the ends."""
    eighth = frames[0].shape[-1] // 8
    outputs = []
    for time, tokens in enumerate(frames):
        new = tokens.clone()
        new[1:, :eighth] = frames[time + 1][1:, :eighth] if time + 1 < len(frames) else 0
        new[1:, eighth : 2 * eighth] = frames[time - 1][1:, eighth : 2 * eighth] if time > 0 else 0
        outputs.append(new)
    return outputs


def frame_features(
    video: torch.Tensor, weights: Weights, layers: int, heads: int, pre: str | None, shift: bool
) -> torch.Tensor:
    """(frames, dim), or (1, dim) in the joint mode, of one video (frames, 3, height, width)."""
    tower = part(weights, "clip.vision_model.")
    frames = [embed(frame, tower) for frame in video]
    if pre == "joint":
        times = weights["pre_network.time_embedding"]
        patches = [patches + times[time] for time, (_, patches) in enumerate(frames)]
        sequences = [torch.cat([frames[0][0][None], *patches])]
    else:
        sequences = [torch.cat([token[None], patches]) for token, patches in frames]
    return run_blocks(sequences, tower, layers, heads, shift) @ weights["clip.visual_projection.weight"].T


# -- the heads: (frames, dim) of one video -> (dim,) ----------------------------------------------------------------


def mean_head(frames: torch.Tensor, weights: Weights) -> torch.Tensor:
    return sum(frames) / len(frames)


def conv1d_head(frames: torch.Tensor, weights: Weights) -> torch.Tensor:
    kernel = weights["conv.weight"][:, 0]
    zero = torch.zeros_like(frames[0])
    padded = [zero, *frames, zero]
    outputs = [
        frame + kernel[:, 0] * padded[time] + kernel[:, 1] * padded[time + 1] + kernel[:, 2] * padded[time + 2]
        for time, frame in enumerate(frames)
    ]
    return sum(outputs) / len(frames)


def legacy_conv1d_head(frames: torch.Tensor, weights: Weights) -> torch.Tensor:
    """The flat array of frames after frames is read as channel after channel."""
    kernel = weights["conv.weight"][:, 0]
    count, dim = frames.shape
    flat = frames.flatten()
    output = torch.zeros_like(frames[0])
    for channel in range(dim):
        signal = [0.0, *flat[channel * count : (channel + 1) * count], 0.0]
        filtered = [sum(kernel[channel, tap] * signal[time + tap] for tap in range(3)) for time in range(count)]
        output[channel] = sum(filtered) / count
    return output + frames.mean(0)


def lstm_head(frames: torch.Tensor, weights: Weights) -> torch.Tensor:
    dim = frames.shape[1]
    hidden = cell = torch.zeros_like(frames[0])
    outputs = []
    for frame in frames:
        gates = weights["lstm.weight_ih_l0"] @ frame + weights["lstm.bias_ih_l0"]
        gates = gates + weights["lstm.weight_hh_l0"] @ hidden + weights["lstm.bias_hh_l0"]
        entry, forget, new, exit_ = gates.split(dim)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(entry) * torch.tanh(new)
        hidden = torch.sigmoid(exit_) * torch.tanh(cell)
        outputs.append(frame + hidden)
    return sum(outputs) / len(outputs)


def transf_head(frames: torch.Tensor, weights: Weights, layers: int, heads: int) -> torch.Tensor:
    x = frames + weights["frame_position_embeddings.weight"][: len(frames)]
    for layer in range(layers):
        x = clip_block(x, part(weights, f"encoder.layers.{layer}."), heads, eps=1e-12)
    return (x + frames).mean(0)


def transf_cls_head(frames: torch.Tensor, weights: Weights, layers: int, heads: int) -> torch.Tensor:
    x = torch.cat([weights["cls_token"][0], frames]) + weights["pos_embed"][0]
    for layer in range(layers):
        block = part(weights, f"encoder.layers.{layer}.")
        projected = x @ block["self_attn.in_proj_weight"].T + block["self_attn.in_proj_bias"]
        attended = attend(*projected.chunk(3, dim=-1), heads)
        x = norm(x + linear(attended, part(block, "self_attn.out_proj.")), part(block, "norm1."), 1e-5)
        hidden = linear(x, part(block, "linear1.")).clamp(min=0)
        x = norm(x + linear(hidden, part(block, "linear2.")), part(block, "norm2."), 1e-5)
    return norm(x[0], part(weights, "encoder.norm."), 1e-5)


# -- loss and evaluation ---------------------------------------------------------------------------------------------


def unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def kl_loss(videos: torch.Tensor, texts: torch.Tensor, matches: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Both directions, row after row: (1 / rows) sum of q (log q - log p)."""

    def one_way(logits: torch.Tensor, matches: torch.Tensor) -> torch.Tensor:
        total = torch.zeros((), dtype=logits.dtype)
        for row, matching in zip(logits, matches, strict=True):
            target = torch.exp(10 * matching) / torch.exp(10 * matching).sum()
            predicted = torch.exp(row) / torch.exp(row).sum()
            total = total + (target * (target.log() - predicted.log())).sum()
        return total / len(logits)

    logits = scale * unit(videos) @ unit(texts).T
    return (one_way(logits, matches) + one_way(logits.T, matches.T)) / 2


def mean_probabilities(video: torch.Tensor, texts: torch.Tensor, scale: float) -> torch.Tensor:
    """(classes,) of one video: the softmax over the classes in each template, then the mean."""
    per_template = [(scale * unit(text) @ unit(video)).softmax(-1) for text in texts]
    return sum(per_template) / len(per_template)
