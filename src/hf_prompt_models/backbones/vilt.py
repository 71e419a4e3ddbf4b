"""Patch embeddings of ViLT in a fixed order: the embedding of transformers shuffles them at random."""

import torch
from torch.nn import functional as F
from transformers import ViltModel


def embed_patches(
    vilt: ViltModel, pixel_values: torch.Tensor, image_sizes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Embed all patches of each image, in order, after the class token.

    ViLT's own embedding shuffles the patches, and samples them where `max_image_length` is set, so that the same
    input gives different outputs.

    Args:
        vilt: the model.
        pixel_values: (images, 3, height, width), padded at the right and the bottom.
        image_sizes: (images, 2) height and width without the padding.

    Returns:
        Embeddings (images, 1 + patches, width) and a mask (images, 1 + patches), 0 for padding of smaller images.
    """
    embeddings = vilt.embeddings
    patch_height, patch_width = embeddings.patch_embeddings.projection.kernel_size
    class_position, grid = embeddings.position_embeddings.split(
        [1, embeddings.position_embeddings.shape[1] - 1], dim=1
    )
    side = round(grid.shape[1] ** 0.5)
    grid = grid.transpose(1, 2).unflatten(2, (side, side))
    sizes, rows_of_size = rows_by_size(pixel_values, image_sizes)
    most = max((height // patch_height) * (width // patch_width) for height, width in sizes)
    embedded = grid.new_zeros(len(pixel_values), 1 + most, grid.shape[1])
    mask = image_sizes.new_zeros(len(pixel_values), 1 + most)
    for (height, width), rows in zip(sizes, rows_of_size, strict=True):
        patches = embeddings.patch_embeddings(pixel_values[rows, :, :height, :width])
        positions = F.interpolate(grid, size=patches.shape[2:], mode="bilinear", align_corners=True)
        patches = (patches + positions).flatten(2).transpose(1, 2)
        start = (embeddings.cls_token + class_position).expand(len(rows), -1, -1)
        sequence = torch.cat([start, patches], dim=1)
        embedded = embedded.to(sequence.dtype)  # under autocast, the projection returns another dtype
        embedded = embedded.index_put((rows,), F.pad(sequence, (0, 0, 0, most + 1 - sequence.shape[1])))
        mask[rows, : sequence.shape[1]] = 1
    return embeddings.dropout(embedded), mask


def rows_by_size(
    pixel_values: torch.Tensor, image_sizes: torch.Tensor
) -> tuple[list[tuple[int, int]], list[torch.Tensor]]:
    """Return the sizes of the images and, for each size, the rows of the images with this size.

    An exported graph supports one size, that of the pixel values it is exported with, and refuses other images.

    Args:
        pixel_values: (images, 3, height, width), padded.
        image_sizes: (images, 2) height and width without the padding.
    """
    if torch.compiler.is_exporting():
        height, width = pixel_values.shape[2:]
        same = (image_sizes[:, 0] == height) & (image_sizes[:, 1] == width)
        torch._assert_async(same.all(), f"This graph was exported for images of {height} x {width} pixels.")
        return [(height, width)], [torch.arange(len(pixel_values), device=pixel_values.device)]
    unique, which = image_sizes.unique(dim=0, return_inverse=True)
    sizes = [(height, width) for height, width in unique.tolist()]
    return sizes, [(which == number).nonzero()[:, 0] for number in range(len(sizes))]
