"""Measure batched generation here against doing the prefix again for every token, in one run.

Tokens a second of greedy generation: `generate`, which encodes pictures once and keeps keys and values of all that was
read; the language model over the whole text again for each token, pictures encoded once, as ClipCap's code does; and
everything again for each token, pictures too. Of the latter two a few tokens, evenly drawn from all, are measured and
their time multiplied (--full measures all). All arms have the same weights and go on from the same text; how often
they choose the same token stands beside. Without folders the weights are random, in the shapes of gpt2 and
microsoft/resnet-152.
"""

import argparse
from collections.abc import Callable, Iterator

import torch
from transformers import GenerationConfig, GPT2Config, ResNetConfig

from hf_prompt_models.models.mantis.configuration_mantis import MantisConfig
from hf_prompt_models.models.mantis.modeling_mantis import MantisForConditionalGeneration

from .measuring import describe_machine, fastest, markdown_table, random_tensor


DRAWN_STEPS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--language_model", metavar="DIR", help="folder or Hub id (default: random weights)")
    parser.add_argument("--vision_model", metavar="DIR", help="likewise; give both or neither")
    parser.add_argument("--batch_size", type=int, default=8, help="products at once (default: 8)")
    parser.add_argument("--images", type=int, default=1, help="pictures of each (default: 1)")
    parser.add_argument("--num_image_tokens", type=int, default=1, help="places of each picture (default: 1)")
    parser.add_argument("--title_tokens", type=int, default=8, help="length of titles (default: 8)")
    parser.add_argument("--new_tokens", type=int, default=64, help="tokens to write (default: 64)")
    parser.add_argument("--repeats", type=int, default=1, help="the fastest of so many rounds (default: 1)")
    parser.add_argument("--full", action="store_true", help="measure every token of the slow arms")


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Markdown, part by part.

    Raises:
        ValueError: for numbers that make no sense.
    """
    for name in ("batch_size", "images", "title_tokens", "new_tokens", "repeats"):
        if getattr(arguments, name) < 1:
            raise ValueError(f"--{name} is at least 1; got {getattr(arguments, name)}.")
    if (arguments.language_model is None) != (arguments.vision_model is None):
        raise ValueError("--language_model and --vision_model go together: give both or neither.")
    yield describe_machine()
    yield generation_table(arguments)


@torch.no_grad()
def generation_table(arguments: argparse.Namespace) -> str:
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
    steps = range(new_tokens) if arguments.full else drawn_steps(new_tokens)
    tokens = arguments.batch_size * new_tokens
    rows = [["cached", f"{tokens / seconds:.2f}", "", ""]]
    for name, arm in (("text again", prefix_again), ("pictures and text again", all_again)):
        slow, agreement = time_steps(arm, steps, written, arguments.repeats)
        slow *= new_tokens / len(steps)
        rows.append([name, f"{tokens / slow:.2f}", f"{slow / seconds:.1f} x", f"{agreement:.0%}"])
    estimated = (
        "" if arguments.full else f" **Estimated** from {len(steps)} of the {new_tokens} tokens in the slow arms."
    )
    return (
        f"Tokens a second, {arguments.batch_size} products at once, {new_tokens} new tokens each behind "
        f"{ids.shape[1]}; how many times longer than with the cache, and how often the same token is chosen."
        f"{estimated}\n\n{markdown_table(['for each token', 'tokens a second', 'times longer', 'same token'], rows)}"
    )


def drawn_steps(count: int) -> list[int]:
    """The middles of a few equal parts."""
    parts = min(DRAWN_STEPS, count)
    return [(2 * part + 1) * count // (2 * parts) for part in range(parts)]


def time_steps(
    arm: Callable[[int], torch.Tensor], steps: range | list[int], written: torch.Tensor, repeats: int
) -> tuple[float, float]:
    """Seconds of some steps together, and the share of tokens that are those which were written."""
    total, same = 0.0, []
    for step in steps:
        seconds, tokens = fastest(lambda step=step: arm(step), repeats)  # type: ignore[misc]
        total += seconds
        same.append((tokens == written[:, step]).float().mean())
    return total, torch.stack(same).mean().item()


def chosen(model: MantisForConditionalGeneration, ids: torch.Tensor, **images: object) -> torch.Tensor:
    """The likeliest next token of each text, read from its beginning."""
    output = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, logits_to_keep=1, **images)
    logits = output.logits[:, -1]
    logits[:, list(never_written(model))] = -torch.inf
    return logits.argmax(dim=-1)


def never_written(model: MantisForConditionalGeneration) -> set[int]:
    """The method's own tokens, and, as all texts have the same length here, the end."""
    end = model.generation_config.eos_token_id
    return {*model.own_token_ids, *(() if end is None else torch.tensor(end).flatten().tolist())}


def build_model(arguments: argparse.Namespace) -> MantisForConditionalGeneration:
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
    """Token ids of image places, titles and separators, (batch, length), and pixels."""
    slots_each, batch = arguments.images * model.config.num_image_tokens, arguments.batch_size
    generator = torch.Generator().manual_seed(0)
    titles = torch.randint(3, min(model.image_token_id, 400), (batch, arguments.title_tokens), generator=generator)
    slots = torch.full((batch, slots_each), model.image_token_id)
    separators = torch.full((batch, 1), model.separator_token_id)
    side = model.vision_model.config.to_dict().get("image_size", 224)
    pixels = random_tensor(batch * arguments.images, 3, side, side, seed=0)
    return torch.cat([slots, titles, separators], dim=1), pixels
