"""What a page may be told beyond its model."""

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Options:
    """
    Args:
        clips: the folder of videos that a retrieval page searches.
        proposals: an object-detection or mask-generation model, a folder or a Hub id, whose regions a grounding page
            offers.
        backbone: where the backbone is now, if it moved since the model was saved without it.
        device: where the model runs, as torch names it. Default: the accelerator, if there is one.
    """

    clips: Path | None = None
    proposals: str | None = None
    device: str | None = None
    backbone: str | None = None

    @property
    def moved(self) -> dict[str, str]:
        """What `from_pretrained` has to be given for a backbone that moved."""
        return {} if self.backbone is None else {"base_model_name_or_path": self.backbone}

    @property
    def torch_device(self) -> torch.device:
        """Where the model runs.

        Raises:
            ValueError: if torch does not know the device's name.
        """
        if self.device is not None:
            try:
                return torch.device(self.device)
            except RuntimeError as error:
                raise ValueError(
                    f"There is no device {self.device!r}: name one such as cpu, cuda or cuda:1."
                ) from error
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return accelerator or torch.device("cpu")
