"""Synthetic datasets and tiny models trained on them, for offline demos and tests.

Each module draws one kind of data and writes it to files:

- `few_shot_task`: images to classify, of objects that the tiny CLIP was trained on, in styles that it was not trained
  on. A hand-written prompt has low accuracy on them, which a learned prompt improves.
- `clips`: videos of `motions` whose class cannot be recognised from a single frame.
- `scenes`: images of several objects, and phrases that refer to one of them. The tiny ViLT was trained on the words of
  the phrases, but not on painted regions.
- `product_cards`: images with titles that leave out colour and material. `card_scores` scores generated descriptions
  of them, and `word_binding` gives products nonsense names. The tiny language model was trained on texts about cards
  and names, without images.
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
