from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from irchroma.stream.errors import SinkError, StreamOptionError
from irchroma.stream.gstreamer.door import GstFailure
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool
from irchroma.stream.sinks.files import segmented_sink
from irchroma.stream.sinks.files.encoded_row import EncodedRow
from irchroma.stream.sinks.files.file_sink import FileSink, FileSinkOptions
from irchroma.stream.sinks.files.retention import Retention
from irchroma.stream.sinks.files.segmented_sink import SegmentedSink
from irchroma.stream.sinks.pipeline_sink import explain

pytestmark = pytest.mark.gst

SIZE = (48, 64)
INFO = VideoInfo(SIZE, Fraction(10), live=False)
STEP_NS = 100_000_000


def record(sink: SegmentedSink, count: int) -> None:
    sink.open(INFO, SIZE)
    for number in range(count):
        sink.write(np.full(SIZE, number * 4 % 256, np.uint8), number * STEP_NS, STEP_NS)
    sink.close()
    sink.close()


def test_files_begin_by_time_and_lose_no_picture(tmp_path: Path, read_file: Callable) -> None:
    record(SegmentedSink(tmp_path / "cam.mp4", FileSinkOptions(), segment_s=2), 50)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["cam-00001.mp4", "cam-00002.mp4", "cam-00003.mp4"]
    levels = []
    for file, count in zip(files, (20, 20, 10), strict=True):
        back = read_file(file)
        assert back.pts_ns == [n * STEP_NS for n in range(count)]
        levels += [rgb.mean() for rgb in back.rgb]
    assert np.abs(np.subtract(levels, [n * 4 % 256 for n in range(50)])).max() < 3


def test_a_restart_goes_on_counting_and_old_files_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "cam-notes.mp4").write_bytes(b"mine")
    record(SegmentedSink(tmp_path / "cam.mp4", FileSinkOptions(), segment_s=1, keep=Retention(3)), 20)
    record(SegmentedSink(tmp_path / "cam.mp4", FileSinkOptions(), segment_s=1, keep=Retention(3)), 20)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["cam-00002.mp4", "cam-00003.mp4", "cam-00004.mp4", "cam-notes.mp4"]


def test_a_lossless_recording_goes_on_in_another_file_when_the_camera_changes(tmp_path: Path) -> None:
    sink = SegmentedSink(tmp_path / "raw.mkv", FileSinkOptions(lossless=True))
    sink.open(INFO, SIZE)
    pictures = [
        np.zeros(SIZE, np.uint16),
        np.zeros(SIZE, np.uint16),
        np.zeros(SIZE, np.uint8),
        np.zeros((*SIZE, 3), np.uint8),
        np.zeros((24, 32), np.uint8),
    ]
    for number, picture in enumerate(pictures):
        sink.write(picture, number * STEP_NS, STEP_NS)
    sink.close()
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["raw-00002.mkv", "raw-00003.mkv", "raw-00004.mkv", "raw.mkv"]


def test_bad_options_and_places_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StreamOptionError, match="0 or more, got -1 s"):
        SegmentedSink(tmp_path / "cam.mp4", FileSinkOptions(), segment_s=-1)
    with pytest.raises(SinkError, match="does not exist: make it first"):
        SegmentedSink(tmp_path / "no" / "cam.mp4", FileSinkOptions(), segment_s=1).open(INFO, SIZE)


def test_files_are_deleted_by_their_age_and_by_their_size(tmp_path: Path) -> None:
    files = [tmp_path / f"cam-{number:05d}.mp4" for number in range(1, 6)]
    for number, file in enumerate(files):
        file.write_bytes(bytes(1_000_000))
        os.utime(file, (time.time() - (5 - number) * 86_400 + 3600,) * 2)
    assert list(Retention(days=3).surplus(files)) == files[:2]
    assert list(Retention(gigabytes=0.0035).surplus(files)) == files[:2]
    assert list(Retention(segments=2, days=3).surplus(files)) == files[:3]
    assert list(Retention(gigabytes=0.0001).surplus(files)) == files[:4], "the newest one stays"
    assert list(Retention().surplus(files)) == []
    with pytest.raises(StreamOptionError, match="0 or more files, days and gigabytes"):
        Retention(days=-1)


def test_files_that_somebody_else_deletes_meanwhile_are_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that a cleaner, or the thread that finishes a file, takes between two looks."""
    for number in range(1, 6):
        (tmp_path / f"cam-{number:05d}.mp4").write_bytes(bytes(50_000))
    (tmp_path / "cam-00006.mp4").symlink_to(tmp_path / "archive" / "gone.mp4")
    real = shutil.disk_usage

    def cleaned(folder: Path) -> object:
        (tmp_path / "cam-00001.mp4").unlink(missing_ok=True)
        return real(folder)._replace(free=90_000)

    monkeypatch.setattr(shutil, "disk_usage", cleaned)
    keep = Retention(days=7)
    record(SegmentedSink(tmp_path / "cam.mp4", FileSinkOptions(), segment_s=1, keep=keep), 10)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == [f"cam-{number:05d}.mp4" for number in (3, 4, 5, 6, 7)]


def test_a_raw_track_that_is_there_is_never_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        record(SegmentedSink(tmp_path / "raw.mkv", FileSinkOptions(lossless=True)), 3)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["raw-00001.mkv", "raw-00002.mkv", "raw.mkv"]
    said = [record.getMessage() for record in caplog.records if "is there" in record.getMessage()]
    assert said == [f"{tmp_path / 'raw.mkv'} is there: recording to raw-0000{n}.mkv" for n in (1, 2)]
    record(SegmentedSink(tmp_path / "raw.mkv", FileSinkOptions(lossless=True, overwrite=True)), 3)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def frames_of(path: Path, read_file: Callable) -> int:
    """0 for a file that the disk had no room for beyond its header."""
    try:
        return len(read_file(path).pts_ns)
    except GstFailure:
        return 0


def test_a_full_disk_costs_the_oldest_file_where_any_limit_is_set(
    small_disk: Path, read_file: Callable
) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (8, *SIZE), dtype=np.uint8)
    live = VideoInfo(SIZE, Fraction(10), live=True)

    def fill(sink: SegmentedSink, count: int) -> None:
        sink.open(live, SIZE)
        try:
            for number in range(count):
                sink.write(noise[number % 8], number * STEP_NS, STEP_NS)
        finally:
            sink.close()

    (small_disk / "others.bin").write_bytes(bytes(2_500_000))
    with pytest.raises(SinkError, match="the disk is full"):
        fill(SegmentedSink(small_disk / "one.mkv", FileSinkOptions(), segment_s=5), 800)
    for file in small_disk.glob("one-*"):
        file.unlink()
    fill(SegmentedSink(small_disk / "cam.mkv", FileSinkOptions(), 5, Retention(days=7)), 800)
    files = sorted(small_disk.glob("cam-*.mkv"))
    assert files[0].name != "cam-00001.mkv"
    assert len(files) > 2
    assert sum(frames_of(file, read_file) for file in files) > 60, "of about 130 that there is room for"


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_ring_that_has_filled_its_disk_loses_no_picture(
    suffix: str, small_disk: Path, read_file: Callable
) -> None:
    """Room is made before a file begins: one that met the full disk lacked its end, and half of them did."""
    size = (96, 128)
    noise = np.random.default_rng(0).integers(0, 256, (8, *size), dtype=np.uint8)
    (small_disk / "others.bin").write_bytes(bytes(1_500_000))
    sink = SegmentedSink(small_disk / f"cam{suffix}", FileSinkOptions(), 2, Retention(days=7))
    sink.open(VideoInfo(size, Fraction(10), live=True), size)
    for number in range(600):
        sink.write(noise[number % 8], number * STEP_NS, STEP_NS)
    sink.close()
    files = sorted(small_disk.glob("cam-*"))
    assert (files[-1].stem, len(files) > 5) == ("cam-00030", True)
    assert [frames_of(file, read_file) for file in files] == [20] * len(files)


def test_a_row_that_shares_its_encoder_goes_on_with_a_keyframe_where_the_disk_was_full(
    small_disk: Path, read_file: Callable
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, *SIZE), dtype=np.uint8)
    (small_disk / "others.bin").write_bytes(bytes(2_500_000))
    row = EncodedRow(small_disk / "cam.mkv", FileSinkOptions(), 5, Retention(days=7), EncoderPool())
    row.open(VideoInfo(SIZE, Fraction(10), live=True), SIZE)
    for number in range(800):
        row.write(noise[number % 8], number * STEP_NS, STEP_NS)
    row.close()
    files = sorted(small_disk.glob("cam-*.mkv"))
    assert files[0].name != "cam-00001.mkv"
    kept = sum(frames_of(file, read_file) for file in files)
    assert kept > 60
    assert row.drops < 200, "what lay between a full disk and the next keyframe, where a write met it"


def test_a_quota_that_is_used_up_is_a_full_disk() -> None:
    """As GStreamer's filesink tells it, for which it has no code of its own; no quota can be set here."""
    debug = f"/file:\nError while writing to file descriptor 9: {os.strerror(errno.EDQUOT)}"
    failure = GstFailure("Error while writing to file.", "resource", "write", "file", debug)
    told = explain(failure, "night.mp4")
    assert (str(told), told.errno) == ("night.mp4: the disk is full", errno.ENOSPC)
    other = explain(GstFailure("Error.", "resource", "write", "file", "system error: Broken pipe"), "a.mp4")
    assert (str(other), other.errno) == ("a.mp4: broken pipe", None)


@pytest.mark.parametrize("error", [SinkError("disk full"), OSError("no such device")])
def test_a_segment_that_cannot_be_finished_is_told_at_the_end_at_the_latest(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Second(FileSink):
        made = 0

        def __init__(self, path: Path, options: FileSinkOptions) -> None:
            super().__init__(path, options)
            Second.made += 1
            self.number = Second.made  # the first one only checks the options

        def close(self) -> None:
            super().close()
            if self.number == 2:
                raise error

    monkeypatch.setattr(segmented_sink, "FileSink", Second)
    sink = segmented_sink.SegmentedSink(tmp_path / "a.mp4", FileSinkOptions(), 1.0, 0)
    sink.open(VideoInfo((32, 32), Fraction(25), True), (32, 32))
    picture = np.zeros((32, 32, 3), np.uint8)
    sink.write(picture, 0, 40_000_000)
    sink.write(picture, 2_000_000_000, 40_000_000)
    with pytest.raises(SinkError, match=r"disk full|no such device"):
        sink.close()
    sink.close()
