"""A progress line with the time left on a terminal, a line now and then in a log."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import TextIO

_REDRAW_S = 0.2
_FIRST_LINE_S, _LINE_EVERY_S = 30.0, 60.0
_BAR = 28
CLEAN = "\r\x1b[K"
"""Takes away what is drawn on the terminal's current line."""


def clock(seconds: float) -> str:
    """`1:02:03` or `2:03`."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress:
    """One line that is drawn over itself; where `stream` is no terminal, a plain one each minute.

    Other lines that are written meanwhile begin with `CLEAN`, as those of the log do where one `stands`.

    Args:
        total: how much there is to do, in any unit; None where unknown.
        stream: where to draw, standard error by default.
        tell: takes the plain lines instead.
        endless: plain lines too where the total is unknown.

    Attributes:
        stands: whether a line of this process is drawn right now.
    """

    stands = False

    def __init__(
        self,
        total: float | None,
        stream: TextIO | None = None,
        tell: Callable[[str], None] | None = None,
        endless: bool = False,
    ) -> None:
        self._total, self._stream = total, stream or sys.stderr
        self._start_s = time.monotonic()
        self._drawn_s = 0.0
        self._shown = self._stream.isatty()
        self._tell = tell or self._write_line
        self._line_due_s = self._start_s + (_FIRST_LINE_S if total or endless else math.inf)

    def update(self, done: float, note: str = "") -> None:
        """Draw, at most five times a second."""
        now_s = time.monotonic()
        if not self._shown:
            if now_s >= self._line_due_s:
                self._line_due_s = now_s + _LINE_EVERY_S
                line = self.line(done, now_s - self._start_s)
                self._tell(f"{line.rpartition(']')[2].strip()}  {note}".rstrip())
            return
        if now_s - self._drawn_s < _REDRAW_S:
            return
        self._drawn_s = now_s
        Progress.stands = True
        self._stream.write(f"{CLEAN}{self.line(done, now_s - self._start_s)}  {note}")
        self._stream.flush()

    def line(self, done: float, elapsed_s: float) -> str:
        """The bar, the share done and the time left; the elapsed time where the total is unknown."""
        if not self._total:
            return clock(elapsed_s)
        share = min(max(done / self._total, 0.0), 1.0)
        bar = "#" * int(share * _BAR)
        left = f"{clock(elapsed_s * (1 - share) / share)} left" if share > 0 else ""
        return f"[{bar:.<{_BAR}}] {share:4.0%}  {left}"

    def _write_line(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def close(self) -> None:
        """Leave the line clean."""
        if self._shown:
            Progress.stands = False
            self._stream.write(CLEAN)
            self._stream.flush()
