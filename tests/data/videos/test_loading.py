"""Frames of video files: the correct frames, or an error that names the file."""

import gc
import io
import multiprocessing
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from hf_prompt_models.data.videos import decoding as video_decoding
from hf_prompt_models.data.videos.decoding import VideoFile, open_video_file
from hf_prompt_models.data.videos.loading import UnreadableVideoError, check_video, load_video, load_video_views
from tests.videos import number_of, numbered, write_frames, write_sound, write_tone, write_video


H264: dict[str, Any] = {"gop": 12, "b_frames": 2}
KINDS: dict[str, dict[str, Any]] = {
    "h264.mp4": H264,
    "h264 with spaces, 100%: and more.mp4": H264,
    "sound.mp4": H264 | {"sound": 3},
    "sound.webm": {"codec": "libvpx-vp9", "sound": 3, "options": {"cpu-used": "8"}},
    "fragments.mp4": H264 | {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "h264.mov": H264,
    "h264.mkv": H264,
    "h264.ts": H264,
    "h264.flv": H264,
    "open groups.mkv": {"options": {"x264-params": "open-gop=1:keyint=12:bframes=3:b-adapt=0"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "keyint=12:log-level=none:pools=1"}},
    "mpeg4.mp4": H264 | {"codec": "mpeg4"},
    "mpeg4.avi": H264 | {"codec": "mpeg4"},
    "mpeg2.mpg": H264 | {"codec": "mpeg2video"},
    "mjpeg.avi": {"codec": "mjpeg"},
    "vp8.webm": {"codec": "libvpx", "gop": 30, "options": {"auto-alt-ref": "1", "lag-in-frames": "10"}},
    "vp9.webm": {"codec": "libvpx-vp9", "gop": 12, "options": {"cpu-used": "8"}},
    "vp9 hidden.webm": {
        "codec": "libvpx-vp9",
        "gop": 30,
        "options": {"cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "10"},
    },
    "animation.gif": {"codec": "gif"},
    "variable rate.mp4": H264 | {"times": [place * (place + 3) for place in range(50)]},
    "variable rate.mkv": H264 | {"times": [place * (place + 3) for place in range(50)]},
}


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_is_the_one_of_its_number(name: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, 50, **KINDS[name])
    counted = []

    def every(num_frames: int) -> list[list[int]]:
        counted.append(num_frames)
        return [list(range(num_frames)), [49, 3, 3, 27]]

    frames, some = load_video_views(path, every)
    assert counted == [50]
    assert [number_of(frame) for frame in frames] == list(range(50))
    assert [number_of(frame) for frame in some] == [49, 3, 3, 27]
    assert {(frame.mode, frame.size) for frame in frames} == {("RGB", (32, 32))}
    assert [number_of(frame) for frame in load_video(path, 8)] == [2, 8, 15, 21, 27, 33, 40, 46]
    assert [number_of(frame) for frame in load_video(path.read_bytes(), 2)] == [12, 37]
    check_video(path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".gif", ".avi"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_short_videos_are_repeated(suffix: str, count: int, tmp_path: Path) -> None:
    codec = {".webm": "libvpx", ".gif": "gif", ".avi": "mpeg4"}.get(suffix, "libx264")
    path = write_video(tmp_path / f"short{suffix}", count, codec)
    assert [number_of(frame) for frame in load_video(path, 8)] == [place * count // 8 for place in range(8)]
    drawn = [number_of(frame) for frame in load_video(path, 5, np.random.default_rng(1))]
    assert set(drawn) == set(range(count))


def moving(count: int) -> list[np.ndarray]:
    """Frames with enough detail that one decoded from the wrong reference frames is visibly different."""
    generator = np.random.default_rng(0)
    ground = generator.integers(0, 255, (48, 64, 3)).astype(np.uint8)
    pictures = []
    for number in range(count):
        picture = np.roll(ground, (number // 2, 3 * number), (0, 1))
        picture[10:30, number % 40 : number % 40 + 20] = generator.integers(0, 255, 3)
        pictures.append(picture)
    return pictures


LONG: dict[str, dict[str, Any]] = {
    "pyramid.mp4": {"options": {"x264-params": "b-pyramid=normal:bframes=5:keyint=25:min-keyint=25:ref=4"}},
    "pyramid.mkv": {"options": {"x264-params": "b-pyramid=normal:bframes=5:keyint=25:min-keyint=25:ref=4"}},
    "open.mp4": {"options": {"x264-params": "open-gop=1:bframes=3:keyint=25:min-keyint=25:b-adapt=0"}},
    "refresh.mp4": {"options": {"x264-params": "intra-refresh=1:keyint=25"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "keyint=25:log-level=none:pools=1"}},
    "vp9.webm": {"codec": "libvpx-vp9", "gop": 25, "options": {"cpu-used": "8", "lag-in-frames": "10"}},
}


@pytest.mark.parametrize("name", LONG)
def test_seeking_gives_exactly_the_frames_of_decoding_from_the_start(name: str, tmp_path: Path) -> None:
    file = VideoFile(write_video(tmp_path / name, moving(200), **LONG[name]), name)
    whole = open_video_file(file, from_start=True)
    assert type(whole).__name__ == "_SequentialReader"
    expected = whole.read(range(200))
    generator = np.random.default_rng(1)
    for count in (1, 1, 1, 2, 2, 4, 8, 16):
        chosen = generator.choice(200, size=count, replace=False).tolist()
        reader = open_video_file(file)
        assert type(reader).__name__ == "_SeekingReader"
        assert reader.num_frames == whole.num_frames == 200
        frames = reader.read(chosen)
        assert set(frames) == set(chosen)
        for index, frame in frames.items():
            assert np.array_equal(np.asarray(frame), np.asarray(expected[index])), index


def test_a_long_video_is_not_decoded_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "long.mp4", 200, gop=20, b_frames=0)
    decoded = []
    decode_from = video_decoding._SeekingReader._decode_from

    def counting(self: Any, *arguments: Any) -> Any:
        for frame in decode_from(self, *arguments):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(video_decoding._SeekingReader, "_decode_from", counting)
    assert [number_of(frame) for frame in load_video_views(path, lambda _: [[5, 65, 182]])[0]] == [5, 65, 182]
    assert len(decoded) == 6 + 6 + 3


def test_many_frames_are_decoded_twice_rather_than_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_decoding, "KEPT_BYTES", 4000)
    path = write_video(tmp_path / "animation.gif", 30, "gif")
    assert [number_of(frame) for frame in load_video_views(path, lambda count: [[count - 1, 4]])[0]] == [29, 4]


TURNED = {
    # Degrees counter-clockwise, and quarters of a turn.
    0: 0,
    90: 1,
    180: 2,
    -90: 3,
}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("rotation", TURNED)
def test_turned_videos_are_shown_upright(suffix: str, rotation: float, tmp_path: Path) -> None:
    pixels = numbered(0b1011, width=48, height=32)
    path = write_video(tmp_path / f"turned{suffix}", [pixels] * 3, rotation=rotation)
    expected = np.rot90(pixels, TURNED[rotation])
    for frame in load_video(path, 3):
        assert frame.size == (expected.shape[1], expected.shape[0])
        assert abs(np.asarray(frame).astype(int) - expected).mean() < 12


@pytest.mark.parametrize("matrix", sorted(video_decoding.TURNS))
def test_a_display_matrix_puts_pixels_where_it_says(matrix: tuple[int, int, int, int], tmp_path: Path) -> None:
    a, b, c, d = matrix
    pixels = numbered(0b1011, width=48, height=32)
    whole = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
    path = write_video(tmp_path / "turned.mp4", [pixels], matrix=whole)
    # Where each pixel (x, y) goes, moved so that the smallest coordinates are 0.
    ys, xs = np.mgrid[:32, :48]
    new_xs, new_ys = a * xs + c * ys, b * xs + d * ys
    new_xs, new_ys = new_xs - new_xs.min(), new_ys - new_ys.min()
    expected = np.zeros((new_ys.max() + 1, new_xs.max() + 1, 3))
    expected[new_ys, new_xs] = pixels
    frame = np.asarray(load_video(path, 1)[0]).astype(int)
    assert frame.shape == expected.shape
    assert abs(frame - expected).mean() < 12


def test_a_video_to_be_shown_askew_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableVideoError, match=r"askew\.mp4.*multiple of 90 degrees"):
        load_video(write_video(tmp_path / "askew.mp4", 3, rotation=30), 2)


def test_what_is_no_video_is_refused_by_name(tmp_path: Path) -> None:
    files = {
        "empty.mp4": ("it is empty", lambda path: path.write_bytes(b"")),
        "text.mp4": ("not a video of a supported format", lambda path: path.write_text("hello\n" * 300)),
        "sound.mp4": ("no video stream", write_sound),
        "sound.m4a": ("no video stream", write_sound),
        "missing.mp4": ("No such file", lambda path: None),
        "picture.mp4": ("not a video", lambda path: Image.new("RGB", (9, 9)).save(path, "PNG")),
        # A list that names other files would have FFmpeg open them.
        "list.mp4": (
            "not a video",
            lambda path: path.write_text(f"#EXTM3U\n#EXTINF:2,\nfile://{whole}\n#EXT-X-ENDLIST"),
        ),
    }
    whole = write_video(tmp_path / "whole.ts", 10)
    for name, (reason, write) in files.items():
        path = tmp_path / name
        write(path)
        for read in (lambda path: load_video(path, 2), check_video):
            with pytest.raises(UnreadableVideoError, match=rf"Cannot read the video {path}: .*{reason}"):
                read(path)
    with pytest.raises(UnreadableVideoError, match="Cannot read the video row 7: it is empty"):
        load_video(b"", 2, name="row 7")


TORN = {
    "no index.mp4": ({}, "lacks its index"),
    "index first.mp4": (
        {"container_options": {"movflags": "faststart"}},
        r"50 frames are listed, but only \d+ are present",
    ),
    "h264.mkv": ({}, r"duration should be 2\.0 s, but it ends at"),
    "vp8.webm": ({"codec": "libvpx", "options": {"cpu-used": "8"}}, r"duration should be 2\.0 s, but it ends at"),
    "sound.mkv": ({"sound": 2}, r"duration should be \S+ s, but it ends at"),
    "mpeg4.avi": ({"codec": "mpeg4"}, r"duration should be 2\.0 s, but it ends at"),
    "animation.gif": ({"codec": "gif"}, "lacks the end marker of a GIF"),
}


@pytest.mark.parametrize("name", TORN)
def test_torn_files_are_refused_where_the_container_tells(name: str, tmp_path: Path) -> None:
    options, reason = TORN[name]
    noise = [np.random.default_rng(number).integers(0, 255, (32, 32, 3)).astype(np.uint8) for number in range(50)]
    path = write_video(tmp_path / name, noise, **options)
    check_video(path)
    os.truncate(path, int(path.stat().st_size * 0.6))
    with pytest.raises(UnreadableVideoError, match=rf"{name}.*{reason}"):
        check_video(path)


def test_torn_files_end_at_the_tear_where_nothing_tells(tmp_path: Path) -> None:
    path = write_video(tmp_path / "stream.ts", 50, "libx264")
    os.truncate(path, int(path.stat().st_size * 0.6))
    (frames,) = load_video_views(path, lambda count: [list(range(count))])
    assert 20 < len(frames) < 40
    assert [number_of(frame) for frame in frames] == list(range(len(frames)))


def test_a_gif_is_whole_with_its_last_byte_alone(tmp_path: Path) -> None:
    kept = write_video(tmp_path / "animation.gif", 5, "gif").read_bytes()
    picture = io.BytesIO()  # of Pillow: colours of its own, and maybe comments, in each frame
    colours = [Image.new("RGB", (9, 7), colour) for colour in ("red", "green", "blue")]
    colours[0].save(picture, "GIF", save_all=True, append_images=colours[1:], comment=b"a; b, c!" * 50)
    for content in (kept, picture.getvalue()):
        whole = load_video(content, 3)
        assert all(np.array_equal(a, b) for a, b in zip(load_video(content + b"; more", 3), whole, strict=True))
        for length in range(len(content) // 2, len(content)):
            with pytest.raises(UnreadableVideoError, match="lacks the end marker"):
                load_video(content[:length], 3)


def test_frames_that_cannot_be_decoded_are_not_counted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "mjpeg.avi", 50, "mjpeg")
    data = path.read_bytes()
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0)]
    for packet in packets[10:13]:
        data = data.replace(packet, bytes(len(packet)))
    path.write_bytes(data)
    (frames,) = load_video_views(path, lambda count: [list(range(count))])
    assert [number_of(frame) for frame in frames] == [*range(10), *range(13, 50)]


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "video.mp4", 20)
    gif = write_video(tmp_path / "video.gif", 20, "gif")
    for limit, value, reason in [
        ("MAX_FRAMES", 19, "more than 19 frames"),
        ("MAX_PIXELS", 1000, r"\(MAX_PIXELS\)"),
        ("MAX_BYTES", 3 * 32 * 32 * 3, "4 frames of 32 x 32 pixels need more than 9216 bytes"),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(video_decoding, limit, value)
            for each in (path, gif):
                with pytest.raises(UnreadableVideoError, match=rf"{each}.*{reason}"):
                    load_video(each, 4)
    huge = bytearray(gif.read_bytes())
    huge[6:10] = struct.pack("<HH", 60000, 60000)
    with pytest.raises(UnreadableVideoError, match="MAX_PIXELS"):
        load_video(bytes(huge), 4)


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        tone = container.add_stream("aac", rate=48000)
        cover: Any = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(numbered(3), format="rgb24")))
        container.mux(cover.encode(None))
        write_tone(container, tone, 1)
    with pytest.raises(UnreadableVideoError, match="no video stream"):
        load_video(path, 2)


def test_a_folder_of_frames_is_a_video(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "frames of a clip", 20)
    assert [number_of(frame) for frame in load_video(folder, 4)] == [2, 7, 12, 17]
    shutil.rmtree(folder)
    with pytest.raises(UnreadableVideoError, match="frames of a clip"):
        load_video(folder, 4)


def test_a_process_forked_after_decoding_can_collect_its_garbage(tmp_path: Path) -> None:
    """Loaders' workers are: a decoder or converter with threads of its own would have them wait for ever."""
    for name, codec in {"h264.mp4": "libx264", "animation.gif": "gif"}.items():
        reader = open_video_file(VideoFile(write_video(tmp_path / name, 10, codec), name))
        garbage: list[Any] = [reader, reader.read(range(10))]
        garbage.append(garbage)
    del reader, garbage
    worker = multiprocessing.get_context("fork").Process(target=gc.collect)
    worker.start()
    worker.join(120)
    if worker.is_alive():
        worker.kill()
    assert worker.exitcode == 0


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("place", [0.3, 0.55, 0.8])
def test_a_video_damaged_in_the_middle_is_read_if_it_passed_the_check(
    suffix: str, place: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise, file = np.random.default_rng(0), tmp_path / f"clip.{suffix}"
    options = {"movflags": "faststart"} if suffix == "mp4" else {}
    with av.open(str(file), "w", options=options) as container:
        stream: Any = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", 8
        for _ in range(40):
            array = noise.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
        container.mux(stream.encode())
    content = bytearray(file.read_bytes())
    start = int(len(content) * place)
    content[start : start + len(content) // 50] = noise.integers(0, 255, len(content) // 50, dtype=np.uint8).tobytes()
    file.write_bytes(content)
    check_video(file)
    for count in (1, 5, 40):
        assert len(load_video(file, count)) == count
    assert all("packets cannot be decoded" in message for message in caplog.messages)
