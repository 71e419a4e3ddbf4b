"""Recipe of KgCoOp: its arguments and the released settings (htyao89/KgCoOp; arXiv 2303.13283)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hf_prompt_models.models.kgcoop.modeling_kgcoop import KgCoOpForImageClassification
from hf_prompt_models.recipe_clip_utils import ClipPromptRecipe, FixedImageArguments, dassl_defaults, teacher_templates
from hf_prompt_models.recipe_utils import Protocol


@dataclass
class Arguments(FixedImageArguments):
    """Arguments of KgCoOp: the learned prompt and its teacher."""

    _argument_group_name = "KgCoOp: the learned prompt and its teacher"

    n_ctx: int = field(default=4, metadata={"help": "Number of context vectors if they are initialised randomly."})
    context_init: str | None = field(
        default="a photo of a",
        metadata={
            "help": "Words that initialise the context; they replace --n_ctx. none: initialise the context randomly."
        },
    )
    knowledge_weight: float = field(
        default=8.0,
        metadata={"help": "Weight of the distance between the class features and the teacher's class features."},
    )
    teacher_templates: list[str] | None = field(
        default=None,
        metadata={
            "help": "Hand-written prompts of the frozen teacher; with several, their mean is used. Default: the "
            'prompt of the published dataset, else "a photo of a {}.".'
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.context_init == "none":
            self.context_init = None


class KgCoOpRecipe(ClipPromptRecipe[Arguments]):
    """Train KgCoOp: a learned context whose class features stay close to those of a hand-written prompt."""

    title = "KgCoOp"
    arguments_class = Arguments
    model_class = KgCoOpForImageClassification
    use_case = "like coop, for prompts that transfer to other classes (docs/prompt_methods.md compares these methods)"
    source = "KgCoOp recipe"
    sources = dict.fromkeys(("n_ctx", "context_init", "knowledge_weight"), "the scripts of KgCoOp")
    examples = (
        "--backbone openai/clip-vit-base-patch16 --train_dir train --test_dir test --output_dir mine",
        "--backbone playground --train_dir train --test_dir test --protocol base-to-new --output_dir mine",
    )

    def argument_defaults(self, protocol: Protocol, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the teacher's prompt, which depends on the dataset."""
        return {"teacher_templates": teacher_templates(protocol.dataset)}

    def training_defaults(self, protocol: Protocol) -> dict[str, Any]:
        """Return the settings of the released scripts: 100 epochs, batches of 128, or of 32 with up to 4 shots."""
        return dassl_defaults(2e-3, 100, 32 if 0 < protocol.shots <= 4 else 128)


RECIPE = KgCoOpRecipe()
