"""What a fleet tells in one place: log lines of all its machines, and figures of all its cameras by HTTP."""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6
from types import ModuleType
from typing import Any

from irchroma.launch.config import ConfigError
from irchroma.launch.run.process import JsonLines, note_camera
from irchroma.stream.errors import StreamError
from irchroma.stream.sinks.listening import hosts

Line = dict[str, Any]
"""As `JsonLines` writes it, with `node` where it is not the supervisor's own."""

KEPT_LINES = 20_000
"""Of a whole fleet; a year's logs belong into what reads `fleet logs --follow --jsonl`."""
_TAIL_LINES = 2_000
_AT_ONCE = 50
_LONGEST = 400  # characters: 50 lines are below the 100 kB that Ray sends beside its object store


class LogTail(logging.Handler):
    """The newest lines of this process, numbered; older ones give way, and nothing waits."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._lines: deque[tuple[int, Line]] = deque(maxlen=_TAIL_LINES)
        self._number = 0
        self.setFormatter(JsonLines())
        self.addFilter(note_camera)

    def attach(self) -> None:
        """Take what the program logs from now on."""
        logging.getLogger("irchroma").addHandler(self)

    def detach(self) -> None:
        """Take no more log lines."""
        logging.getLogger("irchroma").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`, which holds the lock."""
        line = json.loads(self.format(record))
        for key in ("message", "traceback"):
            if len(line.get(key, "")) > _LONGEST:
                line[key] = line[key][: _LONGEST - 3] + "..."
        self._number += 1
        self._lines.append((self._number, line))

    def after(self, number: int) -> tuple[int, list[Line]]:
        """The lines behind `number`, at most 50 of them, and the number of the last."""
        with self.lock or threading.Lock():
            lines = [numbered for numbered in self._lines if numbered[0] > number][:_AT_ONCE]
        return (lines[-1][0] if lines else number), [line for _, line in lines]


class LogBook:
    """The newest lines of all machines, in the order in which they came here."""

    def __init__(self, kept: int = KEPT_LINES) -> None:
        self._lines: deque[tuple[int, Line]] = deque(maxlen=kept)
        self._number = 0

    def add(self, lines: list[Line]) -> None:
        """Take some in."""
        for line in lines:
            self._number += 1
            self._lines.append((self._number, line))

    def after(self, number: int, camera: str = "") -> tuple[int, list[Line]]:
        """The lines behind `number`, of one camera or of all, at most 50, and where to go on.

        Args:
            number: what the last call gave; below 0 for that many of the newest.
            camera: its name, empty for all.
        """
        own = [one for one in self._lines if one[0] > number and (not camera or whose(one[1]) == camera)]
        if number < 0:
            own = own[number:]
        if len(own) <= _AT_ONCE:
            return self._number, [line for _, line in own]
        return own[_AT_ONCE - 1][0], [line for _, line in own[:_AT_ONCE]]


def whose(line: Line) -> str:
    """The camera that a line is of, empty for none."""
    return str(line.get("camera", ""))


def shown(line: Line) -> str:
    """For people."""
    who = "  ".join(filter(None, (line.get("node"), line.get("camera"))))
    trace = f"\n{line['traceback']}" if "traceback" in line else ""
    return f"{line['time']}  {line['level']}  {who or 'fleet'}: {line['message']}{trace}"


class FleetPage:
    """`/metrics` for Prometheus and `/status` as JSON, of all cameras, for whoever asks.

    Args:
        address: `HOST:PORT`, or `:PORT` for this machine alone; nothing that it shows is secret.
        status: of the fleet; called by the server's threads.

    Attributes:
        host, port: where it listens, as it stands in an address.

    Raises:
        ConfigError: it is no address.
        StreamError: nothing can listen there.
    """

    def __init__(self, address: str, status: Callable[[], dict[str, Any]]) -> None:
        host, _, port = address.rpartition(":")
        if not port.isdecimal() or int(port) > 65535:
            raise ConfigError(f"--serve {address}: expected :PORT for this machine alone, or HOST:PORT")
        host = host.strip("[]")
        self.host = f"[{host}]" if ":" in host else host or "localhost"
        answer = type("Answer", (_Answer,), {"status": staticmethod(status)})
        prometheus()
        try:
            self._servers = [_listening(one, int(port), answer) for one in hosts(host, protected=False)]
        except OSError as error:
            raise StreamError(f"--serve {address}: {(error.strerror or str(error)).lower()}") from error
        self.port = int(self._servers[0].server_address[1])
        for server in self._servers:
            threading.Thread(target=server.serve_forever, name="fleet page", daemon=True).start()

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


def prometheus() -> ModuleType:
    """What writes figures as Prometheus reads them.

    Raises:
        StreamError: it is not installed.
    """
    try:
        from irchroma.stream.sinks.http import metrics
    except ImportError as error:
        raise StreamError("Prometheus' figures need its client: pip install 'irchroma[fleet]'") from error
    return metrics


def _listening(host: str, port: int, answer: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    kind = type("Server", (ThreadingHTTPServer,), {"address_family": AF_INET6 if ":" in host else AF_INET})
    server: ThreadingHTTPServer = kind((host, port), answer)
    return server


class _Answer(BaseHTTPRequestHandler):
    status: Callable[[], dict[str, Any]]
    timeout = 10.0  # of a client that says nothing

    def do_GET(self) -> None:
        """One of the two."""
        status = type(self).status()
        if self.path == "/metrics":
            written = prometheus()
            self._say(written.CONTENT_TYPE, written.exposition(status["cameras"], status["nodes"]))
        elif self.path == "/status":
            self._say("application/json", json.dumps(status).encode())
        else:
            self.send_error(404, "there are /metrics and /status")

    def _say(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody asked for a line for each request."""
