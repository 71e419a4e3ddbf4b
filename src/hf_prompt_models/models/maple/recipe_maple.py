"""Recipe of MaPLe: its arguments and the released settings (multimodal-prompt-learning; arXiv 2210.03117)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hf_prompt_models.models.maple.modeling_maple import MaPLeForImageClassification
from hf_prompt_models.recipe_clip_utils import ClipPromptArguments, ClipPromptRecipe, dassl_defaults
from hf_prompt_models.recipe_utils import Protocol


@dataclass
class Arguments(ClipPromptArguments):
    """Arguments of MaPLe: the prompts of both towers."""

    _argument_group_name = "MaPLe: the prompts of both encoders"

    n_ctx: int = field(default=2, metadata={"help": "Number of prompt vectors in each encoder."})
    prompt_depth: int = field(
        default=9, metadata={"help": "Number of layers with prompts in both encoders (cross-dataset: 3)."}
    )


class MaPLeRecipe(ClipPromptRecipe[Arguments]):
    """Train MaPLe: deep prompts in both towers, where the image prompts are projected from the text prompts."""

    title = "MaPLe"
    arguments_class = Arguments
    model_class = MaPLeForImageClassification
    use_case = (
        "classifies images with deep prompts in both encoders; the image prompts are computed from the text prompts"
    )
    source = "MaPLe recipe"
    sources = dict.fromkeys(("n_ctx", "prompt_depth"), "the configs of MaPLe")
    examples = (
        "--backbone openai/clip-vit-base-patch16 --train_dir train --test_dir test --output_dir mine",
        "--backbone playground --train_dir train --test_dir test --protocol base-to-new --output_dir mine",
    )

    def argument_defaults(self, protocol: Protocol, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the prompt depth, which depends on the protocol."""
        return {"prompt_depth": 3} if protocol.name == "cross-dataset" else {}

    def training_defaults(self, protocol: Protocol) -> dict[str, Any]:
        """Return the released settings: batches of 4 for 5 epochs; cross-dataset, 2 epochs at a lower learning rate.

        No script was released for few-shot training on all classes.
        """
        if protocol.name == "cross-dataset":
            return dassl_defaults(2.6e-3, 2, 4)
        return dassl_defaults(3.5e-3, 5, 4)


RECIPE = MaPLeRecipe()
