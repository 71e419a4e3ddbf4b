"""Settings of the Gradio demos."""

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Options:
    """Settings of a Gradio demo.

    Args:
        clips: folder of videos that the retrieval demo searches.
        proposals: folder or Hub id of an object-detection or mask-generation model that proposes regions in the
            visual grounding demo.
        device: torch device that runs the model, such as "cuda:1". Default: the accelerator if there is one, else
            the CPU.
        backbone: current location of the backbone, if it moved since the model was saved without it.
    """

    clips: Path | None = None
    proposals: str | None = None
    device: str | None = None
    backbone: str | None = None

    @property
    def moved(self) -> dict[str, str]:
        """Keyword arguments of `from_pretrained` for a backbone that moved."""
        return {} if self.backbone is None else {"base_model_name_or_path": self.backbone}

    @property
    def torch_device(self) -> torch.device:
        """Device that runs the model.

        Raises:
            ValueError: if torch does not know the name of the device.
        """
        if self.device is not None:
            try:
                return torch.device(self.device)
            except RuntimeError as error:
                raise ValueError(
                    f"There is no device {self.device!r}. Pass a device such as cpu, cuda or cuda:1."
                ) from error
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return accelerator or torch.device("cpu")
