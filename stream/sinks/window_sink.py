"""Shows the pictures in a window of the desktop."""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from fractions import Fraction
from typing import Any

from irchroma.stream.errors import SinkError
from irchroma.stream.gstreamer.pipeline import Pipeline
from irchroma.stream.protocols import Pixels, VideoInfo
from irchroma.stream.sinks.pipeline_sink import PipelineSink, Tail

_ANY = "autovideosink"
# Variable that names a display -> library, function that opens it, function that closes it.
_DISPLAYS = {
    "WAYLAND_DISPLAY": ("libwayland-client.so.0", "wl_display_connect", "wl_display_disconnect"),
    "DISPLAY": ("libX11.so.6", "XOpenDisplay", "XCloseDisplay"),
}


class WindowSink(PipelineSink):
    """One window, made by whichever video sink of GStreamer works here.

    Args:
        element: the launch text of the video sink.
    """

    def __init__(self, element: str = _ANY) -> None:
        super().__init__("window", waits=False, end_s=0)
        self._element = element
        self._ended = 0  # displays that had when this one was opened

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """See `FrameSink.open`. SinkError on a machine without a display, or where it does not answer."""
        named = {name: os.environ[name] for name in _DISPLAYS if os.environ.get(name)}
        # autovideosink itself would go on with a sink that shows nothing.
        if not named:
            raise SinkError(
                "window: there is no display here (neither DISPLAY nor WAYLAND_DISPLAY is set):"
                " use http://:8080 and a browser"
            )
        # ... or, where the display does not answer, with DirectFB's, which crashes (GStreamer 1.22).
        if self._element == _ANY and not any(_answers(name) for name in named):
            shown = " and ".join(f"{name}={value}" for name, value in named.items())
            raise SinkError(
                f"window: the display does not answer ({shown}): start this on the desktop itself,"
                " or use http://:8080 and a browser"
            )
        _outlive_displays()
        self._ended = len(_ended)
        super().open(info, size)

    def write(self, rgb: Pixels, pts_ns: int, duration_ns: int) -> None:
        """See `FrameSink.write`. SinkError where the display has ended."""
        if self._ended != len(_ended):
            raise SinkError("window: the display has ended")
        super().write(rgb, pts_ns, duration_ns)

    def _stop(self) -> None:
        if self._ended != len(_ended) and self._pipeline is not None:
            _left.append(self._pipeline)  # a thread of it is in the display's library for ever
            self._pipeline = self._packer = None
        super()._stop()

    def _tail(self, rate: Fraction, size: tuple[int, int]) -> Tail:
        return Tail(f"queue max-size-buffers=2 leaky=downstream ! videoconvert ! {self._element} sync=false")


_ended: list[int] = []
_left: list[Pipeline] = []


def _display_ended(_display: Any) -> int:
    """Runs on the thread that found it out, and must not return: Xlib then ends the process, recordings and
    all."""
    _ended.append(threading.get_ident())
    while True:
        threading.Event().wait()


@functools.cache
def _outlive_displays() -> Any:
    """What keeps the process from ending with its display, as when somebody logs out; kept alive with it."""
    handler = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(_display_ended)
    try:
        ctypes.CDLL("libX11.so.6").XSetIOErrorHandler(handler)
    except OSError:
        return None  # no display of this kind
    return handler


def _answers(variable: str) -> bool:
    """Whether the display that an environment variable names can be opened; true where that is not known."""
    library, connect, disconnect = _DISPLAYS[variable]
    try:
        client = ctypes.CDLL(library)
    except OSError:
        return True  # then its video sink does not load either, and GStreamer says so
    opened = getattr(client, connect)
    opened.restype = ctypes.c_void_p
    display = opened(None)
    if not display:
        return False
    getattr(client, disconnect)(ctypes.c_void_p(display))
    return True
