"""How MaPLe is trained: its arguments and the released settings (multimodal-prompt-learning; arXiv 2210.03117)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hf_prompt_models.models.maple.modeling_maple import MaPLeForImageClassification
from hf_prompt_models.recipe_clip_utils import ClipPromptArguments, ClipPromptRecipe, dassl_defaults
from hf_prompt_models.recipe_utils import Protocol


@dataclass
class Arguments(ClipPromptArguments):
    """Flags of the prompts of both towers."""

    _argument_group_name = "MaPLe: the prompts of both towers"

    n_ctx: int = field(default=2, metadata={"help": "Number of prompts in each tower."})
    prompt_depth: int = field(
        default=9, metadata={"help": "Layers of both towers with prompts (across data sets: 3)."}
    )


class MaPLeRecipe(ClipPromptRecipe[Arguments]):
    """Train MaPLe: deep prompts whose image side is made from the text side."""

    title = "MaPLe"
    arguments_class = Arguments
    model_class = MaPLeForImageClassification
    use_case = "deep prompts whose image side is made from the text side"
    source = "MaPLe recipe"
    sources = dict.fromkeys(("n_ctx", "prompt_depth"), "MaPLe's configs")
    examples = (
        "--backbone openai/clip-vit-base-patch16 --train_dir train --test_dir test --output_dir mine",
        "--backbone playground --train_dir train --test_dir test --protocol base-to-new --output_dir mine",
    )

    def argument_defaults(self, protocol: Protocol, given: Mapping[str, Any]) -> dict[str, Any]:
        return {"prompt_depth": 3} if protocol.name == "cross-dataset" else {}

    def training_defaults(self, protocol: Protocol) -> dict[str, Any]:
        """Return the released settings: batches of 4; 5 epochs, across data sets 2 at a lower rate.

        For few-shot training of all classes no script was released.
        """
        if protocol.name == "cross-dataset":
            return dassl_defaults(2.6e-3, 2, 4)
        return dassl_defaults(3.5e-3, 5, 4)


RECIPE = MaPLeRecipe()
