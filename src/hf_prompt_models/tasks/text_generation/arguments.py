"""Flags for the data, the backbones and the decoding of text generation."""

import argparse
from dataclasses import dataclass, field, fields
from typing import Any

from transformers import HfArgumentParser


@dataclass(kw_only=True)
class DecodingArguments:
    """Arguments of text generation. Values that are not set come from the model's generation configuration."""

    max_new_tokens: int | None = field(default=None, metadata={"help": "Maximum number of generated tokens."})
    num_beams: int | None = field(
        default=None,
        metadata={"help": "Number of beams for beam search. 1: greedy decoding, or sampling with --do_sample."},
    )
    do_sample: bool | None = field(
        default=None, metadata={"help": "Sample tokens instead of choosing the most likely ones."}
    )
    temperature: float | None = field(default=None, metadata={"help": "Sampling temperature."})
    top_p: float | None = field(
        default=None,
        metadata={
            "help": "Sample from the smallest set of most likely tokens whose probabilities add up to this value."
        },
    )
    no_repeat_ngram_size: int | None = field(
        default=None,
        metadata={
            "help": "Generate no n-gram of this size twice. N-grams of the prompt count, too, including its image "
            "tokens."
        },
    )
    length_penalty: float | None = field(
        default=None, metadata={"help": "Length penalty of beam search. Values above 0 favour longer texts."}
    )

    def given(self) -> dict[str, Any]:
        """Return the values that are set, as keyword arguments for `generate`."""
        return given_decoding(self)


@dataclass(kw_only=True)
class LoraArguments:
    """Arguments of LoRA updates of the language model, with peft (arXiv 2106.09685)."""

    lora_r: int = field(
        default=0,
        metadata={
            "help": "Rank of LoRA updates of the language model, whose own weights are then frozen. 0: no LoRA."
        },
    )
    lora_alpha: float | None = field(
        default=None, metadata={"help": "LoRA alpha: the updates are scaled by alpha / rank. Default: twice the rank."}
    )
    lora_dropout: float = field(default=0.0, metadata={"help": "Dropout probability of the LoRA layers."})
    lora_target_modules: list[str] | None = field(
        default=None,
        metadata={
            "help": "Layers that get a LoRA update, by the ends of their names, such as `q_proj v_proj`. Default: "
            "all linear layers but the last."
        },
    )

    def lora(self) -> dict[str, Any]:
        """Return the LoRA settings, keyed as in peft, or an empty dict without LoRA."""
        if not self.lora_r:
            return {}
        targets = " ".join(self.lora_target_modules or ["all linear layers"])
        scale = 2 * self.lora_r if self.lora_alpha is None else self.lora_alpha
        return {"r": self.lora_r, "alpha": scale, "dropout": self.lora_dropout, "target_modules": targets}


@dataclass(kw_only=True)
class TextGenerationArguments(DecodingArguments, LoraArguments):
    """Arguments of text generation: backbones, data and evaluation."""

    _argument_group_name = "backbones, data and evaluation"

    language_model: str = field(
        metadata={
            "help": "Hub id or folder of any causal language model; `playground`: the tiny model that ships with "
            "the package."
        }
    )
    vision_model: str | None = field(
        default=None,
        metadata={
            "help": "Hub id or folder of any image model; `playground`: the tiny CLIP that ships with the "
            "package. Default: microsoft/resnet-152 for MAnTiS, microsoft/resnet-50 for Frozen; with "
            "`--language_model playground` the tiny CLIP."
        },
    )
    train_file: str = field(
        metadata={
            "aliases": ["--train_dir"],
            "help": "Data to train on. MAnTiS: products in a JSONL file (id, image or images, title, "
            "description), FACAD's JSON list, or a Hugging Face dataset (`name:split`). Frozen: captions in "
            "a JSONL or JSON file, in COCO's format or in a dataset (image, caption); or VQA's "
            "questions.",
        }
    )
    train_images: str | None = field(
        default=None,
        metadata={
            "help": "Folder of the images that --train_file names, if it is a JSON file. Default: the file's folder."
        },
    )
    train_annotations: str | None = field(
        default=None, metadata={"help": "File with the answers to VQA's questions in --train_file."}
    )
    test_file: str | None = field(
        default=None,
        metadata={
            "aliases": ["--test_dir"],
            "help": "Data to test on, in the same formats as --train_file; for Frozen also few-shot episodes "
            "(open_ended_mi_*.json). Default: what --validation_fraction holds out.",
        },
    )
    test_images: str | None = field(
        default=None,
        metadata={
            "help": "Folder of the images that --test_file names, if it is a JSON file. Default: the file's folder."
        },
    )
    test_annotations: str | None = field(
        default=None, metadata={"help": "File with the answers to VQA's questions in --test_file."}
    )
    validation_file: str | None = field(
        default=None, metadata={"help": "Data to evaluate on during training, in the same formats as --train_file."}
    )
    validation_images: str | None = field(
        default=None, metadata={"help": "Folder of the images that --validation_file names. Default: --train_images."}
    )
    validation_annotations: str | None = field(
        default=None, metadata={"help": "File with the answers to VQA's questions in --validation_file."}
    )
    validation_fraction: float = field(
        default=0.1,
        metadata={
            "help": "Share of the products or images in --train_file, each with all its texts, to hold out if "
            "there is no --validation_file. 0: none."
        },
    )
    eval_samples: int = field(
        default=64, metadata={"help": "Number of held-out examples to generate texts for at each evaluation."}
    )
    blind_baseline: int = field(
        default=200,
        metadata={
            "help": "Number of test examples to generate texts for with black images after training. Their scores "
            "show what the words alone achieve. 0: skip this baseline."
        },
    )
    shots_file: str | None = field(
        default=None,
        metadata={"help": "Frozen: file of VQA's questions from which the --shots examples of a test are sampled."},
    )
    shots_images: str | None = field(default=None, metadata={"help": "Folder of the images that --shots_file names."})
    shots_annotations: str | None = field(
        default=None, metadata={"help": "File with the answers to the questions of --shots_file."}
    )
    max_length: int | None = field(
        default=None,
        metadata={
            "help": "Maximum number of tokens of a training example. Longer texts are truncated; image tokens "
            "never are."
        },
    )
    dtype: str = field(
        default="float32",
        metadata={
            "help": "Data type of the language model's weights. Use float32 if it is trained (--bf16 still "
            "computes in bfloat16); a frozen model can use bfloat16, which halves its memory.",
            "choices": ["float32", "bfloat16", "float16", "auto"],
        },
    )
    attn_implementation: str | None = field(
        default=None,
        metadata={
            "help": "Attention implementation of the language model: sdpa, eager, flash_attention_2. Default: the "
            "model's own."
        },
    )
    seeds: list[int] = field(
        default_factory=lambda: [1],
        metadata={
            "help": "Seeds, with one training run per seed, such as `--seeds 1 2 3`. `--seed n` means `--seeds n`."
        },
    )
    on_unreadable: str = field(
        default="refuse",
        metadata={
            "help": "How images that cannot be decoded are handled. refuse: stop and list all of them; skip: "
            "report, count and skip them, with the examples that need them.",
            "choices": ["refuse", "skip"],
        },
    )

    def holds_out(self) -> bool:
        """Return whether examples are held out of training."""
        return self.validation_file is not None or self.validation_fraction > 0


def check_data(parser: HfArgumentParser, data: TextGenerationArguments) -> None:
    """Exit with a message if data flags do not go together."""
    if not 0 <= data.validation_fraction < 1:
        parser.error(
            "expected --validation_fraction, the share of products to hold out, below 1, got "
            f"{data.validation_fraction}"
        )
    if data.eval_samples < 1:
        parser.error(f"expected --eval_samples to be at least 1, got {data.eval_samples}")
    if data.blind_baseline < 0:
        parser.error(
            f"expected --blind_baseline, a number of test examples, to be at least 0, got {data.blind_baseline}"
        )
    if data.lora_r < 0:
        parser.error(f"expected --lora_r, the rank, to be at least 0, got {data.lora_r}")
    if data.test_file is None and not data.holds_out():
        parser.error("the test data is missing: pass --test_file, or hold out examples with --validation_fraction")
    if not data.do_sample and (data.temperature is not None or data.top_p is not None):
        parser.error("--temperature and --top_p only apply to sampling: add --do_sample")


def given_decoding(arguments: Any) -> dict[str, Any]:
    """Return the values of parsed arguments that are fields of `DecodingArguments` and are set."""
    values = {each.name: getattr(arguments, each.name) for each in fields(DecodingArguments)}
    return {name: value for name, value in values.items() if value is not None}


def add_decoding_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `DecodingArguments` to a parser."""
    kinds = {"max_new_tokens": int, "num_beams": int, "no_repeat_ngram_size": int}
    for each in fields(DecodingArguments):
        help_text = each.metadata["help"]
        if each.name == "do_sample":
            parser.add_argument("--do_sample", action="store_true", default=None, help=help_text)
        else:
            parser.add_argument(f"--{each.name}", type=kinds.get(each.name, float), help=help_text)
