"""What a recording says of itself (title, remarks, place, when it was made), kept in what is made of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irchroma.stream.gstreamer import door
from irchroma.stream.media.matroska import (
    INFO,
    SEEK_HEAD,
    SEGMENT,
    VOID,
    Element,
    MatroskaError,
    children,
    read_element,
    size_of,
    text,
    uint,
)
from irchroma.stream.media.mp4 import Box, boxes, boxes_of, inside
from irchroma.stream.remarks import remark
from irchroma.stream.sinks.files.mp4_repair import rewrite_moov

_LOOK_S = 10.0
_MOST_BYTES = 64 << 20
_1904_S = 2_082_844_800  # from 1904, which MP4 counts from, to 1970. ISO/IEC 14496-12, 8.2.2.3
_1970_TO_2001_NS = 978_307_200 * 10**9
_DATE = 0x4461
_KEPT = re.compile(
    r"title|artist|comment|description|keywords|copyright|organization|contact|location|homepage"
    r"|device-(manufacturer|model)|geo-location-\w+(-\w+)*|datetime"
)
"""GStreamer's names of what people say of a recording; codecs and bit rates are another file's."""
_TAGS, _TAG, _SIMPLE_TAG, _TAG_STRING = 0x1254C367, 0x7373, 0x67C8, 0x4487  # RFC 9559, 5.1.8
_QUOTED = re.compile(rb'".*"\0*', re.DOTALL)
_OCTAL = re.compile(rb"\\([0-3][0-7]{2}|.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Description:
    """What a file says of itself.

    Attributes:
        tags: GStreamer's list of what it understands, None for nothing.
        made: when, GStreamer's date and time, None where it is not said.
        user_data: of MP4 all of it as it is, its `udta` box, GPS and what nobody here understands with it.
        times: of MP4 when it was made and changed, seconds since 1904.
    """

    tags: Any = None
    made: Any = None
    user_data: bytes = b""
    times: tuple[int, int] | None = None


def describe(path: Path) -> Description:
    """What the file says; nothing, with a remark, where it cannot be read."""
    discover, library, glib = door.extra_module("GstPbutils"), door.modules()["Gst"], door.modules()["GLib"]
    try:
        found = discover.Discoverer.new(int(_LOOK_S * library.SECOND)).discover_uri(path.absolute().as_uri())
    except glib.Error as error:
        remark(f"{path}: title, place and time cannot be read ({error.message}): they are left out")
        return Description()
    info = found.get_stream_info()
    lists = [one.get_tags() for one in (info, *found.get_video_streams()) if one is not None]
    tags, made = library.TagList.new_empty(), None
    for one in filter(None, lists):
        tags = tags.merge(one, library.TagMergeMode.KEEP)
    for name in [tags.nth_tag_name(n) for n in range(tags.n_tags())]:
        if not _KEPT.fullmatch(name):
            tags.remove_tag(name)
    there, when = tags.get_date_time("datetime")
    if there and when.has_second():
        made = when
    moov = _moov_of(path)
    return Description(tags if tags.n_tags() else None, made, *_of_mp4(moov))


def tell(pipeline_muxer: Any, said: Description) -> None:
    """Give it to a muxer that has not begun."""
    library = door.modules()["Gst"]
    if said.tags is not None:
        pipeline_muxer.merge_tags(said.tags, library.TagMergeMode.REPLACE)
    if said.made is not None and pipeline_muxer.find_property("creation-time") is not None:
        pipeline_muxer.set_property("creation-time", said.made.to_g_date_time())


def finish(path: Path, said: Description) -> None:
    """What muxers do not do, in a file that is finished.

    mp4mux (1.22) writes its own time and knows no GPS of QuickTime's (`©xyz`); matroskamux writes texts with
    quotes and backslashes.

    Raises:
        SinkError: it is not finished.
    """
    if path.suffix.lower() == ".mkv":
        _unquote(path)
        return
    times = said.times
    if times is None and said.made is not None:
        made_s = said.made.to_g_date_time().to_unix() + _1904_S
        times = (made_s, made_s)
    if times is not None or said.user_data:
        rewrite_moov(path, lambda moov: _described(moov, times, said.user_data))


def date(path: Path, unix_ns: int) -> None:
    """Write into a finished recording when its first picture was taken, nanoseconds since 1970.

    Raises:
        SinkError: it is no finished recording.
    """
    if path.suffix.lower() == ".mp4":
        made_s = unix_ns // 10**9 + _1904_S
        rewrite_moov(path, lambda moov: _described(moov, (made_s, made_s), b""))
        return
    with path.open("r+b") as file:
        at = _date_at(file.read(1 << 12))
        if at is None:
            remark(f"{path}: holds no date that could be the camera's")
            return
        file.seek(at)
        file.write((unix_ns - _1970_TO_2001_NS).to_bytes(8, "big", signed=True))


def _date_at(head: bytes) -> int | None:
    """Where a Matroska file's DateUTC lies (RFC 9559, 5.1.2.11); None where it has none of 8 bytes."""
    try:
        at = read_element(head, read_element(head, 0).end).start
        while (found := read_element(head, at)).ident != INFO:
            at = found.end
        for part, _ in children(head[found.start : found.end]):
            if part.ident == _DATE and part.end - part.start == 8:
                return found.start + part.start
    except MatroskaError:
        pass
    return None


def _moov_of(path: Path) -> bytes:
    """An MP4's `moov` box; empty where there is none, or a strange one."""
    with path.open("rb") as file:
        if file.read(8)[4:] not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return b""
        found = next((box for box in boxes_of(file) if box.name == b"moov"), None)
        if found is None or found.end - found.at > _MOST_BYTES or found.start - found.at != 8:
            return b""
        file.seek(found.at)
        return file.read(found.end - found.at)


def _of_mp4(moov: bytes) -> tuple[bytes, tuple[int, int] | None]:
    """The user data, and the times where they are said."""
    if not moov:
        return b"", None
    whole = Box(b"moov", 0, 8, len(moov))
    data, head = inside(moov, whole, b"udta"), inside(moov, whole, b"mvhd")
    times = None
    if head is not None:
        width = 8 if moov[head.start] == 1 else 4
        at = head.start + 4
        made, changed = (int.from_bytes(moov[at + n * width : at + (n + 1) * width], "big") for n in (0, 1))
        times = (made, changed) if made else None
    return (moov[data.at : data.end] if data is not None else b""), times


def _described(moov: bytes, times: tuple[int, int] | None, user_data: bytes) -> bytes:
    """The box with other times in its headers, and other user data."""
    parts = []
    for child in boxes(moov, 8, len(moov)):
        part = moov[child.at : child.end]
        if child.name == b"udta" and user_data:
            continue
        if times is not None and child.name == b"mvhd":
            part = _timed(part, 0, times)
        elif times is not None and child.name == b"trak":
            for header in (inside(moov, child, b"tkhd"), inside(moov, child, b"mdia", b"mdhd")):
                part = part if header is None else _timed(part, header.at - child.at, times)
        parts.append(part)
    body = b"".join([*parts, user_data])
    return (8 + len(body)).to_bytes(4, "big") + b"moov" + body


def _timed(data: bytes, at: int, times: tuple[int, int]) -> bytes:
    """With these times in the header box at `at`; those that are too late for it stay."""
    width = 8 if data[at + 8] == 1 else 4
    if max(times) >= 1 << (8 * width):
        return data
    new = b"".join(time.to_bytes(width, "big") for time in times)
    return data[: at + 12] + new + data[at + 12 + len(new) :]


def _unquote(path: Path) -> None:
    """Texts of a Matroska file's tags as they are; what that leaves free is void."""
    with path.open("r+b") as file:
        found = _tags_of(file)
        if found is None:
            return
        file.seek(found.start)
        body = _plain(file.read(found.end - found.start))
        file.seek(found.start)
        file.write(body)


def _tags_of(file: Any) -> Element | None:
    """The element of the tags at a file's end, by its index of elements' places."""
    head = file.read(1 << 12)
    try:
        first = read_element(head, 0)
        segment = read_element(head, first.end)
        index = read_element(head, segment.start)
        if (segment.ident, index.ident) != (SEGMENT, SEEK_HEAD):
            return None
        entry = uint(0x53AB, _TAGS)  # 5.1.1.1; entries of what is not there are not even elements
        at = head.find(entry, index.start, index.end)
        if at < 0:
            return None
        place = read_element(head, at + len(entry))
        at = segment.start + int.from_bytes(head[place.start : place.end], "big")
        file.seek(at)
        found = read_element(file.read(12), 0, at)
        return found if found.ident == _TAGS and found.end > 0 else None
    except MatroskaError:
        return None


def _plain(body: bytes) -> bytes:
    """Elements of the same length with plain texts in them."""
    parts = []
    for found, payload in children(body):
        if found.ident in (_TAG, _SIMPLE_TAG):
            new = body[found.at : found.start] + _plain(payload)
        elif found.ident == _TAG_STRING and _QUOTED.fullmatch(payload):
            raw = _OCTAL.sub(_character, payload.rstrip(b"\0")[1:-1])
            new = text(_TAG_STRING, raw.decode("utf-8", "replace"))
            free = found.end - found.at - len(new)
            width = 1 if free < 128 else 8
            new += bytes([VOID]) + size_of(free - 1 - width, width) + bytes(free - 1 - width)
        else:
            new = body[found.at : found.end]
        parts.append(new)
    return b"".join(parts)


def _character(escaped: re.Match[bytes]) -> bytes:
    what = escaped[1]
    return bytes([int(what, 8)]) if len(what) == 3 else what
