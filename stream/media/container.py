"""Reads what a video file's own headers promise: frames, and the bytes that should be there."""

from __future__ import annotations

import dataclasses
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np

from irchroma.stream.media.mp4 import Box, box_size, boxes, inside

PROGRAM_STREAM = b"\x00\x00\x01\xba"
"""What an MPEG program stream begins with. Reference: ISO/IEC 13818-1, 2.5.3.4."""
_STREAM_MAP = b"\x00\x00\x01\xbc"  # ISO/IEC 13818-1, 2.5.4.2
_HEAD_BYTES = 400
_CODING_BYTES = 1 << 16
_PACKET = re.compile(
    rb"\x00\x00\x01[\xe0-\xef].."
    rb"(?:[\x80-\xbf].(.)|\xff*(?:[\x40-\x7f].)?(?:[\x20-\x2f].{4}|[\x30-\x3f].{9}|\x0f))",
    re.DOTALL,
)
"""The head of a packet of pictures: of MPEG-2 up to how long the rest of the head is, of MPEG-1 whole."""
_UNIT = re.compile(rb"\x00\x00\x01(.)", re.DOTALL)
_MPEG_SEQUENCE, _MPEG4_OBJECTS = 0xB3, 0xB0
_MOOV_LIMIT_BYTES = 64 << 20
_UNKNOWN_EBML_SIZES = {2 ** (7 * length) - 1 for length in range(1, 9)}  # RFC 8794, 6.2


@dataclass(frozen=True, slots=True)
class Promise:
    """What a file says of itself; everything may be unknown.

    Attributes:
        frame_count: video samples in the index, None where there is none.
        missing_bytes: how much shorter the file is than its headers say, 0 for a whole file.
        has_index: false for an MP4 file without its `moov` box, which nobody can play.
        corrections: bytes to read instead of those at a position. A file whose header cuts off its last
            frame by rounding gets a longer duration this way (GStreamer drops frames past it).
        enabled: of each video track, in order, whether players are to show it; empty where nothing says so.
    """

    frame_count: int | None = None
    missing_bytes: int = 0
    has_index: bool = True
    corrections: dict[int, bytes] = field(default_factory=dict)
    enabled: tuple[bool, ...] = ()


def read_promise(path: Path) -> Promise:
    """Look at the headers of MP4/MOV, Matroska/WebM and AVI files; an empty promise for all others.

    Raises:
        OSError: the file cannot be read.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
        try:
            if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
                return _mp4_promise(file, length)
            if head[:4] == b"\x1aE\xdf\xa3":
                return Promise(missing_bytes=max(0, _matroska_end(head) - length))
            if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
                return Promise(missing_bytes=max(0, int.from_bytes(head[4:8], "little") + 8 - length))
        except (struct.error, ValueError, IndexError, KeyError, ZeroDivisionError):
            pass  # a header too odd to read promises nothing; GStreamer has the last word
    return Promise()


def reader_of(path: Path, name: str) -> str:
    """Launch text of a `filesrc` of that name and of what must come right behind it for this file.

    mpegpsdemux (1.22), where it can seek, takes a later picture's time for the first one's if a map of the
    streams comes before that, and leaves out what is shown sooner: up to a second. Behind a queue it cannot.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    mapped = PROGRAM_STREAM in head and _STREAM_MAP in head
    return f"filesrc name={name}" + " ! queue" * mapped


def picture_reader_of(path: Path, name: str) -> str:
    """The same where pictures are wanted, of an MPEG program stream that does not say how they are coded too.

    Without a map of the streams mpegpsdemux (1.22) takes all pictures for MPEG-2.
    """
    reader, caps = reader_of(path, name), unmapped_caps(path)
    if not caps:
        return reader
    return f"{reader} ! mpegpsdemux ! video/mpeg ! capssetter join=false replace=true caps={caps}"


def unmapped_caps(path: Path) -> str:
    """GStreamer's caps of H.264, H.265 or MPEG-4 in a program stream without a map; empty for all else.

    By the units (NAL) that a stream begins with; MPEG-2 and MPEG-4 begin with headers of their own. FFmpeg's
    format `mpeg` puts all of them into packets of MPEG-1, whose heads are others.

    Reference: ISO/IEC 13818-1, 2.4.3.7 and table 2-22 (PES headers; 0xE0 to 0xEF are pictures); ISO/IEC
    11172-1, 2.4.3.3 (packets of MPEG-1); 13818-2, 6.2.1, and 14496-2, 6.2.1 (start codes); ITU-T H.264,
    7.3.1; H.265, 7.3.1.2.
    """
    with path.open("rb") as file:
        head = file.read(_CODING_BYTES)
    if not head.startswith(PROGRAM_STREAM) or _STREAM_MAP in head:
        return ""
    packet = _PACKET.search(head)
    if packet is None:
        return ""
    data = head[packet.end() + (packet[1][0] if packet[1] else 0) :]
    units = [found[1][0] for found in _UNIT.finditer(data)]
    if _MPEG4_OBJECTS in units:  # which may have 0xB3 for something else
        return "video/mpeg,mpegversion=4,systemstream=false"
    if _MPEG_SEQUENCE in units or _slices_in_rows(units):
        return ""
    if any(unit & 0x9F == 7 < unit for unit in units):  # a sequence parameter set, which others refer to
        return "video/x-h264,stream-format=byte-stream"
    hevc = any(unit & 0x81 == 0 and unit >> 1 == 33 for unit in units)
    return "video/x-h265,stream-format=byte-stream" if hevc else ""


def _slices_in_rows(units: list[int]) -> bool:
    """Whether they count up by one, as slices of MPEG-2 do down a picture, which may begin within a group."""
    rows = [unit for unit, _ in groupby(unit for unit in units if unit < 0xB0)]
    return any(rows[at : at + 3] == [unit, unit + 1, unit + 2] for at, unit in enumerate(rows))


def _mp4_promise(file: BinaryIO, length: int) -> Promise:
    position = end = 0
    moov, fragments = b"", []
    moov_at = 0
    while position + 8 <= length:
        file.seek(position)
        header = file.read(16)
        size, skip = box_size(header, length - position)
        end = position + size
        if header[4:8] == b"moov" and end <= length and size <= _MOOV_LIMIT_BYTES:
            file.seek(position)
            moov, moov_at = file.read(size), position
            moov_start = skip
        if header[4:8] == b"moof":
            fragments.append((position, min(size, length - position)))
        position = end
    missing = max(0, end - length)
    if not moov:
        return Promise(missing_bytes=missing, has_index=False)
    promise = _moov_promise(file, (moov, moov_start, moov_at), fragments, missing)
    return dataclasses.replace(
        promise,
        enabled=_enabled_tracks(moov, moov_start),
        corrections=promise.corrections or _room_for_edits(moov, moov_start, moov_at),
    )


def _room_for_edits(moov: bytes, start: int, moved: int) -> dict[int, bytes]:
    """A movie duration up to where each edit ends in its track's own time, where it is shorter.

    qtdemux 1.22 stops a track at the movie's duration counted from the track's start, however far inside
    its edit list begins.
    """
    box = Box(b"moov", 0, start, len(moov))
    mvhd = inside(moov, box, b"mvhd")
    if mvhd is None:
        return {}
    scale, at, width = _time_header(moov, mvhd)
    needed = Fraction(0)
    for trak in (child for child in boxes(moov, start, len(moov)) if child.name == b"trak"):
        elst, mdhd = inside(moov, trak, b"edts", b"elst"), inside(moov, trak, b"mdia", b"mdhd")
        if elst is None or mdhd is None:
            continue
        own_scale, _, _ = _time_header(moov, mdhd)
        for length, begin in _edits(moov, elst):
            if begin >= 0:
                needed = max(needed, Fraction(length, scale) + Fraction(begin, own_scale))
    duration = int.from_bytes(moov[at : at + width], "big")
    longer = -(-needed.numerator * scale // needed.denominator) + 1
    # half a second is the reordering of frames and the start of an encoder's sound, which were never cut
    if needed <= Fraction(duration, scale) + Fraction(1, 2) or longer >= 2 ** (8 * width) - 1:
        return {}
    return {moved + at: longer.to_bytes(width, "big")}


def _edits(moov: bytes, elst: Box) -> Iterator[tuple[int, int]]:
    """Length in the movie's time scale and start in the track's of each edit; -1 for an empty one."""
    wide, number = moov[elst.start] == 1, int.from_bytes(moov[elst.start + 4 : elst.start + 8], "big")
    for n in range(number):
        yield struct.unpack_from(">Qq" if wide else ">Ii", moov, elst.start + 8 + n * (20 if wide else 12))


def _enabled_tracks(moov: bytes, start: int) -> tuple[bool, ...]:
    """The flag of each video track. ISO/IEC 14496-12, 8.3.2: bit 0 of the track header's flags."""
    found = []
    for trak in boxes(moov, start, len(moov)):
        header, handler = inside(moov, trak, b"tkhd"), inside(moov, trak, b"mdia", b"hdlr")
        if header and handler and moov[handler.start + 8 : handler.start + 12] == b"vide":
            found.append(bool(moov[header.start + 3] & 1))
    return tuple(found)


def _moov_promise(
    file: BinaryIO, index: tuple[bytes, int, int], fragments: list[tuple[int, int]], missing: int
) -> Promise:
    moov, moov_start, moov_at = index
    if fragments:
        return Promise(
            frame_count=_count_fragments(file, moov, moov_start, fragments),
            missing_bytes=missing,
            corrections=_room_for_reordering(moov, moov_start, moov_at),
        )
    return _indexed_promise(moov, moov_start, moov_at, missing)


def _count_fragments(file: BinaryIO, moov: bytes, start: int, fragments: list[tuple[int, int]]) -> int | None:
    """Samples of the first video track in all movie fragments. ISO/IEC 14496-12, 8.8."""
    track = None
    for trak in boxes(moov, start, len(moov)):
        header, handler = inside(moov, trak, b"tkhd"), inside(moov, trak, b"mdia", b"hdlr")
        if header and handler and moov[handler.start + 8 : handler.start + 12] == b"vide":
            at = header.start + (20 if moov[header.start] == 1 else 12)
            track = moov[at : at + 4]
            break
    frames = 0
    for position, size in fragments:
        file.seek(position)
        moof = file.read(size)
        for traf in boxes(moof, 8, len(moof)):
            header = inside(moof, traf, b"tfhd") if traf.name == b"traf" else None
            if header is None or moof[header.start + 4 : header.start + 8] != track:
                continue
            for run in boxes(moof, traf.start, traf.end):
                if run.name == b"trun":
                    frames += int.from_bytes(moof[run.start + 4 : run.start + 8], "big")
    return frames or None


def _room_for_reordering(moov: bytes, start: int, moved: int) -> dict[int, bytes]:
    """Durations of a fragmented file, one second longer where no edit list shifts its reordered frames.

    GStreamer's own mp4mux lets the last B-frames begin after the end of the stated duration.
    """
    box = Box(b"moov", 0, start, len(moov))
    mvhd, mehd = inside(moov, box, b"mvhd"), inside(moov, box, b"mvex", b"mehd")
    traks = [child for child in boxes(moov, start, len(moov)) if child.name == b"trak"]
    if mvhd is None or any(inside(moov, trak, b"edts", b"elst") for trak in traks):
        return {}
    movie_scale, at, width = _time_header(moov, mvhd)
    places = [(at, width, movie_scale)]
    if mehd is not None:
        places.append((mehd.start + 4, 8 if moov[mehd.start] == 1 else 4, movie_scale))
    for trak in traks:
        mdhd = inside(moov, trak, b"mdia", b"mdhd")
        if mdhd is not None:
            scale, at, width = _time_header(moov, mdhd)
            places.append((at, width, scale))
    known = [(at, width, scale, int.from_bytes(moov[at : at + width], "big")) for at, width, scale in places]
    return {moved + at: (d + s).to_bytes(w, "big") for at, w, s, d in known if 0 < d < 2 ** (8 * w) - 1 - s}


def _indexed_promise(data: bytes, start: int, moved: int, missing: int) -> Promise:
    moov = Box(b"moov", 0, start, len(data))
    for trak in (box for box in boxes(data, moov.start, moov.end) if box.name == b"trak"):
        handler = inside(data, trak, b"mdia", b"hdlr")
        if handler is None or data[handler.start + 8 : handler.start + 12] != b"vide":
            continue
        table = inside(data, trak, b"mdia", b"minf", b"stbl")
        stts = table and inside(data, table, b"stts")
        mdhd, mvhd = inside(data, trak, b"mdia", b"mdhd"), inside(data, moov, b"mvhd")
        if table is None or stts is None or mdhd is None or mvhd is None:
            return Promise(missing_bytes=missing)
        counts, deltas = _pairs(data, stts).T
        if counts.sum() == 0:
            return Promise(frame_count=0, missing_bytes=missing)
        scale, _, _ = _time_header(data, mdhd)
        common = int(deltas[np.argmax(counts)])
        corrections = {}
        if inside(data, trak, b"edts", b"elst") is None:
            ctts = inside(data, table, b"ctts")
            offsets = _pairs(data, ctts) if ctts else np.zeros((0, 2), np.int64)
            last = _last_time(counts, deltas, offsets)
            corrections = _longer(data, moved, (mvhd, mdhd), Fraction(last, scale), Fraction(common, scale))
        return Promise(int(counts.sum()), missing, corrections=corrections)
    return Promise(missing_bytes=missing)


def _pairs(data: bytes, box: Box) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """(N, 2) int64: the entries of `stts` (count, delta) or `ctts` (count, offset)."""
    version = data[box.start]
    number = int.from_bytes(data[box.start + 4 : box.start + 8], "big")
    words = np.frombuffer(data, ">u4", 2 * number, box.start + 8).reshape(-1, 2).astype(np.int64)
    if version == 1:  # signed offsets, ISO/IEC 14496-12, 8.6.1.3
        words[:, 1] = words[:, 1].astype(np.uint32).view(np.int32)
    return words


def _last_time(
    counts: np.ndarray[tuple[int], np.dtype[np.int64]],
    deltas: np.ndarray[tuple[int], np.dtype[np.int64]],
    offsets: np.ndarray[tuple[int, int], np.dtype[np.int64]],
) -> int:
    """Largest presentation time of a track, in its own time scale."""
    decode = np.concatenate([[0], np.cumsum(np.repeat(deltas, counts))[:-1]])
    shifts = np.repeat(offsets[:, 1], offsets[:, 0])[: decode.size]
    decode[: shifts.size] += shifts
    return int(decode.max())


def _time_header(data: bytes, box: Box) -> tuple[int, int, int]:
    """Time scale, position of the duration, and its bytes, of `mvhd` or `mdhd`."""
    wide = data[box.start] == 1
    scale_at = box.start + (20 if wide else 12)
    return int.from_bytes(data[scale_at : scale_at + 4], "big"), scale_at + 4, 8 if wide else 4


def _longer(
    data: bytes, moved: int, headers: tuple[Box, ...], last_s: Fraction, frame_s: Fraction
) -> dict[int, bytes]:
    """Durations that reach past the last frame, for headers whose own ends before it begins."""
    corrections = {}
    for box in headers:
        scale, at, width = _time_header(data, box)
        duration = int.from_bytes(data[at : at + width], "big")
        if Fraction(duration, scale) <= last_s:
            corrections[moved + at] = int((last_s + frame_s) * scale + 1).to_bytes(width, "big")
    return corrections


def _matroska_end(head: bytes) -> int:
    """Where the Segment ends, 0 where it does not say. RFC 8794, 4 and 6."""
    size, used = _ebml_number(head, 4)
    position = 4 + used + size
    if head[position : position + 4] != b"\x18S\x80g":
        return 0
    size, used = _ebml_number(head, position + 4)
    return 0 if size in _UNKNOWN_EBML_SIZES and size == 2 ** (7 * used) - 1 else position + 4 + used + size


def _ebml_number(data: bytes, at: int) -> tuple[int, int]:
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big") & (2 ** (7 * length) - 1)
    return value, length
