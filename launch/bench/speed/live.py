"""`irchroma bench live`: whole-process throughput beside gst-launch, and the latency a live run adds."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from irchroma.engines.reference.pictures import Reference
from irchroma.engines.retrieval.library import ReferenceLibrary
from irchroma.launch.arguments import size_of
from irchroma.launch.bench.child import finished
from irchroma.launch.bench.speed.cpu import MASKS
from irchroma.launch.bench.speed.cpu_stages import gst_launch
from irchroma.launch.bench.speed.played import ClipServer, drawn
from irchroma.launch.config import ConfigError
from irchroma.launch.measured import spread, write_json
from irchroma.stream.synthetic.camera import SyntheticCamera
from irchroma.stream.synthetic.options import SyntheticOptions

SIZES = ((512, 640), (720, 1280))
RATE = 30
_STUCK_S, _LOOK_S = 60.0, 0.05
ENGINES = ("palette:white-hot", "palette:ironbow")
"""The first is that of the live run. White-hot leaves the encoder the pictures that gst-launch gives it; in
color they are more work for it."""
SCENES = 6
"""In the library that a reference is chosen of."""
EXAMPLE = "irchroma bench live --json launch/benchmarks/live.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    add("--engine", action="append", help="engine of the runs; may be given again")
    add("--size", action="append", type=size_of, metavar="WxH", help="of the pictures; may be given again")
    add("--frames", type=int, default=3600, help="frames of each clip, two minutes")
    add("--repetitions", type=int, default=5, help="pairs of runs, taken in turns")
    add("--live-seconds", type=float, default=30.0, help="length of the live run")
    add(
        "--auto-reference",
        action="store_true",
        help="live runs of reference:thermal with --reference auto, on the CPU as it is and with AVX2",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print a table, write the JSON."""
    if shutil.which("gst-launch-1.0") is None:
        raise ConfigError("gst-launch-1.0 is missing: install gstreamer1.0-tools")
    engines, sizes = tuple(args.engine or ENGINES), tuple(args.size or SIZES)
    if args.auto_reference:
        write_json(args.json, measure_references(sizes, args.live_seconds))
        return 0
    results: dict[str, Any] = {"bench": "live", "throughput": [], "latency": []}
    with tempfile.TemporaryDirectory(prefix="irchroma-bench-") as folder:
        for size in sizes:
            clip = make_clip(size, args.frames, Path(folder))
            for engine in engines:
                throughput = measure_throughput(clip, size, engine, args, Path(folder))
                results["throughput"].append(throughput)
                print(
                    f"{size[1]}x{size[0]} {engine}: {throughput['frames_per_second']['median']:.0f} fps,"
                    f" {throughput['ratio']['median']:.2f} of gst-launch on the input,"
                    f" {throughput['ratio_same_pictures']['median']:.2f} of gst-launch on the output"
                )
            latency = measure_latency(size, engines[0], args.live_seconds, Path(folder))
            results["latency"].append(latency)
            print(
                f"{size[1]}x{size[0]} live: capture to encoder p50 {latency['p50_ms']:.2f} ms,"
                f" p99 {latency['p99_ms']:.2f} ms, {latency['frames_per_second']:.1f} fps"
            )
    write_json(args.json, results)
    return 0


def make_clip(size: tuple[int, int], frames: int, folder: Path) -> Path:
    """A gray clip of the synthetic near-infrared camera."""
    clip = folder / f"clip_{size[1]}x{size[0]}.mp4"
    source = f"test:nir?size={size[1]}x{size[0]}&frames={frames}"
    _irchroma(source, "--to", str(clip), "--engine", "gray")
    return clip


def measure_throughput(
    clip: Path, size: tuple[int, int], engine: str, args: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """Wall time of whole processes in turns: ours, and gst-launch's on our input and on our output."""
    ours = folder / "ours.mp4"
    ours_s, plain_s, same_s = [], [], []
    for _ in range(args.repetitions):
        ours_s.append(_irchroma(str(clip), "--to", str(ours), "--engine", engine))
        plain_s.append(gst_launch(clip, [folder / "reference.mp4"], size, RATE)[0])
        same_s.append(gst_launch(ours, [folder / "reference.mp4"], size, RATE)[0])
    return {
        "size": list(size),
        "engine": engine,
        "frames": args.frames,
        "seconds": spread(ours_s),
        "gst_launch_seconds": spread(plain_s),
        "frames_per_second": spread([args.frames / s for s in ours_s]),
        "ratio": spread([r / o for o, r in zip(ours_s, plain_s, strict=True)]),
        "ratio_same_pictures": spread([r / o for o, r in zip(ours_s, same_s, strict=True)]),
    }


def measure_latency(
    size: tuple[int, int],
    engine: str,
    live_s: float,
    folder: Path,
    more: tuple[str, ...] = (),
    mask: str = "as it is",
    camera: ClipServer | None = None,
) -> dict[str, Any]:
    """A paced synthetic camera at 30 frames a second to a file; capture to encoder input.

    Args:
        size: (H, W) of the camera.
        engine: as in `irchroma run --engine`.
        live_s: length in seconds.
        folder: for what is written.
        more: further words of the command.
        mask: a name of `MASKS`.
        camera: in place of one that the run itself draws.
    """
    stats_path = folder / "stats.json"
    address = f"test:thermal?size={size[1]}x{size[0]}&rate={RATE}&live=1&frames={int(live_s * RATE)}"
    if camera is not None:
        address = camera.address
    words = ("--to", str(folder / "live.mp4"), "--overwrite", "--engine", engine, "--stats", str(stats_path))
    before_s = _children_s()
    command = [sys.executable, "-m", "irchroma.launch", "run", address, *words, *more]
    if camera is not None:
        log = _shown(command, live_s, f"a live run, {mask},", MASKS[mask], camera.taken)
    else:
        log = finished(command, f"a live run, {mask},", MASKS[mask]).stderr
    spent_s = _children_s() - before_s
    stats = json.loads(stats_path.read_text(encoding="utf-8"))
    sink = next(iter(stats["sinks"].values()))
    return {
        "size": list(size),
        "frames": stats["frames"],
        "frames_per_second": stats["frames_per_second"],
        "dropped": stats["dropped_before_processing"] + sink["dropped"] + (camera.left_out if camera else 0),
        **sink["capture_to_encoder"],
        "stages": stats["stages"],
        "engine": stats["engine"],
        "references": re.findall(r"reference (\S.*) in use$", log, re.MULTILINE),
        "cpu_ms_a_frame_with_start": round(1e3 * spent_s / max(1, stats["frames"]), 2),
    }


def _shown(
    command: list[str], live_s: float, about: str, environment: Mapping[str, str], taken: Event
) -> str:
    """The log of a run that is ended by a signal so long after its first frame is `taken`: for a live source
    that ends it would wait.

    Raises:
        ConfigError: it failed, takes no frame, or does not end.
    """
    environment = {**os.environ, **environment}
    with subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8", env=environment) as process:
        until_s = time.monotonic() + _STUCK_S
        while process.poll() is None and not taken.wait(_LOOK_S):
            if time.monotonic() > until_s:
                process.kill()
                raise ConfigError(f"{about} takes no frame")
        try:
            log = process.communicate(timeout=live_s)[1]
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                log = process.communicate(timeout=_STUCK_S)[1]
            except subprocess.TimeoutExpired as error:
                process.kill()
                raise ConfigError(f"{about} does not end") from error
    if process.returncode:
        raise ConfigError(f"{about} failed: {log.strip()[-300:]}")
    return log


def measure_references(sizes: Sequence[tuple[int, int]], live_s: float) -> dict[str, Any]:
    """Live runs that choose of a library of synthetic scenes, their own among them; print and give them."""
    results: dict[str, Any] = {"bench": "live", "reference": "auto", "latency": []}
    with tempfile.TemporaryDirectory(prefix="irchroma-bench-") as folder:
        for size in sizes:
            library = scenes_library(Path(folder) / f"library{size[1]}", size)
            more = ("--reference", "auto", "--references", str(library.folder))
            for mask in MASKS:
                before = os.getloadavg()[0]
                with closing(ClipServer(size, RATE, drawn("thermal", size))) as camera:
                    found = measure_latency(
                        size, "reference:thermal", live_s, Path(folder), more, mask, camera
                    )
                if not found["references"]:
                    raise ConfigError(
                        f"{size[1]}x{size[0]}: no reference came into use, so none was measured"
                    )
                results["latency"].append({"mask": mask, "load_before": round(before, 2), **found})
                print(
                    f"{size[1]}x{size[0]} live, {mask}: {found['engine']}, capture to encoder p50"
                    f" {found['p50_ms']:.2f} ms, p99 {found['p99_ms']:.2f} ms,"
                    f" {found['frames_per_second']:.1f} fps, {found['dropped']} dropped,"
                    f" {found['cpu_ms_a_frame_with_start']:.1f} ms of CPU a frame"
                )
    return results


def scenes_library(folder: Path, size: tuple[int, int]) -> ReferenceLibrary:
    """A library of `SCENES` synthetic scenes of (H, W) in color, the camera's own first."""
    library = ReferenceLibrary(folder, make=True)
    seed = SyntheticOptions().seed
    with library.changing():
        for number in range(SCENES):
            options = SyntheticOptions(band="thermal", size=size, seed=seed + number)
            rgb = SyntheticCamera(options).frame(0).rgb
            library.add(Reference(rgb, np.full(rgb.shape[:2], 255, np.uint8), f"scene {number}"))
    return library


def _children_s() -> float:
    """CPU seconds of the processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _irchroma(*arguments: str) -> float:
    start_s = time.monotonic()
    finished([sys.executable, "-m", "irchroma.launch", "run", *arguments, "--quiet"], "a run")
    return time.monotonic() - start_s
