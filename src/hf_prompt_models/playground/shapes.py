"""Object outlines: each shape is a short list of polygons, painted or cut out in order.

Coordinates are in object units: the origin is the centre of the object, x increases to the right, y increases
downwards, and every shape fits the box from -1 to 1. Polygons can be rotated, mirrored and scaled exactly, at any
resolution.
"""

from typing import NamedTuple

import numpy as np


class Part(NamedTuple):
    """One polygon of a shape.

    Attributes:
        points: corners in object units, of shape (n, 2).
        painted: whether the polygon is painted or cut out.
    """

    points: np.ndarray
    painted: bool


def _paint(points: list[tuple[float, float]] | np.ndarray) -> Part:
    return Part(np.asarray(points, dtype=np.float64), True)


def _cut(points: list[tuple[float, float]] | np.ndarray) -> Part:
    return Part(np.asarray(points, dtype=np.float64), False)


def _box(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _oval(x: float, y: float, rx: float, ry: float | None = None, start: float = 0, end: float = 360) -> np.ndarray:
    """Return points of the arc of an ellipse from `start` to `end` degrees, clockwise from three o'clock."""
    turn = np.radians(np.linspace(start, end, 40))
    return np.stack([x + rx * np.cos(turn), y + (rx if ry is None else ry) * np.sin(turn)], axis=1)


def _turned(points: np.ndarray, degrees: float) -> np.ndarray:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return points @ np.array([[cos, sin], [-sin, cos]])


def _star(corners: int, inner: float) -> np.ndarray:
    turn = np.radians(np.arange(2 * corners) * 180 / corners - 90)
    radius = np.where(np.arange(2 * corners) % 2 == 0, 1.0, inner)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=1)


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 60)
    height = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([np.sin(t) ** 3 * 0.98, (-height - 2.5) / 15], axis=1)


SHAPES: dict[str, list[Part]] = {
    "anchor": [
        _paint(_oval(0, -0.74, 0.24)),
        _cut(_oval(0, -0.74, 0.11)),
        _paint(_box(-0.09, -0.55, 0.09, 0.9)),
        _paint(_box(-0.42, -0.4, 0.42, -0.24)),
        _paint(np.concatenate([_oval(0, 0.1, 0.86, 0.86, 10, 170), _oval(0, 0.0, 0.72, 0.72, 160, 20)])),
        _paint([(-1, 0.32), (-0.78, -0.02), (-0.5, 0.34)]),
        _paint([(1, 0.32), (0.78, -0.02), (0.5, 0.34)]),
    ],
    "apple": [
        _paint(_oval(-0.34, 0.22, 0.56, 0.72)),
        _paint(_oval(0.34, 0.22, 0.56, 0.72)),
        _paint([(-0.07, -0.35), (0.02, -0.95), (0.16, -0.92), (0.07, -0.35)]),
        _paint(_turned(_oval(0.1, -0.86, 0.34, 0.15), 18)),
    ],
    "arrow": [_paint([(-1, -0.25), (0.1, -0.25), (0.1, -0.72), (1, 0), (0.1, 0.72), (0.1, 0.25), (-1, 0.25)])],
    "bell": [
        _paint(_oval(0, 0.78, 0.2)),
        _paint(_oval(0, -0.84, 0.14)),
        _paint(
            np.concatenate(
                [_oval(0, -0.3, 0.5, 0.5, 180, 360), [(0.56, 0.3), (0.92, 0.68), (-0.92, 0.68), (-0.56, 0.3)]]
            )
        ),
    ],
    "boat": [
        _paint([(-1, 0.35), (1, 0.35), (0.62, 0.9), (-0.68, 0.9)]),
        _paint(_box(-0.08, -0.95, 0.04, 0.4)),
        _paint([(0.12, -0.92), (0.86, 0.2), (0.12, 0.2)]),
        _paint([(-0.18, -0.66), (-0.18, 0.2), (-0.76, 0.2)]),
    ],
    "bottle": [
        _paint(_box(-0.2, -1, 0.2, -0.82)),
        _paint(_box(-0.15, -0.86, 0.15, -0.3)),
        _paint([(-0.15, -0.45), (0.15, -0.45), (0.42, -0.1), (0.42, 1), (-0.42, 1), (-0.42, -0.1)]),
        _cut(_box(-0.28, 0.2, 0.28, 0.66)),
    ],
    "butterfly": [
        _paint(_turned(_oval(0.55, -0.1, 0.52, 0.4), -42)),
        _paint(_turned(_oval(-0.55, -0.1, 0.52, 0.4), 42)),
        _paint(_turned(_oval(0.5, 0.1, 0.38, 0.3), 42)),
        _paint(_turned(_oval(-0.5, 0.1, 0.38, 0.3), -42)),
        _paint(_oval(0, 0.05, 0.1, 0.72)),
        _paint([(0.0, -0.55), (0.26, -0.98), (0.34, -0.94), (0.08, -0.5)]),
        _paint([(0.0, -0.55), (-0.26, -0.98), (-0.34, -0.94), (-0.08, -0.5)]),
    ],
    "cactus": [
        _paint(np.concatenate([_oval(0, -0.72, 0.26, 0.26, 180, 360), [(0.26, 1), (-0.26, 1)]])),
        _paint(_box(-0.82, 0.12, 0.0, 0.4)),
        _paint(np.concatenate([_oval(-0.68, -0.3, 0.16, 0.16, 180, 360), [(-0.52, 0.4), (-0.84, 0.4)]])),
        _paint(_box(0.0, -0.12, 0.8, 0.14)),
        _paint(np.concatenate([_oval(0.68, -0.56, 0.16, 0.16, 180, 360), [(0.84, 0.14), (0.52, 0.14)]])),
    ],
    "car": [
        _paint([(-0.62, -0.05), (-0.36, -0.55), (0.36, -0.55), (0.66, -0.05)]),
        _cut([(-0.44, -0.08), (-0.27, -0.42), (-0.06, -0.42), (-0.06, -0.08)]),
        _cut([(0.06, -0.08), (0.06, -0.42), (0.27, -0.42), (0.46, -0.08)]),
        _paint([(-1, -0.06), (0.9, -0.06), (1, 0.1), (1, 0.42), (-1, 0.42)]),
        _cut(_oval(-0.52, 0.42, 0.34)),
        _cut(_oval(0.54, 0.42, 0.34)),
        _paint(_oval(-0.52, 0.42, 0.26)),
        _paint(_oval(0.54, 0.42, 0.26)),
    ],
    "circle": [_paint(_oval(0, 0, 0.92))],
    "cloud": [
        _paint(_oval(-0.55, 0.18, 0.42)),
        _paint(_oval(-0.12, -0.16, 0.48)),
        _paint(_oval(0.42, 0.0, 0.4)),
        _paint(_oval(0.68, 0.28, 0.3)),
        _paint(_box(-0.55, 0.1, 0.68, 0.58)),
    ],
    "cross": [_paint(_box(-0.3, -0.92, 0.3, 0.92)), _paint(_box(-0.92, -0.3, 0.92, 0.3))],
    "crown": [
        _paint([(-0.9, 0.5), (-1, -0.45), (-0.45, 0.05), (0, -0.7), (0.45, 0.05), (1, -0.45), (0.9, 0.5)]),
        _cut(_box(-1, 0.5, 1, 0.58)),
        _paint(_box(-0.88, 0.58, 0.88, 0.8)),
        _paint(_oval(0, -0.74, 0.13)),
        _paint(_oval(-0.88, -0.48, 0.11)),
        _paint(_oval(0.88, -0.48, 0.11)),
    ],
    "cup": [
        _paint(_oval(0.5, -0.05, 0.45, 0.42)),
        _cut(_oval(0.5, -0.05, 0.25, 0.23)),
        _paint([(-0.85, -0.7), (0.55, -0.7), (0.38, 0.8), (-0.68, 0.8)]),
    ],
    "diamond": [_paint([(0, -1), (0.68, 0), (0, 1), (-0.68, 0)])],
    "fish": [
        _paint(_oval(0.2, 0, 0.78, 0.46)),
        _paint([(-0.42, 0), (-1, -0.52), (-0.82, 0), (-1, 0.52)]),
        _paint([(0.0, -0.4), (0.3, -0.72), (0.5, -0.34)]),
        _cut(_oval(0.62, -0.12, 0.09)),
    ],
    "flower": [
        *[_paint(_turned(_oval(0, -0.58, 0.32, 0.4), 72 * petal)) for petal in range(5)],
        _cut(_oval(0, 0, 0.24)),
    ],
    "hammer": [
        _paint(_box(-0.13, -0.5, 0.13, 1)),
        _paint([(-0.62, -0.86), (0.3, -0.86), (0.8, -0.4), (0.3, -0.4), (-0.62, -0.4)]),
    ],
    "heart": [_paint(_heart())],
    "house": [
        _paint([(0, -0.95), (1, -0.1), (-1, -0.1)]),
        _paint(_box(0.42, -0.9, 0.64, -0.3)),
        _paint(_box(-0.76, -0.1, 0.76, 0.9)),
        _cut(_box(-0.52, 0.28, -0.14, 0.9)),
        _cut(_box(0.14, 0.14, 0.52, 0.5)),
    ],
    "key": [
        _paint(_oval(-0.58, 0, 0.42)),
        _cut(_oval(-0.62, 0, 0.2)),
        _paint(_box(-0.25, -0.1, 1, 0.1)),
        _paint(_box(0.82, 0, 1, 0.42)),
        _paint(_box(0.5, 0, 0.66, 0.34)),
    ],
    "lamp": [
        _paint([(-0.4, -0.95), (0.4, -0.95), (0.82, -0.05), (-0.82, -0.05)]),
        _paint(_box(-0.08, -0.1, 0.08, 0.8)),
        _paint(_oval(0, 0.92, 0.5, 0.26, 180, 360)),
    ],
    "moon": [_paint(_oval(-0.05, 0, 0.92)), _cut(_oval(0.38, -0.08, 0.74))],
    "mushroom": [
        _paint([(-0.24, -0.05), (0.24, -0.05), (0.34, 0.92), (-0.34, 0.92)]),
        _paint(_oval(0, 0.1, 0.96, 0.95, 180, 360)),
        _cut(_oval(-0.42, -0.22, 0.17)),
        _cut(_oval(0.12, -0.5, 0.17)),
        _cut(_oval(0.52, -0.14, 0.13)),
    ],
    "plane": [
        _paint(_oval(0, 0, 0.15, 1)),
        _paint([(0, -0.3), (1, 0.22), (1, 0.42), (0, 0.22)]),
        _paint([(0, -0.3), (-1, 0.22), (-1, 0.42), (0, 0.22)]),
        _paint([(0, 0.55), (0.4, 0.84), (0.4, 0.98), (-0.4, 0.98), (-0.4, 0.84)]),
    ],
    "ring": [_paint(_oval(0, 0, 0.92)), _cut(_oval(0, 0, 0.55))],
    "snowman": [
        _paint(_oval(0, 0.54, 0.46)),
        _paint(_oval(0, -0.12, 0.34)),
        _paint(_oval(0, -0.56, 0.24)),
        _paint(_box(-0.34, -0.8, 0.34, -0.7)),
        _paint(_box(-0.2, -1, 0.2, -0.72)),
    ],
    "square": [_paint(_box(-0.8, -0.8, 0.8, 0.8))],
    "star": [_paint(_star(5, 0.42))],
    "tree": [
        _paint(_box(-0.15, 0.5, 0.15, 1)),
        _paint([(0, -1), (0.5, -0.3), (-0.5, -0.3)]),
        _paint([(0, -0.65), (0.66, 0.12), (-0.66, 0.12)]),
        _paint([(0, -0.25), (0.82, 0.6), (-0.82, 0.6)]),
    ],
    "triangle": [_paint([(0, -0.9), (0.95, 0.75), (-0.95, 0.75)])],
    "umbrella": [
        _paint(_oval(0, 0.0, 1, 0.92, 180, 360)),
        _cut(_oval(-0.66, 0.04, 0.3, 0.16)),
        _cut(_oval(0, 0.04, 0.3, 0.16)),
        _cut(_oval(0.66, 0.04, 0.3, 0.16)),
        _paint(_box(-0.06, -1, 0.06, 0.75)),
        _paint(np.concatenate([_oval(0.16, 0.72, 0.22, 0.26, 180, 0), _oval(0.16, 0.72, 0.1, 0.14, 0, 180)])),
    ],
}
