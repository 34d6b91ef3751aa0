"""What every sink promises the loop; a new one joins by one line."""

from __future__ import annotations

import socket
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from tests.waiting import free_port

from irchroma.stream.errors import SinkError
from irchroma.stream.picture.picture import Palette, Picture, planes_of
from irchroma.stream.protocols import FrameSink, VideoInfo
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool
from irchroma.stream.sinks.encoding.task import EncoderOptions
from irchroma.stream.sinks.null_sink import NullSink
from irchroma.stream.sinks.open_sink import SinkOptions, open_sink
from irchroma.stream.sinks.window_sink import WindowSink

pytestmark = pytest.mark.gst

SIZE = (48, 64)
SINKS: dict[str, Callable[[Path], FrameSink]] = {
    "null": lambda folder: open_sink("null"),
    "mp4": lambda folder: open_sink(str(folder / "out.mp4")),
    "mkv": lambda folder: open_sink(str(folder / "out.mkv")),
    "webm": lambda folder: open_sink(str(folder / "out.webm")),
    "segments": lambda folder: open_sink(str(folder / "out.mp4"), SinkOptions(segment_s=1)),
    "segments that share": lambda folder: open_sink(
        str(folder / "out.mkv"), SinkOptions(segment_s=1, pool=EncoderPool())
    ),
    "h265": lambda folder: open_sink(str(folder / "out.mp4"), SinkOptions(EncoderOptions(codec="h265"))),
    "hls": lambda folder: open_sink(f"hls:{folder / 'web'}"),
    "rtsp": lambda folder: open_sink("rtsp://127.0.0.1:0/cam"),
    "srt": lambda folder: open_sink(f"srt://127.0.0.1:{free_port(socket.SOCK_DGRAM)}?mode=listener"),
    "http": lambda folder: open_sink("http://127.0.0.1:0"),
    "window": lambda folder: WindowSink("fakesink"),
}


@pytest.fixture(params=SINKS)
def sink(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FrameSink:
    monkeypatch.setenv("DISPLAY", ":987")  # for the window, whose fake sink shows nothing
    return SINKS[request.param](tmp_path)


@pytest.mark.parametrize("live", [True, False])
def test_it_takes_color_luma_and_other_sizes_and_closes_twice(sink: FrameSink, live: bool) -> None:
    rng = np.random.default_rng(3)
    pictures: list = [
        rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8),
        rng.integers(0, 256, SIZE, dtype=np.uint8),
        rng.integers(0, 256, (33, 20, 3), dtype=np.uint8),
    ]
    table = rng.integers(0, 256, (256, 1, 3), dtype=np.uint8)
    pictures.append(Picture(palette=Palette(rng.integers(0, 256, SIZE, dtype=np.uint8), table)))
    planes = rng.integers(16, 236, SIZE[0] * SIZE[1] * 3 // 2, dtype=np.uint8)
    pictures.append(Picture(planes=planes_of(planes, SIZE)))
    pictures.append(Picture(pictures[0]))
    before = [picture.copy() for picture in pictures[:3]]
    for picture in pictures[:3]:
        picture.setflags(write=False)
    sink.open(VideoInfo(SIZE, Fraction(50), live), SIZE)
    for number, picture in enumerate(pictures * 2):
        sink.write(picture, number * 20_000_000, 20_000_000)
    assert all(np.array_equal(picture, copy) for picture, copy in zip(pictures, before, strict=False))
    assert sink.drops <= len(pictures) * 2
    sink.close()
    sink.close()


def test_closing_what_was_never_opened_is_fine(sink: FrameSink) -> None:
    sink.close()
    sink.close()


def test_writing_before_opening_or_after_closing_is_an_error(sink: FrameSink) -> None:
    if isinstance(sink, NullSink):
        return
    picture = np.zeros(SIZE, np.uint8)
    with pytest.raises(SinkError, match="before it was opened"):
        sink.write(picture, 0, 20_000_000)
    sink.open(VideoInfo(SIZE, Fraction(50), live=True), SIZE)
    sink.write(picture, 0, 20_000_000)
    sink.close()
    with pytest.raises(SinkError):
        sink.write(picture, 20_000_000, 20_000_000)


def test_sixteen_bit_counts_are_refused_rather_than_crushed(sink: FrameSink) -> None:
    if isinstance(sink, NullSink):
        return
    if getattr(sink, "watched", None) is False:
        return  # an RTSP stream that nobody watches looks at nothing
    sink.open(VideoInfo(SIZE, Fraction(50), live=True), SIZE)
    with pytest.raises(SinkError, match="counts"):
        sink.write(np.zeros(SIZE, np.uint16), 0, 20_000_000)
    sink.close()
