"""The list of FACAD: one record per colour, with the id of the product."""

from pathlib import Path
from typing import Any

import pytest

from hf_prompt_models.data.text.facad import read_facad
from tests.data.lists import red, write_image, write_json


def address(name: str) -> str:
    return f"https://n.nordstrommedia.com/id/sr3/{name}.png?crop=pad&h=100/2"


ENTRIES: list[dict[str, Any]] = [
    {
        "id": 100001,
        "images": [
            {"0": address("r0"), "10": address("r10"), "2": address("r2"), "color": "red/pink"},
            {"0": address("b0"), "color": "blue"},
            {"color": "no picture"},
        ],
        "title": "midi dress",
        "description": "a dress with a floral print",
        "detail_info": "…",
        "categoryid": 7,
        "category": "dress",
        "attr": ["floral"],
        "attrid": [1],
    },
    {"id": 100002, "images": [{"0": address("h0"), "color": "black"}], "title": "heel", "description": "a high heel"},
]


def test_each_colour_is_a_record_with_its_images_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number, name in enumerate(["r0", "r2", "r10", "b0", "h0"]):
        write_image(tmp_path / "pictures" / f"{name}.png", red=number)
    products = read_facad(write_json(tmp_path / "meta_all_129927.json", ENTRIES), tmp_path / "pictures")
    assert [(product.id, product.title, product.description) for product in products] == [
        ("100001", "midi dress", "a dress with a floral print"),
        ("100001", "midi dress", "a dress with a floral print"),
        ("100002", "heel", "a high heel"),
    ]
    assert [[red(image) for image in product.load_images()] for product in products] == [[0, 1, 2], [3], [4]]


def test_colours_of_a_product_are_never_parted(tmp_path: Path) -> None:
    entries = [ENTRIES[0] | {"id": number} for number in range(10)]
    parts = read_facad(write_json(tmp_path / "meta.json", entries), tmp_path).split({"train": 0.5, "test": 0.5}, 0)
    assert {len(parts["train"]), len(parts["test"])} == {10}
    assert not {product.id for product in parts["train"]} & {product.id for product in parts["test"]}


def test_images_that_were_not_fetched_are_left_out_if_asked(tmp_path: Path) -> None:
    write_image(tmp_path / "r2.png")
    products = read_facad(write_json(tmp_path / "meta.json", ENTRIES), tmp_path).readable("skip", progress=False)
    assert [image.name for product in products for image in product.images] == [str(tmp_path / "r2.png")]


GOOD = ENTRIES[1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": 1}, "Expected a JSON list of objects"),
        ([], "Expected a JSON list of objects"),
        ([GOOD, 7], "entry 1: expected an object with a list 'images'"),
        ([GOOD, GOOD | {"images": {"0": "a"}}], "entry 1: expected an object with a list 'images'"),
        ([GOOD, GOOD | {"images": ["a.png"]}], "entry 1: expected the images of a colour, got 'a.png'"),
        ([GOOD, GOOD | {"images": [{"0": 7}]}], "entry 1: expected numbered URLs of images, got '0': '7'"),
        ([GOOD, GOOD | {"images": [{"0": "https://x/.."}]}], "entry 1: expected numbered URLs"),
        ([GOOD, GOOD | {"images": [{"first": address("a")}]}], "entry 1: expected numbered URLs"),
        ([GOOD, GOOD | {"description": ""}], "entry 1: 'description' must be a non-empty string"),
        ([GOOD | {"images": []}], "contains no images"),
    ],
)
def test_a_damaged_list_is_refused_by_entry(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"meta\.json.*{message}"):
        read_facad(write_json(tmp_path / "meta.json", value), tmp_path)
