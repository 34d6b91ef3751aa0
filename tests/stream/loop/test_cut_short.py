"""What a run that was told to stop lacks: all that was not colored and written in good order."""

import threading
from typing import Any

import pytest
from tests.stream.loop.fragile import Tinted, until
from tests.stream.loop.test_loop import PlainComposer, frame

from irchroma.stream.loop.fakes import MemorySink, MemorySource
from irchroma.stream.loop.loop import Loop, LoopOptions
from irchroma.stream.loop.writer import SinkDeadlines, SinkWriter
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Job
from irchroma.stream.tone.options import ToneMapOptions

PLAIN = LoopOptions(tone_map=ToneMapOptions("none"), color_camera=False)


class Gate:
    """Lets one through, and the others when it is open."""

    def __init__(self) -> None:
        self.open, self.passed = threading.Event(), 0

    def go_through(self) -> None:
        self.passed += 1
        if self.passed > 1:
            assert self.open.wait(60)


class GatedEngine(Tinted):
    def __init__(self, gate: Gate) -> None:
        super().__init__("gated")
        self.gate = gate

    def collect(self) -> Any:
        self.gate.go_through()
        return super().collect()


class GatedComposer(PlainComposer):
    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def compose(self, job: Job) -> Picture:
        self.gate.go_through()
        return super().compose(job)


class GatedSink(MemorySink):
    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    def write(self, pixels: Any, pts_ns: int, duration_ns: int) -> None:
        self.gate.go_through()
        super().write(pixels, pts_ns, duration_ns)


def begun(
    frames: int, engine: Tinted | None = None, composer: PlainComposer | None = None, sink: Any = None
) -> tuple[Loop, threading.Thread]:
    """A run whose source has given its last frame; all the others may be on their way still."""
    writer = SinkWriter(sink or MemorySink(), "memory", deadlines=SinkDeadlines(hurry_s=0.2))
    source = MemorySource([frame(number) for number in range(frames)])
    loop = Loop(source, lambda info: engine or Tinted("plain"), composer or PlainComposer(), [writer], PLAIN)
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    until(lambda: loop.reader.at_end)
    return loop, thread


def over(thread: threading.Thread) -> None:
    thread.join(20)
    assert not thread.is_alive()


def test_frames_that_go_out_without_color_since_the_run_is_stopped_are_lacking() -> None:
    gate, sink = Gate(), MemorySink()
    loop, thread = begun(5, engine=GatedEngine(gate), sink=sink)
    until(lambda: gate.passed == 2)
    loop.stop()
    over(thread)
    gate.open.set()
    assert len(sink.pictures) == 5
    assert loop.cut_short() == "stopped before the end: 1 frame was colored"


def test_pictures_that_are_left_behind_are_lacking() -> None:
    gate, sink = Gate(), MemorySink()
    loop, thread = begun(5, composer=GatedComposer(gate), sink=sink)
    until(lambda: gate.passed == 2)
    loop.stop()
    over(thread)
    gate.open.set()
    assert len(sink.pictures) == 1
    assert loop.cut_short() == "stopped before the end: 1 frame was colored"


def test_pictures_that_a_sink_did_not_take_in_time_are_lacking() -> None:
    gate = Gate()
    sink = GatedSink(gate)
    loop, thread = begun(9, sink=sink)
    until(lambda: gate.passed == 2)
    loop.stop()
    until(lambda: loop.writers[0].hurried > 0)
    gate.open.set()
    over(thread)
    assert 2 <= len(sink.pictures) < 9
    assert loop.cut_short() == f"stopped before the end: {len(sink.pictures)} frames were colored"


@pytest.mark.parametrize("when", ["under way", "over"])
def test_a_file_whose_frames_are_all_colored_lacks_nothing_though_the_run_is_stopped(when: str) -> None:
    gate, sink = Gate(), MemorySink()
    loop, thread = begun(5, engine=GatedEngine(gate), sink=sink)
    until(lambda: gate.passed == 2)
    gate.open.set()
    if when == "over":
        over(thread)
    loop.stop()
    over(thread)
    assert len(sink.pictures) == 5
    assert loop.cut_short() == ""
