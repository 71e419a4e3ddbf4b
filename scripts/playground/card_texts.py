"""Training texts of the tiny language model: captions and stories of product cards, and names bound to products.

The texts have no images. Where an image will later precede a sentence, the text has its caption: "red lamp this is a
dax.". A vision model therefore has to map an image to embeddings like those of its caption.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hf_prompt_models.playground.product_cards import MATERIALS, ProductTraits, choose_product
from hf_prompt_models.playground.word_binding import NONSENSE_WORDS, QUESTION, induction


FRAME = ("this", "is", "a")
"""Words between a caption and the statement about it."""


class Piece(NamedTuple):
    """A part of a text.

    Attributes:
        text: the words.
        told: number of leading words that can be predicted because they occurred before.
    """

    text: str
    told: int = 0


def binding_text(rng: np.random.Generator, frame: int = len(FRAME), headed: bool = True) -> list[Piece]:
    """Sample a text with two to four named products in random order, whose last name is the answer to the question.

    Every product occurs at least once, and some occur again.

    Args:
        rng: random generator of all choices.
        frame: number of words of `FRAME` between product and name, counted from the end of `FRAME`. Fewer words make
            it easier to learn which product a name belongs to, so they are used early in training.
        headed: whether the text starts with the task induction, which lists the names.
    """
    products = _products(rng, int(rng.integers(2, 5)))
    words = tuple(str(word) for word in rng.choice(NONSENSE_WORDS, len(products), replace=False))
    again = 1 if rng.random() < 0.2 else int(rng.integers(4, 6))
    turns = [*rng.permutation(len(products)), *rng.integers(len(products), size=again)]
    pieces = [Piece(induction(words))] * headed
    for place, turn in enumerate(turns):
        is_last = place == len(turns) - 1
        name = words[turn] if is_last else f"{words[turn]}."
        pieces += [Piece(products[turn].name), *_ask(frame, is_last), Piece(name, int(place >= len(products)))]
    return pieces


def caption_text(rng: np.random.Generator, frame: int = len(FRAME)) -> list[Piece]:
    """Sample a text of one to five products with their captions, such as "red lamp this is a red lamp.".

    Args:
        rng: random generator of all choices.
        frame: number of words of `FRAME` between product and caption, counted from the end of `FRAME`.
    """
    count = int(rng.integers(1, 6))
    pieces = []
    for place in range(count):
        name = choose_product(rng).name
        is_question = place == count - 1 and rng.random() < 0.5
        pieces += [Piece(name), *_ask(frame, is_question), Piece(name if is_question else f"{name}.", 2)]
    return pieces


def product_text(rng: np.random.Generator) -> list[Piece]:
    """Sample the title and description of a product, or a story about it."""
    product = choose_product(rng)
    if rng.random() < 0.5:
        return [Piece(f"title: {product.title}. description: {product.description}")]
    other = replace(product, material=str(rng.choice(list(MATERIALS))))
    sentences = [
        f"the {product.name} is in the shop.",
        f"it is {product.size} and made of {product.material}.",
        f"somebody wants a {product.shape} made of {other.material}, and "
        + (f"buys the {product.name}." if other == product else f"leaves the {product.name} there."),
    ]
    return [Piece(" ".join(sentences))]


def _ask(frame: int, is_question: bool) -> list[Piece]:
    if is_question and frame == len(FRAME):
        return [Piece(QUESTION)]
    return [Piece(" ".join(FRAME[len(FRAME) - frame :]))] * (frame > 0)


def _products(rng: np.random.Generator, count: int) -> Sequence[ProductTraits]:
    """Sample different products; some share the shape or the colour of the first one, so that both words matter."""
    products: list[ProductTraits] = []
    while len(products) < count:
        product = choose_product(rng)
        if products and rng.random() < 0.3:
            shared = str(rng.choice(("shape", "colour")))
            product = replace(product, **{shared: getattr(products[0], shared)})
        if product.name not in {other.name for other in products}:
            products.append(product)
    return products
