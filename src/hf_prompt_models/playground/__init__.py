"""The embedded default: pictures drawn by code and tiny models trained on them, for demos and tests offline.

Pre-training pictures (`draw_picture`) and the demo's few-shot task (`write_image_folder`) share their objects and
nothing else: the task's styles never occur in pre-training, so a hand-written prompt does poorly on it and a learned
one must learn.

Clips (`playground.motions` draws them, `playground.clips` writes them as videos) are a task whose classes no single
frame tells.

Scenes of several objects are for grounding phrases: `playground.scenes` draws them, `scene_phrases` says what means
one of their objects, `scene_files` writes them. The tiny ViLT knows their words and has never seen a region painted.

Product cards are for writing about pictures: `playground.product_cards` draws them, with titles that leave out what
only the picture shows. `word_binding` gives them names that mean nothing, `card_files` writes both. The tiny language
model has read of cards and names, and has never seen one.

Captioned clips are motions with sentences, questions and answers: `playground.captioned_clips` describes and draws
them, `clip_questions` asks, `captioned_clip_files` writes them. The tiny ALPRO was trained on such clips.

Importing this package needs numpy and Pillow only. What trains or measures models (`pretraining`,
`grounding_pretraining`, `language_pretraining`, `alpro_pretraining`, `alpro_measures`) and `word_binding` import torch
and transformers, what writes videos (`clips`, `captioned_clip_files`) PyAV.
"""

from hf_prompt_models.backbones.packaged import ALPRO_DIR, CLIP_DIR, LM_DIR, VILT_DIR

from .few_shot_task import CLASS_NAMES, draw_example, write_image_folder
from .pictures import Traits, draw_caption, draw_picture


__all__ = [
    "ALPRO_DIR",
    "CLASS_NAMES",
    "CLIP_DIR",
    "LM_DIR",
    "VILT_DIR",
    "Traits",
    "draw_caption",
    "draw_example",
    "draw_picture",
    "write_image_folder",
]
