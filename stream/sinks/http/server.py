"""HTTP servers of this process, one for each address and port, shared by the pages on them."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import threading
from pathlib import Path
from urllib.parse import quote

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from irchroma.stream.errors import SinkError
from irchroma.stream.sinks import listening
from irchroma.stream.sinks.http.access import Access, needs_access
from irchroma.stream.sinks.http.answers import Answers, Page
from irchroma.stream.sinks.http.watching import LONGEST_HEAD

log = logging.getLogger(__name__)

_MOST_CONNECTIONS = 128
_REQUEST_S = 10  # a connection on which no whole request has come for so long is cut off
_IDLE_S = 15  # and one on which none begins
_STARTED_S = 10.0
_SENT_AHEAD = 256 * 1024  # what a stalled viewer has not taken must stay small: it would be shown late


class _Connection(H11Protocol):
    """uvicorn's, with a limit to the time that a request may take to arrive, and to their number."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > _MOST_CONNECTIONS:
            transport.abort()
            return
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SENT_AHEAD)
        self.app_state = {**self.app_state, "transport": transport}
        self._late = self.loop.call_later(_REQUEST_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering:
            self._in_time()
        elif self._late is None and not self.transport.is_closing():
            self._late = self.loop.call_later(_REQUEST_S, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Only where no answer has begun: into another one it would break, and with it the answer."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        super().connection_lost(exc)

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class Server:
    """The thread that answers on a port, within the limits above.

    Args:
        name: of the thread.
        sockets: what it listens on; closed with it.
        app: what it answers.
        certificate, key: PEM files by which it is served over HTTPS.
    """

    def __init__(
        self,
        name: str,
        sockets: list[socket.socket],
        app: ASGIApp,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        self._sockets = sockets
        # Malformed requests and viewers that hang at the end are no news.
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        config = uvicorn.Config(
            app,
            http=_Connection,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=LONGEST_HEAD,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.run(self._server.serve(self._sockets))

    def stop(self) -> None:
        """Let everyone go."""
        self._server.should_exit = True
        self._thread.join(_STARTED_S)


class _Pages:
    """One port with pages."""

    def __init__(self, host: str, port: int, access: Access) -> None:
        _check_certificate(access)
        sockets = listen("http", host, port, access.protected)
        self.port = int(sockets[0].getsockname()[1])
        self.answers = Answers(host, self.port, access)
        name = f"http :{self.port}"
        self._server = Server(name, sockets, self.answers, access.certificate, access.key)

    def stop(self) -> None:
        self._server.stop()


def _check_certificate(access: Access) -> None:
    """SinkError where the page cannot be served over HTTPS as it is asked for."""
    if access.certificate is None:
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(access.certificate, access.key, lambda: "")  # or OpenSSL asks the terminal
    except FileNotFoundError as error:
        raise SinkError(f"https: {access.certificate} or {access.key or 'its key'} is not there") from error
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SinkError(
            f"https: {access.certificate} and {access.key or 'the key in it'}: expected a certificate and its"
            f" key without a password, both PEM ({reason.lower().strip()})"
        ) from error


def listen(what: str, host: str, port: int, protected: bool) -> list[socket.socket]:
    """A listening socket for each address of `listening.hosts`.

    Args:
        what: listens there, for the error's line.

    Raises:
        SinkError: the port is taken or not allowed.
    """
    found: list[socket.socket] = []
    for address in listening.hosts(host, protected):
        try:
            family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][0]
            one = socket.create_server((address, port), family=family, dualstack_ipv6=address == "::")
        except (OSError, OverflowError, ValueError) as error:
            for listened in found:
                listened.close()
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                reason = "address already in use, perhaps by another run: take another port"
            raise SinkError(f"{what}: cannot listen on {host or address}:{port}: {reason.lower()}") from error
        found.append(one)
        port = int(one.getsockname()[1])
    return found


_servers: dict[tuple[str, int], _Pages] = {}
_lock = threading.Lock()


def serve(host: str, port: int, name: str, one: Page, access: Access) -> int:
    """Put a page on an address; the port's server is started with its first page.

    Args:
        host: address to listen on; empty for this machine alone, and for all where something is asked for.
        port: TCP port, 0 for a free one.
        name: the page's, below the list of all pages of that port; empty to have the port to itself.
        one: the page.
        access: who gets in; of all pages of a port the same.

    Returns:
        The port that was bound.

    Raises:
        SinkError: the port or the name is taken, or other machines would get in without being asked.
    """
    with _lock:
        server = _servers.get((host, port))
        if server is not None and (name in server.answers.pages or not name or "" in server.answers.pages):
            raise SinkError(f"http: there is a page on {host}:{port}/{name} already")
        if server is not None and server.answers.access != access:
            raise SinkError(f"http: pages on {host}:{port} have the same tokens and passwords, or none")
        if needs_access(host, access):
            raise SinkError(
                f"http: {host} is reached by other machines, and the page lets anybody in: give it --token or"
                " user:password@"
            )
        if server is None:
            server = _Pages(host, port, access)
            _say_who_reaches(host, server.port, name, access)
        server.answers.pages[name] = one
        _servers[(host, server.port)] = server
        return server.port


def _say_who_reaches(host: str, port: int, name: str, access: Access) -> None:
    """One line on a port that has just been opened."""
    local = not host and not access.protected
    shown = "localhost" if local else listening.shown(host) or socket.gethostname()
    address = f"{access.scheme}://{shown}:{port}/" + (quote(name) + "/" if name else "")
    if local:
        log.info(
            "http: %s is for this machine alone; for others give it --token, or http://user:password@:%d",
            address,
            port,
        )
    else:
        log.info("http: %s", address)


def withdraw(host: str, port: int, name: str) -> None:
    """Take a page off; the server ends with its last one."""
    with _lock:
        server = _servers.get((host, port))
        if server is None:
            return
        server.answers.pages.pop(name, None)
        if not server.answers.pages:
            del _servers[(host, port)]
            server.stop()
