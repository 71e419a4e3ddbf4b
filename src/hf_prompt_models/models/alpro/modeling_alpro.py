"""ALPRO: videos and texts aligned by a contrastive loss and fused by a BERT (Align and Prompt, arXiv 2112.09583)."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling
from transformers.models.bert.modeling_bert import BertLMPredictionHead
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, logging
from transformers.utils.generic import TransformersKwargs

from hf_prompt_models.backbones.packaged import ALPRO_DIR, locate_backbone
from hf_prompt_models.configuration_utils import class_fields
from hf_prompt_models.hub.reachable import check_reachable
from hf_prompt_models.modeling_utils import CompletePreTrainedModel, at_least_float32
from hf_prompt_models.models.alpro.configuration_alpro import AlproConfig, AlproVisionConfig
from hf_prompt_models.models.alpro.image_processing_alpro import AlproImageProcessor
from hf_prompt_models.models.alpro.modeling_alpro_towers import AlproTextModel, AlproVideoModel, read_vit
from hf_prompt_models.models.alpro.processing_alpro import AlproProcessor
from hf_prompt_models.utils.forward_options import captured, forward_options


INITIAL_TEMPERATURE = 0.07
TEMPERATURE_BOUNDS = (0.001, 0.5)
NEW_HEADS = ("vtm_head.", "mlm_head.", "pem_head.", "classifier.", "prompter.")
FEATURES_ALONE = {"output_hidden_states": False, "output_attentions": False, "return_dict": True}
"""Options for `get_..._features` in a `forward` that returns the hidden states of the fusion layers."""

Model = TypeVar("Model", bound="AlproPreTrainedModel")


@dataclass
class AlproModelOutput(ModelOutput):
    """Output of [`AlproModel`].

    Args:
        last_hidden_state (`torch.FloatTensor` of shape `(batch, length + video tokens, width)`):
            Text and video after the fusion layers. The first token is the text's `[CLS]`, which represents the pair.
        video_embeds, text_embeds (`torch.FloatTensor` of shape `(batch, projection_dim)`):
            L2-normalised features.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*): of the fusion layers, which read text and video
            together, with `output_hidden_states=True`: what goes in, then the output of each layer, `(batch, length +
            video tokens, width)`. `get_video_features` and `get_text_features` return those of the towers.
        attentions (`tuple(torch.FloatTensor)`, *optional*): of the fusion layers, with `output_attentions=True`. They
            need `attn_implementation="eager"`.
    """

    last_hidden_state: torch.Tensor | None = None
    video_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class AlproPreTrainedModel(CompletePreTrainedModel):
    """Base of the ALPRO models. All weights are trained, so checkpoints contain all of them."""

    config: AlproConfig
    base_model_prefix = "alpro"
    main_input_name = "pixel_values"
    input_modalities = ("video", "text")
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = [
        "TimesformerLayer",
        "BertLayer",
        "TimesformerEmbeddings",
        "BertEmbeddings",
    ]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    alpro: PreTrainedModel

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, AlproModel):
            init.constant_(module.temperature, INITIAL_TEMPERATURE)
        elif isinstance(module, BertLMPredictionHead):
            init.zeros_(module.bias)

    def freeze(self) -> None:
        """Disable gradients of the parts that are not trained: the prompter, if there is one."""

    def _freeze_loaded(self) -> None:
        self.freeze()

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike | None, *args: Any, **kwargs: Any
    ) -> Any:
        """Load a model as in transformers; "playground" is the tiny ALPRO in this package."""
        path = pretrained_model_name_or_path
        path = None if path is None else locate_backbone(path, ALPRO_DIR)
        return super().from_pretrained(path, *args, **kwargs)

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        num_frames: int | None = None,
        max_text_length: int | None = None,
        answers: Sequence[str] | None = None,
        **fields: Any,
    ) -> Self:
        """Load a saved ALPRO of any class as this class. Heads that it lacks are newly initialised.

        Args:
            name_or_path: Hub id or folder; "playground" is the tiny ALPRO in this package.
            num_frames: number of frames of a video. Time embeddings are resized if it differs from the saved model's.
                Default: that of the saved model.
            max_text_length: number of tokens at which the processor truncates texts. Default: that of the saved model.
            answers: the answers to choose from. Default: those of the saved model.
            fields: fields of [`AlproConfig`] to change.

        Raises:
            OSError: if there is no such model.
            TypeError: if it is not an ALPRO.
            ValueError: if it lacks other weights than those of heads.
        """
        place = str(locate_backbone(name_or_path, ALPRO_DIR))
        check_reachable(place)
        found, _ = PreTrainedConfig.get_config_dict(place)
        if found.get("model_type") != AlproConfig.model_type:
            raise TypeError(
                f"{place!r} is of type {found.get('model_type')!r}. Pass a saved ALPRO model, or a ViT and a "
                "BERT (--vision, --text)."
            )
        config = AlproConfig.from_pretrained(place)
        has_other_answers = answers is not None and list(config.id2label.values()) != list(answers)
        if answers is not None and has_other_answers:
            fields |= class_fields(answers)
        config.update(fields)
        if has_other_answers:
            model = cls(config)
            model.alpro = _load_quietly(AlproModel, place, config)
        else:
            model = _load_quietly(cls, place, config)
        processor = AlproProcessor.from_pretrained(place)
        if num_frames is not None:
            if model.config.num_frames != num_frames:
                model.resize_time_embeddings(num_frames)
            processor.num_frames = num_frames
        if max_text_length is not None:
            processor.max_text_length = max_text_length
        model.processor = processor
        return model

    @classmethod
    def from_towers(
        cls,
        vision: str | os.PathLike,
        text: str | os.PathLike,
        num_frames: int = 4,
        max_text_length: int = 40,
        hub_kwargs: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Self:
        """Create a new model from the weights of a ViT and of a BERT, as in the paper.

        Before training, it reads each frame as the ViT does. Heads and projections are newly initialised.

        Args:
            vision: Hub id or folder of a ViT, such as google/vit-base-patch16-224-in21k.
            text: Hub id or folder of a BERT with its tokenizer, such as google-bert/bert-base-uncased.
            num_frames: number of frames of a video.
            max_text_length: number of tokens at which the processor truncates texts (30 in pre-training).
            hub_kwargs: `token`, `cache_dir`, … for both.
            fields: other fields of [`AlproConfig`]. `fusion_layer` is half of BERT's layers by default.

        Raises:
            OSError: if one of them is missing or damaged.
            TypeError: if `vision` is not a ViT.
            ValueError: if their widths differ.
        """
        options = dict(hub_kwargs or {})
        for tower in (vision, text):
            check_reachable(tower, **options)
        vision_config, weights = read_vit(vision, num_frames, **options)
        bert = BertForMaskedLM.from_pretrained(text, **options)
        fields = {"fusion_layer": bert.config.num_hidden_layers // 2} | fields
        config = AlproConfig(vision_config=vision_config, text_config=bert.config.to_dict(), **fields)
        model = cls(config)
        towers = model if isinstance(model, AlproModel) else model.alpro
        missing = towers.video_model.load_state_dict(weights, strict=False)
        left = [name for name in missing.missing_keys if "temporal_dense" not in name and "time_embed" not in name]
        if left or missing.unexpected_keys:
            raise ValueError(
                f"{str(vision)!r} is not a complete ViT: {[*left, *missing.unexpected_keys][:5]} do not match."
            )
        towers.text_model.load_state_dict(bert.bert.state_dict())
        model._take_language_model(bert)
        side = {"height": vision_config.image_size, "width": vision_config.image_size}
        model.processor = AlproProcessor(
            AlproImageProcessor(size=side),
            AutoTokenizer.from_pretrained(text, **options),
            num_frames=num_frames,
            max_text_length=max_text_length,
            patch_size=vision_config.patch_size,
        )
        return model.eval()

    def _take_language_model(self, bert: BertForMaskedLM) -> None:
        """Load the head of BERT's masked language model, in pre-training."""

    @forward_options
    def get_video_features(
        self, pixel_values: torch.Tensor, **kwargs: Unpack[TransformersKwargs]
    ) -> BaseModelOutputWithPooling:
        """Return the features of videos.

        Args:
            pixel_values: (batch, frames, 3, height, width) as the processor returns them.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.

        Returns:
            `.pooler_output`, (batch, projection_dim), L2-normalised; `.last_hidden_state`, (batch, 1 + patches of a
            frame, width), the input of the fusion layers.

        Raises:
            ValueError: for another shape, or a number of frames that the model has no time embeddings for.
        """
        return self.alpro.get_video_features(pixel_values, return_dict=True, **kwargs)

    @forward_options
    def get_text_features(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Return the features of texts.

        Args:
            input_ids: (batch, length).
            attention_mask: (batch, length), 1 for tokens, 0 for padding. Default: no padding.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.

        Returns:
            `.pooler_output`, (batch, projection_dim), L2-normalised; `.last_hidden_state`, (batch, length, width), the
            input of the fusion layers.

        Raises:
            ValueError: if a text is longer than the model has positions.
        """
        return self.alpro.get_text_features(input_ids, attention_mask, return_dict=True, **kwargs)

    def resize_time_embeddings(self, num_frames: int) -> None:
        """Change the number of frames: each new frame gets the time embedding of the nearest old one.

        From 4 to 8 frames, each embedding is repeated, as in the released code. Fine-tune the model afterwards.
        """
        for module in self.modules():
            if isinstance(module, AlproVideoModel):
                module.resize_time_embeddings(num_frames)
        vision: PreTrainedConfig = self.config.vision_config
        vision.num_frames = num_frames


class AlproModel(AlproPreTrainedModel):
    """The towers, the features that videos and texts are compared by, and the layers that fuse text and video.

    Attributes:
        video_model: a TimeSformer.
        text_model: a BERT whose first layers read text alone and whose other layers read text and video.
        temperature: divisor of similarities in the contrastive loss.

    Example:
        ```python
        >>> import torch
        >>> from hf_prompt_models import AlproModel
        >>> model = AlproModel.from_backbone("playground")
        >>> model.get_video_features(torch.randn(2, 4, 3, 48, 48)).pooler_output.shape
        torch.Size([2, 64])

        ```
    """

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        vision: AlproVisionConfig = config.vision_config
        text: BertConfig = config.text_config
        self.video_model = AlproVideoModel(vision)
        self.text_model = AlproTextModel(text, config.fusion_layer)
        self.video_projection = nn.Linear(vision.hidden_size, config.projection_dim)
        self.text_projection = nn.Linear(text.hidden_size, config.projection_dim)
        self.temperature = nn.Parameter(torch.tensor(INITIAL_TEMPERATURE))
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the word embeddings of the text tower."""
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Set the word embeddings of the text tower."""
        self.text_model.set_input_embeddings(value)

    @forward_options
    def get_video_features(
        self, pixel_values: torch.Tensor, **kwargs: Unpack[TransformersKwargs]
    ) -> BaseModelOutputWithPooling:
        """Return the features of videos, as in [`AlproPreTrainedModel`]."""
        return _with_features(self.video_model(pixel_values, **captured(kwargs)), self.video_projection)

    @forward_options
    def get_text_features(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Return the features of texts, as in [`AlproPreTrainedModel`]."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return _with_features(self.text_model.encode(input_ids, mask, **kwargs), self.text_projection)

    def bounded_temperature(self) -> torch.Tensor:
        """Return the temperature, clamped to its bounds in place."""
        with torch.no_grad():
            self.temperature.clamp_(*TEMPERATURE_BOUNDS)
        return at_least_float32(self.temperature)

    @forward_options
    def forward(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> AlproModelOutput | tuple:
        """Read each text together with the video in the same row.

        Args:
            pixel_values: (batch, frames, 3, height, width) as the processor returns them.
            input_ids: (batch, length).
            attention_mask: (batch, length), 1 for tokens, 0 for padding. Default: no padding.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.

        Raises:
            ValueError: as in `get_video_features` and `get_text_features`, or if the numbers of texts and videos
                differ.
        """
        check_pairs(pixel_values, input_ids)
        video = self.get_video_features(pixel_values, **FEATURES_ALONE)
        text = self.get_text_features(input_ids, attention_mask, **FEATURES_ALONE)
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        fused = self.text_model.fuse(text.last_hidden_state, mask, video.last_hidden_state, **kwargs)
        return AlproModelOutput(
            fused.last_hidden_state, video.pooler_output, text.pooler_output, fused.hidden_states, fused.attentions
        )


def _load_quietly(model_class: type[Model], directory: str, config: AlproConfig) -> Model:
    """Load a model without the warning about new heads; raise an error if it lacks anything else."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        model, report = model_class.from_pretrained(directory, config=config, output_loading_info=True)
    finally:
        logging.set_verbosity(level)
    missing = [name for name in report["missing_keys"] if not name.startswith(NEW_HEADS)]
    if missing:
        raise ValueError(f"{directory!r} lacks weights of the ALPRO encoders: {sorted(missing)[:5]}.")
    return model


def _with_features(outputs: BaseModelOutput, projection: nn.Module) -> BaseModelOutputWithPooling:
    features = at_least_float32(projection(outputs.last_hidden_state[:, 0]))
    return BaseModelOutputWithPooling(
        last_hidden_state=outputs.last_hidden_state,
        pooler_output=F.normalize(features, dim=-1),
        hidden_states=outputs.hidden_states,
        attentions=outputs.attentions,
    )


def check_pairs(pixel_values: torch.Tensor, input_ids: torch.Tensor) -> None:
    """Raise a `ValueError` if the numbers of videos and texts differ."""
    if len(pixel_values) != len(input_ids):
        raise ValueError(
            f"Expected one text per video, got {len(input_ids)} texts and {len(pixel_values)} videos. Pass "
            "text and video pairs in the same order."
        )


def two_layer_head(width: int, outputs: int) -> nn.Sequential:
    """Return the head of question answering and of entity modelling."""
    return nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, outputs))


__all__ = ["AlproModel", "AlproPreTrainedModel"]
