"""The typed contract of recipes: how a method is trained.

Each method has one class of these in `models/<method>/recipe_<method>.py`, as `RECIPE`. Commands find it by the
name of the method, or by the `model_type` of a checkpoint.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from torch.utils.data import Dataset
from transformers import PreTrainedModel, ProcessorMixin, TrainerCallback

from hf_prompt_models.data.labelled import LabelledFiles
from hf_prompt_models.data.text.captioned_videos import VideoTexts
from hf_prompt_models.data.text.records import Records
from hf_prompt_models.prompts.templates import DEFAULT_TEMPLATE


ArgumentsT = TypeVar("ArgumentsT")


@dataclass(frozen=True)
class Protocol:
    """What a classifier is trained for, which the paper's settings depend on.

    Attributes:
        name: "few-shot", "base-to-new" or "cross-dataset".
        shots: training examples a class; 0: all.
        dataset: key of a published data set, or `None` for other data.
    """

    name: str = "few-shot"
    shots: int = 16
    dataset: str | None = None


class Recipe(ABC, Generic[ArgumentsT]):
    """How a method is trained.

    Attributes:
        title: the method's name, as its paper writes it.
        task: the task that trains, tests and shows it, such as "image-classification".
        arguments_class: dataclass of the method's own flags.
        use_case: what the method is for, in a line: `hf-prompt train` lists it.
        source: where the defaults come from, for `--help`.
        sources: the same by flag, where a flag's default comes from elsewhere.
        examples: flags of example commands, for `--help`.
    """

    title: ClassVar[str]
    task: ClassVar[str]
    arguments_class: type[ArgumentsT]
    use_case: ClassVar[str]
    source: ClassVar[str]
    sources: ClassVar[Mapping[str, str]] = {}
    examples: ClassVar[Sequence[str]] = ()

    def laptop_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the flags that have another default than the paper's, where a laptop could not wait for that.

        Args:
            given: the flags of the command line.
        """
        return {}

    def learning_rate_factors(self, arguments: ArgumentsT) -> dict[str, float]:
        """Return by the beginning of parameter names what their learning rate is multiplied with."""
        return {}

    def callbacks(self, arguments: ArgumentsT) -> list[TrainerCallback]:
        """Return the Trainer callbacks that the method needs."""
        return []


class ClassificationRecipe(Recipe[ArgumentsT]):
    """How a classifier of images or videos is trained.

    Attributes:
        default_shots: training examples a class where no flag says otherwise; 0: all.
        default_templates: hand-written prompts of the zero-shot result, for data without their own.
        contrasts_batch: whether the loss compares the examples of a batch, so that a batch of one teaches nothing.
    """

    default_shots: ClassVar[int] = 16
    default_templates: ClassVar[Sequence[str]] = (DEFAULT_TEMPLATE,)
    contrasts_batch: ClassVar[bool] = False

    def argument_defaults(self, protocol: Protocol, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return defaults of the method's flags that depend on the protocol or on flags that are given."""
        return {}

    @abstractmethod
    def training_defaults(self, protocol: Protocol) -> dict[str, Any]:
        """Return the keyword arguments for `TrainingArguments`."""

    @abstractmethod
    def read_examples(self, source: str, split: str, **columns: Any) -> LabelledFiles:
        """Read the labelled files of a source.

        Args:
            source: a folder, a list, or a 🤗 Datasets data set.
            split: "train" or "test".
            columns: of images `image_column` and `label_column`; of videos in a list `labels`, the file of the class
                names.

        Raises:
            ValueError: if the source cannot be read.
        """

    @abstractmethod
    def build_processor(self, backbone: str) -> ProcessorMixin:
        """Return the processor of a backbone."""

    @abstractmethod
    def build_train_dataset(self, arguments: ArgumentsT, files: Any, processor: Any, seed: int) -> Dataset:
        """Return the data set to train on, augmented as the method has it."""


class ImageClassificationRecipe(ClassificationRecipe[ArgumentsT]):
    """How an image classifier is trained."""

    task = "image-classification"

    @abstractmethod
    def build_model(
        self, arguments: ArgumentsT, backbone: str, class_names: Sequence[str], processor: Any
    ) -> PreTrainedModel:
        """Return a new, untrained model."""

    @abstractmethod
    def build_test_dataset(self, files: Any, processor: Any) -> Dataset:
        """Return the data set to test on."""


class VideoClassificationRecipe(ClassificationRecipe[ArgumentsT]):
    """How a video classifier is trained."""

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
        """Return the classifier by hand-written prompts that the method is compared with."""

    def finish_train_dataset(self, dataset: Dataset, seed: int) -> Dataset:
        """Return the training data set, or the features of its frames, with what is sampled for each item."""
        return dataset

    @abstractmethod
    def build_test_dataset(self, arguments: ArgumentsT, files: Any, processor: Any) -> Any:
        """Return the data set to test on; it has the `labels` of all items."""


class VisualGroundingRecipe(Recipe[ArgumentsT]):
    """How a method that grounds phrases is trained.

    Attributes:
        default_shots: expressions to train on in all, where no flag says otherwise; 0: all.
    """

    task = "visual-grounding"
    default_shots: ClassVar[int] = 16

    def argument_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return defaults of the method's flags that depend on flags that are given."""
        return {}

    @abstractmethod
    def training_defaults(self, shots: int) -> dict[str, Any]:
        """Return the keyword arguments for `TrainingArguments`."""

    @abstractmethod
    def build_processor(self, arguments: ArgumentsT, backbone: str) -> Any:
        """Return the method's processor over a backbone."""

    @abstractmethod
    def build_model(self, arguments: ArgumentsT, backbone: str, processor: Any) -> PreTrainedModel:
        """Return a new, untrained model."""

    @abstractmethod
    def build_train_dataset(self, arguments: ArgumentsT, expressions: Any, seed: int) -> Dataset:
        """Return the data set to train on."""


class TextGenerationRecipe(Recipe[ArgumentsT]):
    """How a method that generates text about images is trained.

    Attributes:
        vision_model: Hub id of the image model where no flag names one.
        decoding: keyword arguments for `generate` where no flag says otherwise.
        testing_arguments: which of the method's flags say how it is tested; `hf-prompt evaluate` has them, too.
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
        """Return the method's processor over its backbones."""

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
        """Return a new, untrained model; `kwargs` load the language model."""

    @abstractmethod
    def read_records(self, source: str, split: str, images: str | None, annotations: str | None) -> Records[Any]:
        """Read the records of a source.

        Args:
            source: a file or a 🤗 Datasets data set.
            split: of a data set.
            images: folder of the images.
            annotations: file of the answers, for VQA's questions.
        """

    @abstractmethod
    def training_examples(self, arguments: ArgumentsT, records: Records[Any]) -> list[Any]:
        """Return what to train on."""

    @abstractmethod
    def test_examples(
        self, arguments: ArgumentsT, records: Records[Any], shots_from: Records[Any] | None
    ) -> list[Any]:
        """Return what to test on; `shots_from` holds examples to show before each question."""


class VideoTextRecipe(Recipe[ArgumentsT]):
    """How a method over videos with texts is trained."""

    task = "video-text"

    @abstractmethod
    def argument_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return defaults of the method's flags that depend on flags that are given."""

    @abstractmethod
    def training_defaults(self, task: str = "retrieval", dataset: str | None = None) -> dict[str, Any]:
        """Return the keyword arguments for `TrainingArguments`."""

    @abstractmethod
    def build_model(
        self, arguments: ArgumentsT, data: Any, texts: VideoTexts[Any], answers: Sequence[str] | None
    ) -> PreTrainedModel:
        """Return the model to train, with its processor in `.processor`.

        Args:
            arguments: the method's own flags.
            data: the task's flags, which name the weights to start from.
            texts: the training set.
            answers: the answers to choose from; `None` unless questions are answered.

        Raises:
            OSError, TypeError, ValueError: if the weights are missing, of another kind, or do not fit.
        """

    @abstractmethod
    def build_train_dataset(self, arguments: ArgumentsT, texts: VideoTexts[Any], seed: int) -> Dataset:
        """Return the data set to train on, augmented as the method has it."""

    @abstractmethod
    def build_collator(
        self, arguments: ArgumentsT, model: Any, texts: VideoTexts[Any], answers: Sequence[str] | None
    ) -> Callable[[list[dict[str, Any]]], Mapping[str, Any]]:
        """Return what makes the model's inputs of items of `build_train_dataset`; arguments as for `build_model`."""

    def forward_arguments(self, arguments: ArgumentsT) -> dict[str, Any]:
        """Return the keyword arguments that the model gets in training with each batch."""
        return {}

    def trained_model(self, arguments: ArgumentsT, model: Any) -> PreTrainedModel:
        """Return the trained model, or the part of it, that is saved."""
        return model
