"""CPT model configuration."""

from typing import ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from hf_prompt_models.configuration_utils import PromptConfig


@strict
class CptConfig(PromptConfig):
    r"""
    Configuration of [`CptForVisualGrounding`], [`CptForRegionClassification`] and [`CptForRelationDetection`]
    (CPT, arXiv 2109.11797).

    tower_config (`PreTrainedConfig` or `dict`, *optional*):
        The backbone's configuration, of one of the types in `models/cpt/adapters_cpt.py`.
    score (`"log_odds"`, `"logit"`, `"logit_ratio"` or `"prob"`, *optional*, defaults to `"log_odds"`):
        How the vocabulary logits z at the blank become a region's score: z[colour] - z[none]; z[colour] (the released
        zero-shot code); z[colour] / z[none] (the released few-shot code; ill-behaved where z[none] is near 0); softmax
        over the colours of the copy and "none".
    loss (`"vocab_ce"`, `"palette_ce"` or `"listwise"`, *optional*, defaults to `"vocab_ce"`):
        Cross-entropy at the blank over the whole vocabulary (the released code) or over the colours of the copy and
        "none", or over the regions of a picture.
    max_copies_per_forward (`int`, *optional*):
        Painted copies that go through the backbone at once. It bounds memory, in training too (where each part is
        computed a second time for its gradients), and changes no result. `None`: all of a batch.
    trainable (`"none"` or `"all"`, *optional*, defaults to `"none"`):
        Zero-shot, where nothing is learned and a checkpoint has no weights; or the whole backbone, which checkpoints
        then hold. The prompt itself has no parameters.
    label_token_ids (`list[str]`, *optional*):
        For each label of region classification, or predicate of relation detection, a string of its token ids.
    negative_token_ids (`list[str]`, *optional*):
        What relation detection learns to say where there is no relation, for each number of blanks.
    """

    task = "visual-grounding"
    model_type = "cpt"
    sub_configs_defaults: ClassVar[dict] = {"tower_config": SubConfigSpec(AutoConfig, model_type="vilt")}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["mask_logits"]

    tower_config: dict | PreTrainedConfig | None = None
    score: Literal["log_odds", "logit", "logit_ratio", "prob"] = "log_odds"
    loss: Literal["vocab_ce", "palette_ce", "listwise"] = "vocab_ce"
    max_copies_per_forward: int | None = None
    trainable: Literal["none", "all"] = "none"
    label_token_ids: list[str] | None = None
    negative_token_ids: list[str] | None = None

    def validate_architecture(self) -> None:
        """Part of `@strict` validation."""
        if self.max_copies_per_forward is not None and self.max_copies_per_forward < 1:
            raise ValueError(f"max_copies_per_forward is at least 1, or None; got {self.max_copies_per_forward}.")


__all__ = ["CptConfig"]
