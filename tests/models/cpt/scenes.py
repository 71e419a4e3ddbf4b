"""Regions for tests."""

import torch


def random_boxes(count: int, size: tuple[int, int], seed: int = 0) -> list[list[int]]:
    """Sample boxes in an image of the given size, each at least 4 pixels wide and high."""
    generator = torch.Generator().manual_seed(seed)
    width, height = size
    boxes = []
    for _ in range(count):
        x, y, w, h = torch.rand(4, generator=generator).tolist()
        x1, y1 = int(x * (width - 6)), int(y * (height - 6))
        boxes.append([x1, y1, x1 + 4 + int(w * (width - x1 - 5)), y1 + 4 + int(h * (height - y1 - 5))])
    return boxes
