"""`irchroma bench cameras`: several live cameras in one process, shared networks beside separate ones.

Before them, what one network costs for several cameras here: batches, and calls side by side.

Plays a short clip as raw video over TCP, at a camera's pace: a camera that costs next to nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.engines import catalog
from irchroma.engines.network.network import (
    RUNTIMES,
    Network,
    NetworkOptions,
    Tensor,
    installed,
    open_network,
)
from irchroma.engines.neural.colorizer import padded, work_size
from irchroma.engines.processor import usable_cores
from irchroma.launch.config import ConfigError
from irchroma.launch.measured import write_json
from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import SyntheticOptions

BATCHES = (1, 2, 4)
_ROUND_FRAMES = 4


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


_CLIP_FRAMES = 30
_STUCK_S = 10.0
_START_S = 60.0


class ClipServer:
    """Serves one clip of the synthetic near-infrared camera, to and fro, to whoever connects.

    Frames that a client does not take in time are left out, as by a real camera.

    Args:
        size: (H, W) in pixels.
        rate: frames a second.
        shown: (H, W) uint8 each, instead of the synthetic camera's, which takes its time to draw large ones.
    """

    def __init__(
        self, size: tuple[int, int], rate: int, shown: list[NDArray[np.uint8]] | None = None
    ) -> None:
        if shown is None:
            camera = SyntheticCamera(SyntheticOptions(band="nir", size=size))
            shown = [np.asarray(camera.frame(n).pixels, np.uint8) for n in range(_CLIP_FRAMES)]
        pictures = [np.ascontiguousarray(one).tobytes() for one in shown]
        self._clip = pictures + pictures[-2:0:-1]
        self._size, self._rate = size, rate
        self.clients = 0  # that have come so far
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, name="clip server", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """As `irchroma run` takes a source."""
        port = self._listener.getsockname()[1]
        size = f"{self._size[1]}x{self._size[0]}"
        return f"raw:tcp://127.0.0.1:{port}?size={size}&format=gray8&rate={self._rate}&live=1"

    def close(self) -> None:
        """Disconnect everybody."""
        self._ended.set()
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        self._listener.settimeout(0.2)
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self.clients += 1
            threading.Thread(target=self._play, args=(client,), daemon=True).start()

    def _play(self, client: socket.socket) -> None:
        start_s = time.monotonic()
        with client:
            client.settimeout(_STUCK_S)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(self._clip[0]))
            for number in itertools.count():
                late_s = time.monotonic() - start_s - number / self._rate
                if late_s > 1 / self._rate:
                    continue  # the client was too slow for this one
                if self._ended.wait(max(0.0, -late_s)):
                    return
                try:
                    client.sendall(self._clip[number % len(self._clip)])
                except OSError:
                    return


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
        seconds: length of each run, from when its last camera is there.
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
                        found = _measured(options, count, shared, clip, Path(folder))
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
    options: CamerasBenchOptions, count: int, shared: bool, server: ClipServer, folder: Path
) -> dict[str, Any]:
    """One process with so many cameras; CPU time and memory are the whole process's."""
    stats, config = folder / "stats.json", folder / "cameras.toml"
    lines = [f"engine = {json.dumps(options.engine)}", "[sharing]", f"networks = {str(shared).lower()}"]
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
    memory = _watch_memory(process.pid, options.seconds)
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


def _runs(pid: int) -> bool:
    """Whether this child has not ended; it is left to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


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
