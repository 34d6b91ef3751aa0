"""A thread that gives a sink pictures as a run does: for tests that watch what the sink sends meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from irchroma.stream.protocols import FrameSink, Pixels

BEGAN_NS = 90_000_000_000
"""A run that began long ago."""


@contextmanager
def fed(
    sink: FrameSink,
    picture: Pixels | Callable[[int, int], Pixels],
    rate: int = 25,
    began_ns: int = BEGAN_NS,
) -> Iterator[None]:
    """Write to an open sink `rate` times a second, from a thread of its own; closes the sink at the end.

    Args:
        sink: is open.
        picture: the same one each time, or made from its number and its time in nanoseconds.
        rate: pictures a second.
        began_ns: time of the first picture.
    """
    ended, step_ns = threading.Event(), round(1e9 / rate)

    def work() -> None:
        number = 0
        while not ended.wait(1 / rate):
            pts_ns = began_ns + number * step_ns
            sink.write(picture(number, pts_ns) if callable(picture) else picture, pts_ns, step_ns)
            number += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        sink.close()
