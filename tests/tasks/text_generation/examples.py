"""Examples for text generation with no, one and two images; an odd number, so that processes get different numbers."""

import io

from hf_prompt_models.data.images.stored import StoredImage
from hf_prompt_models.prefix_lm.examples import GenerationExample
from tests.tested_method import random_image


def picture(seed: int) -> StoredImage:
    file = io.BytesIO()
    random_image(seed).save(file, format="PNG")
    return StoredImage(f"picture {seed}", file.getvalue)


EXAMPLES = [
    GenerationExample(str(n), tuple(picture(10 * n + k) for k in range(count)), title, "red", ("red",))
    for n, (count, title) in enumerate([(1, "a red mug"), (0, "the"), (2, ""), (1, "mug"), (1, "red red red")])
]
