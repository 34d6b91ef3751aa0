"""The raw track: frames, or the coded pictures they are made of, recorded before anything may drop them."""

from __future__ import annotations

import threading
import time
from collections import deque

from irchroma.stream.errors import SinkError
from irchroma.stream.frame import UNKNOWN_NS, Frame
from irchroma.stream.gstreamer.sample import Unit
from irchroma.stream.loop.writer import SinkWriter, Timed
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import VideoInfo, period_of
from irchroma.stream.remarks import remark

_EARLY = 2000  # coded pictures before the first frame is decoded


class RawKeeper:
    """Keeps every frame, or (`coded`) every coded picture that the frames are made of.

    Coded pictures come on one of GStreamer's threads, frames on the reader's; the recording is opened with
    the first frame, and what came before it is not lost.

    Args:
        writer: of the recording.
        coded: keep what the camera sends, not what it decodes to.
    """

    def __init__(self, writer: SinkWriter, coded: bool = False) -> None:
        self.writer, self.coded = writer, coded
        self._lock = threading.Lock()
        self._early: deque[Timed] = deque(maxlen=_EARLY)
        self._zero_ns: int | None = None  # monotonic time at pts 0
        self._offset_ns = 0
        self._last_ns = -1

    def see(self, frame: Frame, info: VideoInfo, stopping: threading.Event) -> None:
        """A frame as it comes. The reader's thread.

        Raises:
            SinkError: the recording cannot be opened, or there is nothing coded to keep.
        """
        if not self.writer.is_open:
            if self.coded and not self._early:
                raise SinkError(
                    f"{self.writer.label}: there are no coded pictures to keep ({info.description}):"
                    " expected H.264, H.265, MJPEG ..., or --keep-raw-as frames"
                )
            self.writer.open(info, frame.size, stopping)
            with self._lock:
                while self._early:
                    self.writer.put(self._early.popleft())
        if not self.coded:
            duration_ns = frame.duration_ns if frame.duration_ns != UNKNOWN_NS else period_of(info)
            picture = Picture(frame.pixels)
            picture.taken_ns = frame.taken_ns
            self.writer.put(Timed(picture, frame.pts_ns, duration_ns, frame.arrival_ns))

    def take(self, unit: Unit, first: bool) -> None:
        """A coded picture; `first` of a connection. Waits for room where the source is a file."""
        arrival_ns = time.monotonic_ns()
        pts_ns = unit.pts_ns
        if pts_ns < 0:
            remark("coded pictures without times were given those of their order")
            pts_ns = self._last_ns - self._offset_ns + max(1, unit.duration_ns)
        if self._zero_ns is None:
            self._zero_ns = arrival_ns - pts_ns
        elif first:  # the source is back: its clock may be another one
            self._offset_ns = max(arrival_ns - self._zero_ns, self._last_ns + 1) - pts_ns
        self._last_ns = max(self._last_ns, pts_ns + self._offset_ns)
        timed = Timed(unit, pts_ns + self._offset_ns, unit.duration_ns, arrival_ns)
        with self._lock:
            if not self.writer.is_open or self._early:
                self._early.append(timed)
                return
            self.writer.put(timed)
