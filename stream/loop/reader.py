"""Reads a source in its own thread, watches over it, and connects again when it is lost."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from irchroma.stream.errors import SourceError, SourceRefused, StreamError, StreamOptionError
from irchroma.stream.frame import Frame
from irchroma.stream.loop.threads import OwnTime, Ring, RingClosed, feed_thread
from irchroma.stream.protocols import FrameSource, VideoInfo
from irchroma.stream.running_time import awake_s

log = logging.getLogger(__name__)

_LONGEST_REFUSED_S = 600.0
_JOIN_S = 0.05
_PTS_JUMP_NS = 2_000_000_000  # a live clock further than this from ours was set anew


@dataclass(frozen=True, slots=True)
class ReconnectOptions:
    """How a live source is watched.

    Attributes:
        stall_s: silence after which a source that reports no error counts as lost.
        first_delay_s: wait before the first new attempt; doubled after each failure.
        longest_delay_s: cap of that wait. One second, so that color is back within two.
        refused_delay_s: wait after a source did not accept user and password, doubled each time up to ten
            minutes: cameras lock an account that is tried again and again.
        wait_at_start: keep trying when the very first attempt fails, rather than give up.
    """

    stall_s: float = 5.0
    first_delay_s: float = 0.1
    longest_delay_s: float = 1.0
    refused_delay_s: float = 60.0
    wait_at_start: bool = False

    def __post_init__(self) -> None:
        if not self.stall_s > 0:
            raise StreamOptionError(f"stall_s must be above 0 seconds, got {self.stall_s:g}")
        if not 0 <= self.first_delay_s <= self.longest_delay_s:
            raise StreamOptionError(
                "waits before a new attempt must be 0 <= first_delay_s <= longest_delay_s,"
                f" got {self.first_delay_s:g} and {self.longest_delay_s:g}"
            )


@dataclass(frozen=True, slots=True)
class SourceDeadlines:
    """After how many seconds a source's call counts as hung.

    Attributes:
        open_s, close_s: of these calls; every source has times of its own that are shorter.
        read_s: beyond what `read` was given.
    """

    open_s: float = 60.0
    read_s: float = 5.0
    close_s: float = 10.0


T = TypeVar("T")


class _Abandoned(Exception):
    """A call came back after nobody waited for it any more."""


class SourceReader:
    """The thread that owns a `FrameSource`.

    Frames come out of `ring`, their pts continuous over reconnections: a file's pts are untouched, a
    live source's go on from the time that passed in between. The ring is closed at the orderly end,
    on `stop`, and on failure, with the reason in `failure`.

    Attributes:
        info: what the source said when it was first opened; None until then.
        failure: why the reader gave up, None if it did not.
        lost_reason: why there is no signal right now; None while frames come.
        reconnections: how often a lost source came back.
        at_end: whether a source that ends has given its last frame.
        passed: frames that a camera had sent before anybody took any.
        camera_time: of the newest frame whose camera says so: when it was taken and when it came, nanoseconds
            since 1970, the first by the camera's own clock.
    """

    def __init__(
        self,
        source: FrameSource,
        options: ReconnectOptions | None = None,
        on_frame: Callable[[Frame], Frame] | None = None,
        remake: Callable[[], FrameSource] | None = None,
        limits: SourceDeadlines | None = None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            source: this object's from now on.
            options: how a live source is watched.
            on_frame: gets every frame on the reader's thread, before anything may drop it; what it returns
                goes on.
            remake: makes the source once more, for one that hangs; None to give up instead.
            limits: how long is waited for the source's calls.
        """
        self._source, self._options, self._remake = source, options or ReconnectOptions(), remake
        self._limits, self._on_frame = limits or SourceDeadlines(), on_frame
        self._stop = threading.Event()
        self._opened = threading.Event()
        self._thread: threading.Thread | None = None
        self._generation = 0
        self._call: tuple[str, float] | None = None  # what is under way, and until when it may be
        self._drops_before = self.passed = 0
        self._clock_zero_ns = 0  # monotonic time at pts 0
        self._offset_ns = 0
        self._last_pts_ns: int | None = None
        self._card_ns = -1
        self._number = 0
        self.camera_time: tuple[int, int] | None = None
        self.ring: Ring[Frame] = Ring(4, newest_wins=False)
        self.info: VideoInfo | None = None
        self.failure: StreamError | None = None
        self.lost_reason: str | None = None
        self.reconnections = 0
        self.at_end = False

    @property
    def drops(self) -> int:
        """Frames dropped before processing, by the source and by the ring, since `begin`."""
        return self._drops_before + self._source.drops + self.ring.drops - self.passed

    def start(self, waits: Callable[[], None] | None = None) -> VideoInfo:
        """Open the source and wait for its first word.

        Args:
            waits: called once where the source is not there and goes on being asked.

        Raises:
            StreamError: it could not be opened (with `wait_at_start` only after `stop`).
        """
        self._start()
        while not self._opened.wait(0.05) and not self._stop.is_set():
            self.watch()
            if waits is not None and self.lost_reason is not None:
                waits()
                waits = None
        if self.info is None:
            raise self.failure or SourceError("stopped before the source was open")
        return self.info

    def begin(self) -> None:
        """Frames are taken from now on: what a camera has sent until now, nobody has lost."""
        self.passed += self.drops

    def stop(self) -> None:
        """Stop reading; what is in the ring stays there. May be called twice and from a signal handler."""
        self._stop.set()
        self.ring.close()

    def join(self, timeout_s: float = 10.0) -> bool:
        """Wait for the thread to let go of the source; False when it has not within the time."""
        if self._thread is None:
            return True
        since = OwnTime()
        while self._thread.is_alive() and since.look_s() < timeout_s:
            self._thread.join(_JOIN_S)
        return not self._thread.is_alive()

    def watch(self) -> None:
        """Leave a source that hangs; called now and then by whoever waits for frames.

        A live one is made and opened anew where that is possible; otherwise this is the end, with a failure.
        """
        call = self._call
        if call is None or awake_s() < call[1]:
            return
        self._generation += 1
        self._call = None
        reason = f"the source hangs in {call[0]}"
        live = self.info.live if self.info is not None else self._options.wait_at_start
        if self._remake is None or not live:
            self.failure = SourceError(reason)
            self.ring.close()
            self._opened.set()
            return
        self._drops_before += self._source.drops
        self._note_loss(reason)
        self._source = self._remake()
        self._start()

    def _start(self) -> None:
        generation, source = self._generation, self._source
        self._thread = feed_thread(lambda: self._work(generation, source), "source")
        self._thread.start()

    def _within(self, generation: int, what: str, limit_s: float, call: Callable[[], T]) -> T:
        """A call of the source, which is not waited for longer than that."""
        self._call = (what, awake_s() + limit_s)
        try:
            return call()
        except StreamError:
            raise
        except Exception as error:  # whatever it is, a live source is asked again
            log.exception("the source broke")
            raise SourceError(f"{what} the source failed unexpectedly: {error!r}") from error
        finally:
            if generation != self._generation:
                raise _Abandoned
            self._call = None

    def pts_now_ns(self) -> int:
        """The pts that a frame arriving now would have, nanoseconds; never behind the last frame's.

        It is taken for a card: frames that come later have later pts, however late their camera's clock is.
        """
        now_ns = time.monotonic_ns() - self._clock_zero_ns
        self._card_ns = max(now_ns, (self._last_pts_ns or 0) + 1)
        return self._card_ns

    def _work(self, generation: int, source: FrameSource) -> None:
        delay_s, refused_s = self._options.first_delay_s, self._options.refused_delay_s
        try:
            while not self._stop.is_set():
                try:
                    live = self._connect(generation, source).live
                    delay_s, refused_s = self._options.first_delay_s, self._options.refused_delay_s
                    if self._pass_on(generation, source, live):
                        return
                except SourceError as error:
                    may_retry = self.info.live if self.info else self._options.wait_at_start
                    if not may_retry:
                        self.failure = error
                        return
                    self._note_loss(str(error))
                    if isinstance(error, SourceRefused):
                        self._close(generation, source)
                        self._stop.wait(refused_s)
                        refused_s = min(2 * refused_s, _LONGEST_REFUSED_S)
                        continue
                self._close(generation, source)
                self._stop.wait(delay_s)
                delay_s = min(2 * delay_s, self._options.longest_delay_s)
        except RingClosed:
            pass
        except _Abandoned:
            log.info("a source that hung has come back, too late")
        except StreamError as error:
            self.failure = error
        except Exception as error:  # the thread's last stand: the loop must learn of it
            log.exception("the source's thread broke")
            self.failure = SourceError(f"reading the source failed unexpectedly: {error!r}")
            self.failure.__cause__ = error
        finally:
            if generation == self._generation:
                self.ring.close()
                self._opened.set()
            self._close(generation, source)

    def _close(self, generation: int, source: FrameSource) -> None:
        """Close the source; an error while it closes is ignored."""
        self._call = ("close", awake_s() + self._limits.close_s)
        try:
            source.close()
        except Exception as error:  # noqa: BLE001 (whatever it is, it keeps nobody waiting)
            log.warning("closing the source: %s", error)
        if generation == self._generation:
            self._call = None

    def _connect(self, generation: int, source: FrameSource) -> VideoInfo:
        info = self._within(generation, "opening", self._limits.open_s, source.open)
        if self.info is None:
            log.info("source: %s", info.description)
            if info.live:
                self.ring = Ring(1, newest_wins=True)
            self.info = info
            self._opened.set()
        else:
            self.reconnections += 1
            log.info("source is back: %s", info.description)
        return info

    def _pass_on(self, generation: int, source: FrameSource, live: bool) -> bool:
        """Give out frames; True at the orderly end, SourceError when the source is lost."""
        first = True
        stall_s = self._options.stall_s
        while not self._stop.is_set():
            limit_s = stall_s + self._limits.read_s
            frame = self._within(generation, "reading", limit_s, partial(source.read, stall_s))
            if frame is None:
                if live and self._source_should_go_on():
                    raise SourceError("the source ended its stream")
                self.at_end = True
                return True
            arrival_ns = time.monotonic_ns()
            frame = self._retimed(frame, arrival_ns, first) if live else frame
            gap = frame.gap or (first and self.reconnections > 0)
            frame = dataclasses.replace(frame, gap=gap, number=self._number, arrival_ns=arrival_ns)
            self._number += 1
            if frame.taken_ns:
                self.camera_time = frame.taken_ns, time.time_ns()
            self._last_pts_ns = frame.pts_ns
            self.lost_reason = None
            first = False
            self.ring.put(frame if self._on_frame is None else self._on_frame(frame))
        return True

    def _source_should_go_on(self) -> bool:
        return self.info is not None and self.info.frame_count is None and not self.info.once

    def _retimed(self, frame: Frame, arrival_ns: int, first: bool) -> Frame:
        if self._last_pts_ns is None:
            self._clock_zero_ns = arrival_ns - frame.pts_ns
            return frame
        pts_ns = frame.pts_ns + self._offset_ns
        late = pts_ns <= self._card_ns
        jump = abs(arrival_ns - self._clock_zero_ns - pts_ns) > _PTS_JUMP_NS
        if (first and self.reconnections) or jump or late:
            self._offset_ns = arrival_ns - self._clock_zero_ns - frame.pts_ns
            pts_ns = frame.pts_ns + self._offset_ns
        pts_ns = max(pts_ns, self._last_pts_ns + 1)
        shift_ns = pts_ns - frame.pts_ns
        sound = tuple(dataclasses.replace(piece, pts_ns=piece.pts_ns + shift_ns) for piece in frame.sound)
        return dataclasses.replace(frame, pts_ns=pts_ns, sound=sound)

    def _note_loss(self, reason: str) -> None:
        if self.lost_reason is None:
            log.warning("source lost: %s; trying again", reason)
        self.lost_reason = reason
