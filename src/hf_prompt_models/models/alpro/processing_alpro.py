"""Processor for ALPRO: frames, sentences, and what pre-training makes of both."""

import os
from collections.abc import Sequence
from typing import Any, Self

import torch
from PIL import Image
from transformers import BatchFeature

from hf_prompt_models.backbones.packaged import ALPRO_DIR, locate_backbone
from hf_prompt_models.models.alpro.crops_alpro import black_outside, draw_crop_box
from hf_prompt_models.models.alpro.masking_alpro import mask_words
from hf_prompt_models.processing_utils import PromptProcessor, refuse_long_text


class AlproProcessor(PromptProcessor):
    """Frames of videos to `pixel_values`, sentences to tokens.

    `processor(images=videos, text=sentences, return_tensors="pt")` takes the frames of one video as a list, or a list
    of such lists. In a list of lists, a video of one frame is a still picture: it is repeated.

    Args:
        image_processor: an `AlproImageProcessor`.
        tokenizer: BERT's.
        num_frames: frames of a video, as many as the model takes.
        max_text_length: tokens of a sentence, the most that are read (30 in pre-training; 40 in fine-tuning).
        patch_size: pixels of a patch, to whose grid the edges of crops are moved.
    """

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> Any:
        """As in transformers; "playground" is the tiny ALPRO in this package."""
        return super().from_pretrained(locate_backbone(pretrained_model_name_or_path, ALPRO_DIR), **kwargs)

    @classmethod
    def from_backbone(cls, name_or_path: str | os.PathLike, **kwargs: Any) -> Self:
        """Load the processor of a saved ALPRO, as `from_pretrained` does."""
        return cls.from_pretrained(name_or_path, **kwargs)

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        num_frames: int = 4,
        max_text_length: int = 40,
        patch_size: int = 16,
        **kwargs: Any,
    ):
        self.num_frames = num_frames
        self.max_text_length = max_text_length
        self.patch_size = patch_size
        super().__init__(image_processor, tokenizer, **kwargs)

    def __call__(self, images: Any = None, text: Any = None, **kwargs: Any) -> BatchFeature:
        """Prepare videos, sentences or both; sentences are padded to the longest.

        Args:
            images: the frames of a video or of several, as whatever `data.images.load_image` opens.
            text: a sentence or several.
            kwargs: `return_tensors="pt"`, and settings of the image processor and the tokenizer; `truncation=True`
                cuts the ends of sentences that are longer than `max_text_length`.

        Raises:
            ValueError: for a sentence that is longer, unless `truncation` is passed.
        """
        if text is not None:
            own = kwargs.get("text_kwargs") or {}
            asked = (kwargs.get("common_kwargs") or {}) | kwargs | own
            if "truncation" not in asked:
                for sentence in [text] if isinstance(text, str) else text:
                    length = self.sentence_length(sentence)
                    refuse_long_text("A sentence", sentence, length, asked.get("max_length", self.max_text_length))
            defaults = {"padding": True, "truncation": True, "max_length": self.max_text_length}
            defaults |= {"return_token_type_ids": False}
            # Among the text's own settings, and not beside them, where they would be given twice.
            kwargs["text_kwargs"] = {name: value for name, value in defaults.items() if name not in asked} | own
        if isinstance(images, list | tuple) and images and isinstance(images[0], list | tuple):
            images = [list(frames) * (self.num_frames if len(frames) == 1 else 1) for frames in images]
        return super().__call__(images=images, text=text, **kwargs)

    def sentence_length(self, sentence: str) -> int:
        """Return the tokens of a sentence, special tokens included."""
        return len(self.tokenizer(sentence, verbose=False).input_ids)

    def prepare_pretraining(
        self,
        videos: Sequence[Sequence[Image.Image]],
        captions: Sequence[str],
        generator: torch.Generator,
        mlm_probability: float = 0.15,
    ) -> BatchFeature:
        """All that [`AlproForPreTraining`] reads of a batch of captioned videos, with masked words and crops drawn.

        Args:
            videos: each a list of `num_frames` frames, or of one, which is a still picture.
            captions: one a video; the ends of those that are longer than `max_text_length` are cut.
            generator: where chance comes from.
            mlm_probability: share of words that are asked for.

        Returns:
            `pixel_values`, `input_ids`, `attention_mask`, `mlm_input_ids`, `mlm_labels`, `crop_pixel_values`,
            `crop_boxes` and `is_video`, as tensors.

        Raises:
            ValueError: for unlike numbers of videos and captions, or of frames.
        """
        if len(videos) != len(captions):
            raise ValueError(f"There are {len(videos)} videos and {len(captions)} captions: one a video is needed.")
        batch = self(images=list(videos), text=list(captions), truncation=True, return_tensors="pt")
        batch["mlm_input_ids"], batch["mlm_labels"] = mask_words(
            batch["input_ids"], self.tokenizer, generator, mlm_probability
        )
        pixels, settings = batch["pixel_values"], self.image_processor
        boxes = [draw_crop_box(pixels.shape[-1], self.patch_size, generator) for _ in videos]
        batch["crop_boxes"] = torch.tensor(boxes)
        batch["crop_pixel_values"] = black_outside(
            pixels, batch["crop_boxes"], list(settings.image_mean), list(settings.image_std)
        )
        batch["is_video"] = torch.tensor([len(frames) > 1 for frames in videos])
        return batch


__all__ = ["AlproProcessor"]
