"""Training settings of anchored prompts."""

from dataclasses import dataclass, field
from typing import Any

from anchored_prompts.anchored.modeling_anchored import AnchoredForImageClassification

from hf_prompt_models.recipe_clip_utils import ClipPromptRecipe, FixedImageArguments, dassl_defaults
from hf_prompt_models.recipe_utils import Protocol


@dataclass
class Arguments(FixedImageArguments):
    """Flags of the context."""

    n_ctx: int = field(default=2, metadata={"help": "Number of context vectors."})
    anchor_weight: float = field(default=1.0, metadata={"help": "Weight of the context's squared length."})


class AnchoredRecipe(ClipPromptRecipe[Arguments]):
    """Train anchored prompts."""

    title = "Anchored"
    arguments_class = Arguments
    model_class = AnchoredForImageClassification
    use_case = "a context that stays small"
    source = "Anchored recipe"

    def training_defaults(self, protocol: Protocol) -> dict[str, Any]:
        return dassl_defaults(2e-3, 2, 8)


RECIPE = AnchoredRecipe()
