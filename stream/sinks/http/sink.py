"""Serves the live picture to browsers: a page, WebRTC, MJPEG, a snapshot and figures, over plain HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np

from irchroma.stream.errors import SinkError
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.sinks.encoding.pace import Pace
from irchroma.stream.sinks.encoding.shared_encoder import EncoderPool
from irchroma.stream.sinks.encoding.task import EncoderOptions
from irchroma.stream.sinks.http.access import Access
from irchroma.stream.sinks.http.feeds import FEEDS, Feed
from irchroma.stream.sinks.http.live_picture import LivePicture
from irchroma.stream.sinks.http.page import LiveControl, LiveThermometer
from irchroma.stream.sinks.http.whep import WhepViewers
from irchroma.stream.sinks.pipeline_sink import check_size


@dataclass(frozen=True, slots=True)
class HttpSinkOptions:
    """What the page shows.

    Attributes:
        title: what its figures call it.
        stats: further figures for `stats.json`, by name; called from server threads.
        control: what its viewers may change; None for nothing.
        name: its place below the list of all pages of that port; empty to have the port to itself.
        access: who gets in.
        encoder: of the pictures that go out over WebRTC.
        pool: encoders that it shares with other sinks; None for its own.
        thermometer: of a run whose counts have a scale; None of others.
        heading: what stands above its picture; the title where empty.
    """

    title: str = "irchroma"
    stats: Callable[[], dict[str, Any]] | None = None
    control: LiveControl | None = None
    name: str = ""
    access: Access = field(default_factory=Access)
    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    pool: EncoderPool | None = None
    thermometer: LiveThermometer | None = None
    heading: str = ""


class HttpSink:
    """One page with the live picture. Pictures are encoded once for all viewers, and only for viewers.

    Every viewer gets the newest picture whenever it has taken the one before, so a slow one sees fewer.

    Args:
        host: address to listen on; empty for this machine alone, and for all where something is asked for.
        port: TCP port, 0 for a free one.

    Raises:
        SinkError: what serves pages is not installed.
    """

    def __init__(self, host: str, port: int, options: HttpSinkOptions | None = None) -> None:
        for needed in ("starlette", "uvicorn", "prometheus_client"):
            if find_spec(needed) is None:
                raise SinkError(f"http: a page needs {needed}: pip install 'irchroma[service]'")
        self._host, self.port = host, port
        self.options = options or HttpSinkOptions()
        self._open = self._served = False
        self._withdraw: Callable[[str, int, str], None]
        self._pace: Pace | None = None
        self._pixel_aspect = 1.0
        self.feeds = {kind: Feed(kind) for kind in FEEDS}

    @property
    def live_picture(self) -> LivePicture:
        """The run's own picture."""
        return self.feeds["run"].live_picture

    @property
    def whep(self) -> WhepViewers | None:
        """Who watches that over WebRTC; None where this machine cannot have anybody do so."""
        return self.feeds["run"].whep

    @property
    def title(self) -> str:
        """What its figures call it."""
        return self.options.title

    @property
    def heading(self) -> str:
        """What stands above its picture."""
        return self.options.heading or self.options.title

    @property
    def control(self) -> LiveControl | None:
        """What the page's viewers may change."""
        return self.options.control

    @property
    def thermometer(self) -> LiveThermometer | None:
        """What measures temperatures in the picture."""
        return self.options.thermometer

    def prepare(self) -> None:
        """Serve the page before the first picture: it says what is waited for.

        Raises:
            SinkError: the port is taken or not allowed.
        """
        from irchroma.stream.sinks.http import server  # takes 0.2 s, and few runs have a page

        if not self._served:
            self.port = server.serve(self._host, self.port, self.options.name, self, self.options.access)
            self._withdraw, self._served = server.withdraw, True

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`. SinkError for a port that is taken or not allowed."""
        check_size(size, f"http://{self._host}:{self.port}")
        self._pace, self._pixel_aspect = None if info.live else Pace(), float(info.pixel_aspect)
        pool = self.options.pool or EncoderPool()
        for feed in self.feeds.values():
            feed.open(info, size, self.options.encoder, pool)
        self.prepare()
        self._open = True

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        """See `FrameSink.write`."""
        if not self._open:
            raise SinkError(f"http://{self._host}:{self.port}: written to before it was opened")
        picture = Picture.of(rgb)
        if picture.dtype != np.uint8:
            raise SinkError(f"http: expected 8-bit pictures, got {picture.dtype} counts: tone map them")
        if self._pace is not None:
            self._pace.wait(pts_ns)
        for feed in self.feeds.values():
            feed.put(picture, pts_ns, duration_ns)

    @property
    def drops(self) -> int:
        """Always 0: viewers that are slow see fewer pictures, nothing waits."""
        return 0

    def figures(self) -> dict[str, Any]:
        """What `stats.json` says."""
        live, control = self.live_picture, self.options.control
        height, width = live.size
        viewers = sum(feed.viewers for feed in self.feeds.values())
        own = {
            "fps": round(live.rate_hz(), 1),
            "viewers": viewers,
            "width": width,
            "height": height,
            "pixel_aspect": self._pixel_aspect,
        }
        more = self.options.stats() if self.options.stats is not None else {}
        shown = {"live": control.state()} if control is not None else {}
        if self.options.thermometer is not None:
            shown["thermometer"] = self.options.thermometer.state()
        if more.get("state", "live") != "live":  # the card and the repeated picture are no camera's
            own["fps"] = 0.0
            more = {**more, "latency_ms": None}
            if control is not None:
                shown["live"] = {**shown["live"], "latency_ms": None}
        return {"title": self.options.title, **own, **more, **shown}

    def close(self) -> None:
        """See `FrameSink.close`; viewers are disconnected."""
        served, self._open, self._served = self._served, False, False
        if not served:
            return
        for feed in self.feeds.values():
            feed.close()
        self._withdraw(self._host, self.port, self.options.name)
