"""`irchroma bench gpu`: everything that can be known of the GPU path on a GPU machine, by one command.

Never yet run on a GPU: its measurements were run over the CPU device alone.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from irchroma.engines import catalog, cuda_device
from irchroma.engines.device import Device
from irchroma.engines.device_choice import GPU_RUNTIMES, device_index, open_device
from irchroma.engines.device_colorizer import DeviceColorizer
from irchroma.engines.errors import EngineError, EngineUnavailable
from irchroma.engines.neural import NeuralOptions
from irchroma.launch.config import ConfigError
from irchroma.launch.gpu_measure import copy_speed, parity, step_times
from irchroma.launch.gpu_throughput import (
    FRAME_NS,
    Case,
    OpenDevice,
    chain_of,
    fitting_streams,
    moving_frames,
    throughput,
)
from irchroma.launch.measured import write_json

EXAMPLE = "irchroma bench gpu --engine nir:best --json gpu.json"

SIZES = ((512, 640), (720, 1280), (1080, 1920))
STREAMS = (1, 4, 16)
DEPTHS = (1, 2)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Engine, device, and where the numbers go."""
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    parser.add_argument("--engine", default="nir:best", help="nir or thermal, with :fast or :best")
    parser.add_argument("--runtime", choices=("all", *GPU_RUNTIMES), default="all", help="default: all here")
    parser.add_argument("--device", default="0", help="0, 1, cuda:0 ... (default 0)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--quick", action="store_true", help="640x512 alone, one stream and four")


def run(args: argparse.Namespace) -> int:
    """Measure every runtime that works here; write the JSON after each, so that a failure leaves the rest."""
    index = device_index(args.device) or 0
    found = cuda_device.device_at(index)
    if found is None:
        raise EngineUnavailable(
            f"bench gpu needs an NVIDIA GPU and its driver: there is no device {index} here"
        )
    name = catalog.parse(args.engine)
    if not name.neural:
        raise ConfigError(f"--engine {args.engine} is no network: use nir or thermal")
    options = NeuralOptions(engine=name.kind, size=name.variant or "best")
    results: dict[str, Any] = {
        "device": found.name,
        "compute_capability": found.compute_capability,
        "driver_cuda": found.driver,
        "engine": f"{options.engine}:{options.size}",
        "runtimes": {},
    }
    sizes, streams = (SIZES[:1], STREAMS[:2]) if args.quick else (SIZES, STREAMS)
    cases = [
        Case(size, count, depth, graphs)
        for size in sizes
        for count in streams
        for depth in DEPTHS
        for graphs in (True, False)
    ]
    worked = False
    for runtime in GPU_RUNTIMES if args.runtime == "all" else (args.runtime,):
        opener: OpenDevice = partial(open_device, runtime, index)
        try:
            opener().close()
        except EngineError as error:
            results["runtimes"][runtime] = {"unavailable": str(error)}
            print(f"{runtime}: {error}")
            continue
        results["runtimes"][runtime] = measure(opener, options, cases, args.seconds)
        worked = worked or "failed" not in results["runtimes"][runtime]
        write_json(args.json, results)
    write_json(args.json, results)
    if not worked:
        raise EngineUnavailable(f"no runtime colors on device {index}: {args.json} says why")
    return 0


def measure(open_on: OpenDevice, options: NeuralOptions, cases: list[Case], seconds: float) -> dict[str, Any]:
    """All that is known of one runtime; an error ends it and is part of the answer."""
    result: dict[str, Any] = {}
    try:
        result["parity"] = parity(open_on, options, cases[0].size)
        print(f"parity with the CPU: {result['parity']}")
        result.update(_steps(open_on, options, cases[0].size))
        result["throughput"] = []
        for case in cases:
            row = throughput(open_on, options, case, seconds)
            result["throughput"].append(row)
            print(_line(row))
        result["live_streams"] = fitting_streams(open_on, options, cases[0].size, seconds)
        print("live at 30 fps:")
        for row in result["live_streams"]:
            print(_line(row) + ("" if row["keeps_up"] else "   too many"))
    except EngineError as error:
        result["failed"] = str(error)
        print(f"failed: {error}")
    return result


def _steps(open_on: OpenDevice, options: NeuralOptions, size: tuple[int, int]) -> dict[str, Any]:
    opened: list[Device] = []

    def open_and_keep() -> Device:
        opened.append(open_on())
        return opened[0]

    colorizer = DeviceColorizer(options, open_and_keep)
    try:
        for index, luma in enumerate(moving_frames(size)):
            colorizer.submit(luma, index * FRAME_NS)
            colorizer.collect()
        return {
            "name": colorizer.name,
            "steps_ms": step_times(opened[0], chain_of(colorizer)),
            "copy_gb_s": copy_speed(opened[0]),
        }
    finally:
        colorizer.close()


def _line(row: dict[str, Any]) -> str:
    graphs = "graphs" if row["graphs_recorded"] else "eager"
    return (
        f"{row['width']}x{row['height']:<5} {row['streams']:>3} streams, depth {row['depth']}, {graphs:<6} "
        f"{row['fps']:>8.1f} fps   p50 {row['ms_p50']:.2f}  p95 {row['ms_p95']:.2f}"
        f"  p99 {row['ms_p99']:.2f} ms   host {row['host_ms_p50']:.2f} ms"
    )
