"""Files that are whole or not there."""

from pathlib import Path

import pytest

from hf_prompt_models.data.files import replacing


def write_and_fail(file: Path) -> None:
    with replacing(file) as beside:
        beside.write_text("second")
        raise KeyError


def test_an_error_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "inner" / "table.csv"
    with replacing(file) as beside:
        beside.write_text("first")
    with pytest.raises(KeyError):
        write_and_fail(file)
    assert file.read_text() == "first"
    assert list(file.parent.iterdir()) == [file]


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="it is a folder"), replacing(tmp_path):
        pytest.fail("work was begun")
