"""Check that a GIF is complete, by its blocks (CompuServe, GIF89a specification, sections 15 to 27)."""

import os
from typing import BinaryIO


def reaches_end_mark(file: BinaryIO) -> bool:
    """Return whether a GIF has the trailer that ends it, by reading its blocks without decoding them.

    A decoder cannot distinguish a truncated GIF from a shorter one.

    Args:
        file: the open file, at its first byte.
    """
    screen = file.read(13)
    _skip_colours(file, screen[10:11])
    while kind := file.read(1):
        if kind == b";":
            return True
        if kind == b"!":
            file.seek(1, os.SEEK_CUR)  # label of the extension
        elif kind == b",":
            frame = file.read(9)
            _skip_colours(file, frame[8:9])
            file.seek(1, os.SEEK_CUR)  # minimum LZW code size
        else:
            continue  # skip zeros, which some encoders pad with
        while (size := file.read(1)) not in (b"", b"\0"):
            file.seek(size[0], os.SEEK_CUR)
    return False


def _skip_colours(file: BinaryIO, flags: bytes) -> None:
    if flags and flags[0] & 0x80:
        file.seek(3 * 2 ** (1 + (flags[0] & 7)), os.SEEK_CUR)
