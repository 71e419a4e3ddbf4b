"""Frozen model configuration."""

from huggingface_hub.dataclasses import strict

from hf_prompt_models.prefix_lm.configuration_prefix_lm import PrefixLMConfig


@strict
class FrozenConfig(PrefixLMConfig):
    """Configuration of [`FrozenForConditionalGeneration`] (Frozen, arXiv 2106.13884).

    The paper is "Multimodal Few-Shot Learning with Frozen Language Models". The arguments are those of
    [`PrefixLMConfig`], where `num_image_tokens` defaults to 2 (the best of 1, 2 and 4 in the paper), and:

    vision_from_scratch (`bool`, *optional*, defaults to `False`):
        Whether the vision backbone starts from new weights, as in the paper. Its batch norms are then trained, too.
        The batch norms of a pretrained backbone keep their statistics.

    Example:
        ```python
        >>> from hf_prompt_models import FrozenConfig
        >>> config = FrozenConfig(text_config={"model_type": "llama"}, vision_from_scratch=True)
        >>> config.num_image_tokens, config.text_config.model_type
        (2, 'llama')

        ```
    """

    model_type = "frozen"

    num_image_tokens: int = 2
    vision_from_scratch: bool = False

    def validate_architecture(self) -> None:
        """Check that new vision weights are trained, as part of the `@strict` validation."""
        super().validate_architecture()
        if self.vision_from_scratch and self.freeze_vision:
            raise ValueError(
                "vision_from_scratch=True with freeze_vision=True would leave the vision backbone untrained. Pass "
                "only one of them."
            )


__all__ = ["FrozenConfig"]
