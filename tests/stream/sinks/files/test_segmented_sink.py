from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from irchroma.stream.errors import SinkError, StreamOptionError
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.files.file_sink import FileSinkOptions
from irchroma.stream.sinks.files.segmented_sink import SegmentedSink

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
    record(SegmentedSink(tmp_path / "cam.mp4", FileSinkOptions(), segment_s=1, keep=3), 20)
    record(SegmentedSink(tmp_path / "cam.mp4", FileSinkOptions(), segment_s=1, keep=3), 20)
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
