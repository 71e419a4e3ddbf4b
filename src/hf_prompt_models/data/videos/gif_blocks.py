"""Whether a GIF is whole, by its blocks (CompuServe, GIF89a specification, sections 15 to 27)."""

import os
from typing import BinaryIO


def reaches_end_mark(file: BinaryIO) -> bool:
    """Walk through a GIF without decoding it, to the mark that ends it or to the end of the file.

    A decoder cannot tell a GIF that breaks off from a shorter one.

    Args:
        file: at its first byte.

    Returns:
        Whether the mark is there.
    """
    screen = file.read(13)
    _skip_colours(file, screen[10:11])
    while kind := file.read(1):
        if kind == b";":
            return True
        if kind == b"!":
            file.seek(1, os.SEEK_CUR)  # which extension it is
        elif kind == b",":
            frame = file.read(9)
            _skip_colours(file, frame[8:9])
            file.seek(1, os.SEEK_CUR)  # the size of the first codes
        else:
            continue  # some writers fill up with zeros
        while (size := file.read(1)) not in (b"", b"\0"):
            file.seek(size[0], os.SEEK_CUR)
    return False


def _skip_colours(file: BinaryIO, flags: bytes) -> None:
    if flags and flags[0] & 0x80:
        file.seek(3 * 2 ** (1 + (flags[0] & 7)), os.SEEK_CUR)
