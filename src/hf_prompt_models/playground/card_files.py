"""Product cards and word-binding episodes written to disk, in the files that the package's readers take."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hf_prompt_models.utils.files import adding_files

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
        with adding_files(Path(output_dir) / split) as folder:
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
            _write_lines(folder / "products.jsonl", products)
            _write_lines(folder / "captions.jsonl", captions)


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


def _write_lines(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
