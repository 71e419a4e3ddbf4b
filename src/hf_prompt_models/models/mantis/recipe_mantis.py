"""Recipe of Mantis."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

from hf_prompt_models.data.text.facad import read_facad
from hf_prompt_models.data.text.products import Product, read_products
from hf_prompt_models.data.text.records import Records
from hf_prompt_models.models.mantis.modeling_mantis import MantisForConditionalGeneration
from hf_prompt_models.models.mantis.processing_mantis import MantisProcessor
from hf_prompt_models.prefix_lm.examples import WritingExample
from hf_prompt_models.recipe_utils import TextGenerationRecipe


@dataclass
class Arguments:
    """The model, and what of it is trained."""

    _argument_group_name = "MAnTiS: the model, what of it is trained"

    num_image_tokens: int = field(
        default=1,
        metadata={
            "help": "Cells that a picture is pooled to, 1 (all of it) to 9, each a token's place (MMBT's grid)."
        },
    )
    condition_on: str = field(
        default="both",
        metadata={
            "help": "What the text is written from; for ablations the images alone, or the title alone.",
            "choices": ["both", "images", "title"],
        },
    )
    blind: bool = field(default=False, metadata={"help": "Learn and write with black pictures: the blind baseline."})
    freeze_vision: bool = field(default=False, metadata={"help": "Keep the vision backbone as it is."})
    freeze_language_model: bool = field(
        default=False, metadata={"help": "Keep the language model as it is; checkpoints then leave it out."}
    )
    vision_rate_factor: float = field(
        default=0.2, metadata={"help": "Learning rate of the vision backbone over --learning_rate (0.2, ours)."}
    )
    projection_rate_factor: float = field(
        default=2.0,
        metadata={"help": "Learning rate of image projection and segment vectors over --learning_rate (2, ours)."},
    )


def _example(product: Product) -> WritingExample:
    return WritingExample(
        product.id, product.images, product.title, product.description, references=(product.description,)
    )


class MantisRecipe(TextGenerationRecipe[Arguments]):
    """Train MAnTiS: product descriptions from images and titles.

    The paper's settings could not be read and no code was released (arXiv 2109.01229): what the help calls "ours" is
    this package's choice.
    """

    arguments_class = Arguments
    title = "MAnTiS"
    vision_model = MantisProcessor.default_vision_model
    decoding: ClassVar = {"num_beams": 4, "max_new_tokens": 64}
    use_case = "descriptions of products, from their images and titles"
    source = "hf-prompt"
    examples = (
        "--language_model gpt2 --train_file products.jsonl --output_dir mine",
        "--language_model gpt2 --train_file products.jsonl --lora_r 8 --freeze_vision true --output_dir mine",
        "--language_model playground --vision_model playground --train_file products.jsonl --test_file others.jsonl "
        "--output_dir mine",
    )

    def training_defaults(self) -> dict[str, Any]:
        """`TrainingArguments`, all ours: AdamW at 5e-5 for the language model, 5 % of warmup, then linear."""
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
        """By the beginning of parameters' names, what to multiply the learning rate with."""
        return {
            "vision_model.": arguments.vision_rate_factor,
            "image_projection.": arguments.projection_rate_factor,
            "segments.": arguments.projection_rate_factor,
        }

    def build_processor(self, arguments: Arguments, language_model: str, vision_model: str) -> MantisProcessor:
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
        """A new model; `kwargs` load the language model."""
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
        """Products of a JSONL file or a `datasets` data set (`read_products`), or of FACAD's JSON list (`read_facad`).

        Raises:
            ValueError: for other data.
        """
        if annotations is not None:
            raise ValueError("Annotations are of VQA's questions; products bring their descriptions: leave them out.")
        if Path(source).suffix.lower() == ".json":
            return read_facad(source, Path(source).parent if images is None else images)
        if images is not None:
            raise ValueError(
                f"A folder of pictures goes with FACAD's JSON list; {source!r} names its own: leave it out."
            )
        return read_products(source, split)

    def training_examples(self, arguments: Arguments, records: Records[Product]) -> list[WritingExample]:
        return [_example(product) for product in records]

    def test_examples(
        self, arguments: Arguments, records: Records[Product], shots_from: Records[Product] | None
    ) -> list[WritingExample]:
        if shots_from is not None:
            raise ValueError(f"{self.title} is shown no examples before a product: leave --shots_file out.")
        return [_example(product) for product in records]


RECIPE = MantisRecipe()
training_defaults = RECIPE.training_defaults
"""The name that 0.1's documentation has."""
