"""A random-weight CLIP with a ResNet, in the files that `save_pretrained` writes."""

from pathlib import Path
from typing import Any

import torch
from transformers import CLIPImageProcessorPil, CLIPProcessor

from hf_prompt_models import ClipResNetConfig, ClipResNetModel
from tests.stand_ins import END, START, clip_tokenizer, clip_vocabulary


def tiny_config(text_width: int = 32, **vision: Any) -> ClipResNetConfig:
    """RN50's configuration with small widths and, unless `layers` are given, few blocks."""
    vocabulary = clip_vocabulary()
    text_config = {
        "bos_token_id": vocabulary[START],
        "eos_token_id": vocabulary[END],
        "pad_token_id": vocabulary[END],
        "hidden_size": text_width,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "vocab_size": len(vocabulary),
    }
    vision_config = {"layers": [1, 2, 1, 1], "width": 4, "image_size": 64, "output_dim": 24, **vision}
    return ClipResNetConfig(text_config=text_config, vision_config=vision_config)


@torch.no_grad()
def lively(model: torch.nn.Module, seed: int = 0) -> Any:
    """Fill a model with weights and statistics under which everything matters, at OpenAI's temperature of 100."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("logit_scale"):
            tensor.fill_(4.6052)
        elif name.endswith("running_var"):
            tensor.copy_(0.5 + noise.sigmoid())
        elif "norm" in name and tensor.is_floating_point():
            tensor.copy_((1.0 if name.endswith("weight") else 0.0) + 0.2 * noise)
            if ".layers." in name and name.endswith("conv3.normalization.weight"):
                tensor.mul_(0.1)  # or features would grow with the number of blocks
        elif "embedding." in name:
            tensor.copy_(0.5 * noise)
        elif tensor.dim() > 1:
            tensor.copy_(noise * tensor[0].numel() ** -0.5 * (1.4 if tensor.dim() == 4 else 1.0))
        elif tensor.is_floating_point():
            tensor.copy_(0.1 * noise)
    return model.eval()


def openai_rn50(folder: str | Path, seed: int = 0, **changes: Any) -> Path:
    """Write a small RN50.

    Args:
        folder: where to.
        seed: of the weights.
        changes: `text_width`, or fields of the vision configuration.
    """
    folder = Path(folder)
    config = tiny_config(**changes)
    lively(ClipResNetModel(config), seed).save_pretrained(folder)
    side = config.vision_config.image_size
    image_processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    CLIPProcessor(image_processor, clip_tokenizer()).save_pretrained(folder)
    return folder
