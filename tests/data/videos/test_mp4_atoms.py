"""An MP4 file that declares more samples than it has bytes is refused before memory is allocated for them."""

import struct
from pathlib import Path

import pytest

from hf_prompt_models.data.videos.loading import UnreadableVideoError, load_video
from hf_prompt_models.data.videos.mp4_atoms import claimed_samples, is_mp4
from tests.videos import write_video


FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}


def claiming(content: bytes, atom: bytes, offset: int, number: int) -> bytes:
    """A file in which four bytes after an atom's type are another number."""
    place = content.find(atom) + 4 + offset
    assert place > 3 + offset
    return content[:place] + struct.pack(">I", number) + content[place + 4 :]


@pytest.mark.parametrize("sound", [0, 0.5])
@pytest.mark.parametrize("options", [{}, FRAGMENTED], ids=["whole", "fragmented"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_good_files_claim_what_they_hold(suffix: str, options: dict[str, str], sound: float, tmp_path: Path) -> None:
    file = write_video(tmp_path / f"a{suffix}", 10, sound=sound, container_options=options)
    content = file.read_bytes()
    assert is_mp4(content)
    claimed = claimed_samples(content)
    assert claimed == 10 if not sound else 10 < claimed < 60
    assert len(load_video(file, 3)) == 3
    assert len(load_video(content, 3)) == 3


@pytest.mark.parametrize("number", [10**5, 10**8, 10**9, 2**32 - 1])
@pytest.mark.parametrize(
    ("atom", "offset", "options"),
    [(b"stsz", 8, {}), (b"trun", 4, FRAGMENTED)],
    ids=["sizes", "fragments"],
)
def test_claims_beyond_the_files_size_are_refused_by_name(
    atom: bytes, offset: int, options: dict[str, str], number: int, tmp_path: Path
) -> None:
    file = write_video(tmp_path / "claim.mp4", 10, container_options=options)
    file.write_bytes(claiming(file.read_bytes(), atom, offset, number))
    for source in (file, file.read_bytes()):
        with pytest.raises(
            UnreadableVideoError, match=r"claim\.mp4: it claims \d+ frames or audio samples in \d+ bytes"
        ):
            load_video(source, 3, name="claim.mp4")


def test_a_compressed_header_is_refused(tmp_path: Path) -> None:
    file = write_video(tmp_path / "old.mov", 4)
    file.write_bytes(file.read_bytes().replace(b"mvhd", b"cmov"))
    with pytest.raises(UnreadableVideoError, match="compressed"):
        load_video(file, 2)


def test_media_data_are_not_searched() -> None:
    media = struct.pack(">I4s", 24, b"mdat") + b"stsz" + b"\xff" * 12
    assert claimed_samples(media) == 0
    assert claimed_samples(media + struct.pack(">I4s", 24, b"free") + b"stsz" + b"\xff" * 12) == 2**32 - 1


@pytest.mark.parametrize("suffix", [".webm", ".mkv", ".avi", ".gif", ".ts"])
def test_other_containers_are_none(suffix: str, tmp_path: Path) -> None:
    codec = {".webm": "libvpx-vp9", ".gif": "gif", ".avi": "mpeg4"}.get(suffix, "libx264")
    content = write_video(tmp_path / f"a{suffix}", 4, codec=codec).read_bytes()
    assert not is_mp4(content) or claimed_samples(content) == 0
