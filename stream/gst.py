"""The only door to GStreamer: pipelines from launch lines, samples as arrays, failures as exceptions."""

from __future__ import annotations

import ctypes
import importlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.errors import StreamError

_SLICE_NS = 50_000_000  # how long a pull sleeps before it looks at the bus again
_modules: dict[str, Any] = {}
_init_lock = threading.Lock()


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


@dataclass(frozen=True, slots=True)
class Caps:
    """What a raw video sample holds.

    Attributes:
        format: GStreamer's name: `GRAY8`, `GRAY16_LE`, `I420`, `NV12`, `RGB` ...
        size: (H, W) in pixels.
        rate: frames per second, 0 where unknown.
        strides, offsets: bytes, one for each plane.
        full_range: true for [0, 255] luma, false for [16, 235].
        matrix: `bt601`, `bt709`, `bt2020` or `rgb`.
        interlaced: true where two fields share a picture.
    """

    format: str
    size: tuple[int, int]
    rate: Fraction
    strides: tuple[int, ...]
    offsets: tuple[int, ...]
    full_range: bool
    matrix: str
    interlaced: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """One buffer, copied out of GStreamer.

    Attributes:
        data: (N,) uint8, the buffer's bytes, planes at `caps.offsets`.
        pts_ns, duration_ns: nanoseconds of running time, -1 where absent.
        discont: the element upstream says that something is missing before this buffer.
    """

    data: NDArray[np.uint8]
    caps: Caps
    pts_ns: int
    duration_ns: int
    discont: bool = False


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


def _caps_of(caps: Any) -> Caps:
    video = modules()["GstVideo"]
    info = video.VideoInfo.new_from_caps(caps)
    if info is None:
        raise StreamError(f"expected raw video, got {caps.to_string()[:120]}")
    planes = info.finfo.n_planes
    matrix = {
        video.VideoColorMatrix.BT709: "bt709",
        video.VideoColorMatrix.BT2020: "bt2020",
        video.VideoColorMatrix.RGB: "rgb",
    }.get(info.colorimetry.matrix, "bt601")
    return Caps(
        format=info.finfo.name,
        size=(info.height, info.width),
        rate=Fraction(info.fps_n, info.fps_d) if info.fps_n > 0 and info.fps_d > 0 else Fraction(0),
        strides=tuple(info.stride[:planes]),
        offsets=tuple(info.offset[:planes]),
        full_range=getattr(video.VideoColorRange, "0_255") == info.colorimetry.range,
        matrix=matrix,
        interlaced=info.interlace_mode != video.VideoInterlaceMode.PROGRESSIVE,
    )


@dataclass(slots=True)
class Pipeline:
    """A pipeline made from a launch line.

    `pull` and `push` may be called from different threads; each of them from one thread at a time.

    Attributes:
        launch: the line, in `gst-launch-1.0` syntax. Values that users gave go in through
            `properties`, never into the line.
        properties: `{"element name": {"property": value}}`, set before the pipeline starts.
        signals: `{"element name": {"signal": callback}}`, connected before the pipeline starts; called
            in GStreamer's threads.
    """

    launch: str
    properties: dict[str, dict[str, Any]] = field(default_factory=dict)
    signals: dict[str, dict[str, Callable[..., Any]]] = field(default_factory=dict)
    _pipeline: Any = None
    _bus: Any = None
    _elements: dict[str, Any] = field(default_factory=dict)
    _caps: tuple[Any, Caps] | None = None
    _ended: bool = False

    def start(self, paused: bool = False) -> None:
        """Build and set to PLAYING (or PAUSED); does not wait.

        Raises:
            GstFailure: an element is missing or refused to start.
        """
        gst, glib = modules()["Gst"], modules()["GLib"]
        try:
            self._pipeline = gst.parse_launch(self.launch)
        except glib.Error as error:
            raise GstFailure(error.message, "core", "missing-plugin") from error
        self._bus = self._pipeline.get_bus()
        for name, values in self.properties.items():
            for key, value in values.items():
                self.set(name, key, value)
        for name, callbacks in self.signals.items():
            for signal, callback in callbacks.items():
                self.element(name).connect(signal, callback)
        state = gst.State.PAUSED if paused else gst.State.PLAYING
        if self._pipeline.set_state(state) == gst.StateChangeReturn.FAILURE:
            try:
                self.check()
                raise GstFailure("the pipeline did not start", "core", "state-change")
            finally:
                self.stop()

    def element(self, name: str) -> Any:
        """The named element."""
        if name not in self._elements:
            found = self._pipeline.get_by_name(name)
            if found is None:
                raise KeyError(f"no element named {name} in: {self.launch}")
            self._elements[name] = found
        return self._elements[name]

    def set(self, name: str, key: str, value: Any) -> None:
        """Set a property; caps are given as text."""
        if key == "caps" and isinstance(value, str):
            value = modules()["Gst"].Caps.from_string(value)
        self.element(name).set_property(key, value)

    def check(self) -> None:
        """Look at the bus without waiting.

        Raises:
            GstFailure: an element reported an error.
            EndOfStream: the pipeline has ended.
        """
        gst = modules()["Gst"]
        while self._bus is not None:
            message = self._bus.pop_filtered(gst.MessageType.ERROR | gst.MessageType.EOS)
            if message is None:
                break
            if message.type == gst.MessageType.EOS:
                self._ended = True
            else:
                raise _failure_of(message)
        if self._ended:
            raise EndOfStream

    def pull(self, name: str, timeout_s: float) -> Sample | None:
        """The next sample of an appsink; None when `timeout_s` passed without one.

        Raises:
            GstFailure, EndOfStream: as `check`; samples that came before are given first.
        """
        sink = self.element(name)
        deadline_ns = time.monotonic_ns() + int(timeout_s * 1e9)
        while True:
            left_ns = max(0, min(_SLICE_NS, deadline_ns - time.monotonic_ns()))
            sample = sink.emit("try-pull-sample", left_ns)
            if sample is not None:
                return self._copied(sample)
            self.check()
            if sink.get_property("eos"):
                raise EndOfStream
            if time.monotonic_ns() >= deadline_ns:
                return None

    def arrived(self, name: str) -> int:
        """How many buffers have come to an appsink, with those that it dropped because of `drop=true`."""
        ok, count = self.element(name).get_property("stats").get_uint64("rendered")
        return int(count) if ok else 0

    def orientation(self, name: str) -> str:
        """The `image-orientation` tag beside an appsink's video: `rotate-90` ...; empty without one."""
        gst = modules()["Gst"]
        event = self.element(name).get_static_pad("sink").get_sticky_event(gst.EventType.TAG, 0)
        found, value = event.parse_tag().get_string("image-orientation") if event else (False, "")
        return str(value) if found else ""

    def _copied(self, sample: Any) -> Sample:
        gst = modules()["Gst"]
        buffer, caps = sample.get_buffer(), sample.get_caps()
        if self._caps is None or not caps.is_equal(self._caps[0]):
            self._caps = (caps, _caps_of(caps))
        ok, mapped = buffer.map(gst.MapFlags.READ)
        if not ok:
            raise StreamError("GStreamer would not map a video buffer for reading")
        try:
            data = np.frombuffer(mapped.data, np.uint8).copy()
        finally:
            buffer.unmap(mapped)
        none = gst.CLOCK_TIME_NONE
        pts = buffer.pts
        if pts != none and sample.get_segment() is not None:
            running = sample.get_segment().to_running_time(gst.Format.TIME, pts)
            pts = running if running != none else pts
        return Sample(
            data=data,
            caps=self._caps[1],
            pts_ns=-1 if pts == none else pts,
            duration_ns=-1 if buffer.duration == none else buffer.duration,
            discont=buffer.has_flags(gst.BufferFlags.DISCONT),
        )

    def push(self, name: str, pixels: NDArray[Any], pts_ns: int, duration_ns: int = -1) -> bool:
        """Give an appsrc one buffer with a copy of `pixels`; blocks only where the appsrc says `block=true`.

        Returns:
            False when the pipeline takes no more (flushing or at its end); `check` says why.
        """
        gst = modules()["Gst"]
        return bool(
            self.element(name).emit("push-buffer", buffer_of(pixels, pts_ns, duration_ns))
            == gst.FlowReturn.OK
        )

    def end(self, name: str, timeout_s: float) -> None:
        """Tell an appsrc that this was all, and wait until everything behind it has been written.

        Raises:
            GstFailure: an element failed on the way.
            TimeoutError: the end did not come within `timeout_s`.
        """
        self.element(name).emit("end-of-stream")
        deadline = time.monotonic() + timeout_s
        gst = modules()["Gst"]
        while time.monotonic() < deadline and not self._ended:
            message = self._bus.timed_pop_filtered(_SLICE_NS, gst.MessageType.ERROR | gst.MessageType.EOS)
            if message is not None and message.type == gst.MessageType.ERROR:
                raise _failure_of(message)
            self._ended = self._ended or message is not None
        if not self._ended:
            raise TimeoutError(f"the pipeline did not finish within {timeout_s:g} s")

    def duration_ns(self) -> int | None:
        """The video's length in nanoseconds, None where unknown."""
        ok, value = self._pipeline.query_duration(modules()["Gst"].Format.TIME)
        return int(value) if ok and value > 0 else None

    def stop(self) -> None:
        """Stop and let go of everything; may be called twice."""
        if self._pipeline is not None:
            self._pipeline.set_state(modules()["Gst"].State.NULL)
        self._pipeline = self._bus = None
        self._elements.clear()


def buffer_of(pixels: NDArray[Any], pts_ns: int, duration_ns: int = -1) -> Any:
    """A `Gst.Buffer` with a copy of the array's bytes."""
    gst = modules()["Gst"]
    flat = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
    buffer = gst.Buffer.new_allocate(None, flat.nbytes, None)
    ok, mapped = buffer.map(gst.MapFlags.WRITE)
    if not ok:
        raise StreamError("GStreamer would not map a video buffer for writing")
    try:
        np.frombuffer(mapped.data, np.uint8)[:] = flat
    finally:
        buffer.unmap(mapped)
    buffer.pts = pts_ns
    buffer.duration = gst.CLOCK_TIME_NONE if duration_ns < 0 else duration_ns
    return buffer


def _failure_of(message: Any) -> GstFailure:
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
