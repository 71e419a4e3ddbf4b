"""Processor for CPT: turn images, regions and phrases into painted copies and sentences with a blank."""

import logging
import os
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoTokenizer,
    BatchEncoding,
    BatchFeature,
    PreTrainedTokenizerBase,
)

from hf_prompt_models.backbones.packaged import VILT_DIR, locate_backbone
from hf_prompt_models.hub.reachable import check_reachable
from hf_prompt_models.models.cpt.adapters_cpt import find_adapter
from hf_prompt_models.models.cpt.processing_cpt_base import (
    MASK,
    Copy,
    Region,
    RegionFeatures,
    assign_colors,
    check_template,
    clean_phrase,
    encode_sentence,
    fill_template,
    fill_up,
    find_regions,
    pad_sentences,
    single_piece,
    tags_of,
)
from hf_prompt_models.models.cpt.processing_cpt_words import CptWordProcessor
from hf_prompt_models.processing_utils import sort_options
from hf_prompt_models.prompts.colors import (
    DEFAULT_ALPHA,
    SEARCHED_COLORS,
    Color,
    check_alpha,
    check_colors,
    clip_boxes,
    paint_regions,
)
from hf_prompt_models.prompts.region_marks import MARKS, Mark, region_markers
from hf_prompt_models.utils.boxes import box_iou
from hf_prompt_models.utils.padding import pad_stack


logger = logging.getLogger(__name__)

DEFAULT_TEMPLATE = "{} is in [MASK] color."
"""Template 3 of the released code, with a full stop."""
DEFAULT_MARK_TEMPLATE = "a photo of {}"
"""ReCLIP's template, for marks other than colours."""
NONE = "none"
"""The word for "none of this copy's regions"."""


class CptProcessor(CptWordProcessor):
    """Turn images, regions and phrases into painted copies and sentences with a blank.

    Attributes:
        mode: `"single_color"` (a copy for each region, all in the first colour; the released code), `"multi_color"`
            (as many regions in a copy as there are colours; the paper), or, for a CLIP, one or more of `"circle"`,
            `"crop"`, `"blur"`, `"grey"`, an ensemble whose scores are averaged.
        colors: (name, rgb) pairs in order. A name must be a single token.
        template: a sentence with one `{}` for the phrase and one `[MASK]`; for marks, without `[MASK]`.
        alpha: opacity of a colour, out of 255.
        calibration: what makes the copies of an example comparable in multi-colour mode. `"none"`: the word for no
            colour, which the model's `log_odds` compare with. `"anchor"`: the first region, which is painted in the
            first colour of each copy.
        reference_phrases: phrases whose mean score is subtracted from the phrase's score; `""` is an empty phrase.
            Each needs a forward pass of every copy (for a CLIP, only of the sentences).
        backbone_type: the backbone's `model_type`.
        max_length: number of tokens that the backbone reads.
        image_side: side of the square that the backbone takes, to which an image is resized without cropping, or
            `None`.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        mode: str | Sequence[str] = "single_color",
        colors: Sequence[Any] = SEARCHED_COLORS,
        template: str | None = None,
        alpha: int = DEFAULT_ALPHA,
        calibration: Literal["none", "anchor"] = "none",
        reference_phrases: Sequence[str] = (),
        backbone_type: str = "vilt",
        max_length: int = 40,
        image_side: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(image_processor, tokenizer, backbone_type, max_length, image_side, **kwargs)
        self.mode = mode if isinstance(mode, str) else list(mode)
        self._check_mode()
        self.colors: list[Color] = check_colors(colors)
        if template is None:
            template = DEFAULT_MARK_TEMPLATE if self.marks else DEFAULT_TEMPLATE
        self.template = check_template(template, num_blanks=0 if self.marks else 1)
        self.alpha = check_alpha(alpha)
        if calibration not in ("none", "anchor"):
            raise ValueError(f"Expected calibration to be 'none' or 'anchor', got {calibration!r}.")
        if calibration == "anchor" and (self.mode != "multi_color" or len(self.colors) < 2):
            raise ValueError(
                "calibration='anchor' paints the first region in every copy together with others, so it "
                f"needs mode='multi_color' and at least two colours. Got mode={self.mode!r} and "
                f"{len(self.colors)} colour(s)."
            )
        self.calibration = calibration
        self.reference_phrases = [
            phrase and clean_phrase(phrase, tokenizer, index) for index, phrase in enumerate(reference_phrases)
        ]
        if not self.matches_sentences:
            given = self.used_colors if self.colors == list(SEARCHED_COLORS) else self.colors
            for name in (*(name for name, _ in given), NONE):  # all colours of a user's palette are checked
                single_piece(name, tokenizer)

    @property
    def marks(self) -> list[Mark]:
        """The marks other than colour; empty in the colour modes."""
        if self.mode in ("single_color", "multi_color"):
            return []
        return cast(list[Mark], [self.mode] if isinstance(self.mode, str) else self.mode)

    @property
    def used_colors(self) -> list[Color]:
        """All colours in multi-colour mode, otherwise only the first."""
        return self.colors if self.mode == "multi_color" else self.colors[:1]

    def _check_mode(self) -> None:
        if not isinstance(self.mode, str) and not self.mode:
            raise ValueError(f"mode is an empty list. Pass at least one of {', '.join(MARKS)}.")
        if unknown := set(self.marks) - set(MARKS):
            raise ValueError(
                "Expected mode to be 'single_color', 'multi_color', or one or more of "
                f"{', '.join(map(repr, MARKS))}, got {', '.join(map(repr, sorted(unknown)))}."
            )
        if self.marks and not self.matches_sentences:
            raise ValueError(
                f"mode={self.mode!r} has no blank in the sentence, but the backbone ({self.backbone_type}) "
                "needs one to fill in. Use a CLIP, or a colour mode."
            )

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        mode: str | Sequence[str] = "single_color",
        colors: Sequence[Any] = SEARCHED_COLORS,
        template: str | None = None,
        alpha: int = DEFAULT_ALPHA,
        calibration: Literal["none", "anchor"] = "none",
        reference_phrases: Sequence[str] = (),
        tokenizer: PreTrainedTokenizerBase | None = None,
        **kwargs: Any,
    ) -> Self:
        """Create a processor for a pretrained backbone, with its image processor and tokenizer.

        Args:
            name_or_path: Hub id or folder of the backbone; "playground" is the tiny ViLT in this package.
            mode: as in [`CptProcessor`].
            colors: as in [`CptProcessor`].
            template: as in [`CptProcessor`].
            alpha: as in [`CptProcessor`].
            calibration: as in [`CptProcessor`].
            reference_phrases: as in [`CptProcessor`].
            tokenizer: the tokenizer, if it is not stored with the backbone (VisualBERT checkpoints have none and use
                that of bert-base-uncased).
            kwargs: loading arguments: `revision`, `token`, `cache_dir`, ….

        Raises:
            ValueError: for a colour word of several tokens, a template without its blank, or an invalid combination of
                settings.
            TypeError: if the backbone is of another type.

        Example:
            ```python
            >>> from PIL import Image
            >>> from hf_prompt_models import CptProcessor
            >>> processor = CptProcessor.from_backbone("playground", mode="multi_color")
            >>> boxes = [[0, 0, 30, 30], [30, 30, 60, 60]]
            >>> processor(images=Image.new("RGB", (64, 64)), text="the red key", boxes=boxes)["region_index"].shape
            torch.Size([1, 1, 6])

            ```
        """
        name_or_path = locate_backbone(name_or_path, VILT_DIR)
        check_reachable(name_or_path, **kwargs)
        config = AutoConfig.from_pretrained(name_or_path, **kwargs)
        adapter = find_adapter(config)
        image_processor = None
        if not adapter.reads_regions:
            image_processor = AutoImageProcessor.from_pretrained(name_or_path, backend="pil", **kwargs)
        return cls(
            image_processor,
            AutoTokenizer.from_pretrained(name_or_path, **kwargs) if tokenizer is None else tokenizer,
            mode=mode,
            colors=colors,
            template=template,
            alpha=alpha,
            calibration=calibration,
            reference_phrases=reference_phrases,
            backbone_type=config.model_type,
            max_length=adapter.text_length(config),
            image_side=adapter.image_side(config),
        )

    # -- grounding ----------------------------------------------------------------------------------------------------

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        boxes: Sequence[Any] | None = None,
        masks: Sequence[Any] | None = None,
        target_boxes: Sequence[Any] | None = None,
        tags: Sequence[Sequence[str]] | None = None,
        region_features: RegionFeatures | Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Prepare the inputs of [`CptForVisualGrounding`] for images, each with its phrase and its regions.

        If `text` is a single phrase (a string), all other arguments are those of a single example.

        Args:
            images: anything that `load_image` opens (PIL images, files, links, arrays, …), in the original size.
            text: a phrase for each image.
            boxes: for each image, a list of x1, y1, x2, y2 in pixels of the original image. Boxes are truncated to
                integers and clipped to the image.
            masks: for each image, a list of masks (height, width), arrays or PIL images, which are painted instead of
                the boxes. If both are given, there is one mask for each box.
            target_boxes: for each image, the true box, for training. They become `labels`, the overlap of each region
                with the true box.
            tags: for each image, a word for each region (Oscar's object tags), which follow the sentence. The tag of a
                painted region is preceded by the colour's name. Tags that do not fit are left out, and a message is
                logged.
            region_features: for backbones that read regions: a function of a painted image and the regions' boxes that
                returns an array (regions, dim), or such arrays for each copy of each example.
            kwargs: settings, passed directly or in `text_kwargs`, `images_kwargs` and `common_kwargs`.
                `truncation=True` truncates phrases that are longer than the text tower reads, instead of raising an
                error. For images: settings of the image processor that do not change the size, such as `do_rescale`.

        Raises:
            ValueError: for an example without regions, regions that are empty or not in the image, a phrase that
                contains a special token or is too long, or counts that differ; the message names the example or the
                region.
            TypeError: for an image of another type, or an unknown setting.
        """
        options, image_options = sort_options(
            kwargs, {"truncation": False, "return_tensors": "pt"}, self._image_options()
        )
        truncation = options["truncation"]
        if options["return_tensors"] != "pt":
            raise ValueError(f"Expected return_tensors='pt', got {options['return_tensors']!r}.")
        if text is None or images is None:
            raise ValueError("Both images and text are needed. Pass one image and one phrase per example.")
        if isinstance(text, str):
            images, text = [images], [text]
            boxes, masks, target_boxes = (
                value if value is None else [value] for value in (boxes, masks, target_boxes)
            )
            tags = None if tags is None else [tags]  # type: ignore[list-item]  # a single example has a flat list
            if not callable(region_features) and region_features is not None:
                region_features = [region_features]
        if not isinstance(images, list | tuple):
            raise TypeError(
                "Expected a list of images because text is a list, got a single image. Pass one image per phrase."
            )
        phrases = [clean_phrase(phrase, self.tokenizer, index) for index, phrase in enumerate(text)]
        pictures, regions, region_boxes = find_regions(images, boxes, masks, len(phrases))
        for name, given in (("target_boxes", target_boxes), ("tags", tags)):
            if given is not None and len(given) != len(phrases):
                raise ValueError(
                    f"Expected {name} for {len(phrases)} examples, got {len(given)}. Pass one entry per example."
                )
        cut_tags: list[str] = []
        examples = [
            self.painted_copies(picture, phrase, painted, tags_of(tags, index, len(painted)), truncation, cut_tags)
            for index, (picture, phrase, painted) in enumerate(zip(pictures, phrases, regions, strict=True))
        ]
        if cut_tags:
            logger.warning(
                f"Truncated the tags of {len(cut_tags)} of the {sum(map(len, examples))} copies to fit the "
                f"{self.max_length} tokens of the model, such as {cut_tags[0][:100]!r}."
            )
        sizes = [picture.size for picture in pictures]
        data = self.collate(examples, region_boxes, sizes, region_features, **image_options)
        if self.matches_sentences:
            data |= pad_sentences([self._sentences_with_words(phrase, truncation) for phrase in phrases])
        num_slots = len(self.used_colors)
        word_ids, none_id = self._word_ids()
        slots = pad_stack(
            [torch.tensor([fill_up(copy.painted, num_slots) for copy in copies]) for copies in examples], -1
        )
        data["region_index"] = slots
        data["color_token_ids"] = torch.where(slots >= 0, torch.tensor(word_ids), -1)
        data["none_token_ids"] = torch.where(data["copy_mask"] > 0, none_id, -1)
        if target_boxes is not None:
            overlaps = [
                box_iou(given, [target])[:, 0].float()
                for given, target in zip(boxes if boxes is not None else region_boxes, target_boxes, strict=True)
            ]
            data["labels"] = pad_stack(overlaps, -1.0)
        return BatchFeature(data)

    def painted_copies(
        self,
        picture: Image.Image,
        phrase: str,
        regions: list[Region],
        tags: Sequence[str] | None = None,
        truncation: bool = False,
        cut_tags: list[str] | None = None,
    ) -> list[Copy]:
        """Return the painted copies of one example, in the order in which the model reads them.

        Args:
            picture: the image, as `find_regions` returns it.
            phrase: the phrase, as `clean_phrase` returns it.
            regions: boxes or masks of the image, as `find_regions` returns them.
            tags: a word for each region, or `None`.
            truncation: as in `__call__`.
            cut_tags: list to which tags that do not fit are appended.
        """
        if self.marks:
            return [
                Copy(paint, [number], [])
                for mark in self.marks
                for number, paint in enumerate(region_markers(picture, regions, mark))
            ]
        copies = []
        without_tags = None
        if tags is None and not self.matches_sentences:
            without_tags = self._sentences(phrase, None, truncation)
        for numbers in assign_colors(len(regions), len(self.used_colors), anchored=self.calibration == "anchor"):
            colors = self.used_colors[: len(numbers)]
            painted = [regions[number] for number in numbers]
            paint = partial(paint_regions, picture, painted, [rgb for _, rgb in colors], self.alpha)
            if self.matches_sentences:
                sentences = []
            elif without_tags is not None:
                sentences = without_tags
            else:
                names = {number: name for number, (name, _) in zip(numbers, colors, strict=True)}
                said = [f"{names[number]} {tag}" if number in names else tag for number, tag in enumerate(tags or [])]
                sentences = self._sentences(phrase, " ".join(said), truncation, cut_tags)
            copies.append(Copy(paint, numbers, sentences))
        return copies

    def _sentences(
        self, phrase: str, tags: str | None, truncation: bool, cut_tags: list[str] | None = None
    ) -> list[BatchEncoding]:
        """Return the sentence of the phrase, and those of the reference phrases."""
        return [
            encode_sentence(self.template, [words], self.tokenizer, self.max_length, tags, truncation, cut_tags)
            for words in (phrase, *self.reference_phrases)
        ]

    def _sentences_with_words(self, phrase: str, truncation: bool) -> list[list[BatchEncoding]]:
        """Return each sentence with each of the words in the blank, for a CLIP."""
        return [
            [
                encode_sentence(template, [words], self.tokenizer, self.max_length, truncation=truncation)
                for template in self._templates()
            ]
            for words in (phrase, *self.reference_phrases)
        ]

    def _templates(self) -> list[str]:
        """Return the template or, for a CLIP, the template with each of the words in the blank."""
        if not self.matches_sentences:
            return [self.template]
        return [self.template.replace(MASK, word) for word in ([""] if self.marks else self._words())]

    def sentence_length(self, phrase: str, index: int = 0) -> int:
        """Return the number of tokens of the longest sentence for a phrase, including special tokens.

        Args:
            phrase: the phrase.
            index: index of the phrase, for error messages.
        """
        cleaned = clean_phrase(phrase, self.tokenizer, index)
        blank = self.tokenizer.mask_token or MASK
        filled = [fill_template(template.replace(MASK, blank), [cleaned]) for template in self._templates()]
        return max(len(ids) for ids in self.tokenizer(filled, verbose=False).input_ids)

    def _words(self) -> list[str]:
        return [*(name for name, _ in self.used_colors), NONE]

    def _word_ids(self) -> tuple[list[int], int]:
        """Return the ids of the colours' words and of "none": in the vocabulary, or among the sentences of a CLIP."""
        if self.marks:
            return [0], -1
        if self.matches_sentences:
            return list(range(len(self.used_colors))), len(self.used_colors)
        *colors, none = (single_piece(word, self.tokenizer) for word in self._words())
        return colors, none

    # -- after the model ----------------------------------------------------------------------------------------------

    def post_process_visual_grounding(
        self, outputs: Any, boxes: Sequence[Any], target_sizes: Sequence[tuple[int, int]] | torch.Tensor | None = None
    ) -> list[dict[str, torch.Tensor]]:
        """Return every region of each example, best first.

        Args:
            outputs: output of [`CptForVisualGrounding`].
            boxes: the boxes that were passed to the processor, in pixels.
            target_sizes: height and width of the original images, to which boxes are clipped. Default: boxes are not
                clipped.

        Returns:
            For each example, `scores` (regions,), the softmax of its proposal logits; `boxes` (regions, 4); and
            `index` (regions,), the indices of the regions in `boxes`.

        Raises:
            ValueError: if counts differ.
        """
        logits = outputs.proposal_logits
        if len(boxes) != len(logits) or (target_sizes is not None and len(target_sizes) != len(logits)):
            raise ValueError(f"Pass boxes and target_sizes for all {len(logits)} examples of the outputs.")
        results = []
        for index, of_example in enumerate(boxes):
            count = int(logits[index].isfinite().sum())
            if count != len(of_example):
                raise ValueError(f"Example {index} has {len(of_example)} boxes, but outputs for {count} regions.")
            if target_sizes is not None:
                height, width = (int(side) for side in target_sizes[index])
                of_example = clip_boxes(of_example, (width, height))
            scores, order = logits[index, :count].float().softmax(dim=0).sort(descending=True, stable=True)
            kept = torch.as_tensor(np.asarray(of_example), device=order.device)
            results.append({"scores": scores, "boxes": kept[order], "index": order})
        return results


__all__ = ["CptProcessor"]
