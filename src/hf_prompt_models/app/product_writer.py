"""A model that writes texts about pictures, for the page: its texts as they grow."""

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
    """How texts are chosen.

    Args:
        method: `GREEDY`, the most likely word each time; `BEAMS`, the most likely texts; `SAMPLING`, words drawn.
        texts: how many; of greedy decoding there is one.
        max_new_tokens: of each text.
        num_beams: of beam search, at least as many as texts.
        temperature, top_p: of sampling.
    """

    method: str = GREEDY
    texts: int = 1
    max_new_tokens: int = 64
    num_beams: int = 4
    temperature: float = 1.0
    top_p: float = 1.0

    @property
    def streams(self) -> bool:
        """Whether a text can be read while it is written; of beams none is certain before the end."""
        return self.method != BEAMS

    def settings(self) -> dict[str, Any]:
        """For `generate`, of one text, or of all that beams give."""
        own: dict[str, Any] = {"do_sample": False, "num_beams": 1, "num_return_sequences": 1}
        if self.method == BEAMS:
            own |= {"num_beams": max(self.num_beams, self.texts), "num_return_sequences": self.texts}
        elif self.method == SAMPLING:
            own |= {"do_sample": True, "temperature": self.temperature, "top_p": self.top_p}
        return own | {"max_new_tokens": self.max_new_tokens}


class Writer:
    """A model that writes, loaded.

    Args:
        model_dir: folder or Hub id of a MAnTiS, a Frozen, or another model of the kind.
        options: where it runs.
    """

    def __init__(self, model_dir: Path, options: Options):
        model = AutoModelForImageTextToText.from_pretrained(model_dir, **options.moved)
        self.model = model.to(options.torch_device).eval()
        self.processor = AutoProcessor.from_pretrained(model_dir)

    def write(self, pictures: list[Image.Image], text: str, decoding: Decoding) -> Iterator[list[str]]:
        """Texts about pictures: all that there is of them, again and again while they grow.

        The last that is yielded is whole. What is not wanted any more is stopped by closing the generator.

        Args:
            pictures: in the order of `<image>` in the text, or in front of it; there may be none.
            text: the title, or what is asked.
            decoding: how.

        Raises:
            ValueError: if the text is too long, or names another number of pictures.
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
        """The pieces of one text. `generate` runs in a thread of its own, and stops when nobody reads on."""
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
    """Ends a text where somebody asks for it."""

    def __init__(self) -> None:
        self.wanted = False

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> torch.BoolTensor:
        return torch.full((len(input_ids),), self.wanted, dtype=torch.bool, device=input_ids.device)  # type: ignore
