"""One address on which an RTSP server listens, and the thread of its connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from irchroma.stream.errors import SinkError
from irchroma.stream.gstreamer import door

_LONGEST_BODY = 32 * 1024


class Listener:
    """One address of a port, and the GLib thread in which all that happens on its connections happens.

    The server's own thread pool would give connections a thread that only it knows, and a connection that is
    closed from another thread is closed while its own reads from it: GStreamer 1.22 then spins and prints
    a million complaints, and 1.26 was seen to abort.
    """

    def __init__(self, rtsp: Any, host: str, port: int) -> None:
        """`rtsp`: the namespace. Nothing listens yet; `server` may be set up."""
        self._rtsp, self._host, self._port = rtsp, host, port
        glib = door.modules()["GLib"]
        self.server = rtsp.RTSPServer.new()
        self.server.set_address(host)
        self.server.set_service(str(port))
        self.server.set_content_length_limit(_LONGEST_BODY)
        self.server.get_thread_pool().set_max_threads(0)  # connections belong to the thread that accepts them
        self.context = glib.MainContext.new()
        self._loop = glib.MainLoop.new(self.context, False)
        self._source: Any = None
        self._thread: threading.Thread | None = None

    def bind(self) -> int:
        """Take the port, whose number is returned; nobody is answered before `run`.

        Raises:
            SinkError: it is taken.
        """
        try:
            # attach() would only log why it failed.
            self._source = self.server.create_source(None)
        except door.modules()["GLib"].Error as error:
            raise SinkError(
                f"rtsp: cannot listen on {self._host}:{self._port}: {_reason(error.message)}"
                " (an rtsp:// sink is a server on this machine; to another: publish+rtsp://host:port/path)"
            ) from error
        self._source.attach(self.context)
        self._port = int(self.server.get_bound_port())
        return self._port

    def run(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"rtsp :{self._port}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.context.push_thread_default()
        self._loop.run()
        self.context.pop_thread_default()

    def soon(self, work: Callable[[], object], last: bool = False) -> None:
        """Let something be done in the thread of the connections. Any thread.

        Args:
            work: it.
            last: once the connections ask for nothing and nothing else is to be done; else before what they
                ask for.
        """

        def once(*_: Any) -> bool:
            work()
            return False

        glib = door.modules()["GLib"]
        later = glib.idle_source_new()
        later.set_priority(glib.PRIORITY_DEFAULT_IDLE if last else glib.PRIORITY_HIGH)
        later.set_callback(once)
        later.attach(self.context)

    def begin_to_end(self) -> None:
        """Let the port go and all who are connected, as soon as the thread comes to it."""
        if self._thread is None:
            self._hang_up()
        else:
            self.soon(self._end)

    def _end(self) -> None:
        self._hang_up()
        self.soon(self._loop.quit, last=True)

    def _hang_up(self) -> None:
        if self._source is not None:
            self._source.destroy()
        self.server.client_filter(lambda *_: self._rtsp.RTSPFilterResult.REMOVE)

    def ended(self, deadline: float) -> bool:
        """Wait for it until then, `time.monotonic`; False where the thread is held up. Lets go of all."""
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
            if self._thread.is_alive():
                return False
        # The listening socket is closed with the last reference to its source.
        self.server = self._source = self._loop = self.context = None
        return True


def _reason(message: str) -> str:
    """`address already in use` out of `Error binding to address 127.0.0.1:8554: Address already in use`."""
    return message.rpartition(": ")[2].lower()
