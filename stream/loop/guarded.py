"""Keeps a run alive when its engine fails or hangs: raw frames go out with the reason, it is made anew."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.loop.interruptible import AttendedEngine, Deadlines, Ticket, close_quietly
from irchroma.stream.loop.threads import feed_thread
from irchroma.stream.protocols import Colored, Colorizer

log = logging.getLogger(__name__)

_FIRST_RETRY_S, _LONGEST_RETRY_S = 1.0, 30.0
_MOST_HUNG = 4  # engines that have not returned: another one would not either, and each keeps its memory
_HURRY_S = 0.3
BEING_MADE = "color is being prepared"

Make = Callable[[], Colorizer]


def lasts(error: BaseException) -> bool:
    """Whether making an engine would end so again: what is asked of it makes no sense, or is not here."""
    return isinstance(error, ValueError) or getattr(error, "lasts", False)


class StoppedEarly(Exception):
    """The run was told to stop while its first engine was made."""


class GuardedColorizer:
    """A colorizer that may fail or hang without taking the run with it.

    `submit` is called by one thread and `collect` by another; no more than the engine's `depth` frames are in
    flight, `submit` waits for a place. Neither ever waits for long: on a live run an engine that does not
    answer is passed by, on a file it gets as long as `Deadlines` say. No engine is made or closed on their
    threads.

    Attributes:
        reason: why there is no color right now; None while there is.
        failures: how often the engine has failed.
    """

    def __init__(
        self,
        make: Make,
        live: bool = True,
        deadlines: Deadlines | None = None,
        stopping: threading.Event | None = None,
    ) -> None:
        """Make the first engine; its error goes to the caller, since nothing runs yet.

        A live run does not wait for one that takes its time, such as a network that is compiled: `submit`
        takes it when it is there, or raises why it cannot be made.

        Args:
            make: makes an engine; called again after failures.
            live: whether frames must go on when the engine does not answer.
            deadlines: how long is waited.
            stopping: set when the run is to end.

        Raises:
            StoppedEarly: `stopping` was set before the engine was made.
        """
        self._make, self._live, self._deadlines = make, live, deadlines or Deadlines()
        self._stopping = stopping or threading.Event()
        self._lock = threading.RLock()
        self._retry_s = _FIRST_RETRY_S
        self._retry_at = 0.0
        self._rebuilding = False
        self._closed = False
        self._proven = False
        self._next: tuple[AttendedEngine, Make] | None = None
        self._exchanges = 0
        self._newest: tuple[NDArray[np.uint8], NDArray[np.uint16] | None] | None = None
        self._hung: list[AttendedEngine] = []
        self._unclosed: list[AttendedEngine] = []
        self.name, self.synthetic = "", False
        self.reason: str | None = None
        self.failures = 0
        self._attended: AttendedEngine | None = None
        self._starting: list[Colorizer | BaseException] | None = None
        first = self._first(make)
        if first is not None:
            self._install(first)

    def submit(
        self, luma: NDArray[np.uint8], pts_ns: int, counts: NDArray[np.uint16] | None, held: bool
    ) -> Ticket | None:
        """Hand a frame to the engine; the ticket for `collect`, or None while the engine is down.

        Raises:
            Exception: the very first engine, which took long to be made, cannot be, and that `lasts`.
                Whatever else ends its making is tried again, until it is made or cannot be for good.
        """
        self._newest = (luma, counts)
        self._take_first()
        self._swap()
        self._look_after()
        attended = self._attended
        if attended is None:
            return None
        if not attended.wait_place(partial(self._patience_s, attended)):
            self._note_silence(attended)
            return None
        ticket = attended.submit(luma, pts_ns, counts, held)
        if self._live:
            # What comes next is the newest frame there is when the engine has time, not one that waits.
            attended.wait_taken(ticket, partial(self._patience_s, attended))
        return ticket

    def collect(self, ticket: Ticket) -> Colored | None:
        """That frame's color; None when the engine failed on it, or has not answered in time.

        Raises:
            ValueError: the engine, which has not colored anything yet, says that what is asked of it
                makes no sense for this source.
        """
        attended = ticket.attended
        if not attended.wait_done(ticket, partial(self._patience_s, attended)):
            self._note_silence(attended)
            self._look_after()
            return None
        if isinstance(ticket.error, ValueError) and not self._proven:
            raise ticket.error  # what was asked for can never work: refused, not run without color
        if ticket.colored is None:
            return None
        with self._lock:
            self._retry_s, self._proven = _FIRST_RETRY_S, True
            if attended is self._attended:
                self.reason = None
        return ticket.colored

    def note_bad_picture(self, error: Exception) -> None:
        """What `collect` gave turned out to be none: the engine has failed."""
        attended = self._attended
        if attended is not None:
            self._fail(attended, error)

    def reset(self) -> None:
        """Tell the engine that the next frame has nothing to do with the last; returns at once."""
        attended = self._attended
        if attended is not None:
            attended.reset()

    def exchange(self, make: Make, done: Callable[[str | None], None]) -> None:
        """Take another engine without a gap; returns at once.

        The new engine is made and tried on the newest frame in a thread of its own, then takes over
        between two frames. Until then the old one goes on, and stays where the new one cannot be made,
        fails on that frame, or is overtaken by another exchange. Any thread may call.

        Args:
            make: makes the new engine; called again after failures from then on.
            done: called from that thread with None, or the reason why the old engine stays.
        """
        with self._lock:
            self._exchanges += 1
            number = self._exchanges

        def work() -> None:
            try:
                attended = self._tried_out(make())
            except Exception as error:  # noqa: BLE001 (whatever it is, the old engine goes on)
                log.error("the engine stays: %s", error)
                done(str(error) or type(error).__name__)
                return
            unused: tuple[AttendedEngine, Make] | None = (attended, make)
            with self._lock:
                overtaken = number != self._exchanges or self._closed
                if not overtaken:
                    unused, self._next = self._next, unused
            self._let_go(unused[0] if unused is not None else None)
            done("overtaken by another choice" if overtaken else None)

        feed_thread(work, "engine exchange").start()

    def stay(self) -> None:
        """Give up an exchange that is under way; any thread may call."""
        with self._lock:
            self._exchanges += 1
            unused, self._next = self._next, None
        self._let_go(unused[0] if unused is not None else None)

    def close(self) -> None:
        """Let go of the engine, which gets `close_s` for it; may be called twice."""
        with self._lock:
            self._closed = True
            starting, self._starting = self._starting, None
            if starting and not isinstance(starting[0], BaseException):
                feed_thread(partial(close_quietly, starting[0]), "engine close").start()
            engines = [self._attended, self._next[0] if self._next is not None else None]
            self._attended = self._next = None
        for engine in engines:
            self._let_go(engine)
        deadline_s = time.monotonic() + self._deadlines.close_s
        for engine in list(self._unclosed):
            if not engine.closed.wait(max(0.0, deadline_s - time.monotonic())):
                log.warning("%s was still at work when the run was over: left behind", engine.name)
        self._unclosed.clear()

    def _first(self, make: Make) -> Colorizer | None:
        """On a thread of its own, as a plan may take minutes to build and the run may have to end before."""
        made: list[Colorizer | BaseException] = []
        ready = threading.Event()

        def work() -> None:
            try:
                made.append(make())
            except BaseException as error:  # noqa: BLE001 (it goes to the caller)
                made.append(error)
            ready.set()
            if self._closed and not isinstance(made[0], BaseException):
                close_quietly(made[0])

        feed_thread(work, "engine").start()
        patient_until_s = time.monotonic() + (self._deadlines.start_s if self._live else math.inf)
        while not ready.wait(0.1):
            if self._stopping.is_set():
                self._closed = True
                raise StoppedEarly
            if time.monotonic() > patient_until_s:
                self._starting, self._rebuilding, self.reason = made, True, BEING_MADE
                return None
        if isinstance(made[0], BaseException):
            raise made[0]
        return made[0]

    def _take_first(self) -> None:
        """Let the first engine begin that was still being made when the pictures began; color fades in."""
        made = self._starting
        if not made:
            return
        with self._lock:
            self._starting, self._rebuilding = None, False
            engine = made[0]
            wanted = self._attended is None and self._next is None and not self._closed
            if wanted and not isinstance(engine, BaseException):
                fade_in: Callable[[], None] | None = getattr(engine, "fade_in", None)
                if fade_in is not None:
                    fade_in()
                self._install(engine)
                log.info("engine: %s", self.name)
                return
        if not isinstance(engine, BaseException):
            close_quietly(engine)
        elif wanted and isinstance(engine, Exception) and not lasts(engine):
            with self._lock:
                self.failures += 1
                self._retry_later(engine)
            log.error("no engine could be made, raw video goes out, trying again: %s", self.reason)
        elif wanted:
            raise engine

    def _tried_out(self, engine: Colorizer) -> AttendedEngine:
        """The engine after it has colored one frame: what is slow or fails shows before it takes over."""
        attended = AttendedEngine(engine, self._fail)
        if self._newest is None:
            return attended
        luma, counts = self._newest
        ticket = attended.submit(luma, 0, counts, False)
        if not attended.wait_done(ticket, lambda: self._deadlines.first_s):
            ticket.error = TimeoutError(f"no answer for {self._deadlines.first_s:.0f} s")
            attended.abandon(ticket.error)
        if ticket.error is not None:
            attended.closed.wait(self._deadlines.close_s)
            raise ticket.error
        attended.reset()
        return attended

    def _patience_s(self, attended: AttendedEngine) -> float:
        if self._stopping.is_set():
            return _HURRY_S
        lost_s = attended.lost_after_s(self._deadlines)
        return min(lost_s, attended.answer_within_s(self._deadlines)) if self._live else lost_s

    def _note_silence(self, attended: AttendedEngine) -> None:
        with self._lock:
            if attended is self._attended:
                silent_s = attended.silent_s()
                if self.reason is None:
                    log.warning("%s has not answered for %.1f s: raw video goes out", self.name, silent_s)
                self.reason = f"no answer from the engine for {silent_s:.1f} s"

    def _swap(self) -> None:
        """Let an engine that is ready take over; frames in the old one come out of it all the same."""
        with self._lock:
            if self._next is None:
                return
            old = self._attended
            (attended, self._make), self._next = self._next, None
            self._retry_s, self._proven = _FIRST_RETRY_S, True
            self._attend(attended)
        log.info("engine: %s", self.name)
        self._let_go(old)

    def _install(self, engine: Colorizer) -> None:
        self._attend(AttendedEngine(engine, self._fail))

    def _attend(self, attended: AttendedEngine) -> None:
        self._attended, self.reason = attended, None
        self.name, self.synthetic = attended.name, attended.synthetic

    def _let_go(self, attended: AttendedEngine | None) -> None:
        if attended is not None:
            with self._lock:
                self._unclosed.append(attended)
            attended.close()

    def _fail(self, attended: AttendedEngine, error: Exception) -> None:
        """Called from the engine's threads."""
        with self._lock:
            if attended is not self._attended:
                return
            self._attended = None
            self.failures += 1
            self._retry_later(error)
        self._let_go(attended)
        log.error("%s failed, raw video goes out, trying again: %s", self.name, self.reason)

    def _retry_later(self, error: Exception) -> None:
        self.reason = str(error) or type(error).__name__
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(2 * self._retry_s, _LONGEST_RETRY_S)

    def _look_after(self) -> None:
        """Give up an engine that hangs, and have one made where there is none."""
        attended = self._attended
        if attended is not None and attended.silent_s() > attended.lost_after_s(self._deadlines):
            error = TimeoutError(f"the engine hangs: no answer for {attended.silent_s():.0f} s")
            self._fail(attended, error)
            attended.abandon(error)
            self._hung.append(attended)
        with self._lock:
            for left in (self._hung, self._unclosed):
                left[:] = [one for one in left if not one.closed.is_set()]
            busy = self._attended is not None or self._rebuilding or self._closed
            due = not busy and time.monotonic() >= self._retry_at
            if due and len(self._hung) >= _MOST_HUNG:
                self.reason = f"{len(self._hung)} engines hang: none is made until one of them returns"
                return
            self._rebuilding = self._rebuilding or due
        if due:  # a plan may take seconds to load: the raw video does not wait for it
            feed_thread(self._rebuild, "engine rebuild").start()

    def _rebuild(self) -> None:
        with self._lock:
            make = self._make
        try:
            engine = make()
        except Exception as error:  # noqa: BLE001 (still broken: say so, try later)
            with self._lock:
                self._rebuilding = False
                if self._attended is None and make is self._make:
                    if lasts(error) and not self._proven:  # as one that ends the very first try
                        self._starting, self._rebuilding = [error], True
                    self._retry_later(error)
            return
        with self._lock:
            self._rebuilding = False
            if not self._closed and self._attended is None and make is self._make:
                self._install(engine)
                log.info("%s is back", self.name)
                return
        close_quietly(engine)
