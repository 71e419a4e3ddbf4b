"""Drawing primitives: one object of a given shape, colour and texture at a given place on a given ground.

A picture is a float array `(height, width, 3)` of RGB values from 0 to 1. Everything random comes from the
`numpy.random.Generator` handed in, so that a seed fixes every byte. Edges are antialiased by drawing outlines
`SUPERSAMPLING` times larger and averaging.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from .shapes import SHAPES


SUPERSAMPLING = 4

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.12, 0.14),
    "orange": (0.98, 0.55, 0.10),
    "yellow": (0.97, 0.87, 0.18),
    "green": (0.16, 0.62, 0.24),
    "blue": (0.14, 0.32, 0.84),
    "purple": (0.52, 0.20, 0.68),
    "pink": (0.98, 0.58, 0.74),
    "brown": (0.46, 0.28, 0.14),
    "black": (0.06, 0.06, 0.07),
    "white": (0.97, 0.97, 0.96),
    "grey": (0.54, 0.55, 0.56),
    "teal": (0.08, 0.60, 0.62),
}

TEXTURES = ("plain", "striped", "dotted", "checkered", "speckled")

GROUNDS = ("grass", "sand", "water", "bricks", "wood", "sky", "snow", "cloth")


@dataclass(frozen=True)
class Placement:
    """Where an object stands in a picture.

    Attributes:
        x, y: the object's middle, in fractions of the picture's width and height.
        size: the object's diameter (the side of its box before turning), in fractions of the picture's shorter side.
        angle: clockwise turn in degrees.
        stretch: width over height, 1 keeps the shape's own.
        mirrored: whether left and right are swapped.
    """

    x: float = 0.5
    y: float = 0.5
    size: float = 0.7
    angle: float = 0.0
    stretch: float = 1.0
    mirrored: bool = False

    def matrix(self, height: int, width: int) -> np.ndarray:
        """The `(2, 3)` affine map from object units to pixels of a `height` x `width` picture."""
        radius = self.size * min(height, width) / 2
        cos, sin = np.cos(np.radians(self.angle)), np.sin(np.radians(self.angle))
        turn = np.array([[cos, -sin], [sin, cos]])
        scale = radius * np.diag([np.sqrt(self.stretch) * (-1 if self.mirrored else 1), 1 / np.sqrt(self.stretch)])
        return np.column_stack([turn @ scale, [self.x * width, self.y * height]])


def shape_mask(shape: str, placement: Placement, height: int, width: int) -> np.ndarray:
    """How much of each pixel the object covers: `(height, width)`, from 0 to 1.

    Raises:
        KeyError: `shape` is not in `SHAPES`.
    """
    matrix = placement.matrix(height, width) * SUPERSAMPLING
    large = Image.new("L", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    pen = ImageDraw.Draw(large)
    for part in SHAPES[shape]:
        corners = part.points @ matrix[:, :2].T + matrix[:, 2]
        pen.polygon([tuple(corner) for corner in corners.tolist()], fill=255 if part.painted else 0)
    return np.asarray(large.reduce(SUPERSAMPLING), dtype=np.float64) / 255


def texture_mask(texture: str, placement: Placement, height: int, width: int) -> np.ndarray:
    """Where a texture shows its second colour: `(height, width)`, 0 or 1. It turns and scales with the object.

    Raises:
        ValueError: `texture` is not in `TEXTURES`.
    """
    matrix = placement.matrix(height, width)
    rows, columns = np.mgrid[:height, :width] + 0.5
    offsets = np.stack([columns - matrix[0, 2], rows - matrix[1, 2]])
    u, v = np.tensordot(np.linalg.inv(matrix[:, :2]), offsets, axes=1)
    match texture:
        case "plain":
            pattern = np.zeros_like(u, dtype=bool)
        case "striped":
            pattern = (u + v) * 2.2 % 1 < 0.5
        case "dotted":
            pattern = np.hypot(u * 2.5 % 1 - 0.5, v * 2.5 % 1 - 0.5) < 0.33
        case "checkered":
            pattern = (np.floor(u * 2.5) + np.floor(v * 2.5)) % 2 == 0
        case "speckled":
            # A fixed irrational-looking wave sum: speckles without a random stream, equal in every frame of a clip.
            pattern = np.sin(17 * u + 5 * np.sin(9 * v)) * np.sin(15 * v + 4 * np.sin(11 * u)) > 0.35
        case _:
            raise ValueError(f"Unknown texture {texture!r}; known are {', '.join(TEXTURES)}.")
    return pattern.astype(np.float64)


def smooth_noise(height: int, width: int, cells: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Cloudy noise `(height, width)` from 0 to 1: `cells` (rows, columns) random values, interpolated."""
    coarse = Image.fromarray((rng.random(cells) * 255).astype(np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64) / 255


def draw_ground(ground: str, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """An empty picture `(height, width, 3)` of a colour of `COLOURS` or a material of `GROUNDS`.

    Raises:
        ValueError: `ground` is neither.
    """
    rows, columns = np.mgrid[:height, :width] / min(height, width)
    fine = rng.random((height, width))
    shift = rng.random()
    if ground in COLOURS:
        return np.broadcast_to(np.array(COLOURS[ground]), (height, width, 3)) * 0.94 + 0.03
    match ground:
        case "grass":
            return _blend((0.18, 0.42, 0.12), (0.50, 0.72, 0.26), smooth_noise(height, width, (8, 30), rng) * fine)
        case "sand":
            return _blend((0.80, 0.68, 0.44), (0.94, 0.86, 0.64), fine)
        case "water":
            waves = np.sin(40 * (rows + shift) + 3 * np.sin(9 * columns + 6 * shift)) * 0.5 + 0.5
            return _blend((0.10, 0.36, 0.62), (0.46, 0.72, 0.86), waves * smooth_noise(height, width, (5, 4), rng))
        case "bricks":
            course = np.floor(rows * 7 + shift)
            mortar = ((rows * 7 + shift) % 1 < 0.16) | ((columns * 3.5 + 0.5 * (course % 2) + shift) % 1 < 0.09)
            return _blend((0.62, 0.28, 0.20), (0.80, 0.76, 0.70), np.where(mortar, 1.0, 0.25 * fine))
        case "wood":
            grain = np.sin(30 * rows + 5 * smooth_noise(height, width, (4, 3), rng) + 6 * shift) * 0.5 + 0.5
            return _blend((0.50, 0.32, 0.16), (0.72, 0.52, 0.30), grain)
        case "sky":
            clouds = np.clip(smooth_noise(height, width, (4, 3), rng) * 2 - 0.9, 0, 1)
            return _blend((0.45, 0.70, 0.94), (1.0, 1.0, 1.0), clouds)
        case "snow":
            return _blend((0.84, 0.89, 0.96), (1.0, 1.0, 1.0), smooth_noise(height, width, (6, 6), rng))
        case "cloth":
            weave = (np.floor(rows * 9 + shift) + np.floor(columns * 9 + shift)) % 2
            tint = COLOURS[str(rng.choice(list(COLOURS)))]
            return _blend(tint, 0.55 * np.array(tint) + 0.45, weave)
        case _:
            raise ValueError(f"Unknown ground {ground!r}; known are {', '.join((*COLOURS, *GROUNDS))}.")


def _blend(
    low: tuple[float, float, float], high: tuple[float, float, float] | np.ndarray, amount: np.ndarray
) -> np.ndarray:
    return np.array(low) + (np.array(high) - np.array(low)) * amount[..., None]


def contrast(colour: str, picture: np.ndarray) -> float:
    """How far a colour of `COLOURS` is from a picture's mean, from 0 to 3: the sum over red, green and blue."""
    return float(np.abs(np.array(COLOURS[colour]) - picture.mean(axis=(0, 1))).sum())


def draw_object(
    picture: np.ndarray, shape: str, colour: str, texture: str, placement: Placement, shading: float = 0.0
) -> np.ndarray:
    """A copy of `picture` with one object drawn over it.

    Args:
        picture: `(height, width, 3)`, RGB from 0 to 1.
        shape, colour, texture: names out of `SHAPES`, `COLOURS` and `TEXTURES`. The texture's second colour is a
            lighter or darker kind of the first, so that the colour's name holds for every texture.
        placement: where, how large and how turned.
        shading: 0 paints flat; up to 1 lights the object from the upper left and lets it throw a shadow.

    Raises:
        KeyError: `shape` or `colour` is unknown.
        ValueError: `texture` is unknown.
    """
    height, width, _ = picture.shape
    mask = shape_mask(shape, placement, height, width)
    first = np.array(COLOURS[colour])
    second = first * 0.35 if first.mean() > 0.5 else first * 0.45 + 0.55
    paint = _blend(tuple(first), second, texture_mask(texture, placement, height, width))
    if shading:
        rows, columns = np.mgrid[:height, :width]
        radius = placement.size * min(height, width) / 2
        across = (columns / width - placement.x) * width + (rows / height - placement.y) * height
        paint = np.clip(paint * (1 - 0.3 * shading * np.clip(across / radius, -1, 1))[..., None], 0, 1)
        offset = max(1, round(0.08 * placement.size * min(height, width)))
        shadow = np.pad(mask, ((offset, 0), (offset, 0)))[:height, :width]
        picture = picture * (1 - 0.45 * shading * shadow)[..., None]
    return picture + (paint - picture) * mask[..., None]


def to_image(picture: np.ndarray) -> Image.Image:
    """A picture array, RGB from 0 to 1, as a PIL image; values outside are clipped."""
    return Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))
