"""Drawing primitives: one object of a given shape, colour and texture at a given position on a given background.

An image is a float array of shape (height, width, 3) with RGB values from 0 to 1. All randomness comes from the given
`numpy.random.Generator`, so that a seed determines every byte. Edges are antialiased by drawing outlines
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
    """Position, size and orientation of an object in an image.

    Attributes:
        x: horizontal centre of the object, as a fraction of the image width.
        y: vertical centre of the object, as a fraction of the image height.
        size: diameter of the object (side of its box before rotation), as a fraction of the shorter image side.
        angle: clockwise rotation in degrees.
        stretch: factor of the aspect ratio (width over height); 1 keeps the aspect ratio of the shape.
        mirrored: whether the object is flipped horizontally.
    """

    x: float = 0.5
    y: float = 0.5
    size: float = 0.7
    angle: float = 0.0
    stretch: float = 1.0
    mirrored: bool = False

    def matrix(self, height: int, width: int) -> np.ndarray:
        """Return the (2, 3) affine matrix that maps object units to pixels of a `height` x `width` image."""
        radius = self.size * min(height, width) / 2
        cos, sin = np.cos(np.radians(self.angle)), np.sin(np.radians(self.angle))
        turn = np.array([[cos, -sin], [sin, cos]])
        scale = radius * np.diag([np.sqrt(self.stretch) * (-1 if self.mirrored else 1), 1 / np.sqrt(self.stretch)])
        return np.column_stack([turn @ scale, [self.x * width, self.y * height]])


def shape_mask(shape: str, placement: Placement, height: int, width: int) -> np.ndarray:
    """Return the coverage of each pixel by an object.

    Args:
        shape: a name in `SHAPES`.
        placement: position, size and orientation of the object.
        height: height of the image in pixels.
        width: width of the image in pixels.

    Returns:
        Array of shape (height, width) with values from 0 to 1.

    Raises:
        KeyError: if `shape` is not in `SHAPES`.
    """
    matrix = placement.matrix(height, width) * SUPERSAMPLING
    large = Image.new("L", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    pen = ImageDraw.Draw(large)
    for part in SHAPES[shape]:
        corners = part.points @ matrix[:, :2].T + matrix[:, 2]
        pen.polygon([tuple(corner) for corner in corners.tolist()], fill=255 if part.painted else 0)
    return np.asarray(large.reduce(SUPERSAMPLING), dtype=np.float64) / 255


def texture_mask(texture: str, placement: Placement, height: int, width: int) -> np.ndarray:
    """Return where a texture has its second colour; the texture rotates and scales with the object.

    Args:
        texture: a name in `TEXTURES`.
        placement: position, size and orientation of the object.
        height: height of the image in pixels.
        width: width of the image in pixels.

    Returns:
        Array of shape (height, width) with values 0 or 1.

    Raises:
        ValueError: if `texture` is not in `TEXTURES`.
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
            # A fixed combination of waves instead of random speckles, so that all frames of a clip have the same ones.
            pattern = np.sin(17 * u + 5 * np.sin(9 * v)) * np.sin(15 * v + 4 * np.sin(11 * u)) > 0.35
        case _:
            raise ValueError(f"Unknown texture {texture!r}. Choose one of {', '.join(TEXTURES)}.")
    return pattern.astype(np.float64)


def smooth_noise(height: int, width: int, cells: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise of shape (height, width) from 0 to 1, interpolated from `cells` (rows, columns) values."""
    coarse = Image.fromarray((rng.random(cells) * 255).astype(np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64) / 255


def draw_ground(ground: str, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a background without objects.

    Args:
        ground: a colour in `COLOURS` or a material in `GROUNDS`.
        height: height of the image in pixels.
        width: width of the image in pixels.
        rng: random generator.

    Returns:
        Array of shape (height, width, 3).

    Raises:
        ValueError: if `ground` is neither a colour nor a material.
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
            raise ValueError(f"Unknown ground {ground!r}. Choose one of {', '.join((*COLOURS, *GROUNDS))}.")


def _blend(
    low: tuple[float, float, float], high: tuple[float, float, float] | np.ndarray, amount: np.ndarray
) -> np.ndarray:
    return np.array(low) + (np.array(high) - np.array(low)) * amount[..., None]


def contrast(colour: str, image: np.ndarray) -> float:
    """Return the L1 distance in RGB, from 0 to 3, between a colour in `COLOURS` and the mean colour of an image."""
    return float(np.abs(np.array(COLOURS[colour]) - image.mean(axis=(0, 1))).sum())


def draw_object(
    image: np.ndarray, shape: str, colour: str, texture: str, placement: Placement, shading: float = 0.0
) -> np.ndarray:
    """Draw an object on a copy of an image.

    Args:
        image: image of shape (height, width, 3), RGB from 0 to 1.
        shape: a name in `SHAPES`.
        colour: a name in `COLOURS`.
        texture: a name in `TEXTURES`. The second colour of the texture is a lighter or darker shade of `colour`, so
            that the name of the colour is right for every texture.
        placement: position, size and orientation of the object.
        shading: strength of the light from the upper left and of the shadow, from 0 (flat) to 1.

    Returns:
        Array of shape (height, width, 3).

    Raises:
        KeyError: if `shape` or `colour` is unknown.
        ValueError: if `texture` is unknown.
    """
    height, width, _ = image.shape
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
        image = image * (1 - 0.45 * shading * shadow)[..., None]
    return image + (paint - image) * mask[..., None]


def to_image(image: np.ndarray) -> Image.Image:
    """Convert an RGB array with values from 0 to 1 to a PIL image; values outside are clipped."""
    return Image.fromarray((np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8))
