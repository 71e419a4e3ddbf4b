"""Benchmark complete runs of CoOp, training and test, against a plain version of the reference implementation's loop.

The reference loop prepares augmented images, runs the image tower and encodes all prompts at 77 tokens in every step,
and encodes all prompts again for every test batch. Its time is that of some steps and one test batch, multiplied. Our
runs are `hf-prompt train`, as users run it; the time of training is measured on some epochs and multiplied unless
--full is given. Each implementation runs in a process of its own, whose peak memory is reported. Images are drawn, and
the weights are random, in the shapes of ViT-B/32.
"""

import argparse
import contextlib
import io
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import AutoImageProcessor, AutoTokenizer

from hf_prompt_models.backbones.packaged import CLIP_DIR

from .features import draw_photos, random_backbone
from .measuring import CLIP_SHAPES, MIB, describe_machine, markdown_table, transformers_activations


RUNS: dict[str, tuple[str, list[str]]] = {
    "CoOp, the paper's recipe": ("coop", ["--recipe", "paper"]),
    "CoOp, --augmented_views 8": ("coop", ["--augmented_views", "8"]),
    "CoOp, --augmented_views 8 --bf16 true": ("coop", ["--augmented_views", "8", "--bf16", "true"]),
    "CLAP, a head on stored features": ("feature_adapter", ["--adapter_type", "clap"]),
}
"""Our runs: their names in the table, the method and its flags."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the benchmark."""
    parser.add_argument("--classes", type=int, default=100, help="number of classes (default: 100)")
    parser.add_argument("--shots", type=int, default=16, help="number of images per class (default: 16)")
    parser.add_argument("--test_images", type=int, default=1000, help="number of test images (default: 1000)")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default: 3)")
    parser.add_argument("--epochs", type=int, default=50, help="number of epochs (default: 50)")
    parser.add_argument(
        "--measured_epochs", type=int, default=1, help="number of epochs that our runs train (default: 1)"
    )
    parser.add_argument("--full", action="store_true", help="train all epochs of our runs instead of estimating them")
    parser.add_argument("--measured_steps", type=int, default=3, help="steps of the reference loop (default: 3)")
    parser.add_argument(
        "--size", type=int, nargs=2, default=[500, 375], help="width and height of the images (default: 500 375)"
    )
    parser.add_argument(
        "--backbone",
        choices=[*CLIP_SHAPES, "playground"],
        default="vit-b-32",
        help="CLIP whose shapes are used (default: vit-b-32)",
    )
    parser.add_argument(
        "--runs",
        type=int,
        nargs="+",
        choices=range(len(RUNS)),
        default=[*range(len(RUNS))],
        help="our runs to measure",
    )


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Run the benchmark and yield its results as Markdown."""
    yield describe_machine()
    trained = arguments.epochs if arguments.full else min(arguments.measured_epochs, arguments.epochs)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        per_class = -(-arguments.test_images // arguments.classes)
        draw_photos(data / "train", arguments.classes, arguments.shots, arguments.size)
        draw_photos(data / "test", arguments.classes, per_class, arguments.size, seed=1)
        save_backbone(arguments.backbone, data / "backbone")
        reference, their_bytes = in_process(reference_seconds, data, arguments)
        rows = [["reference loop", f"{reference / 60:.1f}", "", f"{their_bytes / MIB:.0f}", "", ""]]
        for number in arguments.runs:
            name, (method, flags) = list(RUNS.items())[number]
            flags = [method, *flags, "--feature_cache", str(data / f"cache-{number}")]
            seconds, our_bytes = in_process(our_seconds, data, flags, arguments, trained, arguments.seeds)
            again, _ = in_process(our_seconds, data, flags, arguments, trained, 1)
            is_reference = method == "coop"  # the method of the reference loop
            rows.append(
                [
                    name,
                    f"{seconds / 60:.1f}",
                    f"{reference / seconds:.1f}" if is_reference else "",
                    f"{our_bytes / MIB:.0f}",
                    f"{their_bytes / our_bytes:.1f}" if is_reference else "",
                    f"{again / (seconds - (arguments.seeds - 1) * again):.1%}",
                ]
            )
    estimated = (
        "All epochs were trained."
        if trained == arguments.epochs
        else f"The time of training is **estimated** from {trained} of {arguments.epochs} epochs."
    )
    header = ["run", "minutes", "times faster", "peak MiB", "times less", "a further seed"]
    yield (
        f"### Complete runs\n\n{arguments.seeds} seeds of {arguments.shots} images of each of {arguments.classes} "
        f"classes, {arguments.test_images} test images. {estimated} The time of the reference loop is **estimated** "
        f"from {arguments.measured_steps} steps and one test batch. The last column is the time of a run of one seed "
        "with its features in the cache, as a share of the run of that seed without them.\n\n"
        + markdown_table(header, rows)
    )


def save_backbone(name: str, folder: Path) -> None:
    """Save a CLIP with random weights, with the packaged tokenizer."""
    clip, image_processor = random_backbone(name, folder)
    tokenizer = AutoTokenizer.from_pretrained(CLIP_DIR)
    clip.config.text_config.eos_token_id = tokenizer.eos_token_id
    for each in (clip, image_processor, tokenizer):
        each.save_pretrained(folder)


def in_process(function: Callable[..., Any], *arguments: Any) -> tuple[Any, int]:
    """Call a function in a new process, and return its result and the peak memory of the process in bytes."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=_use_threads, initargs=(torch.get_num_threads(),)) as pool:
        return pool.submit(_with_peak, function, *arguments).result()


def _use_threads(threads: int) -> None:
    torch.set_num_threads(threads)


def _with_peak(function: Callable[..., Any], *arguments: Any) -> tuple[Any, int]:
    result = function(*arguments)
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kilobytes
    return result, unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def our_seconds(
    data: Path, method: Sequence[str], arguments: argparse.Namespace, trained: int, num_seeds: int
) -> float:
    """Return the seconds of one of our runs. The steps of epochs that are not trained are counted as those that are.

    Args:
        data: folder with training images, test images and the backbone.
        method: the method and its flags.
        arguments: flags of the benchmark.
        trained: number of epochs that are trained.
        num_seeds: number of seeds.
    """
    from transformers import TrainerCallback

    from hf_prompt_cli.main import main
    from hf_prompt_models.training.trainer import PromptTrainer

    class StepTimes(TrainerCallback):
        """Callback that adds up the time from the beginning of each training to the end of its last step."""

        seconds = began = ended = 0.0

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.ended = time.perf_counter()

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.seconds += self.ended - self.began

    times, train = StepTimes(), PromptTrainer.train

    def timed(self: Any, *arguments: Any, **kwargs: Any) -> Any:
        self.add_callback(times)
        return train(self, *arguments, **kwargs)

    flags = {
        "--backbone": data / "backbone",
        "--train_dir": data / "train",
        "--test_dir": data / "test",
        "--shots": arguments.shots,
        "--disable_tqdm": "true",
    }
    if method[0] == "coop":  # feature adapters are fitted in seconds, without the Trainer
        flags |= {"--num_train_epochs": trained, "--report_to": "none"}
    values = [str(part) for item in flags.items() for part in item]
    seeds = map(str, range(1, num_seeds + 1))
    PromptTrainer.train = timed  # type: ignore[method-assign]
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            start = time.perf_counter()
            main(["train", *method, *values, "--output_dir", folder, "--seeds", *seeds])
            return time.perf_counter() - start + times.seconds * (arguments.epochs / trained - 1)
    finally:
        PromptTrainer.train = train  # type: ignore[method-assign]


def reference_seconds(data: Path, arguments: argparse.Namespace) -> float:
    """Return the estimated seconds of the reference loop: all steps and test batches of all seeds."""
    from hf_prompt_models.data.images.dataset import AugmentedImageDataset, ImageDataset
    from hf_prompt_models.data.images.labelled import read_labelled_images
    from hf_prompt_models.models.coop.modeling_coop import CoOpForImageClassification

    images = read_labelled_images(data / "train", "train")
    model = CoOpForImageClassification.from_backbone(data / "backbone", images.class_names, n_ctx=16)
    clip: Any = model.clip
    context = torch.nn.Parameter(model.context.detach().clone())
    optimizer = torch.optim.SGD([context], lr=2e-3, momentum=0.9, weight_decay=5e-4)
    positions = clip.config.text_config.max_position_embeddings
    prompts = model.prompt_token_ids()
    ids = torch.tensor([prompt + [0] * (positions - len(prompt)) for prompt in prompts])
    ends = torch.tensor([len(prompt) - 1 for prompt in prompts])

    def text_features() -> torch.Tensor:
        text = clip.text_model
        table = torch.cat([text.embeddings.token_embedding.weight, context])
        hidden = text.embeddings(inputs_embeds=F.embedding(ids, table))
        hidden = text.encoder(inputs_embeds=hidden, attention_mask=None, is_causal=True).last_hidden_state
        pooled = text.final_layer_norm(hidden)[torch.arange(len(ids)), ends]
        return F.normalize(clip.text_projection(pooled), dim=-1)

    def logits_of(pixels: torch.Tensor) -> torch.Tensor:
        with transformers_activations(clip):
            with torch.no_grad():
                image = F.normalize(clip.get_image_features(pixel_values=pixels).pooler_output, dim=-1)
            return clip.logit_scale.exp() * image @ text_features().T

    processor = AutoImageProcessor.from_pretrained(data / "backbone")
    size = min(32, len(images))
    loader = DataLoader(AugmentedImageDataset(images, processor), batch_size=size, shuffle=True)
    batches = iter(loader)
    step_times: list[float] = []
    while len(step_times) < 1 + arguments.measured_steps:  # the first one is not counted
        start = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            batches = iter(loader)
            continue
        loss = F.cross_entropy(logits_of(batch["pixel_values"]), batch["labels"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step_times.append(time.perf_counter() - start)
    test = read_labelled_images(data / "test", "test")
    per_batch = min(100, len(test))
    start = time.perf_counter()
    with torch.no_grad():
        logits_of(next(iter(DataLoader(ImageDataset(test, processor), batch_size=per_batch)))["pixel_values"])
    test_batch = time.perf_counter() - start
    steps = arguments.epochs * max(len(images) // size, 1)
    return arguments.seeds * (steps * statistics.mean(step_times[1:]) + len(test) / per_batch * test_batch)
