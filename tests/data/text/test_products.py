"""Products from JSONL files and from datasets."""

import pickle
from pathlib import Path
from typing import Any

import datasets
import pytest

from hf_prompt_models.data.text.products import Product, read_products
from tests.data.lists import red, write_image, write_json_lines


ROWS: list[dict[str, Any]] = [
    {"id": 3, "images": ["a.png", "sub/b.png"], "title": " Red cup ", "description": "A red cup of glass."},
    {"id": "x", "image": "a.png", "title": "", "description": "A cup.", "more": [1]},
    {"id": 3, "images": [], "title": None, "description": "Nothing to see."},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_image(tmp_path / "a.png", red=10)
    write_image(tmp_path / "sub" / "b.png", red=20)
    return tmp_path


def summary(product: Product) -> tuple[str, list[int], str, str]:
    return product.id, [red(image) for image in product.load_images()], product.title, product.description


EXPECTED = [
    ("3", [10, 20], "Red cup", "A red cup of glass."),
    ("x", [10], "", "A cup."),
    ("3", [], "", "Nothing to see."),
]


def test_lines_are_read_in_their_order_with_paths_relative_to_the_file(folder: Path) -> None:
    products = read_products(write_json_lines(folder / "products.jsonl", ROWS))
    assert [summary(product) for product in products] == EXPECTED
    again = pickle.loads(pickle.dumps(products))  # as spawned workers get it
    assert summary(again[0]) == EXPECTED[0]


GOOD: dict[str, Any] = {"id": 1, "image": "a.png", "title": "t", "description": "d"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"description": ""}, "'description' must be a non-empty string"),
        ({"description": " \n"}, "'description' must be a non-empty string"),
        ({"description": None}, "'description' must be a non-empty string"),
        ({"description": ["d"]}, "'description' must be a non-empty string"),
        ({"title": 7}, "'title' must be a string, got '7'"),
        ({"id": None}, "'id' must be a number or a string"),
        ({"id": True}, "'id' must be a number or a string"),
        ({"id": " "}, "'id' must be a number or a string"),
        ({"image": None}, "'images' must be a list of paths"),
        ({"image": ""}, "'images' must be a list of paths"),
        ({"images": ["a.png"]}, "only one of them"),
    ],
)
def test_a_line_that_is_no_product_is_named(folder: Path, change: dict[str, Any], message: str) -> None:
    path = write_json_lines(folder / "products.jsonl", [GOOD, GOOD | change])
    with pytest.raises(ValueError, match=rf"products\.jsonl, line 2: .*{message}"):
        read_products(path)


def test_images_are_needed_as_a_list_or_as_one_but_may_be_none(folder: Path) -> None:
    without = {name: value for name, value in GOOD.items() if name != "image"}
    with pytest.raises(ValueError, match="line 1: 'images' must be a list"):
        read_products(write_json_lines(folder / "products.jsonl", [without]))
    with pytest.raises(ValueError, match="line 1: expected at most 64 images per product, got 65"):
        read_products(write_json_lines(folder / "products.jsonl", [without | {"images": ["a.png"] * 65}]))


def test_empty_long_and_missing_lists_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"empty\.jsonl contains no products"):
        read_products(write_json_lines(folder / "empty.jsonl", []))
    with pytest.raises(ValueError, match=r"absent\.jsonl' is neither a local file nor a dataset"):
        read_products(folder / "absent.jsonl")
    path = write_json_lines(folder / "products.jsonl", ROWS)
    monkeypatch.setattr("hf_prompt_models.data.text.products.MAX_BYTES", 100)
    with pytest.raises(ValueError, match="lists of products may have at most 100"):
        read_products(path)


def saved(folder: Path, features: dict[str, Any], columns: dict[str, list[Any]]) -> Path:
    data = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    datasets.DatasetDict({"train": data, "test": data.select([1])}).save_to_disk(folder / "saved")
    return folder / "saved"


TEXT = datasets.Value("string")


def test_a_data_set_with_lists_of_images_gives_what_the_lines_give(folder: Path) -> None:
    columns = {
        "id": ["3", "x", "3"],
        "images": [[str(folder / "a.png"), str(folder / "sub/b.png")], [str(folder / "a.png")], None],
        "title": ["Red cup", "", None],
        "description": [row["description"] for row in ROWS],
    }
    features = {"id": TEXT, "images": datasets.List(datasets.Image()), "title": TEXT, "description": TEXT}
    path = saved(folder, features, columns)
    products = read_products(path)
    assert [summary(product) for product in products] == EXPECTED
    assert summary(pickle.loads(pickle.dumps(products))[0]) == EXPECTED[0]
    assert [summary(product) for product in read_products(f"{path}:test")] == EXPECTED[1:2]
    with pytest.raises(ValueError, match=r"no split 'validation'. Its splits are train, test"):
        read_products(path, "validation")


def test_a_data_set_may_have_one_image_a_row_numbers_as_ids_and_no_titles(folder: Path) -> None:
    columns = {"id": [7, 8], "image": [str(folder / "a.png"), None], "description": ["d", "e"]}
    features = {"id": datasets.Value("int64"), "image": datasets.Image(), "description": TEXT}
    products = read_products(saved(folder, features, columns))
    assert [summary(product) for product in products] == [("7", [10], "", "d"), ("8", [], "", "e")]


def test_a_row_or_column_that_does_not_fit_is_named(folder: Path) -> None:
    columns: dict[str, list[Any]] = {"id": [7, 8], "image": [str(folder / "a.png")] * 2, "description": ["d", ""]}
    features = {"id": datasets.Value("int64"), "image": datasets.Image(), "description": TEXT}
    path = saved(folder, features, columns)
    with pytest.raises(ValueError, match=r"saved:train\[1\]: 'description' must be a non-empty string"):
        read_products(path)
    path = saved(folder / "text", features | {"image": TEXT}, columns)
    with pytest.raises(ValueError, match=r"Expected images or lists of images in the column 'image' of "):
        read_products(path)
    del columns["id"], features["id"]
    with pytest.raises(ValueError, match=r"needs the columns 'id', .* Its columns are \['image', 'description'\]"):
        read_products(saved(folder / "no_id", features, columns))
