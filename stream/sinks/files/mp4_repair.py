"""Mends MP4 files that mp4mux wrote: a start time, and fragments again where the index found no room.

And those that it is about to write, whose fragments VLC would not find."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from irchroma.stream.errors import SinkError
from irchroma.stream.gstreamer.door import modules
from irchroma.stream.media.mp4 import boxes, boxes_of

_HEAD_BYTES = 4096
_GAP = b"\0\0\0\x08free"
_NESTED = (b"moov", b"trak", b"edts")
_EMPTY = -1  # the media time of an edit that shows nothing (ISO/IEC 14496-12, 8.6.6)


def close_gaps(muxer: Any) -> None:
    """Let every fragment of a file that an mp4mux writes begin with its `mdat`, before it starts.

    mp4mux (1.22) keeps 8 bytes as a `free` box before each, for a size that needs 64 bits. VLC (3.0) then
    finds no pictures in a file that was cut off, unless within an `mdat`: after a `moof` it takes pictures
    of an `mdat` that comes next, and of none behind another box. So the `free` box is the head of its `mdat`,
    and what was that its first 8 bytes: places of pictures count from the file's beginning.
    """
    gst = modules()["Gst"]

    def begins(_pad: Any, info: Any) -> Any:
        buffer = info.get_buffer()
        if buffer.get_size() != len(_GAP) + 8:
            return gst.PadProbeReturn.OK
        head = buffer.extract_dup(0, len(_GAP) + 8)
        if head.startswith(_GAP) and head.endswith(b"mdat"):
            memory = buffer.peek_memory(0)
            ok, mapped = memory.map(gst.MapFlags.WRITE)
            if ok:
                mapped.data[:] = _without_gap(int.from_bytes(head[8:12], "big"))
                memory.unmap(mapped)
        return gst.PadProbeReturn.OK

    muxer.get_static_pad("src").add_probe(gst.PadProbeType.BUFFER, begins)


def _without_gap(size: int) -> bytes:
    """The 16 bytes in place of a `free` box and the head of an `mdat` of that size, 0 while it is written."""
    if size == 0:
        return struct.pack(">I4sQ", 0, b"mdat", 0)
    size += len(_GAP)
    wide = size >= 1 << 32
    return struct.pack(">I4sQ", 1 if wide else size, b"mdat", size if wide else 0)


def delay_mp4(path: Path, start_ns: int) -> None:
    """Make every track of a file begin `start_ns` nanoseconds later than it does.

    mp4mux (1.22) counts from the first picture, whatever its time was.

    Raises:
        SinkError: the file is not one that mp4mux has finished.
    """
    rewrite_moov(path, lambda moov: _delayed(moov, start_ns))


def rewrite_moov(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change a file's `moov` box, which goes to the end of the file before the old one is given up, so that
    the file plays at any moment.

    Raises:
        SinkError: the file is not one that mp4mux has finished.
    """
    with path.open("r+b") as file:
        found = next((box for box in boxes_of(file) if box.name == b"moov"), None)
        if found is None:
            raise SinkError(f"{path}: expected a finished MP4 file, found no moov box")
        file.seek(found.at)
        moov = change(file.read(found.end - found.at))
        file.seek(0, 2)
        file.write(moov)
        file.flush()
        file.seek(found.at + 4)
        file.write(b"free")


def head_of(path: Path) -> bytes:
    """The beginning of a file that is being recorded, for `refragment`."""
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def refragment(path: Path, head: bytes) -> None:
    """Undo what mp4mux did of its last step when the disk was full: a fragmented file plays without an index.

    Before it writes the final `moov`, it hides the first one (as `hoov`) and everything in one large
    `mdat`. Takes no more room on the disk; pictures of the last second may be lost.

    Args:
        head: what `head_of` gave before the end of the stream; empty or short where little was written.
    """
    with path.open("r+b") as file:
        file.write(head)
        end = 0
        for box in list(boxes_of(file)):
            if box.name == b"hoov":
                file.seek(box.at + 4)
                file.write(b"moov")
            if box.name == b"mdat":
                end = box.end
        file.seek(0, 2)
        if 0 < end < file.tell():
            file.truncate(end)


def _delayed(moov: bytes, start_ns: int) -> bytes:
    mvhd = next(box for box in boxes(moov, 8, len(moov)) if box.name == b"mvhd")
    at = mvhd.start + (20 if moov[mvhd.start] == 1 else 12)  # behind two times of 8 or 4 bytes
    ticks_hz = int.from_bytes(moov[at : at + 4], "big")
    return _rebuilt(moov, round(start_ns * ticks_hz / 1e9))


def _rebuilt(box: bytes, ticks: int) -> bytes:
    """A box with all in it, later by `ticks` of the movie's timescale."""
    kind = box[4:8]
    if kind in _NESTED:
        inner = b"".join(_rebuilt(box[child.at : child.end], ticks) for child in boxes(box, 8, len(box)))
        return struct.pack(">I4s", 8 + len(inner), kind) + inner
    if kind == b"mvhd":
        return _longer(box, 16, 24, ticks)
    if kind == b"tkhd":
        return _longer(box, 20, 28, ticks)
    if kind == b"elst":
        return _with_empty_edit(box, ticks)
    return box


def _with_empty_edit(elst: bytes, ticks: int) -> bytes:
    wide = elst[8] == 1
    entry = struct.pack(">QqHH" if wide else ">IiHH", ticks, _EMPTY, 1, 0)
    count = int.from_bytes(elst[12:16], "big") + 1
    body = elst[8:12] + count.to_bytes(4, "big") + entry + elst[16:]
    return struct.pack(">I4s", 8 + len(body), b"elst") + body


def _longer(box: bytes, narrow_at: int, wide_at: int, ticks: int) -> bytes:
    """A header box whose duration, at these offsets behind the header, is `ticks` longer."""
    wide = box[8] == 1
    at, width = (8 + wide_at, 8) if wide else (8 + narrow_at, 4)
    value = int.from_bytes(box[at : at + width], "big") + ticks
    if value >= 1 << (8 * width):
        raise SinkError("the file is too long for another start time")
    return box[:at] + value.to_bytes(width, "big") + box[at + width :]
