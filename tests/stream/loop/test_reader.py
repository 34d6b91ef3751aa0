"""The thread that watches over a source."""

import numpy as np
import pytest

from irchroma.stream.errors import SourceError, SourceLost
from irchroma.stream.frame import Frame
from irchroma.stream.loop.fakes import MemorySource, Step
from irchroma.stream.loop.reader import ReconnectOptions, SourceReader
from irchroma.stream.loop.threads import RingClosed

QUICK = ReconnectOptions(stall_s=1, first_delay_s=0.01, longest_delay_s=0.02)


def frame(number: int) -> Frame:
    return Frame(np.full((4, 6), number, np.uint8), pts_ns=number * 40_000_000)


def all_of(reader: SourceReader) -> list[Frame]:
    arrivals = []
    try:
        while True:
            arrival = reader.ring.get(5)
            assert arrival is not None
            arrivals.append(arrival)
    except RingClosed:
        return arrivals


def test_a_file_keeps_every_frame_and_its_pts() -> None:
    reader = SourceReader(MemorySource([frame(n) for n in range(20)]))
    info = reader.start()
    arrivals = all_of(reader)
    assert info.size == (4, 6)
    assert [a.pts_ns for a in arrivals] == [n * 40_000_000 for n in range(20)]
    assert reader.failure is None
    assert reader.join()


def test_a_live_source_is_reconnected_and_its_pts_go_on_rising() -> None:
    steps: list[Step] = [
        frame(0),
        0.2,
        SourceLost("cable"),
        SourceError("refused"),
        0.2,
        frame(0),
        0.2,
        frame(1),
    ]
    reader = SourceReader(MemorySource(steps, live=True), QUICK)
    reader.start()
    arrivals = []
    while len(arrivals) < 3:
        arrival = reader.ring.get(5)
        assert arrival is not None
        arrivals.append(arrival)
    reader.stop()
    assert reader.join()
    pts = [f.pts_ns for f in arrivals]
    assert pts == sorted(set(pts))
    assert [f.gap for f in arrivals] == [False, True, False]
    assert reader.reconnections == 1


def test_a_source_that_cannot_be_opened_fails_at_once() -> None:
    reader = SourceReader(MemorySource([SourceError("no such camera")], live=True), QUICK)
    with pytest.raises(SourceError, match="no such camera"):
        reader.start()
    assert reader.join()


def test_wait_at_start_keeps_trying() -> None:
    options = ReconnectOptions(first_delay_s=0.01, longest_delay_s=0.02, wait_at_start=True)
    steps: list[Step] = [SourceError("booting"), SourceError("booting"), frame(0)]
    reader = SourceReader(MemorySource(steps), options)
    assert reader.start().size == (4, 6)
    assert len(all_of(reader)) == 1


def test_a_file_that_breaks_gives_its_frames_and_then_the_error() -> None:
    reader = SourceReader(MemorySource([frame(0), frame(1), SourceError("truncated")]))
    reader.start()
    assert len(all_of(reader)) == 2
    assert str(reader.failure) == "truncated"


def test_an_unforeseen_exception_reaches_the_loop_as_a_source_error() -> None:
    reader = SourceReader(MemorySource([frame(0), ZeroDivisionError("oops")]))
    reader.start()
    all_of(reader)
    assert isinstance(reader.failure, SourceError)
    assert "oops" in str(reader.failure)


def test_stop_ends_a_reader_that_waits_to_reconnect() -> None:
    steps: list[Step] = [frame(0), *[SourceError("gone")] * 1000]
    reader = SourceReader(
        MemorySource(steps, live=True), ReconnectOptions(longest_delay_s=30, first_delay_s=30)
    )
    reader.start()
    assert reader.ring.get(5) is not None
    reader.stop()
    assert reader.join(5)
