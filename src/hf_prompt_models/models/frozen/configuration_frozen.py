"""Frozen model configuration."""

from huggingface_hub.dataclasses import strict

from hf_prompt_models.prefix_lm.configuration_prefix_lm import PrefixLMConfig


@strict
class FrozenConfig(PrefixLMConfig):
    r"""
    Configuration of [`FrozenForConditionalGeneration`] (Multimodal Few-Shot Learning with Frozen Language Models,
    arXiv 2106.13884).

    Arguments of [`PrefixLMConfig`], `num_image_tokens` with the default 2 (the paper's best of 1, 2 and 4), and:

    vision_from_scratch (`bool`, *optional*, defaults to `False`):
        Whether the vision backbone started from new weights, as in the paper, and so trains its batch norms too. A
        pretrained one keeps the statistics that it has.
    """

    model_type = "frozen"

    num_image_tokens: int = 2
    vision_from_scratch: bool = False

    def validate_architecture(self) -> None:
        """Part of `@strict` validation."""
        super().validate_architecture()
        if self.vision_from_scratch and self.freeze_vision:
            raise ValueError("vision_from_scratch=True with freeze_vision=True would never train the vision backbone.")


__all__ = ["FrozenConfig"]
