"""Product cards: an image, a title without colour and material, and a description that names them.

Every card has its own random stream, identified by `(split, seed, index)`: card 7 does not depend on the number of
cards. The files on disk have the formats that the readers of this package read.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

from hf_prompt_models.utils.files import adding_files, write_json_lines

from .drawing import COLOURS, Placement, draw_ground, draw_object, shape_mask, to_image
from .shapes import SHAPES


CARD_COLOURS = ("red", "yellow", "green", "blue", "purple", "pink", "brown", "black", "teal")
"""The `COLOURS` that are visible on a pale background and are not shades of each other. Orange is left out because it
would need the article "an"."""

MATERIALS = ("plastic", "wood", "wool", "lace", "stone")
"""Materials of the objects; `draw_product` draws each of them in a different way."""

SIZES: dict[str, tuple[float, float]] = {"small": (0.6, 0.68), "large": (0.85, 0.98)}
"""Range of the diameter for each size, as fractions of the image side."""

CARD_SIZE = 48
HEM = 5
"""Width in pixels of the filter that erodes the outline of lace, so that its hem is not transparent."""

Split = Literal["train", "test", "episodes"]

_STREAMS: dict[Split, int] = {"train": 13, "test": 14, "episodes": 15}  # scenes.py uses stream 12


@dataclass(frozen=True)
class ProductTraits:
    """Attributes of the product on a card.

    Attributes:
        shape: one of `SHAPES`.
        colour: one of `CARD_COLOURS`.
        material: one of `MATERIALS`.
        size: one of `SIZES`.
    """

    shape: str
    colour: str
    material: str
    size: str

    @property
    def title(self) -> str:
        """Title, such as "small lamp". Colour and material are only in the image."""
        return f"{self.size} {self.shape}"

    @property
    def description(self) -> str:
        """Description with all attributes, such as "this is a small red lamp made of wood."."""
        return f"this is a {self.size} {self.colour} {self.shape} made of {self.material}."

    @property
    def name(self) -> str:
        """Short name, such as "red lamp"."""
        return f"{self.colour} {self.shape}"

    @property
    def caption(self) -> str:
        """Caption, such as "this is a red lamp."."""
        return f"this is a {self.name}."


def choose_product(rng: np.random.Generator) -> ProductTraits:
    """Sample the attributes of a product uniformly."""
    choices = (SHAPES, CARD_COLOURS, MATERIALS, SIZES)
    return ProductTraits(*(str(rng.choice(list(choice))) for choice in choices))


def draw_product(product: ProductTraits, rng: np.random.Generator, size: int = CARD_SIZE) -> Image.Image:
    """Draw a product on a pale background, with random position, rotation and light.

    Args:
        product: attributes of the product.
        rng: random generator of everything else.
        size: height and width in pixels.

    Returns:
        An RGB image.
    """
    picture = 1 - rng.uniform(0.1, 0.25) * (
        1 - draw_ground(str(rng.choice(("sand", "water", "snow"))), size, size, rng)
    )
    diameter = float(rng.uniform(*SIZES[product.size]))
    x, y = rng.uniform(0.48 - (1 - diameter) / 3, 0.52 + (1 - diameter) / 3, 2)
    placement = Placement(
        float(x), float(y), diameter, float(rng.normal(0, 8)), float(rng.uniform(0.9, 1.1)), bool(rng.random() < 0.5)
    )
    made = draw_object(picture, product.shape, product.colour, "plain", placement, rng.uniform(0.2, 0.7))
    inside = shape_mask(product.shape, placement, size, size)
    made = made + (_surface(product, made, picture, inside, placement) - made) * inside[..., None]
    return to_image(made + rng.normal(0, 0.02, made.shape))


def _surface(
    product: ProductTraits, plain: np.ndarray, ground: np.ndarray, inside: np.ndarray, placement: Placement
) -> np.ndarray:
    """Draw the surface of an object, depending on its material.

    Args:
        product: attributes of the object.
        plain: image with the object in a plain colour, of shape (height, width, 3).
        ground: image without the object, of shape (height, width, 3).
        inside: coverage of each pixel by the object, of shape (height, width).
        placement: position, size and orientation of the object.

    Returns:
        Array of shape (height, width, 3), which is valid inside the outline of the object.
    """
    height, width, _ = plain.shape
    rows, columns = np.mgrid[:height, :width] + 0.5
    radius = placement.size * min(height, width) / 2
    across, down = (columns - placement.x * width) / radius, (rows - placement.y * height) / radius
    colour = np.array(COLOURS[product.colour])
    second = colour * 0.35 if colour.mean() > 0.5 else colour * 0.45 + 0.55
    match product.material:
        case "wood":  # diagonal grain
            return np.where(((across + down) * 1.3 % 1 < 0.5)[..., None], second, plain)
        case "wool":  # horizontal bands
            return np.where((down * 1.6 % 1 < 0.4)[..., None], second, plain)
        case "lace":  # transparent except for the hem
            hem = Image.fromarray((inside * 255).astype(np.uint8)).filter(ImageFilter.MinFilter(HEM))
            return plain + (ground - plain) * 0.75 * (np.asarray(hem) / 255)[..., None]
        case "stone":  # strong light: one side is dark, the other side is bright
            dark, glaring = np.clip(-across, 0, 1)[..., None], np.clip(across, 0, 1)[..., None]
            shaded = plain * (1 - dark)
            return shaded + (1 - shaded) * 0.75 * glaring
        case _:
            return plain


def draw_card(split: Split, seed: int, index: int, size: int = CARD_SIZE) -> tuple[Image.Image, ProductTraits]:
    """Draw one card.

    Args:
        split: the split; the splits of a seed use different random streams.
        seed: random seed of the stream of cards.
        index: index of the card in the stream.
        size: height and width in pixels.

    Returns:
        The RGB image and the attributes of the product.
    """
    rng = card_stream(split, seed, index)
    product = choose_product(rng)
    return draw_product(product, rng, size), product


def card_stream(split: Split, seed: int, index: int) -> np.random.Generator:
    """Return the random generator of a card or an episode.

    Args:
        split: the split; the splits of a seed use different random streams.
        seed: random seed of the stream.
        index: index of the card or episode in the stream.
    """
    return np.random.default_rng((_STREAMS[split], seed, index))


def write_card_folder(
    output_dir: str | Path, *, seed: int, train: int = 4000, test: int = 500, size: int = CARD_SIZE
) -> None:
    """Write product cards to `output_dir/{train,test}/{products.jsonl,captions.jsonl,<number>.png}`.

    Each line of `products.jsonl` is an object with `id`, `image`, `title` and `description`, which `read_products`
    reads. Each line of `captions.jsonl` has `image` and `caption` of the same images, for `read_captions`. The same
    arguments write the same bytes, and a smaller number of cards gives the first ones of a larger number.

    Args:
        output_dir: output folder; created if missing.
        seed: random seed of the cards; the splits of a seed share no image.
        train: number of training cards.
        test: number of test cards.
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
            write_json_lines(folder / "products.jsonl", products)
            write_json_lines(folder / "captions.jsonl", captions)
