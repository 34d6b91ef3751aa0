"""`irchroma bench archive`: an archive against one run: pictures, times, seams, what it costs."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from irchroma.launch.archive.manifest import MANIFEST, read_manifest
from irchroma.launch.config import ConfigError
from irchroma.launch.measured import write_json
from irchroma.stream.errors import StreamError
from irchroma.stream.gstreamer.door import EndOfStream
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.sources.packets import read_packets

EXAMPLE = "irchroma bench archive --json archive.json"

_IRCHROMA = (sys.executable, "-m", "irchroma.launch")
_LOOK_S = 0.005

Codes = NDArray[np.uint8]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    add("--engine", default="nir", metavar="E", help="what colors (default nir)")
    add("--size", default="160x128", metavar="WxH", help="of the pictures (default 160x128)")
    add("--rate", type=int, default=10, metavar="N", help="pictures a second (default 10)")
    add("--seconds", type=int, default=120, metavar="S", help="of the clip (default 120)")
    add("--segment-length", type=float, default=40.0, metavar="S", help="of a segment (default 40)")
    add("--overlap", type=float, default=30.0, metavar="S", help="of warm-up (default 30)")
    add("--workers", type=int, default=2, metavar="N", help="segments at once (default 2)")
    add("--ray", action="store_true", help="the same by Ray on this machine too (irchroma[fleet])")


def run(args: argparse.Namespace) -> int:
    """One run, an archive by one worker, by several, by several of which one is killed, and that again."""
    if min(args.rate, args.seconds, args.workers) < 1 or args.segment_length < 1 or args.overlap < 0:
        raise ConfigError("expected 1 or more of --rate, --seconds, --workers and --segment-length")
    with tempfile.TemporaryDirectory(prefix="irchroma-archive-") as folder:
        told = _measured(args, Path(folder))
    write_json(args.json, {"bench": "archive", **told})
    seams = told["several_workers"]["from_one_run"]
    apart = f"{seams['most_codes']} codes of Y'CbCr from one run at most"
    print(
        f"{told['speed_up']:.2f} times as fast by {args.workers} workers as by one,"
        f" which takes {told['one_worker_over_one_run']:.2f} times one run's time;"
        f" {apart}; again: {told['again']['seconds']:.1f} s"
    )
    return 0


def _measured(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    clip, single = folder / "clip.mp4", folder / "single.mp4"
    frames = args.rate * args.seconds
    source = f"test:nir?size={args.size}&rate={args.rate}&frames={frames}&jumps=every:9"
    _done(["run", source, "--to", str(clip), "--engine", "gray", "--quiet"])
    engine = ["--engine", args.engine, "--quality", "0", "--quiet"]  # lossless: no encoder's rounding
    fixed = ["--fixed", "--color-every", "1"]
    single_s = _done(["run", str(clip), "--to", str(single), *engine, *fixed])
    cut = ["--segment-length", str(args.segment_length), "--overlap", str(args.overlap)]

    def words(name: str, workers: int) -> list[str]:
        out = folder / name / "out.mp4"
        out.parent.mkdir(exist_ok=True)
        return ["archive", str(clip), str(out), *engine, *cut, "--workers", str(workers)]

    one_s = _done(words("one", 1))
    several_s = _done(words("several", args.workers))
    killed_s = _done(words("killed", args.workers), kill=True)
    ray_s = _done([*words("ray", args.workers), "--ray", "local"]) if args.ray else None
    target = folder / "killed" / "out.mp4"
    before = target.stat().st_ino, target.stat().st_mtime_ns
    again_s = _done(words("killed", args.workers))
    told: dict[str, Any] = {
        "engine": args.engine,
        "size": args.size,
        "frames": frames,
        "rate": args.rate,
        "segment_s": args.segment_length,
        "overlap_s": args.overlap,
        "workers": args.workers,
        "load_average": os.getloadavg()[0],
        "one_run_s": round(single_s, 2),
        "one_worker_over_one_run": round(one_s / single_s, 3),
        "speed_up": round(one_s / several_s, 3),
        "again": {
            "seconds": round(again_s, 2),
            "untouched": (target.stat().st_ino, target.stat().st_mtime_ns) == before,
        },
    }
    told["one_worker"] = _told(folder / "one", one_s, single)
    told["several_workers"] = _told(folder / "several", several_s, single)
    told["one_of_them_killed"] = _told(folder / "killed", killed_s, single)
    if ray_s is not None:
        told["several_by_ray"] = _told(folder / "ray", ray_s, single)
    return told


def _told(folder: Path, seconds: float, single: Path) -> dict[str, Any]:
    """What an archive noted of its recording, and how far that is from one run's."""
    noted = read_manifest(folder / MANIFEST)["recordings"]["out.mp4"]
    return {
        "seconds": round(seconds, 2),
        "segments": [segment["frames"] for segment in noted["segments"]],
        "failed_attempts": noted["failed_attempts"],
        "from_one_run": difference(folder / "out.mp4", single),
    }


def difference(path: Path, single: Path) -> dict[str, Any]:
    """How far one file's pictures and times are from another's.

    `most_codes` is of Y', Cb and Cr as they are in the file.

    Raises:
        StreamError: one of them cannot be read.
    """
    counts, codes = _compared(*(_coded(one) for one in (path, single)))
    if not codes:
        raise StreamError(f"{path}, {single}: no pictures to compare")
    times = [[packet.pts_ns for packet in read_packets(one)] for one in (path, single)]
    return {
        "frames": counts[0],
        "frames_of_one_run": counts[1],
        "same_times": times[0] == times[1],
        "most_codes": max(codes),
        "frames_that_differ": sum(value > 0 for value in codes),
    }


def _compared(one: Iterator[Codes], other: Iterator[Codes]) -> tuple[tuple[int, int], list[int]]:
    """How many pictures there are on each side, and for each pair the largest difference."""
    counts, most = [0, 0], []
    for mine, its in zip_longest(one, other):
        counts[0] += mine is not None
        counts[1] += its is not None
        if mine is not None and its is not None:
            most.append(int(cv2.norm(mine, its, cv2.NORM_INF)))
    return (counts[0], counts[1]), most


def _coded(path: Path) -> Iterator[Codes]:
    """(N, 1) uint8 of each picture: Y', Cb and Cr, I420 as the file has it."""
    line = (
        "filesrc name=file ! decodebin ! videoconvert ! video/x-raw,format=I420 ! appsink name=out sync=false"
    )
    pipeline = Pipeline(f"{line} max-buffers=4", {"file": {"location": str(path)}})
    try:
        pipeline.start()
        out = pipeline.element("out")
        while True:
            sample = out.emit("try-pull-sample", 100_000_000)
            if sample is not None:
                buffer = sample.get_buffer()
                yield np.frombuffer(buffer.extract_dup(0, buffer.get_size()), np.uint8)
                continue
            pipeline.check()
            if out.get_property("eos"):
                return
    except EndOfStream:
        return
    finally:
        pipeline.stop()


def _done(words: list[str], kill: bool = False) -> float:
    """Do a command; the seconds that it took. With `kill`, one of its workers is killed at its work.

    Raises:
        StreamError: it failed, or there was no worker to kill.
    """
    began_s = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen([*_IRCHROMA, *words], stdout=subprocess.DEVNULL, stderr=said)
        try:
            if kill:
                _kill_worker(process, Path(words[2]).parent)
            code = process.wait()
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        if code != 0:
            raise StreamError(f"irchroma {words[0]}: {(said.read().strip().splitlines() or ['failed'])[-1]}")
    return time.monotonic() - began_s


def _kill_worker(process: subprocess.Popen[bytes], place: Path) -> None:
    """Kill the first worker that has begun to write its segment, which bears its number."""
    while process.poll() is None:
        for part in place.glob(".irchroma-archive/*/*.part.mkv"):
            with contextlib.suppress(FileNotFoundError):  # it was done just then
                if part.stat().st_size > 0:
                    os.kill(int(part.name.split(".")[-3]), signal.SIGKILL)
                    return
        time.sleep(_LOOK_S)
    raise StreamError("the archive ended before one of its workers could be killed")
