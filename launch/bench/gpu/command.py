"""`irchroma bench gpu`: everything that can be known of the GPU path on a GPU machine, by one command.

Each runtime, and what it is held against, is measured by a process of its own, and each measurement by
itself: one that fails, or takes its process with it, is written down, and the next one begins. The file is
written after every part, and while a part runs, with what it has so far. Its measurements were run over the
CPU device, and torch's on torch's CPU.

Results that survive their parts: what fails is written down, and the next part begins.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from irchroma.engines import catalog
from irchroma.engines.choice import GPU_RUNTIMES, device_index, open_device
from irchroma.engines.errors import EngineError, EngineUnavailable
from irchroma.engines.gpu import probe
from irchroma.engines.gpu.colorizer import DeviceColorizer
from irchroma.engines.gpu.device import Device
from irchroma.engines.gpu.frames.batching import BATCHES
from irchroma.engines.neural.colorizer import NeuralOptions
from irchroma.engines.processor import usable_cores
from irchroma.engines.recolor.work_picture import STRIDE_PX, work_size
from irchroma.launch.bench.gpu.measure import (
    Parts,
    compare,
    copy_speed,
    frame_time,
    judge,
    network_times,
    no_torch,
    parity,
    step_times,
    what_failed,
)
from irchroma.launch.bench.gpu.throughput import (
    FRAME_NS,
    MOST_STREAMS,
    RATE,
    Case,
    OpenDevice,
    chain_of,
    fitting_streams,
    keeps_up,
    most_that_keep_up,
    moving_frames,
    throughput,
)
from irchroma.launch.config import ConfigError
from irchroma.launch.measured import write_json
from irchroma.launch.run.process import tune_process

EXAMPLE = "irchroma bench gpu --engine nir:best --json gpu.json"

SIZES = ((512, 640), (720, 1280), (1080, 1920))
STREAMS = (1, 4, 16)
LIVE_LIMIT_S = 120.0
"""No further count of live streams is begun after so long."""
_LOOK_S, _START_S = 1.0, 120.0
_READY = "ready"
_COMPARISON = "comparison"
PARTS_FAILED = 3
"""Exit code where something was measured, and parts of it are missing."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument(
        "--processes",
        type=int,
        default=0,
        metavar="N",
        help="count live streams over so many processes too (default: one for 4 cores, 0 with --quick)",
    )
    parser.add_argument("--live", type=int, help=argparse.SUPPRESS)  # of one of these processes


def run(args: argparse.Namespace) -> int:
    """Measure every runtime that works here, and torch by itself; 1 where no runtime works, 3 where
    a part of one that opens failed."""
    index = device_index(args.device) or 0
    found = probe.device_at(index)
    if found is None:
        raise EngineUnavailable(
            f"bench gpu needs an NVIDIA GPU and its driver: there is no device {index} here"
        )
    tune_process()  # as a run does: OpenCV's threads would otherwise be those of all cores for each camera
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

        def keep(measured: dict[str, Any], part: str = part) -> None:
            if part == _COMPARISON:
                results[_COMPARISON] = measured.get(_COMPARISON, measured)
            else:
                results["runtimes"][part] = measured.get("runtimes", {}).get(part, measured)
            write_json(args.json, results)

        keep(in_a_process(part, args, keep))
        Parts(lambda: write_json(args.json, results), results).attempt("verdict", lambda: judge(results))
    print(json.dumps(results.get("verdict"), indent=1))
    if not any("throughput" in one for one in results["runtimes"].values()):
        raise EngineUnavailable(f"no runtime colors on device {index}: {args.json} says why")
    # A runtime that is not here, or opens on no device here, was not asked for by name.
    opened = {name: one for name, one in results["runtimes"].items() if "opens" not in one.get("errors", {})}
    return _told({**results, "runtimes": opened})


def in_a_process(
    part: str, args: argparse.Namespace, keep: Callable[[dict[str, Any]], None] = lambda measured: None
) -> dict[str, Any]:
    """What a process of its own measures of one runtime, as far as it comes; `keep` is told as it comes."""
    with tempfile.TemporaryDirectory(prefix="irchroma-bench-") as folder:
        path = Path(folder) / "part.json"
        child = subprocess.Popen(_words(args, part, path, *(["--quick"] if args.quick else [])))
        ended, last = _watched(child, path, args.limit, keep)
        measured = _read(path) or last
    if ended:
        inner = measured.get(_COMPARISON, measured.get("runtimes", {}).get(part, measured))
        inner.setdefault("errors", {})["process"] = ended
    return measured


def _watched(
    child: subprocess.Popen[Any], path: Path, limit_s: float, keep: Callable[[dict[str, Any]], None]
) -> tuple[str, dict[str, Any]]:
    """How the child ended, empty for well, and the last that it wrote: killed, it takes nothing along."""
    end_s = time.monotonic() + limit_s
    last: dict[str, Any] = {}
    while True:
        left_s = end_s - time.monotonic()
        try:
            code = child.wait(max(0.0, min(_LOOK_S, left_s)))
            return (f"its process ended with {code}" if code not in (0, PARTS_FAILED) else ""), last
        except subprocess.TimeoutExpired:
            found = _read(path)
            if found and found != last:
                last = found
                keep(found)
            if left_s <= 0:
                child.kill()
                child.wait()
                return f"not done after {limit_s:g} seconds (--limit)", last


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _words(args: argparse.Namespace, runtime: str, path: Path, *more: str) -> list[str]:
    words = [sys.executable, "-m", "irchroma.launch", "bench", "gpu", "--json", str(path)]
    words += ["--runtime", runtime, "--engine", args.engine, "--device", args.device]
    return [*words, "--seconds", str(args.seconds), *more]


def live_by_processes(
    args: argparse.Namespace,
    runtime: str,
    processes: int,
    measured: Callable[[list[dict[str, Any]]], None],
    limit_s: float = 240.0,
) -> list[dict[str, Any]]:
    """Videos of 30 frames a second over several processes, which Python's lock does not hold up together.

    Those of a process share a network, as cameras of a run do.
    """

    def row_of(each: int) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="irchroma-bench-") as folder:
            paths = [Path(folder) / f"{number}.json" for number in range(processes)]
            children = [
                subprocess.Popen(
                    _words(args, runtime, path, "--live", str(each)),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    encoding="utf-8",
                    errors="replace",
                )
                for path in paths
            ]
            try:
                ready = [any(line.strip() == _READY for line in child.stdout or ()) for child in children]
                if all(ready):
                    for child in children:  # all of them, before the first one is waited for
                        _let_begin(child)
                    for child in children:
                        child.communicate(timeout=args.seconds + _START_S)
            finally:
                for child in children:
                    child.kill()
                    child.communicate()
            rows = [_read(path).get("row") for path in paths]
        if not all(rows):
            raise EngineError(f"{rows.count(None)} of {processes} processes with {each} streams each failed")
        worst = {key: max(row[key] for row in rows if row) for key in ("ms_p50", "ms_p95", "ms_p99")}
        return {
            "streams": processes * each,
            "processes": processes,
            "fps": round(sum(row["fps"] for row in rows if row), 1),
            "keeps_up": all(row["keeps_up"] for row in rows if row),
            **worst,
        }

    most = max(1, MOST_STREAMS // processes)
    return most_that_keep_up(row_of, limit_s, measured, most)


def _let_begin(child: subprocess.Popen[str]) -> None:
    """One of the processes of `live_by_processes`; one that has died meanwhile leaves no row."""
    with suppress(BrokenPipeError):
        if child.stdin is not None:
            child.stdin.write("go\n")
            child.stdin.flush()


def _measure_live(
    args: argparse.Namespace, opener: OpenDevice, options: NeuralOptions, results: dict[str, Any]
) -> int:
    """One of the processes of `live_by_processes`."""

    def wait_for_the_others() -> None:
        print(_READY, flush=True)
        sys.stdin.readline()

    case = Case(SIZES[0], args.live, 1, True, RATE, batched=args.live > 1)
    row = throughput(opener, options, case, args.seconds, wait_for_the_others)
    write_json(args.json, results | {"row": row | {"keeps_up": keeps_up(row)}})
    return 0


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
        so_far = partial(parts.note, name)
        parts.attempt(
            name, partial(fitting_streams, open_on, options, size, seconds, batched, LIVE_LIMIT_S, so_far)
        )
        for row in parts.found.get(name, []):
            print(_line(row) + ("" if row["keeps_up"] else "   too many"))


def network_place(options: NeuralOptions, size: tuple[int, int]) -> tuple[Path, tuple[int, int]]:
    """The network's file, and (H, W) of its input for frames of a size."""
    path = options.weights or catalog.weights_path(options.engine, options.size)
    work = work_size(size, options.work_size_px or catalog.WORK_SIZE_PX[options.size])
    height, width = (-(-side // STRIDE_PX) * STRIDE_PX for side in work)
    return path, (height, width)


def plan_cases(quick: bool) -> list[Case]:
    """What `throughput` measures: everything at the first size, the usual way at the others."""
    first = [
        Case(SIZES[0], streams, depth, graphs)
        for streams in (STREAMS[:2] if quick else STREAMS)
        for depth in (1, 2)
        for graphs in (True, False)
    ]
    scenes = [
        Case(SIZES[0], streams, 2, True, scene=scene, temporal=temporal)
        for streams in STREAMS[:2]
        for scene, temporal in (("still", True), ("still", False), ("pan", False))
    ]
    batched = [Case(SIZES[0], streams, 2, True, batched=True) for streams in ((4,) if quick else (4, 16, 32))]
    others = [Case(size, streams, 2, True) for size in SIZES[1:] for streams in STREAMS[:2]]
    return first + scenes + batched + ([] if quick else others)


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
        return _told(parts.found)
    parts = whole.inner("runtimes").inner(args.runtime)
    opener: OpenDevice = partial(open_device, args.runtime, index)
    if args.live:
        return _measure_live(args, opener, options, results)
    if not parts.attempt("opens", partial(_opens, opener)):
        return _told(parts.found)
    measure(parts, opener, options, plan_cases(args.quick), args.seconds)
    processes = args.processes or (0 if args.quick else usable_cores() // 4)
    if processes > 1:
        name = "live_streams_by_processes"
        print(f"{name}, at 30 fps:")
        so_far = partial(parts.note, name)
        parts.attempt(name, lambda: live_by_processes(args, args.runtime, processes, so_far))
    return _told(parts.found)


def _told(found: dict[str, Any]) -> int:
    """Says in one last line what is missing, and the exit code."""
    missing = what_failed(found)
    if missing:
        print(f"not measured: {'; '.join(f'{name}: {why}' for name, why in missing.items())}")
    return PARTS_FAILED if missing else 0


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
            parts.attempt("frame_ms", lambda: frame_time(opened[0], chain_of(colorizer)))
            parts.attempt("copy_gb_s", lambda: copy_speed(opened[0]))
    finally:
        colorizer.close()


def _line(row: dict[str, Any]) -> str:
    graphs = "graphs" if row["graphs_recorded"] else "eager"
    scene = row["scene"] + ("" if row["temporal"] else ", not steadied")
    how = f"batches of {row['frames_in_a_call']:.1f}" if row["batched"] else graphs
    return (
        f"{row['width']}x{row['height']:<5} {row['streams']:>3} streams, depth {row['depth']}, "
        f"{how:<14} {scene:<20} {row['fps']:>8.1f} fps   p50 {row['ms_p50']:.2f}  p95 {row['ms_p95']:.2f}"
        f"  p99 {row['ms_p99']:.2f} ms   host {row['host_ms_p50']:.2f} ms, processor {row['cpu_ms']:.2f} ms"
    )
