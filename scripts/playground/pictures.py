"""Captioned images of single objects, on which the tiny CLIP is pre-trained.

Every image has its own random stream, identified by `(seed, index)`: image 7 does not depend on the number of images.
"""

from dataclasses import astuple, dataclass

import numpy as np
from PIL import Image, ImageFilter

from hf_prompt_models.playground.drawing import (
    COLOURS,
    GROUNDS,
    TEXTURES,
    Placement,
    contrast,
    draw_ground,
    draw_object,
    smooth_noise,
    to_image,
)
from hf_prompt_models.playground.shapes import SHAPES


MEDIA = ("photo", "drawing", "painting")
SIZES = ("small", "middling", "large")
LIGHTS = ("normal", "blurry", "dark", "bright")

# The first entry of every random stream identifies its purpose, so that different uses of a seed are independent.
PRETRAINING_STREAM = 0

# Templates by medium: "{m}" is the medium, optionally with the light ("dark photo"), and "{d}" describes the object.
# Long templates put the name of the object at late positions, like a class name after sixteen context tokens.
_CARRIERS = {
    "": (
        "a {m} of a {d}",
        "a {m} of the {d}",
        "a {m} of one {d}",
        "this is a {m} of a {d}",
        "the {m} shows a {d}",
        "there is a {d} in the {m}",
        "in this {m} you can see a {d}",
        "look at this {m} , what you can see in the middle of it is a {d}",
        "here is a {m} that i found on the internet , and it shows us the {d}",
        "a picture of a {d}",
        "a picture of the {d}",
        "an image of a {d}",
        "it is a {d}",
        "the {d}",
        "a {d}",
        "{d}",
    ),
    "photo": ("itap of a {d}", "itap of my {d}", "a {m} of my {d}", "a {m} i took of a {d}", "a snapshot of a {d}"),
    "drawing": ("i drew a {d}", "art of the {d}", "a {m} of a {d} by a child"),
    "painting": ("art of a {d}", "art of the {d}", "a {m} of a {d} in oil", "i painted a {d}"),
}


@dataclass(frozen=True)
class Traits:
    """Attributes of an image, or those that a caption mentions; an empty string means that one is not mentioned."""

    shape: str
    colour: str = ""
    texture: str = ""
    size: str = ""
    ground: str = ""
    medium: str = ""
    light: str = ""

    def true_of(self, other: "Traits") -> bool:
        """Return whether all mentioned attributes are equal to those of `other`."""
        return all(mine in ("", theirs) for mine, theirs in zip(astuple(self), astuple(other), strict=True))


def draw_image(seed: int, index: int, size: int = 48) -> tuple[Image.Image, Traits]:
    """Draw one image: one object at a random position, on a random background, in one of `MEDIA`.

    Args:
        seed: random seed of the stream of images.
        index: index of the image in the stream.
        size: height and width in pixels.

    Returns:
        The RGB image and all its attributes.
    """
    rng = np.random.default_rng((PRETRAINING_STREAM, seed, index))
    medium, light = str(rng.choice(MEDIA, p=(0.45, 0.4, 0.15))), str(rng.choice(LIGHTS, p=(0.7, 0.1, 0.1, 0.1)))
    # Drawings are on white paper, because shapes are learned first on a background that is always lighter.
    ground = "white" if medium == "drawing" else str(rng.choice(GROUNDS if rng.random() < 0.4 else list(COLOURS)))
    picture = draw_ground(ground, size, size, rng)
    colour = str(rng.choice([name for name in COLOURS if contrast(name, picture) > 0.6]))
    shape, texture = str(rng.choice(list(SHAPES))), str(rng.choice(TEXTURES, p=(0.6, 0.1, 0.1, 0.1, 0.1)))
    diameter = float(np.exp(rng.uniform(np.log(0.55), np.log(1.05))))
    # A small object may be anywhere. The edge of the image may cut off a part of a large object, but not much of it.
    slack = max(1 - diameter, 0.15) / 2
    x, y = rng.uniform(0.5 - slack, 0.5 + slack, 2)
    placement = Placement(x, y, diameter, rng.normal(0, 8), rng.uniform(0.85, 1.18), rng.random() < 0.5)
    picture = draw_object(picture, shape, colour, texture, placement, rng.uniform(0.4, 1) if medium == "photo" else 0)
    image = to_image(_lit(_as_medium(picture, medium, rng), light))
    if light == "blurry":
        image = image.filter(ImageFilter.GaussianBlur(size / 60))
    extent = SIZES[0] if diameter < 0.65 else SIZES[1] if diameter < 0.85 else SIZES[2]
    return image, Traits(shape, colour, texture, extent, ground, medium, light)


def _as_medium(picture: np.ndarray, medium: str, rng: np.random.Generator) -> np.ndarray:
    height, width, _ = picture.shape
    match medium:
        case "photo":  # sensor noise
            return picture + rng.normal(0, 0.03, picture.shape)
        case "painting":  # wobbly edges and uneven paint
            rows, columns = np.mgrid[:height, :width]
            sway = (smooth_noise(height, width, (12, 12), rng) - 0.5) * height / 14
            rows = np.clip(rows + sway, 0, height - 1).astype(int)
            columns = np.clip(columns + sway[::-1], 0, width - 1).astype(int)
            return picture[rows, columns] + (smooth_noise(height, width, (24, 6), rng) - 0.5)[..., None] * 0.2
        case _:
            return picture


def _lit(picture: np.ndarray, light: str) -> np.ndarray:
    return {"dark": 0.55, "bright": 0.65}.get(light, 1.0) * picture + (0.35 if light == "bright" else 0.0)


def draw_caption(traits: Traits, rng: np.random.Generator) -> tuple[str, Traits]:
    """Sample a caption that mentions the shape and some of the other attributes of an image.

    Args:
        traits: attributes of the image.
        rng: random generator of the words.

    Returns:
        The caption and the attributes that it mentions.
    """
    said = rng.random(6) < (0.65, 0.55, 0.4, 0.5, 0.5, 0.6)
    if rng.random() < 0.15:
        said[:] = False
    colour = traits.colour if said[0] else ""
    texture = traits.texture if said[1] else ""
    size = traits.size if said[2] and traits.size != "middling" else ""
    ground = traits.ground if said[3] else ""
    light = traits.light if said[5] and traits.light != "normal" else ""
    medium = traits.medium if said[4] or light else ""

    words = [size, colour, texture] if rng.random() < 0.8 else [texture, size, colour]
    described = " ".join(word for word in (*words, traits.shape) if word)
    word = f"{light} {medium}".strip() or str(rng.choice(("picture", "image")))
    carrier = str(rng.choice(_CARRIERS[""] if not medium or light or rng.random() < 0.6 else _CARRIERS[medium]))
    if "{m}" not in carrier and carrier in _CARRIERS[""]:
        light = medium = ""
    text = carrier.format(m=word, d=described)
    if ground:
        place = f"on {ground}" if ground in GROUNDS else f"on a {ground} background"
        text = f"{place} , {text}" if rng.random() < 0.4 else f"{text} {place}"
    if rng.random() < 0.6:
        text += "."
    return _spelled(text), Traits(traits.shape, colour, texture, size, ground, medium, light)


def shape_questions(rng: np.random.Generator) -> list[str]:
    """Return a caption for every shape of `SHAPES`, in order, with the same template and no other attributes."""
    carrier, word = str(rng.choice(_CARRIERS[""])), str(rng.choice(("picture", "image")))
    return [_spelled(carrier.format(m=word, d=shape) + ".") for shape in SHAPES]


def _spelled(text: str) -> str:
    for vowel in "aeiou":
        text = f" {text}".replace(f" a {vowel}", f" an {vowel}")[1:]
    return text
