"""Lists of files as prediction inputs."""

from pathlib import Path

import pytest
from PIL import Image

from hf_prompt_models.data.images.files import list_images
from hf_prompt_models.data.videos.files import list_videos


def test_lists_stand_for_their_files_and_folders(tmp_path: Path) -> None:
    for name in ("a.png", "deep/b.png", "c d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "lines.txt").write_text("a.png\n\n  c d.png \ndeep\n")
    (tmp_path / "table.csv").write_text('path,label\na.png,x\n"c d.png",y\n')
    (tmp_path / "rows.jsonl").write_text('{"image": "deep/b.png"}\n')
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "videos.csv").write_text("video\nclip.mp4\n")
    paths = [str(tmp_path / name) for name in ("lines.txt", "table.csv", "rows.jsonl", "a.png")]
    names = ["a.png", "c d.png", "deep/b.png", "a.png", "c d.png", "deep/b.png", "a.png"]
    assert list_images(paths) == [str(tmp_path / name) for name in names]
    (tmp_path / "notes.txt").write_text("no list\n")
    assert list_images([str(tmp_path / "notes.txt")]) == [str(tmp_path / "notes.txt")]
    assert list_videos([str(tmp_path / "videos.csv")]) == [str(tmp_path / "clip.mp4")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "label\nx\n", "needs exactly one column of files, such as 'path', but it has label"),
        ("a.csv", "path,image\nx,y\n", "needs exactly one column of files, .* it has image, path"),
        ("a.txt", "a.txt\n../secret.png\n", r"line 2: '\.\./secret\.png' is not a path within"),
        ("a.jsonl", '{"path": "a.jsonl"}\n{"path": null}\n', "line 2: '' is not a path within"),
    ],
)
def test_a_list_without_files_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        list_images([str(tmp_path / name)])
