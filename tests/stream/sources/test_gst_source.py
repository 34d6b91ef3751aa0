"""What all GStreamer sources share: times, rates, stalls, failures."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from irchroma.stream.errors import SourceError, SourceFormatError, SourceLost
from irchroma.stream.gstreamer.door import GstFailure, modules, set_duration, structure_of
from irchroma.stream.sources.addresses import broken_format
from irchroma.stream.sources.gst_source import GstSource, PictureOptions, SourcePlan
from irchroma.stream.sources.rtsp_source import RtspSource

_SMALL = "video/x-raw,format=GRAY8,width=16,height=16"


class LineSource(GstSource):
    """A source over any launch line."""

    open_timeout_s = 5.0

    def __init__(self, line: str, live: bool = False, pictures: PictureOptions | None = None) -> None:
        super().__init__(pictures)
        self._line, self._is_live = line, live

    def plan(self) -> SourcePlan:
        return SourcePlan(self._line, live=self._is_live, description="line")

    def explain(self, failure: GstFailure | None) -> SourceError:
        return SourceError("no first frame" if failure is None else str(failure))


class Wrapping:
    """Caps as the bindings of GStreamer 1.26 give them: each structure in a context manager."""

    def __init__(self, caps: Any) -> None:
        self._caps = caps

    @contextmanager
    def get_structure(self, index: int) -> Iterator[Any]:
        found = self._caps.get_structure(index)
        with found if hasattr(found, "__enter__") else nullcontext(found) as structure:
            yield structure


@pytest.mark.gst
def test_caps_give_their_structures_by_older_and_newer_bindings() -> None:
    caps = modules()["Gst"].Caps.from_string("video/x-raw,width=16;image/jpeg")
    for given in (caps, Wrapping(caps)):
        assert structure_of(given).get_int("width") == (True, 16)
        assert structure_of(given, 1).get_name() == "image/jpeg"


@pytest.mark.gst
def test_a_buffer_that_others_hold_gets_its_duration() -> None:
    buffer = modules()["Gst"].Buffer.new_allocate(None, 8, None)
    held = [buffer, buffer.copy_region(modules()["Gst"].BufferCopyFlags.MEMORY, 0, 8)]
    for one in held:
        set_duration(one, 40_000_000)
        assert one.duration == 40_000_000


@pytest.mark.gst
def test_a_rate_that_the_frames_disprove_is_corrected() -> None:
    line = f"videotestsrc num-buffers=20 ! {_SMALL},framerate=10/1 ! capssetter caps={_SMALL},framerate=20/1"
    source = LineSource(line)
    info = source.open()
    frame = source.read(5)
    source.close()
    assert info.rate == Fraction(10)
    assert frame is not None
    assert frame.duration_ns == 100_000_000


@pytest.mark.gst
@pytest.mark.parametrize("every_frame", [True, False])
def test_a_camera_s_frames_wait_where_each_is_wanted_and_give_way_otherwise(every_frame: bool) -> None:
    line = f"videotestsrc is-live=true num-buffers=90 ! {_SMALL},framerate=100/1"
    source = LineSource(line, live=True, pictures=PictureOptions(every_frame=every_frame))
    source.open()
    times = []

    def read_all() -> None:
        while (frame := source.read(2)) is not None:
            times.append(frame.pts_ns)
            if len(times) == 10:
                threading.Event().wait(0.4)

    with pytest.raises(SourceLost):
        read_all()
    source.close()
    assert (len(times), source.drops) == (90, 0) if every_frame else len(times) + source.drops >= 88
    assert every_frame or source.drops > 30


@pytest.mark.gst
def test_a_live_source_that_falls_silent_is_lost() -> None:
    source = LineSource(f"videotestsrc is-live=true ! {_SMALL},framerate=30/1 ! valve name=valve", live=True)
    source.open()
    assert source._pipeline is not None
    assert source.read(5) is not None
    source._pipeline.set("valve", "drop", True)
    with pytest.raises(SourceLost, match=r"no frame for 0\.3 s"):
        _ = [source.read(0.3) for _ in range(5)]
    source.close()


@pytest.mark.gst
def test_the_end_of_a_live_source_is_a_loss() -> None:
    source = LineSource(f"videotestsrc is-live=true num-buffers=3 ! {_SMALL},framerate=30/1", live=True)
    source.open()
    with pytest.raises(SourceLost, match="ended the stream"):
        _ = [source.read(5) for _ in range(5)]
    source.close()


@pytest.mark.gst
def test_limited_range_can_be_demanded() -> None:
    line = f"videotestsrc num-buffers=1 pattern=gradient ! {_SMALL},framerate=10/1"
    spans = {}
    for luma_range in ("full", "limited"):
        source = LineSource(line, pictures=PictureOptions(luma_range=luma_range))  # type: ignore[arg-type]
        source.open()
        frame = source.read(5)
        source.close()
        assert frame is not None
        spans[luma_range] = int(np.ptp(frame.pixels))
    assert spans["limited"] > spans["full"]


@pytest.mark.gst
def test_no_first_frame_in_time_is_an_error() -> None:
    source = LineSource(f"videotestsrc is-live=true ! {_SMALL} ! valve drop=true", live=True)
    source.open_timeout_s = 0.2
    with pytest.raises(SourceError, match="no first frame"):
        source.open()
    source.close()


def test_a_missing_decoder_is_named_with_its_package() -> None:
    debug = "no suitable plugins found:\nMissing decoder: AV1 (video/x-av1, stream-format=(string)obu)\n"
    error = broken_format("x.mkv", GstFailure("missing a plug-in", "core", "missing-plugin", "d", debug))
    assert isinstance(error, SourceFormatError)
    assert str(error).startswith("x.mkv: no decoder here for AV1: install gstreamer1.0-libav")
    debug = "Missing decoder: video/x-unknown (video/x-unknown, codec-id=(string)V_MJPEGLS)\n"
    error = broken_format("x.mkv", GstFailure("missing a plug-in", "core", "missing-plugin", "d", debug))
    assert str(error).startswith("x.mkv: GStreamer knows no such codec: ffmpeg -i IN -c:v ffv1 OUT.mkv")
    debug = "Missing decoder: application/x-executable (application/x-executable)\n"
    error = broken_format("ls", GstFailure("missing a plug-in", "core", "missing-plugin", "d", debug))
    assert str(error) == "ls is not a video"
    assert broken_format("x", GstFailure("other", "stream", "decode")) is None


def test_no_stream_of_a_camera_is_linked_by_the_line() -> None:
    """Streams come from threads of their own: each would link whichever is there, and both would fail."""
    launch = RtspSource("rtsp://camera/live").plan().launch
    assert not launch.partition("rtspsrc name=rtsp ")[2].startswith("!")
