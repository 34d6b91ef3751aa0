"""What `bench gpu` measures of a device beside throughput: parity with the CPU, steps, networks, copies.

A runtime is held against torch by itself, and against what the device can do at the most.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from irchroma.engines.gpu.capture.branches import branched, plan_branches
from irchroma.engines.gpu.chain import COLORED, DeviceChain
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.device import CaptureRefused, Device, DeviceArray, DeviceNetwork, Mark, WorkQueue
from irchroma.engines.gpu.kernels.source import Launch
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.network.weight_storage import float16_twin
from irchroma.engines.neural.colorizer import NeuralColorizer, NeuralOptions
from irchroma.launch.bench.gpu.throughput import FRAME_NS, OpenDevice, moving_frames


class Parts:
    """Results of measurements, filled in one by one.

    Attributes:
        found: what has been measured; `errors` in it says what has not, and why.
    """

    def __init__(
        self, changed: Callable[[], None] = lambda: None, found: dict[str, Any] | None = None
    ) -> None:
        """Args:
        changed: called after each part, such as to write a file.
        found: filled; None for one of its own.
        """
        self.found: dict[str, Any] = {} if found is None else found
        self._changed = changed

    def attempt(self, name: str, work: Callable[[], Any]) -> bool:
        """Measure something; False where it failed."""
        worked = True
        try:
            self.found[name] = work()
        except Exception as error:  # noqa: BLE001 (whatever it is, the other parts are measured)
            reason = (str(error).splitlines() or [""])[0] or type(error).__name__
            self.found.setdefault("errors", {})[name] = reason
            print(f"{name} failed: {reason}")
            worked = False
        self._changed()
        return worked

    def note(self, name: str, value: Any) -> None:
        """What a part has so far: it stays where the part fails, or ends with its process."""
        self.found[name] = value
        self._changed()

    def inner(self, name: str) -> Parts:
        """Results within these."""
        return Parts(self._changed, self.found.setdefault(name, {}))


def what_failed(found: dict[str, Any]) -> dict[str, str]:
    """Part -> why it was not measured, of all parts within parts."""
    failed = dict(found.get("errors", {}))
    for name, inner in found.items():
        if isinstance(inner, dict) and name != "errors":
            failed |= {f"{name}, {part}": why for part, why in what_failed(inner).items()}
    return failed


def no_torch(index: int) -> str | None:
    """Why torch cannot be measured here; None where it can."""
    if find_spec("torch") is None:
        return "torch is not installed: pip install 'irchroma[train]'"
    from irchroma.launch.bench.gpu import torch_speed

    return torch_speed.missing(index)


def compare(
    parts: Parts, path: Path, size: tuple[int, int], batches: tuple[int, ...], seconds: float, device: str
) -> None:
    """Fill in torch's ways of running the network, each by itself, and the device's limits."""
    from irchroma.launch.bench.gpu import torch_speed

    limits = parts.inner("limits")
    limits.attempt("copy_gb_s", lambda: round(torch_speed.copy_gb_s(device, seconds), 2))
    limits.attempt("matrix_tflop_s", lambda: round(torch_speed.matrix_tflop_s(device, seconds), 6))
    limits.attempt("network_fp16", lambda: _cost(float16_twin(path), size))
    limits.attempt("network_fp32", lambda: _cost(path, size))
    ways = parts.inner("torch")
    for way in torch_speed.WAYS:
        rows = ways.inner(way)
        for frames in batches if way == "eager fp16" else (1, batches[-1]):

            def measured(way: str = way, frames: int = frames) -> dict[str, Any]:
                call = torch_speed.plain_network(path, (frames, 1, *size), way, device)
                single, each_ms = torch_speed.times_ms(call, device, seconds)
                return {
                    "call_ms": percentiles(single),
                    "in_a_row_ms": round(each_ms, 5),
                    "frames_per_second": round(frames / each_ms * 1e3, 1),
                }

            rows.attempt(f"batch {frames}", measured)


def _cost(path: Path, size: tuple[int, int]) -> dict[str, int]:
    from irchroma.launch.bench.gpu import torch_speed

    return torch_speed.network_cost(path, (1, 1, *size))


def judge(results: dict[str, Any]) -> dict[str, Any]:
    """How much faster each runtime is than torch's ways, and its share of what the device can do.

    A runtime's network is held against `eager fp16` and the others at batch 1, by calls started in a row. Its
    limit is the longer one of its operations at the measured rate of matrices and its bytes at the measured
    rate of copies; a kernel's is its bytes alone. A part that is missing leaves its number out.
    """
    comparison = results.get("comparison", {})
    limits = comparison.get("limits", {})
    verdicts: dict[str, Any] = {}
    for runtime, found in results.get("runtimes", {}).items():
        single = next((row for row in found.get("network", []) if row["frames"] == 1), None)
        verdict: dict[str, Any] = {}
        if single is not None:
            for way, rows in comparison.get("torch", {}).items():
                other = rows.get("batch 1")
                if other is not None:
                    ratio = other["in_a_row_ms"] / single["in_a_row_ms"]
                    verdict[f"times_as_fast_as_torch_{way.replace(' ', '_')}"] = round(ratio, 2)
            floor_ms = _network_floor_ms(single["name"], limits)
            if floor_ms is not None:
                verdict["network_share_of_limit"] = round(floor_ms / single["in_a_row_ms"], 4)
        steps = {name: step for name, step in found.get("steps_ms", {}).items() if step["bytes"]}
        if steps and "copy_gb_s" in limits:
            floor_ms = sum(step["bytes"] for step in steps.values()) / limits["copy_gb_s"] / 1e6
            share = floor_ms / sum(step["mean"] for step in steps.values())
            verdict["kernels_share_of_limit"] = round(share, 4)
        for key in ("live_streams", "live_streams_batched", "live_streams_by_processes"):
            fit = [row["streams"] for row in found.get(key, []) if row["keeps_up"]]
            if key in found:
                verdict[f"{key}_that_fit"] = max(fit, default=0)
        verdicts[runtime] = verdict
    return verdicts


def _network_floor_ms(name: str, limits: dict[str, Any]) -> float | None:
    cost = limits.get("network_fp16" if "fp16" in name else "network_fp32")
    if cost is None or "copy_gb_s" not in limits or "matrix_tflop_s" not in limits:
        return None
    computing_ms: float = cost["flops"] / limits["matrix_tflop_s"] / 1e9
    moving_ms: float = cost["bytes"] / limits["copy_gb_s"] / 1e6
    return max(computing_ms, moving_ms)


_IN_A_ROW, _ROWS = 20, 30
_COPY_BYTES = 64 << 20


def parity(open_device: OpenDevice, options: NeuralOptions, size: tuple[int, int]) -> dict[str, float]:
    """How far the device's pictures are from those of the CPU with the float32 network, in levels.

    Both are carried along OpenCV's motion; the device's own is another one, as good as its tests say.
    """
    options = replace(options, temporal=replace(options.temporal, device_motion=False))
    exact = replace(
        options,
        network=NetworkOptions(exact=True, device="cpu"),
        temporal=replace(options.temporal, half_color=False),
    )
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


def percentiles(values_ms: Sequence[float]) -> dict[str, float]:
    """Mean and percentiles of milliseconds."""
    p50, p95, p99 = np.percentile(values_ms, [50, 95, 99])
    found = {"mean": np.mean(values_ms), "p50": p50, "p95": p95, "p99": p99}
    return {name: round(float(value), 5) for name, value in found.items()}


def step_times(device: Device, chain: DeviceChain) -> dict[str, dict[str, float]]:
    """Milliseconds of each kernel (all its launches of a frame) and of the network, alone on the device.

    Each start is recorded twenty times in a row where the device records, so that what it costs the host to
    start it is not in the number; a value is the mean of such a row. `bytes` is the memory that a kernel is
    given, read or written once; 0 for the network.
    """
    queue, mark = device.open_queue(), device.make_mark()
    rows: dict[str, Any] = {}
    moved: dict[str, int] = {}
    try:
        for step in chain.ring.steps(COLORED):
            name = step.kernel if isinstance(step, Launch) else "network"
            rows[name] = rows.get(name, 0.0) + np.array(_in_rows(queue, mark, step))
            moved[name] = moved.get(name, 0) + (_memory_of(step) if isinstance(step, Launch) else 0)
    finally:
        mark.close()
        queue.close()
    return {name: {**percentiles(values), "bytes": moved[name]} for name, values in rows.items()}


def frame_time(device: Device, chain: DeviceChain) -> dict[str, float]:
    """Milliseconds that a whole frame takes the device, all its work in a row without copies or the host.

    Recorded and not recorded: the difference to the sum of `step_times` is what is lost between launches.
    Recorded in branches too, as frames are; with how many steps then follow one another at the most.
    """
    steps = list(chain.ring.steps(COLORED))
    plan = plan_branches(steps)
    queue, mark = device.open_queue(), device.make_mark()
    try:
        found: dict[str, float] = {"launches": float(sum(isinstance(step, Launch) for step in steps))}
        found["longest_row"] = float(plan.longest)
        recorded_start, recorded = _starter(queue, mark, steps, _IN_A_ROW)
        eager_start, _ = _starter(queue, mark, steps, _IN_A_ROW, record=False)
        starts = {"eager_ms": eager_start} | ({"recorded_ms": recorded_start} if recorded else {})
        if recorded:
            try:
                with branched(device, queue, plan) as fork:
                    forked = queue.capture(lambda: _repeat(fork))
                starts["branched_ms"] = lambda: queue.replay(forked)
            except CaptureRefused as error:  # frames go in one row then, and how long they take is asked for
                print(f"a frame is not recorded in {plan.branches} branches: {error}")
        for name, start in starts.items():
            rows = [_timed_ms(queue, mark, start, 1) / _IN_A_ROW for _ in range(_ROWS)]
            found[name] = round(float(np.median(rows)), 5)
        return found
    finally:
        mark.close()
        queue.close()


def _repeat(start: Callable[[], None]) -> None:
    for _ in range(_IN_A_ROW):
        start()


def network_times(
    open_device: OpenDevice, path: Path, size: tuple[int, int], batches: Sequence[int], seconds: float
) -> list[dict[str, Any]]:
    """The network alone, for each batch: milliseconds of a call from start to end, and frames a second."""
    device = open_device()
    rows = []
    try:
        for frames in batches:
            network = device.open_network(path, size, frames)
            try:
                rows.append({"frames": frames, **_network_row(device, network, frames, seconds)})
            finally:
                network.close()
    finally:
        device.close()
    return rows


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
        mark.close()
        queue.close()
        device.free(array)
        device.unpin(host)
    return found


def _network_row(device: Device, network: DeviceNetwork, frames: int, seconds: float) -> dict[str, Any]:
    queue, mark = device.open_queue(), device.make_mark()
    try:
        start, recorded = _starter(queue, mark, [network], 1)
        single: list[float] = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(single) < 3:
            single.append(_timed_ms(queue, mark, start, 1))
        count = max(2, int(seconds / min(single) * 1e3 / 2))
        each_ms = _timed_ms(queue, mark, start, count) / count
    finally:
        mark.close()
        queue.close()
    return {
        "name": network.name,
        "recorded": recorded,
        "call_ms": percentiles(single),
        "in_a_row_ms": round(each_ms, 5),
        "frames_per_second": round(frames / each_ms * 1e3, 1),
    }


def _in_rows(queue: WorkQueue, mark: Mark, step: Launch | DeviceNetwork) -> list[float]:
    start, _ = _starter(queue, mark, [step], _IN_A_ROW)
    return [_timed_ms(queue, mark, start, 1) / _IN_A_ROW for _ in range(_ROWS)]


def _starter(
    queue: WorkQueue, mark: Mark, steps: Sequence[Launch | DeviceNetwork], times: int, record: bool = True
) -> tuple[Callable[[], None], bool]:
    """Starts steps so many times, from a recording where there can be one; they have been run once."""

    def eager() -> None:
        for _ in range(times):
            for step in steps:
                if isinstance(step, Launch):
                    queue.launch(step)
                else:
                    queue.infer(step)

    _timed_ms(queue, mark, eager, 1)
    if not record:
        return eager, False
    try:
        recorded = queue.capture(eager)
    except CaptureRefused:
        return eager, False
    _timed_ms(queue, mark, lambda: queue.replay(recorded), 1)
    return lambda: queue.replay(recorded), True


def _timed_ms(queue: WorkQueue, mark: Mark, start: Callable[[], None], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        start()
    queue.record(mark)
    mark.wait()
    return (time.perf_counter() - began) * 1e3


def _memory_of(step: Launch) -> int:
    arrays = {held.address: held.nbytes for held in step.holds if isinstance(held, DeviceArray)}
    return sum(arrays.values())
