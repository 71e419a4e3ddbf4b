"""How many samples the atoms of an MP4 claim (ISO/IEC 14496-12, sections 8.7.3 and 8.8.8, which calls them boxes).

Its tables may say a size once for all samples. A decoder lays out an index of as many entries, tens of bytes each,
before it looks for the first of them: a file of a kilobyte can claim a hundred million.
"""

import mmap
import struct


COMPRESSED = b"cmov"
"""A header within which nothing can be seen. QuickTime wrote it until about 2005."""
COUNTS = {b"stsz": 8, b"stz2": 8, b"trun": 4}
"""Types of atoms that count samples, and where the count is, in bytes after the type."""


def is_mp4(content: bytes | mmap.mmap) -> bool:
    """Whether a file begins as one of the MP4 and QuickTime family does: with a size and a type in letters."""
    kind = bytes(content[4:8])
    return len(kind) == 4 and kind.isascii() and kind.decode("ascii").isprintable() and content[:4] != b"GIF8"


def claimed_samples(content: bytes | mmap.mmap) -> int | None:
    """The number of samples, of pictures and sounds, that a file's tables claim together.

    Decoders look for tables in places where they do not belong, too, so all that is not media data is searched.

    Returns:
        The number; None if the header is compressed and nobody can tell.
    """
    total = start = 0
    while start + 8 <= len(content):
        size, kind = struct.unpack(">I4s", content[start : start + 8])
        if size == 1 and start + 16 <= len(content):
            (size,) = struct.unpack(">Q", content[start + 8 : start + 16])
        end = len(content) if size < 8 else min(start + size, len(content))
        if kind != b"mdat":
            if content.find(COMPRESSED, start, end) >= 0:
                return None
            total += sum(_count(content, atom, start, end) for atom in COUNTS)
        start = end
    return total


def _count(content: bytes | mmap.mmap, atom: bytes, start: int, end: int) -> int:
    """Return the number of samples that all atoms of a type claim together."""
    count = 0
    while (place := content.find(atom, start, end)) >= 0:
        start = place + len(atom)
        four = content[start + COUNTS[atom] : start + COUNTS[atom] + 4]
        count += int.from_bytes(four, "big") if len(four) == 4 else 0
    return count
