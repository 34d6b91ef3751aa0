"""Headers of MP4, Matroska and AVI files, made byte by byte."""

from pathlib import Path

import pytest

from irchroma.stream.media.container import Promise, read_promise


def box(name: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + name + content


def words(*values: int) -> bytes:
    return b"".join((value & 0xFFFFFFFF).to_bytes(4, "big") for value in values)


def mp4(duration: int, offsets: tuple[int, ...] = (), edits: bytes = b"", data: bytes = bytes(100)) -> bytes:
    """Ten video frames of 1000 ticks of 30000, and before it a track of sound."""
    ctts = (
        box(b"ctts", words(0, len(offsets), *(part for o in offsets for part in (1, o)))) if offsets else b""
    )
    stbl = box(b"stbl", box(b"stts", words(0, 1, 10, 1000)) + ctts)
    mdhd = box(b"mdhd", words(0, 0, 0, 30000, duration, 0))

    def trak(handler: bytes) -> bytes:
        hdlr = box(b"hdlr", words(0, 0) + handler + bytes(13))
        return box(b"trak", edits + box(b"mdia", mdhd + hdlr + box(b"minf", stbl)))

    mvhd = box(b"mvhd", words(0, 0, 0, 30000, duration) + bytes(80))
    return (
        box(b"ftyp", b"isom" + bytes(4))
        + box(b"moov", mvhd + trak(b"soun") + trak(b"vide"))
        + box(b"mdat", data)
    )


def promise_of(data: bytes, tmp_path: Path) -> Promise:
    path = tmp_path / "video"
    path.write_bytes(data)
    return read_promise(path)


def test_frames_are_counted_from_the_index(tmp_path: Path) -> None:
    assert promise_of(mp4(10000), tmp_path) == Promise(frame_count=10)


def test_missing_bytes_are_counted(tmp_path: Path) -> None:
    assert promise_of(mp4(10000)[:-30], tmp_path) == Promise(frame_count=10, missing_bytes=30)
    matroska = b"\x1aE\xdf\xa3\x84" + bytes(4) + b"\x18S\x80g\x01" + (100).to_bytes(7, "big") + bytes(60)
    assert promise_of(matroska, tmp_path) == Promise(missing_bytes=40)
    assert promise_of(matroska + bytes(40), tmp_path) == Promise()
    endless = matroska.replace(b"\x18S\x80g\x01" + (100).to_bytes(7, "big"), b"\x18S\x80g\x01" + b"\xff" * 7)
    assert promise_of(endless, tmp_path) == Promise()
    avi = b"RIFF" + (200).to_bytes(4, "little") + b"AVI LIST" + bytes(88)
    assert promise_of(avi, tmp_path) == Promise(missing_bytes=104)


def test_a_file_without_its_index_says_so(tmp_path: Path) -> None:
    data = box(b"ftyp", b"isom" + bytes(4)) + box(b"mdat", bytes(1000))
    assert promise_of(data[:500], tmp_path) == Promise(missing_bytes=len(data) - 500, has_index=False)


def test_a_duration_that_cuts_off_the_last_frame_is_corrected(tmp_path: Path) -> None:
    """Reordered by one frame, the last one begins at 10000; the header ends at 9999."""
    data = mp4(9999, offsets=(1000,) * 10)
    found = promise_of(data, tmp_path).corrections
    assert len(found) == 2
    for at, new in found.items():
        assert data[at : at + 4] == words(9999)
        assert int.from_bytes(new, "big") > 10999
    assert promise_of(mp4(11000, offsets=(1000,) * 10), tmp_path).corrections == {}
    edits = box(b"edts", box(b"elst", words(0, 1, 9000, 1000, 65536)))
    assert promise_of(mp4(9999, (1000,) * 10, edits), tmp_path).corrections == {}


@pytest.mark.parametrize(
    "data", [b"", b"hello, world", b"\x1aE\xdf\xa3", b"RIFF", bytes(4) + b"ftyp" + bytes(9)]
)
def test_what_is_too_short_promises_nothing(tmp_path: Path, data: bytes) -> None:
    assert promise_of(data, tmp_path).frame_count is None


def test_damaged_tables_promise_nothing(tmp_path: Path) -> None:
    data = mp4(10000)
    at = data.rindex(b"stts") + 8
    assert promise_of(data[:at] + words(0xFFFFFFF) + data[at + 4 :], tmp_path).frame_count is None
