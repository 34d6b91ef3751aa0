"""Keeps a run alive when its engine fails: frames go out raw with the reason, the engine is tried again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.loop.threads import feed_thread
from irchroma.stream.protocols import Colored, Colorizer

log = logging.getLogger(__name__)

_FIRST_RETRY_S, _LONGEST_RETRY_S = 1.0, 30.0


class GuardedColorizer:
    """A colorizer that may fail without taking the run with it.

    `submit` is called by one thread and `collect` by another; no more than `depth` frames are in
    flight, `submit` waits for a place.

    Attributes:
        reason: why there is no color right now; None while there is.
        failures: how often the engine has failed.
    """

    def __init__(self, make: Callable[[], Colorizer]) -> None:
        """Make the first engine; its error goes to the caller, since nothing runs yet."""
        self._make = make
        self._engine: Colorizer | None = make()
        self._generation = 0
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._places = threading.Semaphore(self._engine.depth)
        self._in_flight = 0
        self._retry_s = _FIRST_RETRY_S
        self._retry_at = 0.0
        self._rebuilding = False
        self._closed = False
        self._proven = False
        self._next: tuple[Colorizer, Callable[[], Colorizer]] | None = None
        self._exchanges = 0
        self._newest: tuple[NDArray[np.uint8], NDArray[np.uint16] | None] | None = None
        self.name, self.synthetic = self._engine.name, self._engine.synthetic
        self.reason: str | None = None
        self.failures = 0

    def submit(
        self, luma: NDArray[np.uint8], pts_ns: int, counts: NDArray[np.uint16] | None, held: bool
    ) -> int | None:
        """Hand a frame to the engine; the ticket for `collect`, or None while the engine is down.

        Raises:
            ValueError: the engine, which has not colored anything yet, says that what is asked of it
                makes no sense for this source.
        """
        self._newest = (luma, counts)
        self._swap()
        self._mend()
        with self._lock:
            engine, generation = self._engine, self._generation
        if engine is None:
            return None
        self._places.acquire()
        with self._lock:
            self._in_flight += 1
        try:
            engine.submit(luma, pts_ns, counts=counts, held=held)
        except Exception as error:
            self._release()
            if isinstance(error, ValueError) and not self._proven:
                raise  # what was asked for can never work: refused, not run without color
            self._fail(error, generation)
            return None
        return generation

    def collect(self, ticket: int) -> Colored | None:
        """The oldest submitted frame's color; None when the engine failed on it."""
        with self._lock:
            engine = self._engine if ticket == self._generation else None
        if engine is None:
            self._release()
            return None
        try:
            colored = engine.collect()
        except Exception as error:  # noqa: BLE001 (whatever an engine throws, the video goes on)
            self._release()
            self._fail(error, ticket)
            return None
        self._release()
        self._retry_s = _FIRST_RETRY_S
        self._proven = True
        return colored

    def reset(self) -> None:
        """Tell the engine that the next frame has nothing to do with the last.

        Called by the thread that calls `submit`; waits until what is in flight has been collected.
        """
        with self._idle:
            self._idle.wait_for(lambda: self._in_flight == 0 or self._closed)
            engine = self._engine
        if engine is not None:
            engine.reset()

    def exchange(self, make: Callable[[], Colorizer], done: Callable[[str | None], None]) -> None:
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
            engine = None
            try:
                engine = make()
                self._try_out(engine)
            except Exception as error:  # noqa: BLE001 (whatever it is, the old engine goes on)
                self._close_quietly(engine)
                log.error("the engine stays: %s", error)
                done(str(error) or type(error).__name__)
                return
            unused: tuple[Colorizer, Callable[[], Colorizer]] | None = (engine, make)
            with self._lock:
                overtaken = number != self._exchanges or self._closed
                if not overtaken:
                    unused, self._next = self._next, unused
            if unused is not None:
                self._close_quietly(unused[0])
            done("overtaken by another choice" if overtaken else None)

        feed_thread(work, "engine exchange").start()

    def stay(self) -> None:
        """Give up an exchange that is under way; any thread may call."""
        with self._lock:
            self._exchanges += 1
            unused, self._next = self._next, None
        if unused is not None:
            self._close_quietly(unused[0])

    def close(self) -> None:
        """Let go of the engine; may be called twice."""
        with self._lock:
            self._closed = True
            self._idle.notify_all()
            engines = [self._engine, self._next and self._next[0]]
            self._engine = self._next = None
        for engine in filter(None, engines):
            engine.close()

    def _try_out(self, engine: Colorizer) -> None:
        """One frame, so that what takes long or fails does so before the engine takes over."""
        if self._newest is None:
            return
        luma, counts = self._newest
        engine.submit(luma, 0, counts=counts, held=False)
        engine.collect()
        engine.reset()

    def _swap(self) -> None:
        """Let an engine that is ready take over, once nothing of the old one is in flight."""
        with self._idle:
            if self._next is None:
                return
            self._idle.wait_for(lambda: self._in_flight == 0 or self._closed)
            if self._next is None:
                return
            old = self._engine
            (engine, self._make), self._next = self._next, None
            self._generation += 1
            self._places = threading.Semaphore(engine.depth)
            self._retry_s = _FIRST_RETRY_S
            self._proven = True
            self._install(engine)
        log.info("engine: %s", self.name)
        self._close_quietly(old)

    def _install(self, engine: Colorizer) -> None:
        self._engine, self.reason = engine, None
        self.name, self.synthetic = engine.name, engine.synthetic

    def _release(self) -> None:
        with self._lock:
            self._in_flight -= 1
            self._places.release()  # of the very engine that the frame was in
            self._idle.notify_all()

    def _fail(self, error: Exception, generation: int) -> None:
        with self._lock:
            if generation != self._generation:
                return
            broken, self._engine = self._engine, None
            self._generation += 1
            self.failures += 1
            self._retry_later(error)
        log.error("%s failed, raw video goes out, trying again: %s", self.name, self.reason)
        self._close_quietly(broken)

    def _retry_later(self, error: Exception) -> None:
        self.reason = str(error) or type(error).__name__
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(2 * self._retry_s, _LONGEST_RETRY_S)

    def _mend(self) -> None:
        with self._lock:
            busy = self._engine is not None or self._rebuilding or self._closed or self._in_flight
            due = not busy and time.monotonic() >= self._retry_at
            self._rebuilding = self._rebuilding or due
        if due:  # a plan may take seconds to load: the raw video does not wait for it
            feed_thread(self._rebuild, "engine rebuild").start()

    def _rebuild(self) -> None:
        with self._lock:
            make, generation = self._make, self._generation
        try:
            engine = make()
        except Exception as error:  # noqa: BLE001 (still broken: say so, try later)
            with self._lock:
                self._rebuilding = False
                if generation != self._generation:  # another engine has taken over meanwhile
                    return
                self._retry_later(error)
            return
        with self._lock:
            self._rebuilding = False
            if not self._closed and generation == self._generation:
                self._install(engine)
                log.info("%s is back", self.name)
                return
        self._close_quietly(engine)

    @staticmethod
    def _close_quietly(engine: Colorizer | None) -> None:
        try:
            if engine is not None:
                engine.close()
        except Exception as error:  # noqa: BLE001 (it is broken already; the first error was reported)
            log.debug("closing a broken engine: %r", error)
