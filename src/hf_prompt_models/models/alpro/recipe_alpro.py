"""Recipe of ALPRO: its arguments and the released settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hf_prompt_models.data.text.video_text_dataset import SAMPLING
from hf_prompt_models.models.alpro.image_processing_alpro import ClipAugmentation
from hf_prompt_models.recipe_utils import VideoTextRecipe


PRETRAINING, PROMPTER, RETRIEVAL, QUESTIONS = TASKS = ("pretraining", "prompter", "retrieval", "question-answering")


@dataclass(frozen=True)
class ReleasedSettings:
    """Released settings of a data set.

    Attributes:
        learning_rate, epochs, warmup, clip: warm-up as a share of all steps; the gradients' norm that they are cut to.
        batch, accumulation: of one GPU; there were 16 in pre-training, else 8.
        num_frames, max_text_length: of a video and its text.
    """

    learning_rate: float
    epochs: int
    warmup: float
    clip: float
    batch: int
    accumulation: int
    num_frames: int
    max_text_length: int


RECIPES: Mapping[tuple[str, str], ReleasedSettings] = {
    (PRETRAINING, "webvid"): ReleasedSettings(1e-4, 10, 0.05, 20.0, 16, 1, 4, 30),
    (PROMPTER, "webvid"): ReleasedSettings(1e-4, 10, 0.05, 20.0, 16, 2, 4, 30),
    (RETRIEVAL, "msrvtt"): ReleasedSettings(2.5e-5, 5, 0.1, 5.0, 8, 1, 8, 40),
    (RETRIEVAL, "didemo"): ReleasedSettings(4e-5, 10, 0.1, 20.0, 12, 1, 8, 50),
    (QUESTIONS, "msrvtt"): ReleasedSettings(5e-5, 10, 0.1, 5.0, 12, 2, 16, 40),
    (QUESTIONS, "msvd"): ReleasedSettings(5e-5, 15, 0.1, 20.0, 12, 2, 16, 40),
}


NUM_ANSWERS = {"msrvtt": 1500, "msvd": 2423}


"""Answers that the released models choose from."""


@dataclass
class Arguments:
    """What is learned, and from what it begins."""

    _argument_group_name = "ALPRO: what is learned"

    task: str = field(
        metadata={
            "help": "prompter: contrast alone, for the frozen model that names entities. pretraining: the four losses."
            " retrieval, question-answering: fine-tuning.",
            "choices": list(TASKS),
        }
    )
    dataset: str | None = field(
        default=None,
        metadata={
            "help": "The released settings for this data set are the defaults (salesforce/ALPRO, config_release/): "
            "retrieval msrvtt or didemo; question-answering msrvtt or msvd; pre-training webvid. Default: the first.",
            "choices": ["webvid", "msrvtt", "didemo", "msvd"],
        },
    )
    num_frames: int | None = field(
        default=None,
        metadata={"help": "Frames of a video. Released: 4 in pre-training, 8 in retrieval, 16 in answering."},
    )
    max_text_length: int | None = field(
        default=None, metadata={"help": "Tokens of a text. Released: 30 in pre-training; 40, DiDeMo 50."}
    )
    sampling: str = field(
        default="head_tail",
        metadata={
            "help": "How frames are drawn in training. head_tail: half of them from each half (paper); random: from "
            "the whole video (what the released code fine-tunes with); segments: one of each of equal parts. In "
            "testing: the middles of equal parts.",
            "choices": list(SAMPLING),
        },
    )
    rand_augment: bool | None = field(
        default=None,
        metadata={"help": "Two of ten changes to each video. Default: as released, all but in retrieval."},
    )
    flip: bool = field(
        default=True,
        metadata={"help": "Mirror images are among these changes; not where left and right tell texts apart."},
    )
    crop: bool | None = field(
        default=None, metadata={"help": "A random square of 7/8 of the sides. Default: as released, in pre-training."}
    )
    rerank: int = field(
        default=16,
        metadata={
            "help": "Retrieval: so many of the candidates closest by features are read together with the query; 0: "
            "all, as the released code does."
        },
    )
    mlm_probability: float = field(default=0.15, metadata={"help": "Share of words that are masked in pre-training."})
    pem_threshold: float = field(
        default=0.2, metadata={"help": "Crops of which the prompter is less sure teach nothing (paper, 4.1)."}
    )
    image_size: int = field(default=64, metadata={"help": "A new small model's frames, in pixels."})
    patch_size: int = field(default=16, metadata={"help": "And its patches."})
    hidden_size: int = field(default=128, metadata={"help": "And its width; a head has 32."})
    num_layers: int = field(default=4, metadata={"help": "Layers of its video tower, and of its BERT."})

    def augmentation(self) -> ClipAugmentation | None:
        """What is done to the frames in training."""
        operations = self.task != RETRIEVAL if self.rand_augment is None else self.rand_augment
        crop = self.task in (PRETRAINING, PROMPTER) if self.crop is None else self.crop
        return ClipAugmentation(operations, crop, self.flip) if operations or crop else None


def released(task: str, dataset: str | None) -> ReleasedSettings:
    """The released settings.

    Raises:
        ValueError: if the task was not released for the data set.
    """
    known = [name for of_task, name in RECIPES if of_task == task]
    if dataset is not None and dataset not in known:
        raise ValueError(f"There are released settings of {task} for {' and '.join(known)}, none for {dataset}.")
    return RECIPES[task, dataset or known[0]]


class AlproRecipe(VideoTextRecipe[Arguments]):
    """How ALPRO is trained: its arguments and the released settings (salesforce/ALPRO, config_release/; paper, tables
    9 and 10).
    """

    arguments_class = Arguments
    title = "ALPRO"
    source = "ALPRO recipe"
    sources: ClassVar = {
        "sampling": "ALPRO's paper",
        "mlm_probability": "ALPRO's released configs",
        "pem_threshold": "ALPRO's paper, section 4.1",
        "seeds": "ALPRO's released configs",
    }
    examples = (
        "--task retrieval --backbone my-alpro --train_file train.jsonl --test_file test.jsonl --output_dir mine",
        "--task question-answering --backbone playground --train_file questions.jsonl --test_file others.jsonl "
        "--output_dir mine",
        "--task retrieval --from_scratch true --train_file train.jsonl --test_file test.jsonl --output_dir mine",
    )

    def argument_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        recipe = released(given["task"], given.get("dataset"))
        return {"num_frames": recipe.num_frames, "max_text_length": recipe.max_text_length}

    def training_defaults(self, task: str = RETRIEVAL, dataset: str | None = None) -> dict[str, Any]:
        """Return the released settings. Their weight decay of 0.001 never reaches the optimizer, so it is 0."""
        recipe = released(task, dataset)
        return {
            "optim": "adamw_torch",
            "learning_rate": recipe.learning_rate,
            "adam_beta1": 0.9,
            "adam_beta2": 0.98,
            "adam_epsilon": 1e-6,
            "weight_decay": 0.0,
            "max_grad_norm": recipe.clip,
            "num_train_epochs": recipe.epochs,
            "warmup_steps": recipe.warmup,
            "lr_scheduler_type": "linear",
            "per_device_train_batch_size": recipe.batch,
            "gradient_accumulation_steps": recipe.accumulation,
            "per_device_eval_batch_size": 16,
        }


RECIPE = AlproRecipe()
