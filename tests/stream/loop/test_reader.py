"""The thread that watches over a source."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from tests.waiting import wait_for

from irchroma.stream.errors import SourceError, SourceLost, SourceRefused
from irchroma.stream.frame import Frame
from irchroma.stream.loop.fakes import MemorySource, Step
from irchroma.stream.loop.reader import ReconnectOptions, SourceDeadlines, SourceReader
from irchroma.stream.loop.threads import RingClosed
from irchroma.stream.protocols import VideoInfo

QUICK = ReconnectOptions(stall_s=1, first_delay_s=0.01, longest_delay_s=0.02)


def frame(number: int) -> Frame:
    return Frame(np.full((4, 6), number, np.uint8), pts_ns=number * 40_000_000)


def test_a_source_that_refuses_is_asked_again_much_later_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals: list[Step] = [SourceRefused("wrong password")] * 2
    patient = replace(QUICK, wait_at_start=True, refused_delay_s=0.4)
    reader = SourceReader(MemorySource([*refusals, frame(0)], live=True), patient)
    start_s = time.monotonic()
    reader.start()
    assert time.monotonic() - start_s >= 0.4 + 0.8
    reader.stop()
    assert [record.message for record in caplog.records].count(
        "source lost: wrong password; trying again"
    ) <= 1


def test_that_a_source_is_waited_for_is_told_once_and_not_where_it_is_there() -> None:
    for losses, told in (([SourceLost("off"), SourceLost("off")], 1), ([], 0)):
        steps: list[Step] = [*losses, frame(0)]
        patient = replace(QUICK, wait_at_start=True, first_delay_s=0.2, longest_delay_s=0.2)
        reader, waits = SourceReader(MemorySource(steps, live=True), patient), []
        reader.start(lambda waits=waits: waits.append(1))
        assert len(waits) == told
        reader.stop()


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


class Hanging(MemorySource):
    """Hangs in one of its calls until it is let go."""

    def __init__(self, steps: list[Step], where: str, live: bool = True) -> None:
        super().__init__(steps, live)
        self.where, self.let_go, self.given = where, threading.Event(), 0

    def open(self) -> VideoInfo:
        self._hang_in("open")
        return super().open()

    def read(self, timeout_s: float) -> Frame | None:
        if self.given:
            self._hang_in("read")
        self.given += 1
        return super().read(timeout_s)

    def close(self) -> None:
        self._hang_in("close")
        super().close()

    def _hang_in(self, where: str) -> None:
        if where == self.where:
            assert self.let_go.wait(60)


LIMITS = SourceDeadlines(open_s=0.3, read_s=0.2, close_s=0.2)


@pytest.mark.parametrize("where", ["open", "read", "close"])
def test_a_live_source_that_hangs_is_made_anew(where: str) -> None:
    first = Hanging([frame(0), SourceLost("cable pulled"), frame(1)], where)
    second = MemorySource([frame(2), frame(3)], live=True)
    options = ReconnectOptions(stall_s=0.1, first_delay_s=0.01, wait_at_start=True)
    reader = SourceReader(first, options, remake=lambda: second, limits=LIMITS)
    reader.start()
    frames: list[Frame] = []
    deadline = time.monotonic() + 10
    while not any(f.pixels[0, 0] >= 2 for f in frames):  # a slow reader misses some
        assert time.monotonic() < deadline
        reader.watch()
        got = reader.ring.get(0.02)
        if got is not None:
            frames.append(got)
    assert [f.pts_ns for f in frames] == sorted({f.pts_ns for f in frames})
    first.let_go.set()
    reader.stop()
    assert reader.join(5)


def test_a_file_that_hangs_ends_with_one_line() -> None:
    hanging = Hanging([frame(0)], "read", live=False)
    reader = SourceReader(hanging, ReconnectOptions(stall_s=0.1), limits=LIMITS)
    reader.start()
    assert reader.ring.get(5) is not None
    deadline = time.monotonic() + 10
    while reader.failure is None:
        assert time.monotonic() < deadline
        reader.watch()
        threading.Event().wait(0.02)
    with pytest.raises(RingClosed):
        reader.ring.get(0.02)
    assert str(reader.failure) == "the source hangs in reading"
    hanging.let_go.set()
    assert reader.join(5)


def test_a_source_that_fails_over_being_closed_keeps_nobody_waiting() -> None:
    class Bad(MemorySource):
        def close(self) -> None:
            raise SourceError("device vanished while closing")

    reader = SourceReader(Bad([SourceError("no such camera")]))
    with pytest.raises(SourceError, match="no such camera"):
        reader.start()
    assert reader.join(5)


def test_what_a_camera_has_sent_before_anybody_takes_frames_is_not_counted_as_dropped() -> None:
    def camera() -> Iterator[Step]:
        yield from (frame(number) for number in range(5))
        begun.wait(30)
        yield from (frame(number) for number in range(5, 12))

    begun = threading.Event()
    reader = SourceReader(MemorySource(camera(), live=True), QUICK)
    reader.start()
    wait_for(lambda: reader.drops == 4)
    reader.begin()
    assert (reader.drops, reader.passed) == (0, 4)
    begun.set()
    wait_for(lambda: reader.drops == 7)
    assert reader.passed == 4
    reader.stop()
