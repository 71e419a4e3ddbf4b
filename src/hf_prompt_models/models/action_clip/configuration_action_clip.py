"""ActionCLIP model configuration."""

from typing import ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from hf_prompt_models.configuration_utils import PromptConfig


@strict
class ActionClipConfig(PromptConfig):
    r"""
    Configuration of [`ActionClipForVideoClassification`] (ActionCLIP, arXiv 2109.08472).

    clip_config (`PreTrainedConfig` or `dict`, *optional*):
        The backbone's configuration: a `CLIPConfig` or a `MetaClip2Config`.
    templates (`list[str]`, *optional*):
        Sentences with one `{}` for the class name: the textual prompts.
    prompt_token_ids (`list[str]`, *optional*):
        A string of token ids for each prompt: all classes in the first template, then in the second, ….
    num_frames (`int`, *optional*, defaults to 8):
        Frames that `pipeline()` samples from a video. `"joint"` learns positions for so many and takes no more;
        `"transf_cls"` takes exactly so many.
    pre_network (`"joint"`, *optional*):
        The visual prompt before the image tower: all frames' patches are one sequence, with learned time positions.
        It makes one vector a video, so that nothing is left for another `post_network` than `"mean"`.
    in_network (`"shift"`, *optional*):
        The visual prompt inside: before each block an eighth of the channels comes from the next frame and an eighth
        from the frame before. It shifts between frames' sequences, so that it goes without `"joint"`.
    post_network (`"mean"`, `"conv1d"`, `"lstm"`, `"transf"` or `"transf_cls"`, *optional*, defaults to `"transf"`):
        The visual prompt behind: what makes one vector of the frames'.
    head_num_layers (`int`, *optional*, defaults to 6):
        Layers of the `"transf"` and `"transf_cls"` heads.
    head_num_attention_heads (`int`, *optional*):
        Their attention heads. `None` is what the released code has: the text tower's width / 64 for `"transf"`, 8 for
        `"transf_cls"`.
    head_layer_norm_eps (`float`, *optional*, defaults to 1e-12):
        Of the layer norms in `"transf"`; mmaction2's port has 1e-5.
    max_frames (`int`, *optional*, defaults to 77):
        Frame positions that `"transf"` learns: it takes so many frames at most.
    legacy_conv1d_layout (`bool`, *optional*, defaults to `False`):
        Whether `"conv1d"` reads its input as the released code does, which takes a (frames, channels) array for a
        (channels, frames) one without turning it. For checkpoints that were trained so.
    eval_logit_scale (`float`, *optional*, defaults to 100.0):
        What similarities are multiplied with before the softmax in evaluation. `None`: the learned temperature.
    trainable (`"all"`, `"image"` or `"head"`, *optional*, defaults to `"all"`):
        What is trained: the whole model; all but the text side; or what is not the backbone's, that is the head and
        the time positions. With `"head"` a checkpoint may hold these alone, otherwise it holds the backbone too.
    """

    task = "video-classification"
    model_type = "action_clip"
    sub_configs_defaults: ClassVar[dict] = {"clip_config": SubConfigSpec(AutoConfig, model_type="clip")}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["video_embeds"]

    clip_config: dict | PreTrainedConfig | None = None
    templates: list[str] | None = None
    prompt_token_ids: list[str] | None = None
    num_frames: int = 8
    pre_network: Literal["joint"] | None = None
    in_network: Literal["shift"] | None = None
    post_network: Literal["mean", "conv1d", "lstm", "transf", "transf_cls"] = "transf"
    head_num_layers: int = 6
    head_num_attention_heads: int | None = None
    head_layer_norm_eps: float = 1e-12
    max_frames: int = 77
    legacy_conv1d_layout: bool = False
    eval_logit_scale: float | None = 100.0
    trainable: Literal["all", "image", "head"] = "all"

    def validate_architecture(self) -> None:
        """Part of `@strict` validation."""
        for name in ("num_frames", "head_num_layers", "max_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is a number, at least 1; got {getattr(self, name)}.")
        if self.pre_network == "joint" and self.in_network == "shift":
            raise ValueError(
                "pre_network='joint' puts all frames into one sequence, and in_network='shift' moves channels between "
                "the sequences of frames: choose one of them."
            )
        if self.pre_network == "joint" and self.post_network != "mean":
            raise ValueError(
                f"pre_network='joint' makes one vector a video, of which post_network={self.post_network!r} has "
                "nothing to make: pass post_network='mean'."
            )
        if self.legacy_conv1d_layout and self.post_network != "conv1d":
            raise ValueError(
                f"legacy_conv1d_layout belongs to post_network='conv1d', not to {self.post_network!r}: leave it out."
            )
        self.check_num_frames(self.num_frames)

    def check_num_frames(self, num_frames: int) -> None:
        """Refuse a number of frames that the model cannot take.

        Raises:
            ValueError: saying which number it can.
        """
        if num_frames < 1:
            raise ValueError("A video needs at least one frame.")
        if self.post_network == "transf" and num_frames > self.max_frames:
            raise ValueError(
                f"{num_frames} frames are too many: post_network='transf' has positions for {self.max_frames} "
                "(max_frames)."
            )
        if self.post_network == "transf_cls" and num_frames != self.num_frames:
            raise ValueError(
                f"post_network='transf_cls' takes exactly {self.num_frames} frames (num_frames), got {num_frames}."
            )
        if self.pre_network == "joint" and num_frames > self.num_frames:
            raise ValueError(
                f"{num_frames} frames are too many: pre_network='joint' has time positions for {self.num_frames} "
                "(num_frames)."
            )


__all__ = ["ActionClipConfig"]
