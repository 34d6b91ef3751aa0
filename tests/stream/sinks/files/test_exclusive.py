"""Files that are deleted, moved or replaced while they are recorded: nothing goes on into nowhere unsaid."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest
from tests.stream.sinks.files.recording import picture

from irchroma.stream.errors import SinkError
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.remarks import Remarks, run_remarks
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool
from irchroma.stream.sinks.evidence.evidence_file import About, EvidenceFile
from irchroma.stream.sinks.evidence.signing import Signer
from irchroma.stream.sinks.files import exclusive
from irchroma.stream.sinks.files.file_sink import FileSink, FileSinkOptions
from irchroma.stream.sinks.files.retention import Retention
from irchroma.stream.sinks.files.segmented_sink import SegmentedSink

pytestmark = pytest.mark.gst

SIZE = (48, 64)
LIVE = VideoInfo(SIZE, Fraction(10), live=True)
STEP_NS = 100_000_000
MOVED = "is no longer there while it is recorded: moved, or its disk taken away$"
DELETED = "was deleted while it was recorded: the pictures in it are lost$"


@pytest.fixture(autouse=True)
def _looks_at_every_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exclusive, "_LOOK_S", 0.0)


def pictures_in(path: Path) -> int:
    with av.open(str(path)) as video:
        return sum(1 for _ in video.decode(video=0))


def write(sink: FileSink | SegmentedSink, begin: int, end: int) -> None:
    for number in range(begin, end):
        sink.write(picture(number % 20), number * STEP_NS, STEP_NS)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("how", ["deleted", "moved", "replaced"])
def test_a_recording_that_is_gone_is_said_and_what_stands_in_its_place_is_left_alone(
    tmp_path: Path, suffix: str, shared: bool, how: str
) -> None:
    path, away = tmp_path / f"cam{suffix}", tmp_path / "away"
    gone = DELETED if how == "deleted" else MOVED
    sink = FileSink(path, pool=EncoderPool() if shared else None)
    sink.open(LIVE, SIZE)
    write(sink, 0, 20)
    path.unlink() if how == "deleted" else path.rename(away)
    if how == "replaced":
        path.write_bytes(b"mine")
    with pytest.raises(SinkError, match=rf"^{path}: {gone}"):
        write(sink, 20, 21)
    with pytest.raises(SinkError, match=gone):
        sink.close()
    assert path.exists() == (how == "replaced")
    if how != "deleted":
        assert pictures_in(away) == 20
    if how == "replaced":
        assert path.read_bytes() == b"mine"


def test_one_that_is_deleted_in_the_end_has_failed(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "cam.mp4")
    sink.open(LIVE, SIZE)
    write(sink, 0, 20)
    (tmp_path / "cam.mp4").unlink()
    with pytest.raises(SinkError, match=DELETED):
        sink.close()
    sink.close()


@pytest.fixture
def remarks() -> Iterator[Remarks]:
    """Those of the run whose thread this is."""
    made = Remarks()
    token = run_remarks.set(made)
    yield made
    run_remarks.reset(token)


@pytest.mark.parametrize("when", ["while it is written", "while it is finished"])
@pytest.mark.parametrize("how", ["deleted", "moved"])
def test_a_row_goes_on_with_its_next_file_and_what_is_lost_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, remarks: Remarks, how: str, when: str
) -> None:
    sink = SegmentedSink(tmp_path / "cam.mkv", FileSinkOptions(), 2, Retention(days=7))
    sink.open(LIVE, SIZE)
    write(sink, 0, 20 if when == "while it is finished" else 15)
    first = tmp_path / "cam-00001.mkv"
    first.unlink() if how == "deleted" else first.rename(tmp_path / "away")
    write(sink, 20, 35)
    sink.close()
    assert [file.name for file in tmp_path.iterdir() if file.name != "away"] == ["cam-00002.mkv"]
    assert pictures_in(tmp_path / "cam-00002.mkv") == 15
    (said,) = remarks.listed()
    assert re.match(rf"{first}: {DELETED if how == 'deleted' else MOVED}", str(said["text"]))
    assert said["count"] == (20 if when == "while it is finished" else 15)
    assert bool(remarks.lost()) == (how == "deleted")
    assert caplog.text.count(str(first)) == 1


def test_a_second_file_of_a_row_that_is_deleted_is_named_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, remarks: Remarks
) -> None:
    sink = SegmentedSink(tmp_path / "cam.mkv", FileSinkOptions(), 60)
    sink.open(LIVE, SIZE)
    for number in range(2):
        write(sink, 10 * number, 10 * number + 10)
        (tmp_path / f"cam-0000{number + 1}.mkv").unlink()
    write(sink, 20, 30)
    sink.close()
    assert [said["count"] for said in remarks.listed()] == [20]
    assert [caplog.text.count(f"cam-0000{number}.mkv") for number in (1, 2)] == [1, 1]


def test_evidence_that_is_gone_is_said(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    path = tmp_path / "night.mkv"
    for at_the_end in (False, True):
        file = EvidenceFile(path, {}, About(), Signer.kept(tmp_path / "key.pem"))
        path.unlink()
        with pytest.raises(SinkError, match=DELETED):
            file.finish() if at_the_end else file.add(2 * 10**9, {})
        if not at_the_end:
            file.abandon()


def test_where_a_file_has_no_number_of_its_own_only_its_name_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exclusive.os.path, "samestat", lambda *_: False)
    path = tmp_path / "cam.mkv"
    path.touch()
    descriptor = exclusive.hold(path, "cam.mkv", "")
    place = exclusive.Place(path, descriptor)
    assert place.kept
    path.unlink()
    assert not place.kept
    os.close(descriptor)


def test_what_cannot_be_known_is_taken_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cam.mkv"
    path.touch()
    descriptor = exclusive.hold(path, "cam.mkv", "")
    place = exclusive.Place(path, descriptor)
    assert place.kept

    def away(_path: Path) -> os.stat_result:
        raise OSError(116, "stale file handle")

    monkeypatch.setattr(Path, "stat", away)
    assert place.kept
    place.look(0)
    os.close(descriptor)
