"""Recipe of PromptSRC: its arguments and the released settings (muzairkhattak/PromptSRC; arXiv 2307.06948)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainerCallback

from hf_prompt_models.models.promptsrc.modeling_promptsrc import PromptSRCForImageClassification
from hf_prompt_models.prompts.averaging import PromptAveragingCallback
from hf_prompt_models.recipe_clip_utils import ClipPromptArguments, ClipPromptRecipe, dassl_defaults
from hf_prompt_models.recipe_utils import Protocol


LATE_AND_WIDE = frozenset({"stanford_cars", "oxford_flowers", "fgvc_aircraft", "dtd", "eurosat"})
"""Datasets whose few-shot average has a mean of 45 and a deviation of 5 epochs; for others, both are 30."""


@dataclass
class Arguments(ClipPromptArguments):
    """Arguments of PromptSRC: the prompts of both towers and their regularization."""

    _argument_group_name = "PromptSRC: the prompts of both encoders and their regularization"

    n_ctx: int = field(default=4, metadata={"help": "Number of prompt vectors in each encoder."})
    prompt_depth: int = field(
        default=9, metadata={"help": "Number of layers with prompts in both encoders (cross-dataset: 3)."}
    )
    text_weight: float = field(
        default=25.0,
        metadata={
            "help": "Weight of the difference between the class features and the frozen model's class features."
        },
    )
    image_weight: float = field(
        default=10.0,
        metadata={
            "help": "Weight of the difference between the image features and the frozen model's image features."
        },
    )
    logits_weight: float = field(
        default=1.0,
        metadata={"help": "Weight of the divergence between the class probabilities and the frozen model's."},
    )
    teacher_templates: list[str] | None = field(
        default=None,
        metadata={"help": "Hand-written prompts of the frozen teacher. Default: the 60 prompts of the released code."},
    )
    averaging_mean: float = field(
        default=30.0, metadata={"help": "Epoch with the largest weight in the average of the prompts over the epochs."}
    )
    averaging_std: float = field(
        default=30.0, metadata={"help": "Standard deviation of the average's weights, in epochs. 0: no average."}
    )


class PromptSRCRecipe(ClipPromptRecipe[Arguments]):
    """Train PromptSRC: deep prompts that stay close to the backbone, averaged over the epochs."""

    title = "PromptSRC"
    arguments_class = Arguments
    model_class = PromptSRCForImageClassification
    use_case = (
        "classifies images with deep prompts that are regularized by the features and logits of the frozen backbone"
    )
    source = "PromptSRC recipe"
    sources = dict.fromkeys(
        ("n_ctx", "prompt_depth", "text_weight", "image_weight", "logits_weight", "averaging_mean", "averaging_std"),
        "the configs of PromptSRC",
    )
    not_of_the_model = ClipPromptRecipe.not_of_the_model | {"averaging_mean", "averaging_std"}
    examples = (
        "--backbone openai/clip-vit-base-patch16 --train_dir train --test_dir test --output_dir mine",
        "--backbone playground --train_dir train --test_dir test --protocol base-to-new --output_dir mine",
    )

    def argument_defaults(self, protocol: Protocol, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the prompt depth and the averaging weights, which depend on the protocol and dataset."""
        if protocol.name == "base-to-new":
            return {"averaging_mean": 15.0, "averaging_std": 1.0}
        if protocol.name == "cross-dataset":
            return {"prompt_depth": 3, "averaging_mean": 6.0, "averaging_std": 10.0}
        late = protocol.dataset in LATE_AND_WIDE
        return {"averaging_mean": 45.0 if late else 30.0, "averaging_std": 5.0 if late else 30.0}

    def training_defaults(self, protocol: Protocol) -> dict[str, Any]:
        """Return the released settings: batches of 4 for 20 epochs, or 50 in few-shot training."""
        return dassl_defaults(2.5e-3, 50 if protocol.name == "few-shot" else 20, 4)

    def callbacks(self, arguments: Arguments) -> list[TrainerCallback]:
        """Return the callback that averages the prompts over the epochs, unless `averaging_std` is 0."""
        if not arguments.averaging_std:
            return []
        return [PromptAveragingCallback(arguments.averaging_mean, arguments.averaging_std)]


RECIPE = PromptSRCRecipe()
