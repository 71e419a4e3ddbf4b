"""The Hugging Face Trainer, with what prompt learning needs on top."""

import json
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import ProgressCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import ADAPTER_SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_NAME

from hf_prompt_models.training.schedule import epoch_cosine_learning_rate


class PromptTrainer(Trainer):
    """`Trainer` with CoOp's schedule, augmentation by epoch, and one quiet progress bar.

    Args:
        own_schedule: use the paper's learning rate schedule instead of `args.lr_scheduler_type`.
        learning_rate_factors: by the beginning of parameters' names, what to multiply their learning rate with. Given
            some, weight decay applies to all parameters, as ActionCLIP's code has it.
        args, kwargs: as for `Trainer`.
    """

    def __init__(
        self,
        *args: Any,
        own_schedule: bool = True,
        learning_rate_factors: dict[str, float] | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.learning_rate_factors = learning_rate_factors or {}
        self.own_schedule = own_schedule
        self.optimizer: torch.optim.Optimizer
        self.lr_scheduler: torch.optim.lr_scheduler.LRScheduler | None
        if self.train_dataset is not None and 0 < self.args.save_steps < 1:
            # As a number: the Trainer, resuming, takes a share for another setting than the number it became.
            self.args.save_steps = math.ceil(self.args.save_steps * self.total_steps())
        self.add_callback(EpochCallback(self))
        if not self.args.disable_tqdm:
            self.remove_callback(ProgressCallback)
            self.add_callback(QuietProgressCallback)
        self.remove_callback(PrinterCallback)

    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        return max(math.ceil(len(self.get_train_dataloader()) / self.args.gradient_accumulation_steps), 1)

    def total_steps(self) -> int:
        """Optimizer steps in the whole training."""
        if self.args.max_steps > 0:
            return self.args.max_steps
        return math.ceil(self.args.num_train_epochs * self.steps_per_epoch())

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """As `Trainer`'s, but for tied weights, which checkpoints hold once."""
        missing = [name for name in load_result.missing_keys if name not in self.model.all_tied_weights_keys]
        super()._issue_warnings_after_load(load_result._replace(missing_keys=missing))

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if not self.learning_rate_factors:
            return super().create_optimizer(model)
        groups: dict[float, list[torch.nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                factors = (factor for start, factor in self.learning_rate_factors.items() if name.startswith(start))
                groups.setdefault(next(factors, 1.0), []).append(parameter)
        optimizer_class, settings = self.get_optimizer_cls_and_kwargs(self.args)
        decay = {"weight_decay": self.args.weight_decay}
        optimizer = optimizer_class(
            [{"params": group, "lr": factor * self.args.learning_rate, **decay} for factor, group in groups.items()],
            **settings,
        )
        self.optimizer = optimizer
        return optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        if not self.own_schedule or self.args.learning_rate == 0:
            return super().create_scheduler(num_training_steps, optimizer)
        if self.lr_scheduler is None:
            steps_per_epoch = self.steps_per_epoch()
            num_epochs = max(round(num_training_steps / steps_per_epoch), 1)
            rate = self.args.learning_rate
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer,
                lambda step: epoch_cosine_learning_rate(step // steps_per_epoch, num_epochs, rate) / rate,
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler


class EpochCallback(TrainerCallback):
    """Tells the training set which epoch it is, whatever sampler the Trainer wraps around it."""

    def __init__(self, trainer: Trainer):
        self.trainer = trainer

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        set_epoch = getattr(self.trainer.train_dataset, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(int(state.epoch + 1e-6))


class QuietProgressCallback(ProgressCallback):
    """A progress bar that shows the loss beside it instead of printing a line for every log."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if state.is_world_process_zero and self.training_bar is not None and logs:
            shown = {
                name: logs[name] for name in ("loss", "learning_rate", "eval_accuracy", "eval_cider_d") if name in logs
            }
            self.training_bar.set_postfix(shown)


def newest_whole_checkpoint(directory: str | os.PathLike) -> str | None:
    """The newest `checkpoint-N` under a folder that was written to its end, or `None`."""
    checkpoints = [
        path
        for path in Path(directory).glob(f"{PREFIX_CHECKPOINT_DIR}-*")
        if path.name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-").isdigit() and _is_whole(path)
    ]
    newest = max(checkpoints, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return None if newest is None else str(newest)


def _is_whole(checkpoint: Path) -> bool:
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        weights = checkpoint / ADAPTER_SAFE_WEIGHTS_NAME  # what peft trains and saves alone
        with safe_open(weights if weights.is_file() else checkpoint / SAFE_WEIGHTS_NAME, framework="pt"):
            pass
    except (OSError, json.JSONDecodeError, SafetensorError):
        return False
    # torch writes zip archives, whose directory comes last: a truncated one is none.
    files = [checkpoint / "optimizer.pt", checkpoint / "scheduler.pt", *checkpoint.glob("rng_state*.pth")]
    return "global_step" in state and all(zipfile.is_zipfile(file) for file in files)
