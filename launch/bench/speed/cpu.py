"""`irchroma bench cpu`: stages, files and live cameras on the CPU as it is and with instructions masked.

Beside an older checkout of irchroma and beside gst-launch, in turns in one run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.launch.arguments import counts_of, size_of
from irchroma.launch.bench.child import finished, json_of
from irchroma.launch.bench.speed.cpu_stages import gst_launch, moving_pictures
from irchroma.launch.bench.speed.played import ClipServer
from irchroma.launch.config import ConfigError
from irchroma.launch.measured import write_json
from irchroma.stream.protocols import VideoInfo
from irchroma.stream.sinks.open_sink import SinkOptions, open_sink

SIZES = ((512, 640), (720, 1280), (1080, 1920))
EXAMPLE = "irchroma bench cpu --json launch/benchmarks/cpu.json --old ../older-checkout"
MASKS: dict[str, dict[str, str]] = {
    "as it is": {},
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"},
}
"""Name -> environment. OpenVINO's convolutions are oneDNN's; its interpolation and reductions are its own and
stay (2026.4). OpenCV's wheels (5.0) have no kernels above AVX2. The JSON names the kernels that ran."""
_RATE = 30
_FRAMES_OF = {512: 360, 720: 180, 1080: 90}
_STUCK_S = 120
_FILE_WARM_S = 0.7

DRIVER = """
import importlib, json, os, signal, sys, threading, time
for place in ("irchroma.stream.loop.latency", "irchroma.stream.latency"):
    try:
        Meter = importlib.import_module(place).LatencyMeter
        break
    except ImportError:
        continue
warm_s, length_s = float(os.environ["BENCH_WARM_S"]), float(os.environ["BENCH_LENGTH_S"])
first, cpu, lock = [], {}, threading.Lock()
def dump(now):
    begun = cpu.get("from", (now, time.process_time()))
    with open(os.environ["BENCH_OUT"], "w") as file:
        json.dump({"cpu_s": time.process_time() - begun[1], "wall_s": now - begun[0],
                   "first_s": first[0] - float(os.environ["BENCH_START_S"]) if first else None}, file)
plain_add = Meter.add
def add(self, duration_ns):
    now = time.monotonic()
    if not first:
        first.append(now)
    if now >= first[0] + warm_s:
        cpu.setdefault("from", (now, time.process_time()))
        self.__dict__.setdefault("kept", []).append((now, duration_ns))
    if length_s and now >= first[0] + warm_s + length_s and lock.acquire(blocking=False):
        dump(now)
        os.kill(os.getpid(), signal.SIGTERM)
    plain_add(self, duration_ns)
def summary(self):
    kept = self.__dict__.get("kept", [])
    if not kept:
        return {"count": 0}
    values = sorted(ns / 1e6 for _, ns in kept)
    at = lambda share: values[min(len(values) - 1, int(share * len(values)))]
    return {"count": len(values), "seconds": kept[-1][0] - kept[0][0], "avg_ms": sum(values) / len(values),
            "p50_ms": at(0.5), "p95_ms": at(0.95), "p99_ms": at(0.99), "max_ms": values[-1]}
Meter.add, Meter.summary = add, summary
from irchroma.launch.cli import main
code = main(sys.argv[1:])
if not length_s:
    dump(time.monotonic())
from irchroma.launch.run.process import left_with; sys.exit(left_with(code))
"""
"""Runs irchroma's command line in whichever checkout PYTHONPATH names. Meters leave out what came in the
first seconds after the first frame, and CPU time counts from there; a live run is ended in good order."""


@dataclass(frozen=True, slots=True)
class CpuBenchOptions:
    """What is measured.

    Attributes:
        engine: as in `irchroma run --engine`.
        sizes: (H, W).
        cameras: numbers of live cameras.
        seconds: of a live run that count; warm_s before them do not.
        warm_s: see there.
        old: an older checkout; None for none.
    """

    engine: str = "nir"
    sizes: tuple[tuple[int, int], ...] = SIZES
    cameras: tuple[int, ...] = (1, 4)
    seconds: float = 6.0
    warm_s: float = 2.5
    old: Path | None = None

    @property
    def trees(self) -> dict[str, Path]:
        """Name -> folder on PYTHONPATH."""
        here = Path(__file__).resolve().parents[3]
        found = {"new": here / ".typing"}
        if self.old is not None:
            found = {"old": self.old.resolve() / ".typing", **found}
        return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    default = CpuBenchOptions()
    add("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    add("--old", type=Path, metavar="DIR", help="an older checkout to compare with")
    add("--engine", default=default.engine, help="engine of all runs (nir)")
    add("--size", action="append", type=size_of, metavar="WxH", help="may be given again (three sizes)")
    add(
        "--cameras", type=counts_of, default=default.cameras, metavar="N,N", help="live cameras at once (1,4)"
    )
    add("--seconds", type=float, default=default.seconds, help="of each live run (6)")
    add("--warm", type=float, default=default.warm_s, help="seconds of it before, not counted (2.5)")


def run(args: argparse.Namespace) -> int:
    """Measure, print a line for each result, write the JSON."""
    if args.old is not None and not (args.old / ".typing").is_dir():
        raise ConfigError(f"--old {args.old}: expected a checkout of irchroma, with its .typing folder")
    options = CpuBenchOptions(
        args.engine, tuple(args.size or SIZES), args.cameras, args.seconds, args.warm, args.old
    )
    results: dict[str, Any] = {
        "bench": "cpu",
        "engine": options.engine,
        "masks": MASKS,
        "kernels": {},
        "stages": [],
        "files": [],
        "live": [],
    }
    with tempfile.TemporaryDirectory(prefix="irchroma-bench-") as name:
        folder = Path(name)
        for mask in MASKS:
            results["kernels"][mask] = _python(options, "new", mask, _KERNELS, options.engine)
            print(f"{mask}: convolutions run as {results['kernels'][mask]}", flush=True)
        for size in options.sizes:
            pictures = list(moving_pictures(size))
            results["stages"] += [_stages(options, size, mask) for mask in MASKS]
            results["files"] += _files(options, size, pictures, folder)
            results["live"] += _live(options, size, pictures, folder)
    write_json(args.json, results)
    return 0


def _python(options: CpuBenchOptions, tree: str, mask: str, code: str, *arguments: str) -> dict[str, Any]:
    """Run `code` in a checkout under a mask and read the JSON of its last line."""
    environment = {**MASKS[mask], "PYTHONPATH": str(options.trees[tree])}
    return json_of(code, arguments, f"measuring in {tree}, {mask},", environment, _STUCK_S)


_KERNELS = """
import json, sys
from irchroma.engines import catalog
from irchroma.engines.network.network import NetworkOptions
from irchroma.engines.network.openvino_runtime import OpenVinoNetwork
name = catalog.parse(sys.argv[1])
path = catalog.weights_path(name.kind, name.variant or catalog.SIZES[0])
print(json.dumps(OpenVinoNetwork(path, NetworkOptions(cache=None)).kernels((1, 1, 256, 320))))
"""


_STAGES = "import sys; from irchroma.launch.bench.speed.cpu_stages import stages; stages(*sys.argv[1:])"


def _stages(options: CpuBenchOptions, size: tuple[int, int], mask: str) -> dict[str, Any]:
    found = _python(options, "new", mask, _STAGES, options.engine, str(size[0]), str(size[1]))
    words = ", ".join(f"{stage} {ms:.2f}" for stage, ms in found.items())
    print(f"{size[1]}x{size[0]}, {mask}, CPU ms a frame: {words}", flush=True)
    return {"size": list(size), "mask": mask, "cpu_ms": found}


def _irchroma(
    options: CpuBenchOptions, which: tuple[str, str], arguments: list[str], folder: Path, live: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A run's statistics without its first seconds, and its CPU time; see DRIVER."""
    tree, mask = which
    stats, out = folder / "stats.json", folder / "driver.json"
    for old in (stats, out):
        old.unlink(missing_ok=True)
    environment = {
        **MASKS[mask],
        "PYTHONPATH": str(options.trees[tree]),
        "BENCH_WARM_S": str(options.warm_s if live else _FILE_WARM_S),
        "BENCH_LENGTH_S": str(options.seconds if live else 0.0),
        "BENCH_OUT": str(out),
        "BENCH_START_S": str(time.monotonic()),
    }
    command = [sys.executable, "-c", DRIVER, "run", *arguments, "--quiet", "--stats", str(stats)]
    done = finished(command, f"a run in {tree}, {mask},", environment, _STUCK_S)
    if not stats.is_file():
        raise ConfigError(f"a run in {tree}, {mask}, left no statistics: {done.stderr.strip()[-300:]}")
    return json.loads(stats.read_text("utf-8")), json.loads(out.read_text("utf-8"))


def _files(
    options: CpuBenchOptions, size: tuple[int, int], pictures: list[NDArray[np.uint8]], folder: Path
) -> list[dict[str, Any]]:
    """From file to H.264 file, every tool in turn."""
    clip = _clip(folder, size)
    frames = _FRAMES_OF.get(size[0], 900)  # small ones are over soon
    _write_clip(clip, size, pictures, frames)
    results = []
    for mask in MASKS:
        for tree in options.trees:
            target = folder / f"{tree}.mp4"
            target.unlink(missing_ok=True)
            arguments = [str(clip), "--to", str(target), "--engine", options.engine]
            arguments += _config(_exact(mask, tree), folder)
            told, driver = _irchroma(options, (tree, mask), arguments, folder, live=False)
            done = told["stages"]["compose"]
            if not done["count"]:
                raise ConfigError(f"a file of {tree}, {mask}, was over within {_FILE_WARM_S:g} s")
            results.append(
                {
                    "size": list(size),
                    "mask": mask,
                    "what": tree,
                    "engine": told["engine"],
                    "frames_per_second": round(done["count"] / max(done["seconds"], 1e-3), 1),
                    "cpu_ms_a_frame": round(1e3 * driver["cpu_s"] / max(done["count"], 1), 2),
                    "first_frame_s": driver["first_s"],
                }
            )
    plain = shutil.which("gst-launch-1.0")
    if plain is not None:
        seconds, cpu_s = gst_launch(clip, [folder / "plain.mp4"], size, _RATE)
        results.append(
            {
                "size": list(size),
                "mask": "as it is",
                "what": "gst-launch",
                "frames_per_second": round(frames / seconds, 1),
                "cpu_ms_a_frame": round(1e3 * cpu_s / frames, 2),
            }
        )
    for one in results:
        print(
            f"{size[1]}x{size[0]} file to file, {one['mask']}, {one['what']}:"
            f" {one['frames_per_second']:.1f} fps, {one['cpu_ms_a_frame']:.1f} ms of CPU a frame",
            flush=True,
        )
    return results


def _write_clip(path: Path, size: tuple[int, int], pictures: list[NDArray[np.uint8]], frames: int) -> None:
    """The pictures to and fro, as H.264."""
    sink = open_sink(str(path), SinkOptions())
    sink.open(VideoInfo(size, Fraction(_RATE), live=False, description="a clip"), size)
    to_and_fro = [*pictures, *pictures[-2:0:-1]]
    for number in range(frames):
        pts_ns = number * 1_000_000_000 // _RATE
        sink.write(to_and_fro[number % len(to_and_fro)], pts_ns, 1_000_000_000 // _RATE)
    sink.close()


def _exact(mask: str, tree: str) -> list[str]:
    """Lines of a configuration: an older checkout must be told of a mask; who is told takes no 8-bit twin."""
    return ["[neural.network]", "exact = true"] if MASKS[mask] and tree == "old" else []


def _config(lines: list[str], folder: Path) -> list[str]:
    path = folder / "exact.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ["--config", str(path)] if lines else []


def _live(
    options: CpuBenchOptions, size: tuple[int, int], pictures: list[NDArray[np.uint8]], folder: Path
) -> list[dict[str, Any]]:
    """Cameras at 30 frames a second that cost next to nothing; one to H.264, several to nowhere."""
    results = []
    server = ClipServer(size, _RATE, pictures)
    try:
        for count in options.cameras:
            for mask in MASKS:
                for tree in options.trees:
                    about = {"size": list(size), "mask": mask, "what": tree, "cameras": count}
                    try:
                        found = _live_run(options, (tree, mask, count), server.address, folder)
                    except ConfigError as error:
                        results.append({**about, "failed": str(error)[-200:]})
                        print(
                            f"{size[1]}x{size[0]} live, {count} cameras, {mask}, {tree}: {error}", flush=True
                        )
                        continue  # too much for this machine, or for that checkout: that is a result
                    results.append({**about, **found})
                    print(
                        f"{size[1]}x{size[0]} live, {count} cameras, {mask}, {tree}:"
                        f" {found['frames_per_second']:.1f} fps each, p50 {found['p50_ms']:.1f},"
                        f" p95 {found['p95_ms']:.1f}, p99 {found['p99_ms']:.1f} ms,"
                        f" {found['cpu_ms_a_frame']:.1f} ms of CPU a frame",
                        flush=True,
                    )
    finally:
        server.close()
    if shutil.which("gst-launch-1.0") is not None:
        results += [_plain(size, count, folder) for count in options.cameras if count > 1]
    return results


def _plain(size: tuple[int, int], count: int, folder: Path) -> dict[str, Any]:
    """So many clips decoded and coded at once, by a live run's encoder, as fast as it goes."""
    targets, frames = [folder / f"{number}.mp4" for number in range(count)], _FRAMES_OF.get(size[0], 180)
    seconds, cpu_s = gst_launch(_clip(folder, size), targets, size, _RATE, live=True)
    found = {
        "frames_per_second": round(frames / seconds, 2),
        "cpu_ms_a_frame": round(1e3 * cpu_s / (count * frames), 2),
    }
    print(
        f"{size[1]}x{size[0]} decoded and coded alone, {count} at once: {found['frames_per_second']:.1f} fps"
        f" each, {found['cpu_ms_a_frame']:.1f} ms of CPU a frame",
        flush=True,
    )
    return {"size": list(size), "mask": "as it is", "what": "gst-launch", "cameras": count, **found}


def _clip(folder: Path, size: tuple[int, int]) -> Path:
    return folder / f"clip_{size[1]}x{size[0]}.mp4"


def _live_run(
    options: CpuBenchOptions, which: tuple[str, str, int], address: str, folder: Path
) -> dict[str, Any]:
    tree, mask, count = which
    exact = _exact(mask, tree)
    if count == 1:
        target = folder / f"live-{tree}.mp4"
        target.unlink(missing_ok=True)
        arguments = [address, "--to", str(target), "--engine", options.engine, *_config(exact, folder)]
    else:
        config = folder / "cameras.toml"
        lines = [f"engine = {json.dumps(options.engine)}", *exact]
        for _ in range(count):
            lines += ["[[cameras]]", f'source = "{address}"', 'to = ["null"]']
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        arguments = ["--config", str(config)]
    told, driver = _irchroma(options, (tree, mask), arguments, folder, live=True)
    runs = [told] if count == 1 else list(told["cameras"].values())
    sinks = [next(iter(one["sinks"].values()))["capture_to_encoder"] for one in runs]
    sinks = [one for one in sinks if one["count"]]
    counted = sum(one["count"] for one in sinks)
    if not counted:
        raise ConfigError(f"a live run in {tree}, {mask}, had no frames after its first seconds")
    return {
        "engine": runs[0]["engine"],
        "auto": (runs[0].get("auto") or {}).get("chosen"),
        "frames_per_second": round(sum(one["count"] / max(one["seconds"], 1e-3) for one in sinks) / count, 2),
        "dropped": sum(one["dropped_before_processing"] for one in runs),
        **{f"p{p}_ms": round(float(np.mean([one[f"p{p}_ms"] for one in sinks])), 2) for p in (50, 95, 99)},
        "cpu_ms_a_frame": round(1e3 * driver["cpu_s"] / counted, 2),
        "first_frame_s": driver["first_s"],
    }
