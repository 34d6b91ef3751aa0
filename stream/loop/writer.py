"""Feeds one sink from its own thread, so that a slow sink delays neither the loop nor the other sinks."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar, cast

from irchroma.stream.errors import SinkError
from irchroma.stream.gstreamer.sample import Unit
from irchroma.stream.loop.latency import LatencyMeter
from irchroma.stream.loop.threads import OwnTime, Ring, RingClosed, feed_thread
from irchroma.stream.picture.picture import Picture
from irchroma.stream.protocols import FrameSink, VideoInfo
from irchroma.stream.running_time import awake_s

log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")

_WAITING_LIVE, _WAITING_KEPT = 2, 15
"""Pictures of a live source that may wait for a sink: for one that shows them, and for one that keeps every
picture, whose encoder may take its time to start, or a disk its moment."""
_WAITING_BYTES = 256_000_000  # 13 s of 640x512 counts at 30 Hz


class Timed(NamedTuple):
    """A picture with its times in nanoseconds; `arrival_ns` is 0 for a card or a repeated picture.

    It is a coded one for a sink that was made to keep those.
    """

    picture: Picture | Unit
    pts_ns: int
    duration_ns: int
    arrival_ns: int = 0


@dataclass(frozen=True, slots=True)
class SinkDeadlines:
    """How long is waited for a sink, seconds.

    Attributes:
        open_s: from then on a sink that does not open has failed.
        hung_s: from then on one that does not take a picture has failed.
        end_s: what its `close` gets at the orderly end of a run, where the sink has no `end_s` of its own.
        hurry_s: the same where the run is told to stop.
        first_delay_s, longest_delay_s: before a live sink that failed is opened again; doubled each time
            until one has held for the longest.
    """

    open_s: float = 15.0
    hung_s: float = 30.0
    end_s: float = 10.0
    hurry_s: float = 1.2
    first_delay_s: float = 1.0
    longest_delay_s: float = 30.0


class _Abandoned(Exception):
    """A call came back after nobody waited for it any more."""


class SinkWriter:
    """The thread that owns a `FrameSink`.

    Args:
        sink: not yet open.
        label: what the user typed, without credentials.
        remake: makes the sink once more. A live run then opens it again when it fails at work; without, it
            has failed for good.
        deadlines: how long is waited for it.
        patient: of a live source, what the sink cannot take at once waits, as long as memory allows.

    Attributes:
        is_open: whether `open` has been called.
        failure: why the sink takes no more; None while it does, or will again.
        reason: why it takes nothing right now; None while it does.
        reopened: how often it was opened again.
        written: pictures the sink has taken.
        hurried: pictures left out as the sink did not take them soon when the run was told to stop.
    """

    def __init__(
        self,
        sink: FrameSink,
        label: str,
        remake: Callable[[], FrameSink] | None = None,
        deadlines: SinkDeadlines | None = None,
        patient: bool = False,
    ) -> None:
        self._sink, self.label, self._remake = sink, label, remake
        self._patient, self.is_open = patient, False
        self._deadlines = deadlines or SinkDeadlines()
        self._ring: Ring[Timed] = Ring(4, newest_wins=False)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._generation, self._or_later = 0, False
        self._since_s: float | None = None  # of the call that is under way
        self._opened, self._ending, self._stopping = (threading.Event() for _ in range(3))
        self._info: VideoInfo
        self._size = (0, 0)
        self._lost = 0
        self.encode = LatencyMeter()
        self.total = LatencyMeter()
        self.failure: SinkError | None = None
        self.reason: str | None = None
        self.reopened = 0
        self.written = self.hurried = 0

    @property
    def drops(self) -> int:
        """Pictures left out because the sink could not keep up, or was not there."""
        return self._sink.drops + self._ring.drops + self._lost

    @property
    def _keeps(self) -> bool:
        return bool(getattr(self._sink, "keeps_all", False))

    @property
    def opened(self) -> bool:
        """Whether it has ever been open."""
        return self._opened.is_set()

    @property
    def state(self) -> str:
        """`waiting`, `open`, `lost: REASON` (it is opened again), `failed: REASON` or `closed`."""
        if self.failure is not None:
            return f"failed: {self.failure}"
        if self.reason is not None:
            return f"lost: {self.reason}"
        if not self._opened.is_set():
            return "waiting"
        if away := getattr(self._sink, "away", ""):  # it goes on calling by itself
            return f"lost: {away}"
        return "closed" if self._ending.is_set() else "open"

    def prepare(self, step: str = "prepare") -> None:
        """Start what a sink can before the first picture, such as a page; `stand_by`: its camera is away."""
        try:
            getattr(self._sink, step, lambda: None)()
        except SinkError as error:  # which `open` will tell
            log.debug("%s: %s", self.label, error)

    def open(
        self,
        info: VideoInfo,
        size: tuple[int, int],
        stopping: threading.Event | None = None,
        or_later: bool = False,
    ) -> None:
        """Open the sink for pictures of `size` (H, W).

        Args:
            info: of the run.
            size: of the first picture.
            stopping: set when the run is told to stop.
            or_later: one of a live run that cannot be opened now is tried again, as one that is lost is.

        Raises:
            SinkError: it cannot be opened, or does not within `open_s`, `hurry_s` if told to stop.
        """
        self._info, self._size, self._stopping = info, size, stopping or self._stopping
        if info.live:
            room = _WAITING_BYTES // (size[0] * size[1] * 2) if self._patient else 0
            self._ring = Ring(max(_WAITING_KEPT if self._keeps else _WAITING_LIVE, room), newest_wins=True)
        else:
            self._remake = None
        self.is_open, self._or_later = True, or_later and self._remake is not None
        self._start(first=True)
        deadline_s = awake_s() + self._deadlines.open_s
        why = f"did not open within {self._deadlines.open_s:g} s"
        while not self._opened.wait(0.05):
            if self.failure is not None:
                raise self.failure
            if self.reason is not None:
                raise SinkError(self.reason)
            if self._stopping.is_set() and awake_s() + self._deadlines.hurry_s < deadline_s:
                deadline_s = awake_s() + self._deadlines.hurry_s
                why = "was not open yet when the run was told to stop"
            if awake_s() > deadline_s and self._or_later and not self._stopping.is_set():
                self._leave(f"{self.label}: {why}")
            elif awake_s() > deadline_s:
                self._give_up(why)
                break
        if self.failure is not None:
            raise self.failure

    def put(self, timed: Timed) -> None:
        """Give a picture; on a file run waits for room. Does nothing while the sink takes none."""
        while self.failure is None:
            self._watch()
            if self.reason is not None:
                self._lost += 1
                return
            try:
                if self._ring.put(timed, 0.2):
                    return
            except RingClosed:
                return
            if self._stopping.is_set() and self._silent_s() > self._deadlines.hurry_s:
                self._lost += 1
                self.hurried += 1
                return

    def end(self) -> None:
        """No more pictures will come; what is waiting is written. Returns at once."""
        self._ending.set()
        self._ring.close()

    def finish(self, since: OwnTime | None = None) -> None:
        """Write what is waiting, finish the sink and wait for it; may be called twice.

        A sink that makes no progress is left behind after its time is over. That is its failure, but for one
        that only shows pictures, of a run that is told to stop: nothing is lost with it. It is a failure that
        a recording is lost at the end, as on a full disk, though it was tried again until then.

        Args:
            since: counts from when all sinks of the run were told to end; from now on where it is None.
        """
        self.end()
        if self._thread is None:
            self._close(self._sink)
            return
        since, waited_from_s, written = since or OwnTime(), 0.0, self.written
        while self._thread.is_alive():
            self._thread.join(0.02)
            now_s = since.look_s()
            if self.written != written:
                waited_from_s, written = now_s, self.written
            own_s: float | None = getattr(self._sink, "end_s", None)
            hurried = self._stopping.is_set() and not own_s
            allowed_s = self._deadlines.hurry_s if hurried else own_s or self._deadlines.end_s
            if now_s - waited_from_s > allowed_s:
                why = f"has not finished within {allowed_s:g} s: left behind"
                if hurried and not self._keeps and self.state == "closed":
                    self._abandon()
                    log.warning("%s: %s", self.label, why)
                else:
                    self._give_up(why)
                return
        if self.failure is None and self.reason is not None:
            if not self._opened.is_set():
                self._fail(SinkError(f"{self.reason}: it was tried again until the end"))
            elif self._keeps:
                self._fail(SinkError(f"{self.reason}: nothing was recorded from then on"))

    def _start(self, first: bool) -> None:
        self._thread = feed_thread(partial(self._work, self._generation, first), f"sink {self.label}")
        self._thread.start()

    def _work(self, generation: int, first: bool) -> None:
        delay_s = self._deadlines.first_delay_s
        opened, opened_s = False, math.inf
        try:
            while first or not self._ending.is_set():
                sink = self._sink
                try:
                    if not first:
                        self._ending.wait(delay_s)
                        if self._ending.is_set():
                            return
                        delay_s = min(2 * delay_s, self._deadlines.longest_delay_s)
                        sink = self._sink = self._made_again(generation, sink)
                    opened, opened_s = True, math.inf  # what does not open has not held, whatever held before
                    self._call(generation, partial(sink.open, self._info, self._size))
                    self._note_open()
                    opened_s = time.monotonic()
                    self._feed(generation, sink)
                except RingClosed:
                    opened = False
                    self._call(generation, sink.close)
                    return
                except SinkError as error:
                    # What opens and is lost at once, such as a file on a full disk, has not come back.
                    held = opened and time.monotonic() - opened_s > self._deadlines.longest_delay_s
                    if held:
                        delay_s = self._deadlines.first_delay_s
                    if not self._may_reopen(error, first or held):
                        self._fail(error)
                        return
                    opened = False
                    feed_thread(partial(self._close, sink), f"close {self.label}").start()
                first = False
        except _Abandoned:
            pass  # another thread goes on with another sink, or the run does without
        except SinkError as error:
            self._fail(error)
        finally:
            if opened:
                self._close(sink)

    def _feed(self, generation: int, sink: FrameSink) -> None:
        while True:
            timed = self._ring.take()
            start_ns = time.monotonic_ns()
            if timed.arrival_ns:
                self.total.add(start_ns - timed.arrival_ns)
            write = partial(sink.write, cast("Picture", timed.picture), timed.pts_ns, timed.duration_ns)
            self._call(generation, write)
            self.encode.add(time.monotonic_ns() - start_ns)
            self.written += 1

    def _call(self, generation: int, call: Callable[[], _Answer]) -> _Answer:
        if generation != self._generation:
            raise _Abandoned
        self._since_s = awake_s()
        try:
            return call()
        except (SinkError, RingClosed):
            raise
        except Exception as error:  # whatever it is, it is this sink's alone
            log.exception("sink %s broke", self.label)
            raise SinkError(f"{self.label}: failed unexpectedly: {error!r}") from error
        finally:
            if generation != self._generation:
                raise _Abandoned
            self._since_s = None

    def _note_open(self) -> None:
        if self._opened.is_set():
            self.reopened += 1
            log.info("sink is back: %s", self.label)
        else:
            log.info("sink: %s, %dx%d", self.label, self._size[1], self._size[0])
            if self._keeps and self._lost:
                log.warning("%s lacks the first %d pictures: it was not there", self.label, self._lost)
        self.reason = None
        self._opened.set()

    def _made_again(self, generation: int, before: FrameSink) -> FrameSink:
        remake = self._remake
        if remake is None:
            raise SinkError(f"{self.label}: cannot be opened again")

        def make() -> FrameSink:
            made = remake()
            getattr(made, "follow", lambda _before: None)(before)
            return made

        made = self._call(generation, make)  # what hangs may be asked, too
        self._lost += before.drops
        return made

    def _may_reopen(self, error: SinkError, held: bool) -> bool:
        """True for a live sink that has been open, or may be later; its loss is news if it had `held`."""
        again = self._opened.is_set() or self._or_later
        if self._remake is None or self._ending.is_set() or not again:
            return False
        if self.reason is None:
            level = logging.WARNING if held and not error.told else logging.INFO
            log.log(level, "sink lost: %s; trying again", error)
        self.reason = str(error)
        return True

    def _silent_s(self) -> float:
        since_s = self._since_s
        return 0.0 if since_s is None else awake_s() - since_s

    def _watch(self) -> None:
        """Leave a sink that hangs, and have another one made where that is possible."""
        silent_s = self._silent_s()
        if silent_s <= self._deadlines.hung_s:
            return
        if self._remake is None or not (self._opened.is_set() or self._or_later):
            self._give_up(f"takes nothing any more, no answer for {silent_s:.0f} s")
            return
        self._leave(f"{self.label}: no answer for {silent_s:.0f} s")

    def _leave(self, why: str) -> None:
        """Wait no longer for what is under way, and have another sink made."""
        self._abandon()
        self.reason = why
        log.warning("sink lost: %s; trying again", why)
        self._start(first=False)

    def _abandon(self) -> None:
        with self._lock:
            self._generation, self._since_s = self._generation + 1, None

    def _give_up(self, why: str) -> None:
        self._abandon()
        self._fail(SinkError(f"{self.label}: {why}"))

    def _close(self, sink: FrameSink) -> None:
        """Of a sink that has failed or was never opened: only the first failure is told."""
        try:
            sink.close()
        except Exception as error:  # noqa: BLE001 (it has failed already)
            log.debug("closing %s: %r", self.label, error)

    def _fail(self, error: SinkError) -> None:
        if self.failure is None:
            log.error("%s", error)
            self.failure = error
        self._ring.abandon()
