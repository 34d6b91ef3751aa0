"""Feeds one sink from its own thread, so that a slow sink delays neither the loop nor the other sinks."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

from irchroma.stream.errors import SinkError
from irchroma.stream.loop.latency import LatencyMeter
from irchroma.stream.loop.threads import Ring, RingClosed, feed_thread
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import FrameSink, VideoInfo

log = logging.getLogger(__name__)

_WAITING_LIVE = 2
_WAITING_BYTES = 256_000_000  # 13 s of 640x512 counts at 30 Hz


class Timed(NamedTuple):
    """A picture with its times in nanoseconds; `arrival_ns` is 0 for a card or a repeated picture."""

    picture: Picture
    pts_ns: int
    duration_ns: int
    arrival_ns: int = 0


class SinkWriter:
    """The thread that owns a `FrameSink`.

    Attributes:
        label: what the user typed, without credentials.
        is_open: whether `open` has been called.
        failure: why the sink took no more, None while it does.
        written: pictures the sink has taken.
    """

    def __init__(self, sink: FrameSink, label: str, patient: bool = False) -> None:
        """`patient`: of a live source, what the sink cannot take at once waits, as long as memory allows."""
        self._sink, self.label, self._patient = sink, label, patient
        self.is_open = False
        self._ring: Ring[Timed] = Ring(4, newest_wins=False)
        self._thread = feed_thread(self._work, f"sink {label}")
        self.encode = LatencyMeter()
        self.total = LatencyMeter()
        self.failure: SinkError | None = None
        self.written = 0

    @property
    def drops(self) -> int:
        """Pictures left out because the sink could not keep up."""
        return self._sink.drops + self._ring.drops

    def open(self, info: VideoInfo, size: tuple[int, int]) -> None:
        """Open the sink for pictures of `size` (H, W); SinkError with one clear line."""
        self._sink.open(info, size)
        if info.live:
            room = _WAITING_BYTES // (size[0] * size[1] * 2) if self._patient else 0
            self._ring = Ring(max(_WAITING_LIVE, room), newest_wins=True)
        self.is_open = True
        self._thread.start()
        log.info("sink: %s, %dx%d", self.label, size[1], size[0])

    def put(self, timed: Timed) -> None:
        """Give a picture; waits for room unless live. Does nothing once the sink has failed."""
        if self.failure is None:
            try:
                self._ring.put(timed)
            except RingClosed:
                pass

    def finish(self) -> None:
        """Write what is waiting, finish the sink and wait for it; may be called twice."""
        self._ring.close()
        if self._thread.ident is not None:
            self._thread.join()
        else:
            self._sink.close()

    def _work(self) -> None:
        try:
            while True:
                timed = self._ring.take()
                start_ns = time.monotonic_ns()
                if timed.arrival_ns:
                    self.total.add(start_ns - timed.arrival_ns)
                self._sink.write(timed.picture, timed.pts_ns, timed.duration_ns)
                self.encode.add(time.monotonic_ns() - start_ns)
                self.written += 1
        except RingClosed:
            pass
        except SinkError as error:
            self._fail(error)
        except Exception as error:  # the thread's last stand: the loop must learn of it
            log.exception("sink %s broke", self.label)
            self._fail(SinkError(f"{self.label}: writing failed unexpectedly: {error!r}"))
        try:
            self._sink.close()
        except SinkError as error:
            self._fail(error)

    def _fail(self, error: SinkError) -> None:
        if self.failure is None:
            log.error("%s", error)
            self.failure = error
        self._ring.abandon()
