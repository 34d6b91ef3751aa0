"""The loop from source to sinks, with real threads and sources and sinks in memory."""

import dataclasses
import itertools
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.waiting import wait_for

from irchroma.stream.errors import SinkError, SourceError, SourceLost, StreamError
from irchroma.stream.frame import Frame
from irchroma.stream.loop.fakes import MemorySink, MemorySource, Step
from irchroma.stream.loop.interruptible import Deadlines
from irchroma.stream.loop.loop import Loop, LoopOptions
from irchroma.stream.loop.raw_keeper import RawKeeper
from irchroma.stream.loop.reader import ReconnectOptions
from irchroma.stream.loop.writer import SinkWriter
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Job
from irchroma.stream.tone.options import ToneMapOptions

PERIOD_NS = 40_000_000
QUICK = LoopOptions(
    reconnect=ReconnectOptions(stall_s=0.3, first_delay_s=0.01, longest_delay_s=0.02),
    repeat_s=0.2,
)

AS_IT_IS = dataclasses.replace(QUICK, tone_map=ToneMapOptions("none"))  # what comes out is what went in


class Painted(NamedTuple):
    rgb: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None = None


class RedColorizer:
    """Puts luma into the red channel; counts its frames and can break at one of them."""

    name, synthetic = "red", False

    def __init__(self, depth: int = 1, breaks_at: int | None = None) -> None:
        self.depth, self.breaks_at = depth, breaks_at
        self.submitted = self.resets = 0
        self.waiting: deque[NDArray[np.uint8]] = deque()

    def submit(
        self, luma: NDArray[np.uint8], pts_ns: int, *, counts: object = None, held: bool = False
    ) -> None:
        assert len(self.waiting) < self.depth
        self.submitted += 1
        if self.submitted == self.breaks_at:
            raise RuntimeError("out of memory")
        self.waiting.append(luma)

    def collect(self) -> Painted:
        luma = self.waiting.popleft()
        rgb = np.zeros((*luma.shape, 3), np.uint8)
        rgb[..., 0] = luma
        return Painted(rgb)

    def reset(self) -> None:
        assert not self.waiting
        self.resets += 1

    def close(self) -> None:
        self.waiting.clear()


class PlainComposer:
    """Color where there is some, else gray; a card is blue."""

    def compose(self, job: Job) -> Picture:
        if job.colored is not None:
            return Picture(job.colored.rgb)
        if job.camera_rgb is not None:
            return Picture(job.camera_rgb)
        return Picture(np.repeat(job.luma[..., None], 3, axis=2))

    def no_signal(self, silent_s: float, reason: str) -> Picture:
        card = np.zeros((4, 6, 3), np.uint8)
        card[..., 2] = 255
        return Picture(card)


def frame(number: int, value: int | None = None) -> Frame:
    return Frame(np.full((4, 6), number if value is None else value, np.uint8), number * PERIOD_NS, PERIOD_NS)


def made(
    steps: Iterator[Step] | list[Step],
    live: bool = False,
    engine: RedColorizer | None = None,
    sink: MemorySink | None = None,
) -> tuple[Loop, MemorySink, RedColorizer]:
    engine, sink = engine or RedColorizer(), sink or MemorySink()
    writer = SinkWriter(sink, "memory")
    return (
        Loop(MemorySource(steps, live), lambda info: engine, PlainComposer(), [writer], AS_IT_IS),
        sink,
        engine,
    )


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_frame_of_a_file_comes_out_in_order_with_its_pts(depth: int) -> None:
    loop, sink, _ = made([frame(n) for n in range(60)], engine=RedColorizer(depth))
    loop.run()
    assert [int(p[0, 0, 0]) for p in sink.pictures] == list(range(60))
    assert sink.pts_ns == [n * PERIOD_NS for n in range(60)]
    assert set(sink.durations_ns) == {PERIOD_NS}
    assert sink.closed
    assert loop.stages["color"].count == 60


def test_an_engine_that_breaks_lets_the_raw_picture_through() -> None:
    loop, sink, _ = made([frame(n) for n in range(10)], engine=RedColorizer(breaks_at=5))
    loop.run()
    assert len(sink.pictures) == 10
    assert sink.pictures[3][0, 0, 1] == 0
    assert sink.pictures[4][0, 0].tolist() == [4, 4, 4]
    assert sink.pictures[9][0, 0].tolist() == [9, 9, 9]
    assert loop.guarded is not None
    assert loop.guarded.failures == 1


def test_an_engine_that_cannot_be_made_ends_the_run_at_once() -> None:
    def make(info: object) -> RedColorizer:
        raise StreamError("no such engine")

    loop = Loop(MemorySource([frame(0)]), make, PlainComposer(), [], QUICK)
    with pytest.raises(StreamError, match="no such engine"):
        loop.run()


def test_a_lost_source_is_bridged_by_the_last_picture_then_a_card_then_color() -> None:
    sink = MemorySink()

    def steps() -> Iterator[Step]:
        loop.use(AS_IT_IS.tone_map, False, 60)  # until the last picture was seen again
        yield frame(0, 50)
        yield SourceLost("cable pulled")
        deadline = time.monotonic() + 10
        while not (sink.pictures and sink.pictures[-1][0, 0, 2] == 255):
            assert time.monotonic() < deadline
            loop.use(AS_IT_IS.tone_map, False, 0.2 if len(sink.pictures) > 1 else 60)
            yield SourceError("refused")
        for number in range(3):
            yield frame(number, 60)
        loop.stop()

    loop, sink, _ = made(steps(), live=True, sink=sink)
    loop.run()
    kinds = [tuple(p[0, 0].tolist()) for p in sink.pictures]
    assert kinds[:2] == [(50, 0, 0), (50, 0, 0)]
    card = kinds.index((0, 0, 255))
    assert (60, 0, 0) in kinds[card:]
    assert sink.pts_ns == sorted(set(sink.pts_ns))


def test_a_sink_that_fails_ends_the_run_with_its_error() -> None:
    sink = MemorySink(fail_at=(3, SinkError("disk full")))
    loop, sink, _ = made((frame(n) for n in range(10_000)), sink=sink)
    with pytest.raises(SinkError, match="disk full"):
        loop.run()
    assert len(sink.pictures) == 3
    assert loop.frames < 100
    assert sink.closed


def test_a_run_ends_when_composing_fails_while_the_next_frame_waits_for_the_engine() -> None:
    class Failing(PlainComposer):
        def compose(self, job: Job) -> Picture:
            deadline = time.monotonic() + 10.0
            while (
                len(loop._composing.jobs) < 1 and time.monotonic() < deadline
            ):  # the next frame is with the engine
                time.sleep(0.001)
            raise StreamError("no letters")

    writers = [SinkWriter(MemorySink(), "memory")]
    source = MemorySource([frame(n) for n in range(50)])
    loop = Loop(source, lambda info: RedColorizer(depth=1), Failing(), writers, QUICK)
    with pytest.raises(StreamError, match="no letters"):
        loop.run()


def test_one_failing_sink_leaves_the_others_their_frames_but_is_reported() -> None:
    good, bad = MemorySink(), MemorySink(fail_at=(1, SinkError("receiver gone")))
    writers = [SinkWriter(bad, "bad"), SinkWriter(good, "good")]
    source = MemorySource([frame(n) for n in range(20)])
    with pytest.raises(SinkError, match="receiver gone"):
        Loop(source, lambda info: RedColorizer(), PlainComposer(), writers, QUICK).run()
    assert len(good.pictures) == 20


def test_a_broken_file_keeps_the_frames_so_far() -> None:
    loop, sink, _ = made([*(frame(n) for n in range(7)), SourceError("truncated")])
    with pytest.raises(SourceError, match="truncated"):
        loop.run()
    assert len(sink.pictures) == 7
    assert sink.closed


class SlowColorizer(RedColorizer):
    def collect(self) -> Painted:
        time.sleep(0.05)
        return super().collect()


def test_every_frame_of_a_camera_is_in_the_raw_track_though_its_engine_is_too_slow_for_most() -> None:
    def camera() -> Iterator[Step]:
        for number in range(100):
            yield 0.002
            yield Frame(np.full((4, 6), 8000 + number, np.uint16), number * 2_000_000)
        wait_for(lambda: len(raw.pictures) == 100)
        loop.stop()

    raw, shown = MemorySink(), MemorySink()
    raw_writer = SinkWriter(raw, "raw", patient=True)
    loop = Loop(
        MemorySource(camera(), live=True),
        lambda _: SlowColorizer(),
        PlainComposer(),
        [SinkWriter(shown, "shown")],
        QUICK,
        raw=RawKeeper(raw_writer),
    )
    loop.run()
    assert [int(p[0, 0]) for p in raw.pictures] == list(range(8000, 8100))
    assert loop.frames < 60
    assert loop.reader.drops + loop.reader.passed == 100 - loop.frames
    assert raw_writer.drops == 0


def test_counts_reach_the_raw_track_untouched() -> None:
    counts = [np.full((4, 6), 8000 + n, np.uint16) for n in range(5)]
    raw = MemorySink()
    loop = Loop(
        MemorySource([Frame(c, n * PERIOD_NS) for n, c in enumerate(counts)]),
        lambda info: RedColorizer(),
        PlainComposer(),
        [SinkWriter(MemorySink(), "color")],
        QUICK,
        raw=RawKeeper(SinkWriter(raw, "raw")),
    )
    loop.run()
    assert [int(p[0, 0]) for p in raw.pictures] == [8000, 8001, 8002, 8003, 8004]


def test_a_change_of_size_resets_the_engine_and_goes_on() -> None:
    small = [frame(n) for n in range(3)]
    large = [Frame(np.zeros((8, 12), np.uint8), n * PERIOD_NS) for n in range(3, 6)]
    loop, sink, engine = made([*small, *large], engine=RedColorizer(depth=2))
    loop.run()
    assert [p.shape[:2] for p in sink.pictures] == [(4, 6)] * 3 + [(8, 12)] * 3
    assert engine.resets == 1


def test_a_camera_in_color_passes_through_until_it_goes_monochrome(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "irchroma")
    day = np.random.default_rng(1).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    steps = [Frame(day, n * PERIOD_NS) for n in range(40)]
    steps[20] = frame(20, 7)  # a picture of snow: gray for a moment
    steps += [frame(n, 99) for n in range(40, 400)]
    loop, sink, engine = made(list(steps))
    loop.run()
    np.testing.assert_array_equal(sink.pictures[5], day)
    assert [sink.pictures[at][0, 0].tolist() for at in (20, -1)] == [[7, 7, 7], [99, 0, 0]]
    assert 0 < engine.submitted < 360
    assert [line.split()[2] for line in caplog.messages if line.startswith("pictures are ")] == ["in", "gray"]


def test_stop_ends_an_endless_run_in_good_order() -> None:
    def endless() -> Iterator[Step]:
        number = 0
        while True:
            yield frame(number, 1)
            number += 1

    loop, sink, _ = made(endless())
    timer = threading.Timer(0.2, loop.stop)
    timer.start()
    loop.run()
    timer.join()
    assert sink.closed
    assert len(sink.pictures) == loop.frames


def test_a_source_without_frames_is_an_error() -> None:
    def steps() -> Iterator[Step]:
        yield 0.0

    loop, _, _ = made(steps())
    with pytest.raises(SourceError, match="no video frames"):
        loop.run()


class HungColorizer(RedColorizer):
    """Does not return from its tenth `collect`."""

    def __init__(self) -> None:
        super().__init__(depth=2)
        self.collected, self.let_go = 0, threading.Event()

    def collect(self) -> Painted:
        self.collected += 1
        if self.collected >= 10:
            assert self.let_go.wait(60)
        return super().collect()


@pytest.mark.alone
def test_a_hung_engine_stops_neither_the_pictures_nor_the_end_of_the_run() -> None:
    def camera() -> Iterator[Step]:
        for number in range(10_000):
            yield frame(number, 1)
            yield 0.01

    engine, sink = HungColorizer(), MemorySink()
    options = dataclasses.replace(QUICK, deadlines=Deadlines(answer_s=0.3, hung_s=1.0, first_s=1.0))
    composer, reasons = PlainComposer(), list[str | None]()

    class Noting(PlainComposer):
        def compose(self, job: Job) -> Picture:
            reasons.append(job.reason)
            return composer.compose(job)

    loop = Loop(
        MemorySource(camera(), live=True),
        lambda info: engine,
        Noting(),
        [SinkWriter(sink, "memory")],
        options,
    )
    running = threading.Thread(target=loop.run, daemon=True)
    running.start()
    times = []
    deadline = time.monotonic() + 20
    while not any("hangs" in (reason or "") for reason in reasons):
        times.append((time.monotonic(), len(sink.pictures)))
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)
    pauses = [after - before for (before, n), (after, m) in itertools.pairwise(_changes(times))]
    assert max(pauses) < 1.0
    assert {"no answer from the engine for 0.3 s"} <= set(reasons)
    began = time.monotonic()
    loop.stop()
    running.join(10)
    assert time.monotonic() - began < 3
    assert not running.is_alive()
    assert sink.closed
    engine.let_go.set()


def _changes(times: list[tuple[float, int]]) -> list[tuple[float, int]]:
    return [times[0], *(now for before, now in itertools.pairwise(times) if now[1] != before[1])]


def test_a_picture_that_cannot_be_taken_out_of_the_engine_goes_out_raw() -> None:
    class Broken:
        confidence = None

        @property
        def rgb(self) -> NDArray[np.uint8]:
            raise RuntimeError("the device's memory is gone")

    class Lazy(RedColorizer):
        def collect(self) -> Painted:
            painted = super().collect()
            return Broken() if self.submitted == 3 else painted  # type: ignore[return-value]

    loop, sink, _ = made([frame(n, 7) for n in range(6)], engine=Lazy())
    loop.run()
    assert len(sink.pictures) == 6
    assert sink.pictures[2][0, 0].tolist() == [7, 7, 7]
    assert loop.guarded is not None
    assert loop.guarded.failures == 1


def test_everything_is_let_go_of_though_the_source_fails_over_it() -> None:
    class Bad(MemorySource):
        def close(self) -> None:
            raise RuntimeError("a fault in the driver")

    engine, sink = RedColorizer(), MemorySink()
    closed = []
    engine.close = lambda: closed.append(True)  # type: ignore[method-assign]
    loop = Loop(
        Bad([frame(n) for n in range(5)]), lambda i: engine, PlainComposer(), [SinkWriter(sink, "m")], QUICK
    )
    loop.run()
    assert sink.closed
    assert closed
    assert len(sink.pictures) == 5
