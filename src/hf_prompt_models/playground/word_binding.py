"""Few-shot word binding: two pictures are given names that mean nothing, and a third picture is to be named.

"this is a dax", "this is a blicket", "what is this? this is a": only the pictures say which of both is right.
The task is open-ended miniImageNet's (Frozen, arXiv 2106.13884, section 4.2), with product cards for photos.
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
"""The paper's own."""

_ONSETS = ("b", "d", "f", "g", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z")
_ENDINGS = ("abbo", "affle", "ebbit", "effo", "igget", "immo", "oppin", "uddle")

NONSENSE_WORDS = (*WORDS, *(onset + ending for onset in _ONSETS for ending in _ENDINGS))
"""Those that the tiny language model knows the looks of, and no meaning."""

QUESTION = "what is this? this is a"


@dataclass(frozen=True)
class WordEpisode:
    """Pictures with names, and one to be named.

    Attributes:
        products: what the examples show, in their order.
        words: their names.
        asked: which of them the question is about.
    """

    products: tuple[ProductTraits, ...]
    words: tuple[str, ...]
    asked: int

    @property
    def answer(self) -> str:
        return self.words[self.asked]

    @property
    def induction(self) -> str:
        """What says the task: "answer with dax or blicket.", always in the same order."""
        return induction(self.words)

    @property
    def texts(self) -> list[str]:
        """What stands behind each picture: the examples' names, and the question."""
        return [*(f"this is a {word}." for word in self.words), QUESTION]

    @property
    def shown(self) -> list[ProductTraits]:
        """What is in each picture."""
        return [*self.products, self.products[self.asked]]


def induction(words: tuple[str, ...]) -> str:
    """What says the task, such as "answer with dax or blicket."; in alphabetical order, which tells nothing."""
    return f"answer with {' or '.join(sorted(words))}."


def choose_episode(rng: np.random.Generator, ways: int = 2, words: tuple[str, ...] = NONSENSE_WORDS) -> WordEpisode:
    """An episode of products that all differ in shape and colour.

    Args:
        rng: chooses all.
        ways: how many examples.
        words: what the names are drawn from.
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
    """Draws a 2-way episode, and its pictures: one of each product, and another one of the product asked about.

    Args:
        seed: names the stream of episodes.
        index: which episode of the stream.
        words: what the names are drawn from.
        size: height and width of the pictures in pixels.
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
    """Writes 2-way word-binding episodes, `output_dir/{episodes.json,<number>-<place>.png}`.

    `episodes.json` is in the form of open-ended miniImageNet's lists, as `read_episodes` takes them. The same
    arguments write the same bytes; fewer episodes are the first of more episodes.

    Args:
        output_dir: the folder to write; made where missing.
        seed: names the episodes.
        episodes: how many.
        words: what the names are drawn from. With two words, one sentence tells the task of all episodes:
            `induction(words)`.
        size: height and width of the pictures in pixels.
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
