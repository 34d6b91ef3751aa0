"""RTSP servers of this process, one for each address and port, shared by the sinks that stream through it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from irchroma.stream.errors import SinkError
from irchroma.stream.gstreamer import door

log = logging.getLogger(__name__)

_CLEAN_S = 5  # how often sessions of clients that vanished are looked for
_JOIN_S = 5.0


@dataclass(frozen=True, slots=True)
class RtspAddress:
    """Where a stream is served.

    Attributes:
        host: address to listen on, `0.0.0.0` for all.
        port: TCP port, 0 for a free one.
        name: the stream's path without its slash.
        user, password: what clients must give; both empty for none.
    """

    host: str
    port: int
    name: str
    user: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        """Without the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"rtsp://{'' if host == '0.0.0.0' else host}:{self.port}/{self.name}"


class _Server:
    """One listening port and its GLib thread."""

    def __init__(self, host: str, port: int, locked: bool) -> None:
        self._rtsp = door.extra_module("GstRtspServer")
        glib = door.modules()["GLib"]
        self.locked = locked
        self.names: dict[str, Callable[[], None]] = {}
        self._server = self._rtsp.RTSPServer.new()
        self._server.set_address(host)
        self._server.set_service(str(port))
        self._server.connect("client-connected", self._client_connected)
        self._auth = self._rtsp.RTSPAuth.new() if locked else None
        if self._auth is not None:
            self._server.set_auth(self._auth)
        self._context = glib.MainContext.new()
        self._loop = glib.MainLoop.new(self._context, False)
        try:
            # attach() would only log why it failed.
            self._source = self._server.create_source(None)
        except glib.Error as error:
            raise SinkError(
                f"rtsp: cannot listen on {host}:{port}: {_reason(error.message)}"
                " (an rtsp:// sink is a server on this machine)"
            ) from error
        self._source.attach(self._context)
        self.port = int(self._server.get_bound_port())
        self._cleaner = glib.timeout_source_new_seconds(_CLEAN_S)
        self._cleaner.set_callback(self._clean)
        self._cleaner.attach(self._context)
        self._thread = threading.Thread(target=self._run, name=f"rtsp :{self.port}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._context.push_thread_default()
        self._loop.run()
        self._context.pop_thread_default()

    def _quit(self, *_: Any) -> bool:
        self._loop.quit()
        return False

    def _clean(self, *_: Any) -> bool:
        self._server.get_session_pool().cleanup()
        return True

    def _client_connected(self, _server: Any, client: Any) -> None:
        client.connect("play-request", self._play_requested)

    def _play_requested(self, _client: Any, context: Any) -> None:
        """A new viewer of a stream that runs already must not wait for the next regular keyframe."""
        name = context.uri.abspath.strip("/").split("/")[0] if context.uri is not None else ""
        for mounted, refresh in list(self.names.items()):
            if mounted.split("/")[0] == name:
                refresh()

    def mount(self, address: RtspAddress, factory: Any, refresh: Callable[[], None]) -> None:
        if self._auth is not None:
            rtsp = self._rtsp
            token = rtsp.RTSPToken.new()
            token.set_string(rtsp.RTSP_TOKEN_MEDIA_FACTORY_ROLE, address.name)
            self._auth.add_basic(rtsp.RTSPAuth.make_basic(address.user, address.password), token)
            rights = rtsp.RTSPPermissions.new()
            rights.add_role(address.name)
            for right in (rtsp.RTSP_PERM_MEDIA_FACTORY_ACCESS, rtsp.RTSP_PERM_MEDIA_FACTORY_CONSTRUCT):
                rights.add_permission_for_role(address.name, right, True)
            factory.set_permissions(rights)
        self._server.get_mount_points().add_factory(f"/{address.name}", factory)
        self.names[address.name] = refresh

    def unmount(self, name: str) -> None:
        self._server.get_mount_points().remove_factory(f"/{name}")
        self.names.pop(name, None)

    def stop(self) -> None:
        self._source.destroy()
        self._cleaner.destroy()
        self._server.client_filter(lambda *_: self._rtsp.RTSPFilterResult.REMOVE)
        self._server.get_session_pool().filter(lambda *_: self._rtsp.RTSPFilterResult.REMOVE)
        # From inside: a loop whose thread has not reached run() yet would overlook it.
        ending = door.modules()["GLib"].idle_source_new()
        ending.set_callback(self._quit)
        ending.attach(self._context)
        self._thread.join(_JOIN_S)
        # The listening socket is closed with the last reference to its source.
        self._source = self._cleaner = self._server = self._loop = self._context = None


def _reason(message: str) -> str:
    """`address already in use` out of `Error binding to address 127.0.0.1:8554: Address already in use`."""
    return message.rpartition(": ")[2].lower()


_servers: dict[tuple[str, int], _Server] = {}
_lock = threading.Lock()


def serve(address: RtspAddress, factory: Any, refresh: Callable[[], None]) -> RtspAddress:
    """Put a media factory on an address; the port's server is started with its first stream.

    Args:
        factory: a `GstRtspServer.RTSPMediaFactory`.
        refresh: asks the stream's encoder for a keyframe; called when a viewer starts to play.

    Returns:
        The address with the port that was bound.

    Raises:
        SinkError: the port is taken, the name is taken, or passwords do not go together.
    """
    with _lock:
        server = _servers.get((address.host, address.port))
        fresh = server is None
        if server is None:
            server = _Server(address.host, address.port, locked=bool(address.user))
        if address.name in server.names:
            raise SinkError(f"{address}: there is a stream of that name on this port already")
        if server.locked != bool(address.user):
            raise SinkError(
                f"{address}: streams on one port have passwords either all or none:"
                " give this one a port of its own"
            )
        bound = RtspAddress(address.host, server.port, address.name, address.user, address.password)
        server.mount(address, factory, refresh)
        _servers[(bound.host, bound.port)] = server
        if fresh:
            log.info("rtsp: listening on %s:%d", bound.host, bound.port)
        return bound


def withdraw(bound: RtspAddress) -> None:
    """Take a stream off; the server ends with its last one, and its clients are disconnected."""
    with _lock:
        server = _servers.get((bound.host, bound.port))
        if server is None:
            return
        server.unmount(bound.name)
        if not server.names:
            del _servers[(bound.host, bound.port)]
            server.stop()
