"""MaPLe model configuration."""

from huggingface_hub.dataclasses import strict

from hf_prompt_models.modeling_deep_prompt_utils import DeepPromptConfig


@strict
class MaPLeConfig(DeepPromptConfig):
    r"""Configuration of [`MaPLeForImageClassification`] (Multi-modal Prompt Learning, arXiv 2210.03117).

    Attributes:
        n_ctx (`int`, *optional*, defaults to 2):
            Number of prompts, the same in both towers.
        prompt_depth (`int`, *optional*, defaults to 9):
            Number of layers with prompts, in both towers.

    Example:
        ```python
        >>> from hf_prompt_models import MaPLeConfig
        >>> config = MaPLeConfig(prompt_depth=3)
        >>> config.text_prompt_depth, config.vision_prompt_depth
        (3, 3)

        ```
    """

    model_type = "maple"

    n_ctx: int = 2
    prompt_depth: int = 9

    @property
    def text_prompt_depth(self) -> int:
        """Number of layers of the text tower with prompts."""
        return self.prompt_depth

    @property
    def vision_prompt_depth(self) -> int:
        """Number of layers of the image tower with prompts."""
        return self.prompt_depth


__all__ = ["MaPLeConfig"]
