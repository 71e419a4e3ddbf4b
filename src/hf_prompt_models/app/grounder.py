"""Visual grounding for the demo: the answer together with the coloured prompt that the model read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

from hf_prompt_models.app.components.drawn_boxes import MAX_BOXES
from hf_prompt_models.app.options import Options
from hf_prompt_models.models.cpt import CptForVisualGrounding, VisualGroundingPipeline
from hf_prompt_models.models.cpt.adapters_cpt import ADAPTERS
from hf_prompt_models.models.cpt.pipeline_cpt import propose_regions
from hf_prompt_models.models.cpt.visualization_cpt import ShownCopy, read_sentence, show_copies
from hf_prompt_models.prompts.colors import PixelBox, check_masks, clip_boxes, mask_boxes


@dataclass(frozen=True)
class Grounded:
    """Result of visual grounding for one phrase.

    Attributes:
        boxes: boxes of the regions, in pixels.
        order: indices of the regions, best first.
        scores: scores of the regions in that order; they sum to 1.
        sentence: the text prompt, with `[MASK]` for the blank.
        copies: the painted copies of the image that the model read.
    """

    boxes: list[PixelBox]
    order: list[int]
    scores: list[float]
    sentence: str
    copies: list[ShownCopy]

    def mark_of(self, region: int) -> str:
        """Return the colour, or another mark, that a region had in its painted copy.

        Args:
            region: index of the region in `boxes`.
        """
        return next(copy.marks[region] for copy in self.copies if region in copy.marks)


class Grounder:
    """A loaded CPT model, optionally with a model that proposes regions.

    Args:
        model_dir: folder or Hub id of the model.
        options: `proposals`, `backbone` and `device` are used.

    Raises:
        ValueError: if the backbone needs region features of a detector, which cannot be computed from the image alone.
    """

    def __init__(self, model_dir: Path, options: Options):
        self.processor = AutoProcessor.from_pretrained(model_dir)
        if ADAPTERS[self.processor.backbone_type].reads_regions:
            raise ValueError(
                f"{model_dir} has a backbone ({self.processor.backbone_type}) that needs the region features "
                "of a detector instead of pixels, which the page cannot compute. Call the processor in "
                "Python with region_features=."
            )
        self.model: CptForVisualGrounding = AutoModel.from_pretrained(model_dir, **options.moved).eval()
        self.model.to(options.torch_device)
        pipe = VisualGroundingPipeline(model=self.model, processor=self.processor, device=self.model.device)
        self.proposer = None if options.proposals is None else pipe.proposer(options.proposals)

    def propose(self, image: Image.Image) -> tuple[list[PixelBox], list[np.ndarray] | None]:
        """Propose regions of an image.

        Args:
            image: the image.

        Returns:
            The first `MAX_BOXES` boxes, and their masks if the model predicts masks, else `None`.

        Raises:
            ValueError: if the model finds no region.
        """
        boxes, masks = propose_regions(self.proposer, image)
        if masks is None:
            return clip_boxes((boxes or [])[:MAX_BOXES], image.size), None
        kept = check_masks(masks[:MAX_BOXES], image.size)
        return mask_boxes(kept), kept

    @torch.no_grad()
    def ground(
        self, image: Image.Image, phrase: str, boxes: list[PixelBox], masks: list[np.ndarray] | None = None
    ) -> Grounded:
        """Rank the regions of an image for a phrase.

        Args:
            image: the image at its original size.
            phrase: the referring expression.
            boxes: boxes of the regions, in pixels.
            masks: masks of the same regions, painted in place of the boxes.

        Raises:
            ValueError: if the phrase is empty or too long.
        """
        sentence = read_sentence(self.processor, phrase)
        inputs = self.processor(images=image, text=phrase, boxes=boxes, masks=masks)
        outputs = self.model(**inputs.to(self.model.device))
        (found,) = self.processor.post_process_visual_grounding(outputs, [boxes])
        copies = show_copies(self.processor, image, phrase, boxes, masks)
        return Grounded(boxes, found["index"].tolist(), found["scores"].tolist(), sentence, copies)
