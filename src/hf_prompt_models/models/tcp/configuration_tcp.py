"""TCP model configuration."""

from huggingface_hub.dataclasses import strict

from hf_prompt_models.modeling_context_utils import ContextPromptConfig


@strict
class TCPConfig(ContextPromptConfig):
    r"""Configuration of [`TCPForImageClassification`] (Textual-based Class-aware Prompt tuning, arXiv 2311.18231).

    Attributes:
        class_token_layer (`int`, *optional*, defaults to 8):
            Layer of the text tower, counted from 0, at whose input the class tokens replace the context.
        knowledge_weight (`float`, *optional*, defaults to 8.0):
            Weight in the loss of the distance between the class features and the teacher's.
        prompt_template (`str`, *optional*, defaults to `"{}."`):
            Template of the text after the context, with `{}` for the class name.

    Example:
        ```python
        >>> from hf_prompt_models import TCPConfig
        >>> config = TCPConfig(prompt_template="{}, a type of pet.")
        >>> config.class_token_layer, config.prompt_template
        (8, '{}, a type of pet.')

        ```
    """

    model_type = "tcp"

    class_token_layer: int = 8
    knowledge_weight: float = 8.0
    prompt_template: str = "{}."


__all__ = ["TCPConfig"]
