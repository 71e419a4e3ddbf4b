"""The folders in which Dassl, the training toolbox of CoOp's code and its kin, keeps models (`utils/torchtools.py`).

`<run>/<model>/model.pth.tar-<epoch>` holds a dict of `state_dict`, `epoch`, `optimizer`, `scheduler` and `val_result`;
the text file `checkpoint` beside it names the last one, and `model-best.pth.tar` may be there too.
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
    """
    Args:
        file: where it was read.
        epoch: of the training, counted from 1; `None` if the file does not say.
        state_dict: the model's tensors, without the `module.` of a model in parallel.
        ignored: the file's other entries.
    """

    file: Path
    epoch: int | None
    state_dict: dict[str, torch.Tensor]
    ignored: list[str]


def find_dassl_file(path: str | os.PathLike, model: str, epoch: int | None = None) -> Path:
    """The checkpoint file meant by a path.

    Args:
        path: the file itself, the run's folder, or the model's folder in it.
        model: the name under which the model was registered, which is its folder's.
        epoch: which file of a folder; default: the one that the text file `checkpoint` names, else the best.

    Raises:
        OSError: if there is none.
        ValueError: if a file is given with another epoch than its name says, or `checkpoint` names no checkpoint.
    """
    path = Path(path)
    if path.is_file():
        if epoch is not None and path.name != f"model.pth.tar-{epoch}":
            raise ValueError(
                f"{path} is one file, and not named as that of epoch {epoch}. Pass its folder, or no epoch."
            )
        return path
    if not path.is_dir():
        raise FileNotFoundError(f"There is no checkpoint {path}.")
    folder = path / model if (path / model).is_dir() else path
    if epoch is not None:
        name = f"model.pth.tar-{epoch}"
    elif (folder / LAST_FILE).is_file():
        with (folder / LAST_FILE).open(encoding="utf-8", errors="replace") as file:
            name = file.readline(200).strip()
        if not FILE_NAME.fullmatch(name):
            raise ValueError(f"{folder / LAST_FILE} names no checkpoint of this folder: {name!r}.")
    else:
        name = BEST_FILE
    if not (folder / name).is_file():
        found = sorted(entry.name for entry in folder.iterdir())
        listed = ", ".join(found[:10]) + (", …" if len(found) > 10 else "") if found else "nothing"
        raise FileNotFoundError(f"There is no {name} in {folder}, but {listed}. Name the checkpoint's file.")
    return folder / name


def read_dassl_checkpoint(file: str | os.PathLike) -> DasslCheckpoint:
    """Read one file, without running anything in it.

    Raises:
        OSError, ValueError: as `read_torch_checkpoint` does, or if the file holds no `state_dict` of tensors.
    """
    content = read_torch_checkpoint(file)
    state_dict = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state_dict, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in state_dict.items()
    ):
        raise ValueError(f"{file} holds no state_dict of tensors, so it is not a checkpoint of Dassl's trainer.")
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
    """Write `<output_dir>/<model>/model.pth.tar-<epoch>`, and `checkpoint`, which names it.

    The optimizer's and scheduler's entries are `None`: the file is for testing, not for going on with a training.
    """
    folder = Path(output_dir) / model
    file = folder / f"model.pth.tar-{epoch}"
    content = {"state_dict": state_dict, "epoch": epoch, "optimizer": None, "scheduler": None, "val_result": None}
    with replacing(file) as beside:
        torch.save(content, beside)
    write_text(folder / LAST_FILE, f"{file.name}\n")
    return file
