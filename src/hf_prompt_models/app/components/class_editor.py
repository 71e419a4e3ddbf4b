"""Editor of class names, and the cached text features of the names."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import torch
from transformers import ProcessorMixin


MAX_CLASSES = 2000
MAX_NAME = 300
"""Maximum number of characters of a name, which is more than any text tower reads."""

MAX_KEPT_NAMES = 4000
"""Number of names whose features are cached. A name takes 32 KiB with 16 templates and 512 dimensions."""


@dataclass(frozen=True)
class TypedNames:
    """Class names parsed from the editor.

    Args:
        names: the distinct class names.
        remark: note for the user about repeated names, or an empty string.
    """

    names: tuple[str, ...]
    remark: str


def read_names(text: str) -> TypedNames:
    """Parse class names from a text with one name per line.

    Surrounding spaces and empty lines are ignored. A name that is on several lines counts once.

    Raises:
        ValueError: if there is no name, a name is not usable, or there are too many names.
    """
    lines: dict[str, list[int]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if name := " ".join(line.split()):
            lines.setdefault(name, []).append(number)
    if not lines:
        raise ValueError("There are no class names. Write at least one, one per line.")
    if len(lines) > MAX_CLASSES:
        raise ValueError(f"{len(lines)} class names are too many for this page. Write at most {MAX_CLASSES}.")
    for name, (first, *_) in lines.items():
        if not name.replace("_", " ").strip():
            raise ValueError(f"Line {first} contains no name, only {name!r}. Write a word, or remove the line.")
        if len(name) > MAX_NAME:
            raise ValueError(
                f"The name in line {first} has {len(name)} characters, but at most {MAX_NAME} are allowed. Shorten it."
            )
    repeated = {name: numbers for name, numbers in lines.items() if len(numbers) > 1}
    return TypedNames(tuple(lines), _remark(repeated))


def _remark(repeated: dict[str, list[int]]) -> str:
    if not repeated:
        return ""
    name, numbers = next(iter(repeated.items()))
    more = f", and {len(repeated) - 1} other names are repeated too" if len(repeated) > 1 else ""
    listed = ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"
    return f"“{name}” is repeated in lines {listed}{more}. Each name counts once."


def names_box(class_names: Sequence[str], locked: str | None = None) -> gr.Textbox:
    """Build the text box for class names.

    Args:
        class_names: the initial names.
        locked: why the names cannot be edited, or `None` if they can.
    """
    return gr.Textbox(
        "\n".join(class_names),
        lines=12,
        max_lines=12,  # equal to `lines`, because a box that grows with the text is slow with a hundred lines
        label="Class names",
        info=locked or "One name per line. The predictions update as you type.",
        interactive=locked is None,
        max_length=MAX_CLASSES * MAX_NAME,
        elem_id="class-names",
    )


class TextSide:
    """Text features of class names, cached so that a name is encoded only once.

    A lock ensures that only one session at a time changes the classes of the model.

    Args:
        model: a classifier with `set_classes`, whose classes do not depend on each other.
        processor: processor of the model.
        names: class names to encode immediately, so that the first answer is fast.
    """

    def __init__(self, model: Any, processor: ProcessorMixin, names: Sequence[str] = ()):
        self._model = model
        self._processor = processor
        self._features: OrderedDict[str, torch.Tensor] = OrderedDict()
        self._lock = threading.Lock()
        self._own_names = model.config.class_names
        self._temperature = model.config.calibration_temperature
        model.config.calibration_temperature = 1.0  # applied by `calibrated`, because the classes of the model change
        if names:
            self.features(names)

    @torch.inference_mode()
    def logits(self, inputs: Mapping[str, torch.Tensor], names: Sequence[str]) -> torch.Tensor:
        """Return the logits of an image for a model that compares more than fixed features.

        Args:
            inputs: outputs of the image processor.
            names: class names.

        Returns:
            Logits of shape (1, classes).

        Raises:
            ValueError: if a name is too long for the text tower, or has one of its special tokens.
        """
        with self._lock:
            if list(names) != self._model.config.class_names:
                self._model.set_classes(names, tokenizer=self._processor)
            return self.calibrated(self._model(**inputs).logits, names)

    def calibrated(self, logits: torch.Tensor, names: Sequence[str]) -> torch.Tensor:
        """Return logits divided by the model's calibration temperature if the classes are those of the saved model.

        Args:
            logits: (batch, classes), which are not calibrated.
            names: class names.
        """
        return logits / self._temperature if list(names) == self._own_names else logits

    @torch.inference_mode()
    def features(self, names: Sequence[str]) -> torch.Tensor:
        """Return the text features of class names.

        Args:
            names: class names.

        Returns:
            Features of shape (classes, dim) or (templates, classes, dim), like `get_text_features` of the model.

        Raises:
            ValueError: if a name is too long for the text tower, or has one of its special tokens.
        """
        with self._lock:
            new = [name for name in names if name not in self._features]
            if new:
                self._model.set_classes(new, tokenizer=self._processor)
                encoded = self._model.get_text_features().pooler_output
                self._features.update(zip(new, encoded.unbind(dim=-2), strict=True))
            for name in names:
                self._features.move_to_end(name)
            features = torch.stack([self._features[name] for name in names], dim=-2)
            while len(self._features) > max(MAX_KEPT_NAMES, len(names)):
                self._features.popitem(last=False)
            return features
