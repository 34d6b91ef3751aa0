"""What moves a live run on its ladder: its own slowness, and not frames that are lost elsewhere."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.waiting import wait_for

from irchroma.engines.network.network import NetworkOptions, installed
from irchroma.engines.neural.adjustable import AdjustableColorizer
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.engines.neural.speed import pace
from irchroma.launch.run import automatic
from irchroma.launch.run.automatic import Governor
from irchroma.launch.run.machine_settings import CHOSEN_KEYS
from irchroma.stream.errors import SinkError
from irchroma.stream.frame import Frame
from irchroma.stream.loop.latency import LatencyMeter
from irchroma.stream.loop.loop import Loop, LoopOptions
from irchroma.stream.loop.reader import ReconnectOptions, SourceReader
from irchroma.stream.loop.writer import SinkWriter
from irchroma.stream.protocols import FrameSink, VideoInfo
from irchroma.stream.sinks.open_sink import open_sink
from irchroma.stream.view.composer import ViewComposer

pytestmark = pytest.mark.skipif(
    not any(map(installed, ("openvino", "onnxruntime"))), reason="no runtime is installed"
)


class Camera:
    """A live source of 30 frames a second, which says that it lost some itself."""

    def __init__(self, frames: int, lost_each: int = 0) -> None:
        self._numbers: Iterator[int] = iter(range(frames))
        self._lost_each = lost_each
        self._start_s = 0.0
        self.drops = 0

    def open(self) -> VideoInfo:
        self._start_s = time.monotonic()
        return VideoInfo((64, 96), Fraction(30), live=True, frame_count=1000, description="a camera")

    def read(self, timeout_s: float) -> Frame | None:
        number = next(self._numbers, None)
        if number is None:
            return None
        time.sleep(max(0.0, self._start_s + number / 30 - time.monotonic()))
        self.drops += self._lost_each
        pixels: NDArray[np.uint8] = np.full((64, 96), 80 + number % 5, np.uint8)
        return Frame(pixels, round(number * 1e9 / 30))

    def close(self) -> None:
        pass


class Recorder:
    """A sink that keeps every picture, and whose encoder is a little too slow."""

    keeps_all, drops = True, 0

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        pass

    def write(self, rgb: Any, pts_ns: int, duration_ns: int) -> None:
        time.sleep(0.037)

    def close(self) -> None:
        pass


class Nowhere:
    """A sink that can never be opened, as a window without a screen."""

    drops = 0

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        raise SinkError("there is no screen")

    def write(self, rgb: Any, pts_ns: int, duration_ns: int) -> None:
        raise AssertionError("nothing is open")

    def close(self) -> None:
        pass


def run(
    camera: Camera,
    limit_ms: float,
    seen_px: int = 192,
    sink: FrameSink | None = None,
    colored_s: float = 1e9,
    beside: Sequence[SinkWriter] = (),
) -> Governor:
    """To the camera's end, or until so much was colored, however long the engine takes to open."""
    governor = Governor(limit_ms, "a test")
    governor.expect(VideoInfo((64, 96), Fraction(30), live=True))
    network = NetworkOptions(cache=None, threads=1, exact=True)  # whether 8 bits are faster takes two seconds
    options = NeuralOptions("nir", work_size_px=seen_px, network=network)
    writers = [SinkWriter(sink or open_sink("null"), "a sink"), *beside]
    loop = Loop(camera, lambda info: governor.open(options), ViewComposer(), writers, LoopOptions())

    def on_frame(loop: Loop) -> None:
        governor.on_frame(loop)
        if sum(governor.summary()["seconds"].values()) > colored_s:
            loop.stop()

    with suppress(*[SinkError] * len(beside)):  # of one that is never there
        loop.run(on_frame)
    return governor


def summary(governor: Governor) -> dict[str, Any]:
    said = governor.summary()
    assert sum(said["seconds"].values()) > 1
    return said


def test_a_run_that_cannot_keep_its_latency_steps_down_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    said = summary(run(Camera(3000), limit_ms=0.01, colored_s=4.0))
    assert said["changes"]
    assert said["changes"][0]["from"] == "fast at 192 px, every frame"
    assert "late of" in said["changes"][0]["reason"]
    assert 2 <= len(said["seconds"]) <= len(said["changes"]) + 1  # the last may come too late
    lines = [record.message for record in caplog.records if " -> " in record.message]
    assert len(lines) == len(said["changes"])


@pytest.mark.alone
def test_frames_that_are_lost_elsewhere_on_an_idle_machine_change_nothing() -> None:
    said = summary(run(Camera(3000, lost_each=1), limit_ms=10_000, seen_px=32, colored_s=2.0))
    assert said["changes"] == []
    assert said["now"] == "fast at 32 px, every frame"


@pytest.mark.alone
def test_pictures_that_an_output_misses_which_is_not_there_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(automatic, "_BUSY", 0.0)
    nowhere = SinkWriter(Nowhere(), "nowhere", Nowhere, patient=True)
    said = summary(run(Camera(1000), limit_ms=10_000, seen_px=32, colored_s=3, beside=[nowhere]))
    assert nowhere.drops > 60
    assert said["changes"] == []


@pytest.mark.alone
@pytest.mark.parametrize("busy", [True, False])
def test_pictures_that_wait_for_a_recording_s_encoder_are_late_where_the_engine_works_much(
    busy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automatic, "_BUSY", 0.0 if busy else 1.1)
    said = summary(run(Camera(170), limit_ms=150, seen_px=192, sink=Recorder()))
    assert bool(said["changes"]) == busy
    if busy:
        assert "0 dropped and" in said["changes"][0]["reason"]


def test_sinks_of_one_name_are_told_apart_in_what_is_late() -> None:
    governor = Governor(50.0, "test")
    governor._busy = 1.0
    writers = [SinkWriter(open_sink("null"), "null") for _ in range(2)]
    loop = Loop(
        Camera(0), lambda info: governor.open(NeuralOptions("nir")), ViewComposer(), writers, LoopOptions()
    )
    for number in range(8):
        loop.stages["compose"].add(2_000_000)
        writers[0].total.add(12_000_000)
        if number % 2:
            writers[1].total.add(10_000_000)
        assert governor._latency_s(loop) == 0.012
    writers[0].total = LatencyMeter()  # a bench counts anew meanwhile
    writers[0].total.add(15_000_000)
    loop.stages["compose"].add(2_000_000)
    assert governor._latency_s(loop) == 0.015


def test_its_figures_may_be_asked_for_while_the_loop_goes_on() -> None:
    governor = Governor(50.0, "test")
    ended, errors = threading.Event(), list[Exception]()

    def ask() -> None:
        try:
            while not ended.is_set():
                governor.summary()
        except RuntimeError as error:
            errors.append(error)

    interval_s = sys.getswitchinterval()
    asking = threading.Thread(target=ask)
    try:
        sys.setswitchinterval(1e-5)
        asking.start()
        for number in range(60_000):
            governor._seconds[str(number % 3000)] = 1.0
            if number % 3000 == 2999:
                governor._seconds = {}
    finally:
        ended.set()
        asking.join()
        sys.setswitchinterval(interval_s)
    assert not errors


def test_a_run_that_is_measured_late_is_colored_at_once_and_takes_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside other work a first measurement on two cores took 41 s, and as long there was no color."""
    monkeypatch.setattr(pace, "PATIENCE_S", 0.05)
    governor = Governor(10_000, "a test")
    governor.decides(CHOSEN_KEYS)
    governor.expect(VideoInfo((64, 96), Fraction(30), live=True), 0.0)
    (tmp_path / "compiled").mkdir()
    network = NetworkOptions(cache=tmp_path / "compiled", threads=1, exact=True)
    options = NeuralOptions("nir", beside=True, network=network)
    at_first: list[str] = []

    def on_frame(loop: Loop) -> None:
        governor.on_frame(loop)
        said = governor.summary()
        if pace._measuring.locked() and sum(said["seconds"].values()) > 0.5 and not at_first:
            at_first.append(said["now"])
            pace._measuring.release()
        if at_first and said["now"] != at_first[0]:
            loop.stop()

    pace._measuring.acquire()  # as another camera that is being measured does
    writers = [SinkWriter(open_sink("null"), "a sink")]
    camera = Camera(1800)
    loop = Loop(camera, lambda info: governor.open(options), ViewComposer(), writers, LoopOptions())
    loop.run(on_frame)
    said = governor.summary()
    assert at_first == ["fast at 160 px, every 4 frames"]
    assert f"nir {said['now']}: " in said["chosen"]
    assert "measured just now" in said["chosen"]


def late(monkeypatch: pytest.MonkeyPatch, keys: Sequence[str] = CHOSEN_KEYS) -> Governor:
    """Of a run that does not wait until it is measured."""
    monkeypatch.setattr(pace, "PATIENCE_S", 0.05)
    governor = Governor(10_000, "a test")
    governor.decides(keys)
    governor.expect(VideoInfo((64, 96), Fraction(30), live=True), 0.0)
    return governor


def test_a_run_that_cannot_be_measured_late_goes_on_in_color_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_fail, asked = threading.Event(), []

    def fails(*about: Any) -> Any:
        asked.append(about)
        assert may_fail.wait(60)
        raise RuntimeError("no memory")

    monkeypatch.setattr(automatic, "chosen_for", fails)
    governor = late(monkeypatch)
    options = NeuralOptions("nir", beside=True, network=NetworkOptions(cache=None, threads=1, exact=True))
    after: list[int] = []

    def on_frame(loop: Loop) -> None:
        governor.on_frame(loop)
        if sum(governor.summary()["seconds"].values()) > 0.3:
            may_fail.set()
        if "until" not in governor.chosen:
            after.append(loop.frames)
            if len(after) == 10:
                loop.stop()

    writers = [SinkWriter(open_sink("null"), "a sink")]
    loop = Loop(Camera(1800), lambda info: governor.open(options), ViewComposer(), writers, LoopOptions())
    loop.run(on_frame)
    cheap = "fast at 160 px, every 4 frames"
    assert governor.summary()["now"] == cheap
    assert governor.chosen == f"nir {cheap}, as this machine could not be measured: no memory"
    governor.open(options).close()
    assert len(asked) == 1, "it would fail again, and with it the engine"


def test_an_engine_that_is_opened_again_meanwhile_takes_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop may ask while it opens: what is found then is not given to the engine before it."""
    (tmp_path / "compiled").mkdir()
    network = NetworkOptions(cache=tmp_path / "compiled", threads=1, exact=True)
    options = NeuralOptions("nir", beside=True, network=network)
    options = replace(options, temporal=replace(options.temporal, color_every=1))
    governor = late(monkeypatch, CHOSEN_KEYS[:2])
    loop: Any = SimpleNamespace(
        reader=SourceReader(Camera(0), ReconnectOptions(), lambda frame: frame), guarded=None
    )
    loop.reader.info = VideoInfo((64, 96), Fraction(30), live=True)
    pace._measuring.acquire()  # as another camera that is being measured does
    first = governor.open(options)

    def found_meanwhile(*args: Any) -> AdjustableColorizer:
        pace._measuring.release()
        wait_for(lambda: governor._choosing is not None and governor._choosing.done())
        asking = threading.Thread(target=governor.on_frame, args=(loop,))
        asking.start()
        asking.join(20)
        assert not asking.is_alive()
        return AdjustableColorizer(*args)

    loop.stages, loop.writers = {name: LatencyMeter() for name in automatic._WATCHED}, []
    monkeypatch.setattr(automatic, "AdjustableColorizer", found_meanwhile)
    second = governor.open(options)
    governor.on_frame(loop)
    before = second.ladder
    second.submit(np.zeros((64, 96), np.uint8), 0)
    second.collect()
    assert "measured just now" in governor.chosen
    assert second.ladder is governor._ladder
    assert len(before) > 1
    assert set(before) <= set(second.ladder), "any of them may color by then"
    first.close()
    second.close()
