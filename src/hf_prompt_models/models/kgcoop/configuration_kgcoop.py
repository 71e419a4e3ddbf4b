"""KgCoOp model configuration."""

from huggingface_hub.dataclasses import strict

from hf_prompt_models.modeling_context_utils import ContextPromptConfig


@strict
class KgCoOpConfig(ContextPromptConfig):
    r"""Configuration of [`KgCoOpForImageClassification`] (Knowledge-guided Context Optimization, arXiv 2303.13283).

    Attributes:
        knowledge_weight (`float`, *optional*, defaults to 8.0):
            Weight in the loss of the distance between the class features and the teacher's.

    Example:
        ```python
        >>> from hf_prompt_models import KgCoOpConfig
        >>> KgCoOpConfig(templates=["a photo of a {}."]).knowledge_weight
        8.0

        ```
    """

    model_type = "kgcoop"

    knowledge_weight: float = 8.0


__all__ = ["KgCoOpConfig"]
