"""What `bench gpu` measures of a device beside throughput: parity with the CPU, each step, copies."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from irchroma.engines.device import Device
from irchroma.engines.device_chain import COLORED, DeviceChain
from irchroma.engines.device_colorizer import DeviceColorizer
from irchroma.engines.kernel_source import Launch
from irchroma.engines.network import NetworkOptions
from irchroma.engines.neural import NeuralColorizer, NeuralOptions
from irchroma.launch.gpu_throughput import FRAME_NS, OpenDevice, moving_frames

_STEP_REPEATS = 50
_COPY_BYTES = 64 << 20


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
