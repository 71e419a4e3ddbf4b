"""Crops of videos, in which ALPRO's prompter names entities (paper, 3.3)."""

import torch


AREA = (0.3, 0.5)
"""Share of the frame that a crop covers."""
ASPECT = (0.3, 1 / 0.3)
"""Its width by its height."""
MAX_TRIES = 100


def draw_crop_box(image_size: int, patch_size: int, generator: torch.Generator) -> tuple[int, int, int, int]:
    """A random rectangle in a square frame, its edges moved up and left to the patches' grid.

    Args:
        image_size: width and height of the frame in pixels.
        patch_size: the grid's step.
        generator: where chance comes from.

    Returns:
        Left, top, right and bottom in pixels. Where the frame has too few patches for a crop: all of it.
    """
    for _ in range(MAX_TRIES):
        chance = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        area = (AREA[0] + chance[0] * (AREA[1] - AREA[0])) * image_size**2
        aspect = ASPECT[0] + chance[1] * (ASPECT[1] - ASPECT[0])
        width, height = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if width >= image_size or height >= image_size:
            continue
        left, top = int(chance[2] * (image_size - width + 1)), int(chance[3] * (image_size - height + 1))
        edges = [edge // patch_size * patch_size for edge in (left, top, left + width, top + height)]
        if edges[0] < edges[2] and edges[1] < edges[3]:
            return edges[0], edges[1], edges[2], edges[3]
    return 0, 0, image_size, image_size


def black_outside(
    pixel_values: torch.Tensor, boxes: torch.Tensor, mean: list[float], std: list[float]
) -> torch.Tensor:
    """Videos that are black outside their boxes.

    Args:
        pixel_values: (batch, frames, 3, height, width), normalised.
        boxes: (batch, 4) left, top, right, bottom in pixels.
        mean, std: what they were normalised with.
    """
    rows = torch.arange(pixel_values.shape[-2], device=boxes.device)
    columns = torch.arange(pixel_values.shape[-1], device=boxes.device)
    left, top, right, bottom = (edges[:, None] for edges in boxes.unbind(dim=1))
    inside_rows, inside_columns = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    inside = (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None, None].to(pixel_values.device)
    black = -torch.tensor(mean, dtype=pixel_values.dtype) / torch.tensor(std, dtype=pixel_values.dtype)
    return torch.where(inside, pixel_values, black[:, None, None].to(pixel_values.device))


def patches_in_boxes(boxes: torch.Tensor, patches_per_side: int, patch_size: int) -> torch.Tensor:
    """Which patches lie in boxes whose edges are moved up and left to the patches' grid.

    Args:
        boxes: (batch, 4) left, top, right, bottom in pixels.

    Returns:
        (batch, patches) bool, row by row.

    Raises:
        ValueError: if a box is outside the frame, or holds no patch.
    """
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise ValueError(
            f"Boxes are (batch, 4): left, top, right and bottom of each in pixels; got {tuple(boxes.shape)}."
        )
    grid = boxes.div(patch_size, rounding_mode="floor").long()
    left, top, right, bottom = grid.unbind(dim=1)
    bad = (
        (left >= right)
        | (top >= bottom)
        | (boxes.amin(dim=1) < 0)
        | (boxes.amax(dim=1) > patches_per_side * patch_size)
    )
    if bad.any():
        place = int(bad.nonzero()[0])
        raise ValueError(
            f"Box {place} of the batch, {boxes[place].tolist()}, holds no patch of {patch_size} pixels of a frame of "
            f"{patches_per_side * patch_size}: give left, top, right and bottom in pixels."
        )
    places = torch.arange(patches_per_side, device=boxes.device)
    rows = (places >= top[:, None]) & (places < bottom[:, None])
    columns = (places >= left[:, None]) & (places < right[:, None])
    return (rows[:, :, None] & columns[:, None, :]).flatten(1)
