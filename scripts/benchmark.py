#!/usr/bin/env python
"""Measure packed text encoding against full-length encoding, side by side in one run.

    python scripts/benchmark.py coop --classes 10 100 --n_ctx 4 16

Both arms do one training step's text side (features of all classes, and the gradient of the context) with the same
random weights in ViT-B text shapes (512 wide, 12 layers, 77 positions). The full-length arm pads every prompt to 77
tokens, as the reference implementation does.
"""

import argparse
import sys
import time
from collections.abc import Callable

import torch
from transformers import CLIPConfig, CLIPModel
from transformers.utils import logging

from hf_prompt_models import CoOpConfig, CoOpForImageClassification
from hf_prompt_models.configuration_utils import class_fields, ids_to_string


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=["coop"])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--n_ctx", type=int, nargs="+", default=[16])
    parser.add_argument("--name_length", type=int, default=2, help="tokens of a class name (default: 2)")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest of so many counts (default: 3)")
    arguments = parser.parse_args(argv)
    logging.set_verbosity_error()
    print(f"{torch.get_num_threads()} threads, fp32, class names of {arguments.name_length} tokens")
    header = [
        "classes",
        "n_ctx",
        "context",
        "full-length s",
        "packed s",
        "ratio",
        "features differ",
        "gradients differ",
    ]
    print("  ".join(header))
    clip = CLIPModel(text_only_config()).eval()
    for classes in arguments.classes:
        for n_ctx in arguments.n_ctx:
            for layout in ("end", "middle", "front", "class-specific"):
                row = compare(clip, classes, n_ctx, layout, arguments.name_length, arguments.repeats)
                print("  ".join(cell.rjust(len(title)) for cell, title in zip(row, header, strict=True)))


def text_only_config() -> CLIPConfig:
    """ViT-B/32's text shapes; the image tower, which is not measured here, is as small as can be."""
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1}
    return CLIPConfig(vision_config=vision)


def compare(clip: CLIPModel, classes: int, n_ctx: int, layout: str, name_length: int, repeats: int) -> list[str]:
    """One row: the time of both arms and the largest relative differences."""
    torch.manual_seed(0)
    names = torch.randint(1000, 40000, (classes, name_length)).tolist()
    config = CoOpConfig(
        clip_config=clip.config.to_dict(),
        n_ctx=n_ctx,
        class_token_position="end" if layout == "class-specific" else layout,
        class_specific_context=layout == "class-specific",
        class_token_ids=[ids_to_string([49406, *name, 269, 49407]) for name in names],
        class_name_lengths=[name_length] * classes,
        **class_fields([str(index) for index in range(classes)]),
    )
    model = CoOpForImageClassification(config, backbone=clip).train()
    seconds, outcome = {}, {}
    for arm, encode in {"full": lambda: full_length(model), "packed": lambda: packed(model)}.items():
        seconds[arm], outcome[arm] = fastest(model, encode, repeats)
    differences = [
        ((one - other).norm() / other.norm()).item()
        for one, other in zip(outcome["packed"], outcome["full"], strict=True)
    ]
    return [
        str(classes),
        str(n_ctx),
        layout[:7],
        f"{seconds['full']:.3f}",
        f"{seconds['packed']:.3f}",
        f"{seconds['full'] / seconds['packed']:.1f}",
        *(f"{difference:.1e}" for difference in differences),
    ]


def fastest(
    model: CoOpForImageClassification, encode: Callable[[], torch.Tensor], repeats: int
) -> tuple[float, tuple[torch.Tensor, torch.Tensor]]:
    """Seconds of the fastest of some steps after one unmeasured, and the features and context gradients."""
    times = []
    for _ in range(repeats + 1):
        model.zero_grad()
        start = time.perf_counter()
        features = encode()
        features.square().mul(torch.arange(features.shape[1])).sum().backward()
        times.append(time.perf_counter() - start)
    gradient = model.prompt_learner.context.grad
    assert gradient is not None
    return min(times[1:]), (features.detach(), gradient.clone())


def packed(model: CoOpForImageClassification) -> torch.Tensor:
    return model.get_text_features().pooler_output


def full_length(model: CoOpForImageClassification) -> torch.Tensor:
    """Every prompt in a row of its own, padded to 77 tokens."""
    text = model.clip.text_model
    prompts = model.prompt_token_ids()
    ends = torch.tensor([len(prompt) - 1 for prompt in prompts])
    ids = torch.tensor([prompt + [0] * (77 - len(prompt)) for prompt in prompts])
    vocabulary = text.embeddings.token_embedding.weight
    table = torch.cat([vocabulary, model.prompt_learner.context.flatten(0, -2)])
    hidden = text.embeddings(inputs_embeds=torch.nn.functional.embedding(ids, table))
    mask = torch.full((77, 77), torch.finfo(hidden.dtype).min).triu(1)[None, None]
    hidden = text.encoder(inputs_embeds=hidden, attention_mask=mask).last_hidden_state
    pooled = text.final_layer_norm(hidden)[torch.arange(len(prompts)), ends]
    return torch.nn.functional.normalize(model.clip.text_projection(pooled), dim=-1)


if __name__ == "__main__":
    main(sys.argv[1:])
