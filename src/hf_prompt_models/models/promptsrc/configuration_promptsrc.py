"""PromptSRC model configuration."""

from huggingface_hub.dataclasses import strict

from hf_prompt_models.modeling_deep_prompt_utils import DeepPromptConfig


@strict
class PromptSRCConfig(DeepPromptConfig):
    r"""Configuration of [`PromptSRCForImageClassification`] (Self-regulating Prompts, arXiv 2307.06948).

    Attributes:
        prompt_depth (`int`, *optional*, defaults to 9):
            Number of layers with prompts, in both towers.
        text_weight (`float`, *optional*, defaults to 25.0):
            Weight of the difference between the class features and the teacher's.
        image_weight (`float`, *optional*, defaults to 10.0):
            Weight of the difference between the image features and those of the backbone without prompts.
        logits_weight (`float`, *optional*, defaults to 1.0):
            Weight of the divergence from the teacher's probabilities.

    Example:
        ```python
        >>> from hf_prompt_models import PromptSRCConfig
        >>> config = PromptSRCConfig()
        >>> config.text_weight, config.image_weight, config.logits_weight
        (25.0, 10.0, 1.0)

        ```
    """

    model_type = "promptsrc"

    prompt_depth: int = 9
    text_weight: float = 25.0
    image_weight: float = 10.0
    logits_weight: float = 1.0

    @property
    def text_prompt_depth(self) -> int:
        """Number of layers of the text tower with prompts."""
        return self.prompt_depth

    @property
    def vision_prompt_depth(self) -> int:
        """Number of layers of the image tower with prompts."""
        return self.prompt_depth


__all__ = ["PromptSRCConfig"]
