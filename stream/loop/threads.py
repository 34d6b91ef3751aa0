"""A feed's threads, and the bounded queue between two of them: waits (files) or drops the oldest (live)."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Generic, TypeVar

T = TypeVar("T")

_MOST_S = 0.1


class RingClosed(Exception):
    """The other side is gone; nothing more will come or be taken."""


class Ring(Generic[T]):
    """At most `capacity` items in order.

    A writer that had to wait for room goes on when half of the items are gone: it then works on several
    at a time, which spares most of the switches between threads.

    Attributes:
        drops: items that were thrown away because the reader was slow; only where `newest_wins`.
    """

    def __init__(self, capacity: int, newest_wins: bool) -> None:
        self._capacity, self._newest_wins = capacity, newest_wins
        self._items: deque[T] = deque()
        self._closed = self._full = False
        lock = threading.RLock()  # `close` may come from a signal handler on a thread that is in here
        self._room, self._arrived = threading.Condition(lock), threading.Condition(lock)
        self.drops = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, timeout_s: float | None = None) -> bool:
        """Add an item: drops the oldest when full and `newest_wins`, else waits for room.

        Returns:
            False where there was no room within `timeout_s` (None waits for ever): it is not in there then.

        Raises:
            RingClosed: `close` or `abandon` was called.
        """
        with self._room:
            if self._newest_wins:
                while len(self._items) >= self._capacity:
                    self._items.popleft()
                    self.drops += 1
            else:
                self._full = len(self._items) >= self._capacity
                deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
                while self._full and not self._closed:
                    left_s = None if deadline_s is None else deadline_s - time.monotonic()
                    if left_s is not None and left_s <= 0:
                        return False
                    self._room.wait(left_s)
            if self._closed:
                raise RingClosed
            self._items.append(item)
            self._arrived.notify()
        return True

    def get(self, timeout_s: float | None = None) -> T | None:
        """The oldest item; None when `timeout_s` passed without one (None waits for ever).

        Raises:
            RingClosed: closed, and everything that was put before has been given out.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._arrived:
            while not self._items:
                if self._closed:
                    raise RingClosed
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._arrived.wait(left)
            item = self._items.popleft()
            if self._full and len(self._items) <= self._capacity // 2:
                self._full = False
                self._room.notify()
            return item

    def take(self) -> T:
        """The oldest item, however long it takes to come; RingClosed as `get`."""
        while True:
            item = self.get(3600.0)
            if item is not None:
                return item

    def close(self) -> None:
        """Nothing can be put in any more; what is inside can still be taken."""
        with self._room:
            self._closed = True
            self._room.notify_all()
            self._arrived.notify_all()

    def abandon(self) -> list[T]:
        """Close and give back what was inside: nobody else will get it."""
        with self._room:
            self._closed = True
            left = list(self._items)
            self._items.clear()
            self._room.notify_all()
            self._arrived.notify_all()
        return left


class OwnTime:
    """Seconds since it was made, of which no more than 0.1 count between two looks.

    For who looks all the time how others get on: what came late to its own look got no processor, and nor did
    they. One thread looks at a time.

    Args:
        clock: seconds that pass.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked_s, self._passed_s = clock(), 0.0

    def look_s(self) -> float:
        """The time now."""
        before_s, self._looked_s = self._looked_s, self._clock()
        self._passed_s += min(self._looked_s - before_s, _MOST_S)
        return self._passed_s


feed_name: ContextVar[str] = ContextVar("feed_name", default="")
"""The feed that the running thread works for; empty where there is only one."""


def feed_thread(work: Callable[[], None], name: str) -> threading.Thread:
    """A daemon thread, not yet started, that works for the same feed as the thread that makes it."""
    feed = feed_name.get()
    whole = f"{feed}: {name}" if feed else name
    return threading.Thread(target=copy_context().run, args=(work,), name=whole, daemon=True)
