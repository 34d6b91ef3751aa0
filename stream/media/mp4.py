"""The boxes of MP4 files. Reference: ISO/IEC 14496-12, 4.2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Box:
    """One box; all in bytes.

    Attributes:
        name: its kind.
        at: where its header begins.
        start, end: of its content, [start, end).
    """

    name: bytes
    at: int
    start: int
    end: int


def box_size(header: bytes, left: int) -> tuple[int, int]:
    """Bytes of a box and of its header. ISO/IEC 14496-12, 4.2."""
    size = int.from_bytes(header[:4], "big")
    if size == 0:
        return left, 8
    if size == 1:
        return max(16, int.from_bytes(header[8:16], "big")), 16
    return max(8, size), 8


def boxes(data: bytes, start: int, end: int) -> Iterator[Box]:
    """Those in [start, end) of some bytes, such as another box's content; the last one may be cut off."""
    while start + 8 <= end:
        size, skip = box_size(data[start : start + 16], end - start)
        yield Box(data[start + 4 : start + 8], start, start + skip, min(start + size, end))
        start += size


def inside(data: bytes, box: Box, *names: bytes) -> Box | None:
    """The first box at a path of names below `box`."""
    for name in names:
        found = next((child for child in boxes(data, box.start, box.end) if child.name == name), None)
        if found is None:
            return None
        box = found
    return box


def boxes_of(file: BinaryIO) -> Iterator[Box]:
    """The whole boxes at the top of a file; ends at the first that is cut off or has no size."""
    file.seek(0, 2)
    at, length = 0, file.tell()
    while at + 8 <= length:
        file.seek(at)
        header = file.read(16)
        size = int.from_bytes(header[:4], "big")
        skip = 16 if size == 1 else 8
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        if size < skip or at + size > length:
            return
        yield Box(header[4:8], at, at + skip, at + size)
        at += size
