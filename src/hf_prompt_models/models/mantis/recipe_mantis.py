"""Recipe of MAnTiS: its arguments, the settings, and its data."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

from hf_prompt_models.data.text.facad import read_facad
from hf_prompt_models.data.text.products import Product, read_products
from hf_prompt_models.data.text.records import Records
from hf_prompt_models.models.mantis.modeling_mantis import MantisForConditionalGeneration
from hf_prompt_models.models.mantis.processing_mantis import MantisProcessor
from hf_prompt_models.prefix_lm.examples import GenerationExample
from hf_prompt_models.recipe_utils import TextGenerationRecipe


@dataclass
class Arguments:
    """Arguments of MAnTiS: the model, and which parts of it are trained."""

    _argument_group_name = "MAnTiS: the model, what of it is trained"

    num_image_tokens: int = field(
        default=1,
        metadata={
            "help": "Number of image tokens, from 1 to 9: the cells that image features are pooled to (MMBT's "
            "grid). 1 pools the complete image."
        },
    )
    condition_on: str = field(
        default="both",
        metadata={
            "help": "Inputs that the text is generated from: images and title, or, for ablations, only one of them.",
            "choices": ["both", "images", "title"],
        },
    )
    blind: bool = field(default=False, metadata={"help": "Train and generate with black images: the blind baseline."})
    freeze_vision: bool = field(default=False, metadata={"help": "Do not train the image model."})
    freeze_language_model: bool = field(
        default=False, metadata={"help": "Do not train the language model; checkpoints then leave it out."}
    )
    vision_rate_factor: float = field(
        default=0.2, metadata={"help": "Ratio of the image model's learning rate to --learning_rate (0.2, ours)."}
    )
    projection_rate_factor: float = field(
        default=2.0,
        metadata={
            "help": "Ratio of the learning rate of the image projection and segment vectors to --learning_rate "
            "(2, ours)."
        },
    )


def _example(product: Product) -> GenerationExample:
    return GenerationExample(
        product.id, product.images, product.title, product.description, references=(product.description,)
    )


class MantisRecipe(TextGenerationRecipe[Arguments]):
    """Train MAnTiS: product descriptions from images and titles.

    The paper's settings could not be accessed and no code was released (arXiv 2109.01229). Settings that the help
    calls "ours" are choices of this package.
    """

    arguments_class = Arguments
    title = "MAnTiS"
    vision_model = MantisProcessor.default_vision_model
    decoding: ClassVar = {"num_beams": 4, "max_new_tokens": 64}
    use_case = "generates product descriptions from images and titles"
    source = "hf-prompt"
    examples = (
        "--language_model gpt2 --train_file products.jsonl --output_dir mine",
        "--language_model gpt2 --train_file products.jsonl --lora_r 8 --freeze_vision true --output_dir mine",
        "--language_model playground --vision_model playground --train_file products.jsonl --test_file others.jsonl "
        "--output_dir mine",
    )

    def training_defaults(self) -> dict[str, Any]:
        """Return the `TrainingArguments`, which are choices of this package.

        AdamW with a learning rate of 5e-5 for the language model, 5 % of warm-up, then linear decay.
        """
        return {
            "optim": "adamw_torch",
            "learning_rate": 5e-5,
            "weight_decay": 0.01,
            "max_grad_norm": 1.0,
            "num_train_epochs": 5,
            "warmup_steps": 0.05,
            "lr_scheduler_type": "linear",
            "per_device_train_batch_size": 16,
            "per_device_eval_batch_size": 16,
        }

    def learning_rate_factors(self, arguments: Arguments) -> dict[str, float]:
        """Return the factors that multiply the learning rate, keyed by the beginning of parameter names."""
        return {
            "vision_model.": arguments.vision_rate_factor,
            "image_projection.": arguments.projection_rate_factor,
            "segments.": arguments.projection_rate_factor,
        }

    def build_processor(self, arguments: Arguments, language_model: str, vision_model: str) -> MantisProcessor:
        """Return the method's processor for its backbones."""
        processor = MantisProcessor.from_backbone(language_model, vision_model, arguments.num_image_tokens)
        processor.blind = arguments.blind
        processor.condition_on = cast(Literal["both", "images", "title"], arguments.condition_on)
        return processor

    def build_model(
        self,
        arguments: Arguments,
        language_model: str,
        vision_model: str,
        processor: MantisProcessor,
        freeze_language_model: bool = False,
        **kwargs: Any,
    ) -> MantisForConditionalGeneration:
        """Return a new model; `kwargs` are passed on when the language model is loaded."""
        model = MantisForConditionalGeneration.from_backbone(
            language_model,
            vision_model,
            num_image_tokens=arguments.num_image_tokens,
            freeze_vision=arguments.freeze_vision,
            freeze_text=arguments.freeze_language_model or freeze_language_model,
            **kwargs,
        )
        model.processor = processor
        return model

    def read_records(self, source: str, split: str, images: str | None, annotations: str | None) -> Records[Product]:
        """Read the products of a JSONL file or dataset (`read_products`), or of FACAD's JSON list (`read_facad`).

        Args:
            source: A file or a 🤗 Datasets dataset.
            split: Split of a dataset.
            images: Folder of FACAD's images. Default: the folder of the list.
            annotations: Must be `None`.

        Raises:
            ValueError: For other data.
        """
        if annotations is not None:
            raise ValueError(
                "Annotations are for the questions of VQA, but products contain their descriptions. Remove the "
                "annotations."
            )
        if Path(source).suffix.lower() == ".json":
            return read_facad(source, Path(source).parent if images is None else images)
        if images is not None:
            raise ValueError(
                f"A folder of images is only used with the JSON list of FACAD, but {source!r} names its own "
                "images. Remove the folder."
            )
        return read_products(source, split)

    def training_examples(self, arguments: Arguments, records: Records[Product]) -> list[GenerationExample]:
        """Return an example for each product."""
        return [_example(product) for product in records]

    def test_examples(
        self, arguments: Arguments, records: Records[Product], shots_from: Records[Product] | None
    ) -> list[GenerationExample]:
        """Return an example for each product.

        Raises:
            ValueError: If `shots_from` is given.
        """
        if shots_from is not None:
            raise ValueError(f"{self.title} does not use examples in the prompt. Remove --shots_file.")
        return [_example(product) for product in records]


RECIPE = MantisRecipe()
training_defaults = RECIPE.training_defaults
"""Name documented in version 0.1."""
