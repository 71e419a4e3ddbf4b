"""A Trainer for models whose loss is a sum of several losses, each of which is logged by its name."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerControl

from hf_prompt_models.training.trainer import PromptTrainer
from hf_prompt_models.utils.distributed import gather_examples


class NamedLossTrainer(PromptTrainer):
    """`PromptTrainer` that logs, next to the loss, the means of the outputs whose names end with `_loss`.

    Args:
        forward_arguments: keyword arguments passed to the model in training with each batch.
        measure: function that returns the metrics for evaluations during training (`--eval_strategy epoch`).
        args: positional arguments of `PromptTrainer`.
        kwargs: keyword arguments of `PromptTrainer`.
    """

    def __init__(
        self,
        *args: Any,
        forward_arguments: dict[str, Any] | None = None,
        measure: Callable[[], dict[str, float]] | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, own_schedule=False, **kwargs)
        self.control: TrainerControl
        self.forward_arguments = forward_arguments or {}
        self.measure = measure
        self._totals: dict[str, tuple[torch.Tensor, int]] = {}

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Compute the loss as `Trainer` does, and keep the named losses for the log."""
        outputs = model(**inputs, **self.forward_arguments)
        for name, value in outputs.items():
            if name.endswith("_loss"):
                total, count = self._totals.get(name, (torch.zeros_like(value), 0))
                self._totals[name] = total + value.detach(), count + 1
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log the values, with the means of the named losses since the last log over all processes."""
        if "loss" in logs:
            for name, (total, count) in self._totals.items():
                logs[name] = round(gather_examples((total / count).reshape(1)).mean().item(), 4)
            self._totals = {}
        super().log(logs, *args, **kwargs)

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Return and log the metrics of `measure`."""
        if self.measure is None:
            return super().evaluate(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in self.measure().items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
