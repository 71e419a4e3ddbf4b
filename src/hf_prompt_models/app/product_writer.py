"""Streamed text generation for the product description demo."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    StoppingCriteria,
    StoppingCriteriaList,
    TextIteratorStreamer,
)

from hf_prompt_models.app.options import Options


GREEDY, BEAMS, SAMPLING = "Greedy", "Beam search", "Sampling"
MAX_TEXTS, MAX_BEAMS, MAX_NEW_TOKENS = 5, 10, 256


@dataclass(frozen=True)
class Decoding:
    """Decoding settings.

    Args:
        method: `GREEDY`, `BEAMS` or `SAMPLING`.
        texts: number of generated texts; greedy decoding always generates one.
        max_new_tokens: maximum number of tokens per text.
        num_beams: number of beams; raised to `texts` if smaller.
        temperature: sampling temperature.
        top_p: cumulative probability of nucleus sampling.
    """

    method: str = GREEDY
    texts: int = 1
    max_new_tokens: int = 64
    num_beams: int = 4
    temperature: float = 1.0
    top_p: float = 1.0

    @property
    def streams(self) -> bool:
        """Whether tokens can be streamed. With beam search, no text is final before the end."""
        return self.method != BEAMS

    def settings(self) -> dict[str, Any]:
        """Return the keyword arguments of `generate`, for one text, or for all texts with beam search."""
        own: dict[str, Any] = {"do_sample": False, "num_beams": 1, "num_return_sequences": 1}
        if self.method == BEAMS:
            own |= {"num_beams": max(self.num_beams, self.texts), "num_return_sequences": self.texts}
        elif self.method == SAMPLING:
            own |= {"do_sample": True, "temperature": self.temperature, "top_p": self.top_p}
        return own | {"max_new_tokens": self.max_new_tokens}


class TextGenerator:
    """A loaded image-text-to-text model.

    Args:
        model_dir: folder or Hub id of the model, such as MAnTiS or Frozen.
        options: `backbone` and `device` are used.
    """

    def __init__(self, model_dir: Path, options: Options):
        model = AutoModelForImageTextToText.from_pretrained(model_dir, **options.moved)
        self.model = model.to(options.torch_device).eval()
        self.processor = AutoProcessor.from_pretrained(model_dir)

    def write(self, pictures: list[Image.Image], text: str, decoding: Decoding) -> Iterator[list[str]]:
        """Generate texts about images and yield all texts so far after each new piece.

        The last yielded list has the complete texts. Close the generator to stop generation early.

        Args:
            pictures: images in the order of the `<image>` placeholders in the text, or placed in front of a text
                without placeholders; may be empty.
            text: the title or the question.
            decoding: decoding settings.

        Yields:
            The texts generated so far.

        Raises:
            ValueError: if the text is too long, or the number of placeholders differs from the number of images.
        """
        try:
            self.processor.check_prompt(0, text, len(pictures), decoding.max_new_tokens)
            prompt = self.processor(images=[pictures], text=[text], return_tensors="pt").to(self.model.device)
        except ValueError as error:
            raise ValueError(str(error).replace("Example 0", "The text").replace(" of example 0", "")) from error
        if not decoding.streams:
            yield self._at_once(prompt, decoding)
            return
        texts: list[str] = []
        for _ in range(decoding.texts if decoding.method == SAMPLING else 1):
            texts.append("")
            for piece in self._stream(prompt, decoding):
                texts[-1] += piece
                yield [each.strip() for each in texts]

    @torch.inference_mode()
    def _at_once(self, prompt: Any, decoding: Decoding) -> list[str]:
        output = self.model.generate(**prompt, **decoding.settings())
        written = output[:, prompt["input_ids"].shape[1] :]
        return [each.strip() for each in self.processor.tokenizer.batch_decode(written, skip_special_tokens=True)]

    def _stream(self, prompt: Any, decoding: Decoding) -> Iterator[str]:
        """Yield the pieces of one text; `generate` runs in its own thread and stops when this generator is closed."""
        streamer = TextIteratorStreamer(self.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
        stop = _Stop()
        errors: list[Exception] = []

        def generate() -> None:
            try:
                with torch.inference_mode():
                    self.model.generate(
                        **prompt,
                        **decoding.settings(),
                        streamer=streamer,
                        stopping_criteria=StoppingCriteriaList([stop]),
                    )
            except Exception as error:
                errors.append(error)
                streamer.end()

        thread = threading.Thread(target=generate, daemon=True)
        thread.start()
        try:
            yield from streamer
        finally:
            stop.wanted = True
            thread.join()
        if errors:
            raise errors[0]


class _Stop(StoppingCriteria):
    """Stopping criterion that ends generation once `wanted` is set."""

    def __init__(self) -> None:
        self.wanted = False

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> torch.BoolTensor:
        return torch.full((len(input_ids),), self.wanted, dtype=torch.bool, device=input_ids.device)  # type: ignore
