"""Names of CLIP's tensors in OpenAI's code and in open_clip, by their names in transformers and in our ResNet."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch


WHOLE_NAMES = {
    "logit_scale": "logit_scale",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "visual_projection.weight": "visual.proj",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_projection.weight": "text_projection",
}
TRANSPOSED = ("visual_projection.weight", "text_projection.weight")
PREFIXES = {
    "vision_model.pre_layrnorm.": "visual.ln_pre.",
    "vision_model.post_layernorm.": "visual.ln_post.",
    "text_model.final_layer_norm.": "ln_final.",
}
BLOCKS = {
    "vision_model.encoder.layers.": "visual.transformer.resblocks.",
    "text_model.encoder.layers.": "transformer.resblocks.",
}
BLOCK_PARTS = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
SHORTCUT_LAYERS = ("convolution", "normalization")
RESNET_LAYERS = {"convolution": "conv", "normalization": "bn"}
RESNET_STEM = re.compile(r"vision_model\.embeddings\.conv(\d)\.(convolution|normalization)\.(\w+)")
RESNET_BLOCK = re.compile(
    r"vision_model\.encoder\.stages\.(\d+)\.layers\.(\d+)\.(conv(?P<number>\d)|shortcut)\.(?P<kind>\w+)\.(?P<rest>\w+)"
)
RESNET_POOL = {
    "vision_model.attention_pool.position_embedding.weight": "visual.attnpool.positional_embedding",
    **{
        f"vision_model.attention_pool.{ours}.{kind}": f"visual.attnpool.{original}.{kind}"
        for ours, original in {
            "q_proj": "q_proj",
            "k_proj": "k_proj",
            "v_proj": "v_proj",
            "out_proj": "c_proj",
        }.items()
        for kind in ("weight", "bias")
    },
}
ATTENTION_THIRDS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
"""Projections in the order in which the original stacks them in one matrix."""


@dataclass(frozen=True)
class Source:
    """Place of one of our tensors in a checkpoint: a complete tensor, maybe transposed, or a third of its rows.

    Attributes:
        name: name of the tensor in the checkpoint.
        transposed: whether that tensor is transposed.
        third: which third of its rows it is, from 0; `None` for all rows.
    """

    name: str
    transposed: bool = False
    third: int | None = None

    def original_shape(self, tensor: torch.Tensor) -> tuple[int, ...]:
        """Return the shape in the checkpoint of the tensor that contains one of ours.

        Args:
            tensor: our tensor.
        """
        shape = tuple(tensor.shape[::-1] if self.transposed else tensor.shape)
        return shape if self.third is None else (3 * shape[0], *shape[1:])

    def take(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return our tensor, in float32 unless it is a count, from the tensors of the checkpoint.

        Args:
            tensors: tensors by their names in the checkpoint.
        """
        tensor = tensors[self.name]
        if self.third is not None:
            tensor = tensor.chunk(3)[self.third]
        tensor = tensor.T if self.transposed else tensor
        return tensor.float() if tensor.is_floating_point() else tensor


def find_source(name: str) -> Source:
    """Return the place of a tensor of a `CLIPModel` or `ClipResNetModel` in checkpoints with the original names.

    Args:
        name: name of the tensor in the model.
    """
    if (original := (WHOLE_NAMES | RESNET_POOL).get(name)) is not None:
        return Source(original, transposed=name in TRANSPOSED)
    if (stem := RESNET_STEM.fullmatch(name)) is not None:
        number, kind, rest = stem.groups()
        return Source(f"visual.{RESNET_LAYERS[kind]}{number}.{rest}")
    if (block := RESNET_BLOCK.fullmatch(name)) is not None:
        place = f"visual.layer{int(block[1]) + 1}.{block[2]}."
        kind, number, rest = block["kind"], block["number"], block["rest"]
        if number is None:  # the pool in front of the shortcut has no tensors
            return Source(f"{place}downsample.{SHORTCUT_LAYERS.index(kind)}.{rest}")
        return Source(f"{place}{RESNET_LAYERS[kind]}{number}.{rest}")
    for prefix, original in PREFIXES.items():
        if name.startswith(prefix):
            return Source(original + name.removeprefix(prefix))
    prefix = next(prefix for prefix in BLOCKS if name.startswith(prefix))
    return find_block_source(name.removeprefix(prefix), BLOCKS[prefix])


def find_block_source(name: str, original: str) -> Source:
    """Return the place of a parameter of a transformer's layer in checkpoints with the original names.

    Args:
        name: name of the parameter in transformers, from the number of the layer on.
        original: what precedes the number of the layer in the original name.
    """
    layer, _, rest = name.partition(".")
    part, _, kind = rest.rpartition(".")
    if part in ATTENTION_THIRDS:
        return Source(f"{original}{layer}.attn.in_proj_{kind}", third=ATTENTION_THIRDS.index(part))
    return Source(f"{original}{layer}.{BLOCK_PARTS[part]}.{kind}")
