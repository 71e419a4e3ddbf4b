"""Flags for the data, the backbones and the decoding of text generation."""

import argparse
from dataclasses import dataclass, field, fields
from typing import Any

from transformers import HfArgumentParser


@dataclass(kw_only=True)
class DecodingArguments:
    """How texts are written. What is not said here stands in the model's generation configuration."""

    max_new_tokens: int | None = field(default=None, metadata={"help": "The most tokens that are written."})
    num_beams: int | None = field(default=None, metadata={"help": "Beams to search with; 1 is greedy."})
    do_sample: bool | None = field(default=None, metadata={"help": "Draw tokens instead of taking the likeliest."})
    temperature: float | None = field(default=None, metadata={"help": "Of drawing."})
    top_p: float | None = field(
        default=None, metadata={"help": "Of drawing: the likeliest tokens of so much probability."}
    )
    no_repeat_ngram_size: int | None = field(
        default=None,
        metadata={
            "help": "Write no run of so many tokens twice. Counts the prompt's too, its image places among them."
        },
    )
    length_penalty: float | None = field(default=None, metadata={"help": "Of beams: above 0 favours longer texts."})

    def given(self) -> dict[str, Any]:
        """What was said, as keyword arguments for `generate`."""
        return given_decoding(self)


@dataclass(kw_only=True)
class LoraArguments:
    """Low-rank updates of the language model's weights (arXiv 2106.09685), by peft."""

    lora_r: int = field(default=0, metadata={"help": "Their rank; 0: none. The language model is frozen under them."})
    lora_alpha: float | None = field(default=None, metadata={"help": "Their scale times the rank. Default: twice it."})
    lora_dropout: float = field(default=0.0, metadata={"help": "Dropout in front of them."})
    lora_target_modules: list[str] | None = field(
        default=None,
        metadata={
            "help": "The layers that get one, by the ends of their names: `q_proj v_proj`. Default: all linear layers "
            "but the last."
        },
    )

    def lora(self) -> dict[str, Any]:
        """What was said of them, by what peft calls it; nothing where there are none."""
        if not self.lora_r:
            return {}
        targets = " ".join(self.lora_target_modules or ["all linear layers"])
        scale = 2 * self.lora_r if self.lora_alpha is None else self.lora_alpha
        return {"r": self.lora_r, "alpha": scale, "dropout": self.lora_dropout, "target_modules": targets}


@dataclass(kw_only=True)
class TextGenerationArguments(DecodingArguments, LoraArguments):
    """Backbones, data and evaluation."""

    _argument_group_name = "backbones, data and evaluation"

    language_model: str = field(
        metadata={"help": "Hub id or folder of any causal language model; `playground`: the package's own tiny one."}
    )
    vision_model: str | None = field(
        default=None,
        metadata={
            "help": "Hub id or folder of any model that takes images; `playground`: the package's own tiny CLIP. "
            "Default: microsoft/resnet-152 for MAnTiS, microsoft/resnet-50 for Frozen; with `--language_model "
            "playground` the tiny CLIP."
        },
    )
    train_file: str = field(
        metadata={
            "aliases": ["--train_dir"],
            "help": "What to learn from. MAnTiS: products in a JSONL file (id, image or images, title, description), "
            "FACAD's JSON list, or a `datasets` data set (`name:split`). Frozen: captions in a JSONL or JSON file, "
            "COCO's or a data set's (image, caption); or VQA's questions.",
        }
    )
    train_images: str | None = field(
        default=None, metadata={"help": "Folder of the pictures that a JSON file names. Default: the file's own."}
    )
    train_annotations: str | None = field(default=None, metadata={"help": "The answers to VQA's questions."})
    test_file: str | None = field(
        default=None,
        metadata={
            "aliases": ["--test_dir"],
            "help": "What to test on, likewise; Frozen: or few-shot episodes (open_ended_mi_*.json). Default: what "
            "--validation_fraction holds out.",
        },
    )
    test_images: str | None = field(default=None, metadata={"help": "Likewise."})
    test_annotations: str | None = field(default=None, metadata={"help": "Likewise."})
    validation_file: str | None = field(
        default=None, metadata={"help": "What to evaluate on during training, of --train_file's kind."}
    )
    validation_images: str | None = field(default=None, metadata={"help": "Likewise. Default: --train_images."})
    validation_annotations: str | None = field(default=None, metadata={"help": "Likewise."})
    validation_fraction: float = field(
        default=0.1,
        metadata={
            "help": "Without --validation_file: hold out so many of the products, captioned pictures or asked "
            "pictures, each with all that belongs to it. 0: none."
        },
    )
    eval_samples: int = field(
        default=64, metadata={"help": "Write texts for so many of the held-out examples at each evaluation."}
    )
    blind_baseline: int = field(
        default=200,
        metadata={
            "help": "After training, generate for so many of the test examples with black images, too: what is left "
            "is what words alone are worth. 0: skip it."
        },
    )
    shots_file: str | None = field(
        default=None, metadata={"help": "VQA's questions to draw --shots examples from, in a test of Frozen."}
    )
    shots_images: str | None = field(default=None, metadata={"help": "Folder of their pictures."})
    shots_annotations: str | None = field(default=None, metadata={"help": "Their answers."})
    max_length: int | None = field(
        default=None, metadata={"help": "Cut what is learned from to so many tokens, never a picture's places."}
    )
    dtype: str = field(
        default="float32",
        metadata={
            "help": "Of the language model's weights. One that is trained should be float32 (--bf16 computes in "
            "bfloat16 all the same); a frozen one may be bfloat16, at half the memory.",
            "choices": ["float32", "bfloat16", "float16", "auto"],
        },
    )
    attn_implementation: str | None = field(
        default=None, metadata={"help": "Of the language model: sdpa, eager, flash_attention_2. Default: its own."}
    )
    seeds: list[int] = field(
        default_factory=lambda: [1], metadata={"help": "One run each: `--seeds 1 2 3`. `--seed n` means `--seeds n`."}
    )
    on_unreadable: str = field(
        default="refuse",
        metadata={
            "help": "Pictures that cannot be decoded: stop and list them, or name, count and skip them, and what is "
            "of no use without them.",
            "choices": ["refuse", "skip"],
        },
    )

    def holds_out(self) -> bool:
        """Return whether something is held out of training."""
        return self.validation_file is not None or self.validation_fraction > 0


def check_data(parser: HfArgumentParser, data: TextGenerationArguments) -> None:
    """End with a message where flags for the data do not go together."""
    if not 0 <= data.validation_fraction < 1:
        parser.error(f"--validation_fraction is a share of the products, below 1; got {data.validation_fraction}")
    if data.eval_samples < 1:
        parser.error(f"--eval_samples is a number of texts, at least 1; got {data.eval_samples}")
    if data.blind_baseline < 0:
        parser.error(f"--blind_baseline is a number of test examples, or 0 for none; got {data.blind_baseline}")
    if data.lora_r < 0:
        parser.error(f"--lora_r is a rank, or 0 for none; got {data.lora_r}")
    if data.test_file is None and not data.holds_out():
        parser.error("nothing to test on: name --test_file, or hold some out by --validation_fraction")
    if not data.do_sample and (data.temperature is not None or data.top_p is not None):
        parser.error("--temperature and --top_p are of drawing: add --do_sample")


def given_decoding(arguments: Any) -> dict[str, Any]:
    """Of parsed arguments those of `DecodingArguments` that were said."""
    values = {each.name: getattr(arguments, each.name) for each in fields(DecodingArguments)}
    return {name: value for name, value in values.items() if value is not None}


def add_decoding_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `DecodingArguments` to a script's."""
    kinds = {"max_new_tokens": int, "num_beams": int, "no_repeat_ngram_size": int}
    for each in fields(DecodingArguments):
        help_text = each.metadata["help"]
        if each.name == "do_sample":
            parser.add_argument("--do_sample", action="store_true", default=None, help=help_text)
        else:
            parser.add_argument(f"--{each.name}", type=kinds.get(each.name, float), help=help_text)
