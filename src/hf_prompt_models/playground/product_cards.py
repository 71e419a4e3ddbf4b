"""Product cards: a picture, a title that leaves out what the picture shows, and a description that names it.

Every card has its own random stream, named by `(split, seed, index)`: card 7 is the same however many are drawn.
They are written to disk in the files that the package's readers take.
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
"""Those of `COLOURS` that stand out of a pale ground and are no shade of another; orange would need an "an"."""

MATERIALS = ("plastic", "wood", "wool", "lace", "stone")
"""What objects are made of; `draw_product` says how each looks."""

SIZES: dict[str, tuple[float, float]] = {"small": (0.6, 0.68), "large": (0.85, 0.98)}
"""Diameters, in fractions of the picture's side, from and to."""

CARD_SIZE = 48
HEM = 5
"""Width in pixels of a square that must be all inside for its middle to be seen through."""

Split = Literal["train", "test", "episodes"]

_STREAMS: dict[Split, int] = {"train": 13, "test": 14, "episodes": 15}  # scenes.py has stream 12


@dataclass(frozen=True)
class ProductTraits:
    """What a card shows.

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
        """Such as "small lamp": colour and material must be seen."""
        return f"{self.size} {self.shape}"

    @property
    def description(self) -> str:
        return f"this is a {self.size} {self.colour} {self.shape} made of {self.material}."

    @property
    def name(self) -> str:
        """What a short caption says, such as "red lamp"."""
        return f"{self.colour} {self.shape}"

    @property
    def caption(self) -> str:
        return f"this is a {self.name}."


def choose_product(rng: np.random.Generator) -> ProductTraits:
    """A product, all of them equally likely."""
    choices = (SHAPES, CARD_COLOURS, MATERIALS, SIZES)
    return ProductTraits(*(str(rng.choice(list(choice))) for choice in choices))


def draw_product(product: ProductTraits, rng: np.random.Generator, size: int = CARD_SIZE) -> Image.Image:
    """Photographs a product on a pale ground: where it stands, how it is turned and lit is by chance.

    Args:
        product: what to show.
        rng: chooses the rest.
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
    """What of a picture `(height, width, 3)` shows through an object's outline, by its material.

    Args:
        product: the object.
        plain: the picture with it, painted plainly.
        ground: the picture without it.
        inside: how much of each pixel it covers, `(height, width)`.
        placement: where it is.
    """
    height, width, _ = plain.shape
    rows, columns = np.mgrid[:height, :width] + 0.5
    radius = placement.size * min(height, width) / 2
    across, down = (columns - placement.x * width) / radius, (rows - placement.y * height) / radius
    colour = np.array(COLOURS[product.colour])
    second = colour * 0.35 if colour.mean() > 0.5 else colour * 0.45 + 0.55
    match product.material:
        case "wood":  # its grain
            return np.where(((across + down) * 1.3 % 1 < 0.5)[..., None], second, plain)
        case "wool":  # knitted with bands
            return np.where((down * 1.6 % 1 < 0.4)[..., None], second, plain)
        case "lace":  # one sees through it, but for the hem
            hem = Image.fromarray((inside * 255).astype(np.uint8)).filter(ImageFilter.MinFilter(HEM))
            return plain + (ground - plain) * 0.75 * (np.asarray(hem) / 255)[..., None]
        case "stone":  # rough: one side is in shadow, the other one glares
            dark, glaring = np.clip(-across, 0, 1)[..., None], np.clip(across, 0, 1)[..., None]
            shaded = plain * (1 - dark)
            return shaded + (1 - shaded) * 0.75 * glaring
        case _:
            return plain


def draw_card(split: Split, seed: int, index: int, size: int = CARD_SIZE) -> tuple[Image.Image, ProductTraits]:
    """Draws card `index` of a split of the stream `seed`.

    Args:
        split: "train" and "test" are disjoint random streams of the same seed.
        seed: names the stream of cards.
        index: which card of the stream.
        size: height and width in pixels.
    """
    rng = card_stream(split, seed, index)
    product = choose_product(rng)
    return draw_product(product, rng, size), product


def card_stream(split: Split, seed: int, index: int) -> np.random.Generator:
    """What is random in card, or episode, `index`."""
    return np.random.default_rng((_STREAMS[split], seed, index))


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
            write_json_lines(folder / "products.jsonl", products)
            write_json_lines(folder / "captions.jsonl", captions)
