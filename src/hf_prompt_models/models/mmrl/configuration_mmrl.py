"""MMRL model configuration."""

from typing import Literal

from huggingface_hub.dataclasses import strict

from hf_prompt_models.modeling_context_utils import ContextPromptConfig


@strict
class MMRLConfig(ContextPromptConfig):
    r"""Configuration of [`MMRLForImageClassification`] (Multi-Modal Representation Learning, arXiv 2503.08497).

    Attributes:
        n_rep (`int`, *optional*, defaults to 5):
            Number of representation tokens.
        first_layer (`int`, *optional*, defaults to 5):
            Layer of both towers, counted from 0, at whose input the tokens are inserted.
        rep_dim (`int`, *optional*, defaults to 512):
            Size of the representation space.
        alpha (`float`, *optional*, defaults to 0.7):
            Weight of the logits of the class token, from 0 to 1. Those of the representation tokens have weight
            1 - `alpha`.
        reg_weight (`float`, *optional*, defaults to 0.5):
            Weight in the loss of the distances from the features without the tokens.
        role (`"base"` or `"new"`, *optional*, defaults to `"base"`):
            Whether the model was trained on these classes ("base") or not ("new"). For new classes only the class
            token is used.

    Example:
        ```python
        >>> from hf_prompt_models import MMRLConfig
        >>> config = MMRLConfig(first_layer=6)
        >>> config.n_rep, config.first_layer, config.alpha
        (5, 6, 0.7)

        ```
    """

    model_type = "mmrl"

    n_rep: int = 5
    first_layer: int = 5
    rep_dim: int = 512
    alpha: float = 0.7
    reg_weight: float = 0.5
    role: Literal["base", "new"] = "base"

    def validate_architecture(self) -> None:
        """Check the fields; `@strict` calls this method."""
        super().validate_architecture()
        for name in ("n_rep", "rep_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"Expected {name} to be at least 1, got {getattr(self, name)}.")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"Expected alpha to be between 0 and 1, got {self.alpha}.")


__all__ = ["MMRLConfig"]
