"""Generate text about image files."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from hf_prompt_models.data.images.loading import load_image


def load_generator(directory: str | os.PathLike, language_model: str | None = None, **kwargs: Any) -> tuple[Any, Any]:
    """Load a model that generates text, in eval mode, and its processor.

    Args:
        directory: Folder of the model.
        language_model: Current location of the language model, if a checkpoint without it was saved and it moved
            since.
        kwargs: Keyword arguments for `from_pretrained`: `dtype`, `device_map`.
    """
    moved = {} if language_model is None else {"base_model_name_or_path": language_model}
    model = AutoModelForImageTextToText.from_pretrained(directory, **moved, **kwargs)
    if torch.cuda.is_available() and "device_map" not in kwargs:
        model.to("cuda")
    return model.eval(), AutoProcessor.from_pretrained(directory)


def generate_about(
    directory: str | os.PathLike,
    images: Sequence[str],
    text: str,
    decoding: Mapping[str, Any],
    num_return_sequences: int = 1,
    blind: bool = False,
    **kwargs: Any,
) -> list[str]:
    """Return the text that a model generates about images, as `pipeline("image-text-to-text")` does.

    Args:
        directory: Folder of the model.
        images: Image files, in the order of `<image>` in the text; without `<image>`, they precede the text.
        text: Title or question; can be empty.
        decoding: Keyword arguments for `generate`.
        num_return_sequences: Number of texts: that many best beams, or sampled texts.
        blind: Whether the images are replaced with black ones.
        kwargs: Keyword arguments for `load_generator`.

    Raises:
        UnreadableImageError: If an image cannot be read; the message names the file.
        ValueError: If there are fewer beams than texts without sampling, or the text does not fit.
    """
    pictures = [load_image(image) for image in images]
    model, processor = load_generator(directory, **kwargs)
    processor.blind = processor.blind or blind
    config = model.generation_config
    beams = decoding.get("num_beams", config.num_beams) or 1
    if num_return_sequences > beams and not decoding.get("do_sample", config.do_sample):
        raise ValueError(
            f"{num_return_sequences} texts cannot be generated with {beams} beam(s) and without sampling, which would "
            f"repeat the same text. Add --do_sample, or raise --num_beams to at least {num_return_sequences}."
        )
    new_tokens = decoding.get("max_new_tokens", config.max_new_tokens) or 1
    processor.check_prompt(0, text, len(pictures), new_tokens)
    prompt = processor(images=[pictures], text=[text], return_tensors="pt").to(model.device)
    with torch.no_grad():
        output = model.generate(**prompt, **decoding, num_return_sequences=num_return_sequences)
    written = output[:, prompt["input_ids"].shape[1] :]
    return [each.strip() for each in processor.tokenizer.batch_decode(written, skip_special_tokens=True)]
