"""Frames a second and latency of videos that share a device, for `bench gpu`."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.errors import EngineError
from irchroma.engines.gpu.chain import DeviceChain
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.device import Device
from irchroma.engines.gpu.frames.batching import seat_on_device
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural.colorizer import NeuralOptions

Luma = NDArray[np.uint8]
OpenDevice = Callable[[], Device]

FRAME_NS = 33_333_333
RATE, LONGEST_MS, MOST_STREAMS = 30.0, 33.0, 256
_LOOP_FRAMES = 8


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement.

    Attributes:
        size: (H, W) of the frames.
        streams: videos at once, each with a thread, memory and queues of its own.
        depth: frames in flight of each.
        graphs: work recorded as graphs.
        rate: frames a second of each video; 0 for as many as go through.
        batched: one network for all, see `engines.gpu.frames.batching`.
        scene: `pan`, whose motion the host's processor searches; `still`, with a sensor's noise.
        temporal: with the temporal stage; without it the host does next to nothing: that is the GPU's rate.
    """

    size: tuple[int, int]
    streams: int
    depth: int
    graphs: bool
    rate: float = 0.0
    batched: bool = False
    scene: str = "pan"
    temporal: bool = True


def moving_frames(size: tuple[int, int], count: int = _LOOP_FRAMES) -> list[Luma]:
    """A pan over smooth noise, out and back, so that it can be repeated without a cut."""
    rng = np.random.default_rng(7)
    rough = rng.normal(0, 1, (size[0] // 16 + 2, size[1] // 16 + 8)).astype(np.float32)
    wide = cv2.resize(rough, (size[1] + 64, size[0]), interpolation=cv2.INTER_CUBIC)
    wide = 110 + 40 * wide + rng.normal(0, 1.5, wide.shape)
    shifts = [4 * min(index, count - index) for index in range(count)]
    return [np.clip(wide[:, shift : shift + size[1]], 0, 255).astype(np.uint8) for shift in shifts]


def still_frames(size: tuple[int, int], count: int = _LOOP_FRAMES) -> list[Luma]:
    """One picture with a sensor's noise, each time another."""
    rng = np.random.default_rng(8)
    scene = moving_frames(size, 1)[0].astype(np.float32)
    noisy = (scene + rng.normal(0, 1.5, scene.shape) for _ in range(count))
    return [np.clip(frame, 0, 255).astype(np.uint8) for frame in noisy]


SCENES = {"pan": moving_frames, "still": still_frames}


def throughput(
    open_device: OpenDevice,
    options: NeuralOptions,
    case: Case,
    seconds: float,
    when_ready: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Frames a second of all streams together, and milliseconds from submit to collect.

    Without a rate each stream gives its next frame as soon as a place is free: that is the most that goes
    through, and the latency that goes with it. `cpu_ms` is what a frame takes of the host's processor, in all
    threads, copies and waits that spin among it. `when_ready` is called once all are warm.
    """
    options = replace(options, steady=options.steady and case.temporal)
    colorizers: list[DeviceColorizer] = []
    runs: list[_StreamRun] = []
    pool = SharedPool()
    seat = partial(seat_on_device, pool, ("bench", 0), open_device) if case.batched else None
    try:
        for _ in range(case.streams):
            colorizers.append(DeviceColorizer(options, open_device, case.depth, case.graphs, open_seat=seat))
        start, stop = threading.Event(), threading.Event()
        seen, ready = threading.Barrier(case.streams), threading.Barrier(case.streams + 1)
        frames = SCENES[case.scene](case.size)
        runs = [
            _StreamRun(colorizer, frames, case, (seen, ready, start, stop), index / case.streams)
            for index, colorizer in enumerate(colorizers)
        ]
        for run in runs:
            run.thread.start()
        ready.wait()
        when_ready()
        began, cpu_before_s = time.perf_counter(), time.process_time()
        start.set()
        stop.wait(seconds)
        stop.set()
        for run in runs:
            run.thread.join()
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_before_s
        failures = [run.failure for run in runs if run.failure is not None]
        if failures:
            failed = next(
                (one for one in failures if not isinstance(one, threading.BrokenBarrierError)), failures[0]
            )
            raise EngineError(str(failed)) from failed
        recorded = all(chain_of(one).ring.recorded > 0 for one in colorizers)
        batches = pool.figures()
    finally:
        for colorizer in colorizers:
            colorizer.close()
    latency_ms = np.concatenate([run.latency_ms for run in runs])
    host_ms = np.concatenate([run.host_ms for run in runs])
    p50, p95, p99 = (round(float(value), 3) for value in np.percentile(latency_ms, [50, 95, 99]))
    return {
        "height": case.size[0],
        "width": case.size[1],
        **{name: value for name, value in asdict(case).items() if name != "size"},
        "graphs_recorded": recorded,
        "frames": int(latency_ms.size),
        "fps": round(latency_ms.size / took_s, 1),
        "ms_mean": round(float(latency_ms.mean()), 3),
        "ms_p50": p50,
        "ms_p95": p95,
        "ms_p99": p99,
        "host_ms_p50": round(float(np.median(host_ms)), 3),
        "cpu_ms": round(cpu_s * 1e3 / latency_ms.size, 3),
        "frames_in_a_call": round(batches[0]["frames"] / max(batches[0]["calls"], 1), 2) if batches else 1.0,
    }


def fitting_streams(
    open_device: OpenDevice,
    options: NeuralOptions,
    size: tuple[int, int],
    seconds: float,
    batched: bool = False,
    limit_s: float = 120.0,
    measured: Callable[[list[dict[str, Any]]], None] = lambda rows: None,
) -> list[dict[str, Any]]:
    """Videos of 30 frames a second in one process, as many as it keeps up with; see `most_that_keep_up`.

    The frames of all videos come spread over the time of one.
    """

    def measure(streams: int) -> dict[str, Any]:
        row = throughput(open_device, options, Case(size, streams, 1, True, RATE, batched), seconds)
        return row | {"keeps_up": keeps_up(row)}

    return most_that_keep_up(measure, limit_s, measured)


def keeps_up(row: dict[str, Any]) -> bool:
    """A 99th percentile below LONGEST_MS, and 29 frames a second of each stream."""
    return bool(row["ms_p99"] < LONGEST_MS and row["fps"] >= 29 / 30 * RATE * row["streams"])


def most_that_keep_up(
    measure: Callable[[int], dict[str, Any]],
    limit_s: float,
    measured: Callable[[list[dict[str, Any]]], None],
    most: int | None = None,
) -> list[dict[str, Any]]:
    """Rows of `measure` for twice as many each time until it does not keep up, then between.

    Args:
        measure: from how many to a row with `keeps_up`.
        limit_s: none is begun after this time, so that what has been measured is kept.
        measured: told all rows so far after each.
        most: None for MOST_STREAMS.

    Returns:
        The rows, by `streams`; the last one says `stopped` where the time was up.
    """
    rows: list[dict[str, Any]] = []
    end_s = time.monotonic() + limit_s
    most = most or MOST_STREAMS

    def works(count: int) -> bool:
        rows.append(measure(count))
        measured(rows)
        return bool(rows[-1]["keeps_up"])

    def in_time() -> bool:
        return time.monotonic() < end_s

    low, high = 0, 1
    while high <= most and in_time() and works(high):
        low, high = high, 2 * high
    while high <= most and high - low > max(1, low // 8) and in_time():
        middle = (low + high) // 2
        low, high = (middle, high) if works(middle) else (low, middle)
    rows.sort(key=lambda row: int(row["streams"]))
    if rows and not in_time():
        rows[-1]["stopped"] = f"after {limit_s:g} seconds"
    return rows


def chain_of(colorizer: DeviceColorizer) -> DeviceChain:
    """What works on the size seen last."""
    if colorizer.chain is None:
        raise EngineError("the colorizer has seen no frame")
    return colorizer.chain


class _StreamRun:
    def __init__(
        self,
        colorizer: DeviceColorizer,
        frames: list[Luma],
        case: Case,
        signals: tuple[threading.Barrier, threading.Barrier, threading.Event, threading.Event],
        phase: float,
    ) -> None:
        self.latency_ms: list[float] = []
        self.host_ms: list[float] = []
        self.failure: Exception | None = None
        self._colorizer, self._frames, self._depth = colorizer, frames, case.depth
        self._period_s = 1 / case.rate if case.rate else 0.0
        self._seen, self._ready, self._start, self._stop = signals
        self._phase_s = phase * self._period_s
        self._submitted: deque[float] = deque()
        self._count = 0
        self.thread = threading.Thread(target=self._run, name="bench gpu stream")

    def _run(self) -> None:
        try:
            self._warm_up()
        except Exception as error:  # noqa: BLE001 (told by the thread that waits)
            self.failure = error
            self._seen.abort()
        self._ready.wait()
        self._start.wait()
        due = time.perf_counter() + self._phase_s
        try:
            while not self._stop.is_set() and self.failure is None:
                due += self._period_s
                if self._period_s:
                    self._stop.wait(max(0.0, due - time.perf_counter()))
                self._submit()
                if len(self._submitted) == self._depth or self._period_s:
                    self._collect()
            while self._submitted and self.failure is None:
                self._collect()
        except Exception as error:  # noqa: BLE001
            self.failure = error
            self._stop.set()

    def _warm_up(self) -> None:
        # In a thread's first frame networks may choose their kernels, while which nobody can record: that is
        # done once all have seen one, and not in the time that is measured.
        self._submit()
        self._collect()
        self._seen.wait()
        for _ in range(4 * self._depth):
            self._submit()
            self._collect()
        self.latency_ms.clear()
        self.host_ms.clear()

    def _submit(self) -> None:
        began = time.perf_counter()
        self._colorizer.submit(self._frames[self._count % len(self._frames)], self._count * FRAME_NS)
        self._count += 1
        self._submitted.append(began)
        self.host_ms.append((time.perf_counter() - began) * 1e3)

    def _collect(self) -> None:
        self._colorizer.collect()
        self.latency_ms.append((time.perf_counter() - self._submitted.popleft()) * 1e3)
