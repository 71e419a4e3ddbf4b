"""ALPRO model configuration."""

from collections.abc import Sequence
from typing import ClassVar

from huggingface_hub.dataclasses import strict
from transformers import BertConfig, PreTrainedConfig, TimesformerConfig
from transformers.configuration_utils import SubConfigSpec

from hf_prompt_models.configuration_utils import PromptConfig


@strict
class AlproVisionConfig(TimesformerConfig):
    r"""Configuration of ALPRO's video tower: a TimeSformer with divided space-time attention.

    num_frames (`int`, *optional*, defaults to 4):
        Number of frames of a video, each with a time embedding. The tower takes exactly this number.
    drop_path_rate (`float`, *optional*, defaults to 0.1):
        Probability of skipping the last layer in training; it rises linearly from 0 in the first layer.

    Example:
        ```python
        >>> from hf_prompt_models import AlproVisionConfig
        >>> config = AlproVisionConfig(image_size=48, patch_size=12, num_frames=8)
        >>> config.patches_per_side, config.num_frames
        (4, 8)

        ```
    """

    model_type = "alpro_vision"

    image_size: int = 224
    patch_size: int = 16
    num_frames: int = 4
    drop_path_rate: float | int = 0.1

    def validate_architecture(self) -> None:
        """Check the attention type and the sizes, as part of the `@strict` validation."""
        if self.attention_type != "divided_space_time":
            raise ValueError(
                "The video encoder of ALPRO uses attention_type 'divided_space_time', got "
                f"{self.attention_type!r}. Remove attention_type."
            )
        if self.num_frames < 1:
            raise ValueError(f"Expected num_frames >= 1, got {self.num_frames}.")
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}. Choose "
                "sizes that divide evenly."
            )

    @property
    def patches_per_side(self) -> int:
        """Number of patches in a row or a column of a frame."""
        return self.image_size // self.patch_size


@strict
class AlproConfig(PromptConfig):
    r"""Configuration of ALPRO's models (Align and Prompt, arXiv 2112.09583).

    vision_config (`AlproVisionConfig` or `dict`, *optional*):
        The video tower's configuration, with the number of frames.
    text_config (`BertConfig` or `dict`, *optional*):
        Configuration of the BERT: its first layers encode the text, the others fuse text and video.
    fusion_layer (`int`, *optional*, defaults to 6):
        Index of the first layer of BERT that reads text and video.
    projection_dim (`int`, *optional*, defaults to 256):
        Size of the features by which videos and texts are compared.
    num_entities (`int`, *optional*, defaults to 1000):
        Number of entities of the prompter. With 0, the model has no prompter, as when the prompter itself is trained.
    entities (`list[str]`, *optional*):
        Names of the entities, each listed once.
    pem_threshold (`float`, *optional*, defaults to 0.2):
        Crops are left out of the loss if the prompter gives no entity at least this probability (paper, 4.1).
    legacy_pem_threshold (`bool`, *optional*, defaults to `False`):
        Whether to leave out the crops whose likeliest entity is the first of the list instead, as the released code
        does. Use it to resume training that was started like this.
    initializer_range (`float`, *optional*, defaults to 0.02):
        Standard deviation of the normal distribution that initialises new weights.
    tie_word_embeddings (`bool`, *optional*, defaults to `True`):
        Whether the word embeddings are also the output layer of the masked language model.
    peft_adapters (`dict`, *optional*):
        In a saved folder, the names of the PEFT adapters (`model.add_adapter`) next to the weights, and whether each
        is in use.

    In [`AlproForVideoQuestionAnswering`], `id2label` contains the answers.

    Example:
        ```python
        >>> from hf_prompt_models import AlproConfig
        >>> config = AlproConfig(vision_config={"num_frames": 8}, num_entities=2, entities=["key", "tree"])
        >>> config.num_frames, config.entities
        (8, ['key', 'tree'])

        ```
    """

    task = "video-text"
    model_type = "alpro"
    sub_configs_defaults: ClassVar[dict] = {
        "vision_config": SubConfigSpec(AlproVisionConfig),
        "text_config": SubConfigSpec(BertConfig),
    }

    keys_to_ignore_at_inference: ClassVar[list[str]] = [
        *("vtc_loss", "vtm_loss", "mlm_loss", "pem_loss"),
        *("video_embeds", "text_embeds", "entity_logits", "entity_labels"),
    ]

    vision_config: PreTrainedConfig | dict | None = None
    text_config: PreTrainedConfig | dict | None = None
    fusion_layer: int = 6
    projection_dim: int = 256
    num_entities: int = 1000
    entities: list[str] | None = None
    pem_threshold: float = 0.2
    legacy_pem_threshold: bool = False
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True
    peft_adapters: dict[str, bool] | None = None

    @property
    def num_frames(self) -> int:
        """Number of frames of a video: `vision_config.num_frames`."""
        vision: PreTrainedConfig = self.vision_config
        return vision.num_frames

    def validate_architecture(self) -> None:
        """Check the configuration, as part of the `@strict` validation."""
        text: PreTrainedConfig = self.text_config
        vision: PreTrainedConfig = self.vision_config
        if text.hidden_size != vision.hidden_size:
            raise ValueError(
                f"Text and video form one sequence, but their hidden sizes are {text.hidden_size} and "
                f"{vision.hidden_size}. Set the same hidden_size in text_config and vision_config."
            )
        if not 0 < self.fusion_layer < text.num_hidden_layers:
            raise ValueError(
                f"Expected fusion_layer from 1 to {text.num_hidden_layers - 1} for BERT with "
                f"{text.num_hidden_layers} layers, got {self.fusion_layer}."
            )
        if text.is_decoder:
            raise ValueError(
                "The text encoder of ALPRO is bidirectional, but text_config sets is_decoder. Remove is_decoder."
            )
        if not 0 <= self.pem_threshold < 1:
            raise ValueError(f"Expected pem_threshold to be a probability below 1, got {self.pem_threshold}.")
        if self.num_entities < 0:
            raise ValueError(f"Expected num_entities >= 0, got {self.num_entities}.")
        if self.entities is not None:
            check_entities(self.entities)
            if len(self.entities) != self.num_entities:
                raise ValueError(
                    f"There are {len(self.entities)} names in entities, but num_entities={self.num_entities}. "
                    "Pass one name per entity."
                )


def check_entities(entities: Sequence[str]) -> list[str]:
    """Return the names of entities without surrounding spaces.

    Raises:
        ValueError: if the list or a name is empty, or a name is listed twice, ignoring case.
    """
    names = [name.strip() for name in entities]
    if not names:
        raise ValueError("The list of entities is empty. Pass at least one entity.")
    first: dict[str, int] = {}
    for place, name in enumerate(names):
        if not name:
            raise ValueError(f"Entity {place} has no name. Write one.")
        before = first.setdefault(name.casefold(), place)
        if before != place:
            raise ValueError(
                f"Entity {place}, {name!r}, has the same name as entity {before}, so the prompter could not "
                "tell them apart. Keep only one of them."
            )
    return names


__all__ = ["AlproConfig", "AlproVisionConfig"]
