"""What the tiny language model reads: captions and stories of product cards, and names bound to them, all in words.

No picture is looked at here. Where a picture will stand in front of a sentence, its caption stands: "red lamp this is
a dax.". So what a picture must become, to be understood, is what the words of its caption are.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hf_prompt_models.playground.product_cards import MATERIALS, ProductTraits, choose_product
from hf_prompt_models.playground.word_binding import NONSENSE_WORDS, QUESTION, induction


FRAME = ("this", "is", "a")
"""What stands between a caption and what is said of it."""


class Piece(NamedTuple):
    """A part of a text, and how many of its first words can be known for they were told before."""

    text: str
    told: int = 0


def binding_text(rng: np.random.Generator, frame: int = len(FRAME), headed: bool = True) -> list[Piece]:
    """Two to four products with names, each named several times, in any order; the last one after the question.

    Args:
        rng: chooses all.
        frame: how many words of `FRAME` stand between product and name, counted from the end. The fewer, the easier it
            is to learn what the name goes with; less than all is for that alone.
        headed: whether the text begins with what names there will be.
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
    """One to five products, each said to be what it is: "red lamp this is a red lamp."; arguments as above."""
    count = int(rng.integers(1, 6))
    pieces = []
    for place in range(count):
        name = choose_product(rng).name
        is_question = place == count - 1 and rng.random() < 0.5
        pieces += [Piece(name), *_ask(frame, is_question), Piece(name if is_question else f"{name}.", 2)]
    return pieces


def product_text(rng: np.random.Generator) -> list[Piece]:
    """A product's title and description, or a story of it."""
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
    """Different ones; some share the shape or the colour of the first, so that both words count."""
    products: list[ProductTraits] = []
    while len(products) < count:
        product = choose_product(rng)
        if products and rng.random() < 0.3:
            shared = str(rng.choice(("shape", "colour")))
            product = replace(product, **{shared: getattr(products[0], shared)})
        if product.name not in {other.name for other in products}:
            products.append(product)
    return products
