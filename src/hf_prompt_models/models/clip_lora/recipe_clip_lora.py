"""Recipe of CLIP-LoRA: its arguments and the paper's settings (arXiv 2405.18541; MaxZanella/CLIP-LoRA)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hf_prompt_models.models.clip_lora.modeling_clip_lora import ClipLoraForImageClassification
from hf_prompt_models.recipe_clip_utils import ClipPromptRecipe, FixedImageArguments
from hf_prompt_models.recipe_utils import Protocol


STEPS_PER_SHOT = 500
LEARNING_RATE = 2e-4
LAPTOP_FACTOR = 10


@dataclass
class Arguments(FixedImageArguments):
    """Arguments of CLIP-LoRA: the low-rank updates."""

    _argument_group_name = "CLIP-LoRA: the low-rank updates"

    encoder: str = field(
        default="both",
        metadata={
            "help": "Encoders to update. text: the image features are those of the backbone, so that "
            "--augmented_views can be used. vision: the class prompts are encoded only once.",
            "choices": ["vision", "text", "both"],
        },
    )
    rank: int = field(default=2, metadata={"help": "Rank of the updates of each q, k and v projection."})
    lora_alpha: float = field(
        default=1.0, metadata={"help": "Scale of the updates, which are multiplied with alpha / sqrt(rank)."}
    )
    lora_dropout: float = field(
        default=0.25, metadata={"help": "Dropout probability of the input of the updates in training."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank < 1:
            raise ValueError(f"--rank must be at least 1, got {self.rank}.")
        if not 0 < self.lora_alpha < math.inf:
            raise ValueError(f"--lora_alpha must be a number above 0, got {self.lora_alpha}.")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"--lora_dropout must be at least 0 and below 1, got {self.lora_dropout}.")
        if self.augmented_views is not None and self.encoder != "text":
            raise ValueError(
                f"--augmented_views trains on stored image features, which --encoder {self.encoder} changes in every "
                "step. Leave --augmented_views out, or pass --encoder text."
            )


class ClipLoraRecipe(ClipPromptRecipe[Arguments]):
    """Train CLIP-LoRA: low-rank updates of the attention layers of both encoders (arXiv 2405.18541)."""

    title = "CLIP-LoRA"
    arguments_class = Arguments
    model_class = ClipLoraForImageClassification
    uses_templates = True
    use_case = "classifies images into the classes of the training data, with updates of both encoders; needs a GPU"
    source = "CLIP-LoRA recipe"
    sources = dict.fromkeys(
        ("encoder", "rank", "lora_alpha", "lora_dropout", "min_crop_area", "shots"), "the released code of CLIP-LoRA"
    )
    examples = (
        "--backbone openai/clip-vit-base-patch16 --train_dir train --test_dir test --bf16 true --output_dir mine",
        "--backbone openai/clip-vit-base-patch16 --train_dir train --test_dir test --encoder text --augmented_views 8 "
        "--output_dir mine",
        "--backbone playground --train_dir train --test_dir test --shots 4 --output_dir mine",
    )

    def stored_views(self) -> dict[str, Any]:
        """Return no flags, because the image encoder is updated by default."""
        return {}

    def training_defaults(self, protocol: Protocol) -> dict[str, Any]:
        """Return the paper's settings: AdamW, a cosine per step to 1e-6, and 500 steps per shot on any dataset."""
        return {
            "optim": "adamw_torch",
            "learning_rate": LEARNING_RATE,
            "weight_decay": 1e-2,
            "max_grad_norm": 0.0,
            "max_steps": STEPS_PER_SHOT * protocol.shots,
            "lr_scheduler_type": "cosine_with_min_lr",
            "lr_scheduler_kwargs": {"min_lr_rate": 0.005},  # 1e-6 at the paper's learning rate
            "per_device_train_batch_size": 32,
            "per_device_eval_batch_size": 100,
        }

    def laptop_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return a tenth of the steps with ten times the learning rate, unless the length of training is given."""
        if given.keys() & {"num_train_epochs", "max_steps"}:
            return {}
        steps = STEPS_PER_SHOT * given.get("shots", self.default_shots)
        return {"max_steps": steps // LAPTOP_FACTOR, "learning_rate": LEARNING_RATE * LAPTOP_FACTOR}


RECIPE = ClipLoraRecipe()
