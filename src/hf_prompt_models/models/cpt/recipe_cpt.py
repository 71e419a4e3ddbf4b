"""Recipe of CPT: its arguments, the settings of the released code, and its data."""

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
    """Arguments of CPT: the prompt, the score of regions, and the loss."""

    _argument_group_name = "CPT: colours, sentence, score and loss"

    mode: str = field(
        default="single_color",
        metadata={
            "help": "How regions are coloured. single_color: each region is painted red in its own copy of the "
            "image (released code). multi_color: each copy shows as many regions as there are colours "
            "(paper).",
            "choices": ["single_color", "multi_color"],
        },
    )
    palette: str = field(
        default="searched",
        metadata={
            "help": "Colours to paint regions with. searched: the result of the paper's colour search; frequency: "
            "the most frequent colour words.",
            "choices": list(PALETTES),
        },
    )
    template: str | None = field(
        default=None,
        metadata={"help": 'Sentence with {} for the phrase and one [MASK]. Default: "{} is in [MASK] color."'},
    )
    calibration: str = field(
        default="none",
        metadata={
            "help": "How the copies of multi_color are made comparable. none: by the score of the word none; "
            "anchor: by a region that is shown in each copy.",
            "choices": ["none", "anchor"],
        },
    )
    score: str = field(
        default="log_odds",
        metadata={
            "help": "How a region is scored from the logits z at the [MASK]. log_odds: z[colour] - z[none]; logit: "
            "z[colour] (released, zero-shot); logit_ratio: z[colour] / z[none] (released, few-shot); prob: "
            "softmax over the copy's colours and none.",
            "choices": ["log_odds", "logit", "logit_ratio", "prob"],
        },
    )
    loss: str = field(
        default="vocab_ce",
        metadata={
            "help": "Cross-entropy to train with. vocab_ce: over the complete vocabulary (released); palette_ce: "
            "over the copy's colours and none; listwise: over the regions of the image. With a CLIP, use "
            "listwise.",
            "choices": ["vocab_ce", "palette_ce", "listwise"],
        },
    )
    sample_regions: bool = field(
        default=True,
        metadata={
            "help": "Train on the correct regions and as many others, sampled again in each epoch, instead of on "
            "all regions. Default: true with single_color, as in the released code."
        },
    )
    max_copies_per_forward: int | None = field(
        default=None,
        metadata={
            "help": "Maximum number of image copies per forward pass of the backbone. Lower values use less memory. "
            "Default: all copies of a batch."
        },
    )


class CptRecipe(VisualGroundingRecipe[Arguments]):
    """Train CPT with the settings of the released code (thunlp/CPT, Oscar/oscar/fewshot)."""

    arguments_class = Arguments
    title = "CPT"
    default_shots = 16
    use_case = "finds the region of an image that a phrase refers to, with 4 or more training phrases"
    source = "CPT recipe"
    sources = dict.fromkeys(("mode", "loss", "sample_regions"), "the released code of CPT") | {
        "palette": "the CPT paper"
    }
    examples = (
        "--backbone dandelin/vilt-b32-mlm --train_dir train --test_dir test --shots 16 --output_dir mine",
        "--backbone playground --train_dir scenes/train --test_dir scenes/test --shots 4 --seeds 0 --output_dir mine",
        "--backbone dandelin/vilt-b32-mlm --train_dir train.json --train_images images --train_proposals boxes.json "
        "--test_dir test.json --output_dir mine",
    )

    def argument_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return whether regions are sampled: with several colours per copy, regions are compared, so all are kept."""
        return {"sample_regions": given.get("mode", "single_color") == "single_color"}

    def training_defaults(self, shots: int) -> dict[str, Any]:
        """Return the `TrainingArguments` of the released few-shot code: 500 steps over all expressions, with AdamW.

        Full tuning, for which no script was released, takes 5 epochs.
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
        """Return one seed and, in few-shot tuning, a higher learning rate with fewer epochs.

        60 epochs with large steps do what 500 epochs with small steps do.
        """
        few_shot = {"num_train_epochs": 60, "learning_rate": 1e-4} if given.get("shots", self.default_shots) else {}
        return {"seeds": [DEFAULT_SEEDS[0]], **few_shot}

    def build_processor(self, arguments: Arguments, backbone: str) -> CptProcessor:
        """Return the method's processor for a backbone."""
        return CptProcessor.from_backbone(
            backbone,
            mode=arguments.mode,
            colors=PALETTES[arguments.palette],
            template=arguments.template,
            calibration=cast(Literal["none", "anchor"], arguments.calibration),
        )

    def build_model(self, arguments: Arguments, backbone: str, processor: CptProcessor) -> CptForVisualGrounding:
        """Return a new model that trains the complete backbone."""
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
        """Return the expressions with their regions, sampled if the arguments request it."""
        return GroundingDataset(expressions, arguments.sample_regions, seed)


RECIPE = CptRecipe()
training_defaults = RECIPE.training_defaults
"""Name documented in version 0.1."""
