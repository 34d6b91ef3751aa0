"""Cameras whose sources, engines and sinks fail, hang, come late or give garbage at random.

`python -m tests.stream.loop.chaos --seconds 1200 --seed 3` for long; prints what came of it as JSON, exits 1
where something is not as it must be. The test runs it for some seconds. The same seed makes the same faults,
call by call.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from tests.stream.loop.chaotic import LONGEST_HANG_S, ChaoticCamera, ChaoticEngine, ChaoticSink, Faults

from irchroma.launch.measured import write_json
from irchroma.launch.run.process import stop_on_signals
from irchroma.stream.loop.interruptible import Deadlines
from irchroma.stream.loop.loop import Loop, LoopOptions
from irchroma.stream.loop.reader import ReconnectOptions
from irchroma.stream.loop.writer import SinkDeadlines, SinkWriter
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.running_time import awake_s
from irchroma.stream.sinks.files.file_sink import FileSink
from irchroma.stream.view.composer import ViewComposer

LONGEST_PAUSE_S, LONGEST_END_S = 1.0, 3.0
MOST_GROWTH_BYTES = 48 << 20
ENGINE = Deadlines(answer_s=0.4, hung_s=1.5, first_s=1.5, close_s=0.4)
SINK = SinkDeadlines(open_s=5.0, hung_s=1.0, hurry_s=0.8, first_delay_s=0.1, longest_delay_s=1.0)


class Clock:
    """A sink that notes when pictures come."""

    def __init__(self) -> None:
        self.drops = 0
        self.times_s: list[float] = []
        self.last_pts_ns = -1
        self.disorder = 0

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """Nothing to do."""

    def write(self, pixels: Pixels, pts_ns: int, duration_ns: int) -> None:
        """Note it."""
        self.times_s.append(time.monotonic())
        self.disorder += pts_ns <= self.last_pts_ns
        self.last_pts_ns = pts_ns

    def close(self) -> None:
        """Nothing to do."""

    def longest_pause_s(self) -> float:
        """Between two pictures."""
        return max((b - a for a, b in itertools.pairwise(self.times_s)), default=float("inf"))


class Camera:
    """One camera's run, on a thread of its own."""

    def __init__(self, seed: int, recording: Path | None) -> None:
        self.faults, self.clock, self.recording = Faults(random.Random(seed)), Clock(), recording
        faults, self.error = self.faults, ""
        writers = [
            SinkWriter(self.clock, "clock"),
            SinkWriter(ChaoticSink(faults), "chaos", partial(ChaoticSink, faults), SINK),
        ]
        if recording is not None:
            writers.append(SinkWriter(FileSink(recording), recording.name))
        reconnect = ReconnectOptions(stall_s=0.5, first_delay_s=0.02, longest_delay_s=0.1)
        options = LoopOptions(reconnect=reconnect, repeat_s=0.3, deadlines=ENGINE)
        self.loop = Loop(
            ChaoticCamera(faults),
            lambda info: ChaoticEngine(faults),
            ViewComposer(),
            writers,
            options,
            remake_source=partial(ChaoticCamera, faults),
        )
        self.thread = threading.Thread(target=self._run, name=f"camera {seed}")

    def _run(self) -> None:
        try:
            self.loop.run()
        except Exception as error:  # noqa: BLE001 (it is what must not happen)
            if self.loop.writers[1].failure is not error:  # the chaotic sink may fail over its very end
                self.error = repr(error)


_PULSE = """
import select, sys, time
longest_s = 0.0
while not select.select([sys.stdin], [], [], 0.2)[0]:
    wall_s, worked_s = time.monotonic(), time.process_time()
    while time.process_time() - worked_s < 0.04:
        pass
    longest_s = max(longest_s, time.monotonic() - wall_s - 0.04)
print(longest_s)
"""


class Pulse:
    """A process of its own that works for 40 ms now and then: what it waits says how busy all is."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", _PULSE]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", errors="replace"
        )

    def end(self) -> float:
        """The longest that it was kept from those 40 ms, seconds."""
        return float(self._process.communicate("")[0])


def resident_bytes() -> int:
    """Memory of this process."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    """Open ones of this process."""
    return len(os.listdir("/proc/self/fd"))


def run(seconds: float, seed: int, folder: Path, records: bool, cameras: int = 3) -> dict[str, Any]:
    """All cameras for some seconds, ended by SIGINT; what came of it."""
    awake_s()  # whose thread is the process's, and no run's
    threads, files = threading.active_count(), descriptors()
    pulse = Pulse()
    made = [Camera(seed * 100 + n, folder / f"camera{n}.mp4" if records else None) for n in range(cameras)]
    stopped_s: list[float] = []

    def stop() -> None:
        stopped_s.append(time.monotonic())
        for camera in made:
            camera.loop.stop()

    stop_on_signals(stop)
    for camera in made:
        camera.thread.start()
    memory_bytes = []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        time.sleep(max(0.0, min(seconds / 4, end_s - time.monotonic())))
        memory_bytes.append(resident_bytes())
    os.kill(os.getpid(), signal.SIGINT)
    for camera in made:
        camera.thread.join(60)
    took_s = time.monotonic() - stopped_s[0]
    for camera in made:  # what hung returns now, and must leave nothing behind
        camera.faults.ending.set()
    deadline_s = time.monotonic() + LONGEST_HANG_S + 5
    while threading.active_count() > threads and time.monotonic() < deadline_s:
        time.sleep(0.05)
    report = {
        "machine_late_s": round(pulse.end(), 3),
        "seed": seed,
        "seconds": seconds,
        "ended_after_s": round(took_s, 2),
        "cameras": [
            {
                "pictures": len(camera.clock.times_s),
                "longest_pause_s": round(camera.clock.longest_pause_s(), 3),
                "out_of_order": camera.clock.disorder,
                "error": camera.error,
                "bad_frames": camera.loop.bad_frames,
                "engine_failures": camera.loop.guarded.failures if camera.loop.guarded else 0,
                "reconnections": camera.loop.reader.reconnections,
                "sink_reopened": camera.loop.writers[1].reopened,
                "faults": dict(sorted(camera.faults.counts.items())),
            }
            for camera in made
        ],
        "threads_left": [thread.name for thread in threading.enumerate()][threads:],
        "descriptors_more": descriptors() - files,
        "memory_bytes": memory_bytes,
    }
    report["wrong"] = wrong(report, made)
    return report


def wrong(report: dict[str, Any], cameras: list[Camera]) -> list[str]:
    """What is not as it must be."""
    found = []
    late_s = 2 * report["machine_late_s"]  # what a busy machine takes from everybody is no fault of ours
    if report["ended_after_s"] > LONGEST_END_S + late_s:
        found.append(f"SIGINT ended the run after {report['ended_after_s']} s only")
    for number, camera in enumerate(report["cameras"]):
        if camera["longest_pause_s"] > LONGEST_PAUSE_S + late_s:
            found.append(f"camera {number}: a pause of {camera['longest_pause_s']} s")
        if camera["error"] or camera["out_of_order"]:
            found.append(f"camera {number}: {camera['error']}, {camera['out_of_order']} out of order")
        if len(camera["faults"]) < 5:
            found.append(f"camera {number}: hardly anything went wrong: {camera['faults']}")
    if report["threads_left"]:
        found.append(f"threads are left: {report['threads_left']}")
    if report["descriptors_more"] > 4:  # GStreamer keeps a few once it has been used
        found.append(f"{report['descriptors_more']} descriptors are left")
    memory = report["memory_bytes"]
    if memory[-1] - memory[0] > MOST_GROWTH_BYTES:
        found.append(f"memory grew by {(memory[-1] - memory[0]) >> 20} MiB")
    for camera in cameras:
        if camera.recording is not None and camera.recording.stat().st_size < 1000:
            found.append(f"{camera.recording}: nothing recorded")
    return found


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1200.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep the recordings there")
    parser.add_argument("--no-recording", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write it there, with commit and machine")
    args = parser.parse_args()
    logging.basicConfig(level=logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        folder = args.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        report = run(args.seconds, args.seed, folder, not args.no_recording)
    if args.json:
        write_json(args.json, report)
    json.dump(report, sys.stdout, indent=1)
    sys.stdout.write("\n")
    return 1 if report["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
