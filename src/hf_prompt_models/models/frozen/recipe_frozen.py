"""Recipe of Frozen: its arguments, the paper's settings, and its data."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from hf_prompt_models.data.text.captions import Caption, read_captions
from hf_prompt_models.data.text.few_shot_episodes import Episode, read_episodes
from hf_prompt_models.data.text.records import MAX_BYTES, Records
from hf_prompt_models.data.text.visual_questions import INDUCTION, VisualQuestion, read_visual_questions, with_shots
from hf_prompt_models.models.frozen.few_shot_frozen import build_fewshot_prompt
from hf_prompt_models.models.frozen.modeling_frozen import FrozenForConditionalGeneration
from hf_prompt_models.models.frozen.processing_frozen import FrozenProcessor
from hf_prompt_models.prefix_lm.examples import GenerationExample, Scoring
from hf_prompt_models.recipe_utils import TextGenerationRecipe
from hf_prompt_models.utils.files import read_json


@dataclass
class Arguments:
    """Arguments of Frozen: the image model, and how questions are asked."""

    _argument_group_name = "Frozen: the vision side, how questions are asked"

    num_image_tokens: int = field(
        default=2,
        metadata={
            "help": "Number of embedding vectors per image; the paper found 2 best among 1, 2 and 4 (section 3)."
        },
    )
    vision_from_scratch: bool = field(
        default=False,
        metadata={
            "help": "Initialise the image model randomly, as the paper does with 3 million captions. Default: "
            "pretrained weights."
        },
    )
    freeze_vision: bool = field(default=False, metadata={"help": "Train only the projection of image features."})
    blind: bool = field(
        default=False, metadata={"help": "Train and test with black images: the paper's blind baseline."}
    )
    induction: str | None = field(
        default=None,
        metadata={"help": f'Words before the first image (section 4.2). Default: "{INDUCTION}" for VQA, else none.'},
    )
    repeats: int = field(
        default=0, metadata={"help": "Number of times that the examples are repeated in the prompt (section 4.2)."}
    )
    question: str | None = field(
        default=None,
        metadata={"help": 'Question that replaces the questions of the data, such as "What is this? This is a".'},
    )
    shots: int = field(
        default=0, metadata={"help": "VQA: number of examples before each question; the paper uses 0, 1 and 4."}
    )


def _caption_example(record: Caption) -> GenerationExample:
    return GenerationExample(record.id, record.images, "", record.caption, references=(record.caption,))


def _captions_by_image(records: Sequence[Caption]) -> list[GenerationExample]:
    by_image: dict[str, list[Caption]] = {}
    for record in records:
        by_image.setdefault(record.id, []).append(record)
    return [
        replace(_caption_example(first), references=tuple(each.caption for each in (first, *others)))
        for first, *others in by_image.values()
    ]


def _question_example(record: VisualQuestion) -> GenerationExample:
    return GenerationExample(record.id, record.images, record.prompt, record.answer, record.answers, Scoring.VQA)


def _episode_example(arguments: Arguments, record: Episode, induction: str) -> GenerationExample:
    *shots, (query, question) = zip(record.images, record.texts, strict=True)
    question = question if arguments.question is None else arguments.question
    prompt, images = build_fewshot_prompt(induction, shots, (query, question), arguments.repeats)
    return GenerationExample(record.id, tuple(images), prompt, record.answer, (record.answer,), Scoring.ANSWER)


class FrozenRecipe(TextGenerationRecipe[Arguments]):
    """Train and test Frozen with the paper's settings (arXiv 2106.13884)."""

    arguments_class = Arguments
    title = "Frozen"
    vision_model = FrozenProcessor.default_vision_model
    decoding: ClassVar = {"max_new_tokens": 32}  # greedy decoding (section 4)
    testing_arguments = ("induction", "repeats", "question", "shots")
    use_case = (
        "generates captions and answers about images, with examples in the prompt; the language model stays frozen"
    )
    source = "Frozen recipe"
    sources: ClassVar = {"num_image_tokens": "the Frozen paper, section 3"}
    examples = (
        "--language_model gpt2 --train_file captions.jsonl --output_dir mine",
        "--language_model gpt2 --train_file captions.jsonl --test_file episodes.json --output_dir mine",
    )

    def training_defaults(self) -> dict[str, Any]:
        """Return the paper's settings (appendix).

        Adam with betas of (0.9, 0.95), a constant learning rate of 3e-4, batches of 128, and one epoch.
        """
        return {
            "optim": "adamw_torch",
            "learning_rate": 3e-4,
            "adam_beta1": 0.9,
            "adam_beta2": 0.95,
            "weight_decay": 0.0,
            "num_train_epochs": 1,
            "lr_scheduler_type": "constant",
            "per_device_train_batch_size": 128,
            "per_device_eval_batch_size": 32,
        }

    def build_processor(self, arguments: Arguments, language_model: str, vision_model: str) -> FrozenProcessor:
        """Return the method's processor for its backbones."""
        processor = FrozenProcessor.from_backbone(language_model, vision_model, arguments.num_image_tokens)
        processor.blind = arguments.blind
        return processor

    def build_model(
        self,
        arguments: Arguments,
        language_model: str,
        vision_model: str,
        processor: FrozenProcessor,
        freeze_language_model: bool = True,
        **kwargs: Any,
    ) -> FrozenForConditionalGeneration:
        """Return a new model, whose language model is always frozen; `kwargs` are passed on when it is loaded."""
        model = FrozenForConditionalGeneration.from_backbone(
            language_model,
            vision_model,
            num_image_tokens=arguments.num_image_tokens,
            vision_from_scratch=arguments.vision_from_scratch,
            freeze_vision=arguments.freeze_vision,
            **kwargs,
        )
        model.processor = processor
        return model

    def read_records(self, source: str, split: str, images: str | None, annotations: str | None) -> Records[Any]:
        """Read captions, VQA's questions, or few-shot episodes; the content of a JSON file decides which.

        Args:
            source: As for `read_captions`, `read_visual_questions` or `read_episodes`, or a 🤗 Datasets dataset.
            split: Split of a dataset.
            images: Folder of the images.
            annotations: File with the answers to VQA's questions.

        Raises:
            ValueError: For other data.
        """
        path = Path(source)
        value = read_json(path, MAX_BYTES, "lists") if path.is_file() and path.suffix.lower() == ".json" else None
        if isinstance(value, dict) and "questions" in value:
            return read_visual_questions(path, annotations, path.parent if images is None else images)
        if annotations is not None:
            raise ValueError(
                f"Annotations are for the questions of VQA, but {source!r} contains none. Remove the annotations."
            )
        if isinstance(value, list) and value and isinstance(value[0], dict) and "question_image" in value[0]:
            if images is not None:
                raise ValueError(f"The images of {source!r} are next to it. Remove the folder of images.")
            return read_episodes(path)
        return read_captions(source, split, images)

    def training_examples(self, arguments: Arguments, records: Records[Any]) -> list[GenerationExample]:
        """Return images with captions, or with questions and their most frequent answers (the paper's Frozen-VQA).

        Args:
            arguments: The method's own flags.
            records: As `read_records` returns them.

        Raises:
            ValueError: For few-shot episodes, which are only for testing.
        """
        if any(isinstance(record, Episode) for record in records):
            raise ValueError(
                f"{records.source} contains episodes, which are for testing. Train on captions or questions."
            )
        return [
            _caption_example(record) if isinstance(record, Caption) else _question_example(record)
            for record in records
        ]

    def test_examples(
        self, arguments: Arguments, records: Records[Any], shots_from: Records[Any] | None
    ) -> list[GenerationExample]:
        """Return one example per captioned image, question, or episode, with the shots before each question.

        Args:
            arguments: The method's own flags.
            records: As `read_records` returns them.
            shots_from: VQA: questions to sample `arguments.shots` examples from.

        Raises:
            ValueError: If examples are requested for questions without `shots_from`.
        """
        if all(isinstance(record, Caption) for record in records):
            return _captions_by_image(records.records)
        if all(isinstance(record, Episode) for record in records):
            return [_episode_example(arguments, record, arguments.induction or "") for record in records]
        if arguments.shots and shots_from is None:
            raise ValueError(
                "The --shots examples before a question are sampled from questions. Pass these with --shots_file."
            )
        induction = INDUCTION if arguments.induction is None else arguments.induction
        return [
            replace(
                _episode_example(
                    arguments, with_shots(record, shots_from or records, arguments.shots, seed=0), induction
                ),
                references=record.answers,
                scoring=Scoring.VQA,
            )
            for record in records
        ]


RECIPE = FrozenRecipe()
