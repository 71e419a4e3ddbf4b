"""CoCoOp model configuration."""

from huggingface_hub.dataclasses import strict

from hf_prompt_models.modeling_context_utils import ContextPromptConfig


@strict
class CoCoOpConfig(ContextPromptConfig):
    r"""Configuration of [`CoCoOpForImageClassification`] (Conditional Context Optimization, arXiv 2203.05557)."""

    model_type = "cocoop"


__all__ = ["CoCoOpConfig"]
