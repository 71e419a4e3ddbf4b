"""Recipe of ActionCLIP: its arguments, the paper's settings, and its data (arXiv 2109.08472; released configs)."""

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
from hf_prompt_models.utils.loading import DecodedDataset


@dataclass
class Arguments:
    """Arguments of ActionCLIP: visual prompts, trained parameters, and frames."""

    _argument_group_name = "ActionCLIP: visual prompts, what is trained, frames"

    post_network: str = field(
        default="transf",
        metadata={
            "help": "How frame features become one video feature (the visual prompt after the image encoder). conv1d, "
            "lstm, transf and transf_cls take the order of the frames into account; mean does not.",
            "choices": ["mean", "conv1d", "lstm", "transf", "transf_cls"],
        },
    )
    pre_network: str | None = field(
        default=None,
        metadata={
            "help": "Visual prompt before the image encoder. joint: the patches of all frames attend to each other.",
            "choices": ["joint"],
        },
    )
    in_network: str | None = field(
        default=None,
        metadata={
            "help": "Visual prompt inside the image encoder. shift: exchange some channels of neighbouring frames.",
            "choices": ["shift"],
        },
    )
    num_frames: int = field(
        default=8,
        metadata={
            "help": "Number of frames per video. The video is split into this many segments, and the middle frame "
            "of each is used."
        },
    )
    trainable: str = field(
        default="all",
        metadata={
            "help": "Which parameters are trained. all: the complete CLIP is fine-tuned, as in the paper. image: "
            "all but the text side. head: the CLIP stays frozen, and its frame features are computed once; "
            "fast, and suited to little data.",
            "choices": ["all", "image", "head"],
        },
    )
    head_learning_rate_factor: float = field(
        default=10.0, metadata={"help": "Ratio of the head's learning rate to that of the image encoder (paper: 10)."}
    )
    random_segments: bool = field(
        default=True, metadata={"help": "In training, use a random frame of each segment instead of the middle one."}
    )
    flip: bool = field(
        default=True,
        metadata={
            "help": "Mirror half of the training clips, chosen at random. Turn it off if left and right "
            "distinguish classes."
        },
    )
    rand_augment: bool = field(
        default=True,
        metadata={"help": "Apply RandAugment in training (paper: on Kinetics, not on HMDB51 and UCF101)."},
    )
    temporal_views: int = field(
        default=1, metadata={"help": "Number of frame samples to average over in testing (paper's best: 10)."}
    )
    spatial_views: int = field(
        default=1, metadata={"help": "Number of crops to average over in testing, 1 or 3 (paper's best: 3)."}
    )

    def __post_init__(self) -> None:
        for name in ("num_frames", "temporal_views"):
            if getattr(self, name) < 1:
                raise ValueError(f"Expected --{name} to be at least 1, got {getattr(self, name)}.")
        if self.spatial_views not in (1, 3):
            raise ValueError(f"Expected --spatial_views 1 or 3, got {self.spatial_views}.")
        if self.head_learning_rate_factor <= 0:
            raise ValueError(f"Expected --head_learning_rate_factor above 0, got {self.head_learning_rate_factor}.")
        if self.trainable == "head" and self.post_network == "mean" and self.pre_network is None:
            raise ValueError("--trainable head has nothing to train with --post_network mean. Choose another head.")
        choices: dict[str, Any] = {
            name: getattr(self, name) for name in ("pre_network", "in_network", "post_network", "num_frames")
        }
        ActionClipConfig(**choices)  # invalid combinations are refused before a video is read


class DrawnSentences(Epoch, DecodedDataset):
    """Training dataset whose items have the additional key `draws`, which selects the sentences to train with.

    The values depend only on `seed`, the epoch, and the index of the item, so training with several processes gives
    the same result as training with one.

    Args:
        dataset: Items with the model inputs.
        seed: Seed of the random values.
    """

    def __init__(self, dataset: Dataset, seed: int):
        super().__init__()
        self.dataset: Any = dataset
        self.seed = seed

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, so that new values are sampled."""
        super().set_epoch(epoch)
        if isinstance(self.dataset, Epoch):
            self.dataset.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        # The last number separates this random stream from the one that augments the images.
        generator = np.random.default_rng([self.seed, self.epoch, index, 1])
        return self.dataset[index] | {"draws": torch.from_numpy(generator.integers(2**31, size=2))}


class ActionClipRecipe(VideoClassificationRecipe[Arguments]):
    """Train ActionCLIP: video classification as video-text matching (arXiv 2109.08472)."""

    arguments_class = Arguments
    title = "ActionCLIP"
    default_shots = 0
    contrasts_batch = True
    default_templates = tuple(template.text for template in ACTION_TEMPLATES)
    use_case = "classifies videos; with few clips, use --trainable head --learning_rate 1e-4"
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
        "the k400_train.yaml of ActionCLIP",
    )
    examples = (
        "--backbone openai/clip-vit-base-patch16 --train_dir train --test_dir test --output_dir mine",
        "--backbone playground --train_dir train --test_dir test --trainable head --output_dir mine",
    )

    def training_defaults(self, protocol: Protocol) -> dict[str, Any]:
        """Return the paper's `TrainingArguments`: AdamW, 50 epochs with 5 epochs of warm-up, and a cosine schedule."""
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
        """Return fewer epochs if each epoch runs CLIP. On features that are computed once, all 50 epochs are fast."""
        return {} if given.get("trainable") == "head" else {"num_train_epochs": 10}

    def learning_rate_factors(self, arguments: Arguments) -> dict[str, float]:
        """Return the learning rate factor of the head, keyed by the beginning of its parameter names."""
        return {"post_network.": arguments.head_learning_rate_factor}

    def read_examples(self, source: str, split: str, **columns: Any) -> LabelledVideos:
        """Read the labelled videos of a source."""
        return read_labelled_videos(source, split, **columns)

    def build_processor(self, backbone: str) -> ActionClipProcessor:
        """Return the processor of a backbone."""
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
        """Return a new, untrained model."""
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
        """Return the untrained CLIP, which averages the frame features."""
        plain = Arguments(num_frames=arguments.num_frames)
        plain.post_network = "mean"
        return self.build_model(plain, backbone, class_names, processor, templates, multi_label)

    def build_train_dataset(
        self, arguments: Arguments, videos: LabelledVideos, processor: ActionClipProcessor, seed: int
    ) -> Dataset:
        """Return videos with random frames, crops and colours, sampled again in each epoch.

        The clips are as in testing where the frame features of a frozen CLIP are computed once, that is, where no
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
        """Return the training dataset, or the features of its frames, with sampled sentences."""
        return DrawnSentences(dataset, seed)

    def build_test_dataset(
        self, arguments: Arguments, videos: LabelledVideos, processor: ActionClipProcessor
    ) -> Dataset:
        """Return the videos without augmentation, with several views of each if the arguments request them."""
        if arguments.temporal_views * arguments.spatial_views == 1:
            return VideoDataset(videos, processor.image_processor, arguments.num_frames)
        return VideoViewsDataset(
            videos, processor.image_processor, arguments.num_frames, arguments.temporal_views, arguments.spatial_views
        )


RECIPE = ActionClipRecipe()


def training_defaults(shots: int, dataset: str | None = None) -> dict[str, Any]:
    """Return the recipe's `TrainingArguments` for few-shot training, under the name documented in version 0.1."""
    return RECIPE.training_defaults(Protocol(shots=shots, dataset=dataset))
