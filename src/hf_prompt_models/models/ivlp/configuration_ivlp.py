"""IVLP model configuration."""

from huggingface_hub.dataclasses import strict

from hf_prompt_models.modeling_deep_prompt_utils import DeepPromptConfig


@strict
class IVLPConfig(DeepPromptConfig):
    r"""Configuration of [`IVLPForImageClassification`].

    The prompts of both towers are trained independently of each other (arXiv 2210.03117, §3.2).

    Attributes:
        n_ctx (`int`, *optional*, defaults to 2):
            Number of context vectors in a prompt of the text tower.
        text_depth (`int`, *optional*, defaults to 12):
            Number of layers of the text tower with prompts. With 0 the prompt is "a photo of a {}." and is not trained
            (VPT).
        n_vision_ctx (`int`, *optional*, defaults to 2):
            Number of prompts that are appended to the patches of the image tower.
        vision_depth (`int`, *optional*, defaults to 12):
            Number of layers of the image tower with prompts. With 0 there are none (deep language prompting).

    Example:
        ```python
        >>> from hf_prompt_models import IVLPConfig
        >>> config = IVLPConfig(text_depth=0, vision_depth=3)
        >>> config.text_prompt_depth, config.vision_prompt_depth
        (0, 3)

        ```
    """

    model_type = "ivlp"

    n_ctx: int = 2
    text_depth: int = 12
    n_vision_ctx: int = 2
    vision_depth: int = 12

    @property
    def text_prompt_depth(self) -> int:
        """Number of layers of the text tower with prompts."""
        return self.text_depth

    @property
    def vision_prompt_depth(self) -> int:
        """Number of layers of the image tower with prompts."""
        return self.vision_depth

    def validate_architecture(self) -> None:
        """Check the fields; `@strict` calls this method."""
        super().validate_architecture()
        if self.vision_depth and self.n_vision_ctx < 1:
            raise ValueError(f"Expected n_vision_ctx, a number of prompts, to be at least 1, got {self.n_vision_ctx}.")
        if not self.text_depth and not self.vision_depth:
            raise ValueError(
                "text_depth and vision_depth are both 0, so there is nothing to train. Set one of them above 0."
            )


__all__ = ["IVLPConfig"]
