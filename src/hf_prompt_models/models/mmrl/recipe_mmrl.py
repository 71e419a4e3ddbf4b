"""Recipe of MMRL: its arguments and the released settings (yunncheng/MMRL; arXiv 2503.08497)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hf_prompt_models.models.mmrl.modeling_mmrl import MMRLForImageClassification
from hf_prompt_models.recipe_clip_utils import (
    ClipPromptArguments,
    ClipPromptRecipe,
    dassl_defaults,
    teacher_templates,
)
from hf_prompt_models.recipe_utils import Protocol


REG_WEIGHTS = {
    "stanford_cars": 7.0,
    "fgvc_aircraft": 6.0,
    "sun397": 6.0,
    "dtd": 6.0,
    "food101": 5.0,
    "oxford_flowers": 4.0,
    "ucf101": 3.0,
    "imagenet": 0.5,
    "caltech101": 0.5,
    "oxford_pets": 0.2,
    "eurosat": 0.01,
}
"""Released weights of the distances, by dataset. The paper does not report how they were chosen."""


@dataclass
class Arguments(ClipPromptArguments):
    """Arguments of MMRL: the representation tokens."""

    _argument_group_name = "MMRL: the representation tokens"

    n_rep: int = field(default=5, metadata={"help": "Number of representation tokens."})
    first_layer: int = field(
        default=5,
        metadata={"help": "First layer of both encoders, counted from 0, whose input contains the tokens."},
    )
    rep_dim: int = field(default=512, metadata={"help": "Dimension of the representation space (EuroSAT: 2048)."})
    alpha: float = field(default=0.7, metadata={"help": "Weight of the class token's logits."})
    reg_weight: float = field(
        default=0.5, metadata={"help": "Weight of the distances from the features without the tokens."}
    )
    teacher_templates: list[str] | None = field(
        default=None,
        metadata={
            "help": (
                "Hand-written prompts. The first is the input of the text encoder; the teacher uses the mean of "
                'all. Default: the prompt of the published dataset, else "a photo of a {}.".'
            )
        },
    )
    min_crop_area: float = field(
        default=0.5, metadata={"help": "Smallest share of the image area that a random crop keeps in training."}
    )


class MMRLRecipe(ClipPromptRecipe[Arguments]):
    """Train MMRL: representation tokens that both towers share in their later layers."""

    title = "MMRL"
    arguments_class = Arguments
    model_class = MMRLForImageClassification
    use_case = "classifies images with tokens that both encoders share; the largest checkpoint of these methods"
    source = "MMRL recipe"
    sources = dict.fromkeys(
        ("n_rep", "first_layer", "rep_dim", "alpha", "reg_weight", "min_crop_area"), "the configs of MMRL"
    )
    examples = (
        "--backbone openai/clip-vit-base-patch16 --train_dir train --test_dir test --output_dir mine",
        "--backbone playground --train_dir train --test_dir test --protocol base-to-new --output_dir mine",
    )

    def argument_defaults(self, protocol: Protocol, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the prompts and settings that depend on the dataset."""
        dataset = protocol.dataset or ""
        defaults: dict[str, Any] = {"teacher_templates": teacher_templates(dataset)}
        defaults["reg_weight"] = REG_WEIGHTS.get(dataset, 0.5)
        return defaults | ({"rep_dim": 2048} if dataset == "eurosat" else {})

    def training_defaults(self, protocol: Protocol) -> dict[str, Any]:
        """Return the released settings: AdamW at 1e-3, 10 epochs with batches of 4 (few-shot: 50 with 32)."""
        if protocol.name == "few-shot":
            epochs, batch_size = 50, 32
        else:
            epochs, batch_size = (5, 32) if protocol.dataset == "imagenet" else (10, 4)
        defaults = dassl_defaults(1e-3, epochs, batch_size, optim="adamw_torch")
        del defaults["optim_args"]
        return defaults


RECIPE = MMRLRecipe()
