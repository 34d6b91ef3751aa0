"""Viewers of a service that come, watch for a while and leave, each in a thread, by every way there is."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urljoin

from irchroma.stream.errors import StreamError
from irchroma.stream.sources.rtsp_source import RtspOptions, RtspSource
from irchroma.stream.sources.whep_client import WhepClient

WAYS = ("webrtc", "mjpeg", "hls", "rtsp over TCP", "rtsp over UDP")

_STEP_S = 1.0
_STAY_S = (3.0, 15.0)
_AWAY_S = (0.2, 3.0)

Look = Callable[[], bool]
"""Whether a picture came; blocks for a second at most."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a service is watched: the page's port, and its RTSP address."""

    page: int
    stream: str


@dataclass(slots=True)
class Visit:
    """One viewer's stay, in seconds of the monotonic clock."""

    way: str
    began_s: float
    ended_s: float = 0.0
    pictures: int = 0
    problem: str = ""


@contextmanager
def over(way: str, at: Addresses) -> Iterator[Look]:
    """Join by one of `WAYS`; leaving the context leaves. StreamError or OSError where it fails."""
    if way == "webrtc":
        with closing(WhepClient(f"http://127.0.0.1:{at.page}/whep")) as client:
            yield lambda: client.pull(_STEP_S) is not None
    elif way == "mjpeg":
        with closing(http.client.HTTPConnection("127.0.0.1", at.page, timeout=15)) as connection:
            connection.request("GET", "/live.mjpg")
            answer = connection.getresponse()
            if answer.status != 200:
                raise OSError(f"motion JPEG: {answer.status} {answer.read(200)!r}")
            yield lambda: b"\xff\xd8" in answer.read(32 * 1024)
    elif way == "hls":
        player = _HlsPlayer(at.page)
        yield player.look
    else:
        transport: Literal["tcp", "udp"] = "tcp" if way.endswith("TCP") else "udp"
        with closing(RtspSource(at.stream, RtspOptions(transport=transport))) as source:
            source.open()
            yield lambda: source.read(5.0) is not None


class _HlsPlayer:
    """Asks for the playlist, and once for each segment that is on it."""

    def __init__(self, page: int) -> None:
        self._page, self._seen = page, ""

    def _get(self, path: str) -> tuple[int, bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self._page, timeout=30)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def look(self) -> bool:
        """Whether a new segment came within a second."""
        status, text = self._get("/hls/run/live.m3u8")
        if status not in (200, 503):  # before its first segment there is none
            raise OSError(f"HLS: {status} {text[:200]!r}")
        names = [line for line in text.decode("utf-8", "replace").splitlines() if line.endswith(".ts")]
        if status == 503 or not names or names[-1] == self._seen:
            time.sleep(_STEP_S / 2)
            return False
        self._seen = names[-1]
        status, segment = self._get(urljoin("/hls/run/live.m3u8", self._seen))
        return status == 200 and segment[:1] == b"G"  # MPEG-TS, ISO/IEC 13818-1: 0x47


@dataclass
class Viewers:
    """One thread for each of `WAYS`, whose viewer joins and leaves until `close`.

    Args:
        at: where.
        seed: of how long each stays and keeps away.
    """

    at: Addresses
    seed: int = 0
    visits: list[Visit] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._come_and_go, args=(way,), name=f"viewer {way}", daemon=True)
            for way in WAYS
        ]

    def begin(self) -> None:
        """Let them come."""
        for thread in self._threads:
            thread.start()

    def _come_and_go(self, way: str) -> None:
        chance = random.Random(f"{self.seed} {way}")
        while not self._ended.is_set():
            self.visits.append(visit(way, self.at, chance.uniform(*_STAY_S), self._ended))
            self._ended.wait(chance.uniform(*_AWAY_S))

    def close(self) -> None:
        """Let all leave; may be called twice."""
        self._ended.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(60)


def visit(way: str, at: Addresses, stay_s: float, ended: threading.Event) -> Visit:
    """Join, look for `stay_s` or until all is over, and leave."""
    made = Visit(way, time.monotonic())
    try:
        with over(way, at) as look:
            while time.monotonic() < made.began_s + stay_s and not ended.is_set():
                made.pictures += look()
    except (StreamError, OSError, http.client.HTTPException) as error:
        made.problem = str(error) or type(error).__name__
    made.ended_s = time.monotonic()
    return made
