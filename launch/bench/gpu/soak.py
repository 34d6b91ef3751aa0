"""A soak of the GPU path: many cameras for a while, then opening and closing; what was not given back shows.

`python -m irchroma.launch.bench.gpu.soak --json gpu-soak.json`; on a GPU by torch, or by the CPU as a device.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from irchroma.engines.choice import GPU_RUNTIMES, open_device
from irchroma.engines.errors import EngineError
from irchroma.engines.gpu import probe
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.cpu_device import CpuDevice
from irchroma.engines.gpu.cuda.driver import CudaDriver
from irchroma.engines.gpu.device import Device
from irchroma.engines.gpu.frames.batching import seat_on_device
from irchroma.engines.gpu.kernels.host import HostKernels
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.network.sharing import SharedPool
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.launch.bench.gpu.throughput import FRAME_NS, OpenDevice, chain_of, moving_frames
from irchroma.launch.measured import write_json
from irchroma.launch.run.process import tune_process

SIZE = (512, 640)
OPENING_LIMIT_S, FEWEST = 60.0, 6
"""For so long colorizers are opened and closed, and so many at the least."""
MOST_GROWTH_MB, MOST_LEFT_MB = 32.0, 3.0
"""Of the GPU's memory, from the middle third of a measurement to the last one: what libraries take at the
beginning is in neither. While cameras run, and what each colorizer may leave that came and went."""
LEAST_SEEN_MB = 8.0
"""A library's pools grow in steps of that, whoever asks."""


def soak(
    open_on: OpenDevice, options: NeuralOptions, size: tuple[int, int], cameras: int, seconds: float
) -> dict[str, Any]:
    """Cameras that share a network, all at once; frames of each, recordings, memory before and after.

    Raises:
        EngineError: a camera has failed.
    """
    pool = SharedPool()
    seat = partial(seat_on_device, pool, ("soak", 0), open_on)
    colorizers = [DeviceColorizer(options, open_on, open_seat=seat) for _ in range(cameras)]
    frames, counts, failures = moving_frames(size), [0] * cameras, []
    stop = threading.Event()

    def color(number: int) -> None:
        try:
            while not stop.is_set():
                index = counts[number]
                colorizers[number].submit(frames[index % len(frames)], index * FRAME_NS)
                colorizers[number].collect()
                counts[number] += 1
        except Exception as error:  # noqa: BLE001 (whatever it is, the thread that waits tells it)
            failures.append(str(error) or type(error).__name__)

    threads = [threading.Thread(target=color, args=(number,)) for number in range(cameras)]
    for thread in threads:
        thread.start()
    memory: list[dict[str, float]] = []
    for _ in range(10):
        stop.wait(seconds / 10)
        memory.append(memory_mb())
    stop.set()
    for thread in threads:
        thread.join()
    recorded = [chain_of(one).ring.recorded for one in colorizers if one.chain is not None]
    figures = pool.figures()
    for one in colorizers:
        one.close()
    if failures:
        raise EngineError(failures[0])
    return {
        "cameras": cameras,
        "seconds": seconds,
        "frames": sum(counts),
        "fewest_of_a_camera": min(counts),
        "graphs": recorded,
        "network": figures[0] if figures else None,
        "memory_mb": memory,
    }


def open_and_close(
    open_on: OpenDevice,
    options: NeuralOptions,
    size: tuple[int, int],
    times: int,
    limit_s: float = OPENING_LIMIT_S,
) -> dict[str, Any]:
    """Memory after each of so many colorizers that came and went, or of those of so many seconds."""
    memory = []
    end_s = time.monotonic() + limit_s
    for number in range(times):
        if number >= FEWEST and time.monotonic() > end_s:
            break
        colorizer = DeviceColorizer(options, open_on)
        for index, luma in enumerate(moving_frames(size, 4)):
            colorizer.submit(luma, index * FRAME_NS)
            colorizer.collect()
        colorizer.close()
        memory.append(memory_mb())
    return {"times": len(memory), "memory_mb": memory, "growth_mb": growth(memory)}


def growth(memory: Sequence[dict[str, float]]) -> dict[str, float]:
    """By how much each kind of memory is more in the last third than in the middle one, on average."""
    third = max(1, len(memory) // 3)
    middle, last = memory[third : 2 * third] or memory, memory[-third:]
    return {
        kind: round(
            sum(row[kind] for row in last) / len(last) - sum(row[kind] for row in middle) / len(middle), 2
        )
        for kind in memory[0]
    }


def most_left_mb(times: int) -> float:
    """What so many colorizers may leave between the middle third of them and the last."""
    return max(LEAST_SEEN_MB, MOST_LEFT_MB * max(1, times // 3))


def memory_mb() -> dict[str, float]:
    """Resident memory of the process, and what is taken of the current GPU, where one is in use."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    found = {"resident": pages * 4096 / 1e6}
    try:
        driver = CudaDriver()
        driver.push_context(driver.retain_primary(0))
        free, whole = ctypes.c_size_t(), ctypes.c_size_t()
        driver.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(whole))
        found["gpu"] = (whole.value - free.value) / 1e6
        driver.pop_context()
        driver.release_primary(0)
    except EngineError:  # no driver: the CPU is the device
        pass
    return {kind: round(value, 1) for kind, value in found.items()}


def main(words: Sequence[str] | None = None) -> int:
    """Soak, open and close; the file is written after each."""
    parser = argparse.ArgumentParser(prog="gpu_soak", description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--device", choices=(*GPU_RUNTIMES, "cpu"), default="torch")
    parser.add_argument("--cameras", type=int, default=0, help="default 16, 2 on the CPU")
    parser.add_argument("--seconds", type=float, default=0.0, help="default 90, 3 on the CPU")
    parser.add_argument("--times", type=int, default=0, help="opened and closed; default 30, 3 on the CPU")
    args = parser.parse_args(words)
    probe.ask_for_queues()  # as a run does, before a library asks for it
    tune_process()
    on_cpu = args.device == "cpu"
    options = NeuralOptions(engine="nir", size="fast")
    open_on: OpenDevice = partial(open_device, args.device, 0)
    size = SIZE
    if on_cpu:
        kernels, network = HostKernels(), NetworkOptions(cache=None, threads=1)

        def open_cpu() -> Device:
            return CpuDevice(network, kernels)

        open_on, size = open_cpu, (240, 320)
    found = None if on_cpu else probe.device_at()
    results: dict[str, Any] = {"runtime": args.device}
    if found is not None:
        results |= {
            "device": found.name,
            "compute_capability": found.compute_capability,
            "driver_cuda": found.driver,
        }
    results["soak"] = soak(
        open_on, options, size, args.cameras or (2 if on_cpu else 16), args.seconds or (3 if on_cpu else 90)
    )
    results["soak"]["growth_mb"] = growth(results["soak"]["memory_mb"])
    write_json(args.json, results)
    results["open_and_close"] = open_and_close(open_on, options, size, args.times or (3 if on_cpu else 30))
    write_json(args.json, results)
    opened = results["open_and_close"]
    code = 0
    for what, grown, most in (
        ("cameras that run", results["soak"]["growth_mb"], MOST_GROWTH_MB),
        (f"{opened['times']} that came and went", opened["growth_mb"], most_left_mb(opened["times"])),
    ):
        print(what, grown)
        if grown.get("gpu", 0.0) > most:
            print(f"memory of the GPU is not given back: more than {most:g} MB of growth")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
