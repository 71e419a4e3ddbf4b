"""Baselines of generated texts: the same model with black images, and one answer to all questions."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from hf_prompt_models.prefix_lm.examples import GenerationExample, Scoring
from hf_prompt_models.tasks.text_generation.generated_texts import GeneratedTexts


BLIND_FILE = "blind_predictions.jsonl"
SAMPLE_SEED = 1
"""Seed of the sample, which is the same for all seeds of a run, so that they are compared on the same examples."""


def sees_images(arguments: Any, examples: Sequence[GenerationExample]) -> bool:
    """Return whether black images could change the generated texts.

    Args:
        arguments: Arguments of the method. A run that is blind itself, or uses titles alone, has no images.
        examples: Test examples.
    """
    settings = vars(arguments)
    if settings.get("blind") or settings.get("condition_on") == "title":
        return False
    return any(example.images for example in examples)


def blind_baseline(
    write: Callable[[Sequence[GenerationExample]], GeneratedTexts], processor: Any, seeing: GeneratedTexts, count: int
) -> tuple[GeneratedTexts, dict[str, Any]]:
    """Generate texts for test examples whose images are replaced with black ones.

    Args:
        write: Generates texts for examples with the trained model.
        processor: Its processor, which makes the images black.
        seeing: Texts that the model generated with images, for all examples.
        count: Maximum number of examples. If there are more, this many are sampled, the same for every seed.

    Returns:
        The generated texts, and a dict for the results: `examples` (their number), `test` (the scores of the texts)
        and `seeing` (the scores with images on the same examples).
    """
    total = len(seeing.examples)
    chosen = list(range(total))
    if total > count:
        chosen = sorted(random.Random(SAMPLE_SEED).sample(range(total), count))
    processor.blind = True
    try:
        blind = write([seeing.examples[index] for index in chosen])
    finally:
        processor.blind = False
    same = GeneratedTexts(
        blind.examples, [seeing.texts[index] for index in chosen], [seeing.ended[index] for index in chosen]
    )
    return blind, {"examples": len(blind.examples), "test": blind.metrics(), "seeing": same.metrics()}


def most_frequent_answer(examples: Sequence[GenerationExample]) -> dict[str, Any] | None:
    """Return the scores of the most frequent correct answer, given to all questions.

    Args:
        examples: Test examples.

    Returns:
        `answer` and its scores, `test`; `None` if the texts are not answers.
    """
    if examples[0].scoring is Scoring.TEXT:
        return None
    counts = Counter(reference for example in examples for reference in example.references)
    answer, _ = counts.most_common(1)[0]
    constant = GeneratedTexts(examples, [answer] * len(examples), [True] * len(examples))
    return {"answer": answer, "test": constant.metrics()}
