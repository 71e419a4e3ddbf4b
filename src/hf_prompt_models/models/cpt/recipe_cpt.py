"""Recipe of Cpt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from torch.utils.data import Dataset

from hf_prompt_models.data.grounding.dataset import GroundingDataset
from hf_prompt_models.data.grounding.referring_expressions import DEFAULT_SEEDS, ReferringExpressions
from hf_prompt_models.models.cpt.modeling_cpt import CptForVisualGrounding
from hf_prompt_models.models.cpt.processing_cpt import CptProcessor
from hf_prompt_models.prompts.colors import FREQUENCY_COLORS, SEARCHED_COLORS
from hf_prompt_models.recipe_utils import VisualGroundingRecipe


PALETTES = {"searched": SEARCHED_COLORS, "frequency": FREQUENCY_COLORS}


@dataclass
class Arguments:
    """The prompt, how regions are scored, and what is learned from."""

    _argument_group_name = "CPT: colours, sentence, score and loss"

    mode: str = field(
        default="single_color",
        metadata={
            "help": "single_color: each region is painted red in a copy of the picture of its own (released code). "
            "multi_color: as many regions in a copy as there are colours (the paper).",
            "choices": ["single_color", "multi_color"],
        },
    )
    palette: str = field(
        default="searched",
        metadata={"help": "The paper's searched colours, or the most frequent ones.", "choices": list(PALETTES)},
    )
    template: str | None = field(
        default=None,
        metadata={"help": 'Sentence with {} for the phrase and one [MASK]. Default: "{} is in [MASK] color."'},
    )
    calibration: str = field(
        default="none",
        metadata={
            "help": "What makes the copies of multi_color comparable: the word none, or a region in each of them.",
            "choices": ["none", "anchor"],
        },
    )
    score: str = field(
        default="log_odds",
        metadata={
            "help": "Of logits z at the blank: z[colour] - z[none]; z[colour] (released, zero-shot); z[colour] / "
            "z[none] (released, few-shot); softmax over the copy's colours and none.",
            "choices": ["log_odds", "logit", "logit_ratio", "prob"],
        },
    )
    loss: str = field(
        default="vocab_ce",
        metadata={
            "help": "Cross-entropy over the whole vocabulary (released), over the copy's colours and none, or over "
            "the regions of the picture. A CLIP takes listwise.",
            "choices": ["vocab_ce", "palette_ce", "listwise"],
        },
    )
    sample_regions: bool = field(
        default=True,
        metadata={
            "help": "Learn from the right regions and as many others, drawn anew each epoch, instead of all. Default: "
            "with single_color, as in the released code."
        },
    )
    max_copies_per_forward: int | None = field(
        default=None, metadata={"help": "Copies at a time through the backbone, to bound memory. Default: a batch's."}
    )


class CptRecipe(VisualGroundingRecipe[Arguments]):
    """How CPT is tuned: its arguments, the released code's settings, its data (thunlp/CPT, Oscar/oscar/fewshot)."""

    arguments_class = Arguments
    title = "CPT"
    default_shots = 16
    use_case = "which region of an image a phrase means, from 4 or more phrases"
    source = "CPT recipe"
    sources = dict.fromkeys(("mode", "loss", "sample_regions"), "CPT's released code") | {"palette": "CPT's paper"}
    examples = (
        "--backbone dandelin/vilt-b32-mlm --train_dir train --test_dir test --shots 16 --output_dir mine",
        "--backbone playground --train_dir scenes/train --test_dir scenes/test --shots 4 --seeds 0 --output_dir mine",
        "--backbone dandelin/vilt-b32-mlm --train_dir train.json --train_images pictures --train_proposals boxes.json "
        "--test_dir test.json --output_dir mine",
    )

    def argument_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Several colours in a copy compare regions with each other, so there all are kept."""
        return {"sample_regions": given.get("mode", "single_color") == "single_color"}

    def training_defaults(self, shots: int) -> dict[str, Any]:
        """`TrainingArguments` of the released few-shot code: 500 steps over all expressions at once, AdamW.

        Full tuning, for which no script was released, has 5 epochs.
        """
        return {
            "optim": "adamw_torch",
            "learning_rate": 3e-5,
            "adam_beta1": 0.9,
            "adam_beta2": 0.98,
            "weight_decay": 0.01,
            "max_grad_norm": 0.0,
            "num_train_epochs": 500 if shots else 5,
            "warmup_steps": 0.1,
            "lr_scheduler_type": "linear",
            "per_device_train_batch_size": min(shots, 16) if shots else 16,
            "per_device_eval_batch_size": 8,
        }

    def laptop_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """One seed, and in few-shot tuning larger steps, so that 60 epochs do what 500 small ones do."""
        few_shot = {"num_train_epochs": 60, "learning_rate": 1e-4} if given.get("shots", self.default_shots) else {}
        return {"seeds": [DEFAULT_SEEDS[0]], **few_shot}

    def build_processor(self, arguments: Arguments, backbone: str) -> CptProcessor:
        return CptProcessor.from_backbone(
            backbone,
            mode=arguments.mode,
            colors=PALETTES[arguments.palette],
            template=arguments.template,
            calibration=cast(Literal["none", "anchor"], arguments.calibration),
        )

    def build_model(self, arguments: Arguments, backbone: str, processor: CptProcessor) -> CptForVisualGrounding:
        """A new model, all of whose backbone is trained."""
        model = CptForVisualGrounding.from_backbone(
            backbone,
            score=arguments.score,
            loss=arguments.loss,
            trainable="all",
            max_copies_per_forward=arguments.max_copies_per_forward,
        )
        model.processor = processor
        return model

    def build_train_dataset(self, arguments: Arguments, expressions: ReferringExpressions, seed: int) -> Dataset:
        return GroundingDataset(expressions, arguments.sample_regions, seed)


RECIPE = CptRecipe()
training_defaults = RECIPE.training_defaults
"""The name that 0.1's documentation has."""
