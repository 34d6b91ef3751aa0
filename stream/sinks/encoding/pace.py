"""The two clocks of a live sink: pts to a pipeline's running time, and files held to their own speed."""

from __future__ import annotations

import time

_CATCH_UP = 0.002  # of the lateness, each picture
_JUMP_NS = 500_000_000
_LONGEST_S = 2.0


class RunningTime:
    """The offset between two clocks, followed slowly.

    A camera's clock drifts against the system's by some seconds a day. Pictures stamped ahead of the
    pipeline's clock would wait in its sinks, longer every hour; pictures stamped with their arrival
    would carry all the jitter of the way.
    """

    def __init__(self) -> None:
        self._offset_ns: int | None = None
        self._last_ns = -1

    def of(self, pts_ns: int, now_ns: int) -> int:
        """The running time for a picture of `pts_ns` that arrives at `now_ns`; always later than the last."""
        gap_ns = now_ns - pts_ns
        if self._offset_ns is None or abs(gap_ns - self._offset_ns) > _JUMP_NS or gap_ns < self._offset_ns:
            self._offset_ns = gap_ns
        else:
            self._offset_ns += int((gap_ns - self._offset_ns) * _CATCH_UP)
        self._last_ns = max(self._last_ns + 1, pts_ns + self._offset_ns)
        return self._last_ns

    def at(self, pts_ns: int) -> int | None:
        """The running time of what goes with the pictures; None before the first of them."""
        return None if self._offset_ns is None else pts_ns + self._offset_ns


class Pace:
    """Holds a file's pictures back to their own speed, where a live sink shows or sends them."""

    def __init__(self) -> None:
        self._start: tuple[int, int] | None = None

    def wait(self, pts_ns: int) -> None:
        """Sleep until the picture of `pts_ns` is due; at most `_LONGEST_S`."""
        now_ns = time.monotonic_ns()
        if self._start is None:
            self._start = (now_ns, pts_ns)
        early_ns = self._start[0] + pts_ns - self._start[1] - now_ns
        if early_ns > 0:
            time.sleep(min(early_ns / 1e9, _LONGEST_S))
