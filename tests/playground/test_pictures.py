import sys
from pathlib import Path

import numpy as np
import pytest

from hf_prompt_models.playground import CLASS_NAMES, draw_example, write_image_folder
from hf_prompt_models.playground.drawing import (
    COLOURS,
    GROUNDS,
    TEXTURES,
    Placement,
    draw_ground,
    draw_object,
    shape_mask,
)
from hf_prompt_models.playground.shapes import SHAPES
from scripts.playground.pictures import draw_caption, draw_image
from tests.programs import run_program


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def test_same_seed_writes_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("one", 5), ("again", 5), ("other", 6)):
        write_image_folder(tmp_path / name, seed=seed, train_per_class=1, test_per_class=1)
    one, again, other = (_files(tmp_path / name) for name in ("one", "again", "other"))
    assert len(one) == 2 * len(CLASS_NAMES)
    assert one == again
    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())


def test_train_and_test_images_are_disjoint() -> None:
    train = {draw_example("fish", "train", 0, index).tobytes() for index in range(8)}
    test = {draw_example("fish", "test", 0, index).tobytes() for index in range(8)}
    assert len(train) == len(test) == 8
    assert not train & test


def test_fewer_examples_are_the_first_of_more(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "few", seed=1, train_per_class=1, test_per_class=1)
    write_image_folder(tmp_path / "more", seed=1, train_per_class=2, test_per_class=1)
    assert _files(tmp_path / "few").items() < _files(tmp_path / "more").items()


def test_a_pre_training_image_depends_on_seed_and_index_alone() -> None:
    assert draw_image(3, 4)[0].tobytes() == draw_image(3, 4)[0].tobytes()
    pictures = {draw_image(seed, index)[0].tobytes() for seed in (3, 4) for index in range(4)}
    assert len(pictures) == 8


def test_captions_name_the_shape_and_only_true_traits() -> None:
    rng = np.random.default_rng(0)
    mentioned = 0
    for index in range(100):
        _, traits = draw_image(0, index, size=16)
        caption, said = draw_caption(traits, rng)
        words = caption.replace(".", " ").split()
        assert traits.shape in words
        assert said.true_of(traits)
        assert all(word in words for word in (said.shape, said.colour, said.texture, said.size, said.ground) if word)
        false_textures = set(TEXTURES) - {traits.texture}
        assert not false_textures & set(words)
        assert not (set(COLOURS) - {traits.colour, traits.ground}) & set(words)
        mentioned += bool(said.colour)
    assert 30 < mentioned < 80


def test_class_names_are_shapes_that_captions_use() -> None:
    assert set(CLASS_NAMES) < set(SHAPES)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_fills_its_box_and_stays_inside(shape: str) -> None:
    mask = shape_mask(shape, Placement(size=0.5), 64, 64)
    assert mask[16:48, 16:48].mean() > 0.15
    mask[15:49, 15:49] = 0
    assert mask.max() == 0


def test_an_object_is_drawn_where_it_is_placed_in_its_colour() -> None:
    ground = draw_ground("white", 40, 80, np.random.default_rng(0))
    picture = draw_object(ground, "circle", "red", "plain", Placement(x=0.25, y=0.5, size=0.5))
    np.testing.assert_allclose(picture[20, 20], COLOURS["red"])
    np.testing.assert_array_equal(picture[:, 40:], ground[:, 40:])
    np.testing.assert_array_equal(ground, draw_ground("white", 40, 80, np.random.default_rng(0)))


@pytest.mark.parametrize("texture", TEXTURES)
def test_textures_turn_with_the_object(texture: str) -> None:
    straight = draw_object(np.zeros((64, 64, 3)), "circle", "blue", texture, Placement())
    turned = draw_object(np.zeros((64, 64, 3)), "circle", "blue", texture, Placement(angle=90))
    np.testing.assert_allclose(np.rot90(straight, -1), turned, atol=0.35 if texture == "plain" else 1)
    assert np.abs(np.rot90(straight, -1) - turned).mean() < 0.03


@pytest.mark.parametrize("ground", [*COLOURS, *GROUNDS])
def test_grounds_stay_in_range(ground: str) -> None:
    picture = draw_ground(ground, 24, 32, np.random.default_rng(0))
    assert picture.shape == (24, 32, 3)
    assert picture.min() >= 0
    assert picture.max() <= 1


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"lava.*grass"):
        draw_ground("lava", 8, 8, rng)
    with pytest.raises(ValueError, match=r"furry.*striped"):
        draw_object(np.zeros((8, 8, 3)), "circle", "red", "furry", Placement())
    with pytest.raises(ValueError, match=r"dragon.*boat"):
        draw_example("dragon", "train", 0, 0)


def test_importing_the_drawing_code_needs_no_torch() -> None:
    # The package's own __init__ registers models, so the playground is imported here without it.
    code = (
        "import sys, types; package = sys.modules['hf_prompt_models'] = types.ModuleType('hf_prompt_models'); "
        "package.__path__ = [sys.argv[1]]; import hf_prompt_models.playground; print('torch' in sys.modules)"
    )
    import hf_prompt_models

    folder = str(Path(hf_prompt_models.__file__).parent)
    ran = run_program([sys.executable, "-c", code, folder])
    assert ran.stdout.strip() == "False"
