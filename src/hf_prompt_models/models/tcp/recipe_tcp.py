"""Recipe of TCP: its arguments and the released settings (htyao89's repository; arXiv 2311.18231)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hf_prompt_models.models.tcp.modeling_tcp import TCPForImageClassification
from hf_prompt_models.recipe_clip_utils import ClipPromptRecipe, FixedImageArguments, dassl_defaults, teacher_templates
from hf_prompt_models.recipe_utils import Protocol


PROMPT_TEMPLATES = {
    "oxford_pets": "{}, a type of pet.",
    "oxford_flowers": "{}, a type of flower.",
    "food101": "{}, a type of food.",
    "fgvc_aircraft": "{}, a type of aircraft.",
    "stanford_cars": "{}, a type of car",
    "dtd": "{} texture.",
}
"""Text after the context, by published dataset."""
TEACHER_TEMPLATES = {"fgvc_aircraft": "a photo of an aircraft {}."}
"""Prompts of the teacher that differ from CoOp's prompt for the dataset."""


@dataclass
class Arguments(FixedImageArguments):
    """Arguments of TCP: the learned prompt and its teacher."""

    _argument_group_name = "TCP: the learned prompt and its teacher"

    n_ctx: int = field(default=4, metadata={"help": "Number of context vectors, and of tokens per class."})
    class_token_layer: int = field(
        default=8,
        metadata={"help": "Layer of the text encoder, counted from 0, at whose input the class tokens are inserted."},
    )
    knowledge_weight: float = field(
        default=8.0,
        metadata={"help": "Weight of the distance between the class features and the teacher's class features."},
    )
    prompt_template: str = field(
        default="{}.", metadata={"help": "Text after the context, with {} for the class name."}
    )
    teacher_templates: list[str] | None = field(
        default=None,
        metadata={
            "help": "Hand-written prompts of the frozen teacher; with several, their mean is used. Default: the "
            'prompt of the published dataset, else "a photo of a {}.".'
        },
    )


class TCPRecipe(ClipPromptRecipe[Arguments]):
    """Train TCP: a learned context that is replaced in later layers by tokens made from each class name."""

    title = "TCP"
    arguments_class = Arguments
    model_class = TCPForImageClassification
    use_case = "classifies images with a context that contains tokens computed from each class name"
    source = "TCP recipe"
    sources = dict.fromkeys(("n_ctx", "class_token_layer", "knowledge_weight", "prompt_template"), "the code of TCP")
    examples = (
        "--backbone openai/clip-vit-base-patch16 --train_dir train --test_dir test --output_dir mine",
        "--backbone playground --train_dir train --test_dir test --protocol base-to-new --output_dir mine",
    )

    def argument_defaults(self, protocol: Protocol, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the teacher's prompt and the prompt template, which depend on the dataset."""
        dataset = protocol.dataset or ""
        teacher = [TEACHER_TEMPLATES[dataset]] if dataset in TEACHER_TEMPLATES else teacher_templates(dataset)
        return {"teacher_templates": teacher, "prompt_template": PROMPT_TEMPLATES.get(dataset, "{}.")}

    def training_defaults(self, protocol: Protocol) -> dict[str, Any]:
        """Return the released settings: Adam, batches of 32, and 50 epochs, or 25 on ImageNet and SUN397.

        Weight decay is an L2 penalty. The released eps=1e-3 prevents NaN in fp16. Prompts are trained in full
        precision here, where eps still determines the steps.
        """
        epochs = 25 if protocol.dataset in ("imagenet", "sun397") else 50
        adam = {"optim": "adamw_torch", "optim_args": "decoupled_weight_decay=false", "adam_epsilon": 1e-3}
        return dassl_defaults(2e-3, epochs, 32, **adam)


RECIPE = TCPRecipe()
