"""Building blocks of prompts: templates, tokenized class names, learnable context, packing, and encoding by towers."""

from typing import TYPE_CHECKING

from hf_prompt_models.utils.lazy import lazy_names


if TYPE_CHECKING:
    from hf_prompt_models.prompts.colors import clip_boxes as clip_boxes
    from hf_prompt_models.prompts.colors import paint_regions as paint_regions
    from hf_prompt_models.prompts.colors import search_color_prompts as search_color_prompts
    from hf_prompt_models.prompts.templates import DATASET_TEMPLATES as DATASET_TEMPLATES
    from hf_prompt_models.prompts.templates import IMAGENET_TEMPLATES as IMAGENET_TEMPLATES
    from hf_prompt_models.prompts.waffle import waffle_prompts as waffle_prompts


_MODULES = {
    "DATASET_TEMPLATES": "hf_prompt_models.prompts.templates",
    "IMAGENET_TEMPLATES": "hf_prompt_models.prompts.templates",
    "clip_boxes": "hf_prompt_models.prompts.colors",
    "paint_regions": "hf_prompt_models.prompts.colors",
    "search_color_prompts": "hf_prompt_models.prompts.colors",
    "waffle_prompts": "hf_prompt_models.prompts.waffle",
}

__all__ = list(_MODULES)
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
