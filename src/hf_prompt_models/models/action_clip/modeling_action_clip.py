"""ActionCLIP: action recognition by the similarity of a video and sentences about it (arXiv 2109.08472)."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput
from transformers.utils.generic import TransformersKwargs

from hf_prompt_models.backbones.two_tower import BACKBONES, find_backbone
from hf_prompt_models.modeling_clip_utils import TemplatePromptModel
from hf_prompt_models.modeling_utils import at_least_float32
from hf_prompt_models.models.action_clip.configuration_action_clip import ActionClipConfig
from hf_prompt_models.models.action_clip.heads_action_clip import HEADS, FrameHead
from hf_prompt_models.models.action_clip.loss_action_clip import bidirectional_kl, draw_classes, find_matches
from hf_prompt_models.models.action_clip.processing_action_clip import ActionClipProcessor
from hf_prompt_models.models.action_clip.visual_prompts_action_clip import JointSpaceTime, encode_with_shift
from hf_prompt_models.prompts.class_names import check_class_names
from hf_prompt_models.prompts.templates import ACTION_TEMPLATES, check_templates
from hf_prompt_models.utils.distributed import gather_examples
from hf_prompt_models.utils.forward_options import asks_for_states, forward_options
from hf_prompt_models.utils.precision import in_image_dtype


@dataclass
class ActionClipOutput(ModelOutput):
    """Output of [`ActionClipForVideoClassification`].

    Args:
        loss (`torch.FloatTensor` of shape `(1,)`, *optional*): bidirectional KL divergence, if labels were given.
        logits (`torch.FloatTensor` of shape `(batch, classes)`, *optional*): class logits in eval mode: the logarithm
            of the mean probability over the templates, so that softmax returns that mean. For multi-label
            classification they are its log-odds, so that the sigmoid returns it. They are divided by
            `config.calibration_temperature`.
        video_embeds (`torch.FloatTensor` of shape `(batch, dim)`): video features, L2-normalised.
        hidden_states (`tuple(torch.FloatTensor)`, *optional*): hidden states of the image tower, with
            `output_hidden_states=True`: the embedded patches, then the output of each layer, of shape `(batch *
            frames, 1 + patches, width)`, or `(batch, 1 + frames * patches, width)` with `pre_network="joint"`.
        attentions (`tuple(torch.FloatTensor)`, *optional*): attentions of the image tower, with
            `output_attentions=True`, of shape `(batch * frames, heads, tokens, tokens)` for each layer. They need
            `attn_implementation="eager"`.

    The attribute `text_embeds` has the L2-normalised features of the sentences: a `torch.FloatTensor` of shape
    `(templates, classes, dim)`, or in train mode `(batch, dim)` for the sampled sentences.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    video_embeds: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class ActionClipPreTrainedModel(TemplatePromptModel):
    """Base class of ActionCLIP models, with weight initialisation and the processor class."""

    config: ActionClipConfig
    processor_class = ActionClipProcessor
    backbone_classes = tuple(BACKBONES[name].model_class for name in ("clip", "metaclip_2", "clip_resnet"))
    input_modalities = ("video",)
    pipeline_task = "video-classification"
    _keep_in_fp32_modules_strict: ClassVar[list[str]] = ["pre_network", "post_network"]

    post_network: FrameHead

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, JointSpaceTime):
            init.zeros_(module.time_embedding)
        else:
            self.post_network.init_part(module)

    @staticmethod
    def names_in_prompts(class_names: Sequence[str]) -> list[str]:
        """Return the class names unchanged, because the released code does not change labels."""
        return check_class_names(class_names)


class ActionClipForVideoClassification(ActionClipPreTrainedModel):
    """Video classification by the similarity of a video and class names in hand-written sentences (ActionCLIP).

    In training one sentence is sampled for each video, and the loss compares all videos and sentences of the batch
    with each other. In eval mode the sentences of all classes are encoded once, and the probabilities are averaged
    over the templates.

    Attributes:
        pre_network: visual prompt before the image tower, or `None`.
        post_network: head that turns the frame features into one vector.
    """

    def __init__(self, config: PreTrainedConfig, backbone: PreTrainedModel | None = None):
        kind = find_backbone(config.clip_config)
        if kind.model_class not in self.backbone_classes:
            known = ", ".join(known.__name__ for known in self.backbone_classes)
            raise TypeError(f"ActionCLIP needs one of {known} as its backbone, got a {kind.model_class.__name__}.")
        if (config.pre_network or config.in_network) and not kind.has_class_token:
            raise TypeError(
                "pre_network and in_network change the tokens of an image encoder, but that of a "
                f"{kind.model_class.__name__} has none. Leave both out, or pass a CLIP or MetaCLIP 2 as the backbone."
            )
        super().__init__(config, backbone)
        vision_width = self.clip.vision_model.config.hidden_size
        joint = config.pre_network == "joint"
        self.pre_network = JointSpaceTime(config.num_frames, vision_width) if joint else None
        self.post_network = HEADS[config.post_network](config, self.clip.config.projection_dim)
        self.post_network.set_attention(config._attn_implementation)
        self.post_init()
        self.freeze_backbone()

    @classmethod
    def from_backbone(
        cls,
        name_or_path: str | os.PathLike,
        class_names: Sequence[str],
        templates: Sequence[str] | None = None,
        pre_network: Literal["joint"] | None = None,
        in_network: Literal["shift"] | None = None,
        post_network: str = "transf",
        num_frames: int = 8,
        tokenizer: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        trainable: Literal["all", "image", "head"] = "all",
        problem_type: Literal["single_label_classification", "multi_label_classification"] | None = None,
        head_num_layers: int = 6,
        head_num_attention_heads: int | None = None,
        legacy_conv1d_layout: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Make a new model from a pretrained CLIP.

        With `post_network="mean"` the model classifies without training, as CLIP does. The other heads must be trained
        first.

        Args:
            name_or_path: Hub id or folder of the backbone, a checkpoint of a `CLIPModel`, `MetaClip2Model` or
                `ClipResNetModel`. "playground" is the tiny CLIP that ships with this package.
            class_names: class names, in the order of the labels. They are not changed; names may repeat.
            templates: sentences with one `{}`. Default: the 16 of ActionCLIP, which are listed with their kinds in
                `hf_prompt_models.prompts.templates.ACTION_TEMPLATES`.
            pre_network: visual prompt before the image tower, see [`ActionClipConfig`].
            in_network: visual prompt inside the image tower, see [`ActionClipConfig`].
            post_network: head after the image tower, see [`ActionClipConfig`].
            num_frames: number of frames that `pipeline()` samples from a video.
            tokenizer: the backbone's tokenizer or processor. Default: the one in the backbone's folder.
            trainable: what is trained: `"all"`, `"image"` (everything except the text side) or `"head"` (the backbone
                stays frozen).
            problem_type: `"multi_label_classification"` if videos have several labels.
            head_num_layers: number of layers in the `"transf"` and `"transf_cls"` heads.
            head_num_attention_heads: number of attention heads in these heads. Default: as in the released code.
            legacy_conv1d_layout: whether `"conv1d"` reshapes its input as the released code does, instead of
                transposing it.
            kwargs: keyword arguments of the backbone's `from_pretrained`: `revision`, `token`, `dtype`, `device_map`,
                ….

        Raises:
            ValueError: if a template does not contain `{}`, or a name is too long for the text tower.
            StrictDataclassError: if the configuration does not allow this combination of visual prompts.
            TypeError: if the method does not support the type of the backbone.

        Example:
            ```python
            >>> import torch
            >>> from hf_prompt_models import ActionClipForVideoClassification
            >>> names = ["falling", "rising"]
            >>> model = ActionClipForVideoClassification.from_backbone("playground", names, post_network="mean")
            >>> model(pixel_values=torch.randn(1, 8, 3, 48, 48)).logits.shape
            torch.Size([1, 2])

            ```
        """
        templates = check_templates([each.text for each in ACTION_TEMPLATES] if templates is None else templates)
        choices = {
            "pre_network": pre_network,
            "in_network": in_network,
            "post_network": post_network,
            "num_frames": num_frames,
            "trainable": trainable,
            "problem_type": problem_type,
            "head_num_layers": head_num_layers,
            "head_num_attention_heads": head_num_attention_heads,
            "legacy_conv1d_layout": legacy_conv1d_layout,
        }
        ActionClipConfig(**choices)  # raises for invalid choices before the backbone is loaded
        clip, processor, tokenizer = cls._load_parts(name_or_path, tokenizer, kwargs)
        config = ActionClipConfig(
            clip_config=clip.config.to_dict(),
            **choices,
            **cls._tokenized_classes(class_names, templates, tokenizer, clip.config),
            **cls._base_model_fields(name_or_path, clip, kwargs),
        )
        model = cls._from_parts(config, clip, {}, kwargs.get("attn_implementation"))
        model.processor = processor
        return model

    def set_attn_implementation(self, attn_implementation: str | dict, *args: Any, **kwargs: Any) -> None:
        """Set the attention implementation, as in transformers.

        Args:
            attn_implementation: one for all parts, or a dictionary by part, in which `""` is that of the head.
            args: as in transformers.
            kwargs: as in transformers.
        """
        super().set_attn_implementation(attn_implementation, *args, **kwargs)
        self.post_network.set_attention(self.config._attn_implementation)

    # -- trained parameters ------------------------------------------------------------------------------------------

    def trained_backbone_parameters(self) -> Iterable[nn.Parameter]:
        """Yield the backbone parameters that are trained, as `config.trainable` chooses them."""
        trainable = self.config.trainable
        if trainable == "all":
            yield from self.clip.parameters()
        elif trainable == "image":
            named = self.clip.named_parameters()
            yield from (parameter for name, parameter in named if not name.startswith("text_"))

    def _wants_text_gradient(self) -> bool:
        # Not in eval mode, where a missing `no_grad` would keep the activations of all templates of all classes.
        return self.training and super()._wants_text_gradient()

    # -- features ----------------------------------------------------------------------------------------------------

    def class_features(self, prompt_features: torch.Tensor) -> torch.Tensor:
        """Return the features of all classes in all templates, (templates, classes, dim), L2-normalised."""
        return F.normalize(prompt_features, dim=-1).unflatten(0, (-1, self.config.num_labels))

    def get_text_features(self, **kwargs: Unpack[TransformersKwargs]) -> BaseModelOutputWithPooling:
        """Return the features of all classes in all templates.

        In eval mode, or if the text tower is frozen, they have no gradient. They are computed once and cached until
        the text tower, the classes, the dtype or the device change. Otherwise they are differentiable.

        Args:
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.

        Returns:
            `.pooler_output`, (templates, classes, dim), L2-normalised. With `output_hidden_states=True` or
            `output_attentions=True` also those of the text tower, with a row for each sentence, and its
            `.last_hidden_state`, (templates * classes, length, width).
        """
        return super().get_text_features(**kwargs)

    @forward_options
    @in_image_dtype
    def get_frame_features(
        self, pixel_values: torch.Tensor, pooled_only: bool = False, **kwargs: Unpack[TransformersKwargs]
    ) -> BaseModelOutputWithPooling:
        """Return the projected image features of each frame.

        Args:
            pixel_values: (batch, frames, 3, height, width), as returned by the processor.
            pooled_only: whether to compute only `.pooler_output`, for which a frozen tower needs less time.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.

        Returns:
            `.pooler_output`, (batch, frames, dim), not normalised. With `pre_network="joint"` there is one feature for
            all frames, (batch, 1, dim).

        Raises:
            ValueError: if the shape is another, or the model does not accept this number of frames.
        """
        if pixel_values.dim() != 5:
            raise ValueError(
                "Expected pixel_values of shape (batch, frames, 3, height, width), as returned by the processor, got "
                f"{tuple(pixel_values.shape)}. Use pixel_values[None] to make a batch of the frames of one video."
            )
        self.config.check_num_frames(pixel_values.shape[1])
        if self.pre_network is None and self.config.in_network is None:
            outputs = self.run_image_tower(pooled_only, pixel_values=pixel_values.flatten(0, 1), **kwargs)
            outputs.pooler_output = outputs.pooler_output.unflatten(0, pixel_values.shape[:2])
            return outputs
        if self.pre_network is not None:
            outputs = self.pre_network(self.clip.vision_model, pixel_values, **kwargs)
        else:
            outputs = encode_with_shift(self.clip.vision_model, pixel_values, return_dict=True, **kwargs)
        outputs.pooler_output = self.clip.visual_projection(outputs.pooler_output)
        return outputs

    @forward_options
    def get_video_features(
        self,
        pixel_values: torch.Tensor | None = None,
        frame_embeds: torch.Tensor | None = None,
        pooled_only: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Return the video features: `.pooler_output`, (batch, dim), L2-normalised.

        Args:
            pixel_values: (batch, frames, 3, height, width), as returned by the processor.
            frame_embeds: (batch, frames, dim) features of `get_frame_features`, instead of pixels.
            pooled_only: as in `get_frame_features`.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.

        Raises:
            ValueError: if the shape is another, or the model does not accept this number of frames.
        """
        if pixel_values is not None and frame_embeds is None:
            outputs = self.get_frame_features(pixel_values, pooled_only, return_dict=True, **kwargs)
            frame_embeds = outputs.pooler_output
        elif frame_embeds is not None and pixel_values is None:
            if asks_for_states(kwargs):
                raise ValueError(
                    "Hidden states and attentions come from the image encoder, which frame_embeds skip. Pass "
                    "pixel_values instead."
                )
            outputs = BaseModelOutputWithPooling()
            if self.pre_network is None:
                self.config.check_num_frames(frame_embeds.shape[1])
        else:
            raise ValueError("Expected either pixel_values or frame_embeds. Pass exactly one of them.")
        # The head computes in full precision, as in the released code.
        with torch.autocast(frame_embeds.device.type, enabled=False):
            frames = at_least_float32(frame_embeds)
            parameter = next(self.post_network.parameters(), frames)
            video_embeds = F.normalize(self.post_network(frames.to(parameter.dtype)), dim=-1)
        outputs.pooler_output = at_least_float32(video_embeds)
        return outputs

    # -- classification ----------------------------------------------------------------------------------------------

    @forward_options
    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        frame_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        draws: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ActionClipOutput | tuple:
        """Return the class logits of videos in eval mode, and the loss if labels are given.

        Args:
            pixel_values: (batch, frames, 3, height, width), as returned by the processor.
            frame_embeds: (batch, frames, dim) features of `get_frame_features`, instead of pixels.
            labels: (batch,) class indices. If `config.problem_type` is `"multi_label_classification"`, (batch,
                classes): 1 for each class that applies, else 0. Labels are required in train mode. In distributed
                training all processes must have the same number of examples.
            draws: (batch, 2) random integers from 0, used in train mode. The first one of an example selects its
                template; the second one selects the label that the sentence is about, if there are several. Default:
                sampled from torch's CPU generator, in each process independently.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.

        Raises:
            ValueError: if pixels or labels have another shape.
        """
        if labels is not None:
            self._check_labels(labels)
        pooled_only = not asks_for_states(kwargs)
        videos = self.get_video_features(pixel_values, frame_embeds, pooled_only, return_dict=True, **kwargs)
        video_embeds = videos.pooler_output
        loss = logits = None
        if self.training:
            if labels is None:
                raise ValueError("The loss in train mode needs labels. Pass labels, or call eval() for logits.")
            text_embeds, classes = self._draw_sentences(labels, draws)
            with torch.autocast(video_embeds.device.type, enabled=False):
                loss = self._training_loss(video_embeds, text_embeds, labels, classes)
        else:
            text_embeds = self._text_embeds()
            with torch.autocast(video_embeds.device.type, enabled=False):
                logits = self.calibrated(self.class_logits(video_embeds, text_embeds))
                if labels is not None:
                    loss = self._mean_loss(video_embeds, text_embeds, labels)
        output = ActionClipOutput(loss, logits, video_embeds, videos.hidden_states, videos.attentions)
        # Not a field: fields are items, and pipelines and the Trainer expect one value per video in each item.
        output.text_embeds = text_embeds
        return output

    @property
    def _multi_label(self) -> bool:
        return self.config.problem_type == "multi_label_classification"

    def _check_labels(self, labels: torch.Tensor) -> None:
        classes = self.config.num_labels
        if self._multi_label:
            if labels.dim() != 2 or labels.shape[1] != classes:
                raise ValueError(
                    f"Expected labels of shape (batch, {classes}) for multi-label classification, with 1 for "
                    f"each class that applies, got {tuple(labels.shape)}."
                )
        elif labels.dim() != 1 or labels.is_floating_point():
            raise ValueError(
                f"Expected class indices of shape (batch,) as labels, got {tuple(labels.shape)} of {labels.dtype}. "
                "For several labels per video set config.problem_type = 'multi_label_classification'."
            )
        elif not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise ValueError(f"Labels must be 0 to {classes - 1}, got {int(labels.min())} to {int(labels.max())}.")

    def _draw_sentences(self, labels: torch.Tensor, draws: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Sample a sentence for each example; return its features, (batch, dim), and its class, (batch,)."""
        if draws is None:
            # On the CPU: the Trainer saves its generator, and the result does not depend on the device.
            draws = torch.randint(2**31, (len(labels), 2))
        elif draws.shape != (len(labels), 2) or draws.is_floating_point() or draws.min() < 0:
            raise ValueError(f"draws must be ({len(labels)}, 2) integers >= 0, got {tuple(draws.shape)}.")
        template_draws, class_draws = draws.cpu().unbind(dim=1)
        templates = template_draws % self.num_templates
        classes = draw_classes(labels.cpu(), class_draws) if self._multi_label else labels.cpu()
        if self._trains_text() or self._is_text_adapted():
            sentences = (templates * self.config.num_labels + classes).tolist()
            prompts = self._lay_out_prompts(self.prompt_token_ids(sentences))
            text_embeds = F.normalize(self._encode_prompts(prompts), dim=-1)
        else:
            features = self._text_embeds()
            text_embeds = features[templates.to(features.device), classes.to(features.device)]
        return text_embeds, classes.to(labels.device)

    def _training_loss(
        self, video_embeds: torch.Tensor, text_embeds: torch.Tensor, labels: torch.Tensor, classes: torch.Tensor
    ) -> torch.Tensor:
        """Return the loss over the examples of all processes."""
        matches = find_matches(gather_examples(labels), gather_examples(classes))
        videos, texts = gather_examples(video_embeds), gather_examples(text_embeds)
        return bidirectional_kl(videos, texts, matches, self.similarity_scale())

    def _mean_loss(self, video_embeds: torch.Tensor, text_embeds: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of this batch, averaged over the templates, with the sentences of all classes of a video."""
        classes = labels.nonzero()[:, 1] if self._multi_label else labels
        matches = find_matches(labels, classes)
        losses = [
            bidirectional_kl(video_embeds, each[classes], matches, self.similarity_scale()) for each in text_embeds
        ]
        return torch.stack(losses).mean()

    def class_logits(self, video_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
        """Return the logits, (batch, classes), as described in [`ActionClipOutput`].

        Args:
            video_embeds: (batch, dim), as returned by `get_video_features`.
            text_embeds: (templates, classes, dim), as returned by `get_text_features`.
        """
        scale = self.similarity_scale() if self.config.eval_logit_scale is None else self.config.eval_logit_scale
        similarities = scale * torch.einsum("bd,kcd->bkc", video_embeds, text_embeds)
        log_sum = similarities.log_softmax(dim=-1).logsumexp(dim=1)
        log_mean = log_sum - torch.tensor(len(text_embeds), dtype=log_sum.dtype, device=log_sum.device).log()
        if not self._multi_label:
            return log_mean
        log_mean = log_mean.clamp(max=-torch.finfo(log_mean.dtype).eps)  # the log-odds of 1 are infinite
        return log_mean - torch.log(-torch.expm1(log_mean))


__all__ = ["ActionClipForVideoClassification", "ActionClipPreTrainedModel"]
