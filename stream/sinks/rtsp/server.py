"""RTSP servers of this process, one for each address and port, shared by the sinks that stream through it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from irchroma.stream.errors import SinkError
from irchroma.stream.gstreamer import door
from irchroma.stream.sinks import listening
from irchroma.stream.sinks.rtsp.listener import Listener

log = logging.getLogger(__name__)

_CLEAN_S = 5  # how often sessions of clients that vanished are looked for
_JOIN_S = 5.0
_PATIENCE_S = 0.1  # before those who wait for a first picture are told
_MOST_CLIENTS = 128  # connections of a port; one without a session is given up for a newer one
_MOST_SESSIONS = 256  # those of clients that vanished without a word last for a minute


@dataclass(frozen=True, slots=True)
class RtspAddress:
    """Where a stream is served.

    Attributes:
        host: address to listen on; empty for this machine alone, with a password for all addresses.
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
        return f"rtsp://{listening.shown(self.host)}:{self.port}/{self.name}"


class _Server:
    """One port and the addresses that it listens on, which share what is served."""

    def __init__(self, host: str, port: int, locked: bool) -> None:
        self._rtsp = door.extra_module("GstRtspServer")
        glib = door.modules()["GLib"]
        self.locked = locked
        self.names: dict[str, Callable[[bool], None]] = {}
        self._givers_up: dict[str, Callable[[], None]] = {}
        self._mounts, self._sessions = self._rtsp.RTSPMountPoints.new(), self._rtsp.RTSPSessionPool.new()
        self._sessions.set_max_sessions(_MOST_SESSIONS)
        self._clients: list[tuple[Any, Listener]] = []  # the oldest first
        self._watched: dict[Any, str] = {}  # client -> the path that it plays
        self._clients_lock = threading.Lock()
        self._roles: dict[str, str] = {}  # basic credentials -> role: many streams may have the same
        self._auth = self._rtsp.RTSPAuth.new() if locked else None
        self._listeners: list[Listener] = []
        self.port = port
        try:
            for address in listening.hosts(host, locked):
                self._listen(address)
        except SinkError:
            self._end_listeners()
            raise
        self._cleaner = glib.timeout_source_new_seconds(_CLEAN_S)
        self._cleaner.set_callback(self._clean)
        self._cleaner.attach(self._listeners[0].context)
        for listener in self._listeners:
            listener.run()

    def _listen(self, host: str) -> None:
        """One more address; all share what is mounted, its sessions and its passwords."""
        listener = Listener(self._rtsp, host, self.port)
        listener.server.set_mount_points(self._mounts)
        listener.server.set_session_pool(self._sessions)
        listener.server.connect("client-connected", self._client_connected, listener)
        if self._auth is not None:
            listener.server.set_auth(self._auth)
        self._listeners.append(listener)
        self.port = listener.bind()

    def _clean(self, *_: Any) -> bool:
        self._sessions.cleanup()
        return True

    def _client_connected(self, _server: Any, client: Any, listener: Listener) -> None:
        client.connect("pre-play-request", self._play_announced)
        client.connect("play-request", self._play_requested)
        client.connect("closed", self._client_closed, listener)
        with self._clients_lock:
            self._clients.append((client, listener))
            surplus = len(self._clients) > _MOST_CLIENTS
        if surplus:  # not here: the server has yet to attach this one
            listener.soon(self._make_room)

    def _client_closed(self, client: Any, listener: Listener) -> None:
        # Without a pool's thread GStreamer (1.22) lets go of a client in the midst of its closing, under
        # locks that would end with it, and before work of its own on it that it has put off.
        listener.soon(partial(id, client), last=True)
        with self._clients_lock:
            self._clients = [one for one in self._clients if one[0] is not client]
            self._watched.pop(client, None)

    def _make_room(self) -> None:
        """Close the oldest connection on which nothing was set up, or else the newest."""
        with self._clients_lock:
            clients = list(self._clients) if len(self._clients) > _MOST_CLIENTS else []
        if clients:
            silent = (one for one in clients if not one[0].session_filter(None))
            client, listener = next(silent, clients[-1])
            listener.soon(client.close)

    def _play_announced(self, _client: Any, context: Any) -> Any:
        self._refresh(context, False)
        return door.extra_module("GstRtsp").RTSPStatusCode.OK

    def _play_requested(self, client: Any, context: Any) -> None:
        with self._clients_lock:
            self._watched[client] = _path(context)
        self._refresh(context, True)

    def _refresh(self, context: Any, plays: bool) -> None:
        refresh = self.names.get(self._name_at(_path(context)))
        if refresh is not None:
            refresh(plays)

    def _name_at(self, path: str) -> str:
        """The longest of the mounted names that a path begins with, as GStreamer has it; empty for none."""
        mounted = [name for name in list(self.names) if f"{path}/".startswith(f"{name}/")]
        return max(mounted, key=len, default="")

    def mount(
        self, address: RtspAddress, factory: Any, refresh: Callable[[bool], None], give_up: Callable[[], None]
    ) -> None:
        if self._auth is not None:
            rtsp = self._rtsp
            role = self._role_of(self._auth, rtsp.RTSPAuth.make_basic(address.user, address.password))
            rights = rtsp.RTSPPermissions.new()
            rights.add_role(role)
            for right in (rtsp.RTSP_PERM_MEDIA_FACTORY_ACCESS, rtsp.RTSP_PERM_MEDIA_FACTORY_CONSTRUCT):
                rights.add_permission_for_role(role, right, True)
            factory.set_permissions(rights)
        self._mounts.add_factory(f"/{address.name}", factory)
        self.names[address.name], self._givers_up[address.name] = refresh, give_up

    def _role_of(self, auth: Any, basic: str) -> str:
        """The role of whoever gives these credentials: the server knows one role for each of them."""
        if basic not in self._roles:
            self._roles[basic] = f"viewer{len(self._roles)}"
            token = self._rtsp.RTSPToken.new()
            token.set_string(self._rtsp.RTSP_TOKEN_MEDIA_FACTORY_ROLE, self._roles[basic])
            auth.add_basic(basic, token)
        return self._roles[basic]

    def unmount(self, name: str) -> None:
        """Take a stream off; its viewers are disconnected, in the thread of their connections."""
        self._mounts.remove_factory(f"/{name}")
        with self._clients_lock:
            watched = self._watched
            viewers = [one for one in self._clients if self._name_at(watched.get(one[0], "")) == name]
        self.names.pop(name, None)
        for client, listener in viewers:
            listener.soon(client.close)

    def stop(self) -> None:
        self._cleaner.destroy()
        if self._end_listeners():
            self._sessions.filter(lambda *_: self._rtsp.RTSPFilterResult.REMOVE)
        self._clients, self._watched = [], {}
        self._mounts = self._sessions = self._cleaner = None

    def _end_listeners(self) -> bool:
        """Each in its own thread, and all at once; False where one is held up.

        A thread waits for as long as 20 s for the first picture of a stream that somebody has asked for.
        """
        for listener in self._listeners:
            listener.begin_to_end()
        deadline, ended = time.monotonic() + _JOIN_S, False
        while not ended and time.monotonic() < deadline:
            soon = time.monotonic() + _PATIENCE_S
            ended = all([listener.ended(soon) for listener in self._listeners])
            for give_up in (
                () if ended else self._givers_up.values()
            ):  # again, for who asks just before the end
                give_up()
        if not ended:
            log.warning("rtsp: a client holds port %d up, which is let go once that one is done", self.port)
        self._listeners = []
        return ended


def _path(context: Any) -> str:
    """`gate/stream=0` of a request for `rtsp://host/gate/stream=0?x`."""
    return str(context.uri.abspath).strip("/") if context.uri is not None else ""


@cache
def _one_media_factory() -> Any:
    """The class: made once GStreamer is loaded."""
    server = door.extra_module("GstRtspServer")

    class OneMediaFactory(server.RTSPMediaFactory):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self._latest: Any = None
            self._ended = 0
            self._lock = threading.Lock()

        def do_configure(self, media: Any) -> None:
            server.RTSPMediaFactory.do_configure(self, media)
            with self._lock:
                self._latest = media.weak_ref()

        def do_gen_key(self, _url: Any) -> str:
            with self._lock:
                latest = self._latest() if self._latest is not None else None
                if latest is not None and latest.get_status() == server.RTSPMediaStatus.UNPREPARING:
                    self._latest = None
                    self._ended += 1
                return str(self._ended)

    return OneMediaFactory


def one_media_factory() -> Any:
    """A media factory whose clients share one media, by whatever address they ask for it.

    The server's own takes the whole path and query for the key: `/live?x` and `/live/y` would each build a
    pipeline of their own, and what the sink gives to the newest would leave the others silent. It also finds
    a media that is just being ended, because its last client has left, and answers a client that comes in
    that moment with 503: here it gets a new one.
    """
    return _one_media_factory()()


_servers: dict[tuple[str, int], _Server] = {}
_lock = threading.Lock()


def serve(
    address: RtspAddress,
    factory: Any,
    refresh: Callable[[bool], None],
    give_up: Callable[[], None],
    instead: bool = False,
) -> RtspAddress:
    """Put a media factory on an address; the port's server is started with its first stream.

    Args:
        factory: a `GstRtspServer.RTSPMediaFactory`.
        refresh: called with False before a viewer begins to play, and with True once it does: the stream
            must go on with a keyframe for it.
        give_up: called when the port is let go, perhaps several times and from any thread: nobody is to wait
            for a first picture any more.
        instead: in place of what is served there now, whose viewers are disconnected.

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
        if instead:
            server.unmount(address.name)
        if address.name in server.names:
            raise SinkError(f"{address}: there is a stream of that name on this port already")
        if server.locked != bool(address.user):
            raise SinkError(
                f"{address}: streams on one port have passwords either all or none:"
                " give this one a port of its own"
            )
        bound = RtspAddress(address.host, server.port, address.name, address.user, address.password)
        server.mount(address, factory, refresh, give_up)
        _servers[(bound.host, bound.port)] = server
        if fresh:
            _say_who_reaches(bound)
        return bound


def _say_who_reaches(bound: RtspAddress) -> None:
    """One line on a port that has just been opened, and how to open it wider or to close it."""
    if not bound.host and not bound.user:
        log.info(
            "rtsp: %s is for this machine alone; for others give it a password"
            " (rtsp://user:password@:%d/%s) or one of this machine's addresses",
            bound,
            bound.port,
            bound.name,
        )
    elif not bound.user and not listening.is_loopback(bound.host):
        log.warning("rtsp: %s asks for no password: whoever reaches the port may watch", bound)
    else:
        log.info("rtsp: %s", bound)


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
