"""CoOp model configuration."""

from typing import ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from hf_prompt_models.configuration_utils import PromptConfig


@strict
class CoOpConfig(PromptConfig):
    r"""
    Configuration of [`CoOpForImageClassification`] (Context Optimization, arXiv 2109.01134).

    clip_config (`PreTrainedConfig` or `dict`, *optional*):
        The backbone's configuration: a `CLIPConfig`, or that of another model of `hf_prompt_models.backbones`, told by
        its `model_type`.
    n_ctx (`int`, *optional*, defaults to 16):
        Number of context vectors M in a prompt.
    class_token_position (`"end"`, `"middle"` or `"front"`, *optional*, defaults to `"end"`):
        Where the class name stands: after the context, between its halves, or before it.
    class_specific_context (`bool`, *optional*, defaults to `False`):
        Whether each class learns a context of its own (CSC) instead of sharing one.
    context_init (`str`, *optional*):
        Words whose token embeddings the context started from; `None` for random vectors of deviation 0.02.
    text_chunk_size (`int`, *optional*):
        How many classes' prompts to encode at a time in training. Each chunk's activations are computed again in the
        backward pass, so that thousands of classes fit into memory; gradients do not change. `None`: all at once.
    class_token_ids (`list[str]`, *optional*):
        A string of token ids for each class: `start name . end`, or what of it the tokenizer
        writes.
    class_name_lengths (`list[int]`, *optional*):
        How many of those are the name's own.
    """

    task = "image-classification"
    model_type = "coop"
    sub_configs_defaults: ClassVar[dict] = {"clip_config": SubConfigSpec(AutoConfig, model_type="clip")}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["image_embeds"]

    clip_config: dict | PreTrainedConfig | None = None
    n_ctx: int = 16
    class_token_position: Literal["end", "middle", "front"] = "end"
    class_specific_context: bool = False
    context_init: str | None = None
    text_chunk_size: int | None = None
    class_token_ids: list[str] | None = None
    class_name_lengths: list[int] | None = None

    def validate_architecture(self) -> None:
        """Part of `@strict` validation."""
        if self.n_ctx < 1:
            raise ValueError(f"n_ctx is the number of context vectors, at least 1; got {self.n_ctx}.")
        if self.text_chunk_size is not None and self.text_chunk_size < 1:
            raise ValueError(f"text_chunk_size is a number of classes, at least 1; got {self.text_chunk_size}.")


__all__ = ["CoOpConfig"]
