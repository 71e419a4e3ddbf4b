"""CoOp model configuration."""

from typing import ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from hf_prompt_models.configuration_utils import ClassifierConfig


@strict
class CoOpConfig(ClassifierConfig):
    r"""Configuration of [`CoOpForImageClassification`] (Context Optimization, arXiv 2109.01134).

    Attributes:
        clip_config (`PreTrainedConfig` or `dict`, *optional*):
            Configuration of the backbone: a `CLIPConfig`, or that of another model in `hf_prompt_models.backbones`,
            identified by its `model_type`.
        n_ctx (`int`, *optional*, defaults to 16):
            Number of context vectors M in a prompt.
        class_token_position (`"end"`, `"middle"` or `"front"`, *optional*, defaults to `"end"`):
            Position of the class name: after the context, between its halves, or before it.
        class_specific_context (`bool`, *optional*, defaults to `False`):
            Whether each class has its own context (CSC) instead of sharing one.
        context_init (`str`, *optional*):
            Words whose token embeddings initialised the context; `None` for random vectors with standard deviation
            0.02.
        text_chunk_size (`int`, *optional*):
            Number of classes whose prompts are encoded at a time in training. The activations of each chunk are
            recomputed in the backward pass, so that thousands of classes fit into memory; gradients do not change.
            `None` encodes all classes at once, or 64 at a time with gradient checkpointing.
        class_token_ids (`list[str]`, *optional*):
            Token ids of each class, one string per class: `start name . end`, or the part of it that the tokenizer
            produces.
        class_name_lengths (`list[int]`, *optional*):
            Number of those tokens that belong to the name, for each class.

    Example:
        ```python
        >>> from hf_prompt_models import CoOpConfig
        >>> config = CoOpConfig(n_ctx=4, class_token_position="middle")
        >>> config.class_token_position, config.class_specific_context
        ('middle', False)

        ```
    """

    task = "image-classification"
    model_type = "coop"
    sub_configs_defaults: ClassVar[dict] = {"clip_config": SubConfigSpec(AutoConfig, model_type="clip")}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["image_embeds"]

    clip_config: PreTrainedConfig | dict | None = None
    n_ctx: int = 16
    class_token_position: Literal["end", "middle", "front"] = "end"
    class_specific_context: bool = False
    context_init: str | None = None
    text_chunk_size: int | None = None
    class_token_ids: list[str] | None = None
    class_name_lengths: list[int] | None = None

    def validate_architecture(self) -> None:
        """Check the fields; `@strict` calls this method."""
        if self.n_ctx < 1:
            raise ValueError(f"Expected n_ctx, the number of context vectors, to be at least 1, got {self.n_ctx}.")
        if self.text_chunk_size is not None and self.text_chunk_size < 1:
            raise ValueError(
                f"Expected text_chunk_size, a number of classes, to be at least 1, got {self.text_chunk_size}."
            )


__all__ = ["CoOpConfig"]
