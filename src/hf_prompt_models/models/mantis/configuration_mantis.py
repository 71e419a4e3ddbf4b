"""MAnTiS model configuration."""

from typing import ClassVar

from huggingface_hub.dataclasses import strict

from hf_prompt_models.prefix_lm.configuration_prefix_lm import PrefixLMConfig


@strict
class MantisConfig(PrefixLMConfig):
    """Configuration of [`MantisForConditionalGeneration`] (Multimodal Conditionality for NLG, arXiv 2109.01229).

    The arguments are those of [`PrefixLMConfig`], and:

    separator_token_id (`int`, *optional*):
        Token id of `<sep>`, which separates the title from the description.
    freeze_text (`bool`, *optional*, defaults to `False`):
        Whether to freeze the language model. Checkpoints can then leave it out.

    Example:
        ```python
        >>> from hf_prompt_models import MantisConfig
        >>> config = MantisConfig(num_image_tokens=4, freeze_text=True)
        >>> config.num_image_tokens, config.grids[4]
        (4, (2, 2))

        ```
    """

    model_type = "mantis_nlg"  # "mantis" is already the name of another model on the Hub
    method = "mantis"
    grids: ClassVar[dict[int, tuple[int, int]]] = {
        **{count: (count, 1) for count in (1, 2, 3, 5, 7)},
        4: (2, 2),
        6: (3, 2),
        8: (4, 2),
        9: (3, 3),
    }
    """Rows and columns of the grid that image features are pooled to, by `num_image_tokens` (as in MMBT)."""

    separator_token_id: int | None = None
    freeze_text: bool = False

    def validate_architecture(self) -> None:
        """Check the number of image slots, as part of the `@strict` validation."""
        if self.num_image_tokens not in self.grids:
            raise ValueError(
                "Expected num_image_tokens, the number of cells that an image is pooled to, from 1 to 9, got "
                f"{self.num_image_tokens}."
            )


__all__ = ["MantisConfig"]
