"""Pipelines from launch lines: samples out, buffers in, failures as exceptions."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from irchroma.stream.gstreamer.door import EndOfStream, GstFailure, failure_of, modules
from irchroma.stream.gstreamer.sample import Caps, Sample, buffer_of, caps_of, copied
from irchroma.stream.running_time import awake_s

_SLICE_NS = 50_000_000  # how long a pull sleeps before it looks at the bus again


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
        corrections: `{"element name": {position: bytes}}`: what a file's source gives instead of the bytes
            there; the file itself is left as it is.
    """

    launch: str
    properties: dict[str, dict[str, Any]] = field(default_factory=dict)
    signals: dict[str, dict[str, Callable[..., Any]]] = field(default_factory=dict)
    corrections: dict[str, dict[int, bytes]] = field(default_factory=dict)
    _pipeline: Any = None
    _bus: Any = None
    _elements: dict[str, Any] = field(default_factory=dict)
    _caps: tuple[Any, Caps] | None = None
    _ended: bool = False
    _descriptors: list[int] = field(default_factory=list)
    _sought: bool = False
    gaps: int = 0
    """Places where a demuxer said that packets are missing."""

    def start(self, paused: bool = False, built: Callable[[Pipeline], None] | None = None) -> None:
        """Build and set to PLAYING (or PAUSED); does not wait.

        Args:
            paused: PAUSED.
            built: called between the two: what is to see the very first buffer is attached there.

        Raises:
            GstFailure: an element is missing or refused to start.
        """
        gst, glib = modules()["Gst"], modules()["GLib"]
        try:
            self._pipeline = gst.parse_launch(self.launch)
        except glib.Error as error:
            raise GstFailure(error.message, "core", "missing-plugin") from error
        if not isinstance(self._pipeline, gst.Pipeline):  # the line names one element alone
            alone, self._pipeline = self._pipeline, gst.Pipeline.new(None)
            self._pipeline.add(alone)
        self._bus = self._pipeline.get_bus()
        for name, values in self.properties.items():
            for key, value in values.items():
                self.set(name, key, value)
        for name, callbacks in self.signals.items():
            for signal, callback in callbacks.items():
                self.element(name).connect(signal, callback)
        for name, corrections in self.corrections.items():
            if corrections:
                _correct(self.element(name), corrections)
        if built is not None:
            built(self)
        state = gst.State.PAUSED if paused else gst.State.PLAYING
        if self._pipeline.set_state(state) == gst.StateChangeReturn.FAILURE:
            try:
                self.check()
                raise GstFailure("the pipeline did not start", "core", "state-change")
            finally:
                self.stop()

    def seek(self, to_ns: int, timeout_s: float) -> None:
        """Go on from the last key frame before that time, of a pipeline that was started paused, and play.

        Samples then have the times of their places in the file.

        Raises:
            GstFailure: an element failed, or the file cannot be sought in.
            TimeoutError: the file did not begin within `timeout_s`.
        """
        gst = modules()["Gst"]
        state = self._pipeline.get_state(int(timeout_s * gst.SECOND))[0]
        self.check()
        if state == gst.StateChangeReturn.ASYNC:
            raise TimeoutError(f"the file did not begin within {timeout_s:g} s")
        flags = gst.SeekFlags.FLUSH | gst.SeekFlags.KEY_UNIT | gst.SeekFlags.SNAP_BEFORE
        if not self._pipeline.seek_simple(gst.Format.TIME, flags, to_ns):
            raise GstFailure("the file cannot be sought in", "core", "seek")
        self._sought = True
        self._pipeline.set_state(gst.State.PLAYING)

    @property
    def whole(self) -> Any:
        """The `Gst.Pipeline`, once it is built."""
        return self._pipeline

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
        if key == "location" and isinstance(value, str) and not is_utf8(value):
            value = self._by_descriptor(name, value)
        self.element(name).set_property(key, value)

    def _by_descriptor(self, name: str, path: str) -> str:
        """Another name of a file whose own is no text in UTF-8, which GStreamer cannot be told."""
        writes = self.element(name).get_factory().get_name() == "filesink"
        try:
            flags = os.O_RDWR | os.O_CREAT if writes else os.O_RDONLY
            descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise GstFailure(f"{path}: {error.strerror}", "resource", "open-read") from error
        self._descriptors.append(descriptor)
        return f"/proc/self/fd/{descriptor}"

    def check(self) -> None:
        """Look at the bus without waiting.

        Raises:
            GstFailure: an element reported an error.
            EndOfStream: the pipeline has ended.
        """
        gst = modules()["Gst"]
        while self._bus is not None:
            kinds = gst.MessageType.ERROR | gst.MessageType.EOS | gst.MessageType.WARNING
            message = self._bus.pop_filtered(kinds)
            if message is None:
                break
            if message.type == gst.MessageType.WARNING:
                self.gaps += message.parse_warning()[0].message.startswith("CONTINUITY")
            elif message.type == gst.MessageType.EOS:
                self._ended = True
            else:
                raise failure_of(message)
        if self._ended:
            raise EndOfStream

    def pull(self, name: str, timeout_s: float) -> Sample | None:
        """The next sample of an appsink; None when `timeout_s` passed without one.

        Raises:
            GstFailure, EndOfStream: as `check`; samples that came before are given first.
        """
        sink = self.element(name)
        deadline_s = awake_s() + timeout_s
        while True:
            left_ns = max(0, min(_SLICE_NS, int((deadline_s - awake_s()) * 1e9)))
            sample = sink.emit("try-pull-sample", left_ns)
            if sample is not None:
                caps = sample.get_caps()
                if self._caps is None or not caps.is_equal(self._caps[0]):
                    self._caps = (caps, caps_of(caps))
                return copied(sample, self._caps[1], self._sought)
            self.check()
            if sink.get_property("eos"):
                raise EndOfStream
            if awake_s() >= deadline_s:
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
        deadline_s = awake_s() + timeout_s
        gst = modules()["Gst"]
        while awake_s() < deadline_s and not self._ended:
            message = self._bus.timed_pop_filtered(_SLICE_NS, gst.MessageType.ERROR | gst.MessageType.EOS)
            if message is not None and message.type == gst.MessageType.ERROR:
                raise failure_of(message)
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
        while self._descriptors:
            os.close(self._descriptors.pop())


def add_branch(pad: Any, pipeline: Any, launch: str, first: str) -> Any:
    """A `Gst.Bin` of the launch line's elements behind a pad that has just come, running as the others do.

    Args:
        pad: that gives what the branch gets.
        pipeline: the `Gst.Pipeline` that the pad's element is in.
        launch: the line.
        first: the element in it that gets it.
    """
    gst = modules()["Gst"]
    branch = gst.parse_bin_from_description(launch, False)
    branch.add_pad(gst.GhostPad.new("sink", branch.get_by_name(first).get_static_pad("sink")))
    pipeline.add(branch)
    branch.sync_state_with_parent()
    pad.link(branch.get_static_pad("sink"))
    return branch


def is_utf8(name: str) -> bool:
    """False for a file's name that is no text in UTF-8, as Python holds it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _correct(source: Any, corrections: dict[int, bytes]) -> None:
    """Replace bytes as they are read; each correction that lies in a buffer as a whole."""
    gst = modules()["Gst"]
    last = max(corrections)

    def replace(_pad: Any, info: Any) -> Any:
        buffer = info.get_buffer()
        start = buffer.offset
        if start > last:
            return gst.PadProbeReturn.OK
        end = start + buffer.get_size()
        inside = {at: new for at, new in corrections.items() if start <= at and at + len(new) <= end}
        if not inside:
            return gst.PadProbeReturn.OK
        memory = buffer.peek_memory(0)
        ok, mapped = memory.map(gst.MapFlags.WRITE)
        if ok:
            for at, new in inside.items():
                mapped.data[at - start : at - start + len(new)] = new
            memory.unmap(mapped)
        return gst.PadProbeReturn.OK

    pad = source.get_static_pad("src")
    pad.add_probe(gst.PadProbeType.BUFFER | gst.PadProbeType.PULL, replace)
