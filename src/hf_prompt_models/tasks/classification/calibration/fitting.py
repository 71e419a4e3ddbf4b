"""Fit the calibration temperature of a run's model on held-out training data, by cross-validation."""

import copy
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm
from transformers import TrainingArguments, set_seed
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from hf_prompt_models.tasks.classification.calibration.temperature import Calibration, cross_fitted
from hf_prompt_models.training.settings import check_batches
from hf_prompt_models.utils.folds import NEVER_HELD_OUT, stratified_folds


if TYPE_CHECKING:
    from hf_prompt_models.tasks.classification.run import ClassificationRun

NUM_FOLDS = 5


def fit_calibration(run: "ClassificationRun[Any]", training: TrainingArguments) -> Calibration | None:
    """Train a model on each but one fold of a seed's training data, score the fold, and fit a temperature.

    Files that are nearly the same are in the same fold, so that held-out files are new to the model. A class whose
    files are all nearly the same is never held out.

    Args:
        run: The run, whose data and recipe are used.
        training: Training arguments of the seed.

    Returns:
        The calibration, or `None` if no file can be held out.
    """
    sample = run.samples[training.seed]
    labels = np.asarray(sample.labels)
    folds = stratified_folds(labels, NUM_FOLDS, training.seed, run.similar_files(sample))
    held_out = [fold for fold in np.unique(folds) if fold != NEVER_HELD_OUT]
    if len(held_out) < 2:
        return None
    scores = np.zeros((len(sample), len(sample.class_names)))
    for fold in tqdm(held_out, desc="Calibration", unit="fold", leave=False, disable=training.disable_tqdm):
        rest, own = np.flatnonzero(folds != fold).tolist(), np.flatnonzero(folds == fold).tolist()
        with tempfile.TemporaryDirectory() as directory:
            settings = fold_arguments(training, directory, len(rest))
            check_batches(settings, len(rest), run.recipe.contrasts_batch)
            set_seed(training.seed)
            trainer = run.build_trainer(settings, sample.select(rest))
            trainer.train()
        model: Any = trainer.model
        scores[own] = run.log_probabilities(run.score_files(model.eval(), sample.select(own)))
    tested = folds != NEVER_HELD_OUT
    return cross_fitted(scores[tested], labels[tested], folds[tested])


def fold_arguments(training: TrainingArguments, directory: str, num_examples: int) -> TrainingArguments:
    """Return the arguments of a run that trains a model for one fold and saves nothing.

    Args:
        training: Training arguments of the seed.
        directory: Temporary folder.
        num_examples: Number of training examples without the fold.
    """
    settings = copy.copy(training)
    settings.output_dir = directory
    settings.save_strategy, settings.eval_strategy = SaveStrategy.NO, IntervalStrategy.NO
    settings.load_best_model_at_end = settings.push_to_hub = False
    settings.resume_from_checkpoint = None
    settings.report_to = []
    settings.disable_tqdm = True
    together = settings.train_batch_size * settings.world_size
    # A last batch of one example has no loss for methods that compare the examples of a batch.
    settings.dataloader_drop_last = num_examples >= together and (
        training.dataloader_drop_last or num_examples % together == 1
    )
    return settings
