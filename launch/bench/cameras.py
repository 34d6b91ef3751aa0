"""`irchroma bench cameras`: several live cameras in one process, shared networks beside separate ones."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from irchroma.launch.bench.bench_batches import measure_batches
from irchroma.launch.bench.clip_server import ClipServer
from irchroma.launch.config import ConfigError
from irchroma.launch.measured import write_json

EXAMPLE = "irchroma bench cameras --json launch/benchmarks/cameras.json"

_SAMPLE_S = 0.5
_BATCH_ROUNDS = 15


@dataclass(frozen=True, slots=True)
class CamerasBenchOptions:
    """What is measured.

    Attributes:
        engine: as in `irchroma run --engine`.
        counts: numbers of cameras.
        size: (H, W) of each.
        rate: frames a second of each.
        seconds: length of each run.
        repetitions: of every run, shared and separate in turns.
    """

    engine: str = "nir"
    counts: tuple[int, ...] = (1, 2, 4)
    size: tuple[int, int] = (512, 640)
    rate: int = 15
    seconds: float = 30.0
    repetitions: int = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sizes of the measurement."""
    default = CamerasBenchOptions()
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    parser.add_argument("--engine", default=default.engine, help="engine of all cameras")
    parser.add_argument("--cameras", default="1,2,4", metavar="N,N", help="numbers of cameras")
    parser.add_argument("--size", default="640x512", metavar="WxH", help="pictures of each camera")
    parser.add_argument("--rate", type=int, default=default.rate, help="frames a second of each camera")
    parser.add_argument("--seconds", type=float, default=default.seconds, help="length of each run")
    parser.add_argument("--repetitions", type=int, default=default.repetitions, help="runs of each kind")


def run(args: argparse.Namespace) -> int:
    """Measure, print a table, write the JSON."""
    try:
        counts = tuple(int(word) for word in args.cameras.split(","))
        width, height = (int(word) for word in args.size.split("x"))
    except ValueError as error:
        raise ConfigError(
            f"expected --cameras such as 1,2,4 and --size such as 640x512, got {args.cameras} and {args.size}"
        ) from error
    if min(counts) < 1 or args.seconds <= 0 or args.rate < 1 or args.repetitions < 1:
        raise ConfigError("cameras, rate, seconds and repetitions must be above 0")
    options = CamerasBenchOptions(
        args.engine, counts, (height, width), args.rate, args.seconds, args.repetitions
    )
    write_json(args.json, measure(options))
    return 0


def measure(options: CamerasBenchOptions) -> dict[str, Any]:
    """Every number of cameras, shared and separate in turns; prints each result as it comes."""
    runs: dict[tuple[int, bool], list[dict[str, Any]]] = {}
    clip = ClipServer(options.size, options.rate)
    try:
        with tempfile.TemporaryDirectory(prefix="irchroma-bench-") as folder:
            for _ in range(options.repetitions):
                for count in options.counts:
                    for shared in (True, False):
                        found = _measured(options, count, shared, clip.address, Path(folder))
                        runs.setdefault((count, shared), []).append(found)
    finally:
        clip.close()
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
    batches = measure_batches(options.engine, options.size, _BATCH_ROUNDS)
    for one in batches:
        words = [f"{name} {cost['cpu']:.1f}" for name, cost in one["ms_a_frame"].items()]
        print(f"{one['runtime']}, ms of CPU a frame: {', '.join(words)}")
    for kind, megabytes in added.items():
        print(f"memory of one more camera, {kind} networks: {megabytes:.0f} MB")
    return {
        "bench": "cameras",
        "engine": options.engine,
        "size": list(options.size),
        "rate": options.rate,
        "seconds": options.seconds,
        "repetitions": options.repetitions,
        "latency": "from a frame's arrival until its sink takes it, start-up included; median of repetitions",
        "added_mb_a_camera": added,
        "runs": results,
        "network_calls": batches,
    }


def _measured(
    options: CamerasBenchOptions, count: int, shared: bool, source: str, folder: Path
) -> dict[str, Any]:
    """One process with so many cameras; CPU time and memory are the whole process's."""
    stats, config = folder / "stats.json", folder / "cameras.toml"
    lines = [f"engine = {json.dumps(options.engine)}", "[sharing]", f"networks = {str(shared).lower()}"]
    for _ in range(count):
        lines += ["[[cameras]]", f'source = "{source}"', 'to = ["null"]']
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "irchroma.launch", "run", "--config", str(config), "--quiet"]
    process = subprocess.Popen([*command, "--stats", str(stats)], stderr=subprocess.PIPE, text=True)
    memory = _watch_memory(process.pid, options.seconds)
    process.send_signal(signal.SIGTERM)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    if process.returncode or not stats.is_file():
        raise ConfigError(f"a run of {count} cameras failed: {said.strip()[-300:]}")
    told = json.loads(stats.read_text(encoding="utf-8"))["cameras"].values()
    stats.unlink()
    if not all(one["frames"] for one in told):
        raise ConfigError(f"not every one of {count} cameras got a frame in {options.seconds:g} s: take more")
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


def _watch_memory(pid: int, seconds: float) -> list[float]:
    """Resident memory in MB, now and again for so long, or until the process ends."""
    samples: list[float] = []
    pause = threading.Event()
    for _ in range(max(2, round(seconds / _SAMPLE_S))):
        pause.wait(_SAMPLE_S)
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                samples.append(int(line.split()[1]) / 1024)
    return samples or [0.0]


def _middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: round(median(one[key] for one in runs), 2) for key in runs[0]}


def _added_mb(results: list[dict[str, Any]]) -> float | None:
    """Memory of one more camera, from the fewest to the most; None with one number of cameras only."""
    fewest, most = results[0], results[-1]
    more = most["cameras"] - fewest["cameras"]
    return (most["resident_mb"] - fewest["resident_mb"]) / more if more else None
