"""CoCoOp model configuration."""

from huggingface_hub.dataclasses import strict

from hf_prompt_models.modeling_context_utils import ContextPromptConfig


@strict
class CoCoOpConfig(ContextPromptConfig):
    r"""Configuration of [`CoCoOpForImageClassification`] (Conditional Context Optimization, arXiv 2203.05557).

    Example:
        ```python
        >>> from hf_prompt_models import CoCoOpConfig
        >>> config = CoCoOpConfig(n_ctx=8)
        >>> config.n_ctx, config.clip_config.model_type
        (8, 'clip')

        ```
    """

    model_type = "cocoop"


__all__ = ["CoCoOpConfig"]
