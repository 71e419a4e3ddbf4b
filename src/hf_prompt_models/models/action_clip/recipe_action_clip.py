"""Recipe of ActionCLIP: its arguments, the paper's settings, its data (arXiv 2109.08472; released configs)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import torch
from torch.utils.data import Dataset

from hf_prompt_models.data.images.dataset import Epoch
from hf_prompt_models.data.videos.dataset import AugmentedVideoDataset, VideoDataset, VideoViewsDataset
from hf_prompt_models.data.videos.labelled import LabelledVideos, read_labelled_videos
from hf_prompt_models.models.action_clip.configuration_action_clip import ActionClipConfig
from hf_prompt_models.models.action_clip.modeling_action_clip import ActionClipForVideoClassification
from hf_prompt_models.models.action_clip.processing_action_clip import ActionClipProcessor
from hf_prompt_models.prompts.templates import ACTION_TEMPLATES
from hf_prompt_models.recipe_utils import Protocol, VideoClassificationRecipe


"""Whether the loss compares the examples of a batch with each other."""


@dataclass
class Arguments:
    """Visual prompts, what is trained, and frames."""

    _argument_group_name = "ActionCLIP: visual prompts, what is trained, frames"

    post_network: str = field(
        default="transf",
        metadata={
            "help": "What makes one vector of the frames' (visual prompt behind the tower). conv1d, lstm, transf and "
            "transf_cls see the order of frames, mean does not.",
            "choices": ["mean", "conv1d", "lstm", "transf", "transf_cls"],
        },
    )
    pre_network: str | None = field(
        default=None,
        metadata={"help": "Before the tower: joint lets all frames' patches see each other.", "choices": ["joint"]},
    )
    in_network: str | None = field(
        default=None,
        metadata={
            "help": "Inside the tower: shift moves some channels between neighbouring frames.",
            "choices": ["shift"],
        },
    )
    num_frames: int = field(default=8, metadata={"help": "Frames of a video, the middles of as many segments."})
    trainable: str = field(
        default="all",
        metadata={
            "help": "all: the whole CLIP is fine-tuned, as in the paper. image: all but its text side. head: the CLIP "
            "stays frozen and its features of the frames are computed once; for little data, and fast.",
            "choices": ["all", "image", "head"],
        },
    )
    head_learning_rate_factor: float = field(
        default=10.0, metadata={"help": "The head's learning rate over the tower's (paper: 10)."}
    )
    random_segments: bool = field(
        default=True, metadata={"help": "In training, a random frame of each segment instead of the middle one."}
    )
    flip: bool = field(
        default=True,
        metadata={"help": "Mirror every second clip in training. Not where left and right tell classes apart."},
    )
    rand_augment: bool = field(
        default=True, metadata={"help": "RandAugment in training (paper: on Kinetics, not on HMDB51 and UCF101)."}
    )
    temporal_views: int = field(
        default=1, metadata={"help": "Samples of frames to average in testing (paper's best: 10)."}
    )
    spatial_views: int = field(default=1, metadata={"help": "Crops to average in testing, 1 or 3 (paper's best: 3)."})

    def __post_init__(self) -> None:
        for name in ("num_frames", "temporal_views"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} is a number, at least 1; got {getattr(self, name)}.")
        if self.spatial_views not in (1, 3):
            raise ValueError(f"--spatial_views is 1 or 3; got {self.spatial_views}.")
        if self.head_learning_rate_factor <= 0:
            raise ValueError(f"--head_learning_rate_factor is above 0; got {self.head_learning_rate_factor}.")
        if self.trainable == "head" and self.post_network == "mean" and self.pre_network is None:
            raise ValueError("--trainable head leaves nothing to train with --post_network mean: choose another head.")
        choices: dict[str, Any] = {
            name: getattr(self, name) for name in ("pre_network", "in_network", "post_network", "num_frames")
        }
        ActionClipConfig(**choices)  # what does not go together is refused before a video is read


class DrawnSentences(Epoch, Dataset):
    """A data set to train on, whose items also say by `draws` which sentences they are trained with.

    What is drawn depends on `seed`, the epoch and the item's index alone: a run by several processes is that of one.

    Args:
        dataset: items with the model's inputs.
        seed: of what is drawn.
    """

    def __init__(self, dataset: Dataset, seed: int):
        super().__init__()
        self.dataset: Any = dataset
        self.seed = seed

    def set_epoch(self, epoch: int) -> None:
        """Draw anew for this epoch."""
        super().set_epoch(epoch)
        if isinstance(self.dataset, Epoch):
            self.dataset.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        # The last number parts these from what is drawn of the pictures.
        generator = np.random.default_rng([self.seed, self.epoch, index, 1])
        return self.dataset[index] | {"draws": torch.from_numpy(generator.integers(2**31, size=2))}


class ActionClipRecipe(VideoClassificationRecipe[Arguments]):
    """Train ActionCLIP: video classification as video-text matching (arXiv 2109.08472)."""

    arguments_class = Arguments
    title = "ActionCLIP"
    default_shots = 0
    contrasts_batch = True
    default_templates = tuple(template.text for template in ACTION_TEMPLATES)
    use_case = "videos into classes; from few clips with --trainable head --learning_rate 1e-4"
    source = "ActionCLIP recipe"
    sources = dict.fromkeys(
        (
            "post_network",
            "num_frames",
            "trainable",
            "head_learning_rate_factor",
            "random_segments",
            "flip",
            "rand_augment",
        ),
        "ActionCLIP's k400_train.yaml",
    )
    examples = (
        "--backbone openai/clip-vit-base-patch16 --train_dir train --test_dir test --output_dir mine",
        "--backbone playground --train_dir train --test_dir test --trainable head --output_dir mine",
    )

    def training_defaults(self, protocol: Protocol) -> dict[str, Any]:
        """`TrainingArguments` of the paper: AdamW, 50 epochs, 5 of them warm-up, cosine."""
        return {
            "optim": "adamw_torch",
            "learning_rate": 5e-6,
            "adam_beta1": 0.9,
            "adam_beta2": 0.98,
            "adam_epsilon": 1e-8,
            "weight_decay": 0.2,
            "max_grad_norm": 0.0,
            "num_train_epochs": 50,
            "warmup_steps": 0.1,
            "lr_scheduler_type": "cosine",
            "per_device_train_batch_size": 32,
            "per_device_eval_batch_size": 32,
            "dataloader_drop_last": True,
            "dataloader_num_workers": 2,
        }

    def laptop_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Fewer epochs where each of them goes through CLIP; over features that are computed once all 50 are quick."""
        return {} if given.get("trainable") == "head" else {"num_train_epochs": 10}

    def learning_rate_factors(self, arguments: Arguments) -> dict[str, float]:
        """By the beginning of parameters' names."""
        return {"post_network.": arguments.head_learning_rate_factor}

    def read_examples(self, source: str, split: str, **columns: Any) -> LabelledVideos:
        return read_labelled_videos(source, split, **columns)

    def build_processor(self, backbone: str) -> ActionClipProcessor:
        return ActionClipProcessor.from_backbone(backbone)

    def build_model(
        self,
        arguments: Arguments,
        backbone: str,
        class_names: Sequence[str],
        processor: ActionClipProcessor,
        templates: Sequence[str] | None = None,
        multi_label: bool = False,
    ) -> ActionClipForVideoClassification:
        return ActionClipForVideoClassification.from_backbone(
            backbone,
            class_names,
            templates=templates,
            pre_network=cast(Literal["joint"] | None, arguments.pre_network),
            in_network=cast(Literal["shift"] | None, arguments.in_network),
            post_network=arguments.post_network,
            num_frames=arguments.num_frames,
            trainable=cast(Literal["all", "image", "head"], arguments.trainable),
            problem_type="multi_label_classification" if multi_label else None,
            tokenizer=processor,
        )

    def build_zero_shot(
        self,
        arguments: Arguments,
        backbone: str,
        class_names: Sequence[str],
        processor: ActionClipProcessor,
        templates: Sequence[str] | None = None,
        multi_label: bool = False,
    ) -> ActionClipForVideoClassification:
        """CLIP as it is: the mean of the frames' features, nothing trained."""
        plain = Arguments(num_frames=arguments.num_frames)
        plain.post_network = "mean"
        return self.build_model(plain, backbone, class_names, processor, templates, multi_label)

    def build_train_dataset(
        self, arguments: Arguments, videos: LabelledVideos, processor: ActionClipProcessor, seed: int
    ) -> Dataset:
        """Return random frames, crops and colours, sampled in each epoch.

        The clips are as in testing where a frozen CLIP's features of their frames are computed once, that is where no
        visual prompt is before or in the tower.
        """
        if arguments.trainable == "head" and arguments.pre_network is None and arguments.in_network is None:
            return VideoDataset(videos, processor.image_processor, arguments.num_frames)
        return AugmentedVideoDataset(
            videos,
            processor.image_processor,
            arguments.num_frames,
            random_segments=arguments.random_segments,
            seed=seed,
            flip=arguments.flip,
            rand_augment=(2, 9) if arguments.rand_augment else None,
        )

    def finish_train_dataset(self, dataset: Dataset, seed: int) -> Dataset:
        """What `build_train_dataset` made, or the features of its frames, with the sentences drawn."""
        return DrawnSentences(dataset, seed)

    def build_test_dataset(
        self, arguments: Arguments, videos: LabelledVideos, processor: ActionClipProcessor
    ) -> Dataset:
        if arguments.temporal_views * arguments.spatial_views == 1:
            return VideoDataset(videos, processor.image_processor, arguments.num_frames)
        return VideoViewsDataset(
            videos, processor.image_processor, arguments.num_frames, arguments.temporal_views, arguments.spatial_views
        )


RECIPE = ActionClipRecipe()


def training_defaults(shots: int, dataset: str | None = None) -> dict[str, Any]:
    """Return the recipe's `TrainingArguments` for few-shot training: the name that 0.1's documentation has."""
    return RECIPE.training_defaults(Protocol(shots=shots, dataset=dataset))
