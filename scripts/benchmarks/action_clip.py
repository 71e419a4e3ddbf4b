"""Benchmark ActionCLIP of this package against other implementations, both in the same run.

The part "text" encodes the sentences of all classes: each sentence in its own row at full length through `CLIPModel`,
or all sentences packed into as few rows as possible. It also measures further batches, for which the port in mmaction2
encodes all sentences again. The part "clips" measures clips per second for decoding, for the image tower, and for
both. The part "training" measures a training step of the head with cached frame features and with the image tower.

Both implementations have the same weights and inputs and run alternately, and the tables show how much their results
differ. Without --backbone, the weights are random, in the shapes of CLIP.
"""

import argparse
import math
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from hf_prompt_models.configuration_utils import class_fields, ids_to_string
from hf_prompt_models.data.videos.dataset import VideoDataset
from hf_prompt_models.data.videos.labelled import read_video_folder
from hf_prompt_models.data.videos.writing import write_video
from hf_prompt_models.models.action_clip.configuration_action_clip import ActionClipConfig
from hf_prompt_models.models.action_clip.image_processing_action_clip import ActionClipImageProcessor
from hf_prompt_models.models.action_clip.modeling_action_clip import ActionClipForVideoClassification
from hf_prompt_models.prompts.packing import pack_prompts
from hf_prompt_models.prompts.templates import ACTION_TEMPLATES, fill_template

from .action_names import ACTION_NAMES
from .measuring import (
    CLIP_SHAPES,
    build_random_clip,
    describe_machine,
    fastest_in_turn,
    markdown_table,
    random_tensor,
    relative_difference,
    transformers_activations,
)


START, END, FIRST_WORD = 49406, 49407, 1000
LETTERS_A_TOKEN = 6
CLIP_HEIGHT, CLIP_WIDTH, FRAMES_PER_SECOND = 240, 320, 25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the benchmark."""
    parser.add_argument(
        "--parts", nargs="+", choices=[*PARTS], default=[*PARTS], help="parts of the benchmark to run (default: all)"
    )
    parser.add_argument(
        "--backbone",
        default="vit-b-32",
        help="vit-b-32 or vit-b-16 for random weights in these shapes (default: vit-b-32); or the folder or Hub id of "
        "a CLIP, with its own tokenizer and image size",
    )
    parser.add_argument(
        "--num_classes", type=int, default=400, help=f"number of classes, at most {len(ACTION_NAMES)} (default: 400)"
    )
    parser.add_argument(
        "--num_templates",
        type=int,
        default=16,
        help=f"number of ActionCLIP templates, at most {len(ACTION_TEMPLATES)} (default: 16)",
    )
    parser.add_argument(
        "--sampled_classes",
        type=int,
        default=25,
        help="number of evenly sampled classes for the full-length implementation, whose time is extrapolated to all "
        "classes because every sentence takes the same time (default: 25)",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="encode all sentences with the full-length implementation instead of estimating its time; takes minutes",
    )
    parser.add_argument(
        "--chunk",
        type=int,
        default=100,
        help="number of sentences that the full-length implementation encodes at once (default: 100)",
    )
    parser.add_argument(
        "--eval_batch_sizes",
        type=int,
        nargs="+",
        default=[1, 8],
        help="batch sizes for prediction, in clips (default: 1 8)",
    )
    parser.add_argument("--num_frames", type=int, default=8, help="number of frames per clip (default: 8)")
    parser.add_argument("--post_network", default="transf", help="head over the frame features (default: transf)")
    parser.add_argument("--num_clips", type=int, default=8, help="number of video files to decode (default: 8)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=10.0,
        help=f"length of each video file, at {CLIP_WIDTH} x {CLIP_HEIGHT} pixels and {FRAMES_PER_SECOND} frames per "
        "second (default: 10)",
    )
    parser.add_argument(
        "--clip_dir",
        metavar="FOLDER",
        help="folder of your own videos to decode instead, with one subfolder per class",
    )
    parser.add_argument(
        "--clip_batch_size", type=int, default=4, help="batch size of the image tower, in clips (default: 4)"
    )
    parser.add_argument(
        "--num_workers", type=int, nargs="+", default=[1], help="numbers of decoding processes (default: 1)"
    )
    parser.add_argument("--batch_size", type=int, default=8, help="training batch size, in clips (default: 8)")
    parser.add_argument(
        "--repeats", type=int, default=2, help="number of timed rounds; the fastest is reported (default: 2)"
    )


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Run the benchmark and yield its results as Markdown, part by part.

    Raises:
        ValueError: if there are fewer classes or templates than requested, or a number is too small.
    """
    for name, most in (("num_classes", len(ACTION_NAMES)), ("num_templates", len(ACTION_TEMPLATES))):
        if not 1 <= getattr(arguments, name) <= most:
            raise ValueError(f"Expected --{name} from 1 to {most}, got {getattr(arguments, name)}.")
    for name in ("sampled_classes", "chunk", "num_frames", "clip_batch_size", "batch_size", "repeats"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"Expected --{name} to be at least 1, got {getattr(arguments, name)}.")
    if arguments.num_clips < 2:
        raise ValueError(f"Expected --num_clips to be at least 2, got {arguments.num_clips}.")
    yield describe_machine()
    for part in arguments.parts:
        yield PARTS[part](arguments)


def build_model(arguments: argparse.Namespace, trainable: str = "all") -> ActionClipForVideoClassification:
    """Build a model with the weights of a backbone, or with random weights."""
    names = sampled_evenly(ACTION_NAMES, arguments.num_classes)
    templates = [template.text for template in ACTION_TEMPLATES[: arguments.num_templates]]
    choices = {"num_frames": arguments.num_frames, "post_network": arguments.post_network, "trainable": trainable}
    torch.manual_seed(0)  # for the initial weights of the head
    if arguments.backbone not in CLIP_SHAPES:
        model = ActionClipForVideoClassification.from_backbone(arguments.backbone, names, templates, **choices)
        return model.eval()
    clip = build_random_clip(CLIP_SHAPES[arguments.backbone])
    prompts = token_ids([fill_template(template, name) for template in templates for name in names])
    config = ActionClipConfig(
        clip_config=clip.config.to_dict(),
        templates=templates,
        prompt_token_ids=[ids_to_string(ids) for ids in prompts],
        **choices,
        **class_fields(names),
    )
    return ActionClipForVideoClassification(config, backbone=clip).eval()


def token_ids(texts: Iterable[str]) -> list[list[int]]:
    """Tokenize texts without the files of CLIP's tokenizer.

    A word has one token per 6 letters, and punctuation has one token. This is at least the number of tokens of CLIP's
    tokenizer for most words. Equal pieces have equal ids.
    """
    known: dict[str, int] = {}
    sentences = []
    for text in texts:
        words = re.findall(r"[a-z]+|[^a-z\s]+", text.lower())
        pieces = [f"{word} "[start : start + LETTERS_A_TOKEN] for word in words for start in _starts(word)]
        sentences.append([START, *(known.setdefault(piece, FIRST_WORD + len(known)) for piece in pieces), END])
    return sentences


def _starts(word: str) -> range:
    return range(0, len(word), LETTERS_A_TOKEN)


def sampled_evenly(items: Sequence, count: int) -> list:
    """Return at most `count` evenly spaced items."""
    count = min(count, len(items))
    return [items[place * len(items) // count] for place in range(count)]


# -- text ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def full_length_features(
    model: ActionClipForVideoClassification, prompts: Sequence[Sequence[int]], chunk: int
) -> torch.Tensor:
    """Compute the features of sentences, each in its own row, padded to all positions.

    Args:
        model: the model.
        prompts: token ids of the sentences.
        chunk: number of sentences that are encoded at once.

    Returns:
        L2-normalised features of shape (sentences, dim).
    """
    positions = model.clip.config.text_config.max_position_embeddings
    ids = torch.tensor([[*prompt, *[0] * (positions - len(prompt))] for prompt in prompts])
    with transformers_activations(model.clip):
        features = [model.clip.get_text_features(input_ids=part).pooler_output for part in ids.split(chunk)]
    return F.normalize(torch.cat(features), dim=-1)


@torch.no_grad()
def packed_features(model: ActionClipForVideoClassification) -> torch.Tensor:
    """Compute the features of all sentences, of shape (templates, classes, dim), as in the first prediction."""
    model._classes_changed()  # clear the cached features and rows
    return model.get_text_features().pooler_output


@torch.no_grad()
def known_features(model: ActionClipForVideoClassification) -> torch.Tensor:
    """Return the features of all sentences, from the cache if there is one."""
    return model.get_text_features().pooler_output


@torch.no_grad()
def predict(model: ActionClipForVideoClassification, pixels: torch.Tensor) -> torch.Tensor:
    """Return the logits of clips."""
    return model(pixel_values=pixels).logits


@torch.no_grad()
def video_features(model: ActionClipForVideoClassification, pixels: torch.Tensor) -> torch.Tensor:
    """Return the features of clips."""
    return model.get_video_features(pixel_values=pixels).pooler_output


def log_mean_probabilities(videos: torch.Tensor, sentences: torch.Tensor) -> torch.Tensor:
    """Return the log of the probabilities averaged over templates, as in mmaction2.

    Args:
        videos: features of shape (batch, dim).
        sentences: features of shape (templates, classes, dim).

    Returns:
        Tensor of shape (batch, classes).
    """
    return torch.stack([(100 * videos @ each.T).softmax(dim=-1) for each in sentences]).mean(dim=0).log()


def measure_text(arguments: argparse.Namespace) -> str:
    """Measure the text side of the first prediction, then further batches."""
    model = build_model(arguments)
    prompts, classes = model.prompt_token_ids(), model.config.num_labels
    sampled = sampled_evenly(range(classes), classes if arguments.full else arguments.sampled_classes)
    sample = [prompts[template * classes + index] for template in range(model.num_templates) for index in sampled]
    (full, expected), (packed, features) = fastest_in_turn(
        [partial(full_length_features, model, sample, arguments.chunk), partial(packed_features, model)],
        arguments.repeats,
    )
    full *= len(prompts) / len(sample)
    expected = expected.unflatten(0, (model.num_templates, -1))
    positions = model.clip.config.text_config.max_position_embeddings
    laid_out = pack_prompts(prompts)
    ((known, _),) = fastest_in_turn([partial(known_features, model)], max(arguments.repeats, 3))
    first = [
        str(classes),
        str(model.num_templates),
        f"{sum(map(len, prompts)) / len(prompts):.1f}",
        f"{full:.2f}",
        f"{packed:.3f}",
        f"{full / packed:.1f}",
        f"{positions * len(prompts) / laid_out.input_ids.numel():.1f}",
        f"{known:.4f}",
        relative_difference(features[:, sampled], expected),
    ]
    header = ["classes", "templates", "tokens per sentence", "full-length s", "ours first s", "times faster"]
    header += ["times fewer tokens", "ours later s", "features differ"]

    rows = []
    for size in arguments.eval_batch_sizes:
        side = model.clip.config.vision_config.image_size
        pixels = random_tensor(size, arguments.num_frames, 3, side, side, seed=2)
        (tower, videos), (ours, logits) = fastest_in_turn(
            [partial(video_features, model, pixels), partial(predict, model, pixels)], arguments.repeats
        )
        # The softmax needs all classes. Classes that were not sampled use our features in the reference as well.
        reference = features.clone()
        reference[:, sampled] = expected
        rows.append(
            [
                str(size),
                f"{tower:.3f}",
                f"{tower + full:.2f}",
                f"{ours:.3f}",
                f"{(tower + full) / ours:.0f}",
                f"{known / ours:.2%}",
                f"{(logits - log_mean_probabilities(videos, reference)).abs().max().item():.1e}",
            ]
        )
    estimate = (
        "All sentences were encoded."
        if len(sample) == len(prompts)
        else (
            f"**Estimated:** {len(sample)} of {len(prompts)} sentences, those of evenly sampled classes, were "
            f"encoded, and their time was multiplied by {len(prompts) / len(sample):g}. Every row has {positions} "
            "tokens and costs the same (--full encodes all)."
        )
    )
    again = [
        "clips",
        "image side s",
        "text again s",
        "ours s",
        "times faster",
        "of this, text",
        "logits differ at most by",
    ]
    return (
        "### Text side of the first prediction\n\nFeatures of all sentences. Full length: each sentence in "
        f"its own row, padded to {positions} tokens, {arguments.chunk} at once. {estimate} Ours is everything "
        "that the first prediction does for text, including the layout of the rows "
        f"({len(laid_out.input_ids)} of {laid_out.input_ids.shape[1]} tokens); then what a later prediction "
        f"does.\n\n{markdown_table(header, [first])}\n\n### Prediction of further batches\n\nClips of "
        f"{arguments.num_frames} frames. Text again: the image side, and all sentences at full length for "
        "every batch as in mmaction2 (the sum of both times). If only some sentences were sampled, the "
        f"reference of the logits uses our features of the others.\n\n{markdown_table(again, rows)}"
    )


# -- clips -----------------------------------------------------------------------------------------------------------


class FrameDataset(Dataset):
    """Dataset that decodes frames but does not process them."""

    def __init__(self, dataset: VideoDataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> int:
        return len(self.dataset.videos.load(index, self.dataset.num_frames))


def write_clips(folder: Path, arguments: argparse.Namespace) -> None:
    """Write H.264 files of a moving textured background with slight noise, similar to camera footage."""
    for way in ("left", "right"):  # a dataset needs at least two classes
        (folder / way).mkdir()
    count = max(round(arguments.seconds * FRAMES_PER_SECOND), 1)
    for number in range(arguments.num_clips):
        generator = np.random.default_rng(number)
        coarse = generator.integers(0, 256, (CLIP_HEIGHT // 16, 2 * CLIP_WIDTH // 16, 3))
        ground = np.kron(coarse, np.ones((16, 16, 1))).astype(np.int16)
        starts = np.linspace(0, CLIP_WIDTH, count).astype(int)
        frames = np.stack([ground[:, start : start + CLIP_WIDTH] for start in starts])
        frames += generator.integers(-6, 7, frames.shape, dtype=np.int16)
        path = folder / ("left", "right")[number % 2] / f"{number:03d}.mp4"
        write_video(path, frames[:: 1 - 2 * (number % 2)].clip(0, 255).astype(np.uint8), FRAMES_PER_SECOND)


def measure_clips(arguments: argparse.Namespace) -> str:
    """Measure decoding, the image tower, and both."""
    model = build_model(arguments)
    processor = ActionClipImageProcessor() if model.processor is None else model.processor.image_processor
    with tempfile.TemporaryDirectory() as made:
        if not arguments.clip_dir:
            write_clips(Path(made), arguments)
        videos = read_video_folder(arguments.clip_dir or made)
        if arguments.clip_dir:
            videos = videos.select(range(min(arguments.num_clips, len(videos))))
        dataset = VideoDataset(videos, processor, arguments.num_frames)
        pixels = torch.stack([dataset[index]["pixel_values"] for index in range(len(dataset))])
        load = partial(DataLoader, batch_size=arguments.clip_batch_size)

        @torch.no_grad()
        def encode(batches: Iterable[torch.Tensor]) -> torch.Tensor:
            return torch.cat([model.get_video_features(pixel_values=batch).pooler_output for batch in batches])

        def both(workers: int) -> torch.Tensor:
            return encode(batch["pixel_values"] for batch in load(dataset, num_workers=workers))

        arms: dict[str, Callable[[], object]] = {
            "decoding": lambda: sum(1 for _ in load(FrameDataset(dataset))),
            "decoding, resizing, normalising": lambda: sum(1 for _ in load(dataset)),
            "image encoder": lambda: encode(pixels.split(arguments.clip_batch_size)),
            "both in turn": partial(both, 0),
            **{f"both, {workers} decoding process(es)": partial(both, workers) for workers in arguments.num_workers},
        }
        measured = dict(zip(arms, fastest_in_turn([*arms.values()], arguments.repeats), strict=True))
    tower = measured["image encoder"][1]
    rows = [
        [
            name,
            f"{len(dataset) / seconds:.2f}",
            relative_difference(result, tower) if isinstance(result, torch.Tensor) else "",
        ]
        for name, (seconds, result) in measured.items()
    ]
    source = (
        f"from {arguments.clip_dir}"
        if arguments.clip_dir
        else f"of {arguments.seconds:g} s, {CLIP_WIDTH} x {CLIP_HEIGHT} pixels, H.264"
    )
    return (
        f"### Clips per second\n\n{len(dataset)} clips {source}; {arguments.num_frames} frames of each, the "
        f"middles of as many segments, in batches of {arguments.clip_batch_size} clips. With decoding "
        "processes, decoding and the encoder run at the same time; the start of the processes is "
        "included.\n\n"
    ) + markdown_table(["what", "clips per second", "features differ"], rows)


# -- training a head -------------------------------------------------------------------------------------------------


def measure_training(arguments: argparse.Namespace) -> str:
    """Measure a training step with the image tower and one with cached frame features."""
    model = build_model(arguments, trainable="head")
    model.train()
    side = model.clip.config.vision_config.image_size
    pixels = random_tensor(arguments.batch_size, arguments.num_frames, 3, side, side, seed=3)
    labels = torch.arange(arguments.batch_size) % model.config.num_labels
    with torch.no_grad():
        embeds = model.get_frame_features(pixels).pooler_output
    known_features(model)  # fill the cache, which both implementations use

    def step(**inputs: torch.Tensor) -> tuple[float, torch.Tensor]:
        torch.manual_seed(0)  # so that both implementations sample the same sentences
        model.zero_grad()
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        gradients = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
        return loss.item(), torch.cat(gradients)

    (theirs, (expected, gradient)), (ours, (loss, our_gradient)) = fastest_in_turn(
        [partial(step, pixel_values=pixels), partial(step, frame_embeds=embeds)], max(arguments.repeats, 2)
    )
    row = [
        arguments.post_network,
        str(arguments.batch_size),
        f"{theirs:.3f}",
        f"{ours:.4f}",
        f"{theirs / ours:.0f}",
        f"{abs(loss - expected) / max(abs(expected), math.ulp(1.0)):.1e}",
        relative_difference(our_gradient, gradient),
    ]
    header = ["head", "clips", "with the encoder s", "cached features s", "times faster", "losses differ"]
    return (
        f"### Training step of the head\n\nLoss and gradients of clips of {arguments.num_frames} frames with "
        "a frozen CLIP. The features of all sentences are precomputed in both cases.\n\n"
    ) + markdown_table([*header, "gradients differ"], [row])


PARTS: dict[str, Callable[[argparse.Namespace], str]] = {
    "text": measure_text,
    "clips": measure_clips,
    "training": measure_training,
}
