"""The Hugging Face Trainer, extended for prompt learning."""

import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import torch
from huggingface_hub import CommitInfo
from torch.utils.data import DataLoader, IterableDataset
from transformers import (
    PreTrainedModel,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, TrainOutput, rotate_checkpoints

from hf_prompt_models.data.images.dataset import FeatureDataset, ViewFeatureDataset
from hf_prompt_models.data.streaming import EndlessStream
from hf_prompt_models.hub.model_card import (
    CARD_FILE,
    Checkpoint,
    RunOnCard,
    is_generated,
    make_card,
    read_card,
    write_card,
)
from hf_prompt_models.training.callbacks.progress import PaceCallback, QuietProgressCallback
from hf_prompt_models.training.checkpoints import (
    STATE_FILE,
    remove_torn_checkpoints,
    restore_checkpoints,
)
from hf_prompt_models.training.stopping import StopCallback
from hf_prompt_models.utils.distributed import as_on_main_process
from hf_prompt_models.utils.files import move_folder, naming_what_fails, remove_unfinished, staging
from hf_prompt_models.utils.schedule import epoch_cosine_learning_rate


logger = logging.getLogger(__name__)


class PromptTrainer(Trainer):
    """`Trainer` with CoOp's schedule, augmentation by epoch, crash-safe checkpoints and one quiet progress bar.

    A checkpoint is written to a temporary folder and moved into place once it is completely on disk. A process that
    is killed at any time therefore leaves the previous checkpoint intact.

    The training set is a `datasets.Dataset`, of which only the rows of a batch are in memory, or, with `max_steps`, a
    stream (`datasets.IterableDataset`), which starts over when it ends. Each process reads the complete stream and
    takes its part of each batch, so that several processes train on the same batches as one. For the paper's
    schedule, each step on a stream counts as an epoch.

    Args:
        own_schedule: whether to use the paper's learning rate schedule instead of `args.lr_scheduler_type`.
        learning_rate_factors: factors for the learning rate of the parameters whose names start with the given
            prefixes. If there are any, weight decay applies to all parameters, as in ActionCLIP's code.
        args: positional arguments of `Trainer`.
        kwargs: keyword arguments of `Trainer`.

    Example:
        ```python
        >>> import torch
        >>> from transformers import TrainingArguments
        >>> from hf_prompt_models import CoOpForImageClassification
        >>> from hf_prompt_models.training import PromptTrainer
        >>> model = CoOpForImageClassification.from_backbone("playground", ["a red key", "a blue cup"])
        >>> dataset = [{"pixel_values": torch.randn(3, 48, 48), "labels": label} for label in (0, 1)]
        >>> arguments = TrainingArguments("mine", max_steps=2, dataloader_pin_memory=False, disable_tqdm=True)
        >>> PromptTrainer(model, arguments, train_dataset=dataset).train().global_step
        2

        ```
    """

    EMBEDS_TOKENS: ClassVar[bool] = False
    """Whether the trained model reads token embeddings, to which `neftune_noise_alpha` can add noise."""

    def __init__(
        self,
        *args: Any,
        own_schedule: bool = True,
        learning_rate_factors: dict[str, float] | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        if self.args.neftune_noise_alpha is not None and not self.EMBEDS_TOKENS:
            raise ValueError(
                "--neftune_noise_alpha adds noise to the token embeddings of a language model, but this "
                "method has no language model. Remove the flag."
            )
        self.train_dataset: Any
        if isinstance(self.train_dataset, IterableDataset):
            self.train_dataset = EndlessStream(self.train_dataset)
            # By default, the main process would read for all processes and truncate tensors of different lengths.
            self.accelerator.dataloader_config.dispatch_batches = False
        self.learning_rate_factors = learning_rate_factors or {}
        self.own_schedule = own_schedule
        self._staging: Path | None = None
        self.hub_model_id: str | None
        self.optimizer: torch.optim.Optimizer
        self.lr_scheduler: torch.optim.lr_scheduler.LRScheduler | None
        if self.train_dataset is not None and 0 < self.args.save_steps < 1:
            # A number of steps, because a resuming Trainer would report a share as a changed setting.
            self.args.save_steps = math.ceil(self.args.save_steps * self.total_steps())
        self.add_callback(EpochCallback(self))
        self.pace = PaceCallback()
        self.add_callback(self.pace)
        self.stopping = StopCallback()
        self.add_callback(self.stopping)
        if not self.args.disable_tqdm and DEFAULT_PROGRESS_CALLBACK is ProgressCallback:  # a notebook has its table
            self.remove_callback(ProgressCallback)
            self.add_callback(QuietProgressCallback)
        self.remove_callback(PrinterCallback)

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train the model, as `Trainer.train` does.

        Incomplete files that a killed process left in the output folder are removed. Ctrl-C stops training after the
        current step and saves a checkpoint; a second Ctrl-C stops it at once.

        Args:
            resume_from_checkpoint: folder of the checkpoint to resume from, or `True` for the last one.
            args: further positional arguments of `Trainer.train`.
            kwargs: further keyword arguments of `Trainer.train`.

        Raises:
            ValueError: if the checkpoint was trained for more steps than requested, or with epochs of another length.
        """
        if self.is_world_process_zero():
            restore_checkpoints(Path(self.args.output_dir))
            remove_unfinished(self.args.output_dir)
            if resume_from_checkpoint:
                remove_torn_checkpoints(Path(self.args.output_dir))
        self.accelerator.wait_for_everyone()
        if isinstance(resume_from_checkpoint, str):
            self._check_what_is_left(resume_from_checkpoint)
        with self.stopping.listening(alone=self.args.world_size == 1):
            output = super().train(resume_from_checkpoint, *args, **kwargs)
        if self.args.should_save:
            self._rotate(self.args.output_dir)  # again, because a killed process may not have done it
        return output

    def _check_what_is_left(self, checkpoint: str) -> None:
        """Check that a checkpoint can be resumed for the requested steps; warn if no step is left.

        Raises:
            ValueError: if it was trained for more steps, or with epochs of another length.
        """
        if not os.path.isfile(file := os.path.join(checkpoint, STATE_FILE)):
            return  # the Trainer reports a folder that is not a checkpoint
        state = TrainerState.load_from_json(file)
        done, total, per_epoch = state.global_step, self.total_steps(), self.steps_per_epoch()
        if (
            not isinstance(self.train_dataset, EndlessStream)
            and state.epoch is not None
            and abs(state.epoch * per_epoch - done) >= 1
        ):
            raise ValueError(
                f"{checkpoint} was trained for {done} steps in {state.epoch:g} epochs, but an epoch now has "
                f"{per_epoch} steps. Use the per_device_train_batch_size, gradient_accumulation_steps and "
                "number of processes of that run, or start over in another --output_dir."
            )
        if done > total:
            raise ValueError(
                f"{checkpoint} was trained for {done} steps and {total} are requested, so no steps are left "
                f"to train. Raise --num_train_epochs above {done / per_epoch:g} (or --max_steps above "
                f"{done}), or start over in another --output_dir."
            )
        if done == total and self.is_world_process_zero():
            logger.warning(
                f"No step is trained, because {checkpoint} already has all {total} steps. Raise "
                "--num_train_epochs or --max_steps to train further."
            )

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save a checkpoint as `Trainer` does, but move it into place only when it is complete.

        Raises:
            OSError: if it cannot be written, for example on a full disk. Earlier checkpoints are kept.
        """
        directory = Path(self._get_output_dir(trial))
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        with naming_what_fails(f"save {name} to {str(directory)!r}"), self._common_staging(directory) as folder:
            try:
                self._staging = folder
                super()._save_checkpoint(model, trial)
            finally:
                self._staging = None
            if self.args.should_save and self.state.best_model_checkpoint == str(folder / name):
                self.state.best_model_checkpoint = str(directory / name)
                self.state.save_to_json(str(folder / name / STATE_FILE))
            self.accelerator.wait_for_everyone()  # each process has written its own random state
            if self.args.should_save:
                move_folder(folder / name, directory / name)
        if self.args.push_to_hub:
            self._push_from_checkpoint(str(directory / name))
        if self.args.should_save:
            self._rotate(directory)

    @contextmanager
    def _common_staging(self, directory: Path) -> Iterator[Path]:
        """Yield a folder, the same for all processes, in which a checkpoint is written before it is moved."""
        with ExitStack() as stack:

            def make() -> str:
                directory.mkdir(parents=True, exist_ok=True)
                return str(stack.enter_context(staging(directory)))

            folder = Path(as_on_main_process(make))
            try:
                yield folder
            finally:
                if self.args.should_save and not self.is_world_process_zero():
                    with suppress(OSError):  # on a local disk, which the main process did not clean up
                        folder.rmdir()

    def _evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate as `Trainer` does, without changing the random state of training.

        The checkpoint of the same step may be written before the evaluation, and a resumed run does not repeat it.
        """
        device = self.args.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            return super()._evaluate(*args, **kwargs)

    def _get_output_dir(self, trial: Any) -> str:
        directory = super()._get_output_dir(trial)
        return directory if self._staging is None else str(self._staging)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if self._staging is None:  # the upload runs in the background, so it starts once the folder is in place
            super()._push_from_checkpoint(checkpoint_folder)

    def _rotate(self, directory: str | Path) -> None:
        try:
            rotate_checkpoints(
                str(directory), self.args.save_total_limit, self.state.best_model_checkpoint, use_mtime=True
            )
        except FileNotFoundError:  # one was removed between the listing and the check of its time
            self._rotate(directory)

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Create the repository before training, as `Trainer` does, after checking that the model can be pushed."""
        self.model.check_push()
        super().init_hf_repo(token=token, private=private)

    def create_model_card(self, license: str | None = None, tags: Sequence[str] = ()) -> None:
        """Write the model card into the output folder, unless a card there was written or edited by the user."""
        if not self.is_world_process_zero():
            return
        file = Path(self.args.output_dir, CARD_FILE)
        card = read_card(file)
        if card is None or is_generated(card):
            run = None if card is None else RunOnCard.from_card(card)
            write_card(make_card(self.describe_checkpoint(), run=run, license=license, tags=tags), file)

    def describe_checkpoint(self) -> Checkpoint:
        """Return what the next checkpoint of the model holds."""
        return self._plain_model().describe_checkpoint()

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> CommitInfo | None:
        """Upload the model, its processor and its card, and nothing else.

        `Trainer.push_to_hub` also uploads the pickled training arguments.

        Args:
            commit_message: message of the commit.
            blocking: accepted for compatibility with `Trainer`; the upload is always complete when this returns.
            token: token of the Hub. Default: `hub_token` of the training arguments.
            revision: branch to push to. Default: `hub_revision` of the training arguments.
            private: whether a new repository is private. Default: `hub_private_repo` of the training arguments.
            kwargs: `base_model`, `save_backbone`, `with_shim`, … of the model's `push_to_hub`.

        Returns:
            The commit on the main process, `None` on the others.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        if self.hub_model_id is None:
            self.hub_model_id = self.args.hub_model_id or Path(self.args.output_dir).absolute().name
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        self.create_model_card()
        self._finish_current_push()
        model = self._plain_model()
        if model.processor is None:
            model.processor = self.processing_class
        return model.push_to_hub(
            self.hub_model_id,
            model_card=read_card(Path(self.args.output_dir, CARD_FILE)),
            commit_message=commit_message,
            token=token or self.args.hub_token,
            revision=revision or self.args.hub_revision,
            private=self.args.hub_private_repo if private is None else private,
            **kwargs,
        )

    def _plain_model(self) -> Any:
        return self.accelerator.unwrap_model(self.model)

    def set_initial_training_values(self, args: TrainingArguments, dataloader: Any) -> tuple:
        """Return the values of `Trainer`, with one epoch for a stream, so that a finished run is not trained again."""
        epochs, *others = super().set_initial_training_values(args, dataloader)
        return (1 if isinstance(self.train_dataset, EndlessStream) else epochs, *others)

    def get_train_dataloader(self) -> DataLoader:
        """Return the data loader of the training set, as `Trainer` does; without processes if it holds features."""
        with self._loading_of(self.train_dataset):
            return super().get_train_dataloader()

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Return the data loader of an evaluation set, as `Trainer` does; without processes if it holds features.

        Args:
            eval_dataset: as in `Trainer`.
        """
        with self._loading_of(self.eval_dataset if eval_dataset is None else eval_dataset):
            return super().get_eval_dataloader(eval_dataset)

    @contextmanager
    def _loading_of(self, dataset: Any) -> Iterator[None]:
        """Use no processes in this context for a dataset in memory, which they would only copy."""
        names = ("dataloader_num_workers", "dataloader_persistent_workers", "dataloader_prefetch_factor")
        before = {name: getattr(self.args, name) for name in names}
        if isinstance(dataset, FeatureDataset | ViewFeatureDataset):
            for name, value in zip(names, (0, False, None), strict=True):
                setattr(self.args, name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(self.args, name, value)

    def steps_per_epoch(self) -> int:
        """Return the number of optimizer steps per epoch; 1 for a stream, which has no epochs."""
        if isinstance(self.train_dataset, EndlessStream):
            return 1
        return max(math.ceil(len(self.get_train_dataloader()) / self.args.gradient_accumulation_steps), 1)

    def total_steps(self) -> int:
        """Return the number of optimizer steps of the complete training."""
        if self.args.max_steps > 0:
            return self.args.max_steps
        return math.ceil(self.args.num_train_epochs * self.steps_per_epoch())

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Issue the warnings of `Trainer`, except for tied weights, which checkpoints store once."""
        missing = [name for name in load_result.missing_keys if name not in self.model.all_tied_weights_keys]
        super()._issue_warnings_after_load(load_result._replace(missing_keys=missing))

    @staticmethod
    def get_optimizer_cls_and_kwargs(args: TrainingArguments, model: PreTrainedModel | None = None) -> tuple[Any, Any]:
        """Return the optimizer class and its arguments, as `Trainer` does, but Adam instead of AdamW if requested.

        With `decoupled_weight_decay=false` in `optim_args`, weight decay is an L2 penalty, whose gradient is added to
        that of the loss, as in the released code of some methods.
        """
        optimizer_class, settings = Trainer.get_optimizer_cls_and_kwargs(args, model)
        choices = (args.optim_args or "").replace(" ", "").split(",")
        if optimizer_class is torch.optim.AdamW and "decoupled_weight_decay=false" in choices:
            optimizer_class = torch.optim.Adam
        return optimizer_class, settings

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Create the optimizer; with `learning_rate_factors`, one parameter group per factor."""
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
        """Create the paper's learning rate schedule, or the one of `Trainer` if `own_schedule` is `False`."""
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
    """Sets the epoch of the training set, whichever sampler the Trainer uses."""

    def __init__(self, trainer: Trainer):
        self.trainer = trainer

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Call `set_epoch` of the training set if it has one."""
        set_epoch = getattr(self.trainer.train_dataset, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(int(state.epoch + 1e-6))
