"""Videos from arrays, for drawn clips and for measuring."""

from pathlib import Path
from typing import Literal

import numpy as np

from hf_prompt_models.data.videos.reader import require_av
from hf_prompt_models.utils.files import adding_files


def write_video(path: str | Path, frames: np.ndarray, frames_per_second: int = 12) -> None:
    """Writes an mp4 file: H.264 where PyAV was built with libx264, else MPEG-4 part 2.

    Args:
        path: the file to write; its folder is made if needed.
        frames: `(frames, height, width, 3)`, RGB, uint8; height and width are even.
        frames_per_second: how fast to play them.

    Raises:
        ImportError: if PyAV is not installed.
    """
    require_av(f"write the video {path}")
    import av

    codec: Literal["libx264", "mpeg4"] = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    # With its macroblock tree, x264 encodes pictures this small a little differently from one run to the next.
    options = {"libx264": {"crf": "18", "x264-params": "mbtree=0"}, "mpeg4": {"qmin": "2", "qmax": "4"}}[codec]
    with (
        adding_files(Path(path).parent) as folder,
        av.open(str(folder / Path(path).name), "w", format="mp4") as container,
    ):
        stream = container.add_stream(codec, rate=frames_per_second, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1  # the encoder's choices depend on the number of threads, so on the machine
        for frame in frames:
            # In one thread: the threads of a converter that is collected late hang a process forked later.
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=stream.pix_fmt, threads=1)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
