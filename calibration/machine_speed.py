"""Measures what each part of a run takes on this machine: one after the other, on the synthetic camera.

Coding too: how long every encoder that works here takes for a frame, and decoding it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irchroma.calibration.recordings import read_frames
from irchroma.engines import catalog
from irchroma.engines.network.network import NetworkOptions, open_network
from irchroma.engines.network.record import require_match
from irchroma.engines.neural.speed.ladder import MEASURED, Rung
from irchroma.engines.neural.speed.load_control import LIMIT_MS
from irchroma.engines.processor import usable_cores
from irchroma.engines.recolor.recoloring import Recoloring, RecolorOptions
from irchroma.engines.recolor.work_picture import padded, reduced, work_size
from irchroma.engines.temporal.stage import TemporalStage
from irchroma.stream.errors import StreamError
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.encoding.encoders import survey_encoders
from irchroma.stream.sinks.encoding.task import EncoderOptions
from irchroma.stream.sinks.open_sink import SinkOptions, open_sink
from irchroma.stream.tone.tone_map import ToneMap

_SUFFIX = {"h264": ".mp4", "vp9": ".webm", "vp8": ".webm"}


def measure_codecs(
    size: tuple[int, int], rate: Fraction, lumas: Sequence[NDArray[np.uint8]], note: Callable[[str], None]
) -> tuple[list[tuple[str, float]], list[str]]:
    """Encode the frames with each encoder, and decode what the first of them wrote.

    Args:
        size: (H, W) of the frames.
        rate: frames a second that the encoder is told.
        lumas: (H, W) uint8 each.
        note: called with what is measured.

    Returns:
        (`encoder x264` or `decode`, seconds a frame), best encoder first; and what could not be measured.
    """
    found: list[tuple[str, float]] = []
    missing: list[str] = []
    pictures = [np.ascontiguousarray(np.dstack([luma] * 3)) for luma in lumas]
    try:
        working = [state for state in survey_encoders(size) if state.fault is None and state.codec in _SUFFIX]
    except StreamError as error:
        return [], [f"encoders: {error}"]
    decoded = False
    with tempfile.TemporaryDirectory(prefix="irchroma-speed-") as folder:
        for state in working:
            note(f"encoder {state.name}")
            path = Path(folder) / f"{state.name}{_SUFFIX[state.codec]}"
            try:
                found.append((f"encoder {state.name}", _encode(size, rate, state.name, path, pictures)))
                if not decoded:
                    found.append(("decode", _decode(path)))
                    decoded = True
            except StreamError as error:
                missing.append(f"encoder {state.name}: {error}")
    return found, missing


def _encode(
    size: tuple[int, int], rate: Fraction, name: str, path: Path, pictures: list[NDArray[np.uint8]]
) -> float:
    """A whole file, from the first picture to the finished file, for each frame."""
    sink = open_sink(str(path), SinkOptions(encoder=EncoderOptions(name=name)))
    sink.open(VideoInfo(size=size, rate=rate, live=False, description="measurement"), size)
    period_ns = round(10**9 / rate)
    start = time.perf_counter()
    try:
        for number, picture in enumerate(pictures):
            sink.write(picture, number * period_ns, period_ns)
    finally:
        sink.close()
    return (time.perf_counter() - start) / len(pictures)


def _decode(path: Path) -> float:
    """The mean of all frames after the first: they come out of the decoder in bursts."""
    frames = read_frames(str(path))
    next(frames)
    start = time.perf_counter()
    count = sum(1 for _ in frames)
    return (time.perf_counter() - start) / max(count, 1)


FRAMES = 24
_CALLS = 9


@dataclass(frozen=True, slots=True)
class Demand:
    """What a run has to keep.

    Attributes:
        engine: `nir` or `thermal`.
        rate: frames a second.
        size: (H, W) of the camera.
        latency_ms: from arrival until composed, and in the trials until the encoder has the picture.
        runtime: see `NetworkOptions`.
        threads: of the network, 0 for the runtime's own choice.
        weights: a network of the user's own; None for those that ship.
    """

    engine: str = "nir"
    rate: Fraction = Fraction(30)
    size: tuple[int, int] = (512, 640)
    latency_ms: float = LIMIT_MS
    runtime: str = "auto"
    threads: int = 0
    weights: Path | None = None

    @property
    def sizes(self) -> tuple[str, ...]:
        """Sizes of network that there are: a calibrated one says its own.

        Raises:
            EngineOptionError: it was made for another engine.
        """
        if self.weights is None:
            return catalog.SIZES
        record = require_match(self.weights, self.engine)
        return (record.size,) if record is not None else catalog.SIZES[:1]

    def network_path(self, size: str) -> Path:
        """The file of a size's network."""
        return self.weights or catalog.weights_path(self.engine, size)

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

    def call_ms(self, rung: Rung) -> float:
        """Of a rung's network; from the measured one nearest in work, where it was not measured itself."""
        stage = self.calls.get((rung.size, rung.seen_px))
        if stage is not None:
            return stage.median_ms
        known = [(Rung(size, px), stage.median_ms) for (size, px), stage in self.calls.items()]
        near, ms = min(known, key=lambda one: abs(np.log(one[0].work / rung.work)))
        return ms * rung.work / near.work


def measure(demand: Demand, note: Callable[[float, str], None]) -> MachineSpeed:
    """Measure this machine for a demand.

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
    wanted = [(size, px) for size in demand.sizes for px in MEASURED[demand.engine, size]]
    first = demand.sizes[0]
    for number, (size, px) in enumerate(wanted):
        note(0.1 + 0.5 * number / len(wanted), f"{size} at {px} px")
        calls[size, px], runtime = _network(demand, size, px, lumas[0])
    for number, px in enumerate((320, 416)):
        note(0.6 + 0.1 * number, f"steadying and upsampling at {px} px")
        stages += _color(demand, px, lumas)
    exact, name = _network(demand, first, 320, lumas[0], exact=True)
    stages.append(replace(exact, name=f"{name}: {first} at 320 px"))
    coded, missing = measure_codecs(demand.size, demand.rate, lumas, lambda what: note(0.8, what))
    stages += [stage_of(name, [seconds]) for name, seconds in coded]
    note(1.0, "done")
    return MachineSpeed(tuple(stages), calls, runtime, usable_cores(), tuple(missing))


def _tone_map(frames: Sequence[NDArray[np.uint8] | NDArray[np.uint16]]) -> Stage:
    tone_map = ToneMap()
    times = []
    for number, frame in enumerate(frames):
        start = time.perf_counter()
        tone_map.apply(frame, number * 33_333_333)
        times.append(time.perf_counter() - start)
    return stage_of("tone map", times[2:])


def _network(
    demand: Demand, size: str, px: int, luma: NDArray[np.uint8], exact: bool = False
) -> tuple[Stage, str]:
    options = NetworkOptions(demand.runtime, demand.threads, exact=exact)
    network = open_network(demand.network_path(size), options)
    seen = padded(reduced(luma, work_size((luma.shape[0], luma.shape[1]), px)))
    try:
        for _ in range(3):
            network.infer(seen)
        times = []
        for _ in range(_CALLS):
            start = time.perf_counter()
            network.infer(seen)
            times.append(time.perf_counter() - start)
        return stage_of(f"{size} at {px} px", times), network.name
    finally:
        network.close()


def _color(demand: Demand, px: int, lumas: list[NDArray[np.uint8]]) -> list[Stage]:
    """Time what follows the network: its color is steadied, and put on the frame."""
    stage, look = TemporalStage(), catalog.BANDS[demand.engine].look
    recoloring = Recoloring(RecolorOptions(), look)
    height, width = work_size(demand.size, px)
    slope = np.linspace(-0.1, 0.1, width, dtype=np.float32)
    ycc = np.dstack([np.full((height, width), 0.4, np.float32), *(np.tile(slope, (height, 1)),) * 2])
    confidence = np.full((height, width), 0.8, np.float32)
    steadying, upsampling = [], []
    for number, luma in enumerate(lumas):
        small = reduced(luma, (height, width))
        start = time.perf_counter()
        seen = stage.observe(small, round(number * 1e6 * demand.period_ms))
        color, sureness = stage.update(seen, ycc, confidence)
        middle = time.perf_counter()
        recoloring.apply(luma, small, color, sureness)
        steadying.append(middle - start)
        upsampling.append(time.perf_counter() - middle)
    return [
        stage_of(f"steadying at {px} px", steadying[2:]),
        stage_of(f"upsampling from {px} px", upsampling[2:]),
    ]


def stage_of(name: str, seconds: list[float]) -> Stage:
    """A part from its measured times, seconds."""
    milliseconds = np.asarray(seconds) * 1e3
    return Stage(name, float(np.median(milliseconds)), float(np.percentile(milliseconds, 95)))
