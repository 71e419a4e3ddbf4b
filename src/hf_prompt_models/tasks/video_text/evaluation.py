"""Test models for videos with texts: retrieval in both directions, question answering, held-out losses."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers.modeling_outputs import BaseModelOutputWithPooling

from hf_prompt_models.data.text.captioned_videos import VideoQuestion, VideoText, VideoTexts
from hf_prompt_models.data.text.video_text_dataset import VideoTextDataset
from hf_prompt_models.metrics.guessing import chance_of_retrieval
from hf_prompt_models.metrics.retrieval import ranks_of_any, summarise_ranks
from hf_prompt_models.metrics.video_qa import answer_accuracy
from hf_prompt_models.models.alpro import AlproForVideoTextRetrieval
from hf_prompt_models.models.alpro.processing_alpro import AlproCollator, AlproPretrainingCollator


EXCLUDED = -2.0
"""Offset of cosines, so that pairs that were scored together rank before all others."""


@dataclass(frozen=True)
class Loading:
    """Settings for loading test data.

    Attributes:
        batch_size: Number of examples per batch.
        num_workers: Number of processes that load examples.
        progress: Whether to show progress bars.
    """

    batch_size: int = 16
    num_workers: int = 0
    progress: bool = False

    def batches(self, dataset: Any, collate: Any, title: str) -> Any:
        """Return the batches of a dataset, with a progress bar."""
        loader = DataLoader(dataset, self.batch_size, collate_fn=collate, num_workers=self.num_workers)
        return tqdm(loader, desc=title, leave=False, disable=not self.progress)


@dataclass(frozen=True)
class Retrieved:
    """Similarities between sentences and videos.

    Attributes:
        captions: Sentences, each with its video.
        videos: The videos, each once.
        by_text: Scores that rank the videos for a sentence, of shape (sentences, videos).
        by_video: Scores that rank the sentences for a video, of shape (sentences, videos).
        cosines: Cosine similarities of the features, of shape (sentences, videos).
    """

    captions: VideoTexts[VideoText]
    videos: list[Path]
    by_text: np.ndarray
    by_video: np.ndarray
    cosines: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Whether a sentence belongs to a video, of shape (sentences, videos)."""
        place = {video: index for index, video in enumerate(self.videos)}
        own = np.array([place[item.video] for item in self.captions.items])
        return own[:, None] == np.arange(len(self.videos))

    def ranks(self) -> np.ndarray:
        """Return the rank of each sentence's video, from 1, of shape (sentences,)."""
        return ranks_of_any(self.by_text, self.right)

    def text_ranks(self) -> np.ndarray:
        """Return the rank of each video's best sentence among other videos' sentences, from 1, of shape (videos,)."""
        return ranks_of_any(self.by_video.T, self.right.T)

    def contrast_ranks(self) -> np.ndarray:
        """Return the rank of each sentence's video by the features alone, from 1, of shape (sentences,)."""
        return ranks_of_any(self.cosines, self.right)

    def baselines(self, train: VideoTexts[Any]) -> dict[str, float]:
        """Return `chance`, the expected text-to-video recall at 1 of videos in random order.

        Args:
            train: Training set, which is not used.
        """
        return {"chance": self.chance()["text_to_video"]["recall_at_1"]}

    def chance(self) -> dict[str, dict[str, float]]:
        """Return the expected scores of candidates in random order, in both directions."""
        return {
            "text_to_video": chance_of_retrieval(self.right),
            "video_to_text": chance_of_retrieval(self.right.T),
        }

    def metrics(self) -> dict[str, Any]:
        """Return `accuracy`, `text_to_video`, `video_to_text`, and `contrast`.

        The latter three have recall at 1, 5 and 10, median and mean rank; `contrast` is text to video by features
        alone. `accuracy` is the text-to-video recall at 1.
        """
        text_to_video = summarise_ranks(self.ranks())
        return {
            "accuracy": text_to_video["recall_at_1"],
            "text_to_video": text_to_video,
            "video_to_text": summarise_ranks(self.text_ranks()),
            "contrast": summarise_ranks(self.contrast_ranks()),
        }


@torch.no_grad()
def retrieve(
    model: Any,
    processor: Any,
    captions: VideoTexts[VideoText],
    rerank: int | None = 16,
    loading: Loading | None = None,
) -> Retrieved:
    """Compare all sentences with all videos.

    Args:
        model: An ALPRO model; with a matching head if candidates are to be scored together with the query.
        processor: Its processor.
        captions: Sentences with their videos.
        rerank: Number of candidates, the closest by features, that are scored together with the query and rank before
            all others. 0: all, as in the released code. `None`: none.
        loading: Settings for loading the videos.
    """
    loading = loading or Loading()
    was_training = model.training
    model.eval()
    first = {item.video: item for item in reversed(captions.items)}
    videos = captions.videos
    dataset = VideoTextDataset([first[video] for video in videos], model.config.num_frames)
    found = [
        model.get_video_features(batch["pixel_values"].to(model.device))
        for batch in loading.batches(dataset, AlproCollator(processor), "Encoding videos")
    ]
    encoded = BaseModelOutputWithPooling(
        last_hidden_state=torch.cat([each.last_hidden_state for each in found]),
        pooler_output=torch.cat([each.pooler_output for each in found]),
    )
    tokens = {
        name: value.to(model.device)
        for name, value in processor(text=captions.texts, truncation=True, return_tensors="pt").items()
    }
    embeds = [
        model.get_text_features(ids, mask).pooler_output
        for ids, mask in zip(
            tokens["input_ids"].split(loading.batch_size),
            tokens["attention_mask"].split(loading.batch_size),
            strict=True,
        )
    ]
    cosines = (torch.cat(embeds) @ encoded.pooler_output.T).float().cpu().numpy()
    by_text = by_video = cosines
    if rerank is not None:
        matcher = as_matcher(model)
        by_text = read_first(matcher.rank(tokens, encoded, rerank or None, loading.batch_size), cosines)
        by_video = by_text
        if 0 < rerank < max(cosines.shape):
            scores = matcher.rank(tokens, encoded, rerank, loading.batch_size, per_video=True)
            by_video = read_first(scores, cosines)
    model.train(was_training)
    return Retrieved(captions, videos, by_text, by_video, cosines)


def as_matcher(model: Any) -> AlproForVideoTextRetrieval:
    """Return a model that ranks, with the towers and matching head of a model, without copying weights."""
    if isinstance(model, AlproForVideoTextRetrieval):
        return model
    with torch.device("meta"):
        matcher = AlproForVideoTextRetrieval(model.config)
    matcher.alpro, matcher.vtm_head = model.alpro, model.vtm_head
    return matcher


def read_first(probabilities: torch.Tensor, cosines: np.ndarray) -> np.ndarray:
    """Return scores that rank pairs: first those that were scored together, by matching probability, then all others.

    Args:
        probabilities: Result of `rank`.
        cosines: Cosine similarities of the same shape.
    """
    scores = probabilities.float().cpu().numpy()
    return np.where(np.isfinite(scores), scores, cosines + EXCLUDED)


@dataclass(frozen=True)
class Answered:
    """Answers of a model to questions.

    Attributes:
        questions: Questions with the correct answers.
        answers: Answers that the model can choose from.
        probabilities: Probabilities of shape (questions, answers).
    """

    questions: VideoTexts[VideoQuestion]
    answers: Sequence[str]
    probabilities: np.ndarray

    @property
    def chosen(self) -> list[str]:
        """Most likely answer to each question."""
        return [self.answers[index] for index in self.probabilities.argmax(axis=1)]

    def baselines(self, train: VideoTexts[Any]) -> dict[str, float]:
        """Return `without the videos`, the accuracy of the most frequent training answers (`answer_prior`).

        Args:
            train: Training set.
        """
        return {"without the videos": answer_prior(train, self.questions)}

    def metrics(self) -> dict[str, Any]:
        """Return `accuracy`, `by_kind`, and `outside`.

        `outside` is the number of correct answers that are not in the list; they count as wrong.
        """
        items = self.questions.items
        accuracies = answer_accuracy(self.chosen, [item.answer for item in items], [item.kind for item in items])
        known = set(self.answers)
        return {
            "accuracy": accuracies["accuracy"],
            "by_kind": {
                name.removeprefix("accuracy_"): value for name, value in accuracies.items() if name != "accuracy"
            },
            "outside": sum(item.answer not in known for item in items),
        }


@torch.no_grad()
def answer(
    model: Any, processor: Any, questions: VideoTexts[VideoQuestion], loading: Loading | None = None
) -> Answered:
    """Answer questions about videos.

    Args:
        model: An `AlproForVideoQuestionAnswering`.
        processor: Its processor.
        questions: Questions about videos.
        loading: Settings for loading the videos.
    """
    loading = loading or Loading()
    was_training = model.training
    model.eval()
    dataset = VideoTextDataset(questions.items, model.config.num_frames)
    chances = []
    for batch in loading.batches(dataset, AlproCollator(processor), "Answering"):
        logits = model(**{name: tensor.to(model.device) for name, tensor in batch.items()}).logits
        chances.append(logits.float().softmax(dim=1).cpu())
    model.train(was_training)
    answers = [model.config.id2label[index] for index in range(model.config.num_labels)]
    return Answered(questions, answers, torch.cat(chances).numpy())


def answer_prior(train: VideoTexts[VideoQuestion], test: VideoTexts[VideoQuestion]) -> float:
    """Return the accuracy of answering without the video, with `prior_answers`."""
    answers = prior_answers(train, test)
    return sum(given == item.answer for given, item in zip(answers, test.items, strict=True)) / len(test)


def prior_answers(train: VideoTexts[VideoQuestion], test: VideoTexts[VideoQuestion]) -> list[str]:
    """Return the most frequent training answer for each test question.

    It is the most frequent answer to the same words or, if there is none, to the same kind of question, or to any.
    """
    counts: dict[tuple[str, str], Counter[str]] = {}
    for item in train.items:
        for key in (("text", item.text), ("kind", item.kind), ("", "")):
            counts.setdefault(key, Counter())[item.answer] += 1
    answers = []
    for item in test.items:
        keys = (("text", item.text), ("kind", item.kind), ("", ""))
        answers.append(next(counts[key] for key in keys if key in counts).most_common(1)[0][0])
    return answers


@torch.no_grad()
def held_out_losses(
    model: Any,
    processor: Any,
    captions: VideoTexts[VideoText],
    loading: Loading | None = None,
    contrast_only: bool = False,
) -> dict[str, float]:
    """Return the mean pre-training losses on held-out examples, with the same random values each time.

    Args:
        model: An `AlproForPreTraining`.
        processor: Its processor.
        captions: Sentences with their videos.
        loading: Settings for loading the videos.
        contrast_only: As for the model's forward.
    """
    loading = loading or Loading()
    was_training = model.training
    model.eval()
    collate: Any = AlproPretrainingCollator(processor, model.prompter is not None)
    if contrast_only:
        collate = AlproCollator(processor)
    dataset = VideoTextDataset(captions.items, model.config.num_frames)
    found: dict[str, list[float]] = {}
    with torch.random.fork_rng(devices=[]):  # sampling negatives must not change training
        torch.manual_seed(0)
        for batch in loading.batches(dataset, collate, "Held-out losses"):
            if len(batch["input_ids"]) > 1:  # a single example has no negatives
                inputs = {name: tensor.to(model.device) for name, tensor in batch.items()}
                output = model(**inputs, contrast_only=contrast_only)
                for name, value in output.items():
                    if name.endswith("_loss"):
                        found.setdefault(name, []).append(value.item())
    model.train(was_training)
    return {name: float(np.mean(values)) for name, values in found.items()}
