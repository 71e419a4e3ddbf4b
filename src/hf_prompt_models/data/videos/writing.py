"""Writing of videos from arrays, for synthetic clips and benchmarks."""

from pathlib import Path
from typing import Literal

import numpy as np

from hf_prompt_models.data.videos.reader import require_av
from hf_prompt_models.utils.files import adding_files


def write_video(path: str | Path, frames: np.ndarray, frames_per_second: int = 12) -> None:
    """Write an MP4 file with H.264 if PyAV was built with libx264, otherwise with MPEG-4 Part 2.

    Args:
        path: file to write. Its folder is created if needed.
        frames: RGB uint8 array of shape (frames, height, width, 3), with even height and width.
        frames_per_second: frame rate of the video.

    Raises:
        ImportError: if PyAV is not installed.

    Example:
        ```python
        >>> import numpy as np
        >>> from hf_prompt_models.data import load_video, write_video
        >>> write_video("clips/black.mp4", np.zeros((10, 48, 64, 3), dtype=np.uint8))
        >>> load_video("clips/black.mp4", num_frames=1)[0].size
        (64, 48)

        ```
    """
    require_av(f"write the video {path}")
    import av

    codec: Literal["libx264", "mpeg4"] = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    # With its macroblock tree, x264 encodes frames this small slightly differently from run to run.
    options = {"libx264": {"crf": "18", "x264-params": "mbtree=0"}, "mpeg4": {"qmin": "2", "qmax": "4"}}[codec]
    with (
        adding_files(Path(path).parent) as folder,
        av.open(str(folder / Path(path).name), "w", format="mp4") as container,
    ):
        stream = container.add_stream(codec, rate=frames_per_second, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1  # the output depends on the number of threads, so otherwise on the machine
        for frame in frames:
            # With more threads, a process forked later that garbage-collects the converter would hang.
            image = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=stream.pix_fmt, threads=1)
            container.mux(stream.encode(image))
        container.mux(stream.encode())
