"""A model that grounds phrases, for the page: the answer together with what the model was shown."""

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
    """What a model made of a phrase.

    Attributes:
        boxes: the regions' boxes.
        order: the regions by number, best first.
        scores: of each in that order, 1 in all.
        sentence: what was read, with `[MASK]` for the blank.
        copies: the painted copies that were read.
    """

    boxes: list[PixelBox]
    order: list[int]
    scores: list[float]
    sentence: str
    copies: list[ShownCopy]

    def mark_of(self, region: int) -> str:
        """The colour that a region had, or how else it was marked."""
        return next(copy.marks[region] for copy in self.copies if region in copy.marks)


class Grounder:
    """A model of CPT, loaded, with what proposes regions.

    Args:
        model_dir: its folder.
        options: `proposals` and `device` are read.

    Raises:
        ValueError: if its backbone reads features of regions, which a picture alone does not give.
    """

    def __init__(self, model_dir: Path, options: Options):
        self.processor = AutoProcessor.from_pretrained(model_dir)
        if ADAPTERS[self.processor.backbone_type].reads_regions:
            raise ValueError(
                f"{model_dir} has a backbone ({self.processor.backbone_type}) that reads a detector's features of "
                "regions, not pixels, and a page has none to give it: call the processor with region_features=."
            )
        self.model: CptForVisualGrounding = AutoModel.from_pretrained(model_dir, **options.moved).eval()
        self.model.to(options.torch_device)
        pipe = VisualGroundingPipeline(model=self.model, processor=self.processor, device=self.model.device)
        self.proposer = None if options.proposals is None else pipe.proposer(options.proposals)

    def propose(self, picture: Image.Image) -> tuple[list[PixelBox], list[np.ndarray] | None]:
        """The first `MAX_BOXES` boxes that the proposals' model finds, and masks where it makes masks.

        Raises:
            ValueError: if it finds none.
        """
        boxes, masks = propose_regions(self.proposer, picture)
        if masks is None:
            return clip_boxes((boxes or [])[:MAX_BOXES], picture.size), None
        kept = check_masks(masks[:MAX_BOXES], picture.size)
        return mask_boxes(kept), kept

    @torch.no_grad()
    def ground(
        self, picture: Image.Image, phrase: str, boxes: list[PixelBox], masks: list[np.ndarray] | None = None
    ) -> Grounded:
        """Compare the regions of a picture.

        Args:
            picture: in its own size.
            phrase: what is looked for.
            boxes: the regions.
            masks: of the same regions; painted in place of the boxes.

        Raises:
            ValueError: for a phrase that is empty or too long.
        """
        sentence = read_sentence(self.processor, phrase)
        inputs = self.processor(images=picture, text=phrase, boxes=boxes, masks=masks)
        outputs = self.model(**inputs.to(self.model.device))
        (found,) = self.processor.post_process_visual_grounding(outputs, [boxes])
        copies = show_copies(self.processor, picture, phrase, boxes, masks)
        return Grounded(boxes, found["index"].tolist(), found["scores"].tolist(), sentence, copies)
