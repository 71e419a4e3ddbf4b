"""The embedded default: data drawn by code and tiny models trained on such data, for demos and tests offline.

Each kind of data is one module, which draws it and writes it to files:

- `few_shot_task`: images to classify, of objects that the tiny CLIP knows, in styles that it was not trained on. A
  hand-written prompt does poorly on them, and a learned prompt has something to learn.
- `clips`: videos of `motions` whose class no single frame shows.
- `scenes`: several objects in an image, and phrases that mean one of them. The tiny ViLT knows their words, and was
  never trained on a painted region.
- `product_cards`: images with titles that leave out what only the image shows. `card_scores` scores descriptions of
  them, and `word_binding` gives products names that mean nothing. The tiny language model was trained on texts about
  cards and names, without images.
- `captioned_clips`: motions with captions, questions and answers. The tiny ALPRO was trained on such clips.

Importing this package needs numpy and Pillow only. `clips` and `captioned_clips` need PyAV. The repository's
`scripts/train_playground.py` trains the tiny models.
"""

from hf_prompt_models.backbones.packaged import ALPRO_DIR, CLIP_DIR, LM_DIR, VILT_DIR

from .few_shot_task import CLASS_NAMES, draw_example, write_image_folder


__all__ = [
    "ALPRO_DIR",
    "CLASS_NAMES",
    "CLIP_DIR",
    "LM_DIR",
    "VILT_DIR",
    "draw_example",
    "write_image_folder",
]
