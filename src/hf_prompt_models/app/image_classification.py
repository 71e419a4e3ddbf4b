"""Image classification demo: upload images, edit the class names and see the class probabilities."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from PIL import Image
from transformers import AutoModelForImageClassification, AutoProcessor

from hf_prompt_models import ClipZeroShotConfig, ClipZeroShotForImageClassification
from hf_prompt_models.app.components import look
from hf_prompt_models.app.components.bars import Series, bars, legend, thumbnail
from hf_prompt_models.app.components.class_editor import TextSide, TypedNames, names_box, read_names
from hf_prompt_models.app.options import Options
from hf_prompt_models.data.images.loading import IMAGE_SUFFIXES, UnreadableImageError, load_image, readable_formats
from hf_prompt_models.modeling_clip_utils import EnsemblePromptModel, TemplatePromptModel
from hf_prompt_models.prompts.templates import DEFAULT_TEMPLATE


MAX_IMAGES = 24
THUMBNAIL_PIXELS = 256
DESCRIBED = "Each class of this model has its own sentences (class_prompts), which other names would not have."


@dataclass(frozen=True)
class Picture:
    """An uploaded image.

    Args:
        name: file name.
        thumbnail: data URL for the `src` of an `<img>`.
        embeds: image features of the backbone, of shape (1, dim).
        inputs: outputs of the image processor, for models that need more than these features.
    """

    name: str
    thumbnail: str
    embeds: torch.Tensor
    inputs: Mapping[str, torch.Tensor]


Pictures = dict[str, Picture]
"""The images of a session, keyed by the path of the upload."""


class ImageClassifier:
    """An image classifier, compared with a hand-written prompt over the same backbone.

    Args:
        model_dir: folder or Hub id of the model.
        options: `backbone` and `device` are used.

    Attributes:
        class_names: class names of the model.
        locked: why the class names cannot be edited, or `None` if they can.
        series_names: names of the compared prompts: the model, and the hand-written prompt unless it is the model.
    """

    def __init__(self, model_dir: Path, options: Options):
        model = AutoModelForImageClassification.from_pretrained(model_dir, **options.moved)
        self.model = model.to(options.torch_device).eval()
        self.processor = AutoProcessor.from_pretrained(model_dir)
        config = self.model.config
        self.class_names: list[str] = config.class_names
        described = isinstance(self.model, EnsemblePromptModel) and config.class_prompts is not None
        self.locked = self.model.fixed_classes or (DESCRIBED if described else None)
        self._runs_model = self.locked is not None or not self.model.compares_fixed_features
        own = TextSide(self.model, self.processor, () if self._runs_model else self.class_names)
        if isinstance(config, ClipZeroShotConfig):
            self.series_names, self._sides, self._frozen = [_prompts_in_words(config)], [own], self.model
            return
        hand_written = ClipZeroShotConfig(templates=[DEFAULT_TEMPLATE])
        hand_written.clip_config = self.model.clip.config  # set late: a new configuration resets its parts' attention
        self._frozen = ClipZeroShotForImageClassification(hand_written, self.model.clip).eval()
        trained = "Trained model" if isinstance(self.model, TemplatePromptModel) else "Learned prompt"
        self.series_names = [trained, f"Zero-shot, “{DEFAULT_TEMPLATE}”"]
        self._sides = [own, TextSide(self._frozen, self.processor, self.class_names)]

    @torch.inference_mode()
    def read(self, paths: Sequence[str], kept: Mapping[str, Picture]) -> tuple[Pictures, list[str]]:
        """Load images and compute their features.

        Args:
            paths: the uploaded files. Only the first `MAX_IMAGES` are read.
            kept: images that were loaded before; they are reused.

        Returns:
            The images, keyed by path, and one message per problem with the files.
        """
        problems = []
        if len(paths) > MAX_IMAGES:
            problems.append(
                f"{len(paths)} images are too many for this page, so only the first {MAX_IMAGES} are used. "
                "Use hf-prompt predict to classify complete folders."
            )
            paths = paths[:MAX_IMAGES]
        pictures: Pictures = {}
        for path in paths:
            try:
                pictures[path] = kept[path] if path in kept else self._read(path)
            except UnreadableImageError as error:
                problems.append(_why_unreadable(Path(path).name, error))
        return pictures, problems

    def _read(self, path: str) -> Picture:
        image = load_image(path)
        inputs = self.processor.image_processor(image, return_tensors="pt").to(self.model.device)
        for name, tensor in inputs.items():
            inputs[name] = tensor.to(self.model.dtype) if tensor.is_floating_point() else tensor
        features = self._frozen.get_image_features(**inputs, pooled_only=True).pooler_output
        return Picture(Path(path).name, thumbnail(image, THUMBNAIL_PIXELS), features, inputs)

    @torch.inference_mode()
    def classify(self, pictures: Sequence[Picture], names: Sequence[str]) -> list[list[Series]]:
        """Return the class probabilities of each image, as one series per compared prompt."""
        embeds = torch.cat([picture.embeds for picture in pictures])
        tables = []
        for side in self._sides:
            if side is self._sides[0] and self._runs_model:
                rows = [side.logits(picture.inputs, names) for picture in pictures]
                tables.append(torch.cat(rows).softmax(dim=-1).tolist())
                continue
            logits = side.calibrated(self.model.class_logits(embeds, side.features(names)), names)
            tables.append(logits.softmax(dim=-1).tolist())
        return [
            [Series(name, row) for name, row in zip(self.series_names, rows, strict=True)]
            for rows in zip(*tables, strict=True)
        ]

    def typed(self, text: str) -> TypedNames:
        """Parse the class names of the editor; return the model's own if they cannot be edited."""
        return read_names(text) if self.locked is None else TypedNames(tuple(self.class_names), "")

    def answers(self, pictures: Sequence[Picture], names: Sequence[str]) -> str:
        """Render the images with the bars of their class probabilities as HTML."""
        if not pictures:
            return '<p class="nothing">The predictions appear here.</p>'
        cards = (
            f'<article class="answer"><img src="{picture.thumbnail}" alt="">'
            f"<div><h3>{html.escape(picture.name)}</h3>{bars(names, series)}</div></article>"
            for picture, series in zip(pictures, self.classify(pictures, names), strict=True)
        )
        return f'{legend(self.series_names)}<div class="answers">{"".join(cards)}</div>'


def _prompts_in_words(config: ClipZeroShotConfig) -> str:
    templates, sentences = config.templates or [], sum(map(len, config.class_prompts or []))
    if len(templates) == 1 and not sentences:
        return f"“{templates[0]}”"
    numbers = {"templates": len(templates), "sentences": sentences}
    return " and ".join(f"{number} {kind}" for kind, number in numbers.items() if number)


def _why_unreadable(name: str, error: UnreadableImageError) -> str:
    if isinstance(error.__cause__, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"{name} has more than 89 million pixels. Scale it down."
    return (
        f"{name} cannot be read as an image. It may be damaged or incomplete, or in a format other than "
        f"{', '.join(readable_formats())}. Save it again as JPEG or PNG."
    )


def page(model_dir: Path, options: Options) -> gr.Blocks:
    """Build the image classification demo.

    Args:
        model_dir: folder or Hub id of the model.
        options: `backbone` and `device` are used.
    """
    classifier = ImageClassifier(model_dir, options)

    def answer(pictures: Pictures, text: str, problems: Sequence[str] = ()) -> tuple[str, str]:
        typed = classifier.typed(text)
        said = look.problem("\n".join(problems)) if problems else ""
        if typed.remark:
            said += look.note(typed.remark)
        return classifier.answers(list(pictures.values()), typed.names), said

    def take(paths: list[str] | None, kept: Pictures, text: str) -> tuple[Any, ...]:
        pictures, problems = classifier.read([str(path) for path in paths or []], kept)
        return (pictures, *answer(pictures, text, problems))

    with look.frame(
        "Image classification",
        "Upload images to classify them. Edit the class names to try other classes.",
    ) as blocks:
        kept = gr.State({})
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                files = gr.File(
                    file_count="multiple",
                    file_types=sorted(IMAGE_SUFFIXES),
                    label="Images",
                    height=200,
                    elem_id="pictures",
                )
                names = names_box(classifier.class_names, classifier.locked)
            with gr.Column(scale=3, min_width=300):
                said = look.notice()
                answers = look.answer(classifier.answers([], ()), "answers")
        files.change(
            look.in_words(take, 2),
            [files, kept, names],
            [kept, answers, said],
            show_progress_on=answers,
            api_visibility="private",
        )
        names.change(
            look.in_words(answer, 1),
            [kept, names],
            [answers, said],
            trigger_mode="always_last",
            show_progress="hidden",
            api_visibility="private",
        )
    return blocks
