"""Benchmark batched generation with a cache against recomputing the prefix for every token, in the same run.

The table shows tokens per second of greedy generation for three implementations: `generate`, which encodes the images
once and caches keys and values; running the language model on the complete text again for each token, with images
encoded once, as in the code of ClipCap; and recomputing everything for each token, including the images. The latter
two are measured on a few evenly spaced tokens and their time is extrapolated (--full measures all tokens).

All have the same weights and continue the same text, and the table shows how often they choose the same token. Without
--language_model and --vision_model, the weights are random, in the shapes of gpt2 and microsoft/resnet-152.
"""

import argparse
from collections.abc import Callable, Iterator

import torch
from transformers import GenerationConfig, GPT2Config, ResNetConfig

from hf_prompt_models.models.mantis.configuration_mantis import MantisConfig
from hf_prompt_models.models.mantis.modeling_mantis import MantisForConditionalGeneration

from .measuring import describe_machine, fastest, markdown_table, random_tensor


SAMPLED_STEPS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the benchmark."""
    parser.add_argument(
        "--language_model", metavar="DIR", help="folder or Hub id of a language model (default: random weights)"
    )
    parser.add_argument(
        "--vision_model", metavar="DIR", help="folder or Hub id of a vision model; required with --language_model"
    )
    parser.add_argument("--batch_size", type=int, default=8, help="batch size, in products (default: 8)")
    parser.add_argument("--images", type=int, default=1, help="number of images per product (default: 1)")
    parser.add_argument(
        "--num_image_tokens", type=int, default=1, help="number of image tokens per image (default: 1)"
    )
    parser.add_argument("--title_tokens", type=int, default=8, help="length of the titles in tokens (default: 8)")
    parser.add_argument("--new_tokens", type=int, default=64, help="number of tokens to generate (default: 64)")
    parser.add_argument(
        "--repeats", type=int, default=1, help="number of timed rounds; the fastest is reported (default: 1)"
    )
    parser.add_argument(
        "--full", action="store_true", help="measure every token of the slow implementations instead of estimating"
    )


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Run the benchmark and yield its results as Markdown, part by part.

    Raises:
        ValueError: if a number is out of range, or only one of --language_model and --vision_model is given.
    """
    for name in ("batch_size", "images", "title_tokens", "new_tokens", "repeats"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"Expected --{name} to be at least 1, got {getattr(arguments, name)}.")
    if (arguments.language_model is None) != (arguments.vision_model is None):
        raise ValueError(
            "Expected both --language_model and --vision_model, got only one of them. Pass both or neither."
        )
    yield describe_machine()
    yield generation_table(arguments)


@torch.no_grad()
def generation_table(arguments: argparse.Namespace) -> str:
    """Measure the three implementations and return the table."""
    model = build_model(arguments)
    ids, pixels = random_prompts(model, arguments)
    new_tokens = arguments.new_tokens

    def cached() -> torch.Tensor:
        settings = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens, "do_sample": False}
        output = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels, **settings)
        return output[:, ids.shape[1] :]

    encoded = model.get_image_features(pixels)

    def prefix_again(step: int) -> torch.Tensor:
        return chosen(model, torch.cat([ids, written[:, :step]], dim=1), mm_encoder_outputs={"image": encoded})

    def all_again(step: int) -> torch.Tensor:
        return chosen(model, torch.cat([ids, written[:, :step]], dim=1), pixel_values=pixels)

    seconds, written = fastest(cached, arguments.repeats)
    steps = range(new_tokens) if arguments.full else sampled_steps(new_tokens)
    tokens = arguments.batch_size * new_tokens
    rows = [["cached", f"{tokens / seconds:.2f}", "", ""]]
    for name, arm in (("text again", prefix_again), ("images and text again", all_again)):
        slow, agreement = time_steps(arm, steps, written, arguments.repeats)
        slow *= new_tokens / len(steps)
        rows.append([name, f"{tokens / slow:.2f}", f"{slow / seconds:.1f} x", f"{agreement:.0%}"])
    estimated = (
        "" if arguments.full else f" **Estimated** from {len(steps)} of the {new_tokens} tokens in the slow cases."
    )
    header = ["per token", "tokens per second", "times longer", "same token"]
    return (
        f"Tokens per second, {arguments.batch_size} products at once, {new_tokens} new tokens after "
        f"{ids.shape[1]}; how many times longer than with the cache, and how often the same token is "
        f"chosen.{estimated}\n\n{markdown_table(header, rows)}"
    )


def sampled_steps(count: int) -> list[int]:
    """Return the middle of each of at most `SAMPLED_STEPS` equal parts of the steps."""
    parts = min(SAMPLED_STEPS, count)
    return [(2 * part + 1) * count // (2 * parts) for part in range(parts)]


def time_steps(
    arm: Callable[[int], torch.Tensor], steps: range | list[int], written: torch.Tensor, repeats: int
) -> tuple[float, float]:
    """Time some steps of an implementation.

    Returns:
        The total seconds, and the share of tokens that are equal to the generated ones.
    """
    total, same = 0.0, []
    for step in steps:
        seconds, tokens = fastest(lambda step=step: arm(step), repeats)  # type: ignore[misc]
        total += seconds
        same.append((tokens == written[:, step]).float().mean())
    return total, torch.stack(same).mean().item()


def chosen(model: MantisForConditionalGeneration, ids: torch.Tensor, **images: object) -> torch.Tensor:
    """Return the most probable next token of each text, without a cache."""
    output = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, logits_to_keep=1, **images)
    logits = output.logits[:, -1]
    logits[:, list(never_generated(model))] = -torch.inf
    return logits.argmax(dim=-1)


def never_generated(model: MantisForConditionalGeneration) -> set[int]:
    """Return the ids that are never generated: the tokens of the method and, so that all lengths agree, the end."""
    end = model.generation_config.eos_token_id
    return {*model.own_token_ids, *(() if end is None else torch.tensor(end).flatten().tolist())}


def build_model(arguments: argparse.Namespace) -> MantisForConditionalGeneration:
    """Build a model from the given backbones, or with random weights."""
    if arguments.language_model is not None:
        model = MantisForConditionalGeneration.from_backbone(
            arguments.language_model, arguments.vision_model, num_image_tokens=arguments.num_image_tokens
        )
        return model.eval()
    text = GPT2Config()
    resnet = ResNetConfig(
        embedding_size=64, hidden_sizes=[256, 512, 1024, 2048], depths=[3, 8, 36, 3], layer_type="bottleneck"
    )
    torch.manual_seed(0)
    config = MantisConfig(
        text_config=text,
        vision_config=resnet,
        num_image_tokens=arguments.num_image_tokens,
        image_token_id=text.vocab_size,
        separator_token_id=text.vocab_size + 1,
        pad_token_id=text.eos_token_id,
    )
    model = MantisForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        eos_token_id=text.eos_token_id, pad_token_id=text.eos_token_id, suppress_tokens=sorted(model.own_token_ids)
    )
    return model.eval()


def random_prompts(
    model: MantisForConditionalGeneration, arguments: argparse.Namespace
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample prompts of image tokens, titles and separators.

    Returns:
        Token ids of shape (batch, length), and pixels of shape (batch * images, 3, side, side).
    """
    slots_each, batch = arguments.images * model.config.num_image_tokens, arguments.batch_size
    generator = torch.Generator().manual_seed(0)
    titles = torch.randint(3, min(model.image_token_id, 400), (batch, arguments.title_tokens), generator=generator)
    slots = torch.full((batch, slots_each), model.image_token_id)
    separators = torch.full((batch, 1), model.separator_token_id)
    side = model.vision_model.config.to_dict().get("image_size", 224)
    pixels = random_tensor(batch * arguments.images, 3, side, side, seed=0)
    return torch.cat([slots, titles, separators], dim=1), pixels
