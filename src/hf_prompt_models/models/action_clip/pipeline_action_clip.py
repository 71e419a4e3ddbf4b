"""The pipeline "video-classification" for ActionCLIP; it does not change other models."""

import os
from typing import Any

from PIL import Image
from transformers import BatchFeature, Pipeline, VideoClassificationPipeline
from transformers.pipelines import SUPPORTED_TASKS

from hf_prompt_models.data.images.fetching import fetch, is_link
from hf_prompt_models.data.videos.loading import load_video
from hf_prompt_models.models.action_clip.modeling_action_clip import ActionClipForVideoClassification


class ActionClipVideoClassificationPipeline(VideoClassificationPipeline):
    """The video classification pipeline of transformers, with frames sampled from the complete video for ActionCLIP.

    A video is a path, a URL, a list of frames as PIL images, or an array or tensor of frames (frames, 3, height,
    width). All frames that are passed are used. From a file, one frame is sampled at the centre of each of
    `num_frames` equal segments (default: `config.num_frames`). Other models work as in transformers, which reads the
    first frames.

    Example:
        ```python
        >>> from PIL import Image
        >>> from transformers import pipeline
        >>> from hf_prompt_models import ActionClipForVideoClassification
        >>> names = ["falling", "rising"]
        >>> model = ActionClipForVideoClassification.from_backbone("playground", names, post_network="mean")
        >>> pipe = pipeline("video-classification", model=model, image_processor=model.processor.image_processor)
        >>> frames = [Image.new("RGB", (64, 48), "red")] * 8
        >>> sorted(found["label"] for found in pipe(frames))
        ['falling', 'rising']

        ```
    """

    def __init__(self, *args: Any, **kwargs: Any):
        if isinstance(kwargs.get("model", args[0] if args else None), ActionClipForVideoClassification):
            # Skip the constructor of transformers, which warns that image processors are deprecated here: ours takes
            # videos.
            Pipeline.__init__(self, *args, **kwargs)
        else:
            super().__init__(*args, **kwargs)

    @property
    def _is_action_clip(self) -> bool:
        return isinstance(self.model, ActionClipForVideoClassification)

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Classify one video or several videos, as in transformers.

        Args:
            inputs: a video, or a list of videos. A list of PIL images is one video.
            kwargs: as in transformers.
        """
        if self._is_action_clip and isinstance(inputs, list | tuple) and not inputs:
            return []  # the pipeline of transformers would read the first input
        if self._is_action_clip and isinstance(inputs, list) and inputs and isinstance(inputs[0], Image.Image):
            return super().__call__([inputs], **kwargs)[0]  # one video, not many inputs
        return super().__call__(inputs, **kwargs)

    def preprocess(self, video: Any, num_frames: int | None = None, frame_sampling_rate: int = 1) -> BatchFeature:
        """Sample the frames of a video and prepare the inputs of the model."""
        if not self._is_action_clip:
            return super().preprocess(video, num_frames=num_frames, frame_sampling_rate=frame_sampling_rate)
        if frame_sampling_rate != 1:
            raise ValueError(
                "frame_sampling_rate does not apply, because ActionCLIP samples from the complete video. "
                "Remove it, or pass num_frames, or pass the frames."
            )
        if isinstance(video, str | os.PathLike | bytes):
            source = fetch(str(video)) if is_link(video) else video
            name = None if isinstance(video, bytes) else os.fspath(video)
            video = load_video(source, num_frames or self.model.config.num_frames, name=name)
        return self.image_processor(video, return_tensors="pt").to(self.dtype)


def replace_stock_pipeline() -> None:
    """Replace the pipeline of transformers; `register_pipeline` would write the class into saved configurations."""
    SUPPORTED_TASKS["video-classification"]["impl"] = ActionClipVideoClassificationPipeline


__all__ = ["ActionClipVideoClassificationPipeline"]
