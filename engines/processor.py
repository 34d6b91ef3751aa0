"""The processor that this process may use: its cores, low-priority threads, and threads that take turns."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

NICENESS = 10
"""Of threads that call a network beside frames, and of those its runtime starts there, above the process:
frames come first. At 1280x720 beside other work, in turns, 10 had a p50 of 16 to 17 ms and a p99 of 32 to 46,
5 of 17 to 21 and 32 to 61; at 19 the thread is preempted with the interpreter's lock in its hand."""
_NICEST = 19


def usable_cores() -> int:
    """How many cores this process may use; all of them where the system tells no more, as macOS does."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def make_nice() -> None:
    """The calling thread, and what it starts, gives way to others; where the system has such a thing."""
    try:
        own = os.getpriority(os.PRIO_PROCESS, os.getpid())
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(_NICEST, own + NICENESS))
    except (AttributeError, OSError) as error:
        log.debug("the network's thread keeps its priority: %s", error)


def giving_way(work: Callable[[], T]) -> T:
    """Have work done, as `make_nice`, by a thread of its own, and wait for what comes of it."""
    return in_thread(work, nice=True).result()


def in_thread(work: Callable[[], T], nice: bool = False, name: str = "giving way") -> Future[T]:
    """Have work done by a thread of its own, which nobody waits for at the end of the process.

    Args:
        work: what is done.
        nice: as `make_nice`.
        name: of the thread, after the work.
    """
    future: Future[T] = Future()

    def do() -> None:
        if nice:
            make_nice()
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 (handed to whoever asks for the result)
            future.set_exception(error)

    threading.Thread(target=do, name=name, daemon=True).start()
    return future


class Turns:
    """A fair semaphore: `threading.Semaphore` lets whoever has just left push in again.

    Args:
        places: how many may be inside at once; they come in the order in which they asked.
    """

    def __init__(self, places: int) -> None:
        self._lock = threading.Lock()
        self._free = places
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a place, and give it to the next one at the end."""
        with self._lock:
            called = None
            if self._free:
                self._free -= 1
            else:
                called = threading.Event()
                self._waiting.append(called)
        if called is not None:
            try:
                called.wait()
            except BaseException:  # Ctrl-C in the main thread: no place is kept for who does not come
                with self._lock:
                    if called.is_set():
                        self._leave()
                    else:
                        self._waiting.remove(called)
                raise
        try:
            yield
        finally:
            with self._lock:
                self._leave()

    def _leave(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._free += 1


@cache
def frame_turns() -> Turns:
    """Turns for coloring frames on the CPU, as many at once as there are cores.

    Frames of several cameras come together. With all of them at work at once their threads fight for the
    interpreter's lock at each of a hundred calls a frame, and all are late; in turns the first is done sooner
    and so is the last.

    Four cameras of 640x512 on two cores beside other work, six runs with turns and six without, in turns: 23
    frames a second of each in place of 19, p99 172 ms in place of 285, 16 ms of CPU a frame in place of 21.
    """
    return Turns(usable_cores())
