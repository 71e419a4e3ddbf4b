"""ProGrad model configuration."""

from huggingface_hub.dataclasses import strict

from hf_prompt_models.modeling_context_utils import ContextPromptConfig


@strict
class ProGradConfig(ContextPromptConfig):
    r"""Configuration of [`ProGradForImageClassification`] (Prompt-aligned Gradient, arXiv 2205.14865).

    Attributes:
        n_ctx (`int`, *optional*, defaults to 16):
            Number of context vectors in a prompt.
        gradient_weight (`float`, *optional*, defaults to 1.0):
            Fraction that is removed of the gradient component that conflicts with the teacher.
        temperature (`float`, *optional*, defaults to 1.0):
            Temperature of the divergence from the teacher's probabilities, above 0.

    Example:
        ```python
        >>> from hf_prompt_models import ProGradConfig
        >>> config = ProGradConfig(gradient_weight=0.8)
        >>> config.gradient_weight, config.temperature
        (0.8, 1.0)

        ```
    """

    model_type = "prograd"

    n_ctx: int = 16
    gradient_weight: float = 1.0
    temperature: float = 1.0

    def validate_architecture(self) -> None:
        """Check the fields; `@strict` calls this method."""
        super().validate_architecture()
        if self.temperature <= 0:
            raise ValueError(f"Expected temperature > 0, got {self.temperature}.")


__all__ = ["ProGradConfig"]
