"""Test models for videos with texts, and write tables and figures of their answers."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModel, AutoProcessor

from hf_prompt_models.data.readable import without_unreadable
from hf_prompt_models.data.text.captioned_videos import VideoTexts, read_captioned_videos, read_video_questions
from hf_prompt_models.data.text.video_text_dataset import VideoTextDataset
from hf_prompt_models.metrics.classification import mean_and_deviation
from hf_prompt_models.models.alpro import AlproForPreTraining, AlproForVideoQuestionAnswering, AlproModel
from hf_prompt_models.tasks.video_text.data import report_cut_sentences
from hf_prompt_models.tasks.video_text.evaluation import (
    Answered,
    Loading,
    Retrieved,
    answer,
    held_out_losses,
    retrieve,
)
from hf_prompt_models.tasks.video_text.plots import plot_answered, plot_retrieved
from hf_prompt_models.training.run_folder import PREDICTIONS_FILE, predictions_file
from hf_prompt_models.utils.files import writing_csv


FIGURE = "answers.png"


@dataclass(frozen=True)
class Tested:
    """Test results of a model.

    Attributes:
        found: Retrieval results or answers.
        losses: Pre-training losses on the test set.
        prior: Answer to each question without the video, if known.
    """

    found: Retrieved | Answered
    losses: dict[str, float]
    prior: Sequence[str] | None = None

    @property
    def metrics(self) -> dict[str, Any]:
        """Metrics, with the losses if there are any."""
        return self.found.metrics() | ({"losses": self.losses} if self.losses else {})

    @property
    def guesses(self) -> dict[str, Any]:
        """`chance`, the scores of candidates in random order; or `kinds`, the number of questions of each kind."""
        if isinstance(self.found, Retrieved):
            return {"chance": self.found.chance()}
        return {"kinds": dict(Counter(item.kind for item in self.found.questions.items))}

    def write(self, directory: Path, beginning: str = "") -> None:
        """Write tables and a figure to a folder; `beginning` is put before the file names."""
        self.write_tables(directory / f"{beginning}{PREDICTIONS_FILE}")
        if isinstance(self.found, Retrieved):
            plot_retrieved(self.found, directory / f"{beginning}{FIGURE}")
        else:
            plot_answered(self.found, directory / f"{beginning}{FIGURE}")

    def write_tables(self, path: Path) -> None:
        """Write the answers as CSV. Retrieval has a second file, `video_…`, with a row for each video."""
        if isinstance(self.found, Retrieved):
            write_retrieved(path, self.found)
            write_retrieved_texts(path.with_name(f"video_{path.name}"), self.found)
        else:
            write_answered(path, self.found, self.prior)


def test_model(model: Any, test_set: VideoTexts[Any], rerank: int | None, loading: Loading) -> Tested:
    """Test a model on questions or by retrieval, depending on its class.

    Args:
        model: Model with its processor.
        test_set: Test data.
        rerank: As for `retrieve`; `None` for a prompter, whose matching head is not trained.
        loading: Settings for loading the videos.
    """
    processor = model.processor
    if isinstance(model, AlproForVideoQuestionAnswering):
        return Tested(answer(model, processor, test_set, loading), {})
    losses = {}
    if isinstance(model, AlproForPreTraining):
        losses = held_out_losses(model, processor, test_set, loading, contrast_only=rerank is None)
    return Tested(retrieve(model, processor, test_set, rerank, loading), losses)


def write_retrieved(path: str | os.PathLike, found: Retrieved) -> None:
    """Write a CSV file with a row for each sentence, from which recalls can be recomputed."""
    ranks, contrast = found.ranks(), found.contrast_ranks()
    best = found.by_text.argmax(axis=1)
    with writing_csv(path) as writer:
        writer.writerow(["text", "video", "rank", "rank_by_features", "best_video"])
        for index, item in enumerate(found.captions.items):
            row = [item.text, item.video, ranks[index], contrast[index], found.videos[best[index]]]
            writer.writerow(row)


def write_retrieved_texts(path: str | os.PathLike, found: Retrieved) -> None:
    """Write a CSV file with a row for each video, from which video-to-text recalls can be recomputed."""
    ranks, best = found.text_ranks(), found.by_video.argmax(axis=0)
    with writing_csv(path) as writer:
        writer.writerow(["video", "texts", "rank", "best_text"])
        for index, video in enumerate(found.videos):
            row = [video, int(found.right[:, index].sum()), ranks[index], found.captions[best[index]].text]
            writer.writerow(row)


def write_answered(path: str | os.PathLike, answered: Answered, prior: Sequence[str] | None = None) -> None:
    """Write a CSV file with a row for each question, from which accuracies can be recomputed.

    Args:
        path: Path of the file.
        answered: The answers.
        prior: Answer to each question without the video (`prior_answers`), for a last column.
    """
    chosen, chances = answered.chosen, answered.probabilities.max(axis=1)
    with writing_csv(path) as writer:
        head = ["video", "question", "kind", "answer", "predicted", "score", "right"]
        writer.writerow(head if prior is None else [*head, "without_video"])
        for index, item in enumerate(answered.questions.items):
            right = int(chosen[index] == item.answer)
            score = f"{chances[index]:.4f}"
            row = [item.video, item.text, item.kind, item.answer, chosen[index], score, right]
            writer.writerow(row if prior is None else [*row, prior[index]])


def evaluate_video_text(
    directories: Mapping[str, Path],
    test: str | Sequence[str],
    videos: str | None = None,
    rerank: int = 16,
    on_unreadable: str = "refuse",
    loading: Loading | None = None,
    predictions: str | None = None,
) -> dict[str, Any]:
    """Test a trained model, or the models of all seeds of a run, on captions or questions, depending on its class.

    Args:
        directories: Folders of the models, by seed.
        test: Source of the test data, as for `read_captioned_videos` or `read_video_questions`.
        videos: Folder of the videos, as for these functions.
        rerank: As for `retrieve`.
        on_unreadable: As for `VideoTexts.readable`.
        loading: Settings for loading the videos.
        predictions: CSV file to write, as for `predictions_file`.

    Returns:
        What `hf-prompt evaluate --json` writes.
    """
    loading = loading or Loading()
    config = AutoConfig.from_pretrained(next(iter(directories.values())))
    asks = config.architectures == [AlproForVideoQuestionAnswering.__name__]
    read: Any = read_video_questions if asks else read_captioned_videos
    num_frames = config.num_frames

    def test_all(test_set: VideoTexts[Any]) -> tuple[VideoTexts[Any], dict[str, dict[str, Any]], dict[str, Any], int]:
        seeds: dict[str, dict[str, Any]] = {}
        cut = 0
        for seed, directory in directories.items():
            model = AutoModel.from_pretrained(directory).eval()
            model.processor = AutoProcessor.from_pretrained(directory)
            if not seeds:  # the seeds share their settings
                cut = report_cut_sentences(model.processor, test_set)
            tested = test_model(model, test_set, None if isinstance(model, AlproModel) else rerank, loading)
            seeds[seed] = tested.metrics | {"model": str(directory)}
            if predictions is not None:
                tested.write_tables(predictions_file(predictions, seed, directories))
        return test_set, seeds, tested.guesses, cut

    test_set, seeds, guesses, cut = without_unreadable(
        read(test, videos).readable(on_unreadable, loading.progress),
        test_all,
        lambda texts, index: VideoTextDataset(texts.items, num_frames)[index],
        on_unreadable,
        "texts",
    )
    return {
        "data": {
            "test": test_set.source,
            "test_texts": len(test_set),
            "test_videos": len(test_set.videos),
            "skipped": list(test_set.skipped),
            "cut_texts": cut,
        },
        **guesses,
        **({"answers": config.num_labels} if asks else {}),
        "seeds": seeds,
        "accuracy": mean_and_deviation([metrics["accuracy"] for metrics in seeds.values()]),
    }
