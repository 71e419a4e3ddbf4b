"""The embedded default: pictures drawn by code and a tiny CLIP trained on them, for demos and tests offline.

Pre-training pictures (`draw_picture`) and the demo's few-shot task (`write_image_folder`) share their objects and
nothing else: the task's styles never occur in pre-training, so a hand-written prompt does poorly on it and a learned
one must learn.

Clips (`playground.motions` draws them, `playground.clips` writes them as videos) are a task whose classes no single
frame tells.

Importing this package needs numpy and Pillow only; `playground.pretraining` is what imports torch and transformers,
`playground.clips` PyAV.
"""

from pathlib import Path

from .few_shot_task import CLASS_NAMES, draw_example, write_image_folder
from .pictures import Traits, draw_caption, draw_picture


CLIP_DIR = str(Path(__file__).parent / "clip")
"""The shipped tiny CLIP: a folder in the layout of a Hub checkpoint, for `from_pretrained`."""

__all__ = [
    "CLASS_NAMES",
    "CLIP_DIR",
    "Traits",
    "draw_caption",
    "draw_example",
    "draw_picture",
    "write_image_folder",
]
