"""`irchroma bench cameras`: several live cameras in one process, shared networks beside separate ones.

Before them, what one network costs for several cameras here: batches, and calls side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from irchroma.engines import catalog
from irchroma.engines.network.network import (
    RUNTIMES,
    Network,
    NetworkOptions,
    Tensor,
    installed,
    open_network,
)
from irchroma.engines.processor import usable_cores
from irchroma.engines.recolor.work_picture import padded, work_size
from irchroma.launch.arguments import counts_of, size_of
from irchroma.launch.bench.child import resident_mb
from irchroma.launch.bench.speed.played import ClipServer
from irchroma.launch.config import ConfigError
from irchroma.launch.measured import write_json

EXAMPLE = "irchroma bench cameras --json launch/benchmarks/cameras.json"
BATCHES = (1, 2, 4)
_ROUND_FRAMES = 4
_SAMPLE_S = 0.5
_START_S = 60.0
_BATCH_ROUNDS = 15


def measure_batches(engine: str, size: tuple[int, int], rounds: int) -> list[dict[str, Any]]:
    """Milliseconds a frame for every runtime; the kinds of calls take turns, medians of rounds.

    Args:
        engine: `nir`, `thermal:best` ...; nothing is measured of engines that are no network.
        size: (H, W) of the cameras.
        rounds: of four frames each, or one for each core.
    """
    name = catalog.parse(engine)
    if not name.neural:
        return []
    kind_size = name.variant or "fast"
    path = catalog.weights_path(name.kind, kind_size)
    height, width = work_size(size, catalog.WORK_SIZE_PX[kind_size])
    luma = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    cores = usable_cores()
    results = []
    for runtime in filter(installed, RUNTIMES):
        if runtime == "torch":
            continue  # on a CPU, nobody's choice
        calls: dict[str, tuple[Network, int, int]] = {}  # name -> network, frames of a call, calls at once
        in_turn = open_network(path, NetworkOptions(runtime, threads=cores, lanes=1))
        beside = open_network(path, NetworkOptions(runtime, threads=cores, lanes=cores))
        for batch in BATCHES:
            calls[f"batch {batch}"] = in_turn, batch, 1
        calls[f"{cores} lanes"] = beside, 1, cores
        times = _times(calls, padded(luma), rounds)
        results.append({"runtime": in_turn.name, "engine": engine, "threads": cores, "ms_a_frame": times})
        in_turn.close()
        beside.close()
    return results


def _times(
    calls: dict[str, tuple[Network, int, int]], luma: Tensor, rounds: int
) -> dict[str, dict[str, float]]:
    wall: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, (network, batch, lanes) in calls.items():
            start_s, start_cpu_s = time.perf_counter(), time.process_time()
            frames = _color(network, np.repeat(luma, batch, axis=0), lanes)
            if number:  # the first round compiles
                wall[name].append(1e3 * (time.perf_counter() - start_s) / frames)
                cpu[name].append(1e3 * (time.process_time() - start_cpu_s) / frames)
    return {
        name: {"wall": round(median(wall[name]), 2), "cpu": round(median(cpu[name]), 2)} for name in calls
    }


def _color(network: Network, batch: Tensor, lanes: int) -> int:
    """Four frames or one for each lane, in as many threads as there are lanes; how many."""
    calls_each = max(1, _ROUND_FRAMES // len(batch) // lanes)

    def work() -> None:
        for _ in range(calls_each):
            network.infer(batch)

    threads = [threading.Thread(target=work) for _ in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(batch) * calls_each * lanes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    add("--engine", default="nir", help="engine of all cameras")
    add("--cameras", type=counts_of, default=(1, 2, 4), metavar="N,N", help="numbers of cameras")
    add("--size", type=size_of, default=(512, 640), metavar="WxH", help="pictures of each camera")
    add("--rate", type=int, default=15, help="frames a second of each camera")
    add("--seconds", type=float, default=30.0, help="length of each run, from when its last camera is there")
    add("--repetitions", type=int, default=3, help="runs of each kind, shared and separate in turns")


def run(args: argparse.Namespace) -> int:
    """Measure every number of cameras, shared and separate in turns; print a table, write the JSON."""
    if args.seconds <= 0 or args.rate < 1 or args.repetitions < 1:
        raise ConfigError("rate, seconds and repetitions must be above 0")
    runs: dict[tuple[int, bool], list[dict[str, Any]]] = {}
    with (
        closing(ClipServer(args.size, args.rate)) as clip,
        tempfile.TemporaryDirectory(prefix="irchroma-bench-") as folder,
    ):
        for _ in range(args.repetitions):
            for count in args.cameras:
                for shared in (True, False):
                    found = _measured(args, count, shared, clip, Path(folder))
                    runs.setdefault((count, shared), []).append(found)
    results = [
        {"cameras": count, "networks": "shared" if shared else "separate", **_middle(found)}
        for (count, shared), found in sorted(runs.items(), key=lambda item: (item[0][0], not item[0][1]))
    ]
    for one in results:
        print(
            f"{one['cameras']} cameras, {one['networks']:8} networks:"
            f" {one['frames_per_second']:.1f} fps each (slowest {one['slowest_frames_per_second']:.1f}),"
            f" latency p50 {one['p50_ms']:.0f} p95 {one['p95_ms']:.0f} p99 {one['p99_ms']:.0f} ms,"
            f" {one['cpu_ms_a_frame']:.1f} ms of CPU a frame, {one['resident_mb']:.0f} MB"
        )
    added = {}
    for kind in ("shared", "separate"):
        more_mb = _added_mb([one for one in results if one["networks"] == kind])
        if more_mb is not None:
            added[kind] = round(more_mb, 1)
    batches = measure_batches(args.engine, args.size, _BATCH_ROUNDS)
    for one in batches:
        words = [f"{name} {cost['cpu']:.1f}" for name, cost in one["ms_a_frame"].items()]
        print(f"{one['runtime']}, ms of CPU a frame: {', '.join(words)}")
    for kind, megabytes in added.items():
        print(f"memory of one more camera, {kind} networks: {megabytes:.0f} MB")
    about = {
        "bench": "cameras",
        "engine": args.engine,
        "size": list(args.size),
        "rate": args.rate,
        "seconds": args.seconds,
        "repetitions": args.repetitions,
        "latency": "from a frame's arrival until its sink takes it, start-up included; median of repetitions",
        "added_mb_a_camera": added,
    }
    write_json(args.json, {**about, "runs": results, "network_calls": batches})
    return 0


def _measured(
    args: argparse.Namespace, count: int, shared: bool, server: ClipServer, folder: Path
) -> dict[str, Any]:
    """One process with so many cameras; CPU time and memory are the whole process's."""
    stats, config = folder / "stats.json", folder / "cameras.toml"
    lines = [f"engine = {json.dumps(args.engine)}", "[sharing]", f"networks = {str(shared).lower()}"]
    for _ in range(count):
        lines += ["[[cameras]]", f'source = "{server.address}"', 'to = ["null"]']
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "irchroma.launch", "run", "--config", str(config), "--quiet"]
    before = server.clients
    process = subprocess.Popen(
        [*command, "--stats", str(stats)], stderr=subprocess.PIPE, encoding="utf-8", errors="replace"
    )
    deadline_s = time.monotonic() + _START_S
    while server.clients < before + count and _runs(process.pid) and time.monotonic() < deadline_s:
        threading.Event().wait(0.02)
    memory = _watch_memory(process.pid, args.seconds)
    process.send_signal(signal.SIGTERM)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.stderr is None:
        raise RuntimeError("the process was started without its error output")
    said = process.stderr.read()
    process.stderr.close()
    if process.returncode or not stats.is_file():
        raise ConfigError(f"a run of {count} cameras failed: {said.strip()[-300:]}")
    told = json.loads(stats.read_text(encoding="utf-8"))["cameras"].values()
    stats.unlink()
    if not all(one["frames"] for one in told):
        raise ConfigError(f"not every one of {count} cameras got a frame in {args.seconds:g} s: take more")
    sinks = [one["sinks"]["null"]["capture_to_encoder"] for one in told]
    rates = [one["frames_per_second"] for one in told]
    return {
        "frames_per_second": sum(rates) / count,
        "slowest_frames_per_second": min(rates),
        **{f"p{p}_ms": sum(sink[f"p{p}_ms"] for sink in sinks) / count for p in (50, 95, 99)},
        "worst_p99_ms": max(sink["p99_ms"] for sink in sinks),
        "cpu_ms_a_frame": 1e3 * (usage.ru_utime + usage.ru_stime) / sum(one["frames"] for one in told),
        "resident_mb": median(memory[len(memory) // 2 :]),
    }


def _runs(pid: int) -> bool:
    """Whether this child has not ended; it is left to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def _watch_memory(pid: int, seconds: float) -> list[float]:
    """Resident memory in MB, now and again for so long, or until the process ends."""
    samples: list[float] = []
    pause = threading.Event()
    for _ in range(max(2, round(seconds / _SAMPLE_S))):
        pause.wait(_SAMPLE_S)
        resident = resident_mb(pid)
        samples += [] if resident is None else [resident]
    return samples or [0.0]


def _middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: round(median(one[key] for one in runs), 2) for key in runs[0]}


def _added_mb(results: list[dict[str, Any]]) -> float | None:
    """Memory of one more camera, from the fewest to the most; None with one number of cameras only."""
    fewest, most = results[0], results[-1]
    more = most["cameras"] - fewest["cameras"]
    return (most["resident_mb"] - fewest["resident_mb"]) / more if more else None
