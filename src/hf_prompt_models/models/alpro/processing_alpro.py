"""Processor for ALPRO: frames, sentences, masked words and crops; and the data collators for training."""

import os
from collections.abc import Sequence
from typing import Any, Self

import torch
from PIL import Image
from transformers import BatchFeature, PreTrainedTokenizerBase

from hf_prompt_models.backbones.packaged import ALPRO_DIR, locate_backbone
from hf_prompt_models.processing_utils import PromptProcessor, refuse_long_text


IGNORED = -100
"""Label of tokens and questions that the loss ignores."""
MASKED, REPLACED = 0.8, 0.1
"""Fractions of the masked words that become `[MASK]`, and a random token. The others are not changed."""
AREA = (0.3, 0.5)
"""Smallest and largest fraction of the frame that a crop covers."""
ASPECT = (0.3, 1 / 0.3)
"""Smallest and largest ratio of a crop's width to its height."""
MAX_TRIES = 100


class AlproProcessor(PromptProcessor):
    """Turn frames of videos into `pixel_values`, and sentences into tokens.

    `processor(images=videos, text=sentences, return_tensors="pt")` takes the frames of one video as a list, or a list
    of such lists. In a list of lists, a video of one frame is a still image, which is repeated.

    Args:
        image_processor: an `AlproImageProcessor`.
        tokenizer: the BERT tokenizer.
        num_frames: number of frames of a video that the model takes.
        max_text_length: greatest number of tokens of a sentence (30 in pre-training; 40 in fine-tuning).
        patch_size: side of a patch in pixels. The edges of crops are moved to the patches' grid.

    Example:
        ```python
        >>> from PIL import Image
        >>> from hf_prompt_models import AlproProcessor
        >>> processor = AlproProcessor.from_backbone("playground")
        >>> frames = [Image.new("RGB", (64, 48), "red")] * 4
        >>> inputs = processor(images=[frames], text=["a red key falls"], return_tensors="pt")
        >>> inputs.pixel_values.shape, inputs.input_ids.shape
        (torch.Size([1, 4, 3, 48, 48]), torch.Size([1, 6]))

        ```
    """

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any) -> Any:
        """Load a processor as in transformers; "playground" is the tiny ALPRO in this package."""
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
        """Prepare videos, sentences or both. Sentences are padded to the longest.

        Args:
            images: the frames of one or several videos, in any format that `data.images.load_image` opens.
            text: one or several sentences.
            kwargs: `return_tensors="pt"`, and settings of the image processor and the tokenizer. `truncation=True`
                truncates sentences that are longer than `max_text_length`.

        Raises:
            ValueError: for a longer sentence, unless `truncation` is passed.
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
            # Defaults for settings that were passed elsewhere are left out: a setting must not be in two places.
            kwargs["text_kwargs"] = {name: value for name, value in defaults.items() if name not in asked} | own
        if isinstance(images, list | tuple) and images and isinstance(images[0], list | tuple):
            images = [list(frames) * (self.num_frames if len(frames) == 1 else 1) for frames in images]
        return super().__call__(images=images, text=text, **kwargs)

    def sentence_length(self, sentence: str) -> int:
        """Return the number of tokens of a sentence, including special tokens."""
        return len(self.tokenizer(sentence, verbose=False).input_ids)

    def prepare_pretraining(
        self,
        videos: Sequence[Sequence[Image.Image]],
        captions: Sequence[str],
        generator: torch.Generator,
        mlm_probability: float = 0.15,
    ) -> BatchFeature:
        """Prepare captioned videos for [`AlproForPreTraining`], with randomly masked words and random crops.

        Args:
            videos: lists of `num_frames` frames, or of one frame for a still image.
            captions: one per video, truncated to `max_text_length`.
            generator: the source of randomness.
            mlm_probability: fraction of words that are masked.

        Returns:
            `pixel_values`, `input_ids`, `attention_mask`, `mlm_input_ids`, `mlm_labels`, `crop_pixel_values`,
            `crop_boxes` and `is_video`, as tensors.

        Raises:
            ValueError: if the numbers of videos and captions differ, or the numbers of frames of the videos.
        """
        if len(videos) != len(captions):
            raise ValueError(f"Expected one caption per video, got {len(videos)} videos and {len(captions)} captions.")
        batch = self(images=list(videos), text=list(captions), truncation=True, return_tensors="pt")
        batch["mlm_input_ids"], batch["mlm_labels"] = mask_words(
            batch["input_ids"], self.tokenizer, generator, mlm_probability
        )
        pixels, settings = batch["pixel_values"], self.image_processor
        boxes = [sample_crop_box(pixels.shape[-1], self.patch_size, generator) for _ in videos]
        batch["crop_boxes"] = torch.tensor(boxes)
        batch["crop_pixel_values"] = black_outside(
            pixels, batch["crop_boxes"], list(settings.image_mean), list(settings.image_std)
        )
        batch["is_video"] = torch.tensor([len(frames) > 1 for frames in videos])
        return batch


class AlproCollator:
    """Collate items of a `VideoTextDataset` to `pixel_values`, `input_ids` and `attention_mask`; texts are truncated.

    Args:
        processor: the processor of ALPRO.
        labels: for question answering, the label of each item of the dataset.
    """

    def __init__(self, processor: AlproProcessor, labels: Sequence[int] | None = None):
        self.processor = processor
        self.labels = labels

    def __call__(self, items: Sequence[dict[str, Any]]) -> BatchFeature:
        videos, texts = [item["frames"] for item in items], [item["text"] for item in items]
        batch = self.processor(images=videos, text=texts, truncation=True, return_tensors="pt")
        if self.labels is not None:
            batch["labels"] = torch.tensor([self.labels[item["index"]] for item in items])
        return batch


class AlproPretrainingCollator:
    """Collate items for pre-training, with masked words and crops sampled by the items' own random numbers.

    Args:
        processor: the processor of ALPRO.
        entities: whether the model has a prompter, and so needs crops.
        mlm_probability: fraction of words that are masked.
    """

    def __init__(self, processor: AlproProcessor, entities: bool = True, mlm_probability: float = 0.15):
        self.processor = processor
        self.entities = entities
        self.mlm_probability = mlm_probability

    def __call__(self, items: Sequence[dict[str, Any]]) -> BatchFeature:
        generator = torch.Generator().manual_seed(sum(item["draw"] * 31**n for n, item in enumerate(items)) % 2**63)
        videos, texts = [item["frames"] for item in items], [item["text"] for item in items]
        batch = self.processor.prepare_pretraining(videos, texts, generator, self.mlm_probability)
        if not self.entities:
            for name in ("crop_pixel_values", "crop_boxes", "is_video"):
                del batch[name]
        return batch


def mask_words(
    input_ids: torch.Tensor, tokenizer: PreTrainedTokenizerBase, generator: torch.Generator, probability: float = 0.15
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mask words as BERT does (released code: `src/datasets/dataset_pretrain_sparse.py`).

    Args:
        input_ids: (batch, length) token ids. Special tokens and padding are not masked.
        tokenizer: the tokenizer that produced them.
        generator: the source of randomness.
        probability: probability of each token to be masked.

    Returns:
        (batch, length) token ids, and (batch, length) labels, -100 for unmasked tokens.
    """
    special = torch.isin(input_ids, torch.tensor(tokenizer.all_special_ids))
    asked = (torch.rand(input_ids.shape, generator=generator) < probability) & ~special
    chance = torch.rand(input_ids.shape, generator=generator)
    others = torch.randint(len(tokenizer), input_ids.shape, generator=generator)
    masked = input_ids.masked_fill(asked & (chance < MASKED), tokenizer.mask_token_id)
    masked = torch.where(asked & (chance >= MASKED) & (chance < MASKED + REPLACED), others, masked)
    return masked, input_ids.masked_fill(~asked, IGNORED)


def sample_crop_box(image_size: int, patch_size: int, generator: torch.Generator) -> tuple[int, int, int, int]:
    """Sample a rectangle in a square frame, its edges moved up and left to the patches' grid (paper, 3.3).

    Args:
        image_size: side of the frame in pixels.
        patch_size: side of a patch in pixels.
        generator: the source of randomness.

    Returns:
        Left, top, right and bottom in pixels; the entire frame if it has too few patches for a crop.
    """
    for _ in range(MAX_TRIES):
        chance = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        area = (AREA[0] + chance[0] * (AREA[1] - AREA[0])) * image_size**2
        aspect = ASPECT[0] + chance[1] * (ASPECT[1] - ASPECT[0])
        width, height = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if width >= image_size or height >= image_size:
            continue
        left, top = int(chance[2] * (image_size - width + 1)), int(chance[3] * (image_size - height + 1))
        edges = [edge // patch_size * patch_size for edge in (left, top, left + width, top + height)]
        if edges[0] < edges[2] and edges[1] < edges[3]:
            return edges[0], edges[1], edges[2], edges[3]
    return 0, 0, image_size, image_size


def black_outside(
    pixel_values: torch.Tensor, boxes: torch.Tensor, mean: list[float], std: list[float]
) -> torch.Tensor:
    """Return videos that are black outside their boxes.

    Args:
        pixel_values: (batch, frames, 3, height, width), normalised.
        boxes: (batch, 4) left, top, right, bottom in pixels.
        mean: the mean that they were normalised with.
        std: the standard deviation that they were normalised with.
    """
    rows = torch.arange(pixel_values.shape[-2], device=boxes.device)
    columns = torch.arange(pixel_values.shape[-1], device=boxes.device)
    left, top, right, bottom = (edges[:, None] for edges in boxes.unbind(dim=1))
    inside_rows, inside_columns = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    inside = (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None, None].to(pixel_values.device)
    black = -torch.tensor(mean, dtype=pixel_values.dtype) / torch.tensor(std, dtype=pixel_values.dtype)
    return torch.where(inside, pixel_values, black[:, None, None].to(pixel_values.device))


__all__ = ["AlproProcessor"]
