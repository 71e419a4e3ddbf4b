"""Recipe of ALPRO: its arguments and the released settings."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from transformers import BertTokenizer, PreTrainedConfig

from hf_prompt_models.backbones.packaged import ALPRO_DIR, locate_backbone
from hf_prompt_models.configuration_utils import class_fields
from hf_prompt_models.data.text.captioned_videos import VideoTexts
from hf_prompt_models.data.text.video_text_dataset import SAMPLING, VideoTextDataset
from hf_prompt_models.models.alpro.configuration_alpro import AlproConfig
from hf_prompt_models.models.alpro.image_processing_alpro import AlproImageProcessor, ClipAugmentation
from hf_prompt_models.models.alpro.modeling_alpro import AlproModel, AlproPreTrainedModel
from hf_prompt_models.models.alpro.modeling_alpro_pretraining import AlproForPreTraining
from hf_prompt_models.models.alpro.modeling_alpro_prompter import (
    IMAGE_TEMPLATES,
    VIDEO_TEMPLATES,
    AlproPrompter,
    read_entities,
)
from hf_prompt_models.models.alpro.modeling_alpro_question_answering import AlproForVideoQuestionAnswering
from hf_prompt_models.models.alpro.modeling_alpro_retrieval import AlproForVideoTextRetrieval
from hf_prompt_models.models.alpro.processing_alpro import (
    IGNORED,
    AlproCollator,
    AlproPretrainingCollator,
    AlproProcessor,
)
from hf_prompt_models.recipe_utils import VideoTextRecipe


Model = TypeVar("Model", bound=AlproPreTrainedModel)

PRETRAINING, PROMPTER, RETRIEVAL, QUESTIONS = TASKS = ("pretraining", "prompter", "retrieval", "question-answering")
MODELS: Mapping[str, type[AlproPreTrainedModel]] = {
    PRETRAINING: AlproForPreTraining,
    PROMPTER: AlproForPreTraining,
    RETRIEVAL: AlproForVideoTextRetrieval,
    QUESTIONS: AlproForVideoQuestionAnswering,
}
"""The class that each task trains."""

MIN_COUNT = 2
"""Number of occurrences in the training texts from which on a new small model has a token for a word."""
HEAD_WIDTH = 32
"""Number of channels per attention head of a new small model."""


@dataclass(frozen=True)
class ReleasedSettings:
    """Released settings of a dataset.

    Attributes:
        learning_rate: Peak learning rate.
        epochs: Number of epochs.
        warmup: Share of all steps that are warm-up.
        clip: Maximum norm of the gradients.
        batch: Batch size per GPU; pre-training used 16 GPUs, fine-tuning 8.
        accumulation: Number of gradient accumulation steps.
        num_frames: Frames per video.
        max_text_length: Tokens per text.
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
"""Number of answers of the released models, by dataset."""


@dataclass
class Arguments:
    """Arguments of ALPRO: task, frames, augmentation, and sizes of a new small model."""

    _argument_group_name = "ALPRO: task, frames, augmentation"

    task: str = field(
        metadata={
            "help": "What to train. prompter: the model that names entities, with the contrastive loss. "
            "pretraining: all four pre-training losses. retrieval, question-answering: fine-tune for that "
            "task.",
            "choices": list(TASKS),
        }
    )
    dataset: str | None = field(
        default=None,
        metadata={
            "help": "Use the released settings of this dataset as defaults (salesforce/ALPRO, config_release/). "
            "retrieval: msrvtt or didemo; question-answering: msrvtt or msvd; pre-training: webvid. "
            "Default: the first one.",
            "choices": ["webvid", "msrvtt", "didemo", "msvd"],
        },
    )
    num_frames: int | None = field(
        default=None,
        metadata={
            "help": "Number of frames per video. Released: 4 in pre-training, 8 in retrieval, 16 in question "
            "answering."
        },
    )
    max_text_length: int | None = field(
        default=None,
        metadata={"help": "Maximum number of tokens per text. Released: 30 in pre-training, 50 on DiDeMo, else 40."},
    )
    sampling: str = field(
        default="head_tail",
        metadata={
            "help": "How frames are sampled in training. head_tail: half of them from each half of the video "
            "(paper); random: from the entire video (fine-tuning in the released code); segments: one from "
            "each of several equal parts. Testing uses the middles of equal parts.",
            "choices": list(SAMPLING),
        },
    )
    rand_augment: bool | None = field(
        default=None,
        metadata={
            "help": "Apply two of ten random operations to each video. Default: as released, in all tasks but "
            "retrieval."
        },
    )
    flip: bool = field(
        default=True,
        metadata={"help": "Include mirroring in the random operations. Turn it off if texts mention left and right."},
    )
    crop: bool | None = field(
        default=None,
        metadata={"help": "Crop a random square with 7/8 of the side length. Default: as released, in pre-training."},
    )
    rerank: int = field(
        default=16,
        metadata={
            "help": "Retrieval: number of candidates, the closest ones by features, that are scored together with "
            "the query. 0: all, as in the released code."
        },
    )
    mlm_probability: float = field(default=0.15, metadata={"help": "Share of words that are masked in pre-training."})
    pem_threshold: float = field(
        default=0.2,
        metadata={
            "help": "Pre-training: leave out crops to which the prompter gives a lower probability (paper, section "
            "4.1)."
        },
    )
    image_size: int = field(default=64, metadata={"help": "Side of the frames in pixels, for --from_scratch."})
    patch_size: int = field(default=16, metadata={"help": "Side of the patches in pixels, for --from_scratch."})
    hidden_size: int = field(
        default=128, metadata={"help": "Hidden size of the encoders, a multiple of 32, for --from_scratch."}
    )
    num_layers: int = field(
        default=4, metadata={"help": "Number of layers of the video encoder and of BERT, for --from_scratch."}
    )

    def augmentation(self) -> ClipAugmentation | None:
        """Return the augmentation of frames in training, or `None`."""
        operations = self.task != RETRIEVAL if self.rand_augment is None else self.rand_augment
        crop = self.task in (PRETRAINING, PROMPTER) if self.crop is None else self.crop
        return ClipAugmentation(operations, crop, self.flip) if operations or crop else None


def released(task: str, dataset: str | None) -> ReleasedSettings:
    """Return the released settings of a task.

    Args:
        task: One of `TASKS`.
        dataset: Key of the dataset; `None`: the first one that the task was released for.

    Raises:
        ValueError: If the task was not released for the dataset.
    """
    known = [name for of_task, name in RECIPES if of_task == task]
    if dataset is not None and dataset not in known:
        raise ValueError(
            f"There are released settings of {task} for {' and '.join(known)}, but none for {dataset}. Choose one "
            "of these."
        )
    return RECIPES[task, dataset or known[0]]


class AlproRecipe(VideoTextRecipe[Arguments]):
    """Train ALPRO with the released settings (salesforce/ALPRO, config_release/; paper, tables 9 and 10)."""

    arguments_class = Arguments
    title = "ALPRO"
    use_case = (
        "finds videos that match a sentence, and answers questions about videos; start from a pre-trained checkpoint"
    )
    source = "ALPRO recipe"
    sources: ClassVar = {
        "sampling": "the ALPRO paper",
        "mlm_probability": "the released configs of ALPRO",
        "pem_threshold": "the ALPRO paper, section 4.1",
        "seeds": "the released configs of ALPRO",
    }
    examples = (
        "--task retrieval --backbone my-alpro --train_file train.jsonl --test_file test.jsonl --output_dir mine",
        "--task question-answering --backbone playground --train_file questions.jsonl --test_file others.jsonl "
        "--output_dir mine",
        "--task retrieval --from_scratch true --train_file train.jsonl --test_file test.jsonl --output_dir mine",
    )

    def argument_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the released number of frames and of tokens."""
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

    def build_model(
        self, arguments: Arguments, data: Any, texts: VideoTexts[Any], answers: Sequence[str] | None
    ) -> AlproPreTrainedModel:
        """Return the model to train, with its processor in `.processor`."""
        task = arguments.task
        model_class: Any = MODELS[task]
        sizes: dict[str, Any] = {"num_frames": arguments.num_frames, "max_text_length": arguments.max_text_length}
        fields: dict[str, Any] = {"pem_threshold": arguments.pem_threshold} if task == PRETRAINING else {}
        if data.backbone is not None:
            if task == PROMPTER or (task == PRETRAINING and not has_prompter(data.backbone)):
                fields |= {"num_entities": 0, "entities": None}
            model = model_class.from_backbone(data.backbone, **sizes, answers=answers, **fields)
        else:
            if answers is not None:
                fields |= class_fields(answers)
            if data.from_scratch:
                names = ("image_size", "patch_size", "hidden_size", "num_layers")
                shape = {name: getattr(arguments, name) for name in names}
                model = new_small_model(model_class, texts.texts, **sizes, **shape, **fields)
            else:
                model = model_class.from_towers(data.vision, data.text, **sizes, num_entities=0, **fields)
        if data.prompter is not None:
            entities = None if data.entities is None else read_entities(data.entities)
            model.set_prompter(load_prompter(data.prompter, entities, sizes["num_frames"]))
        return model

    def build_train_dataset(self, arguments: Arguments, texts: VideoTexts[Any], seed: int) -> VideoTextDataset:
        """Return the dataset to train on, with the augmentation of the task."""
        num_frames: Any = arguments.num_frames  # `argument_defaults` gives it a value
        return VideoTextDataset(texts.items, num_frames, arguments.sampling, arguments.augmentation(), seed)

    def build_collator(
        self, arguments: Arguments, model: Any, texts: VideoTexts[Any], answers: Sequence[str] | None
    ) -> AlproCollator | AlproPretrainingCollator:
        """Return the collator of the task."""
        if arguments.task == PRETRAINING:
            return AlproPretrainingCollator(model.processor, model.prompter is not None, arguments.mlm_probability)
        if answers is None:
            return AlproCollator(model.processor)
        index_of = {answer: index for index, answer in enumerate(answers)}
        return AlproCollator(model.processor, [index_of.get(item.answer, IGNORED) for item in texts.items])

    def forward_arguments(self, arguments: Arguments) -> dict[str, Any]:
        """Return the keyword arguments that the model is given with each training batch."""
        return {RETRIEVAL: {"return_loss": True}, PROMPTER: {"contrast_only": True}}.get(arguments.task, {})

    def trained_model(self, arguments: Arguments, model: Any) -> AlproPreTrainedModel:
        """Return the model, or its towers as an [`AlproModel`] if a prompter was trained."""
        trained = model.alpro if arguments.task == PROMPTER else model
        trained.processor = model.processor
        return trained


RECIPE = AlproRecipe()


def has_prompter(directory: str) -> bool:
    """Return whether a folder or Hub id holds a pre-training model with a prompter."""
    config, _ = PreTrainedConfig.get_config_dict(locate_backbone(directory, ALPRO_DIR))
    return config.get("architectures") == [AlproForPreTraining.__name__] and config.get("num_entities", 1) > 0


def load_prompter(directory: str, entities: Sequence[str] | None, num_frames: int) -> AlproPrompter:
    """Load a prompter, or make one for a list of entities from the towers of a saved ALPRO.

    Args:
        directory: Folder or Hub id.
        entities: Names of the entities; `None` if the saved model is a prompter with its own.
        num_frames: Frames per video.

    Raises:
        OSError: As `AlproPreTrainedModel.from_backbone`.
        TypeError: As `AlproPreTrainedModel.from_backbone`.
        ValueError: If no entities are given and the saved model is not a prompter, or if an entity is listed twice.
    """
    directory = str(locate_backbone(directory, ALPRO_DIR))
    found, _ = PreTrainedConfig.get_config_dict(directory)
    if entities is None:
        if found.get("architectures") != [AlproPrompter.__name__]:
            raise ValueError(
                f"{directory} is not a prompter with entities of its own. Pass them with --entities FILE."
            )
        prompter = AlproPrompter.from_pretrained(directory)
        if prompter.config.num_frames != num_frames:
            prompter.resize_time_embeddings(num_frames)
        return prompter
    model = AlproModel.from_backbone(directory, num_frames)
    return AlproPrompter.from_entities(model, entities, model.processor)


def new_small_model(
    model_class: type[Model],
    texts: Iterable[str],
    num_frames: int,
    max_text_length: int,
    image_size: int,
    patch_size: int,
    hidden_size: int,
    num_layers: int,
    **fields: Any,
) -> Model:
    """Return a small model with random weights and a tokenizer made from the training texts.

    Args:
        model_class: Class of the model.
        texts: The training texts.
        num_frames: Frames per video.
        max_text_length: Number of tokens at which the processor truncates texts.
        image_size: Side of the frames in pixels.
        patch_size: Side of the patches in pixels.
        hidden_size: Hidden size of both towers, a multiple of 32, which is the size of an attention head.
        num_layers: Number of layers of the video tower and of BERT, whose second half is the fusion layers.
        fields: Other fields of [`AlproConfig`].

    Raises:
        ValueError: If `hidden_size` is not a multiple of 32, or `num_layers` is below 2.
    """
    if hidden_size % HEAD_WIDTH or hidden_size < HEAD_WIDTH:
        raise ValueError(f"Expected hidden_size to be a multiple of {HEAD_WIDTH}, got {hidden_size}.")
    if num_layers < 2:
        raise ValueError(f"Expected num_layers >= 2, got {num_layers}.")
    tokenizer = word_tokenizer(texts, max_text_length)
    sizes = {
        "hidden_size": hidden_size,
        "num_hidden_layers": num_layers,
        "num_attention_heads": hidden_size // HEAD_WIDTH,
        "intermediate_size": 4 * hidden_size,
    }
    vision = {"image_size": image_size, "patch_size": patch_size, "num_frames": num_frames, **sizes}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": max(max_text_length, 64), **sizes}
    defaults = {"fusion_layer": num_layers // 2, "projection_dim": hidden_size, "num_entities": 0}
    model = model_class(AlproConfig(vision_config=vision, text_config=text, **defaults | fields))
    side = {"height": image_size, "width": image_size}
    model.processor = AlproProcessor(
        AlproImageProcessor(size=side),
        tokenizer,
        num_frames=num_frames,
        max_text_length=max_text_length,
        patch_size=patch_size,
    )
    return model


def word_tokenizer(texts: Iterable[str], max_text_length: int) -> BertTokenizer:
    """Return a BERT tokenizer with the words that occur at least twice, and the letters of all words."""
    counts: dict[str, int] = {}
    for text in [*texts, *(template.replace("{}", "") for template in (*VIDEO_TEMPLATES, *IMAGE_TEMPLATES))]:
        for word in re.findall(r"\w+|[^\w\s]", text.lower()):
            counts[word] = counts.get(word, 0) + 1
    words = sorted(word for word, count in counts.items() if count >= MIN_COUNT)
    letters = sorted({letter for word in counts for letter in word})
    pieces = [*words, *letters, *(f"##{letter}" for letter in letters)]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return BertTokenizer(vocab=vocabulary, model_max_length=max_text_length)
