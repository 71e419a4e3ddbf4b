"""MAnTiS model configuration."""

from typing import ClassVar

from huggingface_hub.dataclasses import strict

from hf_prompt_models.prefix_lm.configuration_prefix_lm import PrefixLMConfig


@strict
class MantisConfig(PrefixLMConfig):
    r"""
    Configuration of [`MantisForConditionalGeneration`] (Multimodal Conditionality for NLG, arXiv 2109.01229).

    Arguments of [`PrefixLMConfig`], and:

    separator_token_id (`int`, *optional*):
        The id of `<sep>`, which stands between the title and the description.
    freeze_text (`bool`, *optional*, defaults to `False`):
        Whether the language model stays as it is. Checkpoints may then leave it out.
    """

    model_type = "mantis_nlg"  # "mantis" alone is another model's name on the Hub
    method = "mantis"
    grids: ClassVar[dict[int, tuple[int, int]]] = {
        **{count: (count, 1) for count in (1, 2, 3, 5, 7)},
        4: (2, 2),
        6: (3, 2),
        8: (4, 2),
        9: (3, 3),
    }
    """Rows and columns of cells that an image's features are pooled to, by `num_image_tokens` (as MMBT does)."""

    separator_token_id: int | None = None
    freeze_text: bool = False

    def validate_architecture(self) -> None:
        """Part of `@strict` validation."""
        if self.num_image_tokens not in self.grids:
            raise ValueError(
                f"num_image_tokens is how many cells an image is pooled to, 1 to 9; got {self.num_image_tokens}."
            )


__all__ = ["MantisConfig"]
