"""Test models on phrases, and write their answers."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import AutoModel, AutoProcessor

from hf_prompt_models.data.grounding.dataset import POSITIVE_IOU, GroundingCollator, GroundingDataset
from hf_prompt_models.data.grounding.referring_expressions import ReferringExpressions, read_referring_expressions
from hf_prompt_models.data.readable import check_all, refuse, report_skipped
from hf_prompt_models.metrics.classification import mean_and_deviation
from hf_prompt_models.metrics.grounding import grounding_accuracy, proposal_oracle
from hf_prompt_models.metrics.guessing import chance_of_regions, right_regions
from hf_prompt_models.processing_utils import report_cut_texts
from hf_prompt_models.training.run_folder import predictions_file, seed_words
from hf_prompt_models.utils.boxes import Box, box_iou
from hf_prompt_models.utils.files import writing_csv


@dataclass(frozen=True)
class GroundedExpressions:
    """Predictions of a model for phrases.

    Attributes:
        expressions: The phrases.
        scores: For each phrase, a score for each of its candidate regions.
    """

    expressions: ReferringExpressions
    scores: list[np.ndarray]

    @property
    def chosen(self) -> list[Box]:
        """Chosen box of each phrase."""
        pairs = zip(self.expressions.proposals, self.scores, strict=True)
        return [regions.boxes[int(scores.argmax())] for regions, scores in pairs]

    @property
    def chance(self) -> float:
        """Expected accuracy of uniformly sampled candidate regions, from 0 to 1."""
        return chance_of_regions([regions.boxes for regions in self.expressions.proposals], self.expressions.boxes)

    def metrics(self) -> dict[str, float]:
        """Return `accuracy`, and `proposal_oracle`, the accuracy of the best possible choice, from 0 to 1."""
        references = self.expressions.boxes
        return {
            "accuracy": grounding_accuracy(self.chosen, references),
            "proposal_oracle": proposal_oracle([regions.boxes for regions in self.expressions.proposals], references),
        }


@torch.no_grad()
def ground_expressions(
    model: Any,
    processor: Any,
    expressions: ReferringExpressions,
    batch_size: int = 8,
    num_workers: int = 0,
    progress: bool = True,
) -> GroundedExpressions:
    """Score the candidate regions of each phrase.

    Args:
        model: A `CptForVisualGrounding` in eval mode.
        processor: Its `CptProcessor`.
        expressions: Phrases with candidate regions.
        batch_size: Number of phrases per batch.
        num_workers: Number of processes that load examples.
        progress: Whether to show a progress bar.

    Example:
        ```python
        >>> from hf_prompt_models import CptForVisualGrounding, CptProcessor
        >>> from hf_prompt_models.data import read_referring_expressions
        >>> from hf_prompt_models.playground.scenes import write_scene_folder
        >>> from hf_prompt_models.tasks import ground_expressions
        >>> write_scene_folder("scenes", seed=0, train=1, test=4)
        >>> model, processor = (each.from_backbone("playground") for each in (CptForVisualGrounding, CptProcessor))
        >>> expressions = read_referring_expressions("scenes", split="test")
        >>> ground_expressions(model.eval(), processor, expressions, progress=False).metrics()
        {'accuracy': 1.0, 'proposal_oracle': 1.0}

        ```
    """
    loader = DataLoader(
        GroundingDataset(expressions), batch_size, collate_fn=GroundingCollator(processor), num_workers=num_workers
    )
    rows: list[np.ndarray] = []
    for batch in tqdm(loader, desc="Grounding", leave=False, disable=not progress):
        inputs = {name: tensor.to(model.device) for name, tensor in batch.items() if name != "labels"}
        rows += list(model(**inputs).proposal_logits.float().cpu().numpy())
    pairs = zip(rows, expressions.proposals, strict=True)
    return GroundedExpressions(expressions, [row[: len(regions)] for row, regions in pairs])


def report_cut_phrases(processor: Any, expressions: ReferringExpressions) -> int:
    """Warn once about all phrases whose ends the processor truncates, and return their number."""
    lengths = [(text, processor.sentence_length(text, index)) for index, text in enumerate(expressions.texts)]
    return report_cut_texts(lengths, processor.max_length, expressions.source)


def write_grounding_predictions(path: str | os.PathLike, grounded: GroundedExpressions) -> None:
    """Write a CSV file with a row for each phrase, from which all metrics can be recomputed.

    The accuracy is the mean of `right`; the regions' oracle is the share of phrases with any `right_candidates`;
    chance is the mean of `right_candidates` over `candidates`.
    """
    expressions = grounded.expressions
    with writing_csv(path) as writer:
        columns = ["id", "image", "text", "region", "x1", "y1", "x2", "y2", "iou", "candidates", "right_candidates"]
        writer.writerow([*columns, "right"])
        counts = right_regions([regions.boxes for regions in expressions.proposals], expressions.boxes)
        for index, (box, scores) in enumerate(zip(grounded.chosen, grounded.scores, strict=True)):
            overlap = box_iou([box], [expressions.boxes[index]]).item()
            row = [expressions.names[index], expressions.pictures[index], expressions.texts[index]]
            answer = [int(scores.argmax()), *box, f"{overlap:.4f}"]
            writer.writerow([*row, *answer, *counts[index], int(overlap > POSITIVE_IOU)])


def readable_expressions(expressions: ReferringExpressions, on_unreadable: str) -> ReferringExpressions:
    """Return the phrases whose images can be decoded; arguments and errors as in `LabelledFiles.readable`."""
    first = {picture: index for index, picture in reversed(list(enumerate(expressions.pictures)))}
    kept, broken = check_all(first.values(), expressions.check, on_unreadable, "Checking images", progress=False)
    if on_unreadable != "skip":
        refuse(broken)
    report_skipped(kept, broken, f"images of {expressions.source}")
    readable = {expressions.pictures[index] for index in kept}
    return expressions.select([index for index, each in enumerate(expressions.pictures) if each in readable])


def evaluate_grounding(
    directories: Mapping[str, Path],
    test: str,
    images: str | None = None,
    proposals: str | None = None,
    backbone: str | None = None,
    batch_size: int = 8,
    num_workers: int = 0,
    predictions: str | None = None,
    on_unreadable: str = "refuse",
    box_format: str = "xywh",
) -> dict[str, Any]:
    """Test a trained model, or the models of all seeds of a run, on phrases.

    Args:
        directories: Folders of the models, by seed.
        test: Source of the phrases, as for `read_referring_expressions`.
        images: Folder of the images, as for `read_referring_expressions`.
        proposals: File of candidate regions, as for `read_referring_expressions`.
        backbone: Current location of the backbone, if checkpoints without it were saved and it moved since.
        batch_size: Number of phrases per batch.
        num_workers: Number of processes that decode and paint images.
        predictions: CSV file to write, as for `predictions_file`.
        on_unreadable: "refuse", or "skip" to leave out phrases whose images cannot be read.
        box_format: Format of boxes, as for `read_referring_expressions`.

    Returns:
        What `hf-prompt evaluate --json` writes.
    """
    expressions = read_referring_expressions(test, "test", images, proposals, box_format)
    expressions = readable_expressions(expressions, on_unreadable)
    expressions.check_boxes()
    moved = {} if backbone is None else {"base_model_name_or_path": backbone}
    seeds: dict[str, dict[str, Any]] = {}
    cut = 0
    for seed, directory in directories.items():
        model = AutoModel.from_pretrained(directory, **moved).eval()
        processor = AutoProcessor.from_pretrained(directory)
        if not seeds:  # the seeds share their settings
            cut = report_cut_phrases(processor, expressions)
        grounded = ground_expressions(model, processor, expressions, batch_size, num_workers, progress=False)
        seeds[seed] = grounded.metrics() | {"model": str(directory)}
        if predictions is not None:
            write_grounding_predictions(predictions_file(predictions, seed, directories), grounded)
    return {
        "data": {"test": expressions.source, "test_expressions": len(expressions), "cut_texts": cut},
        "chance": {"accuracy": grounded.chance},
        "seeds": seeds,
        "accuracy": mean_and_deviation([metrics["accuracy"] for metrics in seeds.values()]),
    }


def summarise_evaluation(results: dict[str, Any]) -> str:
    """Return the lines that `hf-prompt evaluate` prints."""
    lines = [
        (
            f"{results['data']['test_expressions']} expressions; the accuracy of a random candidate region is "
            f"{results['chance']['accuracy']:.2%}"
        ),
        *(
            (
                f"{seed_words(seed):<13} accuracy {metrics['accuracy']:.2%}, proposal oracle "
                f"{metrics['proposal_oracle']:.2%}"
            )
            for seed, metrics in results["seeds"].items()
        ),
    ]
    if len(results["seeds"]) > 1:
        lines.append(f"mean ± deviation  {results['accuracy']['mean']:.2%} ± {results['accuracy']['std']:.2%}")
    return "\n".join(lines)
