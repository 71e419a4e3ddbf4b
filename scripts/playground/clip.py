"""Pre-training of the tiny CLIP: tokenizer, model and contrastive training loop."""

import math
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

from hf_prompt_models.playground.shapes import SHAPES

from .pictures import Traits, draw_caption, draw_image, shape_questions
from .vocabulary import learn_tokenizer


IMAGE_SIZE = 48
CAPTION_STREAM = 1
BATCH_SIZE = 128
LEARNING_RATE = 1.5e-3
MERGES = 1200


def tiny_clip_config(tokenizer: CLIPTokenizer) -> CLIPConfig:
    """Return the configuration of a CLIP of about 0.8 M parameters with the vocabulary of a tokenizer."""
    return CLIPConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 256,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "projection_dim": 64,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "image_size": IMAGE_SIZE,
            "patch_size": 12,
            "projection_dim": 64,
        },
        projection_dim=64,
    )


def _sample(index: int, seed: int) -> tuple[np.ndarray, Traits]:
    image, traits = draw_image(seed, index, IMAGE_SIZE)
    return np.asarray(image), traits


def draw_pool(count: int, seed: int, workers: int = 2) -> tuple[np.ndarray, list[Traits]]:
    """Draw the first `count` images of a stream.

    Args:
        count: number of images.
        seed: random seed of the stream of images.
        workers: number of processes.

    Returns:
        Images of shape (count, height, width, 3), uint8, and their attributes.
    """
    with ProcessPoolExecutor(workers) as pool:
        drawn = list(pool.map(partial(_sample, seed=seed), range(count), chunksize=500))
    return np.stack([pixels for pixels, _ in drawn]), [traits for _, traits in drawn]


def false_negatives(said: Sequence[Traits], shown: Sequence[Traits]) -> torch.Tensor:
    """Return which captions are also true for an image that they do not belong to.

    "a photo of a fish" is not a wrong caption for another image of a fish, so such pairs are left out of the loss.

    Args:
        said: attributes that each caption mentions.
        shown: attributes of each image.

    Returns:
        Bool tensor of shape (captions, images).
    """
    claims, facts = np.array([astuple(traits) for traits in said]), np.array([astuple(traits) for traits in shown])
    true = ((claims[:, None] == "") | (claims[:, None] == facts[None])).all(axis=-1)
    np.fill_diagonal(true, False)
    return torch.from_numpy(true)


def contrastive_loss(logits: torch.Tensor, ignored: torch.Tensor) -> torch.Tensor:
    """Compute the symmetric loss of CLIP from logits of shape (captions, images), without the `ignored` pairs."""
    logits = logits.masked_fill(ignored, -torch.inf)
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def pretrain_clip(output_dir: str | Path, seed: int = 0, steps: int = 3500, pictures: int = 50_000) -> None:
    """Train a tokenizer and a tiny CLIP on synthetic images and save them in the format of a Hub checkpoint.

    Args:
        output_dir: output folder.
        seed: random seed of the images, the captions, the initial weights and the data order.
        steps: number of optimizer steps of `BATCH_SIZE` pairs.
        pictures: number of images; they are reused with new captions if the steps need more.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng((CAPTION_STREAM, seed))
    start = time.monotonic()
    pool, shown = draw_pool(pictures, seed)
    tokenizer = learn_tokenizer((draw_caption(traits, rng)[0] for traits in shown[:20_000]), MERGES)
    processor = CLIPProcessor(
        CLIPImageProcessorPil(
            size={"shortest_edge": IMAGE_SIZE}, crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}
        ),
        tokenizer,
    )
    mean = torch.tensor(processor.image_processor.image_mean)
    std = torch.tensor(processor.image_processor.image_std)
    # For rows this short, eager attention is twice as fast on a CPU in bfloat16 as the fused kernel.
    model = CLIPModel._from_config(tiny_clip_config(tokenizer), attn_implementation="eager").train()
    # With CLIP's default standard deviation of 0.02, position embeddings are small compared with patch embeddings, and
    # the position of patches is learned late.
    torch.nn.init.normal_(model.vision_model.embeddings.position_embedding.weight, std=0.2)
    print(
        f"{pictures} images after {time.monotonic() - start:.0f} s; {len(tokenizer)} tokens; "
        f"{model.num_parameters()} parameters"
    )

    decayed = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 200, 0.5 + 0.5 * math.cos(math.pi * step / steps))
    )
    shapes = torch.tensor([list(SHAPES).index(traits.shape) for traits in shown])
    order = np.concatenate([rng.permutation(pictures) for _ in range(-(-steps * BATCH_SIZE // pictures))])
    running = np.zeros(2)
    for step in range(steps):
        batch = order[step * BATCH_SIZE : (step + 1) * BATCH_SIZE]
        captions, said = zip(*(draw_caption(shown[index], rng) for index in batch), strict=True)
        tokens = tokenizer([*captions, *shape_questions(rng)], padding=True, return_tensors="pt")
        pixels = (torch.from_numpy(pool[batch]).float() / 255 - mean) / std
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(pixel_values=pixels.permute(0, 3, 1, 2).contiguous(), **tokens)
        logits = output.logits_per_text.float()
        loss = contrastive_loss(logits[:BATCH_SIZE], false_negatives(said, [shown[i] for i in batch]))
        question = F.cross_entropy(logits[BATCH_SIZE:].T, shapes[batch])
        loss = loss + question
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        running = 0.98 * running + 0.02 * np.array([loss.item(), question.item()])
        if step % 100 == 99:
            print(
                f"step {step + 1}: loss {running[0]:.3f} (shapes {running[1]:.3f}), scale "
                f"{model.logit_scale.exp().item():.1f}, {time.monotonic() - start:.0f} s",
                flush=True,
            )
    model.save_pretrained(output_dir)
    # Separate files, as in the Hub checkpoints of CLIP; CLIPProcessor reads them as well as its own joint file.
    processor.image_processor.save_pretrained(output_dir)
    processor.tokenizer.save_pretrained(output_dir)
