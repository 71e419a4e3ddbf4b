"""Typed interface of recipes, which define how a method is trained.

Each method has one instance of these classes, `RECIPE` in `models/<method>/recipe_<method>.py`. Commands find it by
the name of the method, or by the `model_type` of a checkpoint.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from torch.utils.data import Dataset
from transformers import PreTrainedModel, ProcessorMixin, TrainerCallback

from hf_prompt_models.data.labelled import LabelledFiles
from hf_prompt_models.data.text.captioned_videos import VideoTexts
from hf_prompt_models.data.text.records import Records
from hf_prompt_models.prompts.class_prompts import ClassPrompts
from hf_prompt_models.prompts.templates import DEFAULT_TEMPLATE


ArgumentsT = TypeVar("ArgumentsT")


@dataclass(frozen=True)
class Protocol:
    """Evaluation protocol that a classifier is trained for. The paper's settings depend on it.

    Attributes:
        name: "few-shot", "base-to-new" or "cross-dataset".
        shots: Training examples per class; 0: all.
        dataset: Key of a published dataset, or `None` for other data.
    """

    name: str = "few-shot"
    shots: int = 16
    dataset: str | None = None


class Recipe(ABC, Generic[ArgumentsT]):
    """Base class of recipes, which define how a method is trained.

    Attributes:
        title: Name of the method, spelled as in its paper.
        task: Name of the task that trains, tests and shows the method, such as "image-classification".
        arguments_class: Dataclass of the method's own flags.
        use_case: One line about what the method is for, listed by `hf-prompt train`.
        source: Source of the defaults, shown by `--help`.
        sources: Source by flag, for flags whose default has another source.
        examples: Flags of example commands, shown by `--help`.
    """

    title: ClassVar[str]
    task: ClassVar[str]
    arguments_class: type[ArgumentsT]
    use_case: ClassVar[str]
    source: ClassVar[str]
    sources: ClassVar[Mapping[str, str]] = {}
    examples: ClassVar[Sequence[str]] = ()

    def laptop_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the flags whose default differs from the paper's because the paper's would take too long on a laptop.

        Args:
            given: Flags that the command line gives.
        """
        return {}

    def learning_rate_factors(self, arguments: ArgumentsT) -> dict[str, float]:
        """Return the factors that multiply the learning rate, keyed by the beginning of parameter names."""
        return {}

    def callbacks(self, arguments: ArgumentsT) -> list[TrainerCallback]:
        """Return the Trainer callbacks that the method needs."""
        return []


class ClassificationRecipe(Recipe[ArgumentsT]):
    """Base class of the recipes of image and video classifiers.

    Attributes:
        default_shots: Training examples per class if no flag sets them; 0: all.
        default_templates: Hand-written prompts of the zero-shot result, for data without prompts of their own.
        contrasts_batch: Whether the loss compares the examples of a batch with each other, so that a batch of one
            trains nothing.
    """

    default_shots: ClassVar[int] = 16
    default_templates: ClassVar[Sequence[str]] = (DEFAULT_TEMPLATE,)
    contrasts_batch: ClassVar[bool] = False

    def argument_defaults(self, protocol: Protocol, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return defaults of the method's flags that depend on the protocol or on the given flags."""
        return {}

    @abstractmethod
    def training_defaults(self, protocol: Protocol) -> dict[str, Any]:
        """Return the keyword arguments for `TrainingArguments`."""

    def method_settings(self, protocol: Protocol, arguments: ArgumentsT) -> dict[str, Any]:
        """Return keyword arguments for `TrainingArguments` that depend on the method's own flags."""
        return {}

    def check_flags(self, arguments: ArgumentsT, given: Collection[str]) -> None:
        """Refuse flags that have no effect on the method.

        Args:
            arguments: The method's own flags.
            given: Names of the flags that the command line gives.

        Raises:
            ValueError: If a flag has no effect; the message names it.
        """

    @abstractmethod
    def read_examples(self, source: str, split: str, **columns: Any) -> LabelledFiles:
        """Read the labelled files of a source.

        Args:
            source: A folder, a list, or a 🤗 Datasets dataset.
            split: "train" or "test".
            columns: For images, `image_column` and `label_column`; for videos in a list, `labels`, the file of
                the class names.

        Raises:
            ValueError: If the source cannot be read.
        """

    @abstractmethod
    def build_processor(self, backbone: str) -> ProcessorMixin:
        """Return the processor of a backbone."""

    @abstractmethod
    def build_train_dataset(self, arguments: ArgumentsT, files: Any, processor: Any, seed: int) -> Dataset:
        """Return the dataset to train on, with the method's augmentation."""


class ImageClassificationRecipe(ClassificationRecipe[ArgumentsT]):
    """Base class of the recipes of image classifiers.

    Attributes:
        variants: Types of the method that `hf-prompt compare` compares as methods of their own, by name, with their
            flags. The first one is the default.
    """

    task = "image-classification"
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def stored_views(self) -> dict[str, Any]:
        """Return flags that train on stored image features, if the method leaves the image encoder unchanged."""
        return {}

    @abstractmethod
    def build_model(
        self,
        arguments: ArgumentsT,
        backbone: str,
        class_names: Sequence[str],
        processor: Any,
        templates: Sequence[str] | None = None,
        class_prompts: ClassPrompts | None = None,
    ) -> PreTrainedModel:
        """Return a new, untrained model; `templates` and `class_prompts` are the prompts of the zero-shot result."""

    @abstractmethod
    def build_test_dataset(self, files: Any, processor: Any) -> Dataset:
        """Return the dataset to test on."""


class VideoClassificationRecipe(ClassificationRecipe[ArgumentsT]):
    """Base class of the recipes of video classifiers."""

    task = "video-classification"

    @abstractmethod
    def build_model(
        self,
        arguments: ArgumentsT,
        backbone: str,
        class_names: Sequence[str],
        processor: Any,
        templates: Sequence[str] | None = None,
        multi_label: bool = False,
    ) -> PreTrainedModel:
        """Return a new, untrained model."""

    @abstractmethod
    def build_zero_shot(
        self,
        arguments: ArgumentsT,
        backbone: str,
        class_names: Sequence[str],
        processor: Any,
        templates: Sequence[str] | None = None,
        multi_label: bool = False,
    ) -> PreTrainedModel:
        """Return the zero-shot classifier with hand-written prompts that the method is compared with."""

    def finish_train_dataset(self, dataset: Dataset, seed: int) -> Dataset:
        """Return the training dataset, or the features of its frames, with the random values that each item needs."""
        return dataset

    @abstractmethod
    def build_test_dataset(self, arguments: ArgumentsT, files: Any, processor: Any) -> Any:
        """Return the dataset to test on, whose `labels` are those of all items."""


class VisualGroundingRecipe(Recipe[ArgumentsT]):
    """Base class of the recipes of methods that ground phrases.

    Attributes:
        default_shots: Total number of expressions to train on if no flag sets it; 0: all.
    """

    task = "visual-grounding"
    default_shots: ClassVar[int] = 16

    def argument_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return defaults of the method's flags that depend on the given flags."""
        return {}

    @abstractmethod
    def training_defaults(self, shots: int) -> dict[str, Any]:
        """Return the keyword arguments for `TrainingArguments`."""

    @abstractmethod
    def build_processor(self, arguments: ArgumentsT, backbone: str) -> Any:
        """Return the method's processor for a backbone."""

    @abstractmethod
    def build_model(self, arguments: ArgumentsT, backbone: str, processor: Any) -> PreTrainedModel:
        """Return a new, untrained model."""

    @abstractmethod
    def build_train_dataset(self, arguments: ArgumentsT, expressions: Any, seed: int) -> Dataset:
        """Return the dataset to train on."""


class TextGenerationRecipe(Recipe[ArgumentsT]):
    """Base class of the recipes of methods that generate text about images.

    Attributes:
        vision_model: Hub id of the image model that is used if no flag names one.
        decoding: Keyword arguments for `generate` that apply if no flag sets them.
        testing_arguments: Names of the method's flags that define how it is tested; `hf-prompt evaluate` has them,
            too.
    """

    task = "image-text-to-text"
    vision_model: ClassVar[str]
    decoding: ClassVar[Mapping[str, Any]]
    testing_arguments: ClassVar[Sequence[str]] = ()

    @abstractmethod
    def training_defaults(self) -> dict[str, Any]:
        """Return the keyword arguments for `TrainingArguments`."""

    @abstractmethod
    def build_processor(self, arguments: ArgumentsT, language_model: str, vision_model: str) -> Any:
        """Return the method's processor for its backbones."""

    @abstractmethod
    def build_model(
        self,
        arguments: ArgumentsT,
        language_model: str,
        vision_model: str,
        processor: Any,
        freeze_language_model: bool,
        **kwargs: Any,
    ) -> PreTrainedModel:
        """Return a new, untrained model; `kwargs` are passed on when the language model is loaded."""

    @abstractmethod
    def read_records(self, source: str, split: str, images: str | None, annotations: str | None) -> Records[Any]:
        """Read the records of a source.

        Args:
            source: A file or a 🤗 Datasets dataset.
            split: Split of a dataset.
            images: Folder of the images.
            annotations: File with the answers to VQA's questions.
        """

    @abstractmethod
    def training_examples(self, arguments: ArgumentsT, records: Records[Any]) -> list[Any]:
        """Return the examples to train on."""

    @abstractmethod
    def test_examples(
        self, arguments: ArgumentsT, records: Records[Any], shots_from: Records[Any] | None
    ) -> list[Any]:
        """Return the examples to test on; `shots_from` holds the records for the examples before each question."""


class VideoTextRecipe(Recipe[ArgumentsT]):
    """Base class of the recipes of methods for videos with texts."""

    task = "video-text"

    @abstractmethod
    def argument_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return defaults of the method's flags that depend on the given flags."""

    @abstractmethod
    def training_defaults(self, task: str = "retrieval", dataset: str | None = None) -> dict[str, Any]:
        """Return the keyword arguments for `TrainingArguments`."""

    @abstractmethod
    def build_model(
        self, arguments: ArgumentsT, data: Any, texts: VideoTexts[Any], answers: Sequence[str] | None
    ) -> PreTrainedModel:
        """Return the model to train, with its processor in `.processor`.

        Args:
            arguments: The method's own flags.
            data: The task's flags, which name the weights to start from.
            texts: The training set.
            answers: The answers to choose from; `None` unless the task is question answering.

        Raises:
            OSError: If the weights are missing.
            TypeError: If the weights are of another kind of model.
            ValueError: If the weights do not fit.
        """

    @abstractmethod
    def build_train_dataset(self, arguments: ArgumentsT, texts: VideoTexts[Any], seed: int) -> Dataset:
        """Return the dataset to train on, with the method's augmentation."""

    @abstractmethod
    def build_collator(
        self, arguments: ArgumentsT, model: Any, texts: VideoTexts[Any], answers: Sequence[str] | None
    ) -> Callable[[list[dict[str, Any]]], Mapping[str, Any]]:
        """Return the collator of `build_train_dataset`'s items; the arguments are those of `build_model`."""

    def forward_arguments(self, arguments: ArgumentsT) -> dict[str, Any]:
        """Return the keyword arguments that the model is given with each training batch."""
        return {}

    def trained_model(self, arguments: ArgumentsT, model: Any) -> PreTrainedModel:
        """Return the trained model, or the part of it, that is saved."""
        return model
