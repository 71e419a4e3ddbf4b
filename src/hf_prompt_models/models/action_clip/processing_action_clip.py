"""Processor for ActionCLIP."""

from typing import Any

from hf_prompt_models.models.action_clip.image_processing_action_clip import ActionClipImageProcessor
from hf_prompt_models.processing_utils import ClipPromptProcessor


class ActionClipProcessor(ClipPromptProcessor):
    """Convert video frames to `pixel_values` and class names to tokens.

    `processor(images=frames)` takes the frames of one video as a list, or a list of such lists.

    Example:
        ```python
        >>> from PIL import Image
        >>> from hf_prompt_models import ActionClipProcessor
        >>> processor = ActionClipProcessor.from_backbone("playground")
        >>> frames = [Image.new("RGB", (64, 48), "red")] * 8
        >>> processor(images=[frames, frames], return_tensors="pt").pixel_values.shape
        torch.Size([2, 8, 3, 48, 48])

        ```
    """

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, **kwargs: Any):
        if image_processor is not None and not isinstance(image_processor, ActionClipImageProcessor):
            image_processor = ActionClipImageProcessor.from_image_processor(image_processor)  # that of the backbone
        super().__init__(image_processor, tokenizer, **kwargs)


__all__ = ["ActionClipProcessor"]
