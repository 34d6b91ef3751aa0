"""Headers of H.264: numbers of pictures and slices, of encoded streams and of bits made by hand."""

import shutil
import subprocess

import numpy as np
import pytest

from irchroma.stream.media.h264 import CodedPicture, H264Headers, HeaderError

FRAMES, SIZE = 40, (128, 160)
START = b"\0\0\0\1"
WAYS = {
    "as cameras": ("-preset", "ultrafast", "-tune", "zerolatency"),
    "a pyramid of B pictures": ("-preset", "medium", "-x264-params", "b-pyramid=normal:bframes=5:ref=4"),
    "four slices": ("-preset", "ultrafast", "-slices", "4", "-x264-params", "sliced-threads=0"),
    "slices below a size": ("-preset", "ultrafast", "-x264-params", "slice-max-size=300"),
    "refreshed row by row": ("-preset", "fast", "-x264-params", "intra-refresh=1:bframes=0"),
    "scaling lists": ("-preset", "fast", "-x264-params", "cqm=jvt"),
    "4:4:4": ("-preset", "fast", "-pix_fmt", "yuv444p"),
}
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="streams are made with ffmpeg")


def coded(*words: str, fields: bool = False) -> list[bytes]:
    """Access units of a moving view."""
    random = np.random.default_rng(0)
    wide = random.integers(40, 200, (SIZE[0], SIZE[1] + 2 * FRAMES)).astype(np.uint8)
    raw = b"".join(wide[:, 2 * n : 2 * n + SIZE[1]].tobytes() for n in range(FRAMES))
    flags = ("-flags", "+ildct+ilme") if fields else ()
    made = subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{SIZE[1]}x{SIZE[0]}", "-i",
         "-", "-threads", "1", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-g", "30", *flags, *words,
         "-bsf:v", "h264_metadata=aud=insert", "-f", "h264", "-"],
        input=raw, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    begin = START + b"\x09"  # a delimiter begins each
    return [begin + part for part in made.stdout.split(begin)[1:]]


def read(units: list[bytes]) -> list[CodedPicture]:
    headers = H264Headers()
    pictures = [headers.read(unit) for unit in units]
    assert all(pictures)
    return [one for one in pictures if one is not None]


@needs_ffmpeg
@pytest.mark.parametrize("way", WAYS)
def test_of_whole_streams_nothing_is_missing(way: str) -> None:
    pictures = read(coded(*WAYS[way]))
    assert len(pictures) == FRAMES
    assert not any(one.missing for one in pictures)
    assert {one.starts[0] for one in pictures} == {0}
    if way == "four slices":
        assert {len(one.starts) for one in pictures} == {4}
        assert all(one.lost_from is None for one in pictures)


@needs_ffmpeg
def test_a_missing_picture_is_noticed_by_the_next_and_a_key_picture_begins_anew() -> None:
    units = coded(*WAYS["as cameras"])
    pictures = read(units[:12] + units[13:])
    assert [number for number, one in enumerate(pictures) if one.missing] == [12]
    pictures = read(units[:25] + units[30:])
    assert not any(one.missing for one in pictures)


@needs_ffmpeg
def test_a_missing_slice_is_told_by_where_it_began() -> None:
    units = coded(*WAYS["four slices"])
    starts = read(units)[0].starts
    for lost in range(4):
        parts = units[7].split(b"\0\0\1")
        slices = [index for index, part in enumerate(parts) if part and part[0] & 0x1F in (1, 5)]
        del parts[slices[lost]]
        pictures = read([*units[:7], b"\0\0\1".join(parts), *units[8:]])
        found = [one.lost_from for one in pictures]
        assert found == [None] * 7 + [starts[lost]] + [None] * (FRAMES - 8)


@needs_ffmpeg
def test_nothing_is_said_of_fields() -> None:
    headers = H264Headers()
    assert {headers.read(unit) for unit in coded("-preset", "fast", fields=True)} == {None}


def test_numbers_are_read_as_the_standard_writes_them() -> None:
    # ue(v) of 9.1: 1 -> 0, 010 -> 1, 011 -> 2, 00100 -> 3
    sequence = bits("01000010 00000000 000111101111010000100 01110 1")
    picture = bits("1110")
    slice_7 = bits("1110111 1000")  # first macroblock 0, type 0, set 0, number 7
    slice_9 = bits("00110111001 1000")  # first macroblock 5
    headers = H264Headers()
    headers.configure(b"")
    first = START + b"\x67" + sequence + START + b"\x68" + picture + START + b"\x41" + slice_7
    assert headers.read(first) == CodedPicture((0,), False, None)
    assert headers.read(START + b"\x41" + slice_9) == CodedPicture((5,), True, 0)
    record = b"\1\x42\0\x1e\xff\xe1" + sized(b"\x67" + sequence) + b"\1" + sized(b"\x68" + picture)
    other = H264Headers()
    other.configure(record)
    unit = b"\x41" + slice_7
    assert other.read(len(unit).to_bytes(4, "big") + unit) == CodedPicture((0,), False, None)
    with pytest.raises(HeaderError, match="cut short"):
        other.configure(record[:12])


def test_what_cannot_be_read_says_nothing() -> None:
    headers = H264Headers()
    for data in (b"", START, START + b"\x41", START + b"\x41" + bytes(20), START + b"\x67\x42", bytes(500)):
        assert headers.read(data) is None


def bits(text: str) -> bytes:
    digits = text.replace(" ", "")
    digits += "0" * (-len(digits) % 8)
    return int(digits, 2).to_bytes(len(digits) // 8, "big")


def sized(unit: bytes) -> bytes:
    return len(unit).to_bytes(2, "big") + unit
