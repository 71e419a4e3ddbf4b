"""Benchmark text-to-video search: reranking the best clips against scoring every pair, both in the same run.

This package compares features first and runs the multimodal layers only on the best clips of each text. The released
code runs them on every pair. Both implementations have the same weights and the same clips, which are encoded before.
With --model, the tables also show recall at 1. Without --model, the weights are random, in the given sizes. With
--model playground, the model is the packaged one, and clips that it was not trained on are drawn.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoProcessor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from hf_prompt_models.backbones.packaged import ALPRO_DIR, PLAYGROUND
from hf_prompt_models.data.text.captioned_videos import read_captioned_videos
from hf_prompt_models.data.text.video_text_dataset import VideoTextDataset
from hf_prompt_models.metrics.retrieval import ranks_of_any, recall_at
from hf_prompt_models.models.alpro.configuration_alpro import AlproConfig
from hf_prompt_models.models.alpro.modeling_alpro_retrieval import AlproForVideoTextRetrieval
from hf_prompt_models.models.alpro.processing_alpro import AlproCollator
from hf_prompt_models.playground.captioned_clips import write_captioned_clips

from .measuring import count_flops, describe_machine, fastest, markdown_table


TEXT_LENGTH, VOCABULARY = 12, 1000
HEAD_WIDTH = 32
CLIPS_SEED = 101
"""Random seed of the clips of --model playground. The packaged model was trained on clips of another stream."""
COUNTED_TEXTS = 4
"""Number of texts whose operations are counted; every text needs the same number of operations."""


@dataclass(frozen=True)
class Gallery:
    """Encoded clips and text queries.

    Attributes:
        tokens: tokens of the texts.
        clips: encoded clips, as passed to `rank`.
        own: index of the clip of each text, of shape (texts,), or `None` for random clips.
    """

    tokens: dict[str, torch.Tensor]
    clips: BaseModelOutputWithPooling
    own: torch.Tensor | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the benchmark."""
    parser.add_argument(
        "--model",
        metavar="DIR",
        help="folder of a trained ALPRO retrieval model, with --captions, or `playground` (default: random weights)",
    )
    parser.add_argument(
        "--captions",
        metavar="FILE",
        help="file with clips and captions, as for `hf-prompt train alpro --test_file`; needs --model",
    )
    parser.add_argument(
        "--videos", metavar="DIR", help="folder of the videos of --captions (default: the folder of the file)"
    )
    parser.add_argument("--clips", type=int, default=500, help="number of clips to search (default: 500)")
    parser.add_argument("--texts", type=int, default=50, help="number of text queries (default: 50)")
    parser.add_argument("--k", type=int, default=16, help="number of clips to rerank per text (default: 16)")
    parser.add_argument("--batch_size", type=int, default=64, help="batch size, in text-clip pairs (default: 64)")
    parser.add_argument(
        "--hidden_size", type=int, default=128, help="hidden size of the model with random weights (default: 128)"
    )
    parser.add_argument(
        "--num_layers", type=int, default=4, help="number of layers of the model with random weights (default: 4)"
    )
    parser.add_argument(
        "--image_size", type=int, default=64, help="frame size of the model with random weights (default: 64)"
    )
    parser.add_argument(
        "--repeats", type=int, default=1, help="number of timed rounds; the fastest is reported (default: 1)"
    )


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Run the benchmark and yield its results as Markdown, part by part.

    Raises:
        ValueError: if a number is out of range, or only one of --model and --captions is given.
    """
    for name in ("clips", "texts", "k", "batch_size", "repeats"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"Expected --{name} to be at least 1, got {getattr(arguments, name)}.")
    is_packaged = arguments.model == PLAYGROUND
    if (arguments.model is None or is_packaged) != (arguments.captions is None):
        raise ValueError(
            "Expected both --model and --captions, or --model playground alone, whose clips are drawn. Pass both or "
            "neither of them."
        )
    if arguments.k >= arguments.clips:
        raise ValueError(
            f"--k {arguments.k} covers all {arguments.clips} clips, so there is nothing to compare. Pass a "
            "smaller --k."
        )
    yield describe_machine()
    if is_packaged:
        with tempfile.TemporaryDirectory() as folder:
            write_captioned_clips(folder, seed=CLIPS_SEED, train=1, test=arguments.clips, questions=1)
            settings = {"model": str(ALPRO_DIR), "captions": str(Path(folder) / "test" / "captions.jsonl")}
            yield compare(argparse.Namespace(**vars(arguments) | settings))
    else:
        yield compare(arguments)


def compare(arguments: argparse.Namespace) -> str:
    """Build the model and the gallery, and return the table of both implementations."""
    model = load_model(arguments)
    gallery = trained_gallery(model, arguments) if arguments.model else random_gallery(model, arguments)
    return search_table(model, gallery, arguments)


@torch.no_grad()
def search_table(model: AlproForVideoTextRetrieval, gallery: Gallery, arguments: argparse.Namespace) -> str:
    """Measure both implementations of the search and return the table."""
    tokens = {name: tensor[: arguments.texts] for name, tensor in gallery.tokens.items()}
    few = {name: tensor[:COUNTED_TEXTS] for name, tensor in tokens.items()}
    count = len(tokens["input_ids"])
    rows, seconds, work, recalls = [], [], [], []
    for title, k in ((f"best {arguments.k}", arguments.k), ("all pairs", None)):

        def search(texts: dict[str, torch.Tensor], k: int | None = k) -> torch.Tensor:
            return model.rank(texts, gallery.clips, k=k, batch_size=arguments.batch_size)

        took, scores = fastest(partial(search, tokens), arguments.repeats)
        seconds.append(took)
        work.append(count_flops(partial(search, few)) * count / len(few["input_ids"]))
        row = [title, str(count * (k or arguments.clips)), f"{took:.2f}", f"{work[-1] / 1e9:.2f}"]
        if gallery.own is not None:
            right = gallery.own[:count, None] == torch.arange(arguments.clips)
            recalls.append(recall_at(ranks_of_any(scores.cpu().numpy(), right.numpy()), 1))
            row.append(f"{100 * recalls[-1]:.1f}")
        rows.append(row)
    header = ["scored together", "pairs", "s", "G floating point operations"] + ["R@1 %"] * (gallery.own is not None)
    gain = f"{seconds[1] / seconds[0]:.1f} times less time, {work[1] / work[0]:.1f} times less work"
    if gallery.own is not None:
        gain += f"; R@1 changes by {100 * (recalls[0] - recalls[1]):+.1f} points, over {count} texts"
    return (
        f"### Search {arguments.clips} encoded clips with {count} texts\n\n{markdown_table(header, rows)}\n\n{gain}."
    )


def load_model(arguments: argparse.Namespace) -> AlproForVideoTextRetrieval:
    """Load the trained model, or build one with random weights."""
    if arguments.model is not None:
        model = AlproForVideoTextRetrieval.from_pretrained(arguments.model).eval()
        model.processor = AutoProcessor.from_pretrained(arguments.model)
        return model
    torch.manual_seed(0)
    sizes = {
        "hidden_size": arguments.hidden_size,
        "num_hidden_layers": arguments.num_layers,
        "num_attention_heads": max(arguments.hidden_size // HEAD_WIDTH, 1),
        "intermediate_size": 4 * arguments.hidden_size,
    }
    config = AlproConfig(
        vision_config={"image_size": arguments.image_size, **sizes},
        text_config={"vocab_size": VOCABULARY, **sizes},
        fusion_layer=arguments.num_layers // 2,
        num_entities=0,
    )
    return AlproForVideoTextRetrieval(config).eval()


def random_gallery(model: AlproForVideoTextRetrieval, arguments: argparse.Namespace) -> Gallery:
    """Sample random clip features and random texts."""
    vision: Any = model.config.vision_config
    generator = torch.Generator().manual_seed(0)
    shape = (arguments.clips, 1 + vision.patches_per_side**2, vision.hidden_size)
    hidden = torch.randn(shape, generator=generator)
    embeds = torch.randn(arguments.clips, model.config.projection_dim, generator=generator)
    ids = torch.randint(VOCABULARY, (arguments.texts, TEXT_LENGTH), generator=generator)
    clips = BaseModelOutputWithPooling(hidden, torch.nn.functional.normalize(embeds, dim=-1))
    return Gallery({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, clips, None)


def trained_gallery(model: AlproForVideoTextRetrieval, arguments: argparse.Namespace) -> Gallery:
    """Encode the clips and tokenize the captions of a file.

    Raises:
        ValueError: if the file has fewer clips than --clips.
    """
    captions = read_captioned_videos(arguments.captions, arguments.videos)
    videos = captions.videos[: arguments.clips]
    if len(videos) < arguments.clips:
        raise ValueError(
            f"{arguments.captions} has {len(videos)} clips, but --clips is {arguments.clips}. Pass this number."
        )
    place = {video: index for index, video in enumerate(videos)}
    items = [item for item in captions.items if item.video in place]
    first = {item.video: item for item in reversed(items)}
    dataset = VideoTextDataset([first[video] for video in videos], model.config.num_frames)
    processor: Any = model.processor
    collate, found = AlproCollator(processor), []
    for start in range(0, len(dataset), arguments.batch_size):
        end = min(start + arguments.batch_size, len(dataset))
        batch = collate([dataset[index] for index in range(start, end)])
        found.append(model.encode_videos(batch["pixel_values"], arguments.batch_size))
    clips = BaseModelOutputWithPooling(
        torch.cat([each.last_hidden_state for each in found]), torch.cat([each.pooler_output for each in found])
    )
    tokens = processor(text=[item.text for item in items], return_tensors="pt")
    return Gallery(dict(tokens), clips, torch.tensor([place[item.video] for item in items]))
