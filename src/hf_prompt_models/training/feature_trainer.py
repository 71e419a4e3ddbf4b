"""Training of models that fit a head to stored features: `model.fit_features` in place of the Trainer's loop."""

import sys
from typing import Any

from tqdm.auto import tqdm
from transformers.trainer_utils import TrainOutput

from hf_prompt_models.data.images.dataset import ViewFeatureDataset
from hf_prompt_models.training.trainer import PromptTrainer


class FeatureTrainer(PromptTrainer):
    """Trainer of models with `fit_features`. The training set holds features, of one view of each image or of several.

    Training takes seconds, so there are no checkpoints: an interrupted run starts over.

    Of the training arguments, `learning_rate`, `num_train_epochs` and `per_device_train_batch_size` are used.

    Attributes:
        settings: The settings that `fit_features` returned, after training.
    """

    settings: dict[str, float] | None = None

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> TrainOutput:
        """Fit the model's head to the features of the training set.

        Args:
            resume_from_checkpoint: not used, because there are no checkpoints.
            args: not used.
            kwargs: not used.
        """
        dataset = self.train_dataset
        features = dataset.view_embeds.transpose(0, 1) if isinstance(dataset, ViewFeatureDataset) else dataset.features
        model: Any = self._plain_model()
        state, steps = self.state, self.steps_per_epoch()
        with tqdm(
            total=int(self.args.num_train_epochs),
            desc="Fitting",
            leave=False,
            disable=self.args.disable_tqdm,
            file=sys.stderr,
        ) as bar:

            def log(epoch: int, loss: float, learning_rate: float) -> None:
                bar.update()
                state.global_step = epoch * steps
                values = {"loss": loss, "learning_rate": learning_rate, "epoch": float(epoch)}
                state.log_history.append(values | {"step": state.global_step})

            self.settings = model.fit_features(
                features,
                dataset.labels,
                learning_rate=self.args.learning_rate,
                num_epochs=int(self.args.num_train_epochs),
                batch_size=self.args.per_device_train_batch_size,
                on_epoch=log,
            )
        losses = [entry["loss"] for entry in state.log_history]
        return TrainOutput(state.global_step, losses[-1] if losses else 0.0, {})
