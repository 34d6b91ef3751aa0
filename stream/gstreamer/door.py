"""The only door to GStreamer: its modules, what is installed of it, and how it is brought up.

What ends a pipeline, an element's error or its orderly end, is an exception of this module.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from irchroma.stream.errors import StreamError


class GstFailure(StreamError):
    """An element's error message from the bus.

    Attributes:
        domain: `resource`, `stream`, `core` or `library`.
        code: GStreamer's name of the error, lower case: `not-found`, `not-authorized`, `open-read` ...
        element: name of the element that failed.
        debug: GStreamer's own detail; may contain addresses with credentials, never print it as it is.
    """

    def __init__(
        self, text: str, domain: str = "", code: str = "", element: str = "", debug: str = ""
    ) -> None:
        super().__init__(text)
        self.domain, self.code, self.element, self.debug = domain, code, element, debug


class EndOfStream(Exception):
    """The pipeline came to its orderly end."""


def failure_of(message: Any) -> GstFailure:
    """The exception for an error message from the bus."""
    gst = modules()["Gst"]
    error, debug = message.parse_error()
    code_types = {
        "gst-resource-error-quark": ("resource", gst.ResourceError),
        "gst-stream-error-quark": ("stream", gst.StreamError),
        "gst-core-error-quark": ("core", gst.CoreError),
        "gst-library-error-quark": ("library", gst.LibraryError),
    }
    domain, codes = code_types.get(error.domain, (str(error.domain), None))
    try:
        code = codes(error.code).value_nick if codes is not None else str(error.code)
    except ValueError:
        code = str(error.code)
    return GstFailure(error.message, domain, code, message.src.get_name() if message.src else "", debug or "")


_modules: dict[str, Any] = {}
_extra: dict[str, Any] = {}
_init_lock = threading.Lock()


def modules() -> dict[str, Any]:
    """`Gst`, `GstVideo` and `GLib`, initialised on first use.

    Raises:
        StreamError: the bindings are not on this machine.
    """
    with _init_lock:
        if not _modules:
            _keep_unwinder()
            try:
                import gi

                gi.require_version("Gst", "1.0")
                gi.require_version("GstVideo", "1.0")
                from gi.repository import GLib, Gst, GstVideo

                if "gi.overrides.Gst" not in sys.modules:  # without it a buffer's memory cannot be written
                    raise ImportError("no gi.overrides.Gst")
            except (ImportError, ValueError) as error:
                raise StreamError(
                    f"GStreamer's Python bindings are missing ({error}): run ./launch/setup,"
                    " or install python3-gi, python3-gst-1.0 and gir1.2-gst-plugins-base-1.0"
                ) from error
            Gst.init(None)
            _exclude(Gst)
            _load(Gst)
            _load(GstVideo)
            _modules.update(Gst=Gst, GstVideo=GstVideo, GLib=GLib)
    return _modules


def _load(namespace: Any) -> None:
    """Make every class of a namespace now, 1 to 7 ms, by one thread.

    The bindings make a class when it is first asked for, and show it to other threads before its values are
    in it: cameras that started at once were given up, since `VideoColorRange` had no `0_255` yet. Old names
    of what is elsewhere now are the proxy's own, and warn: nobody here asks for them.
    """
    old = {name for kind in type(namespace).__mro__ for name in vars(kind)}
    for name in dir(namespace):
        if name[:1].isupper() and name not in old:
            getattr(namespace, name, None)


def _exclude(gst: Any) -> None:
    """Leave out what cannot be trusted, and prefer what makes the most of damaged pictures.

    gst-libav's demuxers (1.22) hang on NUT and GIF without an error, or end in a segmentation fault;
    GStreamer has its own for every container in use. Jetson's decoder hands on memory (NVMM) that only
    NVIDIA's own elements take, so decodebin must not choose it. FFmpeg's JPEG decoder shows pictures whose
    start is lost, of which jpegdec shows nothing.
    """
    registry = gst.Registry.get()
    for feature in registry.get_feature_list_by_plugin("libav") or []:
        if feature.get_name().startswith("avdemux_"):
            feature.set_rank(gst.Rank.NONE)
    for name in ("nvv4l2decoder", "omxh264dec", "omxh265dec"):
        theirs = registry.lookup_feature(name)
        if theirs is not None:
            theirs.set_rank(gst.Rank.NONE)
    better, other = (registry.lookup_feature(name) for name in ("avdec_mjpeg", "jpegdec"))
    if better is not None and other is not None:
        better.set_rank(other.get_rank() + 1)


def structure_of(caps: Any, index: int = 0) -> Any:
    """One of the structures of caps, which must outlive it.

    Python's bindings of GStreamer 1.26 and later give a context manager in its place.
    """
    found = caps.get_structure(index)
    return found.__enter__() if hasattr(found, "__enter__") else found


def set_duration(buffer: Any, duration_ns: int) -> None:
    """Set it on a buffer that passes a pad, as a probe may.

    By the plain field: the bindings of GStreamer 1.26 refuse it, as Python itself holds the buffer too.
    """
    kinds = reversed(type(buffer).__mro__)
    next(vars(kind)["duration"] for kind in kinds if "duration" in vars(kind)).__set__(buffer, duration_ns)


def post_error(element: Any, text: str) -> None:
    """Let an element fail, from any thread: whoever waits for its pipeline's samples gets a `GstFailure`."""
    gst, glib = modules()["Gst"], modules()["GLib"]
    error = glib.Error.new_literal(gst.StreamError.quark(), text, int(gst.StreamError.DECODE))
    element.post_message(gst.Message.new_error(element, error, ""))


_libav_listeners: list[Callable[[str], None]] = []


def watch_libav(listener: Callable[[str], None]) -> Callable[[], None]:
    """Have each warning and remark of FFmpeg's libraries in this process told to `listener`, in any thread.

    Returns:
        What ends it; may be called twice.
    """
    gst = modules()["Gst"]
    with _init_lock:
        if not _libav_listeners and not _modules.get("libav watched"):
            _modules["libav watched"] = True
            if "GST_DEBUG" not in os.environ:
                gst.debug_remove_log_function(None)  # the one that prints
            gst.debug_set_active(True)
            gst.debug_set_threshold_for_name("libav", gst.DebugLevel.INFO)  # "concealing" is one
            gst.debug_add_log_function(_tell_listeners, None)
        _libav_listeners.append(listener)

    def end() -> None:
        with _init_lock:
            if listener in _libav_listeners:
                _libav_listeners.remove(listener)

    return end


def _tell_listeners(category: Any, _level: Any, _file: str, _function: str, _line: int, *rest: Any) -> None:
    if category.get_name() == "libav":
        text = rest[1].get() or ""
        for listener in list(_libav_listeners):
            listener(text)


def _keep_unwinder() -> None:
    """Let C++ exceptions go on being unwound by libgcc.

    GStreamer brings in libunwind, which answers to the same symbols; OpenVINO, loaded after it, then
    crashes at its first internal exception (seen with libunwind 1.6.2 and OpenVINO 2026.4).
    """
    try:
        ctypes.CDLL("libgcc_s.so.1", ctypes.RTLD_GLOBAL)
    except OSError:
        pass  # another C library; nothing to keep


def keep_to_address(peer: Any, address: str) -> None:
    """Let a webrtcbin listen on one address of this machine alone, and ask no router for anything."""
    ice = peer.get_property("ice-agent")
    if ice.__grefcount__ < 2:
        # webrtcbin (1.22) never sinks its agent's floating reference: the bindings take it for theirs, and
        # the agent would end with the Python object.
        ctypes.CDLL("libgobject-2.0.so.0").g_object_ref(ctypes.c_void_p(hash(ice)))
    ice.emit("add-local-ip-address", address)
    ice.get_property("agent").set_property("upnp", False)  # or it serves HTTP on every interface


def asked(element: Any, action: str, value: Any, wait_s: float) -> Any:
    """What an element answers to an action signal that takes a promise, a `Gst.Structure` or None.

    Raises:
        StreamError: it answered with an error, or not within `wait_s`.
    """
    done = threading.Event()
    promise = modules()["Gst"].Promise.new_with_change_func(lambda *_: done.set())
    element.emit(action, value, promise)
    if not done.wait(wait_s):
        raise StreamError(f"{action} was not done in time")
    lent = promise.get_reply()  # the promise's own, which ends with this function
    reply = lent.copy() if lent is not None else None
    if reply is not None and reply.has_field("error"):
        raise StreamError(str(reply.get_value("error")))
    return reply


def extra_module(name: str, module_version: str = "1.0") -> Any:
    """Another GStreamer namespace: `GstRtspServer`, `GstPbutils` ...

    Raises:
        StreamError: it is not on this machine.
    """
    modules()
    try:
        gi = importlib.import_module("gi")
        gi.require_version(name, module_version)
        with _init_lock:
            if name not in _extra:
                found = importlib.import_module(f"gi.repository.{name}")
                _load(found)
                _extra[name] = found
        return _extra[name]
    except (ImportError, ValueError) as error:
        raise StreamError(
            f"GStreamer's {name} bindings are missing: run ./launch/setup, which names the package"
        ) from error


def version() -> str:
    """GStreamer's version, `1.22.0`."""
    return ".".join(str(part) for part in modules()["Gst"].version()[:3])


def has_element(name: str) -> bool:
    """Whether an element of that name can be made here (its plugin is installed and loads)."""
    gst = modules()["Gst"]
    factory = gst.ElementFactory.find(name)
    return factory is not None and factory.load() is not None


def has_property(element: str, name: str) -> bool:
    """Whether an element that exists here has a property (they differ between versions)."""
    made = modules()["Gst"].ElementFactory.make(element, None)
    return made is not None and made.find_property(name) is not None
