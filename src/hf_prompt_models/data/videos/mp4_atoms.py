"""Number of samples that the atoms of an MP4 file claim (ISO/IEC 14496-12, 8.7.3 and 8.8.8, which calls them boxes).

The sample tables may store one size for all samples. A decoder allocates an index with as many entries, tens of bytes
each, before it reads the first sample. A file of one kilobyte can therefore claim a hundred million samples.
"""

import mmap
import struct


COMPRESSED = b"cmov"
"""Type of a compressed header, whose content cannot be checked. QuickTime wrote it until about 2005."""
COUNTS = {b"stsz": 8, b"stz2": 8, b"trun": 4}
"""Types of atoms that hold a number of samples, and the offset of this number in bytes after the type."""


def is_mp4(content: bytes | mmap.mmap) -> bool:
    """Return whether a file begins like MP4 and QuickTime files, with a size and a type in printable characters."""
    kind = bytes(content[4:8])
    return len(kind) == 4 and kind.isascii() and kind.decode("ascii").isprintable() and content[:4] != b"GIF8"


def claimed_samples(content: bytes | mmap.mmap) -> int | None:
    """Return the total number of video and audio samples that the tables of a file claim.

    Everything but media data is searched, because decoders also read tables in places where they do not belong.

    Args:
        content: the content of the file.

    Returns:
        The number of samples, or None if the header is compressed and the number is unknown.
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
    """Return the total number of samples that all atoms of a type claim."""
    count = 0
    while (place := content.find(atom, start, end)) >= 0:
        start = place + len(atom)
        four = content[start + COUNTS[atom] : start + COUNTS[atom] + 4]
        count += int.from_bytes(four, "big") if len(four) == 4 else 0
    return count
