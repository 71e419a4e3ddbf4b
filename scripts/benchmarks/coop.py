"""Benchmark CoOp of this package against CoOp as in the reference implementation, both in the same run.

Both implementations use the same random weights in the shapes of CLIP, the same prompts and the same images. The
full-length implementation computes what the reference computes: it pads every prompt to 77 tokens, runs the image
tower in every step, and encodes all prompts again for every test batch. Ours is `CoOpForImageClassification` with its
default settings.
"""

import argparse
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn import functional as F
from transformers import CLIPModel

from hf_prompt_models.configuration_utils import class_fields, ids_to_string
from hf_prompt_models.models.coop.configuration_coop import CoOpConfig
from hf_prompt_models.models.coop.modeling_coop import CoOpForImageClassification
from hf_prompt_models.prompts.packing import pack_prompts

from .measuring import (
    CLIP_SHAPES,
    MIB,
    activation_bytes,
    build_random_clip,
    count_flops,
    describe_machine,
    fastest,
    markdown_table,
    matmul_rate,
    random_tensor,
    relative_difference,
    transformers_activations,
)


LAYOUTS = ("end", "middle", "front", "class-specific")
POSITIONS = 77


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the benchmark."""
    parser.add_argument(
        "--parts", nargs="+", choices=[*PARTS], default=[*PARTS], help="parts of the benchmark to run (default: all)"
    )
    parser.add_argument(
        "--classes", type=int, nargs="+", default=[10, 100], help="numbers of classes (default: 10 100)"
    )
    parser.add_argument(
        "--n_ctx", type=int, nargs="+", default=[4, 16], help="numbers of context vectors (default: 4 16)"
    )
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=LAYOUTS, help="prompt layouts (default: all)")
    parser.add_argument("--name_length", type=int, default=2, help="number of tokens per class name (default: 2)")
    parser.add_argument(
        "--backbones",
        nargs="+",
        choices=CLIP_SHAPES,
        default=["vit-b-32"],
        help="CLIP models whose shapes are used (default: vit-b-32)",
    )
    parser.add_argument("--batch_size", type=int, default=32, help="training batch size, in images (default: 32)")
    parser.add_argument("--eval_batches", type=int, default=10, help="number of test batches (default: 10)")
    parser.add_argument("--eval_batch_size", type=int, default=100, help="test batch size, in images (default: 100)")
    parser.add_argument(
        "--steps", type=int, default=50, help="number of SGD steps before the contexts are compared (default: 50)"
    )
    parser.add_argument(
        "--repeats", type=int, default=3, help="number of timed runs; the fastest is reported (default: 3)"
    )
    parser.add_argument(
        "--chunk",
        type=int,
        default=100,
        help="number of classes that the full-length implementation encodes at once; its reported memory is that of "
        "one chunk times the number of chunks (default: 100; 1000 classes at once need 25 GiB)",
    )
    parser.add_argument(
        "--autocast",
        choices=["bf16", "fp16"],
        help="run ours under autocast in this precision; the reported differences include its effect",
    )
    parser.add_argument("--compile", action="store_true", help="run our text side under torch.compile (text part)")


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Run the benchmark and yield its results as Markdown, part by part."""
    precision = f"ours under {arguments.autocast} autocast" if arguments.autocast else "fp32"
    yield f"{describe_machine(precision)} Class names have {arguments.name_length} tokens."
    for part in arguments.parts:
        yield PARTS[part](arguments)


# -- the two implementations -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prompts:
    """Shape of the prompts.

    Attributes:
        classes: number of classes.
        n_ctx: number of context vectors per prompt.
        layout: one of `LAYOUTS`.
    """

    classes: int
    n_ctx: int
    layout: str

    @property
    def cells(self) -> list[str]:
        """Cells of the table that describe the prompts."""
        return [str(self.classes), str(self.n_ctx), self.layout]


def each_prompts(arguments: argparse.Namespace) -> Iterator[Prompts]:
    """Yield all combinations of the numbers of classes, the numbers of context vectors and the layouts."""
    for classes in arguments.classes:
        for n_ctx in arguments.n_ctx:
            for layout in arguments.layouts:
                yield Prompts(classes, n_ctx, layout)


class Arms:
    """Both implementations on the same model.

    The methods return the compared values, and those with a backward pass also return the gradient of the context.
    """

    def __init__(self, clip: CLIPModel, prompts: Prompts, arguments: argparse.Namespace):
        torch.manual_seed(0)
        names = torch.randint(1000, 40000, (prompts.classes, arguments.name_length)).tolist()
        specific = prompts.layout == "class-specific"
        config = CoOpConfig(
            clip_config=clip.config.to_dict(),
            n_ctx=prompts.n_ctx,
            class_token_position="end" if specific else prompts.layout,
            class_specific_context=specific,
            class_token_ids=[ids_to_string([49406, *name, 269, 49407]) for name in names],
            class_name_lengths=[arguments.name_length] * prompts.classes,
            **class_fields([str(index) for index in range(prompts.classes)]),
        )
        self.device = clip.device
        self.model = CoOpForImageClassification(config, backbone=clip).to(self.device)
        self.optimizer = torch.optim.SGD([self.model.context], lr=0.002, momentum=0.9, weight_decay=5e-4)
        self.classes = prompts.classes
        self.chunk = min(arguments.chunk, prompts.classes)
        self.dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(arguments.autocast)
        self.encode = (
            torch.compile(self.model.get_text_features) if arguments.compile else self.model.get_text_features
        )
        # The full-length implementation is slow, so it is run only once for many classes.
        self.repeats = arguments.repeats
        self.full_repeats = arguments.repeats if prompts.classes <= 100 else 1

    def autocast(self) -> contextlib.AbstractContextManager:
        """Return the autocast context of our implementation."""
        return contextlib.nullcontext() if self.dtype is None else torch.autocast(self.device.type, self.dtype)

    def gradient(self) -> torch.Tensor:
        """Return the gradient of the context and reset it."""
        gradient, self.model.context.grad = self.model.context.grad, None
        assert gradient is not None
        return gradient

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield the first class and the end of each chunk of classes."""
        return ((start, min(start + self.chunk, self.classes)) for start in range(0, self.classes, self.chunk))

    def full_length_features(self, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """Compute the features of some classes with each prompt in its own row, padded to 77 tokens."""
        text = self.model.clip.text_model
        prompts = self.model.prompt_token_ids()[start:stop]
        ends = torch.tensor([len(prompt) - 1 for prompt in prompts], device=self.device)
        ids = torch.tensor([prompt + [0] * (POSITIONS - len(prompt)) for prompt in prompts], device=self.device)
        table = torch.cat([text.embeddings.token_embedding.weight, self.model.context.flatten(0, -2)])
        hidden = text.embeddings(inputs_embeds=F.embedding(ids, table))
        with transformers_activations(text):
            hidden = text.encoder(inputs_embeds=hidden, attention_mask=None, is_causal=True).last_hidden_state
        pooled = text.final_layer_norm(hidden)[torch.arange(len(prompts), device=self.device), ends]
        return F.normalize(self.model.clip.text_projection(pooled), dim=-1)

    @torch.no_grad()
    def full_length_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """Compute normalised image features."""
        with transformers_activations(self.model.clip):
            return F.normalize(self.model.clip.get_image_features(pixel_values=pixels).pooler_output, dim=-1)

    def full_length_text(self, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return class features and the gradient of the context, full-length implementation."""
        parts = []
        for start, stop in self.spans():
            features = self.full_length_features(start, stop)
            (features * weights[start:stop]).sum().backward()
            parts.append(features.detach())
        return torch.cat(parts), self.gradient()

    def text(self, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return class features and the gradient of the context, our implementation."""
        with self.autocast():
            features = self.encode().pooler_output
        (features * weights).sum().backward()
        return features.detach(), self.gradient()

    def full_length_step(self, pixels: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits and the gradient of the context, full-length implementation."""
        image, parts = self.full_length_image(pixels), []
        for start, stop in self.spans():
            logits = self.model.clip.logit_scale.exp() * image @ self.full_length_features(start, stop).T
            (logits * weights[:, start:stop]).sum().backward()
            parts.append(logits.detach())
        return torch.cat(parts, dim=1), self.gradient()

    def step(self, inputs: dict[str, torch.Tensor], weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits and the gradient of the context, our implementation."""
        with self.autocast():
            logits = self.model(**inputs).logits
        (logits * weights).sum().backward()
        return logits.detach(), self.gradient()

    @torch.no_grad()
    def full_length_batch(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the logits of a test batch, full-length implementation."""
        image = self.full_length_image(pixels)
        text = torch.cat([self.full_length_features(start, stop) for start, stop in self.spans()])
        return self.model.clip.logit_scale.exp() * image @ text.T

    @torch.no_grad()
    def batches(self, inputs: dict[str, torch.Tensor], count: int) -> torch.Tensor:
        """Return the logits of the last of `count` equal test batches, our implementation."""
        self.model._classes_changed()  # clear the cached class features before the first batch
        with self.autocast():
            return [self.model(**inputs).logits for _ in range(count)][-1]

    @torch.no_grad()
    def evaluation_text(self) -> torch.Tensor:
        """Return the class features for evaluation without using the cache."""
        self.model._classes_changed()
        with self.autocast():
            return self.model.get_text_features().pooler_output

    def train(self, full_length: bool, embeds: torch.Tensor, labels: torch.Tensor, steps: int, size: int) -> float:
        """Train with SGD on consecutive batches of image features and return the last loss."""
        for step in range(steps):
            batch = (torch.arange(size) + step * size) % len(embeds)
            if full_length:
                logits = self.model.clip.logit_scale.exp() * embeds[batch] @ self.full_length_features().T
                loss = F.cross_entropy(logits, labels[batch])
            else:
                with self.autocast():
                    loss = self.model(image_embeds=embeds[batch], labels=labels[batch]).loss
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return loss.item()


# -- the measurements ------------------------------------------------------------------------------------------------


def measure_text(arguments: argparse.Namespace) -> str:
    """Measure the features of all classes and the gradient of the context."""
    rate, clip, rows = matmul_rate(), build_random_clip(), []
    for prompts in each_prompts(arguments):
        arms, weights = Arms(clip, prompts, arguments), random_tensor(prompts.classes, 512, seed=1)
        ours, (features, gradient) = fastest(partial(arms.text, weights), arms.repeats)
        theirs, (expected, expected_gradient) = fastest(partial(arms.full_length_text, weights), arms.full_repeats)
        parameters = list(arms.model.parameters())
        kept = activation_bytes(lambda encode=arms.model.get_text_features: encode().pooler_output, parameters)  # type: ignore[misc]
        their_kept = activation_bytes(partial(arms.full_length_features, 0, arms.chunk), parameters)
        their_kept = their_kept * prompts.classes // arms.chunk
        tokens = pack_prompts(arms.model.prompt_token_ids()).input_ids.numel()
        rows.append(
            [
                *prompts.cells,
                f"{theirs:.2f}",
                f"{ours:.3f}",
                f"{theirs / ours:.1f}",
                f"{POSITIONS * prompts.classes / tokens:.1f}",
                f"{their_kept / MIB:.0f}",
                f"{kept / MIB:.0f}",
                f"{their_kept / kept:.1f}",
                relative_difference(features, expected),
                relative_difference(gradient, expected_gradient),
                f"{count_flops(partial(arms.text, weights)) / ours / rate:.0%}",
            ]
        )
    header = ["classes", "n_ctx", "context", "full-length s", "ours s", "times faster", "times fewer tokens"]
    header += ["full-length MiB", "ours MiB", "times less", "features differ", "gradients differ", "of matmul rate"]
    return (
        "### Text side of a training step\n\nFeatures of all classes and the gradient of the context. Memory "
        f"is what the forward pass keeps for the backward pass. Beyond {arguments.chunk} classes, full length "
        "runs in chunks of this size, and its memory is that of one chunk multiplied by their number. The "
        "last column is the rate of our counted multiplications (without attention) relative to the rate of "
        "the machine.\n\n"
    ) + markdown_table(header, rows)


def measure_step(arguments: argparse.Namespace) -> str:
    """Measure a training step from images or from image features."""
    rows = []
    for name in arguments.backbones:
        clip, pixels = build_random_clip(CLIP_SHAPES[name]), random_tensor(arguments.batch_size, 3, 224, 224, seed=2)
        for prompts in each_prompts(arguments):
            arms, weights = Arms(clip, prompts, arguments), random_tensor(len(pixels), prompts.classes, seed=1)
            embeds = arms.full_length_image(pixels)
            theirs, (logits, gradient) = fastest(partial(arms.full_length_step, pixels, weights), arms.full_repeats)
            tower, _ = fastest(partial(arms.step, {"pixel_values": pixels}, weights), arms.repeats)
            cached, ours = fastest(partial(arms.step, {"image_embeds": embeds}, weights), arms.repeats)
            rows.append(
                [
                    name,
                    *prompts.cells,
                    f"{theirs:.2f}",
                    f"{tower:.3f}",
                    f"{theirs / tower:.1f}",
                    f"{cached:.3f}",
                    f"{theirs / cached:.1f}",
                    f"{(ours[0] - logits).abs().max().item():.1e}",
                    relative_difference(ours[1], gradient),
                ]
            )
    header = ["shapes", "classes", "n_ctx", "context", "full-length s", "ours s", "times faster", "cached features s"]
    header += ["times faster", "logits differ at most by", "gradients differ"]
    return (
        f"### Complete training step\n\nBatches of {arguments.batch_size} images; ours with the image "
        "encoder, and with cached image features.\n\n"
    ) + markdown_table(header, rows)


def measure_evaluation(arguments: argparse.Namespace) -> str:
    """Measure several test batches; the reference encodes all prompts again for each batch."""
    rows, count = [], arguments.eval_batches
    for name in arguments.backbones:
        clip, pixels = (
            build_random_clip(CLIP_SHAPES[name]),
            random_tensor(arguments.eval_batch_size, 3, 224, 224, seed=2),
        )
        for prompts in each_prompts(arguments):
            arms = Arms(clip, prompts, arguments)
            embeds = arms.full_length_image(pixels)
            theirs, logits = fastest(partial(arms.full_length_batch, pixels), arms.full_repeats)
            theirs *= count  # the reference takes the same time for every batch
            cached, ours = fastest(partial(arms.batches, {"image_embeds": embeds}, count), arms.repeats)
            tower, _ = fastest(partial(arms.batches, {"pixel_values": pixels}, count), 1)
            text, _ = fastest(arms.evaluation_text, arms.repeats)
            rows.append(
                [
                    name,
                    *prompts.cells,
                    f"{theirs:.1f}",
                    f"{tower:.2f}",
                    f"{theirs / tower:.1f}",
                    f"{text / tower:.2%}",
                    f"{cached:.3f}",
                    f"{theirs / cached:.0f}",
                    f"{(ours - logits).abs().max().item():.1e}",
                ]
            )
    header = ["shapes", "classes", "n_ctx", "context", "full-length s", "ours s", "times faster", "of this, text"]
    header += ["cached features s", "times faster", "logits differ at most by"]
    return (
        f"### Evaluation\n\n{count} batches of {arguments.eval_batch_size} images; ours with the image "
        "encoder, and with cached image features. (Full length is measured on one batch and multiplied by "
        f"{count}.)\n\n"
    ) + markdown_table(header, rows)


def measure_training(arguments: argparse.Namespace) -> str:
    """Compare the learned contexts of both implementations after training from the same initial context."""
    clip, rows, size = build_random_clip(), [], arguments.batch_size
    for layout in arguments.layouts:
        prompts = Prompts(min(arguments.classes), max(arguments.n_ctx), layout)
        embeds = F.normalize(random_tensor(4 * size, 512, seed=3), dim=-1)
        labels = torch.arange(4 * size) % prompts.classes
        theirs, ours = Arms(clip, prompts, arguments), Arms(clip, prompts, arguments)
        start = ours.model.context.detach().clone()
        assert torch.equal(start, theirs.model.context)
        losses = [arms.train(arms is theirs, embeds, labels, arguments.steps, size) for arms in (theirs, ours)]
        rows.append(
            [
                *prompts.cells,
                f"{((theirs.model.context - start).norm() / start.norm()).item():.2f}",
                relative_difference(ours.model.context, theirs.model.context),
                *(f"{loss:.5f}" for loss in losses),
            ]
        )
    header = [
        "classes",
        "n_ctx",
        "context",
        "context change",
        "contexts differ",
        "full-length loss",
        "our loss",
    ]
    return (
        f"### {arguments.steps} steps of SGD\n\nFrom the same initialization, on the same features: how much "
        "the context changed, and how much the contexts of both cases differ, relative to their size.\n\n"
    ) + markdown_table(header, rows)


PARTS: dict[str, Callable[[argparse.Namespace], str]] = {
    "text": measure_text,
    "step": measure_step,
    "evaluation": measure_evaluation,
    "training": measure_training,
}
