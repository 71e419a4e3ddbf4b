"""Class names are read exactly as they are in the lines of a file."""

import unicodedata
from pathlib import Path

import pytest

from hf_prompt_models.data.class_names_file import read_class_names, read_class_names_file


def names(path: Path, content: bytes) -> list[str]:
    (path / "names.txt").write_bytes(content)
    return read_class_names(path / "names.txt")


def test_each_line_is_a_name_in_its_order(tmp_path: Path) -> None:
    assert names(tmp_path, "\ufeffcrème brûlée\r\n dog \ncat\ncat\n\n".encode()) == [
        "crème brûlée",
        "dog",
        "cat",
        "cat",
    ]


def test_wordnet_ids_are_left_out_only_where_every_line_has_one(tmp_path: Path) -> None:
    assert names(tmp_path, b"n01440764 tench\nn01443537\tgreat white shark") == ["tench", "great white shark"]
    assert names(tmp_path, b"n01440764 tench\nn01443537") == ["n01440764 tench", "n01443537"]
    assert names(tmp_path, b"n01440764 tench\nn0144353 shark") == ["n01440764 tench", "n0144353 shark"]


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "Line 1"), (b"a\n\nb", "Line 2"), (b"\xff\xfe\x00", "UTF-8 text file")]
)
def test_what_is_no_list_of_names_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        names(tmp_path, content)


def test_a_file_too_large_for_names_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "names.txt").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(ValueError, match="bytes"):
        read_class_names(tmp_path / "names.txt")


CLASSES = ["n01", "n02", "n03"]


def named(path: Path, content: str, suffix: str = "txt", classes: list[str] = CLASSES, **options: bool) -> list[str]:
    file = path / f"names.{suffix}"
    file.write_bytes(content.encode())
    return read_class_names_file(file).of_classes(classes, "photos", **options)


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        ("txt", "rose\ntulip, red\noak\n"),
        ("txt", '"rose"\r\n"tulip, red"\r\noak'),
        ("csv", '\ufefffolder,name\r\nn03,oak\r\nn01,rose\r\nn02,"tulip, red"\r\n'),
        ("txt", 'n02,"tulip, red"\nn01, rose\nn03,oak'),
        ("tsv", "n02\ttulip, red\nn01\trose\nn03\toak"),
        ("csv", "Class;Name\nn01;rose\nn02;tulip, red\nn03;oak"),
        ("json", '{"n02": "tulip, red", "n01": "rose", "n03": "oak"}'),
        ("json", '["rose", "tulip, red", "oak"]'),
    ],
)
def test_every_form_gives_the_names_in_the_order_of_the_classes(suffix: str, content: str, tmp_path: Path) -> None:
    assert named(tmp_path, content, suffix) == ["rose", "tulip, red", "oak"]


def test_wordnet_ids_are_the_folders(tmp_path: Path) -> None:
    classes = ["n01440764", "n01443537"]
    content = "n01443537 great white shark\nn01440764 tench"
    assert named(tmp_path, content, classes=classes) == ["tench", "great white shark"]


def test_folders_and_names_are_compared_in_one_unicode_form(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "crème_brûlée")
    content = f"pie,pie\n{decomposed},{unicodedata.normalize('NFD', 'brûlée')}"
    assert named(tmp_path, content, classes=["crème brûlée", "pie"]) == ["brûlée", "pie"]


def test_a_test_set_may_lack_classes_of_the_file(tmp_path: Path) -> None:
    content = "n03,oak\nn01,rose\nn02,tulip"
    assert named(tmp_path, content, classes=["n02"], complete=False) == ["tulip"]


@pytest.mark.parametrize(
    ("suffix", "content", "message"),
    [
        ("csv", "n01,rose\nn02,tulip", "no name for 1 class folder.*n03"),
        ("csv", "n01,rose\nn02,tulip\nn03,oak\nn04,elm", "names 1 folder.*n04"),
        ("csv", "n01,rose\nn02,tulip\nn1,oak", "no name for.*n03.*names 1 folder.*n1"),
        ("csv", "n01,rose\nn02,tulip\nn01,oak", "Line 3 of .*repeats the folder 'n01'"),
        ("csv", "n01,rose\nn02,\nn03,oak", "Line 2 of .* has no name"),
        ("csv", "n01,rose\n,tulip\nn03,oak", "Line 2 of .* has no folder"),
        ("csv", "n01,rose\nn02,tulip,red\nn03,oak", "Line 2 of .* has 3 field"),
        ("csv", 'n01,rose\nn02,"tulip\nn03,oak', "Line 2 of .* cannot be read as CSV"),
        ("txt", "n01,rose\nn02 tulip\nn03,oak", "Line 1 of .*starts with a class folder"),
        ("txt", "rose\ntulip", "2 names, but photos has 3 classes: n01, n02, n03"),
        ("txt", "rose\ntulip\noak\nelm", "4 names, but photos has 3 classes"),
        ("txt", "rose\n_\noak", "Line 2 of .* has no name"),
        ("json", '{"n01": "rose", "n02": "tulip", "n01": "oak"}', "repeats the folder 'n01'"),
        ("json", '{"n01": "rose", "n02": 2, "n03": "oak"}', "JSON object"),
        ("json", "[]", "JSON object"),
        ("json", "{", "cannot be read as JSON"),
    ],
)
def test_what_leaves_a_class_without_its_name_is_refused(
    suffix: str, content: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        named(tmp_path, content, suffix)


def test_names_in_another_order_than_the_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Line 1 of .*'daisy' the name 'rose', which is another folder"):
        named(tmp_path, "rose\ndaisy\ntulip", classes=["daisy", "rose", "tulip"])
