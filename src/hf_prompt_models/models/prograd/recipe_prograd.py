"""Recipe of ProGrad: its arguments and the released settings (BeierZhu/Prompt-align; arXiv 2205.14865)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hf_prompt_models.models.prograd.modeling_prograd import ProGradForImageClassification
from hf_prompt_models.recipe_clip_utils import (
    ClipPromptRecipe,
    FixedImageArguments,
    coop_epochs,
    dassl_defaults,
    teacher_templates,
)
from hf_prompt_models.recipe_utils import Protocol


SMALLER_WEIGHT = frozenset({"oxford_flowers", "dtd", "eurosat"})
"""Datasets on which training with 8 and 16 shots uses a gradient weight of 0.8."""


@dataclass
class Arguments(FixedImageArguments):
    """Arguments of ProGrad: the learned prompt and the gradient rule."""

    _argument_group_name = "ProGrad: the learned prompt and the gradient rule"

    n_ctx: int = field(default=16, metadata={"help": "Number of context vectors."})
    gradient_weight: float = field(
        default=1.0,
        metadata={"help": "Share of the gradient component opposed to the teacher's gradient that is removed."},
    )
    temperature: float = field(
        default=1.0, metadata={"help": "Temperature of the divergence from the teacher's probabilities."}
    )
    teacher_templates: list[str] | None = field(
        default=None,
        metadata={
            "help": "Hand-written prompts of the frozen teacher; with several, their mean is used. Default: the "
            'prompt of the published dataset, else "a photo of a {}.".'
        },
    )


class ProGradRecipe(ClipPromptRecipe[Arguments]):
    """Train ProGrad: a learned context whose gradient does not oppose that of the zero-shot prompt."""

    title = "ProGrad"
    arguments_class = Arguments
    model_class = ProGradForImageClassification
    use_case = "like coop, with one to four images per class"
    source = "ProGrad recipe"
    sources = dict.fromkeys(("n_ctx", "gradient_weight", "temperature"), "the configs of ProGrad")
    examples = (
        "--backbone openai/clip-vit-base-patch16 --train_dir train --test_dir test --output_dir mine",
        "--backbone playground --train_dir train --test_dir test --protocol base-to-new --output_dir mine",
    )

    def argument_defaults(self, protocol: Protocol, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the teacher's prompt and the gradient weight, which depend on the dataset and shots."""
        smaller = protocol.dataset in SMALLER_WEIGHT and protocol.shots in (8, 16)
        weight = {"gradient_weight": 0.8} if smaller else {}
        return {"teacher_templates": teacher_templates(protocol.dataset), **weight}

    def training_defaults(self, protocol: Protocol) -> dict[str, Any]:
        """Return CoOp's settings, with 100 epochs at 2 and 4 shots and for base-to-new."""
        epochs = 100 if protocol.name == "base-to-new" else coop_epochs(protocol.shots, protocol.dataset)
        return dassl_defaults(2e-3, epochs, 32)


RECIPE = ProGradRecipe()
