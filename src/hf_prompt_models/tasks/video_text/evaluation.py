"""Testing models over videos with texts: retrieval in both directions, answers to questions, held-out losses."""

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
"""Below every cosine: what cosines are moved by, so that pairs that were read together come before all others."""


@dataclass(frozen=True)
class Loading:
    """How test data are loaded.

    Attributes:
        batch_size, num_workers: of the loaders.
        progress: whether to show bars.
    """

    batch_size: int = 16
    num_workers: int = 0
    progress: bool = False

    def batches(self, dataset: Any, collate: Any, title: str) -> Any:
        loader = DataLoader(dataset, self.batch_size, collate_fn=collate, num_workers=self.num_workers)
        return tqdm(loader, desc=title, leave=False, disable=not self.progress)


@dataclass(frozen=True)
class Retrieved:
    """What a model makes of sentences and videos.

    Attributes:
        captions: the sentences, each with its video.
        videos: each once.
        by_text: (sentences, videos) scores by which videos are ordered for a sentence.
        by_video: (sentences, videos) scores by which sentences are ordered for a video.
        cosines: (sentences, videos) of the features.
    """

    captions: VideoTexts[VideoText]
    videos: list[Path]
    by_text: np.ndarray
    by_video: np.ndarray
    cosines: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """(sentences, videos) bool."""
        place = {video: index for index, video in enumerate(self.videos)}
        own = np.array([place[item.video] for item in self.captions.items])
        return own[:, None] == np.arange(len(self.videos))

    def ranks(self) -> np.ndarray:
        """(sentences,) place of each one's video, from 1."""
        return ranks_of_any(self.by_text, self.right)

    def text_ranks(self) -> np.ndarray:
        """(videos,) place of the best of each one's sentences among those of others, from 1."""
        return ranks_of_any(self.by_video.T, self.right.T)

    def contrast_ranks(self) -> np.ndarray:
        """Likewise, by the features alone."""
        return ranks_of_any(self.cosines, self.right)

    def baselines(self, train: VideoTexts[Any]) -> dict[str, float]:
        """`chance`: the expected recall at 1, text to video, of videos in random order. `train` is not looked at."""
        return {"chance": self.chance()["text_to_video"]["recall_at_1"]}

    def chance(self) -> dict[str, dict[str, float]]:
        """Expected scores of candidates in random order, in both directions."""
        return {
            "text_to_video": chance_of_retrieval(self.right),
            "video_to_text": chance_of_retrieval(self.right.T),
        }

    def metrics(self) -> dict[str, Any]:
        """`text_to_video`, `video_to_text`, and `contrast` (text to video by features alone): recall at 1, 5 and 10,
        median and mean rank; `accuracy` is the first's recall at 1."""
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
        model: an ALPRO; with a matching head if candidates are to be read together with the query.
        processor: its own.
        captions: sentences with their videos.
        rerank: so many of the candidates closest by features are read together with the query, and come before all
            others; 0: all of them, as the released code does; `None`: none.
        loading: of the videos.
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
    """A model's own towers and matching head as a model that ranks; nothing is copied."""
    if isinstance(model, AlproForVideoTextRetrieval):
        return model
    with torch.device("meta"):
        matcher = AlproForVideoTextRetrieval(model.config)
    matcher.alpro, matcher.vtm_head = model.alpro, model.vtm_head
    return matcher


def read_first(probabilities: torch.Tensor, cosines: np.ndarray) -> np.ndarray:
    """Scores that order pairs: first those that were read together, by how likely they match, then all others.

    Args:
        probabilities: what `rank` gives.
        cosines: of the same shape.
    """
    scores = probabilities.float().cpu().numpy()
    return np.where(np.isfinite(scores), scores, cosines + EXCLUDED)


@dataclass(frozen=True)
class Answered:
    """What a model answers to questions.

    Attributes:
        questions: with the right answers.
        answers: the model's list.
        probabilities: (questions, answers).
    """

    questions: VideoTexts[VideoQuestion]
    answers: Sequence[str]
    probabilities: np.ndarray

    @property
    def chosen(self) -> list[str]:
        """The likeliest answer of each."""
        return [self.answers[index] for index in self.probabilities.argmax(axis=1)]

    def baselines(self, train: VideoTexts[Any]) -> dict[str, float]:
        """`without the videos`: the accuracy of what was answered most often in training (`answer_prior`)."""
        return {"without the videos": answer_prior(train, self.questions)}

    def metrics(self) -> dict[str, Any]:
        """`accuracy`, `by_kind`, and `outside`: how many right answers are not in the list; they count as wrong."""
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
    """Ask a model questions.

    Args:
        model: an `AlproForVideoQuestionAnswering`.
        processor: its own.
        questions: about videos.
        loading: of the videos.
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
    """Accuracy of answering without the video, by `prior_answers`."""
    answers = prior_answers(train, test)
    return sum(given == item.answer for given, item in zip(answers, test.items, strict=True)) / len(test)


def prior_answers(train: VideoTexts[VideoQuestion], test: VideoTexts[VideoQuestion]) -> list[str]:
    """Return for each test question what was answered most often, in training, to the same words, or else to the same
    kind of question, or else to any."""
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
    """Means of the losses of pre-training over batches that were not trained on, the same draws each time.

    Args:
        model: an `AlproForPreTraining`.
        processor: its own.
        captions: sentences with their videos.
        loading: of the videos.
        contrast_only: as of the model's forward.
    """
    loading = loading or Loading()
    was_training = model.training
    model.eval()
    collate: Any = AlproPretrainingCollator(processor, model.prompter is not None)
    if contrast_only:
        collate = AlproCollator(processor)
    dataset = VideoTextDataset(captions.items, model.config.num_frames)
    found: dict[str, list[float]] = {}
    with torch.random.fork_rng(devices=[]):  # negatives are drawn; training's draws go on as if nothing had been
        torch.manual_seed(0)
        for batch in loading.batches(dataset, collate, "Held-out losses"):
            if len(batch["input_ids"]) > 1:  # a single one has no negatives
                inputs = {name: tensor.to(model.device) for name, tensor in batch.items()}
                output = model(**inputs, contrast_only=contrast_only)
                for name, value in output.items():
                    if name.endswith("_loss"):
                        found.setdefault(name, []).append(value.item())
    model.train(was_training)
    return {name: float(np.mean(values)) for name, values in found.items()}
