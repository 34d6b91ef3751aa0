"""For how long this process has been running, as deadlines for others count it: not while it was stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_TICK_S, _LONGEST_PAUSE_S = 0.25, 1.0


class AwakeClock:
    """Seconds, but for those in which the whole process was stopped (SIGSTOP, Ctrl-Z): nothing could answer.

    A thread of its own looks at the time all along: of a pause between two looks that is longer than any
    that a busy machine makes, one second counts. Whoever looks first after the pause, the pause is left out.

    Args:
        clock: seconds that pass.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._thread: threading.Thread | None = None
        self._looked_s, self._passed_s = clock(), 0.0

    def __call__(self) -> float:
        """The time now; any thread."""
        if self._thread is None or not self._thread.is_alive():  # a forked process has none
            self._thread = threading.Thread(target=self._tick, name="awake", daemon=True)
            self._thread.start()
        return self._look_s()

    def _look_s(self) -> float:
        with self._lock:
            before_s, self._looked_s = self._looked_s, self._clock()
            self._passed_s += min(self._looked_s - before_s, _LONGEST_PAUSE_S)
            return self._passed_s

    def _tick(self) -> None:
        never = threading.Event()
        while True:
            never.wait(_TICK_S)
            self._look_s()


awake_s = AwakeClock()
"""Of this process: for how long others have not answered."""


def waited(wait: Callable[[float], object], limit_s: float) -> bool:
    """Wait for something that has so long, not counting for how long the process is stopped.

    Args:
        wait: waits for up to so many seconds, and says whether it is there.
        limit_s: seconds.

    Returns:
        Whether it came.
    """
    deadline_s = awake_s() + limit_s
    while True:
        left_s = deadline_s - awake_s()
        if wait(max(0.0, min(left_s, _TICK_S))):
            return True
        if left_s <= 0:
            return False
