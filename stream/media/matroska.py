"""Writes and reads Matroska files piece by piece, so that every byte of one is accounted for.

GStreamer's matroskamux waits for a picture on every track before it writes one, and says nothing of the bytes
around the pictures; evidence needs to say of each of them what it should be.

Reference: RFC 8794 (EBML) and RFC 9559 (Matroska); section numbers of the latter.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO, Literal, NamedTuple

TICK_NS = 1000
"""Time grid of the files: a microsecond, where Matroska's usual is a millisecond."""

EBML, SEGMENT, SEEK_HEAD, VOID = 0x1A45DFA3, 0x18538067, 0x114D9B74, 0xEC
INFO, TRACKS, CLUSTER, CUES = 0x1549A966, 0x1654AE6B, 0x1F43B675, 0x1C53BB6B
TIMESTAMP, SIMPLE_BLOCK, BLOCK_GROUP, BLOCK, BLOCK_DURATION = 0xE7, 0xA3, 0xA0, 0xA1, 0x9B
TRACK_ENTRY, TRACK_NAME, TRACK_NUMBER, TRACK_TYPE, CODEC_ID = 0xAE, 0x536E, 0xD7, 0x83, 0x86
_UNKNOWN_SIZE = b"\x01" + 7 * b"\xff"
_VIDEO, _AUDIO, _TEXT = 1, 2, 17  # 5.1.4.1.3
_LANGUAGE = 0x22B59C
NO_LANGUAGE = "zxx"  # ISO 639-2: facts, which nobody reads as a subtitle
_KEY = 0x80  # of a SimpleBlock's flags, 10.2


class MatroskaError(ValueError):
    """Bytes that are no Matroska."""


def size_of(value: int, width: int = 0) -> bytes:
    """An element's size field, as short as it can be or `width` bytes. RFC 8794, 4."""
    width = width or next(n for n in range(1, 9) if value < (1 << 7 * n) - 1)
    return (value | 1 << 7 * width).to_bytes(width, "big")


def element(ident: int, payload: bytes) -> bytes:
    """One element."""
    return ident.to_bytes((ident.bit_length() + 7) // 8, "big") + size_of(len(payload)) + payload


def uint(ident: int, value: int) -> bytes:
    """An element that holds an unsigned number."""
    return element(ident, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def text(ident: int, value: str) -> bytes:
    """An element that holds text."""
    return element(ident, value.encode())


@dataclass(frozen=True, slots=True)
class Track:
    """One track, as the file's head describes it.

    Attributes:
        kind: what is in it.
        name: for people, and for whoever looks for this track.
        codec: Matroska's name of the coding, such as `V_MPEG4/ISO/AVC`.
        private: what a decoder needs before the first packet.
        default: whether players show it unless they are told otherwise.
        size: (H, W) of pictures.
        rate: frames a second, 0 where unknown or variable.
        limited_bt709: pictures are BT.709 Y'CbCr in limited range; nothing is said otherwise.
        sound: samples a second, and channels.
    """

    kind: Literal["video", "audio", "text"]
    name: str
    codec: str
    private: bytes = b""
    default: bool = False
    size: tuple[int, int] = (0, 0)
    rate: Fraction = Fraction(0)
    limited_bt709: bool = False
    sound: tuple[int, int] = (0, 0)

    def entry(self, number: int) -> bytes:
        """Its TrackEntry (5.1.4.1)."""
        kind = {"video": _VIDEO, "audio": _AUDIO, "text": _TEXT}[self.kind]
        parts = uint(TRACK_NUMBER, number) + uint(0x73C5, number) + uint(TRACK_TYPE, kind)
        parts += uint(0x88, int(self.default)) + uint(0x9C, 0)  # FlagDefault, FlagLacing
        parts += text(TRACK_NAME, self.name) + text(_LANGUAGE, NO_LANGUAGE if self.kind == "text" else "und")
        parts += text(CODEC_ID, self.codec)
        if self.private:
            parts += element(0x63A2, self.private)
        if self.rate:
            parts += uint(0x23E383, round(10**9 / self.rate))  # DefaultDuration
        if self.kind == "video":
            video = uint(0x9A, 2) + uint(0xB0, self.size[1]) + uint(0xBA, self.size[0])  # progressive
            if self.limited_bt709:  # MatrixCoefficients, ChromaSiting (half), Range, transfer, primaries
                color = uint(0x55B1, 1) + uint(0x55B7, 2) + uint(0x55B8, 2) + uint(0x55B9, 1)
                video += element(0x55B0, color + uint(0x55BA, 1) + uint(0x55BB, 1))
            parts += element(0xE0, video)
        if self.kind == "audio":
            rate, channels = self.sound
            parts += element(0xE1, element(0xB5, struct.pack(">d", rate)) + uint(0x9F, channels))
        return element(TRACK_ENTRY, parts)


class Head:
    """The beginning of a file, and what of it is written anew when the file is finished.

    Args:
        tracks: by their numbers.
        program: what writes it.
        since_2001_ns: when, nanoseconds since 2001-01-01 UTC (5.1.2, DateUTC).
    """

    def __init__(self, tracks: dict[int, Track], program: str, since_2001_ns: int) -> None:
        ebml = uint(0x4286, 1) + uint(0x42F7, 1) + uint(0x42F2, 4) + uint(0x42F3, 8)
        ebml += text(0x4282, "matroska") + uint(0x4287, 4) + uint(0x4285, 2)
        before = element(EBML, ebml) + SEGMENT.to_bytes(4, "big")
        info = uint(0x2AD7B1, TICK_NS)
        after = text(0x4D80, "irchroma") + text(0x5741, program)
        after += element(0x4461, since_2001_ns.to_bytes(8, "big", signed=True))
        info_size = len(info) + len(_duration(0)) + len(after)
        entries = b"".join(track.entry(number) for number, track in tracks.items())
        self.segment_at = len(before) + 8
        self._parts = (
            before,
            INFO.to_bytes(4, "big") + size_of(info_size) + info,
            after + element(TRACKS, entries),
        )

    def begun(self) -> bytes:
        """The head of a file that is not finished: it plays, without a length and an index."""
        before, info, after = self._parts
        room = _void(len(_seek_head(0))), _void(len(_duration(0)))
        return before + _UNKNOWN_SIZE + room[0] + info + room[1] + after

    def finished(self, length: int, cues_at: int, end_ns: int) -> bytes:
        """The head of the whole file, as long as `begun`.

        Args:
            length: of the file, bytes.
            cues_at: where its index begins.
            end_ns: where its last picture ends.
        """
        before, info, after = self._parts
        size = size_of(length - self.segment_at, 8)
        seek = _seek_head(cues_at - self.segment_at)
        return before + size + seek + info + _duration(end_ns) + after


def _duration(end_ns: int) -> bytes:
    return element(0x4489, struct.pack(">d", end_ns / TICK_NS))


def _seek_head(position: int) -> bytes:
    place = element(0x53AC, position.to_bytes(8, "big"))
    return element(SEEK_HEAD, element(0x4DBB, element(0x53AB, CUES.to_bytes(4, "big")) + place))


def _void(length: int) -> bytes:
    return bytes([VOID, 0x80 | (length - 2)]) + bytes(length - 2)


class Packet(NamedTuple):
    """One coded picture or piece of sound."""

    track: int
    data: bytes
    key: bool = True


def cluster_head(time_ns: int, body_bytes: int) -> bytes:
    """The beginning of a cluster whose packets, all at that time, take so many bytes."""
    time = uint(TIMESTAMP, ticks_of(time_ns))
    return CLUSTER.to_bytes(4, "big") + size_of(len(time) + body_bytes) + time


def simple_block(packet: Packet) -> bytes:
    """A packet at its cluster's time (10.2)."""
    return element(SIMPLE_BLOCK, bytes([0x80 | packet.track, 0, 0, _KEY * packet.key]) + packet.data)


def text_block(track: int, line: bytes, duration_ns: int) -> bytes:
    """A line of text at its cluster's time."""
    block = element(BLOCK, bytes([0x80 | track, 0, 0, 0]) + line)
    return element(BLOCK_GROUP, block + uint(BLOCK_DURATION, max(1, ticks_of(duration_ns))))


def cues(points: list[tuple[int, int, int]]) -> bytes:
    """The index (5.1.5): (time in nanoseconds, track, cluster's place counted from the segment's start)."""
    made = b""
    for time_ns, track, place in points:
        where = element(0xB7, uint(0xF7, track) + uint(0xF1, place))
        made += element(0xBB, uint(0xB3, ticks_of(time_ns)) + where)
    return element(CUES, made)


def ticks_of(time_ns: int) -> int:
    """Nanoseconds on the file's time grid."""
    return (time_ns + TICK_NS // 2) // TICK_NS


class Element(NamedTuple):
    """An element that was read: where it begins, where its payload begins and ends; -1 for no stated end."""

    ident: int
    at: int
    start: int
    end: int


def read_element(data: bytes | memoryview, at: int, moved: int = 0) -> Element:
    """The element at `data[at:]`, where data[0] is at `moved` in the file.

    Raises:
        MatroskaError: there is none.
    """
    head = bytes(data[at : at + 12])
    if not head or not head[0]:
        raise MatroskaError(f"no element at byte {moved + at}")
    id_bytes = 9 - head[0].bit_length()
    if id_bytes > 4 or len(head) <= id_bytes or not head[id_bytes]:
        raise MatroskaError(f"no element at byte {moved + at}")
    size_bytes = 9 - head[id_bytes].bit_length()
    field = head[id_bytes : id_bytes + size_bytes]
    if len(field) < size_bytes:
        raise MatroskaError(f"no element at byte {moved + at}")
    size = int.from_bytes(field, "big") & ((1 << 7 * size_bytes) - 1)
    start = moved + at + id_bytes + size_bytes
    unknown = size == (1 << 7 * size_bytes) - 1
    return Element(int.from_bytes(head[:id_bytes], "big"), moved + at, start, -1 if unknown else start + size)


def children(data: bytes, start: int = 0) -> Iterator[tuple[Element, bytes]]:
    """Each element within a payload, and its own payload.

    Raises:
        MatroskaError: they do not fill it.
    """
    at = start
    while at < len(data):
        found = read_element(data, at)
        if found.end < 0 or found.end > len(data):
            raise MatroskaError(f"an element is longer than what it lies in, by {found.end - len(data)}")
        yield found, data[found.start : found.end]
        at = found.end


class TrackFound(NamedTuple):
    """What a file's head says of one of its tracks."""

    number: int
    kind: int
    name: str
    codec: str
    language: str = ""


def tracks_of(file: BinaryIO, most_bytes: int = 16 << 20) -> list[TrackFound]:
    """The tracks that a Matroska file names at its beginning; empty where there are none.

    Raises:
        MatroskaError: the file is no Matroska, or its beginning is broken.
        OSError: it cannot be read.
    """
    file.seek(0)
    head = read_element(file.read(12), 0)
    if head.ident != EBML or head.end < 0:
        raise MatroskaError("not a Matroska file")
    file.seek(head.end)
    at = read_element(file.read(12), 0, head.end).start
    while True:
        file.seek(at)
        found = read_element(file.read(12), 0, at)
        if found.ident == CLUSTER or found.end < 0 or found.end - found.start > most_bytes:
            return []
        if found.ident == TRACKS:
            file.seek(found.start)
            entries = [payload for _, payload in children(file.read(found.end - found.start))]
            return [_track_of(dict((e.ident, p) for e, p in children(entry))) for entry in entries]
        at = found.end


def _track_of(fields: dict[int, bytes]) -> TrackFound:
    number, kind = (int.from_bytes(fields.get(ident, b""), "big") for ident in (TRACK_NUMBER, TRACK_TYPE))
    words = (fields.get(ident, b"") for ident in (TRACK_NAME, CODEC_ID, _LANGUAGE))
    name, codec, language = (word.rstrip(b"\0").decode(errors="replace") for word in words)  # RFC 8794, 7.5
    return TrackFound(number, kind, name, codec, language)


def as_begun(head: bytes) -> bytes:
    """What `Head.begun` gave, of a head that may have been finished since.

    Raises:
        MatroskaError: it is no such head.
    """
    made = bytearray(head)
    ebml = read_element(head, 0)
    segment = read_element(head, ebml.end)
    if ebml.ident != EBML or segment.ident != SEGMENT or segment.start - segment.at != 12:
        raise MatroskaError("the file's head is not one that irchroma wrote")
    made[segment.start - 8 : segment.start] = _UNKNOWN_SIZE
    places = {SEEK_HEAD: len(_seek_head(0)), 0x4489: len(_duration(0))}
    for found, payload in children(head, segment.start):
        inner = [found]
        if found.ident == INFO:
            inner = [
                Element(e.ident, e.at + found.start, e.start + found.start, e.end + found.start)
                for e, _ in children(payload)
            ]
        for one in inner:
            if places.get(one.ident) == one.end - one.at:
                made[one.at : one.end] = _void(one.end - one.at)
    return bytes(made)
