"""CPT model configuration."""

from typing import ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from hf_prompt_models.configuration_utils import PromptConfig


@strict
class CptConfig(PromptConfig):
    """Configuration of the CPT models (arXiv 2109.11797).

    It is used by [`CptForVisualGrounding`], [`CptForRegionClassification`] and [`CptForRelationDetection`].

    tower_config (`PreTrainedConfig` or `dict`, *optional*):
        Configuration of the backbone, of one of the types in `models/cpt/adapters_cpt.py`.
    score (`"log_odds"`, `"logit"`, `"logit_ratio"` or `"prob"`, *optional*, defaults to `"log_odds"`):
        How a region's score is computed from the vocabulary logits z at the blank. In this order: z[colour] - z[none];
        z[colour] (the released zero-shot code); z[colour] / z[none] (the released few-shot code; ill-behaved if
        z[none] is near 0); the softmax over the colours of the copy and "none".
    loss (`"vocab_ce"`, `"palette_ce"` or `"listwise"`, *optional*, defaults to `"vocab_ce"`):
        Cross-entropy at the blank over the complete vocabulary (the released code), over the colours of the copy and
        "none", or over the regions of an image.
    max_copies_per_forward (`int`, *optional*):
        Number of painted copies that go through the backbone at once. It limits memory and does not change results. In
        training, each part is then computed a second time for its gradients. `None`: all copies of a batch.
    trainable (`"none"` or `"all"`, *optional*, defaults to `"none"`):
        `"none"` is zero-shot: nothing is trained, and checkpoints contain no weights. `"all"` trains the complete
        backbone, and checkpoints contain it. The prompt itself has no parameters.
    label_token_ids (`list[str]`, *optional*):
        For each label of region classification, or predicate of relation detection, a string of its token ids.
    negative_token_ids (`list[str]`, *optional*):
        For each number of blanks, the words that relation detection is trained to predict if there is no relation.

    Example:
        ```python
        >>> from hf_prompt_models import CptConfig
        >>> config = CptConfig(score="prob", trainable="all")
        >>> config.tower_config.model_type, config.loss
        ('vilt', 'vocab_ce')

        ```
    """

    task = "visual-grounding"
    model_type = "cpt"
    sub_configs_defaults: ClassVar[dict] = {"tower_config": SubConfigSpec(AutoConfig, model_type="vilt")}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["mask_logits"]

    tower_config: PreTrainedConfig | dict | None = None
    score: Literal["log_odds", "logit", "logit_ratio", "prob"] = "log_odds"
    loss: Literal["vocab_ce", "palette_ce", "listwise"] = "vocab_ce"
    max_copies_per_forward: int | None = None
    trainable: Literal["none", "all"] = "none"
    label_token_ids: list[str] | None = None
    negative_token_ids: list[str] | None = None

    def validate_architecture(self) -> None:
        """Check `max_copies_per_forward`, as part of the `@strict` validation."""
        if self.max_copies_per_forward is not None and self.max_copies_per_forward < 1:
            raise ValueError(
                f"Expected max_copies_per_forward to be at least 1 or None, got {self.max_copies_per_forward}."
            )


__all__ = ["CptConfig"]
