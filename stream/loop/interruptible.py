"""One engine with two threads of its own, so that whoever waits for it can stop waiting."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irchroma.stream.loop.threads import feed_thread
from irchroma.stream.protocols import Colored, Colorizer
from irchroma.stream.running_time import awake_s

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long is waited for an engine, seconds.

    Attributes:
        start_s: how long the first pictures of a live run wait for the engine to be made; then they go out as
            they come, and color follows.
        answer_s: a live run shows the raw picture when nothing has come for so long; an engine that is always
            slower is given three times its usual time.
        hung_s: from then on the engine counts as lost.
        first_s: the same for the first frame of a size, over which networks are compiled and plans built.
        close_s: how long the end of a run waits for it.
    """

    start_s: float = 0.3
    answer_s: float = 0.6
    hung_s: float = 10.0
    first_s: float = 300.0
    close_s: float = 1.0


class Ticket:
    """A frame that an engine has: taken by its `submit`, then done, colored or lost with the engine."""

    __slots__ = ("arguments", "attended", "colored", "done", "error", "taken")

    def __init__(
        self,
        attended: AttendedEngine,
        luma: NDArray[np.uint8],
        pts_ns: int,
        counts: NDArray[np.uint16] | None,
        held: bool,
    ) -> None:
        self.attended, self.arguments = attended, (luma, pts_ns, counts, held)
        self.colored: Colored | None = None
        self.error: Exception | None = None
        self.taken = self.done = False


class _Reset:
    """Between two frames: what follows has nothing to do with what was before."""


class AttendedEngine:
    """Calls an engine's `submit` from one thread, its `collect` from another; closes it when both are done.

    An engine that says `prompt` needs no threads: it colors within `submit` by nothing that could hang, and
    four changes of thread for each frame would cost more than its color.

    Args:
        engine: this object's from now on.
        on_failure: called once, from one of the threads, with what the engine raised.

    Attributes:
        closed: the engine has been let go of, or failed over it.
    """

    def __init__(self, engine: Colorizer, on_failure: Callable[[AttendedEngine, Exception], None]) -> None:
        self._engine, self._on_failure = engine, on_failure
        self.name, self.synthetic, self.depth = engine.name, engine.synthetic, engine.depth
        self._lock = threading.RLock()  # whose patience is asked for while it is held
        self._given, self._submitted, self._taken, self._answered = (
            threading.Condition(self._lock) for _ in range(4)
        )
        self._to_submit: deque[Ticket | _Reset] = deque()
        self._to_collect: deque[Ticket] = deque()
        self._inside = 0
        self._ending = False
        self._error: Exception | None = None
        self._progress_s = awake_s()
        self._usual_s = 0.0
        self._sizes: set[tuple[int, ...]] = set()
        self._working = 2
        self.closed = threading.Event()
        self._prompt: bool = getattr(engine, "prompt", False)
        if self._prompt:
            return
        for work, name in ((self._submit_all, "engine submit"), (self._collect_all, "engine collect")):
            feed_thread(work, name).start()

    def submit(
        self, luma: NDArray[np.uint8], pts_ns: int, counts: NDArray[np.uint16] | None, held: bool
    ) -> Ticket:
        """Hand over a frame; returns at once. The ticket is done already where the engine has failed."""
        ticket = Ticket(self, luma, pts_ns, counts, held)
        with self._lock:
            if self._error is not None:
                ticket.error, ticket.done = self._error, True
                return ticket
            if not self._prompt:
                if not self._inside:
                    self._progress_s = awake_s()
                self._inside += 1
                self._to_submit.append(ticket)
                self._given.notify()
                return ticket
        try:
            self._engine.submit(luma, pts_ns, counts=counts, held=held)
            ticket.colored = self._engine.collect()
        except Exception as error:  # noqa: BLE001 (whatever an engine throws, the video goes on)
            ticket.error = error
            self._fail(error)
        ticket.done = True
        return ticket

    def reset(self) -> None:
        """Have the engine forget the past, after what it has been given so far; returns at once."""
        if self._prompt:
            self._engine.reset()
            return
        with self._lock:
            self._to_submit.append(_Reset())
            self._given.notify()

    def wait_place(self, patience: Callable[[], float]) -> bool:
        """Wait until one more frame may be in flight; false when `patience` is over or the engine has failed.

        Args:
            patience: seconds without any answer that are waited.
        """
        return self._wait(lambda: self._inside < self.depth, patience) and self._error is None

    def wait_taken(self, ticket: Ticket, patience: Callable[[], float]) -> bool:
        """Wait until the engine has taken a frame in; false when `patience` is over."""
        return self._wait(lambda: ticket.taken or ticket.done, patience, self._taken)

    def wait_done(self, ticket: Ticket, patience: Callable[[], float]) -> bool:
        """Wait for a frame; false when `patience` is over."""
        return self._wait(lambda: ticket.done, patience)

    def silent_s(self) -> float:
        """For how long it has not answered though it has something to do, seconds."""
        return awake_s() - self._progress_s if self._inside else 0.0

    def lost_after_s(self, deadlines: Deadlines) -> float:
        """The silence from which on it counts as lost."""
        with self._lock:
            waiting = self._to_collect[0] if self._to_collect else None
            if waiting is None:
                waiting = next((t for t in self._to_submit if isinstance(t, Ticket)), None)
            known = bool(self._sizes) if waiting is None else waiting.arguments[0].shape in self._sizes
        return deadlines.hung_s if known else deadlines.first_s

    def answer_within_s(self, deadlines: Deadlines) -> float:
        """The silence from which on a live run shows the raw picture."""
        return max(deadlines.answer_s, 3 * self._usual_s)

    def close(self) -> None:
        """Finish what was handed over, then let go of the engine; returns at once, see `closed`."""
        if self._prompt:
            close_quietly(self._engine)
            self.closed.set()
            return
        with self._lock:
            self._ending = True
            self._given.notify()
            self._submitted.notify()

    def abandon(self, error: Exception) -> None:
        """Give up on it: every frame in it is lost. Its threads end when the engine returns, if it does."""
        self._end_with(error)
        abandon = getattr(self._engine, "abandon", None)
        if abandon is not None:
            abandon()

    def _wait(
        self,
        reached: Callable[[], bool],
        patience: Callable[[], float],
        changed: threading.Condition | None = None,
    ) -> bool:
        changed = changed or self._answered
        with self._lock:
            while not reached() and self._error is None:
                left_s = self._progress_s + patience() - awake_s()
                if left_s <= 0:
                    return False
                changed.wait(min(left_s, 0.25))  # patience may shrink meanwhile: the run is to end
        return True

    def _end_with(self, error: Exception) -> bool:
        """False where it had failed before."""
        with self._lock:
            first = self._error is None
            if first:
                self._error = error
            for ticket in (*self._to_collect, *self._to_submit):
                if isinstance(ticket, Ticket) and not ticket.done:
                    ticket.error, ticket.done = self._error, True
            self._to_collect.clear()
            self._to_submit.clear()
            self._inside = 0
            for condition in (self._given, self._submitted, self._taken, self._answered):
                condition.notify_all()
        return first

    def _fail(self, error: Exception) -> None:
        if self._end_with(error):
            self._on_failure(self, error)

    def _submit_all(self) -> None:
        try:
            while True:
                with self._lock:
                    self._given.wait_for(lambda: self._to_submit or self._ending or self._error)
                    if not self._to_submit:
                        return
                    item = self._to_submit[0]
                    if isinstance(item, _Reset):
                        self._given.wait_for(lambda: not self._to_collect or self._error)
                        if self._error is not None:
                            return
                if isinstance(item, _Reset):
                    self._engine.reset()
                else:
                    luma, pts_ns, counts, held = item.arguments
                    self._engine.submit(luma, pts_ns, counts=counts, held=held)
                with self._lock:
                    if self._error is not None:
                        return
                    self._to_submit.popleft()
                    if isinstance(item, Ticket):
                        item.taken = True
                        self._to_collect.append(item)
                        self._submitted.notify()
                        self._taken.notify_all()
        except Exception as error:  # noqa: BLE001 (whatever an engine throws, the video goes on)
            self._fail(error)
        finally:
            self._leave()

    def _collect_all(self) -> None:
        try:
            while True:
                with self._lock:
                    self._submitted.wait_for(lambda: self._to_collect or self._working < 2 or self._error)
                    if not self._to_collect:
                        return
                    ticket = self._to_collect[0]
                colored = self._engine.collect()
                with self._lock:
                    if self._error is not None:
                        return
                    self._to_collect.popleft()
                    ticket.colored, ticket.done = colored, True
                    self._inside -= 1
                    self._note_answer(ticket)
                    self._answered.notify_all()
                    if self._to_submit:  # a reset waits until nothing is in the engine
                        self._given.notify()
        except Exception as error:  # noqa: BLE001 (whatever an engine throws, the video goes on)
            self._fail(error)
        finally:
            self._leave()

    def _note_answer(self, ticket: Ticket) -> None:
        now_s = awake_s()
        took_s = now_s - self._progress_s
        self._progress_s = now_s
        shape = ticket.arguments[0].shape
        if shape in self._sizes:  # the first one of a size takes long without being usual
            took_s = min(took_s, 2 * self._usual_s + 0.1)
            self._usual_s += 0.1 * (took_s - self._usual_s)
        self._sizes.add(shape)

    def _leave(self) -> None:
        """The last of the two threads closes the engine: nobody who has frames to show waits for that."""
        with self._lock:
            self._working -= 1
            last = not self._working
            self._submitted.notify()
        if last:
            close_quietly(self._engine)
            self.closed.set()


def close_quietly(engine: Colorizer | None) -> None:
    """Let go of an engine whose failures matter no more."""
    try:
        if engine is not None:
            engine.close()
    except Exception as error:  # noqa: BLE001 (it is broken already, or nobody needs it any more)
        log.debug("closing an engine: %r", error)
