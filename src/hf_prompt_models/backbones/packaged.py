"""The tiny backbones that ship with the package under the name "playground"."""

import os
from pathlib import Path


PLAYGROUND = "playground"
"""The name of the packaged backbone, of the type that a method needs. A folder of this name is `./playground`."""

_FOLDER = Path(__file__).parents[1] / "playground"

CLIP_DIR = str(_FOLDER / "clip")
"""The shipped tiny CLIP: a folder in the layout of a Hub checkpoint, for `from_pretrained`."""

VILT_DIR = str(_FOLDER / "vilt")
"""The shipped tiny ViLT (`ViltForMaskedLM`), in the same layout."""

LM_DIR = str(_FOLDER / "lm")
"""The shipped tiny language model (`LlamaForCausalLM`), trained on text alone, in the same layout."""

ALPRO_DIR = str(_FOLDER / "alpro")
"""The shipped tiny ALPRO (`AlproForPreTraining` with its prompter), in the same layout."""


def locate_backbone(name_or_path: str | os.PathLike, packaged: str) -> str | os.PathLike:
    """Return the Hub id or folder that a backbone is loaded from.

    Args:
        name_or_path: Hub id, folder, or "playground".
        packaged: the folder that "playground" stands for, such as `CLIP_DIR`.
    """
    return packaged if name_or_path == PLAYGROUND else name_or_path


def portable_name(name_or_path: str | os.PathLike, packaged: str | None = None) -> str:
    """Return the name by which a checkpoint refers to its backbone.

    It is "playground" for a packaged backbone, wherever the package is installed, the absolute path of any other
    folder, or the Hub id.

    Args:
        name_or_path: Hub id, folder, or "playground".
        packaged: the folder that "playground" stands for when the name is read. Default: any packaged backbone.
    """
    if name_or_path == PLAYGROUND or not os.path.isdir(name_or_path):
        return str(name_or_path)
    path = os.path.abspath(name_or_path)
    folders = (CLIP_DIR, VILT_DIR, LM_DIR, ALPRO_DIR) if packaged is None else (packaged,)
    return PLAYGROUND if os.path.realpath(path) in map(os.path.realpath, folders) else path


def vision_model_for(
    language_model: str | os.PathLike, vision_model: str | os.PathLike | None, default: str
) -> str | os.PathLike:
    """Return the vision model to pair with a language model.

    Args:
        language_model: Hub id, folder, or "playground".
        vision_model: the one that was chosen, if any.
        default: Hub id to use if none was chosen. The packaged language model takes the packaged CLIP instead.
    """
    if vision_model is not None:
        return vision_model
    return PLAYGROUND if language_model == PLAYGROUND else default
