"""FACAD (Yang et al., arXiv 2008.02693): fashion products with a title, a description and images of each colour."""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from hf_prompt_models.data.images.stored import StoredImage, image_file
from hf_prompt_models.data.text.products import Product, make_product
from hf_prompt_models.data.text.records import MAX_BYTES, Records
from hf_prompt_models.utils.files import read_json


def read_facad(path: str | os.PathLike, image_directory: str | os.PathLike) -> Records[Product]:
    """Read the products of the published list, `meta_all_129927.json`, with one record per colour.

    All colours of a product share its title, description and ID, so `Records.split` keeps them together. Colours
    without images are left out. Some URLs of the list no longer exist; use `Records.readable("skip")` to leave out
    images that could not be downloaded.

    Args:
        path: the list of objects with `id`, `title`, `description` and `images`. The latter has an object for each
            colour, with its name as `color` and URLs numbered "0", "1", ….
        image_directory: folder of the downloaded images, whose file names are the last parts of the URL paths
            (`https://…/id/sr3/1b2c.jpeg?crop=pad` is `1b2c.jpeg`).

    Raises:
        ValueError: if an entry is not a product (the message names it), or there are no images.
    """
    entries = read_json(path, MAX_BYTES, "lists of products")
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path} is not FACAD's list of products. Expected a JSON list of objects.")
    products = []
    for place, entry in enumerate(entries):
        where = f"{path}, entry {place}"
        if not isinstance(entry, dict) or not isinstance(entry.get("images"), list):
            raise ValueError(f"{where}: expected an object with a list 'images', got {str(entry)[:80]}.")
        for colour in entry["images"]:
            if images := _pictures(colour, Path(image_directory), where):
                products.append(make_product(entry, images, where))
    if not products:
        raise ValueError(f"{path} contains no images.")
    return Records(str(path), products)


def _pictures(colour: Any, directory: Path, where: str) -> list[StoredImage]:
    """Return the images of one colour, in the order of their numbers."""
    if not isinstance(colour, Mapping):
        raise ValueError(f"{where}: expected the images of a colour, got {str(colour)[:80]!r}.")
    images = []
    for number in sorted((key for key in colour if key != "color"), key=lambda key: (len(key), key)):
        address = colour[number]
        name = PurePosixPath(address.partition("?")[0]).name if isinstance(address, str) else ""
        if not number.isdecimal() or name in ("", ".."):
            raise ValueError(f"{where}: expected numbered URLs of images, got {number!r}: {str(address)[:80]!r}.")
        images.append(image_file(directory / name))
    return images
