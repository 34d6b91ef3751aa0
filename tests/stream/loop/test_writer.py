"""Sinks that fail and hang, and the writers that do not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from tests.stream.loop.test_loop import AS_IT_IS, PlainComposer, RedColorizer, frame

from irchroma.stream.errors import SinkError
from irchroma.stream.loop.fakes import MemorySink, MemorySource
from irchroma.stream.loop.loop import Loop
from irchroma.stream.loop.writer import SinkDeadlines, SinkWriter, Timed
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import FrameSink, Pixels, VideoInfo

LIVE = VideoInfo((4, 6), Fraction(25), live=True)
FILE = VideoInfo((4, 6), Fraction(25), live=False)
QUICK = SinkDeadlines(
    open_s=0.3, hung_s=0.3, end_s=0.3, hurry_s=0.2, first_delay_s=0.01, longest_delay_s=0.02
)


class Hanging(MemorySink):
    """Hangs in one of its calls until it is let go."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where, self.let_go = where, threading.Event()

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        self._hang_in("open")
        super().open(info, size)

    def write(self, pixels: Pixels, pts_ns: int, duration_ns: int) -> None:
        self._hang_in("write")
        super().write(pixels, pts_ns, duration_ns)

    def close(self) -> None:
        self._hang_in("close")
        super().close()

    def _hang_in(self, where: str) -> None:
        if where == self.where:
            assert self.let_go.wait(60)


class Refusing(MemorySink):
    """Cannot be opened."""

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        raise SinkError("the port is taken")


def picture(number: int) -> Timed:
    return Timed(Picture(np.zeros((4, 6), np.uint8)), number * 40_000_000, 40_000_000)


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


@pytest.mark.parametrize("error", [SinkError("receiver gone"), RuntimeError("a fault")])
def test_a_live_sink_that_fails_is_opened_again_and_says_so(error: Exception) -> None:
    made = [MemorySink(), MemorySink(fail_at=(2, error))]
    first, second = made[1], made[0]
    writer = SinkWriter(made.pop(), "rtsp", made.pop, QUICK)
    writer.open(LIVE, (4, 6))
    assert writer.state == "open"
    number = 0
    states = set()
    while not second.pictures:
        writer.put(picture(number))
        states.add(writer.state)
        number += 1
        assert number < 2000
        threading.Event().wait(0.005)
    assert len(first.pictures) == 2
    assert any(state.startswith("lost: ") for state in states)
    assert (writer.state, writer.reopened, writer.failure) == ("open", 1, None)
    assert writer.drops > 0
    writer.finish()
    assert second.closed
    assert first.closed
    assert writer.state == "closed"


def test_one_that_is_made_again_is_told_of_the_one_before() -> None:
    class Following(MemorySink):
        followed: FrameSink | None = None

        def follow(self, before: FrameSink) -> None:
            self.followed = before

    first, second = MemorySink(fail_at=(1, SinkError("gone"))), Following()
    writer = SinkWriter(first, "srt", lambda: second, QUICK)
    writer.open(LIVE, (4, 6))
    until(lambda: bool(second.pictures) or writer.put(picture(1)) is not None)
    writer.finish()
    assert second.followed is first


@pytest.mark.alone
@pytest.mark.parametrize("hangs", [True, False])
def test_what_goes_wrong_while_a_sink_is_made_again_is_its_failure_and_another_is_made(hangs: bool) -> None:
    let_go = threading.Event()

    class Following(MemorySink):
        def follow(self, before: FrameSink) -> None:
            if not hangs:
                raise AttributeError("its pipeline is gone")
            assert let_go.wait(60)

    first, last = Hanging("write"), MemorySink()
    made: list[FrameSink] = [last, Following()]
    writer = SinkWriter(first, "srt", made.pop, QUICK)
    writer.open(LIVE, (4, 6))
    until(lambda: bool(last.pictures) or writer.put(picture(1)) is not None)
    assert writer.state == "open"
    let_go.set()
    first.let_go.set()
    until(lambda: first.closed)
    writer.finish()
    assert writer.failure is None


def test_it_is_tried_again_and_again_until_it_opens() -> None:
    good = MemorySink()
    made = [good, Refusing(), Refusing(), MemorySink(fail_at=(0, SinkError("gone")))]
    writer = SinkWriter(made.pop(), "rtsp", made.pop, QUICK)
    writer.open(LIVE, (4, 6))
    until(lambda: bool(good.pictures) or writer.put(picture(1)) is not None)
    assert not made
    writer.finish()
    assert writer.failure is None


class Full(MemorySink):
    """A recording on a full disk: it opens, and takes nothing."""

    keeps_all = True

    def __init__(self) -> None:
        super().__init__(fail_at=(0, SinkError("a.mkv: the disk is full")))


def test_what_opens_and_is_lost_at_once_is_tried_ever_more_seldom_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    deadlines = SinkDeadlines(first_delay_s=0.01, longest_delay_s=5)
    writer = SinkWriter(Full(), "a.mkv", Full, deadlines)
    writer.open(LIVE, (4, 6))
    began_s = time.monotonic()
    until(lambda: writer.reopened >= 6 or writer.put(picture(1)) is not None)
    assert time.monotonic() - began_s > 0.01 + 0.02 + 0.04 + 0.08 + 0.16 + 0.32
    writer.finish()
    losses = [line for line in caplog.records if "sink lost" in line.message]
    assert [line.levelname for line in losses].count("WARNING") == 1


@pytest.mark.parametrize("lost_by", ["failing", "hanging"])
def test_what_held_and_then_cannot_be_opened_is_tried_ever_more_seldom(lost_by: str) -> None:
    """A try began anew at the first delay each time, as if the sink had held since its earlier opening."""
    tried_s: list[float] = []

    class Counting(MemorySink):
        def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
            tried_s.append(time.monotonic())
            raise SinkError("no route to the server")

    class Holding(MemorySink):
        def write(self, pixels: Pixels, pts_ns: int, duration_ns: int) -> None:
            if time.monotonic() - began_s > 0.4:
                raise SinkError("gone")

    first = Holding() if lost_by == "failing" else Hanging("write")
    writer = SinkWriter(
        first, "rtmp", Counting, SinkDeadlines(hung_s=0.3, first_delay_s=0.01, longest_delay_s=0.3)
    )
    began_s = time.monotonic()
    writer.open(LIVE, (4, 6))
    until(lambda: len(tried_s) >= 7 or writer.put(picture(1)) is not None)
    assert tried_s[6] - tried_s[0] > 0.02 + 0.04 + 0.08 + 0.16 + 0.3 + 0.3
    if isinstance(first, Hanging):
        first.let_go.set()
    writer.finish()


@pytest.mark.parametrize("keeps", [True, False])
def test_a_recording_that_is_lost_at_the_end_has_failed(keeps: bool) -> None:
    class Taking(MemorySink):
        keeps_all = keeps

    first = Taking(fail_at=(2, SinkError("a.mkv: the disk is full")))
    writer = SinkWriter(first, "a.mkv", Taking, SinkDeadlines(first_delay_s=60))
    writer.open(LIVE, (4, 6))
    until(lambda: writer.reason is not None or writer.put(picture(1)) is not None)
    writer.finish()
    assert (writer.failure is not None) == keeps
    if keeps:
        assert str(writer.failure) == "a.mkv: the disk is full: nothing was recorded from then on"


def test_a_sink_that_does_not_open_at_the_start_is_refused_as_before() -> None:
    writer = SinkWriter(Refusing(), "rtsp", MemorySink, QUICK)
    with pytest.raises(SinkError, match="port is taken"):
        writer.open(LIVE, (4, 6))
    writer.finish()
    hanging = Hanging("open")
    writer = SinkWriter(hanging, "rtsp", MemorySink, QUICK)
    with pytest.raises(SinkError, match=r"did not open within 0\.3 s"):
        writer.open(LIVE, (4, 6))
    hanging.let_go.set()
    until(lambda: hanging.closed)


def test_a_sink_of_several_that_does_not_open_at_the_start_of_a_live_run_is_tried_until_it_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    for first in (Refusing(), hanging := Hanging("open")):
        made: list[MemorySink] = [Refusing(), MemorySink()]
        writer = SinkWriter(first, "rtsp", lambda made=made: made.pop(0), replace(QUICK, first_delay_s=0.2))
        with pytest.raises(SinkError, match=r"port is taken|did not open within 0\.3 s"):
            writer.open(LIVE, (4, 6), or_later=True)
        assert writer.failure is None
        assert not writer.opened
        assert writer.state.startswith("lost: ")
        until(lambda writer=writer: writer.state == "open")
        writer.put(picture(1))
        until(lambda writer=writer: writer.written == 1)
        writer.finish()
        assert (writer.failure, writer.opened, writer.reopened) == (None, True, 0)
        assert "sink is back" not in caplog.text
        assert "sink: rtsp, 6x4" in caplog.text
        caplog.clear()
    hanging.let_go.set()
    until(lambda: hanging.closed)


def test_how_many_pictures_a_recording_lacks_that_could_not_be_written_at_first_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Disk(MemorySink):
        keeps_all = True

    writer = SinkWriter(Refusing(), "night.mp4", Disk, replace(QUICK, first_delay_s=0.2))
    with pytest.raises(SinkError, match="port is taken"):
        writer.open(LIVE, (4, 6), or_later=True)
    for number in range(3):
        writer.put(picture(number))
    until(lambda: writer.state == "open")
    writer.put(picture(3))
    writer.finish()
    assert "night.mp4 lacks the first 3 pictures: it was not there" in caplog.text
    assert (writer.written, writer.drops) == (1, 3)


@pytest.mark.alone
def test_a_sink_that_never_was_open_is_tried_again_also_after_a_try_that_hangs() -> None:
    hanging, good = Hanging("open"), MemorySink()
    made: list[MemorySink] = [good, hanging]
    writer = SinkWriter(Refusing(), "rtsp", made.pop, QUICK)
    with pytest.raises(SinkError, match="port is taken"):
        writer.open(LIVE, (4, 6), or_later=True)
    until(lambda: bool(good.pictures) or writer.put(picture(1)) is not None)
    assert (writer.state, writer.reopened) == ("open", 0)
    hanging.let_go.set()
    until(lambda: hanging.closed)
    writer.finish()
    assert writer.failure is None


def test_that_no_output_can_be_opened_ends_the_run_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    writers = [SinkWriter(Refusing(), label, Refusing) for label in ("rtsp", "page")]
    source = MemorySource([frame(number) for number in range(5)], live=True)
    loop = Loop(source, lambda info: RedColorizer(), PlainComposer(), writers, AS_IT_IS)
    with pytest.raises(SinkError, match=r"port is taken$"):
        loop.run()
    assert "until the end" not in caplog.text
    assert [writer.state for writer in writers] == ["failed: the port is taken"] * 2


def test_a_sink_that_never_opened_has_failed_at_the_end_though_it_was_tried_again() -> None:
    writer = SinkWriter(Refusing(), "rtsp", Refusing, QUICK)
    with pytest.raises(SinkError, match="the port is taken"):
        writer.open(LIVE, (4, 6), or_later=True)
    until(lambda: writer.reason is not None)
    writer.finish()
    assert str(writer.failure) == "the port is taken: it was tried again until the end"
    assert SinkWriter(Refusing(), "file", Refusing, QUICK).opened is False
    file = SinkWriter(Refusing(), "file", Refusing, QUICK)
    with pytest.raises(SinkError, match="the port is taken"):
        file.open(FILE, (4, 6), or_later=True)  # a file's conversion has an end, which is soon
    assert file.failure is not None


def test_a_run_that_is_told_to_stop_lets_a_sink_open_in_a_moment_and_says_what_was_not_open() -> None:
    class Slow(MemorySink):
        def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
            time.sleep(0.2)
            super().open(info, size)

    stopping = threading.Event()
    stopping.set()
    writer = SinkWriter(Slow(), "page", deadlines=SinkDeadlines(open_s=60, hurry_s=10))
    writer.open(LIVE, (4, 6), stopping)
    writer.finish()
    assert writer.failure is None
    hanging = Hanging("open")
    writer = SinkWriter(hanging, "page", deadlines=SinkDeadlines(open_s=60, hurry_s=0.2))
    with pytest.raises(SinkError, match="page: was not open yet when the run was told to stop"):
        writer.open(LIVE, (4, 6), stopping)
    hanging.let_go.set()
    until(lambda: hanging.closed)


def test_a_recording_that_fails_stays_failed_and_so_does_any_sink_of_a_file() -> None:
    for info, remake in ((LIVE, None), (FILE, MemorySink)):
        writer = SinkWriter(MemorySink(fail_at=(0, SinkError("disk full"))), "a.mp4", remake, QUICK)
        writer.open(info, (4, 6))
        writer.put(picture(0))
        until(lambda writer=writer: writer.failure is not None)
        assert writer.state == "failed: disk full"
        writer.finish()
        assert writer.reopened == 0


@pytest.mark.alone
def test_a_live_sink_that_hangs_is_left_and_another_takes_over_without_a_pause() -> None:
    hanging, second = Hanging("write"), MemorySink()
    writer = SinkWriter(hanging, "rtsp", lambda: second, QUICK)
    writer.open(LIVE, (4, 6))
    number, longest_s = 0, 0.0
    while not second.pictures:
        began = time.monotonic()
        writer.put(picture(number))
        longest_s = max(longest_s, time.monotonic() - began)
        number += 1
        assert number < 2000
        threading.Event().wait(0.005)
    assert longest_s < 0.2
    assert writer.reopened == 1
    hanging.let_go.set()
    until(lambda: hanging.closed)
    writer.finish()
    assert writer.failure is None


@pytest.mark.alone
def test_a_file_that_takes_nothing_any_more_fails_instead_of_holding_the_run() -> None:
    hanging = Hanging("write")
    writer = SinkWriter(hanging, "a.mp4", None, QUICK)
    writer.open(FILE, (4, 6))
    began = time.monotonic()
    for number in range(8):
        writer.put(picture(number))
    assert time.monotonic() - began < 3
    assert "takes nothing any more" in str(writer.failure)
    writer.finish()
    hanging.let_go.set()
    until(lambda: hanging.closed)


@pytest.mark.parametrize("keeps_all", [False, True])
def test_a_recording_of_a_live_source_outlasts_a_moment_in_which_nothing_is_taken(keeps_all: bool) -> None:
    class Stalling(MemorySink):
        stalled, go_on = threading.Event(), threading.Event()

        def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
            self.stalled.set()
            assert self.go_on.wait(60)
            super().write(rgb, pts_ns, duration_ns)

    sink = Stalling()
    sink.keeps_all = keeps_all  # type: ignore[attr-defined]
    writer = SinkWriter(sink, "out.mp4")
    writer.open(LIVE, (4, 6))
    writer.put(picture(0))
    assert sink.stalled.wait(10)
    for number in range(1, 9):
        writer.put(picture(number))
    sink.go_on.set()
    writer.finish()
    assert writer.drops == (0 if keeps_all else 6)
    assert len(sink.pictures) == 9 - writer.drops
