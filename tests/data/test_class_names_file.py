"""Class names are read as the lines have them."""

from pathlib import Path

import pytest

from hf_prompt_models.data.class_names_file import read_class_names


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
    ("content", "message"), [(b"", "Line 1"), (b"a\n\nb", "Line 2"), (b"\xff\xfe\x00", "UTF-8 text")]
)
def test_what_is_no_list_of_names_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        names(tmp_path, content)


def test_a_file_too_large_for_names_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "names.txt").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(ValueError, match="too large"):
        read_class_names(tmp_path / "names.txt")
