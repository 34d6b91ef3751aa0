"""The bench itself: page and RTSP under viewers, with controls changed at random and a camera that dies.

Five viewers come and go. Two stay, FFmpeg by TCP and UDP, and may have nothing to complain of outside a
reconnect. Memory, threads and descriptors are the service's own process's; what it says at the level of a
warning or above, and what GStreamer says beside it, is in the result. What it holds is compared in one and
the same state: the engine that it began with, settled, and nobody there; after the first two minutes, and at
the end. In between it depends on the network that happens to be chosen.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import IO, Any

from irchroma.launch.bench.service.around import Decoder, RtspCamera, Sample, levels, sample_of, settled_after
from irchroma.launch.bench.service.viewers import WAYS, Addresses, Viewers, Visit, visit
from irchroma.launch.config import ConfigError
from irchroma.launch.measured import write_json
from irchroma.launch.progress import Progress
from irchroma.stream.sinks.listening import free_port
from irchroma.stream.sources.addresses import masked

EXAMPLE = "irchroma bench service --minutes 30 --json launch/benchmarks/service.json"

_STARTED_S = 120.0
_SAMPLE_S = 1.0
_CHANGE_S = (1.0, 4.0)
_QUIET_S = 30.0  # after the last viewer: HLS ends 20 s after it was asked for last
_RECONNECT_S = 20.0  # a camera's start, and the service's way back to it
_MOST_GROWTH_MB = 30.0
_MORE_THREADS = 4  # pools of GLib and of asyncio keep what they had once
_MORE_FILES = 4
_ENGINE_S = 30.0

# `HH:MM:SS L text` of ours, `(python:1): GStreamer-CRITICAL **: ..` of GLib's, and what nobody caught.
_SAID = re.compile(r"^\d\d:\d\d:\d\d [WEC] |-(WARNING|CRITICAL|ERROR) \*\*|Traceback|Exception|Error:")
_FAULT = re.compile(r"^\d\d:\d\d:\d\d [EC] |-(CRITICAL|ERROR) \*\*|Traceback|Exception|Error:")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    add("--minutes", type=float, default=30.0, help="length of the run (30)")
    add("--engine", default="palette:ironbow", help="engine that it begins with")
    add("--source", default="test:nir?live=1&rate=15&size=320x256", help="of the camera")
    add("--deaths", type=int, default=3, metavar="N", help="of the camera (3)")
    add("--seed", type=int, default=0, help="of what is changed, and of who comes when (0)")


def run(args: argparse.Namespace) -> int:
    """Serve, watch, change, kill; 1 where the service did not hold."""
    if args.deaths < 0:
        raise ConfigError(f"--deaths: expected 0 or more, got {args.deaths}")
    length_s = 60 * args.minutes
    settled_s = settled_after(120.0, length_s)
    camera = RtspCamera(args.source, length_s / (args.deaths + 1))
    at = Addresses(free_port(), f"rtsp://127.0.0.1:{free_port()}/service")
    command = [sys.executable, "-m", "irchroma.launch", "run", camera.address, "--wait", "--quiet"]
    command += ["--engine", args.engine, "--to", f"http://127.0.0.1:{at.page}", "--to", at.stream]
    samples: list[Sample] = []
    visits: list[Visit] = []
    staying: list[Decoder] = []
    hands = _Hands(at.page, args.seed)

    def serve(until_s: float, seed: int, deaths: int) -> Sample:
        """Serve up to that second; what is held with nobody there, and the engine of the beginning."""
        viewers = Viewers(at, seed)
        mine = [Decoder(at.stream, transport) for transport in ("tcp", "udp")]
        staying.extend(mine)
        try:
            camera.begin()
            viewers.begin()
            hands.begin()
            began_s, began_at_s = time.monotonic(), samples[-1].at_s if samples else 0.0
            while (at_s := began_at_s + time.monotonic() - began_s) < until_s:
                if len(camera.deaths_s) < deaths:
                    camera.watch()
                _check(process, said)
                samples.append(sample_of(process.pid, at_s))
                progress.update(at_s, f"{samples[-1].resident_mb:.0f} MB")
                time.sleep(_SAMPLE_S)
        finally:
            hands.close()
            viewers.close()
            visits.extend(viewers.visits)
            for decoder in mine:
                decoder.stop()
        hands.choose(args.engine)
        return _quiet(process)

    with tempfile.TemporaryFile("w+b") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            camera.begin()
            _await_page(process, at.page, said)
            for way in WAYS:  # what is made once is made now
                visit(way, at, 5.0, threading.Event())
            hands.choose_each(args.engine)  # pools of a network's threads stay, too
            progress = Progress(length_s)
            before = serve(settled_s, args.seed, 0)
            after = serve(length_s, args.seed + 1, args.deaths)
            progress.close()
        finally:
            process.send_signal(signal.SIGTERM)
            exit_code = process.wait(60)
            camera.stop()
        lines = _lines(said)
    busy = levels(samples, settled_s)
    results: dict[str, Any] = {
        "bench": "service",
        "source": masked(args.source),
        "engine": args.engine,
        "minutes": args.minutes,
        "seed": args.seed,
        "exit_code": exit_code,
        "camera_deaths": len(camera.deaths_s),
        "changes": hands.changes,
        "changes_refused": hands.refused,
        "frames_of_staying_clients": [decoder.frames for decoder in staying],
        "complaints_outside_a_reconnect": [
            line for decoder in staying for line in decoder.complaints(camera.deaths_s)
        ],
        "visits": {way: _told(visits, way, camera.deaths_s) for way in WAYS},
        "settled_after_s": settled_s,
        "growth_mb": round(after.resident_mb - before.resident_mb, 2),
        "most_held_grew_by_mb": busy["growth_mb"],
        "threads": busy["threads"],
        "files": busy["files"],
        "with_nobody_there": {"before": _held(before), "after": _held(after)},
        "faults_in_the_log": [line for line in lines if _FAULT.search(line)],
        "warnings_in_the_log": [line for line in lines if _SAID.search(line) and not _FAULT.search(line)],
        "samples": [one.row() for one in samples],
    }
    results["failed"] = failures(results, before, after)
    write_json(args.json, results)
    print(
        f"{args.minutes:g} minutes, {len(visits)} visits, {hands.changes} changes,"
        f" {len(camera.deaths_s)} deaths of the camera: {results['growth_mb']:+.1f} MB with nobody there,"
        f" threads {results['threads']}, descriptors {results['files']}"
    )
    for reason in results["failed"]:
        print(f"  failed: {reason}")
    return 1 if results["failed"] else 0


def failures(results: dict[str, Any], before: Sample, after: Sample) -> list[str]:
    """Why a service did not hold; empty where it did."""
    found = [f"in the log: {line}" for line in results["faults_in_the_log"]]
    found += [f"FFmpeg: {line}" for line in results["complaints_outside_a_reconnect"]]
    if not all(results["frames_of_staying_clients"]):
        found.append("FFmpeg has seen no picture")
    if results["exit_code"]:
        found.append(f"exit code {results['exit_code']}")
    if results["growth_mb"] > _MOST_GROWTH_MB:
        found.append(f"memory grew by {results['growth_mb']} MB, at most {_MOST_GROWTH_MB:g} are allowed")
    if after.threads > before.threads + _MORE_THREADS:
        found.append(f"threads with nobody there: {before.threads} before, {after.threads} after")
    if after.files > before.files + _MORE_FILES:
        found.append(f"descriptors with nobody there: {before.files} before, {after.files} after")
    found += [f"refused: {refusal}" for refusal in results["changes_refused"]]
    for way, told in results["visits"].items():
        found += [f"{way}: {problem}" for problem in told["problems"]]
        if not told["pictures"]:
            found.append(f"{way}: no picture at all")
        if told["without_a_picture"]:
            found.append(f"{way}: {told['without_a_picture']} visits without a picture")
    return found


def _held(sample: Sample) -> dict[str, float]:
    return {"resident_mb": round(sample.resident_mb, 1), "threads": sample.threads, "files": sample.files}


def _told(visits: list[Visit], way: str, deaths_s: list[float]) -> dict[str, Any]:
    """What came of one way's visits; while no camera is there, none has to bring a picture."""
    mine = [one for one in visits if one.way == way]
    whole = [
        one
        for one in mine
        if not any(one.began_s <= died + _RECONNECT_S and died <= one.ended_s for died in deaths_s)
    ]
    return {
        "count": len(mine),
        "pictures": sum(one.pictures for one in mine),
        "without_a_picture": sum(not one.pictures for one in whole),
        "problems": [one.problem for one in whole if one.problem],
        "while_the_camera_was_away": len(mine) - len(whole),
    }


def _await_page(process: subprocess.Popen[bytes], page: int, said: IO[bytes]) -> None:
    deadline = time.monotonic() + _STARTED_S
    while time.monotonic() < deadline:
        _check(process, said)
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", page, timeout=5)) as connection:
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise ConfigError(f"the service showed no picture within {_STARTED_S:g} s")


def _check(process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    if process.poll() is not None:
        last = " ".join(_lines(said)[-1:])
        raise ConfigError(f"the service ended by itself with exit code {process.returncode}: {last}")


def _lines(said: IO[bytes]) -> list[str]:
    said.seek(0)
    return said.read().decode("utf-8", "replace").splitlines()


def _quiet(process: subprocess.Popen[bytes]) -> Sample:
    """What is held once the last viewer is long gone."""
    time.sleep(_QUIET_S)
    return sample_of(process.pid, 0.0)


class _Hands:
    """An operator who changes what the API lets be changed, at random."""

    def __init__(self, page: int, seed: int) -> None:
        self._page, self._chance = page, random.Random(seed)
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.changes = 0
        self.refused: list[str] = []

    def begin(self) -> None:
        self._ended.clear()
        self._thread = threading.Thread(target=self._work, name="operator", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(60)

    def choose_each(self, last: str) -> None:
        """Every engine once, and then that one."""
        for engine in [*self._may()["engine"]["enum"], last]:
            self.choose(engine)

    def choose(self, engine: str) -> None:
        """Choose an engine, and wait until it is there."""
        status, said = self._ask("POST", "/control", json.dumps({"engine": engine}))
        if status != 200:
            self.refused.append(f"{engine}: {status} {said[:200]}")
            return
        deadline_s = time.monotonic() + _ENGINE_S
        while time.monotonic() < deadline_s:
            state = json.loads(self._ask("GET", "/stats.json")[1])["live"]
            if state["engine"] == engine and state["changing"] is None:
                return
            time.sleep(_SAMPLE_S)
        self.refused.append(f"{engine}: not there after {_ENGINE_S:g} s")

    def _may(self) -> dict[str, Any]:
        described = json.loads(self._ask("GET", "/openapi.json")[1])
        body = described["paths"]["/control"]["post"]["requestBody"]["content"]["application/json"]
        return dict(body["schema"]["properties"])

    def _work(self) -> None:
        may, chance = self._may(), self._chance
        while not self._ended.is_set():
            self._change(
                chance.choice(
                    [
                        {"view": chance.choice(may["view"]["enum"])},
                        {"engine": chance.choice(may["engine"]["enum"])},
                        {"wipe": round(chance.random(), 3)},
                        {"blend": round(chance.random(), 3)},
                        {"lock": chance.random() < 0.5},
                        {
                            "readings": [
                                name for name in may["readings"]["items"]["enum"] if chance.random() < 0.5
                            ]
                        },
                        {"mode": chance.choice(may["mode"]["enum"])},
                        {"chroma_limit": chance.choice([None, 30, 90])},
                        {"smoothing_s": chance.choice([0, 0.5, 2])},
                    ]
                )
            )

    def _change(self, wanted: dict[str, Any]) -> None:
        if self._ended.wait(self._chance.uniform(*_CHANGE_S)):
            return
        status, said = self._ask("POST", "/control", json.dumps(wanted))
        self.changes += 1
        if status != 200:
            self.refused.append(f"{wanted}: {status} {said[:200]}")

    def _ask(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", self._page, timeout=30)) as connection:
                connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
                answer = connection.getresponse()
                return answer.status, answer.read().decode("utf-8", "replace")
        except OSError as error:
            return 0, str(error)
