"""ActionCLIP model configuration."""

from typing import ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from hf_prompt_models.configuration_utils import ClassifierConfig


@strict
class ActionClipConfig(ClassifierConfig):
    r"""Configuration of [`ActionClipForVideoClassification`] (ActionCLIP, arXiv 2109.08472).

    Attributes:
        clip_config (`PreTrainedConfig` or `dict`, *optional*):
            Configuration of the backbone: a `CLIPConfig`, a `MetaClip2Config` or a `ClipResNetConfig`.
        templates (`list[str]`, *optional*):
            Textual prompts: sentences with one `{}` for the class name.
        prompt_token_ids (`list[str]`, *optional*):
            Token ids of each prompt, one string per prompt: all classes in the first template, then in the second, ….
        num_frames (`int`, *optional*, defaults to 8):
            Number of frames that `pipeline()` samples from a video. `"joint"` has learned positions for this number of
            frames and accepts no more; `"transf_cls"` accepts exactly this number.
        pre_network (`"joint"`, *optional*):
            Visual prompt before the image tower: the patches of all frames form one sequence, with learned time
            positions. It yields one vector per video, so it can only be combined with `post_network="mean"`.
        in_network (`"shift"`, *optional*):
            Visual prompt inside the image tower: before each block an eighth of the channels comes from the next frame
            and an eighth from the previous frame. It shifts channels between the sequences of frames, so it cannot be
            combined with `"joint"`. Neither of them works over a `ClipResNetConfig`.
        post_network (`str`, *optional*, defaults to `"transf"`):
            Visual prompt after the image tower: the head that turns the frame features into one vector, one of
            `"mean"`, `"conv1d"`, `"lstm"`, `"transf"` and `"transf_cls"`.
        head_num_layers (`int`, *optional*, defaults to 6):
            Number of layers in the `"transf"` and `"transf_cls"` heads.
        head_num_attention_heads (`int`, *optional*):
            Number of attention heads in these heads. `None` is the setting of the released code: the width of the text
            tower / 64 for `"transf"`, 8 for `"transf_cls"`.
        head_layer_norm_eps (`float`, *optional*, defaults to 1e-12):
            Epsilon of the layer norms in `"transf"`; mmaction2's port uses 1e-5.
        max_frames (`int`, *optional*, defaults to 77):
            Number of learned frame positions in `"transf"`, and so the largest number of frames that it accepts.
        legacy_conv1d_layout (`bool`, *optional*, defaults to `False`):
            Whether `"conv1d"` reads its input as the released code does, which reshapes a (frames, channels) array to
            (channels, frames) instead of transposing it. Needed for checkpoints that were trained this way.
        eval_logit_scale (`float`, *optional*, defaults to 100.0):
            Factor of the similarities before the softmax in evaluation. `None` uses the learned temperature.
        trainable (`"all"`, `"image"` or `"head"`, *optional*, defaults to `"all"`):
            What is trained: the complete model, everything except the text side, or only what is not part of the
            backbone, which is the head and the time positions. With `"head"` a checkpoint may contain only these
            parts, otherwise it contains the backbone too.

    Example:
        ```python
        >>> from hf_prompt_models import ActionClipConfig
        >>> config = ActionClipConfig(post_network="mean", num_frames=16, trainable="head")
        >>> config.post_network, config.num_frames
        ('mean', 16)

        ```
    """

    task = "video-classification"
    model_type = "action_clip"
    sub_configs_defaults: ClassVar[dict] = {"clip_config": SubConfigSpec(AutoConfig, model_type="clip")}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["video_embeds"]

    clip_config: PreTrainedConfig | dict | None = None
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
        """Check the fields; `@strict` calls this method."""
        for name in ("num_frames", "head_num_layers", "max_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"Expected {name} >= 1, got {getattr(self, name)}.")
        if self.pre_network == "joint" and self.in_network == "shift":
            raise ValueError(
                "pre_network='joint' puts all frames into one sequence, but in_network='shift' moves channels "
                "between the sequences of frames. Choose only one of them."
            )
        if self.pre_network == "joint" and self.post_network != "mean":
            raise ValueError(
                "pre_network='joint' makes one feature vector per video, so "
                f"post_network={self.post_network!r} has no frames to combine. Pass post_network='mean'."
            )
        if self.legacy_conv1d_layout and self.post_network != "conv1d":
            raise ValueError(
                f"legacy_conv1d_layout applies only to post_network='conv1d', got {self.post_network!r}. Remove it."
            )
        self.check_num_frames(self.num_frames)

    def check_num_frames(self, num_frames: int) -> None:
        """Check that the model accepts a number of frames.

        Args:
            num_frames: number of frames of a video.

        Raises:
            ValueError: if it does not, with the number that it accepts.
        """
        if num_frames < 1:
            raise ValueError("Expected at least one frame per video.")
        if self.post_network == "transf" and num_frames > self.max_frames:
            raise ValueError(
                f"{num_frames} frames are too many, because post_network='transf' has {self.max_frames} "
                "positions. Raise max_frames, or use fewer frames."
            )
        if self.post_network == "transf_cls" and num_frames != self.num_frames:
            raise ValueError(
                f"post_network='transf_cls' needs exactly {self.num_frames} frames (num_frames), got {num_frames}."
            )
        if self.pre_network == "joint" and num_frames > self.num_frames:
            raise ValueError(
                f"{num_frames} frames are too many, because pre_network='joint' has {self.num_frames} time "
                "positions. Raise num_frames, or use fewer frames."
            )


__all__ = ["ActionClipConfig"]
