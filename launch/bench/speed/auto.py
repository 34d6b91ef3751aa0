"""`irchroma bench auto`: a live run by `--auto` while another process loads a core, minute by minute."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irchroma.launch.config import ConfigError
from irchroma.launch.measured import write_json
from irchroma.launch.run.automatic import Governor, prepare
from irchroma.launch.run.monitoring.monitor import Monitor
from irchroma.launch.run.process import stop_on_signals, tune_process
from irchroma.launch.run.settings.options import load
from irchroma.launch.run.wiring import build_loop
from irchroma.stream.loop.latency import LatencyMeter
from irchroma.stream.loop.loop import Loop

EXAMPLE = "irchroma bench auto --json launch/benchmarks/auto.json --minutes 5"
RATE = 30
WARM_UP_S = 5.0
"""Other rungs are compiled meanwhile; counted apart."""
_BURN = "while True:\n    sum(range(10000))"


@dataclass(slots=True)
class Interval:
    """What happened in a minute (or what is left of one).

    Attributes:
        start_s: since the first frame.
        frames: processed.
        drops: before processing and at the sinks.
        changes: of the rung.
        total: from arrival until an encoder has the picture.
    """

    start_s: float
    frames: int
    drops: int
    changes: int
    total: LatencyMeter


class Intervals:
    """Cuts a run into minutes; `on_frame` is called after every frame."""

    def __init__(self, governor: Governor, every_s: float) -> None:
        self._governor, self._every_s = governor, every_s
        self._start_ns: int | None = None
        self._now: Interval | None = None
        self._at_s = 0.0
        self.done: list[dict[str, Any]] = []

    def on_frame(self, loop: Loop) -> float:
        """Close an interval when its time is over; seconds since the first frame."""
        pts_ns = loop.reader.pts_now_ns()
        if self._start_ns is None:
            self._start_ns = pts_ns
            self._begin(0.0, loop)
        if self._now is None:
            raise RuntimeError("no phase of the bench has begun")
        at_s = self._at_s = (pts_ns - self._start_ns) / 1e9
        lasts_s = WARM_UP_S if not self.done else self._every_s
        if at_s - self._now.start_s >= lasts_s:
            self._end(at_s, loop)
            self._begin(at_s, loop)
        return at_s

    def finish(self, loop: Loop) -> None:
        """Close the last one, if it is worth it."""
        if self._now is not None and self._at_s - self._now.start_s > 2:
            self._end(self._at_s, loop)

    def _begin(self, at_s: float, loop: Loop) -> None:
        self._now = Interval(at_s, loop.frames, loop.drops, len(self._governor.steps), LatencyMeter())
        loop.writers[0].total = self._now.total

    def _end(self, at_s: float, loop: Loop) -> None:
        now = self._now
        if now is None:
            raise RuntimeError("no phase of the bench has begun")
        seconds = at_s - now.start_s
        steps = self._governor.steps[now.changes :]
        self.done.append(
            {
                "from_s": round(now.start_s, 2),
                "seconds": round(seconds, 2),
                "frames_per_second": round((loop.frames - now.frames) / seconds, 2),
                "dropped": loop.drops - now.drops,
                "capture_to_encoder": now.total.summary(),
                "rung_changes": steps,
            }
        )
        print(line(self.done[-1]), flush=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    add("--minutes", type=float, default=5.0, help="length of the run (5)")
    add("--engine", default="nir", help="nir or thermal (nir)")
    add("--size", default="640x512", metavar="WxH", help="of the camera (640x512)")
    add("--burners", type=int, default=1, help="processes that load a core each (1)")
    add("--config", type=Path, metavar="FILE", help="settings of calibrate speed; default: as run --auto")


def run(args: argparse.Namespace) -> int:
    """Run beside the burners, print a line a minute, write the JSON."""
    if args.minutes <= 0 or args.burners < 0:
        raise ConfigError("--minutes must be above 0 and --burners not below 0")
    tune_process()
    camera = f"test:{args.engine}?size={args.size}&rate={RATE}&live=1"
    with tempfile.TemporaryDirectory(prefix="irchroma-bench-") as folder:
        settings = {"source": camera, "to": [str(Path(folder) / "auto.mp4"), "null"], "engine": args.engine}
        config, governor = prepare(load(args.config, {**settings, "auto": True}), args.config, settings)
        if governor is None:
            raise ConfigError(f"expected nir or thermal, got {args.engine}")
        print(f"auto: {governor.chosen}")
        monitor = Monitor(config, True, governor)
        intervals = Intervals(governor, min(60.0, 60 * args.minutes))
        loop = monitor.loop = build_loop(config, governor=governor)
        stop_on_signals(loop.stop)

        def on_frame(running: Loop) -> None:
            monitor.on_frame(running)
            if intervals.on_frame(running) >= WARM_UP_S + 60 * args.minutes:
                running.stop()

        burners = [subprocess.Popen([sys.executable, "-c", _BURN]) for _ in range(args.burners)]
        try:
            loop.run(on_frame)
        finally:
            for burner in burners:
                burner.kill()
                burner.wait()
        stats = monitor.stats()
        intervals.finish(loop)
    stats["sinks"] = {Path(label).name: sink for label, sink in stats["sinks"].items()}
    stats["auto"] = {
        **stats["auto"],
        "chosen": re.sub(r"(?<=\s)/\S*/", "", governor.chosen),
    }  # this machine's own folders
    minutes = intervals.done[1:]
    results = {
        "bench": "auto",
        "camera": camera,
        "burners": args.burners,
        "warm_up": intervals.done[:1],
        "minutes": minutes,
        "dropped_after_warm_up": sum(minute["dropped"] for minute in minutes),
        "whole_run": stats,
    }
    write_json(args.json, results)
    return 0


def line(minute: dict[str, Any]) -> str:
    """One interval for people."""
    latency = minute["capture_to_encoder"]
    return (
        f"from {minute['from_s']:6.1f} s: {minute['frames_per_second']:5.2f} frames a second,"
        f" {minute['dropped']} dropped, latency p50 {latency['p50_ms']:.1f}, p95 {latency['p95_ms']:.1f},"
        f" p99 {latency['p99_ms']:.1f}, max {latency['max_ms']:.1f} ms,"
        f" {len(minute['rung_changes'])} changes"
    )
