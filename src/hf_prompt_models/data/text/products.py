"""Products with images, a title and a description."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from hf_prompt_models.data.dataset_rows import load_named_split
from hf_prompt_models.data.images.stored import StoredImage, image_file, row_images
from hf_prompt_models.data.readable import report_unread
from hf_prompt_models.data.text.records import MAX_BYTES, MAX_IMAGES, Record, Records, id_field, text_field
from hf_prompt_models.utils.files import check_listed, read_json_lines


@dataclass(frozen=True)
class Product(Record):
    """Images of a product with its title and description. Several records may have the ID of the same product.

    Attributes:
        title: name of the product. It may be empty.
        description: description to generate.
    """

    title: str
    description: str

    def without(self, names: frozenset[str]) -> Self | None:
        """Return the product without the images of these names, or None if it had images and none is left."""
        images = tuple(image for image in self.images if image.name not in names)
        return replace(self, images=images) if images or not self.images else None


def make_product(row: Mapping[str, Any], images: Sequence[StoredImage], where: str) -> Product:
    """Create a product from the fields `id`, `title` and `description` of a row.

    Args:
        row: the row.
        images: images of the product.
        where: location of the row, with which error messages start.

    Raises:
        ValueError: if there is no ID, the title is not a text, the description is empty, or there are more than
            `MAX_IMAGES` images.
    """
    title = row.get("title") or ""
    if not isinstance(title, str):
        raise ValueError(f"{where}: 'title' must be a string, got {str(title)[:80]!r}.")
    if len(images) > MAX_IMAGES:
        raise ValueError(f"{where}: expected at most {MAX_IMAGES} images per product, got {len(images)}.")
    return Product(
        id=id_field(row, "id", where),
        images=tuple(images),
        title=title.strip(),
        description=text_field(row, "description", where),
    )


def read_products(source: str | os.PathLike, split: str = "train") -> Records[Product]:
    """Read products from a JSONL file or a 🤗 Datasets dataset.

    Args:
        source: one of

            - a JSONL file with one object per line: `id`, `images` (a list of paths) or `image` (one path), `title`
              and `description`. Paths are relative to the folder of the file;
            - the name on the Hub or the path of a 🤗 Datasets dataset with columns of these names. It may include the
              split: `D:validation`.
        split: the split to read if `source` does not include one.

    Raises:
        ValueError: if an item is not a product. The message names the file and the line, or the row.

    Example:
        ```python
        >>> import json
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from hf_prompt_models.data import read_products
        >>> Image.new("RGB", (64, 48), "red").save("key.png")
        >>> row = {"id": "1", "images": ["key.png"], "title": "key", "description": "A red key."}
        >>> _ = Path("products.jsonl").write_text(json.dumps(row))
        >>> products = read_products("products.jsonl")
        >>> products[0].title, products[0].description
        ('key', 'A red key.')

        ```
    """
    path = Path(source)
    rows = _json_lines(path) if path.is_file() else _dataset_rows(str(source), split)
    products = []
    columns: dict[str, None] = {}
    for row, images, where in rows:
        columns |= dict.fromkeys(row)
        products.append(make_product(row, images, where))
    report_unread(list(columns), ("id", "title", "description", "image", "images"), str(source))
    if not products:
        raise ValueError(f"{source} contains no products. Add at least one.")
    return Records(str(source), products)


def _json_lines(path: Path) -> Iterator[tuple[Mapping[str, Any], list[StoredImage], str]]:
    for number, row in read_json_lines(path, MAX_BYTES, "lists of products"):
        where = f"{path}, line {number}"
        if "images" in row and "image" in row:
            raise ValueError(f"{where}: got both 'images' and 'image'. Write only one of them.")
        names = row.get("images", [row["image"]] if "image" in row else None)
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise ValueError(f"{where}: 'images' must be a list of paths, or 'image' one path.")
        for name in names:
            check_listed(name, where)
        yield row, [image_file(path.parent / name) for name in names], where


def _dataset_rows(source: str, split: str) -> Iterator[tuple[Mapping[str, Any], list[StoredImage], str]]:
    name, split, data = load_named_split(source, split)
    columns = [column for column in ("images", "image") if column in data.features]
    if len(columns) != 1 or not {"id", "description"} <= set(data.features):
        raise ValueError(
            f"The dataset {name!r} needs the columns 'id', 'description' and 'images' or 'image', and "
            f"optionally 'title'. Its columns are {list(data.features)}."
        )
    report_unread(list(data.features), ("id", "title", "description", *columns), f"the dataset {name!r}")
    texts = data.select_columns([text for text in ("id", "title", "description") if text in data.features])
    images = row_images(data, columns[0], f"{name}:{split}")
    for index, (row, pictures) in enumerate(zip(texts, images, strict=True)):
        yield row, pictures, f"{name}:{split}[{index}]"
