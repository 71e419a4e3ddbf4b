"""The frames of a video file, by their number, decoded with PyAV (FFmpeg).

A frame's number counts the frames that can be decoded, in the order in which they are shown, whatever the container
says about their count or rate.
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
"""What FFmpeg may take a file for: no playlists, which would have it open other files and addresses."""

MAX_PIXELS = 2**26
"""The largest frame that is decoded: 8K has half as many pixels."""

MAX_BYTES = 4 * 2**30
"""The most that the frames asked for of one video may take in memory, as RGB."""

KEPT_BYTES = 2**27
"""Decoded frames that are kept while they are counted, so that short videos are decoded once."""

SEEKABLE_CONTAINERS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
SEEKABLE_CODECS = frozenset({"av1", "h264", "hevc", "vp9"})
"""Where each packet is one shown frame, has its time, and says rightly whether decoding can start at it.

Not so: VP8's hidden frames are packets of their own, MPEG-4's packets may hold two frames, and AVI has no times.
"""

SKIPPING_CODECS = frozenset({"h264", "hevc"})
"""Whose decoders pass over frames on which no other is built, packet by packet, where they are not wanted."""

TORN_SECONDS = 0.5
"""How much may lack at the end of what a container says to be its duration."""


# Titles and the like, which nobody reads here, need not be in UTF-8. Since PyAV 19 it takes them so by itself.
_ANY_METADATA: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


class UnexpectedFramesError(Exception):
    """Seeking met other frames than the packets tell of: the video has to be decoded from its start."""


@dataclass(frozen=True)
class VideoFile:
    """Where a video comes from.

    Attributes:
        source: a file, or the bytes of one.
        name: what to call it in an error.
    """

    source: Path | bytes
    name: str

    @contextmanager
    def open(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        """The container and the stream of pictures, decoded by one thread.

        One thread, as loaders have a process for each core: more would only get in each other's way.
        """
        # With its protocol's name: a colon in the file's name names none then.
        file = io.BytesIO(self.source) if isinstance(self.source, bytes) else f"file:{os.fspath(self.source)}"
        options = {"format_whitelist": CONTAINERS, "max_pixels": str(MAX_PIXELS)}
        try:
            with av.open(file, "r", options=options, **_ANY_METADATA) as container:
                pictures = [
                    stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic
                ]
                if not pictures:
                    raise self.error("it has no pictures, at most sound")
                stream = pictures[0]
                context = cast(Any, stream.codec_context)
                if context is None:
                    raise self.error("there is no decoder for its pictures")
                if context.width * context.height > MAX_PIXELS:
                    raise self.error(
                        f"its frames have {context.width} x {context.height} pixels, more than {MAX_PIXELS} "
                        "(MAX_PIXELS); scale it down"
                    )
                context.options = {"max_pixels": str(MAX_PIXELS)}
                stream.thread_count = 1
                yield container, stream
        except (av.error.FFmpegError, OSError) as error:
            raise self.error(self._reason(error)) from error

    def error(self, reason: str) -> UnreadableVideoError:
        """An error that names the video."""
        return UnreadableVideoError(f"Cannot read the video {self.name}: {reason}.")

    def _reason(self, error: Exception) -> str:
        if isinstance(error, OSError) and not isinstance(error, ValueError):
            return str(error.strerror)
        size = len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size
        if size == 0:
            return "it is empty"
        return (
            f"it is torn, lacks its index (an MP4's moov), has frames of more than {MAX_PIXELS} pixels (MAX_PIXELS), "
            "or is no video of a known kind"
        )


@dataclass
class _Packets:
    """What a video's packets tell without being decoded.

    Attributes:
        times: when each packet's frame is shown, in units of the stream; in the order of decoding.
        seek_times: the same or, if known and asked for, when each is decoded.
        keys: places of the packets at which decoding can start.
        hidden: places of the packets whose frames are not shown.
        torn: why the file is taken for torn, or nothing.
        regular: whether they tell the frames' order and where decoding can start.
    """

    times: list[int | None] = field(default_factory=list)
    seek_times: list[int | None] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    hidden: set[int] = field(default_factory=set)
    torn: str = ""
    regular: bool = False


def _read_packets(file: VideoFile, container: InputContainer, stream: VideoStream) -> _Packets:
    """Walk through a file without decoding it."""
    is_mov = container.format.name.startswith("mov")
    packets = _Packets()
    end, gap, last, corrupt = 0.0, 0.0, None, False
    # MP4's table of samples tells what lacks. Others tell a duration, which may be the sound's.
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
            packets.torn = f"{len(stream.index_entries)} frames are listed, only {len(packets.times)} are there"
    elif container.duration is not None:
        promised = (container.duration + (container.start_time or 0)) / av.time_base
        if container.format.name == "avi" and stream.average_rate:  # its duration is guessed from the file's size
            promised = max(promised, float(stream.frames / stream.average_rate))
        if end < promised - max(TORN_SECONDS, gap):
            packets.torn = f"it should last {promised:.1f} s and breaks off at {end:.1f} s"
    packets.regular = not corrupt and _is_regular(packets)
    return packets


def _is_regular(packets: _Packets) -> bool:
    """Whether all times are known and distinct, and nothing is shown before the first frame that can be decoded."""
    times = [time for time in packets.times if time is not None]
    return (
        len(set(times)) == len(packets.times)
        and packets.keys[:1] == [0]
        and min(times) == times[0]
        and all(times[key] < times[following] for key, following in pairwise(packets.keys))
    )


def open_video_file(file: VideoFile, from_start: bool = False) -> VideoReader:
    """The frames of a video file.

    A file that lacks a part, by its own account, is refused: what it shows need not be in the part that is there.
    Where nothing tells (MPEG-TS, live recordings), it ends where it breaks off. Frames within that cannot be decoded
    are not counted.

    Args:
        file: the file.
        from_start: decode all of it from its start, even if seeking seems possible.

    Raises:
        UnreadableVideoError: naming the video.
    """
    _check_claims(file)
    with file.open() as (container, stream):
        packets = _read_packets(file, container, stream)
        if container.format.name == "gif" and not _gif_is_whole(file):
            packets.torn = "it lacks the mark that ends a GIF"
        seekable = container.format.name in SEEKABLE_CONTAINERS and stream.codec.canonical_name in SEEKABLE_CODECS
    if packets.torn:
        raise file.error(f"it is torn: {packets.torn}")
    if packets.regular and seekable and not from_start:
        return _SeekingReader(file, packets)
    return _SequentialReader(file)


def _check_claims(file: VideoFile) -> None:
    """Refuse a file that claims more than it can hold, for which FFmpeg would make room."""
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
        raise file.error("its header is compressed, as nobody writes it any more; write it anew")
    if claimed > len(content):
        raise file.error(f"it claims {claimed} frames or sounds in {len(content)} bytes")


def _gif_is_whole(file: VideoFile) -> bool:
    with io.BytesIO(file.source) if isinstance(file.source, bytes) else open(file.source, "rb") as stream:
        return reaches_end_mark(stream)


class _SequentialReader(VideoReader):
    """Frames counted by decoding them all."""

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
                f"{file.name} is damaged: {self._broken} packets cannot be decoded, {self.num_frames} frames can."
            )

    def read(self, indices: Iterable[int]) -> dict[int, Image.Image]:
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
                    continue  # a broken packet; later ones may be whole


class _SeekingReader(VideoReader):
    """Frames counted by their packets; only the groups of pictures that hold those asked for are decoded."""

    def __init__(self, file: VideoFile, packets: _Packets):
        self._file = file
        self._packets = packets
        self._place = {cast(int, time): place for place, time in enumerate(packets.times)}
        self._keys = set(packets.keys)
        self._key_times = [cast(int, packets.times[key]) for key in packets.keys]
        self._reached = -1  # place of the packet that was decoded last
        self._shown = sorted(time for time, place in self._place.items() if place not in packets.hidden)
        self.num_frames = len(self._shown)
        if not self.num_frames:
            raise file.error("it has no frames")

    def read(self, indices: Iterable[int]) -> dict[int, Image.Image]:
        """As of every reader.

        Raises:
            UnexpectedFramesError: if what is decoded is not what the packets tell.
        """
        index_of = {self._shown[index]: index for index in indices}
        frames = self._decode(sorted(index_of))
        return _pictures(self._file, ((index_of[cast(int, frame.pts)], frame) for frame in frames), len(index_of))

    def _decode(self, wanted: list[int]) -> Iterator[VideoFrame]:
        """The frames shown at the times `wanted`, which are sorted."""
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
        """Frames from packet `start` on, or from a keyframe before: containers do not always seek precisely."""
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
            except av.error.InvalidDataError as error:  # damaged in the middle: its other frames are counted
                raise UnexpectedFramesError from error
            yield from frames


def _pictures(file: VideoFile, frames: Iterable[tuple[int, VideoFrame]], count: int) -> dict[int, Image.Image]:
    """Frames as PIL images."""
    pictures = {}
    for index, frame in frames:
        if 3 * frame.width * frame.height * count > MAX_BYTES:
            raise file.error(
                f"{count} frames of {frame.width} x {frame.height} pixels take more than {MAX_BYTES} bytes "
                "(MAX_BYTES); take fewer, or scale it down"
            )
        pictures[index] = _upright(file, frame)
    return pictures


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
"""How pictures are turned, by the signs of a display matrix's (a, b, c, d): (x, y) is shown at (ax + cy, bx + dy)."""


def _upright(file: VideoFile, frame: VideoFrame) -> Image.Image:
    """A frame as it is to be shown: phones write how they were held beside the pictures."""
    # One thread: a process forked later that collects this one's garbage would wait for others for ever.
    picture = frame.to_image(threads=1)
    side_data: Any = frame.side_data
    data = side_data.get(SideDataType.DISPLAYMATRIX)  # `in` asks for a type since PyAV 19, for an entry before
    if data is None:
        return picture
    matrix = np.frombuffer(bytes(data), np.int32).reshape(3, 3)
    signs = tuple(np.sign(matrix[:2, :2]).ravel().tolist())
    if signs not in TURNS:
        raise file.error("it is to be shown turned by other than right angles; write it anew, upright")
    turn = TURNS[signs]
    return picture if turn is None else picture.transpose(turn)
