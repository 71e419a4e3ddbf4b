"""Few-shot word binding: two images are given nonsense names, and the model names a third image.

"this is a dax", "this is a blicket", "what is this? this is a": only the images tell which of the two names is right.
The task follows open-ended miniImageNet (Frozen, arXiv 2106.13884, section 4.2), with product cards instead of photos.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hf_prompt_models.utils.files import adding_files

from .product_cards import CARD_SIZE, ProductTraits, card_stream, choose_product, draw_product


WORDS = ("dax", "blicket", "shously", "slation", "perpo")
"""Nonsense words of the paper."""

_ONSETS = ("b", "d", "f", "g", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z")
_ENDINGS = ("abbo", "affle", "ebbit", "effo", "igget", "immo", "oppin", "uddle")

NONSENSE_WORDS = (*WORDS, *(onset + ending for onset in _ONSETS for ending in _ENDINGS))
"""Nonsense words of the tiny language model: it was trained on texts with them, but they have no fixed meaning."""

QUESTION = "what is this? this is a"


@dataclass(frozen=True)
class WordEpisode:
    """An episode: example images with names, and one image to name.

    Attributes:
        products: the products of the examples, in order.
        words: names of the examples.
        asked: index of the example that the question is about.
    """

    products: tuple[ProductTraits, ...]
    words: tuple[str, ...]
    asked: int

    @property
    def answer(self) -> str:
        """Name of the product that the question is about."""
        return self.words[self.asked]

    @property
    def induction(self) -> str:
        """Task induction, such as "answer with blicket or dax.", in alphabetical order."""
        return induction(self.words)

    @property
    def texts(self) -> list[str]:
        """Text after each image: the names of the examples, then the question."""
        return [*(f"this is a {word}." for word in self.words), QUESTION]

    @property
    def shown(self) -> list[ProductTraits]:
        """Product in each image."""
        return [*self.products, self.products[self.asked]]


def induction(words: tuple[str, ...]) -> str:
    """Return the task induction, such as "answer with blicket or dax.".

    The words are in alphabetical order, so that their order does not reveal the answer.
    """
    return f"answer with {' or '.join(sorted(words))}."


def choose_episode(rng: np.random.Generator, ways: int = 2, words: tuple[str, ...] = NONSENSE_WORDS) -> WordEpisode:
    """Sample an episode of products that all differ in shape and colour.

    Args:
        rng: random generator of all choices.
        ways: number of examples.
        words: words that the names are sampled from.
    """
    products: list[ProductTraits] = []
    while len(products) < ways:
        product = choose_product(rng)
        if all(product.shape != other.shape and product.colour != other.colour for other in products):
            products.append(product)
    names = tuple(str(word) for word in rng.choice(words, ways, replace=False))
    return WordEpisode(tuple(products), names, int(rng.integers(ways)))


def draw_episode(
    seed: int, index: int, words: tuple[str, ...] = WORDS[:2], size: int = CARD_SIZE
) -> tuple[list[Image.Image], WordEpisode]:
    """Draw a 2-way episode.

    Args:
        seed: random seed of the stream of episodes.
        index: index of the episode in the stream.
        words: words that the names are sampled from.
        size: height and width of the images in pixels.

    Returns:
        The images, one of each product and another one of the product in question, and the episode.
    """
    rng = card_stream("episodes", seed, index)
    episode = choose_episode(rng, words=words)
    return [draw_product(product, rng, size) for product in episode.shown], episode


def write_episode_folder(
    output_dir: str | Path,
    *,
    seed: int,
    episodes: int = 1000,
    words: tuple[str, ...] = WORDS[:2],
    size: int = CARD_SIZE,
) -> None:
    """Write 2-way word-binding episodes to `output_dir/{episodes.json,<number>-<place>.png}`.

    `episodes.json` has the format of the open-ended miniImageNet lists, which `read_episodes` reads. The same
    arguments write the same bytes, and a smaller number of episodes gives the first ones of a larger number.

    Args:
        output_dir: output folder; created if missing.
        seed: random seed of the episodes.
        episodes: number of episodes.
        words: words that the names are sampled from. With two words, all episodes have the same task induction,
            `induction(words)`.
        size: height and width of the images in pixels.
    """
    with adding_files(output_dir) as folder:
        entries = []
        for index in range(episodes):
            images, episode = draw_episode(seed, index, words, size)
            names = [f"{index:05d}-{place}.png" for place in range(len(images))]
            for image, name in zip(images, names, strict=True):
                image.save(folder / name)
            entry: dict[str, Any] = {"question_id": f"{seed}-{index}"}
            for place, (name, text) in enumerate(zip(names[:-1], episode.texts[:-1], strict=True), start=1):
                entry |= {f"image_{place}": name, f"caption_{place}": text}
            asked = {"question_image": names[-1], "question": episode.texts[-1], "answer": episode.answer}
            entries.append(entry | asked)
        (folder / "episodes.json").write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
