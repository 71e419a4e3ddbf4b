"""OpenAI's CLIP and open_clip's, written out over the names of their tensors, and their files with random weights."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from tests.stand_ins import clip_vocabulary


Tensors = dict[str, torch.Tensor]
VOCABULARY = len(clip_vocabulary())
VISION = {"width": 128, "layers": 2, "patch_size": 8, "image_size": 32}
TEXT = {"width": 64, "layers": 2, "heads": 1, "context_length": 20, "vocab_size": VOCABULARY}
RESNET = {"width": 8, "layers": [1, 2, 1, 1], "patch_size": None, "image_size": 64}
EMBED_DIM = 24


def random_clip(
    vision: Mapping[str, Any] = VISION, text: Mapping[str, Any] = TEXT, embed_dim: int = EMBED_DIM, prefix: str = ""
) -> Tensors:
    """Return the state dict of a CLIP.

    Args:
        vision: open_clip's `vision_cfg`.
        text: its `text_cfg`.
        embed_dim: width of the features.
        prefix: what precedes the names of the text tower.
    """
    tower = _resnet if isinstance(vision["layers"], list) else _vision_transformer
    width = text["width"]
    text_tower = {
        "token_embedding.weight": _normal(text["vocab_size"], width),
        "positional_embedding": _normal(text["context_length"], width),
        "text_projection": _normal(width, embed_dim) / width**0.5,
        **_norm("ln_final", width),
        **_blocks("transformer.resblocks.", text),
    }
    return {
        "logit_scale": torch.tensor(3.5),
        **tower(vision, embed_dim),
        **{prefix + name: tensor for name, tensor in text_tower.items()},
    }


def _vision_transformer(vision: Mapping[str, Any], embed_dim: int) -> Tensors:
    width, patch = vision["width"], vision["patch_size"]
    positions = (vision["image_size"] // patch) ** 2 + 1
    return {
        "visual.class_embedding": _normal(width),
        "visual.positional_embedding": _normal(positions, width),
        "visual.conv1.weight": _normal(width, 3, patch, patch) / (3**0.5 * patch),
        "visual.proj": _normal(width, embed_dim) / width**0.5,
        **_norm("visual.ln_pre", width),
        **_norm("visual.ln_post", width),
        **_blocks("visual.transformer.resblocks.", vision),
    }


def _resnet(vision: Mapping[str, Any], embed_dim: int) -> Tensors:
    width = vision["width"]
    tensors: Tensors = {}
    for number, channels in enumerate([(3, width // 2), (width // 2, width // 2), (width // 2, width)], start=1):
        tensors |= _convolution("visual.", number, *channels, kernel=3)
    inputs = width
    for stage, blocks in enumerate(vision["layers"]):
        inner = width * 2**stage
        for block in range(blocks):
            name = f"visual.layer{stage + 1}.{block}."
            for number, channels in enumerate([(inputs, inner), (inner, inner), (inner, 4 * inner)], start=1):
                tensors |= _convolution(name, number, *channels, kernel=3 if number == 2 else 1)
            if block == 0:
                tensors[f"{name}downsample.0.weight"] = _normal(4 * inner, inputs, 1, 1) / inputs**0.5
                tensors |= _batch_norm(f"{name}downsample.1", 4 * inner)
            inputs = 4 * inner
    pool = "visual.attnpool."
    tensors[f"{pool}positional_embedding"] = _normal((vision["image_size"] // 32) ** 2 + 1, inputs)
    for part, size in (("q_proj", inputs), ("k_proj", inputs), ("v_proj", inputs), ("c_proj", embed_dim)):
        tensors[f"{pool}{part}.weight"] = _normal(size, inputs) / inputs**0.5
        tensors[f"{pool}{part}.bias"] = _normal(size)
    return tensors


def _convolution(name: str, number: int, inputs: int, outputs: int, kernel: int) -> Tensors:
    weight = _normal(outputs, inputs, kernel, kernel) / (inputs**0.5 * kernel)
    return {f"{name}conv{number}.weight": weight, **_batch_norm(f"{name}bn{number}", outputs)}


def _batch_norm(name: str, width: int) -> Tensors:
    statistics = {"running_mean": 0.1 * _normal(width), "running_var": 0.5 + torch.rand(width)}
    counted = {"num_batches_tracked": torch.tensor(17)}
    return {**_norm(name, width), **{f"{name}.{part}": each for part, each in (statistics | counted).items()}}


def with_scalars(tensors: Tensors, text: Mapping[str, Any] = TEXT, image_size: int = VISION["image_size"]) -> Tensors:
    """Return a state dict with the numbers that OpenAI's files have."""
    scalars = {"input_resolution": image_size} | {name: text[name] for name in ("context_length", "vocab_size")}
    return tensors | {name: torch.tensor(value) for name, value in scalars.items()}


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape)


def _norm(name: str, width: int) -> Tensors:
    return {f"{name}.weight": 1 + 0.3 * _normal(width), f"{name}.bias": 0.3 * _normal(width)}


def _blocks(prefix: str, fields: Mapping[str, Any]) -> Tensors:
    width = fields["width"]
    inner = int(width * fields.get("mlp_ratio", 4.0))
    shapes = {
        "attn.in_proj_weight": (3 * width, width),
        "attn.in_proj_bias": (3 * width,),
        "attn.out_proj.weight": (width, width),
        "attn.out_proj.bias": (width,),
        "mlp.c_fc.weight": (inner, width),
        "mlp.c_fc.bias": (inner,),
        "mlp.c_proj.weight": (width, inner),
        "mlp.c_proj.bias": (width,),
    }
    tensors: Tensors = {}
    for layer in range(fields["layers"]):
        name = f"{prefix}{layer}."
        tensors |= _norm(f"{name}ln_1", width) | _norm(f"{name}ln_2", width)
        tensors |= {name + part: 1.5 * _normal(*shape) / shape[-1] ** 0.5 for part, shape in shapes.items()}
    return tensors


# -- features --------------------------------------------------------------------------------------------------------

ACTIVATIONS = {"quick_gelu": lambda x: x * torch.sigmoid(1.702 * x), "gelu": F.gelu}


def encode_image(tensors: Tensors, pixels: torch.Tensor, heads: int, activation: str) -> torch.Tensor:
    """Return the image features, (images, dim), as OpenAI's `VisionTransformer` does."""
    visual = {name.removeprefix("visual."): each.float() for name, each in tensors.items() if name[:7] == "visual."}
    patches = F.conv2d(pixels, visual["conv1.weight"], stride=visual["conv1.weight"].shape[-1])
    hidden = patches.flatten(2).transpose(1, 2)
    start = visual["class_embedding"].expand(len(pixels), 1, -1)
    hidden = torch.cat([start, hidden], dim=1) + visual["positional_embedding"]
    hidden = _normalised(hidden, visual, "ln_pre")
    hidden = _run_blocks(hidden, visual, heads, activation, mask=None)
    return _normalised(hidden[:, 0], visual, "ln_post") @ visual["proj"]


def encode_image_by_resnet(tensors: Tensors, pixels: torch.Tensor) -> torch.Tensor:
    """Return the image features, (images, dim), as OpenAI's `ModifiedResNet` does."""
    visual = {name.removeprefix("visual."): each.float() for name, each in tensors.items() if name[:7] == "visual."}
    hidden = pixels
    for number in (1, 2, 3):
        hidden = F.relu(_convolved(hidden, visual, f"conv{number}", f"bn{number}", stride=2 if number == 1 else 1))
    hidden = F.avg_pool2d(hidden, 2)
    for stage in (1, 2, 3, 4):
        block = 0
        while f"layer{stage}.{block}.conv1.weight" in visual:
            prefix = f"layer{stage}.{block}."
            stride = 2 if stage > 1 and block == 0 else 1
            inner = F.relu(_convolved(hidden, visual, f"{prefix}conv1", f"{prefix}bn1"))
            inner = F.avg_pool2d(F.relu(_convolved(inner, visual, f"{prefix}conv2", f"{prefix}bn2")), stride)
            inner = _convolved(inner, visual, f"{prefix}conv3", f"{prefix}bn3")
            if block == 0:
                hidden = F.avg_pool2d(hidden, stride)
                hidden = _convolved(hidden, visual, f"{prefix}downsample.0", f"{prefix}downsample.1")
            hidden = F.relu(hidden + inner)
            block += 1
    tokens = hidden.flatten(2).transpose(1, 2)
    tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1) + visual["attnpool.positional_embedding"]
    linear = {name: (visual[f"attnpool.{name}_proj.weight"], visual[f"attnpool.{name}_proj.bias"]) for name in "qkvc"}
    query, key, value = (F.linear(tokens, *linear[name]).unflatten(2, (-1, 64)).transpose(1, 2) for name in "qkv")
    weights = (query[:, :, :1] @ key.transpose(2, 3) / 8).softmax(3)
    return F.linear((weights @ value).transpose(1, 2).flatten(1), *linear["c"])


def _convolved(hidden: torch.Tensor, tensors: Tensors, name: str, norm: str, stride: int = 1) -> torch.Tensor:
    weight = tensors[f"{name}.weight"]
    hidden = F.conv2d(hidden, weight, stride=stride, padding=weight.shape[-1] // 2)
    statistics = (
        tensors[f"{norm}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    mean, variance, scale, shift = statistics
    return (hidden - mean) / (variance + 1e-5).sqrt() * scale + shift


def encode_text(
    tensors: Tensors, ids: torch.Tensor, heads: int, activation: str, eos_id: int | None = None
) -> torch.Tensor:
    """Return the text features, (texts, dim), read at the largest id, or at the first `eos_id`."""
    text = {name.removeprefix("text."): each.float() for name, each in tensors.items()}
    hidden = text["token_embedding.weight"][ids] + text["positional_embedding"][: ids.shape[1]]
    mask = torch.full((ids.shape[1],) * 2, float("-inf")).triu(1)
    hidden = _normalised(_run_blocks(hidden, text, heads, activation, mask), text, "ln_final")
    place = ids.argmax(1) if eos_id is None else (ids == eos_id).int().argmax(1)
    return hidden[torch.arange(len(ids)), place] @ text["text_projection"]


def _run_blocks(
    hidden: torch.Tensor, tensors: Tensors, heads: int, activation: str, mask: torch.Tensor | None
) -> torch.Tensor:
    layer = 0
    while f"transformer.resblocks.{layer}.ln_1.weight" in tensors:
        prefix = f"transformer.resblocks.{layer}."
        block = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
        normed = _normalised(hidden, block, "ln_1")
        stacked = normed @ block["attn.in_proj_weight"].T + block["attn.in_proj_bias"]
        query, key, value = (each.unflatten(2, (heads, -1)).transpose(1, 2) for each in stacked.chunk(3, dim=2))
        scores = query @ key.transpose(2, 3) / query.shape[3] ** 0.5
        mixed = ((scores if mask is None else scores + mask).softmax(3) @ value).transpose(1, 2).flatten(2)
        hidden = hidden + mixed @ block["attn.out_proj.weight"].T + block["attn.out_proj.bias"]
        inner = _normalised(hidden, block, "ln_2") @ block["mlp.c_fc.weight"].T + block["mlp.c_fc.bias"]
        hidden = hidden + ACTIVATIONS[activation](inner) @ block["mlp.c_proj.weight"].T + block["mlp.c_proj.bias"]
        layer += 1
    return hidden


def _normalised(hidden: torch.Tensor, tensors: Tensors, name: str) -> torch.Tensor:
    centred = hidden - hidden.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


# -- files -----------------------------------------------------------------------------------------------------------


class _Part(nn.Module):
    def forward(self) -> int:
        return 0


def write_archive(file: Path, tensors: Tensors, **attributes: Any) -> Path:
    """Write a TorchScript archive with these tensors: numbers as buffers, all others as parameters.

    Args:
        file: where to.
        tensors: tensors by their names in the state dict.
        attributes: plain attributes of the outermost module.
    """
    root = _Part()
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        part: nn.Module = root
        for step in path:
            if step not in dict(part.named_children()):
                part.add_module(step, _Part())
            part = part.get_submodule(step)
        if tensor.is_floating_point():
            part.register_parameter(last, nn.Parameter(tensor))
        else:
            part.register_buffer(last, tensor)
    for name, value in attributes.items():
        setattr(root, name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(root).save(str(file))
    return file


def write_open_clip(
    folder: Path, tensors: Tensors, model: Mapping[str, Any], preprocess: Any = None, safe: bool = True
) -> Path:
    """Write a folder of open_clip.

    Args:
        folder: where to.
        tensors: state dict.
        model: the `model_cfg`.
        preprocess: the `preprocess_cfg`; `None` leaves it out.
        safe: whether to write safetensors, and not a pickle.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": dict(model)} | ({} if preprocess is None else {"preprocess_cfg": preprocess})
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    if safe:
        save_file({name: each.contiguous() for name, each in tensors.items()}, folder / "open_clip_model.safetensors")
    else:
        torch.save(tensors, folder / "open_clip_pytorch_model.bin")
    return folder
