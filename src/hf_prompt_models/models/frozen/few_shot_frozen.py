"""Few-shot prompts of interleaved examples, as in the paper's evaluation (arXiv 2106.13884, section 4.2)."""

from collections.abc import Sequence
from typing import Any

from hf_prompt_models.prefix_lm.processing_prefix_lm import IMAGE_TOKEN


def build_fewshot_prompt(
    induction: str, shots: Sequence[tuple[Any, str]], query: tuple[Any, str], repeats: int = 0
) -> tuple[str, list[Any]]:
    """Build a prompt that shows the task by examples, and asks about one more image.

    Args:
        induction: the text at the start of the prompt, which may be empty.
        shots: the examples in order, each an image and the text about it.
        query: the image to ask about, and the start of the text that the model continues.
        repeats: how often all shots are repeated after their first appearance.

    Returns:
        The text, with `<image>` in front of each image's text, and the images in the same order.

    Raises:
        ValueError: if a text contains `<image>`, or `repeats` is negative.

    Example:
        ```python
        >>> from PIL import Image
        >>> from hf_prompt_models import build_fewshot_prompt
        >>> dog, cat, other = (Image.new("RGB", (64, 48), color) for color in ("brown", "grey", "black"))
        >>> shots = [(dog, "This is a dax."), (cat, "This is a blicket.")]
        >>> text, images = build_fewshot_prompt("Answer with dax or blicket.", shots, query=(other, "This is a"))
        >>> text
        'Answer with dax or blicket. <image>This is a dax. <image>This is a blicket. <image>This is a'
        >>> len(images)
        3

        ```
    """
    if repeats < 0:
        raise ValueError(f"Expected repeats, how often the examples are repeated, to be at least 0, got {repeats}.")
    examples = [*list(shots) * (1 + repeats), query]
    if any(IMAGE_TOKEN in text for text in (induction, *(text for _, text in examples))):
        raise ValueError(f"The texts of examples contain {IMAGE_TOKEN}, which is added automatically. Remove it.")
    parts = [induction] * bool(induction) + [f"{IMAGE_TOKEN}{text}" for _, text in examples]
    return " ".join(parts), [image for image, _ in examples]
