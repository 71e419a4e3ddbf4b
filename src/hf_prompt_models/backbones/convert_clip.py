r"""Convert CLIPs of OpenAI's code and of open_clip to models of transformers.

    hf-prompt convert clip --checkpoint ViT-B-32.pt --tokenizer openai/clip-vit-base-patch32 --output_dir vit-b-32
    hf-prompt convert clip --checkpoint open-clip-folder --output_dir my-clip

The output folder can be loaded with `AutoModel`, `AutoProcessor`, `AutoTokenizer` and `AutoImageProcessor`, and passed
as --backbone. Weights are saved in float32. All tensors of the checkpoint are used, and others are refused.
"""

import argparse
import os
from pathlib import Path

from transformers import AutoTokenizer, CLIPProcessor, PreTrainedConfig, PreTrainedTokenizerBase

from hf_prompt_models.backbones.clip_checkpoints import ClipCheckpoint, load_tokenizer, read_clip_checkpoint
from hf_prompt_models.backbones.clip_resnet import ClipResNetVisionConfig
from hf_prompt_models.utils.files import adding_files


ACTIVATIONS = ("quick_gelu", "gelu")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments of `hf-prompt convert clip`."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="FILE_OR_FOLDER",
        help="OpenAI's .pt file, a state dict with the same names, or a folder with an open_clip_config.json",
    )
    parser.add_argument("--output_dir", required=True, help="folder to save the converted model to")
    parser.add_argument(
        "--tokenizer",
        help="Hub id or folder of the tokenizer, such as openai/clip-vit-base-patch32, whose tokenizer all of "
        "OpenAI's models have (default: the one next to the checkpoint)",
    )
    parser.add_argument(
        "--activation",
        choices=ACTIVATIONS,
        help="activation of the towers (default: the one in open_clip_config.json; OpenAI's files have quick_gelu)",
    )


def convert(arguments: argparse.Namespace) -> list[str]:
    """Convert the checkpoint given on the command line, and return the lines to print."""
    output_dir = Path(arguments.output_dir)
    checkpoint = Path(arguments.checkpoint)
    if not checkpoint.exists():
        raise FileNotFoundError(
            f"There is no file or folder {checkpoint}. If it is on the Hub, download it first: `hf download "
            f"{checkpoint} --local-dir DIR`."
        )
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    if output_dir.is_dir() and os.path.samefile(folder, output_dir):
        raise ValueError(f"--output_dir {output_dir} is the folder of the checkpoint itself. Choose another.")
    read = read_clip_checkpoint(checkpoint, arguments.activation)
    tokenizer, place = _tokenizer(arguments.tokenizer, folder)
    vocab_size = read.config.text_config.vocab_size
    if len(tokenizer) > vocab_size:
        raise ValueError(
            f"The tokenizer of {place} has {len(tokenizer)} tokens, and the model only {vocab_size}. Pass the model's "
            "own as --tokenizer."
        )
    context_length = read.config.text_config.max_position_embeddings
    tokenizer.model_max_length = min(tokenizer.model_max_length, context_length)
    with adding_files(output_dir) as unfinished:
        read.build().save_pretrained(unfinished)
        CLIPProcessor(read.image_processor, tokenizer).save_pretrained(unfinished)
        # Also in a file of its own, for programs that load only the image processor.
        read.image_processor.save_pretrained(unfinished)
    return [*_report(read), f"  tokenizer: {len(tokenizer)} tokens, from {place}", f"wrote {output_dir}"]


def _tokenizer(named: str | None, folder: Path) -> tuple[PreTrainedTokenizerBase, str]:
    if named is not None:
        return AutoTokenizer.from_pretrained(named), named
    tokenizer = load_tokenizer(folder)
    if tokenizer is None:
        raise ValueError(
            f"There are no tokenizer files in {folder}. Pass --tokenizer, such as openai/clip-vit-base-patch32, whose "
            "tokenizer all of OpenAI's models and most of open_clip's have."
        )
    return tokenizer, str(folder)


def _report(read: ClipCheckpoint) -> list[str]:
    text, vision, images = read.config.text_config, read.config.vision_config, read.image_processor
    if isinstance(vision, ClipResNetVisionConfig):
        tower = f"ResNet of {' + '.join(map(str, vision.layers))} blocks, width {vision.width}"
    else:
        tower = f"patches of {vision.patch_size}, {_transformer(vision)}"
    return [
        f"read {read.file}: {len(read.state_dict)} tensors, {', '.join(read.dtypes)}",
        f"  model: {read.model_class.__name__}",
        f"  activation: {text.hidden_act}, {read.activation_source}",
        f"  images: {vision.image_size} x {vision.image_size} pixels, {tower}",
        f"  texts: {text.max_position_embeddings} tokens, {_transformer(text)}",
        f"  image processor: {type(images).__name__.removesuffix('Pil')}",
    ]


def _transformer(config: PreTrainedConfig) -> str:
    return f"{config.num_hidden_layers} layers of {config.hidden_size}, {config.num_attention_heads} heads"
