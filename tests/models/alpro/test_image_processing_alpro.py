"""Augmentation of clips for ALPRO."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from hf_prompt_models.models.alpro.image_processing_alpro import ClipAugmentation, _change


def picture(seed: int, size: tuple[int, int] = (56, 40)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and np.array_equal(np.asarray(one), np.asarray(other))


def test_all_frames_are_changed_alike() -> None:
    changed = 0
    for seed in range(30):
        augment = ClipAugmentation(crop=True)
        once, again, other = augment([picture(1), picture(1), picture(2)], np.random.default_rng(seed))
        assert same(once, again)
        assert not same(once, other)
        assert once.size == (35, 35)  # 7/8 of the shorter side
        changed += not same(once, augment([picture(1)], np.random.default_rng(seed + 100))[0])
    assert changed > 20


def test_mirror_images_can_be_left_out_and_all_operations_too() -> None:
    frame = picture(1)
    mirrored = [
        same(ClipAugmentation(flip=True)([frame], np.random.default_rng(s))[0], ImageOps.mirror(frame))
        for s in range(80)
    ]
    assert any(mirrored)
    without = [
        same(ClipAugmentation(flip=False)([frame], np.random.default_rng(s))[0], ImageOps.mirror(frame))
        for s in range(80)
    ]
    assert not any(without)
    assert same(ClipAugmentation(operations=False)([frame], np.random.default_rng(0))[0], frame)


@pytest.mark.parametrize("name", ["identity", "contrast", "brightness", "sharpness"])
def test_at_the_released_strength_some_operations_change_nothing(name: str) -> None:
    assert same(_change(name)(picture(1)), picture(1))


def test_shifts_go_by_five_of_224_pixels_and_show_grey_at_the_side() -> None:
    frame = Image.new("RGB", (224, 224), "red")
    moved = np.asarray(_change("translate_x")(frame))
    grey = (moved == 128).all(axis=(0, 2))
    assert grey.sum() == 5
    assert grey[-5:].all()
    down = np.asarray(_change("translate_y")(frame))
    assert (down == 128).all(axis=(1, 2)).sum() == 5
    sheared = np.asarray(_change("shear_x")(frame))
    assert (sheared[-1] == 128).all(axis=1).sum() == pytest.approx(0.15 * 224, abs=1.5)
