"""Decoding of the frames of a video file by index, with PyAV (FFmpeg).

Frame indices count the frames that can be decoded, in display order, whatever frame count or rate the container
reports.
"""

import io
import logging
import mmap
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from hf_prompt_models.data.videos.gif_blocks import reaches_end_mark
from hf_prompt_models.data.videos.mp4_atoms import claimed_samples, is_mp4
from hf_prompt_models.data.videos.reader import MAX_FRAMES, UnreadableVideoError, VideoReader


logger = logging.getLogger(__name__)

CONTAINERS = "mov,matroska,avi,gif,mpegts,mpeg,flv,asf,ogg"
"""Formats that FFmpeg may detect in a file. Playlists are excluded, because FFmpeg would open other files and URLs."""

MAX_PIXELS = 2**26
"""Number of pixels of the largest frame that is decoded. 8K has half as many pixels."""

MAX_BYTES = 4 * 2**30
"""Largest size in bytes of the requested frames of one video in memory, as RGB."""

KEPT_BYTES = 2**27
"""Largest size in bytes of decoded frames that are kept while counting, so that short videos are decoded only once."""

SEEKABLE_CONTAINERS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
SEEKABLE_CODECS = frozenset({"av1", "h264", "hevc", "vp9"})
"""Containers and codecs with one displayed frame per packet, known times and reliable keyframe flags.

This is not so for VP8, whose hidden frames are packets of their own, for MPEG-4, whose packets may hold two frames,
and for AVI, which has no times.
"""

SKIPPING_CODECS = frozenset({"h264", "hevc"})
"""Codecs whose decoders can skip, packet by packet, unwanted frames that are not reference frames."""

TORN_SECONDS = 0.5
"""Seconds that may be missing at the end of the duration that a container reports."""


# Metadata such as titles is not used here and need not be UTF-8. PyAV 19 and later accept it without this option.
_ANY_METADATA: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


class UnexpectedFramesError(Exception):
    """Error for decoded frames that differ from the packets. The video must be decoded from its start instead."""


@dataclass(frozen=True)
class VideoFile:
    """Source of a video.

    Attributes:
        source: path or bytes of a video file.
        name: name of the video in error messages.
    """

    source: Path | bytes
    name: str

    @contextmanager
    def open(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        """Open the container and its video stream for decoding with one thread.

        Data loaders run one process per core, so more threads would only compete with each other.

        Raises:
            UnreadableVideoError: if the file cannot be read. The message names the video.
        """
        # With the protocol prefix, FFmpeg does not interpret a colon in the file name as a protocol.
        file = io.BytesIO(self.source) if isinstance(self.source, bytes) else f"file:{os.fspath(self.source)}"
        options = {"format_whitelist": CONTAINERS, "max_pixels": str(MAX_PIXELS)}
        try:
            with av.open(file, "r", options=options, **_ANY_METADATA) as container:
                images = [
                    stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic
                ]
                if not images:
                    raise self.error("it has no video stream")
                stream = images[0]
                context = cast(Any, stream.codec_context)
                if context is None:
                    raise self.error("there is no decoder for its video stream")
                if context.width * context.height > MAX_PIXELS:
                    raise self.error(
                        f"its frames have {context.width} x {context.height} pixels, which is more than "
                        f"{MAX_PIXELS} (MAX_PIXELS); scale it down"
                    )
                context.options = {"max_pixels": str(MAX_PIXELS)}
                stream.thread_count = 1
                yield container, stream
        except (av.error.FFmpegError, OSError) as error:
            raise self.error(self._reason(error)) from error

    def error(self, reason: str) -> UnreadableVideoError:
        """Return an error that names the video."""
        return UnreadableVideoError(f"Cannot read the video {self.name}: {reason}.")

    def _reason(self, error: Exception) -> str:
        if isinstance(error, OSError) and not isinstance(error, ValueError):
            return str(error.strerror)
        size = len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size
        if size == 0:
            return "it is empty"
        return (
            "it is truncated, lacks its index (the moov atom of an MP4), has frames of more than "
            f"{MAX_PIXELS} pixels (MAX_PIXELS), or is not a video of a supported format"
        )


@dataclass
class _Packets:
    """Information from the packets of a video, without decoding them.

    Attributes:
        times: presentation time of each packet in units of the stream, in decoding order.
        seek_times: times to seek to: in MP4 and QuickTime files the decoding times if known, otherwise `times`.
        keys: indices of the packets at which decoding can start.
        hidden: indices of the packets whose frames are not displayed.
        torn: reason why the file is considered truncated, or an empty string.
        regular: whether the packets determine the order of the frames and where decoding can start.
    """

    times: list[int | None] = field(default_factory=list)
    seek_times: list[int | None] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    hidden: set[int] = field(default_factory=set)
    torn: str = ""
    regular: bool = False


def _read_packets(file: VideoFile, container: InputContainer, stream: VideoStream) -> _Packets:
    """Read the packets of a file without decoding them."""
    is_mov = container.format.name.startswith("mov")
    packets = _Packets()
    end, gap, last, corrupt = 0.0, 0.0, None, False
    # MP4's sample table shows what is missing. Other formats report a duration, which may be that of the audio.
    for packet in container.demux(stream) if is_mov else container.demux():
        if packet.size == 0:
            continue
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None:
            end = max(end, float((time + (packet.duration or 0)) * packet.time_base))
        if packet.stream_index != stream.index:
            continue
        place = len(packets.times)
        if place == MAX_FRAMES:
            raise file.error(f"it has more than {MAX_FRAMES} frames (MAX_FRAMES); cut it into parts")
        if time is not None:
            gap, last = max(gap, float((time - (time if last is None else last)) * packet.time_base)), time
        packets.times.append(packet.pts)
        packets.seek_times.append(packet.dts if is_mov and packet.dts is not None else packet.pts)
        if packet.is_keyframe:
            packets.keys.append(place)
        if packet.is_discard:
            packets.hidden.add(place)
        corrupt |= packet.is_corrupt
    if is_mov:
        if corrupt or len(packets.times) < len(stream.index_entries):
            packets.torn = f"{len(stream.index_entries)} frames are listed, but only {len(packets.times)} are present"
    elif container.duration is not None:
        promised = (container.duration + (container.start_time or 0)) / av.time_base
        if container.format.name == "avi" and stream.average_rate:  # its duration is estimated from the file size
            promised = max(promised, float(stream.frames / stream.average_rate))
        if end < promised - max(TORN_SECONDS, gap):
            packets.torn = f"its duration should be {promised:.1f} s, but it ends at {end:.1f} s"
    packets.regular = not corrupt and _is_regular(packets)
    return packets


def _is_regular(packets: _Packets) -> bool:
    """Return whether all times are known and distinct, and no frame is displayed before the first decodable one."""
    times = [time for time in packets.times if time is not None]
    return (
        len(set(times)) == len(packets.times)
        and packets.keys[:1] == [0]
        and min(times) == times[0]
        and all(times[key] < times[following] for key, following in pairwise(packets.keys))
    )


def open_video_file(file: VideoFile, from_start: bool = False) -> VideoReader:
    """Open a video file and return a reader of its frames.

    A file that is truncated according to its own metadata raises an error, because the labelled content may be in the
    missing part. Formats without this information (MPEG-TS, live recordings) end where the file ends. Frames that
    cannot be decoded are not counted.

    Args:
        file: the video file.
        from_start: whether to decode the complete video from its start, even if seeking seems possible.

    Raises:
        UnreadableVideoError: if the video cannot be read. The message names it.
    """
    _check_claims(file)
    with file.open() as (container, stream):
        packets = _read_packets(file, container, stream)
        if container.format.name == "gif" and not _gif_is_complete(file):
            packets.torn = "it lacks the end marker of a GIF"
        seekable = container.format.name in SEEKABLE_CONTAINERS and stream.codec.canonical_name in SEEKABLE_CODECS
    if packets.torn:
        raise file.error(f"it is truncated: {packets.torn}")
    if packets.regular and seekable and not from_start:
        return _SeekingReader(file, packets)
    return _SequentialReader(file)


def _check_claims(file: VideoFile) -> None:
    """Raise an error for a file that claims more samples than it can hold, as FFmpeg would allocate their memory."""
    if isinstance(file.source, bytes):
        return _check_claims_of(file, file.source)
    if file.source.is_file() and file.source.stat().st_size:
        with open(file.source, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            _check_claims_of(file, content)


def _check_claims_of(file: VideoFile, content: bytes | mmap.mmap) -> None:
    if not is_mp4(content):
        return
    claimed = claimed_samples(content)
    if claimed is None:
        raise file.error("its header is compressed, which is no longer used; encode it again")
    if claimed > len(content):
        raise file.error(f"it claims {claimed} frames or audio samples in {len(content)} bytes")


def _gif_is_complete(file: VideoFile) -> bool:
    with io.BytesIO(file.source) if isinstance(file.source, bytes) else open(file.source, "rb") as stream:
        return reaches_end_mark(stream)


class _SequentialReader(VideoReader):
    """Reader that counts the frames by decoding the complete video."""

    def __init__(self, file: VideoFile):
        self._file = file
        self._kept: list[VideoFrame] | None = []
        self._broken = 0
        self.num_frames, room = 0, KEPT_BYTES
        for frame in self._decode():
            self.num_frames += 1
            if self.num_frames > MAX_FRAMES:
                raise file.error(f"it has more than {MAX_FRAMES} frames (MAX_FRAMES); cut it into parts")
            if self._kept is not None:
                self._kept.append(frame)
                room -= sum(plane.buffer_size for plane in frame.planes)
                if room < 0:
                    self._kept = None
        if not self.num_frames:
            raise file.error("none of its frames can be decoded")
        if self._broken:
            logger.warning(
                f"{file.name} is damaged: {self._broken} packets cannot be decoded. The other "
                f"{self.num_frames} frames are used."
            )

    def read(self, indices: Iterable[int]) -> dict[int, Image.Image]:
        """Return the frames at `indices`."""
        wanted = set(indices)
        frames = self._decode() if self._kept is None else self._kept
        numbered = enumerate(islice(frames, max(wanted) + 1))
        return _pictures(self._file, ((index, frame) for index, frame in numbered if index in wanted), len(wanted))

    def _decode(self) -> Iterator[VideoFrame]:
        with self._file.open() as (container, stream):
            for packet in container.demux(stream):
                try:
                    yield from stream.decode(packet)
                except av.error.InvalidDataError:
                    self._broken += 1
                    continue  # skip a damaged packet, as later ones may be intact


class _SeekingReader(VideoReader):
    """Reader that counts frames by their packets and decodes only the `groups of images` with requested frames."""

    def __init__(self, file: VideoFile, packets: _Packets):
        self._file = file
        self._packets = packets
        self._place = {cast(int, time): place for place, time in enumerate(packets.times)}
        self._keys = set(packets.keys)
        self._key_times = [cast(int, packets.times[key]) for key in packets.keys]
        self._reached = -1  # index of the packet that was decoded last
        self._shown = sorted(time for time, place in self._place.items() if place not in packets.hidden)
        self.num_frames = len(self._shown)
        if not self.num_frames:
            raise file.error("it has no frames")

    def read(self, indices: Iterable[int]) -> dict[int, Image.Image]:
        """Return the frames at `indices`.

        Raises:
            UnexpectedFramesError: if the decoded frames differ from the packets.
        """
        index_of = {self._shown[index]: index for index in indices}
        frames = self._decode(sorted(index_of))
        return _pictures(self._file, ((index_of[cast(int, frame.pts)], frame) for frame in frames), len(index_of))

    def _decode(self, wanted: list[int]) -> Iterator[VideoFrame]:
        """Yield the frames with the presentation times `wanted`, which are sorted."""
        with self._file.open() as (container, stream):
            frames = self._decode_from(0, container, stream, set(wanted))
            for time in wanted:
                start = self._packets.keys[bisect_right(self._key_times, time) - 1]
                if start > self._reached + 1:
                    container.seek(cast(int, self._packets.seek_times[start]), stream=stream)
                    frames = self._decode_from(start, container, stream, set(wanted))
                found = next((frame for frame in frames if frame.pts is None or frame.pts >= time), None)
                if found is None or found.pts != time:
                    raise UnexpectedFramesError
                yield found

    def _decode_from(
        self, start: int, container: InputContainer, stream: VideoStream, wanted: set[int]
    ) -> Iterator[VideoFrame]:
        """Yield frames from packet `start` on, or from an earlier keyframe, as seeking is not always exact."""
        landed = False
        for packet in container.demux(stream):
            if packet.size > 0:
                place = self._place.get(cast(int, packet.pts))
                if place is None or not (landed or (place <= start and place in self._keys)):
                    raise UnexpectedFramesError
                landed, self._reached = True, place
                if stream.codec.canonical_name in SKIPPING_CODECS:
                    stream.codec_context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
            try:
                frames = stream.decode(packet)
            except av.error.InvalidDataError as error:  # a damaged packet in the middle of the video
                raise UnexpectedFramesError from error
            yield from frames


def _pictures(file: VideoFile, frames: Iterable[tuple[int, VideoFrame]], count: int) -> dict[int, Image.Image]:
    """Convert frames to PIL images."""
    images = {}
    for index, frame in frames:
        if 3 * frame.width * frame.height * count > MAX_BYTES:
            raise file.error(
                f"{count} frames of {frame.width} x {frame.height} pixels need more than {MAX_BYTES} bytes "
                "(MAX_BYTES); sample fewer frames, or scale it down"
            )
        images[index] = _upright(file, frame)
    return images


TURNS: dict[tuple[int, int, int, int], Image.Transpose | None] = {
    (1, 0, 0, 1): None,
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}
"""Rotation or flip of an image, by the signs of (a, b, c, d) in the display matrix.

The pixel at (x, y) is displayed at (ax + cy, bx + dy).
"""


def _upright(file: VideoFile, frame: VideoFrame) -> Image.Image:
    """Convert a frame to an image in display orientation, which phones store next to the video."""
    # With more threads, a process forked later that garbage-collects the converter would wait for them forever.
    image = frame.to_image(threads=1)
    side_data: Any = frame.side_data
    data = side_data.get(SideDataType.DISPLAYMATRIX)  # `in` tests for a type since PyAV 19, for an entry before
    if data is None:
        return image
    matrix = np.frombuffer(bytes(data), np.int32).reshape(3, 3)
    signs = tuple(np.sign(matrix[:2, :2]).ravel().tolist())
    if signs not in TURNS:
        raise file.error(
            "it is rotated by an angle that is not a multiple of 90 degrees; encode it again without rotation"
        )
    turn = TURNS[signs]
    return image if turn is None else image.transpose(turn)
