"""Examples that are in both the training and the test data."""

import os
from pathlib import Path

import pytest

from hf_prompt_models.data.images.labelled import read_labelled_images
from hf_prompt_models.data.text.captioned_videos import VideoText
from hf_prompt_models.tasks.shared_files import check_disjoint, labelled_files, video_texts
from tests.pictures import write_pictures


def test_the_same_files_are_found_through_links(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train", {"cat": 3, "dog": 3})
    write_pictures(tmp_path / "test", {"cat": 2, "dog": 2}, seed=1)
    (tmp_path / "link").symlink_to(tmp_path / "train", target_is_directory=True)
    train = labelled_files(read_labelled_images(tmp_path / "train", "train"))
    test = labelled_files(read_labelled_images(tmp_path / "test", "test"))
    check_disjoint(train, test, False, "image")
    for source in ("train", "link"):
        linked = labelled_files(read_labelled_images(tmp_path / source, "test"))
        with pytest.raises(ValueError, match=r"^6 of the 6 test images are also training images"):
            check_disjoint(train, linked, False, "image")
        check_disjoint(train, linked, True, "image")
    os.link(tmp_path / "train" / "cat" / "000.png", tmp_path / "test" / "dog" / "linked.png")
    test = labelled_files(read_labelled_images(tmp_path / "test", "test"))
    with pytest.raises(ValueError, match=r"^1 of the 5 test images .* --allow_shared_files true"):
        check_disjoint(train, test, False, "image")


def test_a_video_with_another_sentence_is_another_example(tmp_path: Path) -> None:
    train = video_texts([VideoText(tmp_path / "a.mp4", "a ball"), VideoText(tmp_path / "b.mp4", "a ball")])
    check_disjoint(train, video_texts([VideoText(tmp_path / "a.mp4", "a dog")]), False, "text")
    with pytest.raises(ValueError, match=r"^1 of the 1 test texts"):
        check_disjoint(train, video_texts([VideoText(tmp_path / "b.mp4", "a ball")]), False, "text")
