"""What `bench gpu` measures of a device: parity with the CPU, frames a second, latency, time of each step."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.engines.device import Device
from irchroma.engines.device_chain import COLORED, DeviceChain
from irchroma.engines.device_colorizer import DeviceColorizer
from irchroma.engines.errors import EngineError
from irchroma.engines.kernel_source import Launch
from irchroma.engines.network import NetworkOptions
from irchroma.engines.neural import NeuralColorizer, NeuralOptions

Luma = NDArray[np.uint8]
OpenDevice = Callable[[], Device]

FRAME_NS = 33_333_333
_LOOP_FRAMES = 8
_STEP_REPEATS = 50
_COPY_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement.

    Attributes:
        size: (H, W) of the frames.
        streams: videos at once, each with a thread, memory and queues of its own.
        depth: frames in flight of each.
        graphs: work recorded as graphs.
    """

    size: tuple[int, int]
    streams: int
    depth: int
    graphs: bool


def moving_frames(size: tuple[int, int], count: int = _LOOP_FRAMES) -> list[Luma]:
    """A pan over smooth noise, out and back, so that it can be repeated without a cut."""
    rng = np.random.default_rng(7)
    rough = rng.normal(0, 1, (size[0] // 16 + 2, size[1] // 16 + 8)).astype(np.float32)
    wide = cv2.resize(rough, (size[1] + 64, size[0]), interpolation=cv2.INTER_CUBIC)
    wide = 110 + 40 * wide + rng.normal(0, 1.5, wide.shape)
    shifts = [4 * min(index, count - index) for index in range(count)]
    return [np.clip(wide[:, shift : shift + size[1]], 0, 255).astype(np.uint8) for shift in shifts]


def parity(open_device: OpenDevice, options: NeuralOptions, size: tuple[int, int]) -> dict[str, float]:
    """How far the device's pictures are from those of the CPU with the float32 network, in levels."""
    exact = replace(options, network=NetworkOptions(exact=True))
    ordinary, device = NeuralColorizer(exact), DeviceColorizer(options, open_device)
    differences = []
    try:
        for index, luma in enumerate(moving_frames(size) * 2):
            ordinary.submit(luma, index * FRAME_NS)
            device.submit(luma, index * FRAME_NS)
            pair = (ordinary.collect().rgb, device.collect().rgb)
            differences.append(np.abs(pair[0].astype(np.int16) - pair[1]))
    finally:
        ordinary.close()
        device.close()
    off = np.stack(differences)
    return {
        "mean_levels": round(float(off.mean()), 4),
        "share_over_4_levels": round(float((off > 4).mean()), 6),
        "largest_levels": float(off.max()),
    }


def throughput(open_device: OpenDevice, options: NeuralOptions, case: Case, seconds: float) -> dict[str, Any]:
    """Frames a second of all streams together, and milliseconds from submit to collect.

    Each stream gives its next frame as soon as a place is free: this is the most that goes through, and the
    latency that goes with it.
    """
    colorizers: list[DeviceColorizer] = []
    runs: list[_StreamRun] = []
    try:
        for _ in range(case.streams):
            colorizers.append(DeviceColorizer(options, open_device, case.depth, case.graphs))
        start, stop = threading.Event(), threading.Event()
        ready = threading.Barrier(case.streams + 1)
        frames = moving_frames(case.size)
        runs = [_StreamRun(colorizer, frames, case.depth, ready, start, stop) for colorizer in colorizers]
        for run in runs:
            run.thread.start()
        ready.wait()
        began = time.perf_counter()
        start.set()
        stop.wait(seconds)
        stop.set()
        for run in runs:
            run.thread.join()
        took_s = time.perf_counter() - began
        failed = next((run.failure for run in runs if run.failure is not None), None)
        if failed is not None:
            raise EngineError(str(failed)) from failed
        recorded = all(chain_of(one).ring.recorded > 0 for one in colorizers)
    finally:
        for colorizer in colorizers:
            colorizer.close()
    latency_ms = np.concatenate([run.latency_ms for run in runs])
    host_ms = np.concatenate([run.host_ms for run in runs])
    p50, p95, p99 = (round(float(value), 3) for value in np.percentile(latency_ms, [50, 95, 99]))
    return {
        "height": case.size[0],
        "width": case.size[1],
        "streams": case.streams,
        "depth": case.depth,
        "graphs": case.graphs,
        "graphs_recorded": recorded,
        "frames": int(latency_ms.size),
        "fps": round(latency_ms.size / took_s, 1),
        "ms_mean": round(float(latency_ms.mean()), 3),
        "ms_p50": p50,
        "ms_p95": p95,
        "ms_p99": p99,
        "host_ms_p50": round(float(np.median(host_ms)), 3),
    }


def step_times(device: Device, chain: DeviceChain) -> dict[str, float]:
    """Milliseconds of each kernel (all its launches of a frame) and of the network, run by themselves.

    Each is started fifty times in a row, so that starting it overlaps with its work.
    """
    queue, mark = device.open_queue(), device.make_mark()
    times: dict[str, float] = {}
    try:
        for step in chain.ring.steps(COLORED):
            name = step.kernel if isinstance(step, Launch) else "network"
            for repeats in (2, _STEP_REPEATS):  # the first is for warming up
                began = time.perf_counter()
                for _ in range(repeats):
                    if isinstance(step, Launch):
                        queue.launch(step)
                    else:
                        queue.infer(step)
                queue.record(mark)
                mark.wait()
                each_ms = (time.perf_counter() - began) / repeats * 1e3
            times[name] = times.get(name, 0.0) + each_ms
    finally:
        queue.close()
    return {name: round(value, 4) for name, value in times.items()}


def copy_speed(device: Device) -> dict[str, float]:
    """Gigabytes a second of pinned copies in and out."""
    queue, mark = device.open_queue(), device.make_mark()
    array, host = device.allocate((_COPY_BYTES,), np.uint8), device.pinned(_COPY_BYTES)
    found = {}
    try:
        for name in ("in", "out"):
            for repeats in (1, 8):
                began = time.perf_counter()
                for _ in range(repeats):
                    if name == "in":
                        queue.upload(host, array)
                    else:
                        queue.download(array, host)
                queue.record(mark)
                mark.wait()
                speed = repeats * _COPY_BYTES / (time.perf_counter() - began) / 1e9
            found[name] = round(speed, 2)
    finally:
        queue.close()
        device.free(array)
        device.unpin(host)
    return found


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
        depth: int,
        ready: threading.Barrier,
        start: threading.Event,
        stop: threading.Event,
    ) -> None:
        self.latency_ms: list[float] = []
        self.host_ms: list[float] = []
        self.failure: Exception | None = None
        self._colorizer, self._frames, self._depth = colorizer, frames, depth
        self._ready, self._start, self._stop = ready, start, stop
        self._submitted: deque[float] = deque()
        self._count = 0
        self.thread = threading.Thread(target=self._run, name="bench gpu stream")

    def _run(self) -> None:
        try:
            self._warm_up()
        except Exception as error:  # noqa: BLE001 (told by the thread that waits)
            self.failure = error
        self._ready.wait()
        self._start.wait()
        try:
            while not self._stop.is_set() and self.failure is None:
                self._submit()
                if len(self._submitted) == self._depth:
                    self._collect()
            while self._submitted and self.failure is None:
                self._collect()
        except Exception as error:  # noqa: BLE001
            self.failure = error
            self._stop.set()

    def _warm_up(self) -> None:
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
