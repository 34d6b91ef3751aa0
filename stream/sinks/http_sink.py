"""Serves the live picture to browsers: a page, MJPEG, a snapshot and figures, over plain HTTP."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from irchroma.stream.errors import SinkError
from irchroma.stream.indexed import IndexedPicture
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.sinks.http_page import page
from irchroma.stream.sinks.live_picture import LivePicture
from irchroma.stream.sinks.pipeline_sink import check_size
from irchroma.stream.sinks.running_time import Pace

log = logging.getLogger(__name__)

_BOUNDARY = "irchroma-picture"
_STUCK_S = 10.0  # a client that takes nothing for so long is disconnected


@dataclass(frozen=True, slots=True)
class HttpSinkOptions:
    """What the page shows.

    Attributes:
        title: its heading.
        stats: further figures for `/stats.json`, by name; called from server threads.
    """

    title: str = "irchroma"
    stats: Callable[[], dict[str, Any]] | None = None


class HttpSink:
    """One page with the live picture. Pictures are compressed once for all viewers, and only for viewers.

    Every viewer gets the newest picture whenever it has taken the one before, so a slow one sees fewer.

    Args:
        host: address to listen on, empty for all.
        port: TCP port, 0 for a free one.
    """

    takes_indexed = True

    def __init__(self, host: str, port: int, options: HttpSinkOptions | None = None) -> None:
        self._host, self.port = host, port
        self.options = options or HttpSinkOptions()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._size = (0, 0)
        self._pace: Pace | None = None
        self.live_picture = LivePicture((0, 0))

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`. SinkError for a port that is taken or not allowed."""
        check_size(size, f"http://{self._host}:{self.port}")
        self._size, self._pace = size, None if info.live else Pace()
        self.live_picture = LivePicture(size)
        try:
            self._server = _Server((self._host, self.port), self)
        except (OSError, OverflowError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise SinkError(f"http: cannot listen on {self._host}:{self.port}: {reason.lower()}") from error
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name=f"http :{self.port}", daemon=True
        )
        self._thread.start()
        log.info("http: http://%s:%d", self._host or "localhost", self.port)

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        """See `FrameSink.write`."""
        if self._server is None:
            raise SinkError(f"http://{self._host}:{self.port}: written to before it was opened")
        if not isinstance(rgb, IndexedPicture) and rgb.dtype != np.uint8:
            raise SinkError(f"http: expected 8-bit pictures, got {rgb.dtype} counts: tone map them")
        if self._pace is not None:
            self._pace.wait(pts_ns)
        self.live_picture.put(rgb)

    @property
    def drops(self) -> int:
        """Always 0: viewers that are slow see fewer pictures, nothing waits."""
        return 0

    def figures(self) -> dict[str, Any]:
        """What `/stats.json` says."""
        live = self.live_picture
        own = {"fps": round(live.rate_hz(), 1), "viewers": live.viewers, "width": self._size[1]}
        more = self.options.stats() if self.options.stats is not None else {}
        return {"title": self.options.title, **own, "height": self._size[0], **more}

    def close(self) -> None:
        """See `FrameSink.close`; viewers are disconnected."""
        server, self._server = self._server, None
        if server is None or self._thread is None:
            return
        self.live_picture.end()
        server.shutdown()
        server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # viewers end by themselves, at their next picture

    def __init__(self, address: tuple[str, int], sink: HttpSink) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.sink = sink
        super().__init__(address, _Answer)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no news."""
        log.debug("http: %s went away", client_address, exc_info=True)


class _Answer(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "irchroma"
    sys_version = ""
    timeout = _STUCK_S

    def do_GET(self) -> None:
        """Answers one request; named by `http.server`."""
        path = self.path.partition("?")[0]
        sink = self.server.sink
        if path == "/":
            self._reply("text/html; charset=utf-8", page(sink.options.title).encode())
        elif path == "/stats.json":
            self._reply("application/json", json.dumps(sink.figures()).encode())
        elif path == "/snapshot.jpg":
            newest = sink.live_picture.newer(0, _STUCK_S)
            if newest is None:
                self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "no picture yet")
            else:
                self._reply("image/jpeg", newest[1])
        elif path == "/live.mjpg":
            self._stream(sink.live_picture)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _reply(self, kind: str, body: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, live: LivePicture) -> None:
        if not live.join():
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "too many viewers")
            return
        try:
            self.close_connection = True
            # What a stalled viewer has not taken must stay small: it would be shown late.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 256 * 1024)
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            number = 0
            while (newest := live.newer(number, _STUCK_S)) is not None:
                number, jpeg = newest
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
        except OSError:
            pass  # gone, or stuck for too long
        finally:
            live.leave()

    def log_message(self, format: str, *args: Any) -> None:
        """No line for each request."""
