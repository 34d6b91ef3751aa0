"""Around a service on the bench: a camera that dies, FFmpeg, which stays; and what the service holds."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from irchroma.launch.config import ConfigError
from irchroma.stream.sinks.listening import free_port

_RECONNECT_S = 12.0  # a camera's start, from its death on
_COMPLAINT = re.compile(
    r"corrupt|conceal|error|invalid|non-existing|missing|missed|broken|no frame|out of range|discontinuity",
    re.IGNORECASE,
)


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
class Decoder:
    """FFmpeg, which decodes an RTSP stream and stays; what it says is kept with its time."""

    address: str
    transport: str
    frames: int = 0
    gone: bool = False
    said: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._process = subprocess.Popen(
            (
                *("ffmpeg", "-nostdin", "-loglevel", "warning", "-rtsp_transport", self.transport),
                *("-i", self.address, "-f", "null", "-progress", "pipe:1", "-"),
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

    def stop(self) -> None:
        """End it."""
        self.gone = self._process.poll() is not None
        self._process.terminate()
        self._process.wait(20)
        for thread in self._threads:
            thread.join(5)

    def complaints(self, deaths_s: list[float]) -> list[str]:
        """Complaints of the decoder, but for those while a camera was on its way back; and if it went."""
        return [f"{self.transport}: has ended by itself"] * self.gone + [
            f"{self.transport}: {line}"
            for at_s, line in self.said
            # its null output's own words are of two pictures within one period, and no decoder's
            if _COMPLAINT.search(line)
            and not line.startswith("[null ")
            and not any(died <= at_s <= died + _RECONNECT_S for died in deaths_s)
        ]
