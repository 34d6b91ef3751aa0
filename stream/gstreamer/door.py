"""The only door to GStreamer: its modules, what is installed of it, and how it is brought up.

What ends a pipeline: an element's error, or its orderly end.
"""

from __future__ import annotations

import ctypes
import importlib
import threading
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
            except (ImportError, ValueError) as error:
                raise StreamError(
                    f"GStreamer's Python bindings are missing ({error}): run ./launch/setup,"
                    " or install python3-gi, python3-gst-1.0 and gir1.2-gst-plugins-base-1.0"
                ) from error
            Gst.init(None)
            _modules.update(Gst=Gst, GstVideo=GstVideo, GLib=GLib)
    return _modules


def _keep_unwinder() -> None:
    """Let C++ exceptions go on being unwound by libgcc.

    GStreamer brings in libunwind, which answers to the same symbols; OpenVINO, loaded after it, then
    crashes at its first internal exception (seen with libunwind 1.6.2 and OpenVINO 2026.4).
    """
    try:
        ctypes.CDLL("libgcc_s.so.1", ctypes.RTLD_GLOBAL)
    except OSError:
        pass  # another C library; nothing to keep


def extra_module(name: str, module_version: str = "1.0") -> Any:
    """Another GStreamer namespace: `GstRtspServer`, `GstPbutils` ...

    Raises:
        StreamError: it is not on this machine.
    """
    modules()
    try:
        gi = importlib.import_module("gi")
        gi.require_version(name, module_version)
        return importlib.import_module(f"gi.repository.{name}")
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
