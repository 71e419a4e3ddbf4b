"""Where ALPRO's training begins: a saved model of any of its classes, a ViT and a BERT, or small random towers."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from transformers import BertTokenizer, PreTrainedConfig

from hf_prompt_models.backbones.packaged import ALPRO_DIR, locate_backbone
from hf_prompt_models.configuration_utils import class_fields
from hf_prompt_models.models.alpro.configuration_alpro import AlproConfig
from hf_prompt_models.models.alpro.image_processing_alpro import AlproImageProcessor
from hf_prompt_models.models.alpro.modeling_alpro import AlproModel, AlproPreTrainedModel
from hf_prompt_models.models.alpro.modeling_alpro_prompter import IMAGE_TEMPLATES, VIDEO_TEMPLATES, AlproPrompter
from hf_prompt_models.models.alpro.processing_alpro import AlproProcessor


Model = TypeVar("Model", bound=AlproPreTrainedModel)
MIN_COUNT = 2
HEAD_WIDTH = 32


def load_start(
    model_class: type[Model], directory: str, num_frames: int, max_text_length: int, **fields: Any
) -> Model:
    """A saved ALPRO of whatever class as one of another class, whose heads are new where it has none.

    Args:
        model_class: what is wanted.
        directory: folder or Hub id.
        num_frames: of a video; time embeddings are resized where it had another number.
        max_text_length: of its processor.
        fields: of the configuration, to change; `answers`, a list, changes what questions are answered with.

    Raises:
        OSError: if there is no such model.
        TypeError: if it is something else than an ALPRO.
        ValueError: if it lacks more than heads.
    """
    return model_class.from_backbone(directory, num_frames, max_text_length, **fields)


def load_prompter(directory: str, entities: Sequence[str] | None, num_frames: int) -> AlproPrompter:
    """A saved prompter, or one made of a saved ALPRO's towers for a list of entities.

    Raises:
        ValueError: if no entities are given and it has none of its own; for entities that are there twice.
        OSError, TypeError: as `load_start`.
    """
    directory = str(locate_backbone(directory, ALPRO_DIR))
    found, _ = PreTrainedConfig.get_config_dict(directory)
    if entities is None:
        if found.get("architectures") != [AlproPrompter.__name__]:
            raise ValueError(f"{directory} is no prompter with entities of its own: name them with --entities FILE.")
        prompter = AlproPrompter.from_pretrained(directory)
        if prompter.config.num_frames != num_frames:
            prompter.resize_time_embeddings(num_frames)
        return prompter
    model = load_start(AlproModel, directory, num_frames, 30)
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
    """A small ALPRO with random weights that knows the words of some texts, for where there is nothing to begin from.

    Args:
        model_class: what is wanted.
        texts: whose words it knows whole, if they are there twice; it spells the others.
        num_frames, max_text_length: of a video and its text.
        image_size, patch_size: of the frames.
        hidden_size: a multiple of 32, the width of a head.
        num_layers: of the video tower, and of the BERT, whose second half reads both.
        fields: others of the configuration, and `answers`.
    """
    if hidden_size % HEAD_WIDTH or hidden_size < HEAD_WIDTH:
        raise ValueError(f"hidden_size is a multiple of {HEAD_WIDTH}; got {hidden_size}.")
    if num_layers < 2:
        raise ValueError(f"num_layers is at least 2; got {num_layers}.")
    tokenizer = word_tokenizer(texts, max_text_length)
    answers = fields.pop("answers", None)
    if answers is not None:
        fields |= class_fields(answers)
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
    """BERT's tokenizer over the words that texts have at least twice, and the letters of all others."""
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
