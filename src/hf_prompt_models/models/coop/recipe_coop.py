"""Recipe of CoOp: its arguments and the paper's settings (arXiv 2109.01134, section 4.1; released configs)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hf_prompt_models.models.coop.modeling_coop import CoOpForImageClassification
from hf_prompt_models.recipe_clip_utils import ClipPromptRecipe, FixedImageArguments, coop_epochs, dassl_defaults
from hf_prompt_models.recipe_utils import Protocol


@dataclass
class Arguments(FixedImageArguments):
    """Arguments of CoOp: the learned prompt."""

    _argument_group_name = "CoOp: the learned prompt"

    n_ctx: int = field(
        default=16, metadata={"help": "Number of context vectors (paper: 16; 4 transfers better to other datasets)."}
    )
    class_token_position: str = field(
        default="end",
        metadata={"help": "Position of the class name in the prompt.", "choices": ["end", "middle", "front"]},
    )
    class_specific_context: bool = field(
        default=False,
        metadata={"help": "Train a separate context for each class instead of one that all classes share."},
    )
    context_init: str | None = field(
        default=None,
        metadata={"help": 'Words that initialise the context, such as "a photo of a"; they replace --n_ctx.'},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_ctx < 1:
            raise ValueError(f"Expected --n_ctx, the number of context vectors, to be at least 1, got {self.n_ctx}.")


class CoOpRecipe(ClipPromptRecipe[Arguments]):
    """Train CoOp: a learned context in front of the class names (arXiv 2109.01134)."""

    title = "CoOp"
    arguments_class = Arguments
    model_class = CoOpForImageClassification
    use_case = "classifies images, with 8 or more labelled images per class"
    source = "CoOp recipe"
    sources: ClassVar = {
        **dict.fromkeys(("n_ctx", "class_token_position", "class_specific_context"), "the train.py of CoOp"),
        "min_crop_area": "the released configs of CoOp",
        "shots": "the CoOp paper, section 4.1",
    }
    examples = (
        "--backbone openai/clip-vit-base-patch16 --train_dir train --test_dir test --output_dir mine",
        "--backbone playground --train_dir train --test_dir test --shots 4 --seeds 1 2 3 --output_dir mine",
        "--backbone playground --train_dir train --test_dir test --protocol base-to-new --output_dir mine",
    )

    def argument_defaults(self, protocol: Protocol, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return "a photo of a" as the initial context if a prompt is transferred to other classes.

        CoCoOp's paper initialises CoOp this way (arXiv 2203.05557, section 4).
        """
        if protocol.name == "few-shot" or {"n_ctx", "context_init"} & set(given):
            return {}
        return {"context_init": "a photo of a"}

    def training_defaults(self, protocol: Protocol) -> dict[str, Any]:
        """Return the paper's settings: SGD, batches of 32, 50 to 200 epochs depending on the shots, 50 on ImageNet."""
        return dassl_defaults(2e-3, coop_epochs(protocol.shots, protocol.dataset), 32)


RECIPE = CoOpRecipe()


def training_defaults(shots: int, dataset: str | None = None) -> dict[str, Any]:
    """Return the recipe's `TrainingArguments` for few-shot training, under the name documented in version 0.1."""
    return RECIPE.training_defaults(Protocol(shots=shots, dataset=dataset))
