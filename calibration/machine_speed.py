"""Measures what each part of a run takes on this machine: one after the other, on the synthetic camera."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.recordings import read_frames
from irchroma.engines import catalog
from irchroma.engines.ladder import MEASURED, Rung
from irchroma.engines.network import NetworkOptions, open_network
from irchroma.engines.neural import NeuralColorizer, NeuralOptions
from irchroma.engines.seen import padded, reduced, work_size
from irchroma.stream.errors import StreamError
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoders import EncoderOptions, survey_encoders
from irchroma.stream.sinks.sink_uri import SinkOptions, open_sink
from irchroma.stream.tone_map import ToneMap

FRAMES = 24
_CALLS = 9
_SUFFIX = {"h264": ".mp4", "vp9": ".webm", "vp8": ".webm"}


@dataclass(frozen=True, slots=True)
class Demand:
    """What a run has to keep.

    Attributes:
        engine: `nir` or `thermal`.
        rate: frames a second.
        size: (H, W) of the camera.
        latency_ms: from arrival until composed.
        runtime: see `NetworkOptions`.
        threads: of the network, 0 for the runtime's own choice.
    """

    engine: str = "nir"
    rate: Fraction = Fraction(30)
    size: tuple[int, int] = (512, 640)
    latency_ms: float = 50.0
    runtime: str = "auto"
    threads: int = 0

    @property
    def period_ms(self) -> float:
        """Between two frames."""
        return float(1000 / self.rate)


@dataclass(frozen=True, slots=True)
class Stage:
    """Milliseconds of one part of a run, for one frame: median and 95th percentile."""

    name: str
    median_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class MachineSpeed:
    """What was measured.

    Attributes:
        stages: everything but the networks: `decode`, `tone map`, `steadying at 320 px` ...
        calls: (size, what the network sees) -> its stage.
        runtime: that the networks ran in.
        cores: that this process may use.
        missing: what could not be measured, and why.
    """

    stages: tuple[Stage, ...]
    calls: dict[tuple[str, int], Stage]
    runtime: str
    cores: int
    missing: tuple[str, ...] = ()

    def stage(self, name: str) -> Stage | None:
        """By its name; None where it was not measured."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def encoders(self) -> list[Stage]:
        """Those that work here, fastest first."""
        found = [stage for stage in self.stages if stage.name.startswith("encoder ")]
        return sorted(found, key=lambda stage: stage.median_ms)

    def call_ms(self, rung: Rung) -> float:
        """Of a rung's network; from the measured one nearest in work, where it was not measured itself."""
        stage = self.calls.get((rung.size, rung.seen_px))
        if stage is not None:
            return stage.median_ms
        known = [(Rung(size, px), stage.median_ms) for (size, px), stage in self.calls.items()]
        near, ms = min(known, key=lambda one: abs(np.log(one[0].macs / rung.macs)))
        return ms * rung.macs / near.macs


def measure(demand: Demand, note: Callable[[float, str], None], quick: bool = False) -> MachineSpeed:
    """Measure this machine for a demand; `quick` leaves out encoders, decoding and most networks.

    Args:
        demand: band, size, rate, runtime.
        note: called with the share done and what is measured.

    Raises:
        EngineError: no network runs here.
    """
    height, width = demand.size
    camera = f"test:{demand.engine}?size={width}x{height}&frames={FRAMES}&rate={demand.rate}"
    note(0.0, "frames")
    frames = [frame.pixels for frame in read_frames(camera)]
    stages = [_tone_map(frames)]
    lumas = [ToneMap().apply(frame, 0) for frame in frames]
    calls: dict[tuple[str, int], Stage] = {}
    runtime = ""
    wanted = [(size, px) for size in catalog.SIZES for px in MEASURED[demand.engine, size]]
    if quick:
        wanted = [("fast", 320)]
    for number, (size, px) in enumerate(wanted):
        note(0.1 + 0.5 * number / len(wanted), f"{size} at {px} px")
        calls[size, px], runtime = _network(demand, size, px, lumas[0])
    for number, px in enumerate((320,) if quick else (320, 416)):
        note(0.6 + 0.1 * number, f"steadying and upsampling at {px} px")
        stages += _color(demand, px, lumas, calls["fast", px].median_ms)
    missing: list[str] = []
    if not quick:
        coded, missing = _video(demand, lumas, note)
        stages += coded
    note(1.0, "done")
    return MachineSpeed(tuple(stages), calls, runtime, len(os.sched_getaffinity(0)), tuple(missing))


def _tone_map(frames: Sequence[NDArray[np.uint8] | NDArray[np.uint16]]) -> Stage:
    tone_map = ToneMap()
    times = []
    for number, frame in enumerate(frames):
        start = time.perf_counter()
        tone_map.apply(frame, number * 33_333_333)
        times.append(time.perf_counter() - start)
    return _stage("tone map", times[2:])


def _network(demand: Demand, size: str, px: int, luma: NDArray[np.uint8]) -> tuple[Stage, str]:
    options = NetworkOptions(demand.runtime, demand.threads)
    network = open_network(catalog.weights_path(demand.engine, size), options)
    seen = padded(reduced(luma, work_size((luma.shape[0], luma.shape[1]), px)))
    try:
        for _ in range(3):
            network.infer(seen)
        times = []
        for _ in range(_CALLS):
            start = time.perf_counter()
            network.infer(seen)
            times.append(time.perf_counter() - start)
        return _stage(f"{size} at {px} px", times), network.name
    finally:
        network.close()


def _color(demand: Demand, px: int, lumas: list[NDArray[np.uint8]], call_ms: float) -> list[Stage]:
    """What surrounds the network: steadying in `submit`, upsampling in `collect`."""
    network = NetworkOptions(demand.runtime, demand.threads)
    colorizer = NeuralColorizer(NeuralOptions(demand.engine, "fast", px, network=network))
    steadying, upsampling = [], []
    try:
        for number, luma in enumerate(lumas):
            start = time.perf_counter()
            colorizer.submit(luma, round(number * 1e6 * demand.period_ms))
            middle = time.perf_counter()
            colorizer.collect()
            steadying.append(max(0.0, middle - start - call_ms / 1e3))
            upsampling.append(time.perf_counter() - middle)
    finally:
        colorizer.close()
    return [
        _stage(f"steadying at {px} px", steadying[4:]),
        _stage(f"upsampling from {px} px", upsampling[4:]),
    ]


def _video(
    demand: Demand, lumas: list[NDArray[np.uint8]], note: Callable[[float, str], None]
) -> tuple[list[Stage], list[str]]:
    """Encoders that work here, and decoding what the first of them wrote."""
    stages: list[Stage] = []
    missing: list[str] = []
    pictures = [np.ascontiguousarray(np.dstack([luma] * 3)) for luma in lumas]
    decoded = False
    with tempfile.TemporaryDirectory(prefix="irchroma-speed-") as folder:
        try:
            working = [state for state in survey_encoders(demand.size) if state.fault is None]
        except StreamError as error:
            return [], [f"encoders: {error}"]
        for number, state in enumerate(working):
            note(0.75 + 0.2 * number / len(working), f"encoder {state.name}")
            path = Path(folder) / f"{state.name}{_SUFFIX[state.codec]}"
            try:
                stages.append(_encoder(demand, state.name, path, pictures))
                if not decoded:
                    stages.append(_decoding(path))
                    decoded = True
            except StreamError as error:
                missing.append(f"encoder {state.name}: {error}")
    return stages, missing


def _encoder(demand: Demand, name: str, path: Path, pictures: list[NDArray[np.uint8]]) -> Stage:
    """A whole file, from first picture to the finished file: what a frame costs when all of them wait."""
    sink = open_sink(str(path), SinkOptions(encoder=EncoderOptions(name=name)))
    info = VideoInfo(size=demand.size, rate=demand.rate, live=False, counts=False, description="measurement")
    sink.open(info, demand.size)
    period_ns = round(1e6 * demand.period_ms)
    start = time.perf_counter()
    try:
        for number, picture in enumerate(pictures):
            sink.write(picture, number * period_ns, period_ns)
    finally:
        sink.close()
    return _stage(f"encoder {name}", [(time.perf_counter() - start) / len(pictures)])


def _decoding(path: Path) -> Stage:
    """The mean of all frames after the first: they come out of the decoder in bursts."""
    frames = read_frames(str(path))
    next(frames)
    start = time.perf_counter()
    count = sum(1 for _ in frames)
    return _stage("decode", [(time.perf_counter() - start) / max(count, 1)])


def _stage(name: str, seconds: list[float]) -> Stage:
    milliseconds = np.asarray(seconds) * 1e3
    return Stage(name, float(np.median(milliseconds)), float(np.percentile(milliseconds, 95)))
