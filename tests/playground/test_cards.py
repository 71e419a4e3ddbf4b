"""Product cards: titles leave out what descriptions name; files; word-binding episodes."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hf_prompt_models.data.text.captions import read_captions
from hf_prompt_models.data.text.few_shot_episodes import read_episodes
from hf_prompt_models.data.text.products import read_products
from hf_prompt_models.models.frozen import build_fewshot_prompt
from hf_prompt_models.playground.drawing import COLOURS
from hf_prompt_models.playground.product_cards import (
    CARD_COLOURS,
    MATERIALS,
    ProductTraits,
    draw_card,
    draw_product,
    write_card_folder,
)
from hf_prompt_models.playground.word_binding import (
    NONSENSE_WORDS,
    WordEpisode,
    choose_episode,
    draw_episode,
    induction,
    write_episode_folder,
)
from scripts.playground.language_model import prompt_in_words


SCRIPT = Path(__file__).parents[2] / "scripts" / "make_playground.py"


# -- cards -----------------------------------------------------------------------------------------------------------


def test_a_card_depends_on_split_seed_and_index_alone() -> None:
    image, product = draw_card("test", 3, 4)
    again, same = draw_card("test", 3, 4)
    assert (image.tobytes(), product) == (again.tobytes(), same)
    drawn = {
        draw_card(split, seed, index)[0].tobytes()
        for split in ("train", "test")
        for seed in (3, 4)
        for index in (0, 1)
    }
    assert len(drawn) == 8


def test_the_title_leaves_out_what_only_the_image_shows_and_the_description_names_it() -> None:
    seen = set()
    for index in range(60):
        _, product = draw_card("train", 0, index)
        seen |= {product.colour, product.material}
        assert not set(product.title.split()) & {*CARD_COLOURS, *MATERIALS}
        said = product.description.removesuffix(".").split()
        assert {*product.title.split(), product.colour, product.material} <= set(said)
        assert sum(word in CARD_COLOURS for word in said) == sum(word in MATERIALS for word in said) == 1
    assert seen == {*CARD_COLOURS, *MATERIALS}


@pytest.mark.parametrize("colour", CARD_COLOURS)
def test_the_image_shows_the_colour_that_the_description_names(colour: str) -> None:
    image = draw_product(ProductTraits("square", colour, "plastic", "large"), np.random.default_rng(0))
    middle = np.asarray(image, dtype=float)[20:28, 20:28].mean(axis=(0, 1)) / 255
    assert min(COLOURS, key=lambda name: np.abs(middle - COLOURS[name]).sum()) == colour


def test_materials_and_sizes_are_distinguished_by_the_image_alone() -> None:
    def pixels(material: str, size: str) -> np.ndarray:
        product = ProductTraits("circle", "red", material, size)
        return np.asarray(draw_product(product, np.random.default_rng(1)), dtype=float)

    inside = [pixels(material, "large")[14:34, 14:34] for material in MATERIALS]
    for place, one in enumerate(inside):
        assert all(np.abs(one - other).mean() > 10 for other in inside[:place])
    red = [(pixels("plastic", size)[..., 1] < 100).sum() for size in ("small", "large")]
    assert red[0] < 0.7 * red[1]


# -- episodes --------------------------------------------------------------------------------------------------------


def test_the_answer_is_the_name_of_the_product_that_the_question_shows() -> None:
    answers = []
    for index in range(40):
        episode = choose_episode(np.random.default_rng(index))
        one, other = episode.products
        assert one.shape != other.shape
        assert one.colour != other.colour
        named = dict(zip(episode.shown[:-1], episode.texts[:-1], strict=True))
        assert named[episode.shown[-1]] == f"this is a {episode.answer}."
        answers.append(episode.words.index(episode.answer))
    assert 10 < sum(answers) < 30


def test_nothing_but_the_images_tells_the_answer() -> None:
    for index in range(20):
        _, episode = draw_episode(0, index)
        assert set(episode.words) == {"dax", "blicket"}
        assert episode.induction == "answer with blicket or dax."
        assert episode.texts[-1] == "what is this? this is a"
    firsts = [draw_episode(0, index)[1].words[0] for index in range(40)]
    assert 8 < firsts.count("dax") < 32


def test_the_question_shows_another_image_of_a_product() -> None:
    for index in range(10):
        images, _ = draw_episode(1, index)
        assert len({image.tobytes() for image in images}) == 3
    assert draw_episode(1, 2)[0][2].tobytes() == draw_episode(1, 2)[0][2].tobytes()


def test_in_words_each_image_is_its_caption() -> None:
    lamp, cup = ProductTraits("lamp", "red", "wood", "small"), ProductTraits("cup", "blue", "wool", "large")
    assert prompt_in_words(WordEpisode((lamp, cup), ("dax", "blicket"), 0)) == (
        "answer with blicket or dax. red lamp this is a dax. blue cup this is a blicket. "
        "red lamp what is this? this is a"
    )


def test_nonsense_words_are_many_and_different() -> None:
    assert len(set(NONSENSE_WORDS)) == len(NONSENSE_WORDS) > 100
    assert not set(NONSENSE_WORDS) & {*CARD_COLOURS, *MATERIALS}


# -- files -----------------------------------------------------------------------------------------------------------


def test_the_readers_take_the_files_of_cards(tmp_path: Path) -> None:
    write_card_folder(tmp_path, seed=2, train=3, test=4)
    products, captions = (
        read_products(tmp_path / "test/products.jsonl"),
        read_captions(tmp_path / "test/captions.jsonl"),
    )
    assert len(products) == len(captions) == 4
    for index, (record, captioned) in enumerate(zip(products, captions, strict=True)):
        image, product = draw_card("test", 2, index)
        assert (record.title, record.description) == (product.title, product.description)
        assert captioned.caption == f"this is a {product.colour} {product.shape}."
        assert record.load_images()[0].tobytes() == captioned.load_images()[0].tobytes() == image.tobytes()
    ids = [record.id for split in ("train", "test") for record in read_products(tmp_path / split / "products.jsonl")]
    assert len(set(ids)) == 7


def test_the_reader_takes_the_file_of_episodes(tmp_path: Path) -> None:
    write_episode_folder(tmp_path, seed=2, episodes=3)
    for index, record in enumerate(read_episodes(tmp_path / "episodes.json")):
        images, episode = draw_episode(2, index)
        assert record.answer == episode.answer
        text, pictures = build_fewshot_prompt(induction(episode.words), record.load_shots(), record.load_query())
        assert text.count("<image>") == 3
        captions = iter(product.name for product in episode.shown)
        words = " ".join(text.replace("<image>", " <image> ").split())
        while "<image>" in words:
            words = words.replace("<image>", next(captions), 1)
        assert words == prompt_in_words(episode)
        assert [picture.tobytes() for picture in pictures] == [image.tobytes() for image in images]


@pytest.mark.parametrize(
    ("command", "count", "file"),
    [("cards", "--test", "test/products.jsonl"), ("episodes", "--episodes", "episodes.json")],
)
def test_the_script_writes_the_same_bytes_again_and_fewer_are_the_first_of_more(
    command: str, count: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, number in (("one", 2), ("again", 2), ("more", 3)):
        flags = [command, str(tmp_path / name), "--seed", "5", count, str(number)]
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *flags, *["--train", "1"] * (command == "cards")])
        runpy.run_path(str(SCRIPT), run_name="__main__")
    one, again, more = (
        {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "again", "more")
    )
    assert one == again
    assert {name: content for name, content in one.items() if name.endswith(".png")}.items() <= more.items()
    if command == "cards":
        assert one[file] == b"".join(more[file].splitlines(keepends=True)[:2])
    else:
        assert json.loads(one[file]) == json.loads(more[file])[:2]


def test_images_are_as_large_as_asked(tmp_path: Path) -> None:
    write_card_folder(tmp_path, seed=0, train=0, test=1, size=64)
    with Image.open(tmp_path / "test" / "00000.png") as image:
        assert image.size == (64, 64)
