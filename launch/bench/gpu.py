"""`irchroma bench gpu`: everything that can be known of the GPU path on a GPU machine, by one command.

Each runtime, and what it is held against, is measured by a process of its own, and each measurement by
itself: one that fails, or takes its process with it, is written down, and the next one begins. The file is
written after every part. Never yet run on a GPU: its measurements were run over the CPU device, and torch's
on torch's CPU.

Results that survive their parts: what fails is written down, and the next part begins.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from irchroma.engines import catalog
from irchroma.engines.choice import GPU_RUNTIMES, device_index, open_device
from irchroma.engines.errors import EngineUnavailable
from irchroma.engines.gpu import probe
from irchroma.engines.gpu.batching import BATCHES
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.device import Device
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.engines.recolor.work_picture import work_size
from irchroma.launch.bench.gpu_measure import (
    Parts,
    compare,
    copy_speed,
    judge,
    network_times,
    no_torch,
    parity,
    step_times,
)
from irchroma.launch.bench.gpu_throughput import (
    FRAME_NS,
    Case,
    OpenDevice,
    chain_of,
    fitting_streams,
    moving_frames,
    throughput,
)
from irchroma.launch.config import ConfigError
from irchroma.launch.measured import write_json

EXAMPLE = "irchroma bench gpu --engine nir:best --json gpu.json"

SIZES = ((512, 640), (720, 1280), (1080, 1920))
STREAMS = (1, 4, 16)
_COMPARISON = "comparison"
_STRIDE_PX = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Engine, device, and where the numbers go."""
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    parser.add_argument("--engine", default="nir:best", help="nir or thermal, with :fast or :best")
    parser.add_argument(
        "--runtime",
        choices=("all", *GPU_RUNTIMES, _COMPARISON),
        default="all",
        help="default: all here, and torch by itself as a comparison",
    )
    parser.add_argument("--device", default="0", help="0, 1, cuda:0 ... (default 0)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for one runtime (default 900)")
    parser.add_argument("--quick", action="store_true", help="640x512 alone, one stream and four")


def run(args: argparse.Namespace) -> int:
    """Measure every runtime that works here, and torch by itself; 1 where no runtime works."""
    index = device_index(args.device) or 0
    found = probe.device_at(index)
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
    if args.runtime != "all":
        return _measure_one(args, index, options, results)
    for part in (*GPU_RUNTIMES, _COMPARISON):
        print(f"== {part}")
        measured = in_a_process(part, args)
        if part == _COMPARISON:
            results[_COMPARISON] = measured.get(_COMPARISON, measured)
        else:
            results["runtimes"][part] = measured.get("runtimes", {}).get(part, measured)
        Parts(lambda: write_json(args.json, results), results).attempt("verdict", lambda: judge(results))
    print(json.dumps(results.get("verdict"), indent=1))
    if not any("throughput" in one for one in results["runtimes"].values()):
        raise EngineUnavailable(f"no runtime colors on device {index}: {args.json} says why")
    return 0


def in_a_process(part: str, args: argparse.Namespace) -> dict[str, Any]:
    """What a process of its own measures of one runtime, as far as it comes."""
    with tempfile.TemporaryDirectory(prefix="irchroma-bench-") as folder:
        path = Path(folder) / "part.json"
        words = [sys.executable, "-m", "irchroma.launch", "bench", "gpu", "--json", str(path)]
        words += ["--runtime", part, "--engine", args.engine, "--device", args.device]
        words += ["--seconds", str(args.seconds), *(["--quick"] if args.quick else [])]
        try:
            code = subprocess.run(words, timeout=args.limit).returncode
            ended = f"its process ended with {code}" if code else ""
        except subprocess.TimeoutExpired:
            ended = f"not done after {args.limit:g} seconds (--limit)"
        measured = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if ended:
        inner = measured.get(_COMPARISON, measured.get("runtimes", {}).get(part, measured))
        inner.setdefault("errors", {})["process"] = ended
    return dict(measured)


def measure(
    parts: Parts, open_on: OpenDevice, options: NeuralOptions, cases: list[Case], seconds: float
) -> None:
    """All that is known of one runtime; what fails is written down, and the next part begins."""
    size = cases[0].size
    parts.attempt("parity", lambda: parity(open_on, options, size))
    _steps(parts, open_on, options, size)
    place = network_place(options, size)
    parts.attempt("network", lambda: network_times(open_on, *place, BATCHES, seconds))
    for number, case in enumerate(cases):
        rows = Parts(found={})
        if rows.attempt("row", partial(throughput, open_on, options, case, seconds)):
            parts.found.setdefault("throughput", []).append(rows.found["row"])
            print(_line(rows.found["row"]))
        else:
            parts.found.setdefault("errors", {})[f"throughput {number + 1}"] = rows.found["errors"]["row"]
    for name, batched in (("live_streams", False), ("live_streams_batched", True)):
        print(f"{name}, at 30 fps:")
        parts.attempt(name, partial(fitting_streams, open_on, options, size, seconds, batched))
        for row in parts.found.get(name, []):
            print(_line(row) + ("" if row["keeps_up"] else "   too many"))


def network_place(options: NeuralOptions, size: tuple[int, int]) -> tuple[Path, tuple[int, int]]:
    """The network's file, and (H, W) of its input for frames of a size."""
    path = options.weights or catalog.weights_path(options.engine, options.size)
    work = work_size(size, options.work_size_px or catalog.WORK_SIZE_PX[options.size])
    height, width = (-(-side // _STRIDE_PX) * _STRIDE_PX for side in work)
    return path, (height, width)


def plan_cases(quick: bool) -> list[Case]:
    """What `throughput` measures: everything at the first size, the usual way at the others."""
    first = [
        Case(SIZES[0], streams, depth, graphs)
        for streams in (STREAMS[:2] if quick else STREAMS)
        for depth in (1, 2)
        for graphs in (True, False)
    ]
    batched = [Case(SIZES[0], streams, 2, True, batched=True) for streams in ((4,) if quick else (4, 16, 32))]
    others = [Case(size, streams, 2, True) for size in SIZES[1:] for streams in STREAMS[:2]]
    return first + batched + ([] if quick else others)


def _measure_one(
    args: argparse.Namespace, index: int, options: NeuralOptions, results: dict[str, Any]
) -> int:
    whole = Parts(lambda: write_json(args.json, results), results)
    if args.runtime == _COMPARISON:
        parts, reason = whole.inner(_COMPARISON), no_torch(index)
        if reason is not None:
            parts.found["skipped"] = reason
            print(f"skipped: {reason}")
            write_json(args.json, results)
            return 0
        compare(parts, *network_place(options, SIZES[0]), BATCHES, args.seconds, f"cuda:{index}")
        return 0
    parts = whole.inner("runtimes").inner(args.runtime)
    opener: OpenDevice = partial(open_device, args.runtime, index)
    if not parts.attempt("opens", partial(_opens, opener)):
        return 0
    measure(parts, opener, options, plan_cases(args.quick), args.seconds)
    return 0


def _opens(opener: OpenDevice) -> str:
    device = opener()
    device.close()
    return device.name


def _steps(parts: Parts, open_on: OpenDevice, options: NeuralOptions, size: tuple[int, int]) -> None:
    opened: list[Device] = []

    def open_and_keep() -> Device:
        opened.append(open_on())
        return opened[0]

    def colored() -> str:
        for index, luma in enumerate(moving_frames(size)):
            colorizer.submit(luma, index * FRAME_NS)
            colorizer.collect()
        return colorizer.name

    if not parts.attempt("device", lambda: open_and_keep().name):
        return
    colorizer = DeviceColorizer(options, lambda: opened[0])  # which closes it
    try:
        if parts.attempt("name", colored):
            parts.attempt("steps_ms", lambda: step_times(opened[0], chain_of(colorizer)))
            parts.attempt("copy_gb_s", lambda: copy_speed(opened[0]))
    finally:
        colorizer.close()


def _line(row: dict[str, Any]) -> str:
    graphs = "graphs" if row["graphs_recorded"] else "eager"
    how = f"batches of {row['frames_in_a_call']:.1f}" if row["batched"] else graphs
    return (
        f"{row['width']}x{row['height']:<5} {row['streams']:>3} streams, depth {row['depth']}, {how:<14} "
        f"{row['fps']:>8.1f} fps   p50 {row['ms_p50']:.2f}  p95 {row['ms_p95']:.2f}"
        f"  p99 {row['ms_p99']:.2f} ms   host {row['host_ms_p50']:.2f} ms"
    )
