"""`irchroma bench soak`: a long run whose camera dies again and again, with clients coming and going.

The source is an RTSP camera of its own process, and the clients are FFmpeg's: two that stay and one that
comes and goes. None may have anything to complain of outside a reconnect, and memory, threads and descriptors
must stay what they are.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from irchroma.launch.config import ConfigError
from irchroma.launch.measured import write_json
from irchroma.launch.progress import Progress
from irchroma.stream.errors import SourceError
from irchroma.stream.sinks.listening import free_port
from irchroma.stream.sources.addresses import masked
from irchroma.stream.sources.rtsp_source import RtspOptions, RtspSource

EXAMPLE = "irchroma bench soak --minutes 20 --json launch/benchmarks/soak_camera.json"

_SAMPLE_S = 1.0
_CLIENT_FRAMES = 60
_RECONNECT_S = 12.0  # a camera's start, from its death on
_COMPLAINT = re.compile(
    r"corrupt|conceal|error|invalid|non-existing|missing|missed|broken|no frame|out of range|discontinuity",
    re.IGNORECASE,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--json", type=Path, required=True, metavar="FILE", help="where the numbers go")
    add("--minutes", type=float, default=10.0, help="length of the run")
    add("--engine", default="palette:ironbow", help="engine of the run")
    add("--source", default="test:nir?live=1&rate=15&size=640x512", help="of the camera")
    add("--camera-dies", type=float, default=45.0, metavar="S", help="kill the camera every S seconds (45)")


def run(args: argparse.Namespace) -> int:
    """Run, watch and kill; print and write how what is held has changed. 1 where somebody had to complain."""
    length_s = 60 * args.minutes
    settled_s = settled_after(300.0, length_s)
    camera = RtspCamera(args.source, args.camera_dies)
    address = f"rtsp://127.0.0.1:{free_port()}/soak"
    command = [sys.executable, "-m", "irchroma.launch", "run", camera.address, "--to", address, "--wait"]
    process = subprocess.Popen([*command, "--engine", args.engine, "--quiet"])
    staying: list[_Ffmpeg] = []
    samples: list[Sample] = []
    visits: list[_Ffmpeg] = []
    try:
        camera.watch()
        start_s = time.monotonic()
        _await_stream(process, address)
        staying = [_Ffmpeg(address, transport) for transport in ("tcp", "udp")]
        progress = Progress(length_s)
        while (elapsed_s := time.monotonic() - start_s) < length_s:
            camera.watch()
            if process.poll() is not None:
                raise ConfigError(f"the run ended by itself with exit code {process.returncode}")
            if not visits or visits[-1].ended:
                visits.append(_Ffmpeg(address, ("tcp", "udp")[len(visits) % 2], _CLIENT_FRAMES))
            samples.append(sample_of(process.pid, elapsed_s))
            progress.update(elapsed_s, f"{samples[-1].resident_mb:.0f} MB")
            time.sleep(_SAMPLE_S)
        progress.close()
        gone = [client.transport for client in staying if client.ended]
    finally:
        for client in [*staying, *visits[-1:]]:
            client.stop()
        process.send_signal(signal.SIGTERM)
        exit_code = process.wait(30)
        camera.stop()
    complaints = [line for client in [*staying, *visits] for line in client.complaints(camera.deaths_s)]
    results = {
        "bench": "soak",
        "source": masked(args.source),
        "engine": args.engine,
        "minutes": args.minutes,
        "camera_deaths": len(camera.deaths_s),
        "exit_code": exit_code,
        "staying_clients_that_ended": gone,
        "frames_of_staying_clients": [client.frames for client in staying],
        "visits": len(visits),
        "visits_without_a_picture": sum(client.frames == 0 for client in visits[:-1]),
        "complaints_outside_a_reconnect": complaints,
        "settled_after_s": settled_s,
        **levels(samples, settled_s),
        "samples": [one.row() for one in samples],
    }
    write_json(args.json, results)
    print(
        f"{args.minutes:g} minutes, {len(camera.deaths_s)} deaths of the camera, {len(visits)} visits:"
        f" {results['growth_mb']:+.1f} MB, threads {results['threads']}, descriptors {results['files']},"
        f" {len(complaints)} complaints outside a reconnect"
    )
    return 1 if complaints or gone or exit_code else 0


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process holds at a time: MB resident, threads, open descriptors."""

    at_s: float
    resident_mb: float
    threads: int
    files: int

    def row(self) -> list[float]:
        """For JSON."""
        return [round(self.at_s, 1), round(self.resident_mb, 1), self.threads, self.files]


def settled_after(usual_s: float, length_s: float) -> float:
    """From when on what is held counts: a quarter of a run that is hardly longer."""
    return usual_s if length_s > 2 * usual_s else length_s / 4


def levels(samples: list[Sample], settled_s: float) -> dict[str, Any]:
    """How memory, threads and descriptors of the last quarter after `settled_s` compare with the first.

    Clients come and go, and a camera that is away takes threads with it: the most that is held in a quarter
    is compared.
    """
    later = [sample for sample in samples if sample.at_s >= settled_s]
    quarter = len(later) // 4
    if not quarter:
        raise ConfigError(f"the run was too short to say anything: longer than {settled_s:g} s, please")
    first, last = later[:quarter], later[-quarter:]
    return {
        "growth_mb": round(max(s.resident_mb for s in last) - max(s.resident_mb for s in first), 2),
        "threads": [max(s.threads for s in first), max(s.threads for s in last)],
        "files": [max(s.files for s in first), max(s.files for s in last)],
    }


def sample_of(pid: int, at_s: float) -> Sample:
    """What a process holds now."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    held = {name: int(number) for name, number in re.findall(r"^(VmRSS|Threads):\s+(\d+)", status, re.M)}
    if len(held) < 2:  # it has ended, and is not waited for yet
        raise ConfigError(f"process {pid} has no resident memory to read")
    files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return Sample(at_s, held["VmRSS"] / 1024, held["Threads"], files)


def _await_stream(process: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + 120
    while not _shows(address):
        if process.poll() is not None or time.monotonic() > deadline:
            raise ConfigError(f"no picture came from {address}: exit code {process.poll()}")


class RtspCamera:
    """An RTSP camera in a process of its own, killed every `dies_s` seconds and started again at once."""

    def __init__(self, source: str, dies_s: float) -> None:
        port = free_port()
        self.address = f"rtsp://127.0.0.1:{port}/camera"
        self._command = [sys.executable, "-m", "irchroma.launch", "run", source, "--to", self.address]
        self._dies_s, self._died_s = dies_s, time.monotonic()
        self._process: subprocess.Popen[bytes] | None = None
        self.deaths_s: list[float] = []

    def begin(self) -> None:
        """Start it, if it does not run, and count its time from now."""
        self._died_s = time.monotonic()
        self._start()

    def _start(self) -> None:
        if self._process is None:
            self._process = subprocess.Popen([*self._command, "--engine", "gray", "--quiet"])

    def watch(self) -> None:
        """Start it, or kill it when its time has come."""
        if self._process is not None and time.monotonic() - self._died_s >= self._dies_s:
            self.stop()
            self._died_s = time.monotonic()
            self.deaths_s.append(self._died_s)
        self._start()

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


@dataclass
class _Ffmpeg:
    """An ffmpeg that decodes a stream; what it says is kept with its time."""

    address: str
    transport: str
    frames_wanted: int = 0
    frames: int = 0
    said: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        limit = ("-frames:v", str(self.frames_wanted)) if self.frames_wanted else ()
        self._process = subprocess.Popen(
            (
                *("ffmpeg", "-nostdin", "-loglevel", "warning", "-rtsp_transport", self.transport),
                *("-i", self.address, *limit, "-f", "null", "-progress", "pipe:1", "-"),
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._listen, self._count)]
        for thread in self._threads:
            thread.start()

    def _listen(self) -> None:
        for line in self._process.stderr or ():
            self.said.append((time.monotonic(), line.strip()))

    def _count(self) -> None:
        for line in self._process.stdout or ():
            if line.startswith("frame="):
                self.frames = int(line[6:])

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(20)
        for thread in self._threads:
            thread.join(5)

    def complaints(self, deaths_s: list[float]) -> list[str]:
        """Complaints of the decoder, but for those while a camera was on its way back."""
        return [
            f"{self.transport}: {line}"
            for at_s, line in self.said
            # its null output's own words are of two pictures within one period, and no decoder's
            if _COMPLAINT.search(line)
            and not line.startswith("[null ")
            and not any(died <= at_s <= died + _RECONNECT_S for died in deaths_s)
        ]


def _shows(address: str) -> bool:
    """Whether there is a picture to be seen yet."""
    viewer = RtspSource(address, RtspOptions(transport="tcp"))
    try:
        viewer.open()
        return viewer.read(5.0) is not None
    except SourceError:
        time.sleep(0.2)  # the server may still be starting
        return False
    finally:
        viewer.close()
