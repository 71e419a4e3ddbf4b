"""Checkpoints of Dassl, the training toolbox of CoOp's code and related methods (`utils/torchtools.py`).

`<run>/<model>/model.pth.tar-<epoch>` holds a dict of `state_dict`, `epoch`, `optimizer`, `scheduler` and `val_result`.
The text file `checkpoint` next to it names the last one, and there may also be a `model-best.pth.tar`.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from hf_prompt_models.checkpoints.torch_checkpoints import read_torch_checkpoint
from hf_prompt_models.utils.files import replacing, write_text


LAST_FILE = "checkpoint"
BEST_FILE = "model-best.pth.tar"
FILE_NAME = re.compile(r"model[\w.-]{0,100}\.pth\.tar(-\d{1,9})?")


@dataclass(frozen=True)
class DasslCheckpoint:
    """The content of a checkpoint file of Dassl.

    Args:
        file: the file that was read.
        epoch: epoch of the training, counted from 1; `None` if the file does not record it.
        state_dict: the tensors of the model, without the prefix `module.` of a parallel model.
        ignored: names of the other entries of the file.
    """

    file: Path
    epoch: int | None
    state_dict: dict[str, torch.Tensor]
    ignored: list[str]


def find_dassl_file(path: str | os.PathLike, model: str, epoch: int | None = None) -> Path:
    """Return the checkpoint file for a path.

    Args:
        path: the file itself, the folder of the run, or the folder of the model in it.
        model: the name under which the model was registered, which is also the name of its folder.
        epoch: the epoch to select in a folder. Default: the file that the text file `checkpoint` names, or the best
            one if there is no such text file.

    Raises:
        OSError: if there is no such file.
        ValueError: if the name of a given file does not match the epoch, or `checkpoint` does not name a checkpoint.
    """
    path = Path(path)
    if path.is_file():
        if epoch is not None and path.name != f"model.pth.tar-{epoch}":
            raise ValueError(
                f"{path} is a single file that is not named as the file of epoch {epoch}. Pass its folder, or "
                "no epoch."
            )
        return path
    if not path.is_dir():
        raise FileNotFoundError(f"There is no checkpoint {path}. Check the path.")
    folder = path / model if (path / model).is_dir() else path
    if epoch is not None:
        name = f"model.pth.tar-{epoch}"
    elif (folder / LAST_FILE).is_file():
        with (folder / LAST_FILE).open(encoding="utf-8", errors="replace") as file:
            name = file.readline(200).strip()
        if not FILE_NAME.fullmatch(name):
            raise ValueError(
                f"{folder / LAST_FILE} does not name a checkpoint in this folder: {name!r}. Pass the checkpoint file."
            )
    else:
        name = BEST_FILE
    if not (folder / name).is_file():
        found = sorted(entry.name for entry in folder.iterdir())
        listed = ", ".join(found[:10]) + (", …" if len(found) > 10 else "") if found else "nothing"
        raise FileNotFoundError(f"There is no {name} in {folder}, but {listed}. Pass the checkpoint file.")
    return folder / name


def read_dassl_checkpoint(file: str | os.PathLike) -> DasslCheckpoint:
    """Read a checkpoint file without running any code in it.

    Raises:
        OSError: as for `read_torch_checkpoint`.
        ValueError: as for `read_torch_checkpoint`, or if the file holds no `state_dict` of tensors.
    """
    content = read_torch_checkpoint(file)
    state_dict = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state_dict, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in state_dict.items()
    ):
        raise ValueError(f"{file} contains no state_dict of tensors, so it is not a checkpoint of the Dassl trainer.")
    epoch = content.get("epoch")
    return DasslCheckpoint(
        file=Path(file),
        epoch=epoch if type(epoch) is int and epoch > 0 else None,
        state_dict={name.removeprefix("module."): tensor for name, tensor in state_dict.items()},
        ignored=[str(name) for name in content if isinstance(name, str) and name not in ("state_dict", "epoch")],
    )


def write_dassl_checkpoint(
    output_dir: str | os.PathLike, model: str, state_dict: dict[str, torch.Tensor], epoch: int
) -> Path:
    """Write `<output_dir>/<model>/model.pth.tar-<epoch>`, and the text file `checkpoint`, which names it.

    The entries of the optimizer and the scheduler are `None`: the file is for testing, not for resuming training.
    """
    folder = Path(output_dir) / model
    file = folder / f"model.pth.tar-{epoch}"
    content = {"state_dict": state_dict, "epoch": epoch, "optimizer": None, "scheduler": None, "val_result": None}
    with replacing(file) as beside:
        torch.save(content, beside)
    write_text(folder / LAST_FILE, f"{file.name}\n")
    return file
