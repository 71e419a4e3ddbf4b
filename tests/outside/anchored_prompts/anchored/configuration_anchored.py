"""Configuration of anchored prompts."""

from huggingface_hub.dataclasses import strict

from hf_prompt_models.modeling_context_utils import ContextPromptConfig


@strict
class AnchoredConfig(ContextPromptConfig):
    r"""
    anchor_weight (`float`, *optional*, defaults to 1.0):
        Weight of the squared distance of the context from zero.
    """

    model_type = "anchored"

    anchor_weight: float = 1.0
