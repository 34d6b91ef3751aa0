"""Rows of files and raw tracks say when the camera took their pictures, by the camera's own clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import av
import pytest
from tests.stream.sinks.files.recording import picture
from tests.waiting import wait_for

from irchroma.stream.frame import Frame
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.gstreamer.sample import Unit, give_units
from irchroma.stream.loop.raw_keeper import RawKeeper
from irchroma.stream.loop.writer import SinkWriter
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import FrameSink, VideoInfo
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool
from irchroma.stream.sinks.files.encoded_row import EncodedRow
from irchroma.stream.sinks.files.file_sink import FileSinkOptions
from irchroma.stream.sinks.files.retention import Retention
from irchroma.stream.sinks.files.segmented_sink import SegmentedSink

pytestmark = pytest.mark.gst

SIZE, INFO = (48, 64), VideoInfo((48, 64), Fraction(10), live=True)
COUNT, PERIOD_NS = 30, 100_000_000
TAKEN_NS = 1_700_000_000_000_000_000
"""Of the first picture: another clock than this machine's."""
KNOWN_FROM = 5
"""Nothing is known before the camera's first report."""


def times(number: int) -> tuple[int, int]:
    """Of a picture: its pts, and when it was taken as far as that is known."""
    taken_ns = TAKEN_NS + number * PERIOD_NS if number >= KNOWN_FROM else 0
    return 7_000_000_000 + number * PERIOD_NS, taken_ns


def written(row: FrameSink) -> None:
    row.open(INFO, SIZE)
    for number in range(COUNT):
        pts_ns, taken_ns = times(number)
        one = Picture(picture(number % 20))
        one.taken_ns = taken_ns
        row.write(one, pts_ns, PERIOD_NS)
    row.close()


def kept(row: FrameSink, coded: bool) -> None:
    """As the reader and GStreamer's thread hand frames and coded pictures to a raw track."""
    keeper = RawKeeper(SinkWriter(row, "raw", patient=True), coded)
    units = coded_units() if coded else []
    for number in range(COUNT):
        pts_ns, taken_ns = times(number)
        if coded:
            keeper.take(replace(units[number], pts_ns=pts_ns, dts_ns=-1, taken_ns=taken_ns), number == 0)
        frame = Frame(picture(number % 20), pts_ns, PERIOD_NS, number, taken_ns=taken_ns)
        keeper.see(frame, INFO, threading.Event())
    keeper.writer.end()
    keeper.writer.finish()


def coded_units() -> list[Unit]:
    """Pictures that a camera has coded, each of which decoding may begin with."""
    units: list[Unit] = []
    pipeline = Pipeline(
        f"videotestsrc num-buffers={COUNT} ! video/x-raw,format=I420,width=64,height=48,framerate=10/1"
        " ! jpegenc name=coded ! fakesink",
        {},
    )

    def built(made: Pipeline) -> None:
        coded = made.element("coded").get_static_pad("src")
        give_units(coded, lambda unit, _: units.append(unit), lambda pts_ns: TAKEN_NS + pts_ns)

    pipeline.start(built=built)
    wait_for(lambda: len(units) == COUNT)
    pipeline.stop()
    assert [unit.taken_ns - unit.pts_ns for unit in units] == [TAKEN_NS] * COUNT
    return units


WAYS: dict[str, Callable[[Path], None]] = {
    "row": lambda path: written(SegmentedSink(path, FileSinkOptions(), 1.0)),
    "shared row": lambda path: written(EncodedRow(path, FileSinkOptions(), 1.0, Retention(), EncoderPool())),
    "raw frames": lambda path: kept(SegmentedSink(path, FileSinkOptions(lossless=True), 1.0), False),
    "raw bitstream": lambda path: kept(
        SegmentedSink(path, FileSinkOptions(lossless=True, coded=True), 1.0), True
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_file_has_the_date_of_its_first_picture_by_the_camera_s_clock(tmp_path: Path, way: str) -> None:
    WAYS[way](tmp_path / "night.mkv")
    made = []
    for file in sorted(tmp_path.iterdir()):
        with av.open(str(file)) as opened:
            assert next(opened.decode(video=0)).pts == 0
            text = str(opened.metadata["creation_time"])
        made.append(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())
    assert len(made) == 3
    assert [at - TAKEN_NS / 1e9 for at in made] == pytest.approx([0, 1, 2], abs=0.11)
