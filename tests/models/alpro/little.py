"""A small ALPRO for tests: its configuration, large random weights, a tokenizer and a processor."""

import string
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import BertTokenizer, PreTrainedModel

from hf_prompt_models import AlproConfig, AlproImageProcessor, AlproProcessor


Model = TypeVar("Model", bound=PreTrainedModel)

IMAGE_SIZE, PATCH_SIZE, WIDTH, HEADS = 32, 8, 24, 4
WORDS = (
    *("a", "the", "one", "of", "video", "footage", "portrait", "photo", "picture", "good", "dog", "cat", "ball"),
    *("runs", "sleeps", "red", "big"),
)


def tokenizer() -> BertTokenizer:
    """The tokenizer of bert-base-uncased with a small vocabulary: complete words, and letters for all others."""
    letters = [*string.ascii_lowercase, *".,?"]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{each}" for each in letters), *WORDS]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return BertTokenizer(vocab=vocabulary, model_max_length=40)


def processor(num_frames: int = 2) -> AlproProcessor:
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    return AlproProcessor(
        AlproImageProcessor(size=size), tokenizer(), num_frames=num_frames, max_text_length=30, patch_size=PATCH_SIZE
    )


def config(num_frames: int = 2, num_entities: int = 5, **fields: Any) -> AlproConfig:
    """Return a configuration without dropout, so that train and eval mode give the same outputs."""
    vision = {
        "image_size": IMAGE_SIZE,
        "patch_size": PATCH_SIZE,
        "num_frames": num_frames,
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": HEADS,
        "intermediate_size": 48,
        "drop_path_rate": 0.0,
    }
    text = {
        "vocab_size": len(tokenizer()),
        "hidden_size": WIDTH,
        "num_hidden_layers": 4,
        "num_attention_heads": HEADS,
        "intermediate_size": 48,
        "max_position_embeddings": 40,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    return AlproConfig(
        **{
            "vision_config": vision,
            "text_config": text,
            "fusion_layer": 2,
            "projection_dim": 16,
            "num_entities": num_entities,
        }
        | fields
    )


@torch.no_grad()
def lively(model: Model, seed: int = 0) -> Model:
    """Weights under which everything in the input matters, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        if name.endswith("temperature"):
            parameter.fill_(0.3)
        elif "norm" in name.lower():
            parameter.copy_((1.0 if name.endswith("weight") else 0.0) + 0.1 * noise)
        elif parameter.dim() > 1 and "embedding" not in name:
            parameter.copy_(1.5 * noise * parameter[0].numel() ** -0.5)
        else:
            parameter.copy_(0.5 * noise)
    return model.eval()


def videos(count: int, num_frames: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, num_frames, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator, dtype=torch.float64)


def texts(count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return sentences of different lengths, padded."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(WORDS), (count, 6), generator=generator).tolist()
    sentences = [" ".join(WORDS[word] for word in row[: 2 + place % 5]) for place, row in enumerate(drawn)]
    tokens = tokenizer()(sentences, padding=True, return_tensors="pt")
    return {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}


def saved(model: PreTrainedModel, directory: Path) -> str:
    """Save a model with a processor, and return its folder."""
    model.processor = processor()
    model.save_pretrained(directory)
    return str(directory)
