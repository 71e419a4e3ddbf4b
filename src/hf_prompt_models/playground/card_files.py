"""Product cards and word-binding episodes written to disk, in the files that the package's readers take."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .product_cards import CARD_SIZE, Split, draw_card
from .word_binding import WORDS, draw_episode


def write_card_folder(
    output_dir: str | Path, *, seed: int, train: int = 4000, test: int = 500, size: int = CARD_SIZE
) -> None:
    """Writes product cards, `output_dir/{train,test}/{products.jsonl,captions.jsonl,<number>.png}`.

    `products.jsonl` has an object a line, `id`, `image`, `title` and `description`, as `read_products` takes them;
    `captions.jsonl` is of the same pictures, `image` and `caption`, for `read_captions`. The same arguments write the
    same bytes; fewer cards are the first of more cards.

    Args:
        output_dir: the folder to write; made where missing.
        seed: names the cards; the splits of a seed share no picture.
        train, test: how many cards.
        size: height and width in pixels.
    """
    counts: dict[Split, int] = {"train": train, "test": test}
    for split, count in counts.items():
        folder = Path(output_dir) / split
        folder.mkdir(parents=True, exist_ok=True)
        products, captions = [], []
        for index in range(count):
            image, product = draw_card(split, seed, index, size)
            name = f"{index:05d}.png"
            image.save(folder / name)
            identity = f"{split}-{seed}-{index}"
            products.append(
                {"id": identity, "image": name, "title": product.title, "description": product.description}
            )
            captions.append({"image": name, "caption": product.caption})
        _write(folder / "products.jsonl", _lines(products))
        _write(folder / "captions.jsonl", _lines(captions))


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
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for index in range(episodes):
        images, episode = draw_episode(seed, index, words, size)
        names = [f"{index:05d}-{place}.png" for place in range(len(images))]
        for image, name in zip(images, names, strict=True):
            image.save(folder / name)
        entry: dict[str, Any] = {"question_id": f"{seed}-{index}"}
        for place, (name, text) in enumerate(zip(names[:-1], episode.texts[:-1], strict=True), start=1):
            entry |= {f"image_{place}": name, f"caption_{place}": text}
        entries.append(entry | {"question_image": names[-1], "question": episode.texts[-1], "answer": episode.answer})
    _write(folder / "episodes.json", json.dumps(entries, indent=1) + "\n")


def _lines(rows: Iterable[Mapping[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _write(path: Path, content: str) -> None:
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(content, encoding="utf-8")
    os.replace(partial, path)
