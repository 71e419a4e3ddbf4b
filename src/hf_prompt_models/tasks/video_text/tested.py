"""Testing models over videos with texts, and the tables and figures of what they answered."""

import csv
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_prompt_models.data.text.captioned_videos import VideoTexts
from hf_prompt_models.models.alpro import AlproForPreTraining, AlproForVideoQuestionAnswering
from hf_prompt_models.tasks.video_text.evaluation import (
    Answered,
    Loading,
    Retrieved,
    answer,
    held_out_losses,
    retrieve,
)
from hf_prompt_models.tasks.video_text.plots import plot_answered, plot_retrieved
from hf_prompt_models.training.run_folder import PREDICTIONS_FILE
from hf_prompt_models.utils.files import replacing


PICTURE = "answers.png"


@dataclass(frozen=True)
class Tested:
    """What a model was found to do.

    Attributes:
        found: what it found or answered.
        losses: of pre-training, on the test set.
        prior: for each question the answer that is given without the video, where it is known.
    """

    found: Retrieved | Answered
    losses: dict[str, float]
    prior: Sequence[str] | None = None

    @property
    def metrics(self) -> dict[str, Any]:
        return self.found.metrics() | ({"losses": self.losses} if self.losses else {})

    @property
    def guesses(self) -> dict[str, Any]:
        """`chance`: what candidates in random order reach; or `kinds`: how many questions of each kind there are."""
        if isinstance(self.found, Retrieved):
            return {"chance": self.found.chance()}
        return {"kinds": dict(Counter(item.kind for item in self.found.questions.items))}

    def write(self, directory: Path, beginning: str = "") -> None:
        self.write_tables(directory / f"{beginning}{PREDICTIONS_FILE}")
        if isinstance(self.found, Retrieved):
            plot_retrieved(self.found, directory / f"{beginning}{PICTURE}")
        else:
            plot_answered(self.found, directory / f"{beginning}{PICTURE}")

    def write_tables(self, path: Path) -> None:
        """Write the answers as CSV; of retrieval a second file, `video_` in front of its name, has a row a video."""
        if isinstance(self.found, Retrieved):
            write_retrieved(path, self.found)
            write_retrieved_texts(path.with_name(f"video_{path.name}"), self.found)
        else:
            write_answered(path, self.found, self.prior)


def test_model(model: Any, test_set: VideoTexts[Any], rerank: int | None, loading: Loading) -> Tested:
    """Ask a model all questions, or search by all sentences, whichever it is for.

    Args:
        model: with its processor.
        test_set: what to test on.
        rerank: as for `retrieve`; `None` for a prompter, whose matching head nothing has taught.
        loading: of the videos.
    """
    processor = model.processor
    if isinstance(model, AlproForVideoQuestionAnswering):
        return Tested(answer(model, processor, test_set, loading), {})
    losses = {}
    if isinstance(model, AlproForPreTraining):
        losses = held_out_losses(model, processor, test_set, loading, contrast_only=rerank is None)
    return Tested(retrieve(model, processor, test_set, rerank, loading), losses)


def write_retrieved(path: str | os.PathLike, found: Retrieved) -> None:
    """Write CSV with a row for each sentence, from which recalls can be counted again."""
    ranks, contrast = found.ranks(), found.contrast_ranks()
    best = found.by_text.argmax(axis=1)
    with replacing(path) as beside, _table(beside) as file:
        writer = csv.writer(file)
        writer.writerow(["text", "video", "rank", "rank_by_features", "best_video"])
        for index, item in enumerate(found.captions.items):
            row = [item.text, item.video, ranks[index], contrast[index], found.videos[best[index]]]
            writer.writerow(row)


def write_retrieved_texts(path: str | os.PathLike, found: Retrieved) -> None:
    """Write CSV with a row for each video, from which the recalls of texts by videos can be counted again."""
    ranks, best = found.text_ranks(), found.by_video.argmax(axis=0)
    with replacing(path) as beside, _table(beside) as file:
        writer = csv.writer(file)
        writer.writerow(["video", "texts", "rank", "best_text"])
        for index, video in enumerate(found.videos):
            row = [video, int(found.right[:, index].sum()), ranks[index], found.captions[best[index]].text]
            writer.writerow(row)


def write_answered(path: str | os.PathLike, answered: Answered, prior: Sequence[str] | None = None) -> None:
    """Write CSV with a row for each question, from which accuracies can be counted again.

    Args:
        path: of the file.
        answered: the answers.
        prior: for each question the answer that is given without the video (`prior_answers`), a last column.
    """
    chosen, chances = answered.chosen, answered.probabilities.max(axis=1)
    with replacing(path) as beside, _table(beside) as file:
        writer = csv.writer(file)
        head = ["video", "question", "kind", "answer", "predicted", "score", "right"]
        writer.writerow(head if prior is None else [*head, "without_video"])
        for index, item in enumerate(answered.questions.items):
            right = int(chosen[index] == item.answer)
            score = f"{chances[index]:.4f}"
            row = [item.video, item.text, item.kind, item.answer, chosen[index], score, right]
            writer.writerow(row if prior is None else [*row, prior[index]])


def _table(path: Path) -> Any:
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
