"""Images without labels: which files are found in folders, and which are left out."""

from pathlib import Path

import pytest
from PIL import Image

from hf_prompt_models.data.images.files import find_images, list_images, readable_images
from hf_prompt_models.data.images.loading import UnreadableImageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a/z.JPG", "a/deep/er/1.webp", ".hidden.png", ".cache/2.png", "a/.cache/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    return tmp_path


def test_a_folders_images_are_found_at_any_depth_in_order_without_hidden_ones(folder: Path) -> None:
    found = [path.relative_to(folder).as_posix() for path in find_images(folder)]
    assert found == ["a/deep/er/1.webp", "a/z.JPG", "b.png"]


def test_what_is_hidden_above_the_folder_does_not_count(folder: Path) -> None:
    assert find_images(folder / ".cache") == [folder / ".cache" / "2.png"]


def test_named_files_stay_as_they_are_next_to_folders(folder: Path) -> None:
    named, inner = str(folder / "notes.txt"), str(folder / "a" / "deep")
    assert list_images([named, inner, named]) == [named, f"{inner}/er/1.webp", named]


def test_a_folder_without_images_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"folder\.png contains no images\. Supported formats: AVIF, BMP"):
        list_images([str(folder / "folder.png")])


def test_unreadable_files_are_refused_or_left_out_by_name(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    good, bad = str(folder / "b.png"), str(folder / "notes.txt")
    with pytest.raises(UnreadableImageError, match=r"notes\.txt.*--on_unreadable skip"):
        readable_images([good, bad], "refuse")
    assert readable_images([good, bad, good], "skip") == [good, good]
    assert "notes.txt" in caplog.text
    with pytest.raises(UnreadableImageError, match="None of the images"):
        readable_images([bad], "skip")
