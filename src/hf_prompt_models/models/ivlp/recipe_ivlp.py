"""Recipe of IVLP, VPT and deep language prompting (baselines in MaPLe's repository; arXiv 2210.03117)."""

from dataclasses import dataclass, field
from typing import Any

from hf_prompt_models.models.ivlp.modeling_ivlp import IVLPForImageClassification
from hf_prompt_models.recipe_clip_utils import ClipPromptArguments, ClipPromptRecipe, dassl_defaults
from hf_prompt_models.recipe_utils import Protocol


@dataclass
class Arguments(ClipPromptArguments):
    """Arguments of IVLP: the prompts of both towers."""

    _argument_group_name = "IVLP: the prompts of both encoders"

    n_ctx: int = field(default=2, metadata={"help": "Number of context vectors in the text encoder."})
    text_depth: int = field(
        default=12,
        metadata={
            "help": (
                'Number of text encoder layers with prompts. 0: use "a photo of a {}." without trained prompts (VPT).'
            )
        },
    )
    n_vision_ctx: int = field(default=2, metadata={"help": "Number of prompt vectors in the image encoder (VPT: 8)."})
    vision_depth: int = field(
        default=12,
        metadata={"help": "Number of image encoder layers with prompts. 0: none (deep language prompting)."},
    )


class IVLPRecipe(ClipPromptRecipe[Arguments]):
    """Train IVLP: deep prompts in the text tower, the image tower, or both."""

    title = "IVLP"
    arguments_class = Arguments
    model_class = IVLPForImageClassification
    use_case = "classifies images with deep prompts in the text encoder, the image encoder, or both"
    source = "IVLP recipe"
    sources = dict.fromkeys(("n_ctx", "text_depth", "n_vision_ctx", "vision_depth"), "the repository of MaPLe")
    examples = (
        "--backbone openai/clip-vit-base-patch16 --train_dir train --test_dir test --output_dir mine",
        "--backbone playground --train_dir train --test_dir test --protocol base-to-new --output_dir mine",
    )

    def training_defaults(self, protocol: Protocol) -> dict[str, Any]:
        """Return the settings of MaPLe's repository: batches of 4, 5 epochs."""
        return dassl_defaults(3.5e-3, 5, 4)


RECIPE = IVLPRecipe()
