"""Averaging of a prompt over the epochs of training (PromptSRC, arXiv 2307.06948, §3.3)."""

import base64
import math
from typing import Any

import torch
from safetensors.torch import load, save
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState


class PromptAveragingCallback(TrainerCallback, ExportableState):
    """Replace the trained tensors at the end of training by their weighted average over all epochs.

    The weights are those of a normal distribution over the epochs 1, 2, …, `num_train_epochs`, normalised to sum 1.
    The current sum is saved in each checkpoint (in `trainer_state.json`), and a resumed run continues from it.

    Args:
        mean: epoch with the largest weight.
        std: standard deviation of the weights, in epochs, above 0.

    Example:
        ```python
        >>> from hf_prompt_models.prompts.averaging import epoch_weights
        >>> [round(weight, 3) for weight in epoch_weights(3, mean=2, std=1)]
        [0.274, 0.452, 0.274]

        ```
    """

    def __init__(self, mean: float, std: float):
        if std <= 0:
            raise ValueError(f"Expected std > 0, got {std}.")
        self.mean, self.std = mean, std
        self._sum: dict[str, torch.Tensor] = {}
        self.num_epochs = 0

    def state(self) -> dict[str, Any]:
        """Return the state to save in a checkpoint, as JSON values."""
        tensors = {name: tensor.cpu().contiguous() for name, tensor in self._sum.items()}
        encoded = base64.b64encode(save(tensors)).decode() if tensors else ""
        attributes = {"encoded_sum": encoded, "num_epochs": self.num_epochs}
        return {"args": {"mean": self.mean, "std": self.std}, "attributes": attributes}

    @property
    def encoded_sum(self) -> str:
        """Current sum, encoded as in `state`."""
        return self.state()["attributes"]["encoded_sum"]

    @encoded_sum.setter
    def encoded_sum(self, value: str) -> None:
        self._sum = load(base64.b64decode(value)) if value else {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Start a new sum, or load the one in the checkpoint of a resumed run.

        Args:
            args: training arguments.
            state: state of the Trainer.
            control: not used.
            model: the model that is trained.
            kwargs: not used.

        Raises:
            ValueError: if the checkpoint is from a run without this callback, or with other settings.
        """
        self._sum, self.num_epochs = {}, 0
        if state.global_step == 0:
            return
        kept = (state.stateful_callbacks or {}).get(type(self).__name__)
        if not isinstance(kept, dict) or kept["args"] != {"mean": self.mean, "std": self.std}:
            found = kept["args"] if isinstance(kept, dict) else "no average"
            raise ValueError(
                f"The checkpoint contains {found}, but this run averages with mean={self.mean} and "
                f"std={self.std}. Resume with the settings of the run that saved the checkpoint."
            )
        self.encoded_sum, self.num_epochs = kept["attributes"]["encoded_sum"], kept["attributes"]["num_epochs"]
        # A checkpoint at the last step of an epoch is saved before `on_epoch_end`, which is not called again for it.
        if self.num_epochs < int(state.epoch + 1e-6):
            self._add(state, model)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Add the trained tensors of this epoch to the sum."""
        self._add(state, model)

    def _add(self, state: TrainerState, model: nn.Module) -> None:
        weights = epoch_weights(math.ceil(state.num_train_epochs), self.mean, self.std)
        weight = weights[self.num_epochs]
        self.num_epochs += 1
        for name, tensor in trained_tensors(model).items():
            part = weight * tensor.detach().float()
            self._sum[name] = self._sum[name].to(part.device) + part if name in self._sum else part

    @torch.no_grad()
    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Copy the average into the model; a run that was stopped early keeps its last tensors."""
        if state.global_step < state.max_steps:
            return
        for name, tensor in trained_tensors(model).items():
            tensor.copy_(self._sum[name])


def epoch_weights(num_epochs: int, mean: float, std: float) -> list[float]:
    """Return the weights of epochs 1, 2, …: normal densities around `mean`, normalised to sum 1.

    Args:
        num_epochs: number of epochs.
        mean: epoch with the largest weight.
        std: standard deviation in epochs.
    """
    # Relative to the largest exponent, so that the sum does not underflow to 0 if the mean is far away.
    exponents = [-((epoch - mean) ** 2) / (2 * std**2) for epoch in range(1, num_epochs + 1)]
    densities = [math.exp(exponent - max(exponents)) for exponent in exponents]
    return [density / sum(densities) for density in densities]


def trained_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the parameters that require gradients, by name.

    Args:
        model: the model.
    """
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
