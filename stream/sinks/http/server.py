"""HTTP servers of this process, one for each address and port, shared by the pages on them."""

from __future__ import annotations

import json
import logging
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit

from irchroma.stream.errors import SinkError
from irchroma.stream.sinks.http.live_picture import LivePicture
from irchroma.stream.sinks.http.page import LiveControl, index_page, page

log = logging.getLogger(__name__)

_BOUNDARY = "irchroma-picture"
_STUCK_S = 10.0  # a client that takes nothing for so long is disconnected
_LONGEST_BODY = 4096


class Page(Protocol):
    """One stream's page."""

    @property
    def title(self) -> str:
        """Its heading."""

    @property
    def live_picture(self) -> LivePicture:
        """What it shows."""

    @property
    def control(self) -> LiveControl | None:
        """What its viewers may change; None for nothing."""

    def figures(self) -> dict[str, Any]:
        """What its `stats.json` says."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # viewers end by themselves, at their next picture

    def __init__(self, host: str, port: int) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.pages: dict[str, Page] = {}
        super().__init__((host, port), _Answer)
        self.port = int(self.server_address[1])
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.1,), name=f"http :{self.port}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no news."""
        log.debug("http: %s went away", client_address, exc_info=True)


_servers: dict[tuple[str, int], _Server] = {}
_lock = threading.Lock()


def serve(host: str, port: int, name: str, one: Page) -> int:
    """Put a page on an address; the port's server is started with its first page.

    Args:
        host: address to listen on, empty for all.
        port: TCP port, 0 for a free one.
        name: the page's, below the list of all pages of that port; empty to have the port to itself.
        one: the page.

    Returns:
        The port that was bound.

    Raises:
        SinkError: the port or the name is taken.
    """
    with _lock:
        server = _servers.get((host, port))
        if server is not None and (name in server.pages or not name or "" in server.pages):
            raise SinkError(f"http: there is a page on {host}:{port}/{name} already")
        if server is None:
            try:
                server = _Server(host, port)
            except (OSError, OverflowError) as error:
                reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
                raise SinkError(f"http: cannot listen on {host}:{port}: {reason.lower()}") from error
        server.pages[name] = one
        _servers[(host, server.port)] = server
        log.info("http: http://%s:%d/%s", host or "localhost", server.port, quote(name) + "/" * bool(name))
        return server.port


def withdraw(host: str, port: int, name: str) -> None:
    """Take a page off; the server ends with its last one."""
    with _lock:
        server = _servers.get((host, port))
        if server is None:
            return
        server.pages.pop(name, None)
        if not server.pages:
            del _servers[(host, port)]
            server.stop()


class _Answer(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "irchroma"
    sys_version = ""
    timeout = _STUCK_S

    def do_GET(self) -> None:
        """Answers one request; named by `http.server`."""
        path = unquote(self.path.partition("?")[0])
        pages = dict(self.server.pages)
        if path == "/" and "" not in pages:
            self._reply("text/html; charset=utf-8", index_page(sorted(pages)).encode())
        elif path == "/stats.json" and "" not in pages:
            self._reply_json({name: one.figures() for name, one in pages.items()})
        elif path.strip("/") in pages and not path.endswith("/"):
            self.send_response(HTTPStatus.MOVED_PERMANENTLY)
            self.send_header("Location", quote(path) + "/")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif (found := self._page()) is None:
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            self._answer(*found)

    def do_POST(self) -> None:
        """Changes what a page shows; named by `http.server`."""
        found = self._page()
        control = found[0].control if found is not None and found[1] == "control" else None
        refusal = self._refusal()
        if control is None:
            self._reply_json({"error": "nothing can be changed here"}, HTTPStatus.NOT_FOUND)
        elif refusal is not None:
            self._reply_json({"error": refusal[1]}, refusal[0])
        else:
            try:
                wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if not isinstance(wanted, dict):
                    raise ValueError(f"expected an object, got {wanted!r}")
                control.change(wanted)
            except ValueError as error:  # JSON's own errors are ValueErrors too
                self._reply_json({"error": str(error)}, HTTPStatus.BAD_REQUEST)
            else:
                self._reply_json(control.state())

    def _refusal(self) -> tuple[HTTPStatus, str] | None:
        """Why a POST is not heeded: only pages from here may send one, never another site's."""
        self.close_connection = True  # a body that is not read would be taken for the next request
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return HTTPStatus.FORBIDDEN, f"pages of {origin} may not change anything here"
        if self.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return HTTPStatus.FORBIDDEN, "pages of other sites may not change anything here"
        # Browsers let other sites send forms, but no JSON.
        if self.headers.get_content_type() != "application/json":
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json"
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > _LONGEST_BODY:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {_LONGEST_BODY} bytes"
        self.close_connection = False
        return None

    def _page(self) -> tuple[Page, str] | None:
        """The page that the path is of, and what is asked of it; None where there is none."""
        path = unquote(self.path.partition("?")[0]).removeprefix("/")
        pages = dict(self.server.pages)
        name, what = ("", path) if "" in pages else (path.partition("/")[0], path.partition("/")[2])
        one = pages.get(name)
        return None if one is None else (one, what)

    def _answer(self, one: Page, what: str) -> None:
        if what == "":
            named = "" not in self.server.pages
            text = page(one.title, one.control, named)
            self._reply("text/html; charset=utf-8", text.encode(), framed=one.control is None)
        elif what == "stats.json":
            self._reply_json(one.figures())
        elif what == "snapshot.jpg":
            newest = one.live_picture.newer(0, _STUCK_S)
            if newest is None:
                self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "no picture yet")
            else:
                self._reply("image/jpeg", newest[1])
        elif what == "live.mjpg":
            self._stream(one.live_picture)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _reply_json(self, what: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        self._reply("application/json", json.dumps(what).encode(), status)

    def _reply(self, kind: str, body: bytes, status: HTTPStatus = HTTPStatus.OK, framed: bool = True) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if not framed:  # no other site may lay its own over the buttons
            self.send_header("X-Frame-Options", "SAMEORIGIN")
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
