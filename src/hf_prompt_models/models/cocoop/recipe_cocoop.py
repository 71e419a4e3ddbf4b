"""Recipe of CoCoOp: its arguments and the released settings (KaiyangZhou/CoOp; arXiv 2203.05557)."""

from dataclasses import dataclass, field
from typing import Any

from hf_prompt_models.models.cocoop.modeling_cocoop import CoCoOpForImageClassification
from hf_prompt_models.recipe_clip_utils import ClipPromptRecipe, FixedImageArguments, dassl_defaults
from hf_prompt_models.recipe_utils import Protocol


@dataclass
class Arguments(FixedImageArguments):
    """Arguments of CoCoOp: the learned prompt."""

    _argument_group_name = "CoCoOp: the learned prompt"

    n_ctx: int = field(default=4, metadata={"help": "Number of context vectors if they are initialised randomly."})
    context_init: str | None = field(
        default="a photo of a",
        metadata={
            "help": "Words that initialise the context; they replace --n_ctx. none: initialise the context randomly."
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.context_init == "none":
            self.context_init = None


class CoCoOpRecipe(ClipPromptRecipe[Arguments]):
    """Train CoCoOp: a learned context that a small network shifts for each image."""

    title = "CoCoOp"
    arguments_class = Arguments
    model_class = CoCoOpForImageClassification
    use_case = "classifies images with a context that depends on the image"
    source = "CoCoOp recipe"
    sources = dict.fromkeys(("n_ctx", "context_init"), "the CoCoOp paper, section 4")
    examples = (
        "--backbone openai/clip-vit-base-patch16 --train_dir train --test_dir test --output_dir mine",
        "--backbone playground --train_dir train --test_dir test --protocol base-to-new --output_dir mine",
    )

    def training_defaults(self, protocol: Protocol) -> dict[str, Any]:
        """Return the released settings: batches of one image, 10 epochs."""
        return dassl_defaults(2e-3, 10, 1)


RECIPE = CoCoOpRecipe()
