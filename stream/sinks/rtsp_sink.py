"""Serves the pictures as H.264 over RTSP to any number of clients; encodes only while somebody watches.

RTSP servers of this process, one for each address and port, shared by the sinks that stream through it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from irchroma.stream.errors import SinkError, StreamError
from irchroma.stream.gstreamer import door
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.sinks import listening
from irchroma.stream.sinks.encoders import EncoderOptions, EncoderTask, choose_encoder
from irchroma.stream.sinks.i420_packer import even_size
from irchroma.stream.sinks.pace import Pace, RunningTime
from irchroma.stream.sinks.pipeline_sink import check_size, explain
from irchroma.stream.sinks.shared_encoder import EncoderPool, SharedEncoder, Unit

log = logging.getLogger(__name__)

_CLEAN_S = 5  # how often sessions of clients that vanished are looked for
_JOIN_S = 5.0
_WAITING = 30  # coded pictures in front of the payloader
# The encoder's parser puts the parameter sets once in front of a keyframe. The payloader would put them in
# front of each of its slices (x264's low delay cuts a picture into one for each thread), which splits the
# picture in two for FFmpeg's decoder.
_LAUNCH = (
    "( appsrc name=pictures format=time is-live=true max-bytes=0"
    " ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=0 aggregate-mode=zero-latency )"
)


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
    """One port, the addresses that it listens on, and its GLib thread."""

    def __init__(self, host: str, port: int, locked: bool) -> None:
        self._rtsp = door.extra_module("GstRtspServer")
        glib = door.modules()["GLib"]
        self.locked = locked
        self.names: dict[str, Callable[[], None]] = {}
        self._mounts, self._sessions = self._rtsp.RTSPMountPoints.new(), self._rtsp.RTSPSessionPool.new()
        self._roles: dict[str, str] = {}  # basic credentials -> role: many streams may have the same
        self._auth = self._rtsp.RTSPAuth.new() if locked else None
        self._context = glib.MainContext.new()
        self._loop = glib.MainLoop.new(self._context, False)
        self._servers: list[Any] = []
        self._sources: list[Any] = []
        self.port = port
        for address in listening.hosts(host, locked):
            self._listen(address)
        self._cleaner = glib.timeout_source_new_seconds(_CLEAN_S)
        self._cleaner.set_callback(self._clean)
        self._cleaner.attach(self._context)
        self._thread = threading.Thread(target=self._run, name=f"rtsp :{self.port}", daemon=True)
        self._thread.start()

    def _listen(self, host: str) -> None:
        """One more address; all share what is mounted, its sessions and its passwords."""
        server = self._rtsp.RTSPServer.new()
        server.set_address(host)
        server.set_service(str(self.port))
        server.set_mount_points(self._mounts)
        server.set_session_pool(self._sessions)
        server.connect("client-connected", self._client_connected)
        if self._auth is not None:
            server.set_auth(self._auth)
        try:
            # attach() would only log why it failed.
            source = server.create_source(None)
        except door.modules()["GLib"].Error as error:
            for listened in self._sources:
                listened.destroy()
            raise SinkError(
                f"rtsp: cannot listen on {host}:{self.port}: {_reason(error.message)}"
                " (an rtsp:// sink is a server on this machine)"
            ) from error
        source.attach(self._context)
        self.port = int(server.get_bound_port())
        self._servers.append(server)
        self._sources.append(source)

    def _run(self) -> None:
        self._context.push_thread_default()
        self._loop.run()
        self._context.pop_thread_default()

    def _quit(self, *_: Any) -> bool:
        self._loop.quit()
        return False

    def _clean(self, *_: Any) -> bool:
        self._sessions.cleanup()
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
            role = self._role_of(self._auth, rtsp.RTSPAuth.make_basic(address.user, address.password))
            rights = rtsp.RTSPPermissions.new()
            rights.add_role(role)
            for right in (rtsp.RTSP_PERM_MEDIA_FACTORY_ACCESS, rtsp.RTSP_PERM_MEDIA_FACTORY_CONSTRUCT):
                rights.add_permission_for_role(role, right, True)
            factory.set_permissions(rights)
        self._mounts.add_factory(f"/{address.name}", factory)
        self.names[address.name] = refresh

    def _role_of(self, auth: Any, basic: str) -> str:
        """The role of whoever gives these credentials: the server knows one role for each of them."""
        if basic not in self._roles:
            self._roles[basic] = f"viewer{len(self._roles)}"
            token = self._rtsp.RTSPToken.new()
            token.set_string(self._rtsp.RTSP_TOKEN_MEDIA_FACTORY_ROLE, self._roles[basic])
            auth.add_basic(basic, token)
        return self._roles[basic]

    def unmount(self, name: str) -> None:
        self._mounts.remove_factory(f"/{name}")
        self.names.pop(name, None)

    def stop(self) -> None:
        for source in [*self._sources, self._cleaner]:
            source.destroy()
        for server in self._servers:
            server.client_filter(lambda *_: self._rtsp.RTSPFilterResult.REMOVE)
        self._sessions.filter(lambda *_: self._rtsp.RTSPFilterResult.REMOVE)
        # From inside: a loop whose thread has not reached run() yet would overlook it.
        ending = door.modules()["GLib"].idle_source_new()
        ending.set_callback(self._quit)
        ending.attach(self._context)
        self._thread.join(_JOIN_S)
        # The listening socket is closed with the last reference to its source.
        self._servers, self._sources = [], []
        self._mounts = self._sessions = self._cleaner = self._loop = self._context = None


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


class RtspSink:
    """One RTSP stream, shared by its clients.

    The pipeline is built when the first client comes and let go when the last one leaves. What a slow
    client does not read is dropped for that client alone.

    Attributes:
        address: where it is served, with the real port once it is open.
    """

    def __init__(
        self, address: RtspAddress, encoder: EncoderOptions | None = None, pool: EncoderPool | None = None
    ) -> None:
        self.address = address
        self._options, self._pool = encoder or EncoderOptions(), pool or EncoderPool()
        self._encoder: SharedEncoder | None = None
        self._joined = False
        self._bound: RtspAddress | None = None
        self._factory: Any = None
        self._lock = threading.Lock()
        self._pictures: Any = None
        self._clock = RunningTime()
        self._primed = False  # one picture before the start is enough to describe the stream to the client
        self._await_key = False
        self._pace: Pace | None = None
        self._drops = 0

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`. SinkError for a port or a name that is taken."""
        label = str(self.address)
        check_size(size, label)
        self._pace = None if info.live else Pace()
        even = even_size(size)
        try:
            task = EncoderTask("h264", even, info.rate, live=True, options=self._options)
            choose_encoder(task)  # its complaint comes now, not with the first client
            self._encoder = self._pool.of(task)
            self._factory = door.extra_module("GstRtspServer").RTSPMediaFactory.new()
            self._factory.set_launch(_LAUNCH)
            self._factory.set_shared(True)
            self._factory.connect("media-configure", self._media_built)
            self._bound = serve(self.address, self._factory, self.ask_keyframe)
        except SinkError:
            raise
        except StreamError as error:
            raise explain(error, label) from error
        self.address = self._bound

    def _media_built(self, _factory: Any, media: Any) -> None:
        """Runs in the server's thread, once for each time that the first client comes."""
        parts = media.get_element()
        media.connect("unprepared", self._media_gone)
        with self._lock:
            self._pictures = parts.get_by_name("pictures")
            self._clock = RunningTime()
            self._primed, self._await_key = False, True
        log.info("%s: first client, encoder starts", self.address)

    def _media_gone(self, _media: Any) -> None:
        with self._lock:
            self._pictures = None
        log.info("%s: no clients, encoder stopped", self.address)

    @property
    def watched(self) -> bool:
        """True while there are clients."""
        return self._pictures is not None

    def ask_keyframe(self) -> None:
        """Make the next picture a keyframe. Any thread."""
        if self._encoder is not None:
            self._encoder.ask_keyframe()

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        """See `FrameSink.write`; costs nothing while nobody watches."""
        encoder = self._encoder
        if encoder is None:
            raise SinkError(f"{self.address}: written to before it was opened")
        if self._pace is not None:
            self._pace.wait(pts_ns)
        try:
            if self.watched != self._joined:
                self._joined = self.watched
                if not self._joined:
                    encoder.leave(self._take)
                    return
                encoder.join(self._take)
            if self._joined:
                self._drops += not encoder.offer(rgb, pts_ns, duration_ns, waits=self._pace is not None)
        except StreamError as error:
            self._joined = False
            raise explain(error, str(self.address)) from error

    def _take(self, unit: Unit) -> None:
        """A coded picture for the clients. The encoder's thread."""
        with self._lock:
            pictures = self._pictures
        if pictures is None:
            return
        now_ns = _running_time_ns(pictures)
        if now_ns is None or (now_ns == 0 and self._primed) or _full(pictures):
            # Left out, and with it all that refers to it.
            self._drops += now_ns is not None and now_ns > 0
            self._await_key = True
            return
        if self._await_key and not unit.key:
            self.ask_keyframe()
            return
        if not self._primed:
            pictures.set_property("caps", unit.caps)
        self._primed, self._await_key = True, False
        pictures.emit("push-buffer", unit.at(self._clock.of(unit.pts_ns, now_ns)))

    @property
    def drops(self) -> int:
        """See `FrameSink.drops`: pictures that the encoder did not get."""
        return self._drops

    def close(self) -> None:
        """See `FrameSink.close`; clients are disconnected."""
        bound, self._bound = self._bound, None
        if bound is not None:
            withdraw(bound)
        with self._lock:
            self._pictures = None
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            encoder.leave(self._take)
        self._joined, self._factory = False, None


def _full(pictures: Any) -> bool:
    return bool(pictures.get_property("current-level-buffers") >= _WAITING)


def _running_time_ns(element: Any) -> int | None:
    """Nanoseconds that the pipeline has been playing: 0 before it starts, None while it is paused.

    Before the start the base time is 0, and GStreamer's own answer would be the machine's uptime.
    """
    if not element.get_base_time():
        return 0
    state = door.modules()["Gst"].State.PLAYING
    return int(element.get_current_running_time()) if element.get_state(0)[1] == state else None
