"""The pipelines "video-text-retrieval" and "video-question-answering"."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from transformers import AutoModel, Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from hf_prompt_models.data.videos.loading import load_video
from hf_prompt_models.models.alpro.modeling_alpro_question_answering import AlproForVideoQuestionAnswering
from hf_prompt_models.models.alpro.modeling_alpro_retrieval import AlproForVideoTextRetrieval
from hf_prompt_models.models.alpro.video_index_alpro import AlproVideoIndex
from hf_prompt_models.utils.describing import describe_value


RETRIEVAL_TASK, QUESTION_TASK = "video-text-retrieval", "video-question-answering"


class _AlproPipeline(Pipeline):
    _load_processor = True
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False
    _load_video_processor = False

    task_name: str
    model_class: type

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if not isinstance(self.model, self.model_class):
            raise TypeError(
                f"The pipeline {self.task_name!r} needs an {self.model_class.__name__}, got a "
                f"{type(self.model).__name__}."
            )

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Run the pipeline. An empty list gives an empty list; the base class would read its first element."""
        return [] if isinstance(inputs, list | tuple) and not inputs else super().__call__(inputs, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save the model with its processor.

        The base class would not save the processor. It would also mark the pipeline's code as custom in the
        configuration, so that loading would need `trust_remote_code` although the task is registered.
        """
        self.model.processor = self.processor
        self.model.save_pretrained(save_directory, **kwargs)


def _given(truncation: bool | None) -> dict[str, Any]:
    """Return what `preprocess` passes to the processor, which raises an error for long texts by default."""
    return {} if truncation is None else {"truncation": truncation}


class VideoTextRetrievalPipeline(_AlproPipeline):
    """Find the videos that a sentence describes.

    Returns a list of `{"video", "score"}`, best first: the file, and how likely it belongs to the sentence, among the
    `k` videos that were read together with it. For a list of sentences, it returns a list of such lists. A sentence
    that is longer than the model reads raises an error, or is truncated with `truncation=True`.

    Example:
        ```python
        >>> import numpy as np
        >>> from transformers import pipeline
        >>> from hf_prompt_models import AlproForVideoTextRetrieval
        >>> from hf_prompt_models.data import write_video
        >>> write_video("clips/ball.mp4", np.zeros((8, 48, 64, 3), dtype=np.uint8))
        >>> model = AlproForVideoTextRetrieval.from_backbone("playground")
        >>> pipe = pipeline("video-text-retrieval", model=model, processor=model.processor)
        >>> index = pipe.index_videos("clips", file="clips.safetensors")
        >>> [each["video"] for each in pipe("a red ball rolls to the left", index="clips.safetensors", top_k=3)]
        ['clips/ball.mp4']

        ```
    """

    task_name = RETRIEVAL_TASK
    model_class = AlproForVideoTextRetrieval

    def index_videos(
        self,
        videos: str | os.PathLike | Sequence[str | os.PathLike],
        file: str | os.PathLike | None = None,
        batch_size: int = 8,
        on_read: Callable[[int, int], object] | None = None,
    ) -> AlproVideoIndex:
        """Sample frames of videos and encode them once, for all sentences.

        Args:
            videos: a folder, searched with its subfolders, or a list of files.
            file: a safetensors file to save the index to. Default: it is not saved.
            batch_size: number of videos encoded at a time.
            on_read: function that is called after each batch with the number of processed videos and the total number.

        Returns:
            The index. Its `.skipped` lists the videos that could not be read, each with the reason.

        Raises:
            ValueError: if no video is found or none can be read.
        """
        index = AlproVideoIndex.build(self.model, self.processor, videos, batch_size, on_read)
        if file is not None:
            index.save(file)
        return index

    def _sanitize_parameters(
        self,
        index: AlproVideoIndex | str | os.PathLike | None = None,
        k: int | None = 16,
        top_k: int = 5,
        truncation: bool | None = None,
        **unknown: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if unknown:
            raise ValueError(
                f"{RETRIEVAL_TASK!r} does not accept {', '.join(unknown)}. It accepts index, k, top_k and truncation."
            )
        if isinstance(index, str | os.PathLike):
            index = AlproVideoIndex.load(index)
        given = {} if index is None else {"index": index}
        return _given(truncation), given | {"k": k}, given | {"top_k": top_k}

    def preprocess(self, sentence: Any, **truncation: bool) -> dict[str, Any]:
        """Tokenize a sentence."""
        if not isinstance(sentence, str) or not sentence.strip():
            raise ValueError(
                f"{RETRIEVAL_TASK!r} expects a sentence or a list of sentences, got {describe_value(sentence)}."
            )
        return dict(self.processor(text=sentence, return_tensors="pt", **truncation))

    def _forward(
        self, tokens: dict[str, torch.Tensor], index: AlproVideoIndex | None = None, k: int | None = 16
    ) -> torch.Tensor:
        if index is None:
            raise ValueError(
                "The videos to search are missing. Pass index=pipe.index_videos(folder), or a file that it wrote."
            )
        return self.model.rank(tokens, index.features_for(self.model), k=k)

    def postprocess(
        self, scores: torch.Tensor, index: AlproVideoIndex | None = None, top_k: int = 5
    ) -> list[dict[str, Any]]:
        """Return the best videos with their scores."""
        names = index.names if index is not None else []
        best = scores[0].float().topk(min(top_k, len(names)))
        return [
            {"video": names[place], "score": score}
            for score, place in zip(best.values.tolist(), best.indices.tolist(), strict=True)
            if score >= 0  # the others were left out
        ]


class VideoQuestionAnsweringPipeline(_AlproPipeline):
    """Answer questions about videos from the model's list of answers.

    A video is a file, or its frames as a list of PIL images, as many as the model takes. Returns a list of `{"answer",
    "score"}`, best first. For a list of inputs, it returns a list of such lists. A question that is longer than the
    model reads raises an error, or is truncated with `truncation=True`.

    Example:
        ```python
        >>> from PIL import Image
        >>> from transformers import pipeline
        >>> from hf_prompt_models import AlproForVideoQuestionAnswering
        >>> model = AlproForVideoQuestionAnswering.from_backbone("playground", answers=["red", "blue", "green"])
        >>> pipe = pipeline("video-question-answering", model=model, processor=model.processor)
        >>> video = [Image.new("RGB", (64, 48), "red")] * 4
        >>> sorted(each["answer"] for each in pipe({"video": video, "question": "what color is it?"}, top_k=3))
        ['blue', 'green', 'red']

        ```
    """

    task_name = QUESTION_TASK
    model_class = AlproForVideoQuestionAnswering

    def _sanitize_parameters(
        self, top_k: int = 5, truncation: bool | None = None, **unknown: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if unknown:
            raise ValueError(
                f"{QUESTION_TASK!r} does not accept {', '.join(unknown)}. Put video and question in the dict."
            )
        return _given(truncation), {}, {"top_k": top_k}

    def preprocess(self, asked: Any, **truncation: bool) -> dict[str, Any]:
        """Load a video and tokenize a question."""
        if not isinstance(asked, dict) or set(asked) != {"video", "question"}:
            raise ValueError(
                f"{QUESTION_TASK!r} expects a dict such as {{'video': 'clip.mp4', 'question': 'what is "
                f"it?'}}, got {(sorted(asked) if isinstance(asked, dict) else type(asked).__name__)}."
            )
        video = asked["video"]
        if not (isinstance(video, list) and all(isinstance(frame, Image.Image) for frame in video)):
            video = load_video(video, self.model.config.num_frames)
        return dict(self.processor(images=[video], text=[asked["question"]], return_tensors="pt", **truncation))

    def _forward(self, inputs: dict[str, torch.Tensor]) -> Any:
        return self.model(**inputs)

    def postprocess(self, output: Any, top_k: int = 5) -> list[dict[str, Any]]:
        """Return the best answers with their scores."""
        chances = output.logits[0].float().softmax(dim=0)
        best = chances.topk(min(top_k, len(chances)))
        return [
            {"answer": self.model.config.id2label[place], "score": score}
            for score, place in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]


def register() -> None:
    """Register the tasks with `pipeline()`."""
    for pipeline_class in (VideoTextRetrievalPipeline, VideoQuestionAnsweringPipeline):
        PIPELINE_REGISTRY.register_pipeline(
            pipeline_class.task_name, pipeline_class=pipeline_class, pt_model=AutoModel, type="multimodal"
        )


__all__ = ["VideoQuestionAnsweringPipeline", "VideoTextRetrievalPipeline"]
