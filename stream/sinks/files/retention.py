"""Which of the files of a recording stay: by number, age and size, and by which clock ages count."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from irchroma.stream.errors import StreamOptionError

log = logging.getLogger(__name__)

_DAY_S = 86_400
_SET_ANEW_S = 3600.0  # more than any clock that is kept right is ever moved by
_DOUBTED_S = float(_DAY_S)


class DaysClock:
    """The wall clock, but for a day after it was set forward by more than an hour while the process ran.

    A clock that jumps by weeks, such as that of a board without a battery or behind a time server that is
    wrong, would make all that was recorded too old at once. That day is for whoever can set it right, and
    ends once it is.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ahead_s = self._ahead()
        self._believed_s = self._ahead_s  # of the clock before it was set forward
        self._doubted_until_s = 0.0

    @staticmethod
    def _since_boot_s() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)  # goes on while the machine sleeps, and is never set

    def _ahead(self) -> float:
        return time.time() - self._since_boot_s()

    def now_s(self) -> float | None:
        """Seconds since 1970; None while the clock is doubted. Any thread."""
        with self._lock:
            ahead_s = self._ahead()
            jump_s, self._ahead_s = ahead_s - self._ahead_s, ahead_s
            now_s = self._since_boot_s()
            doubted = now_s < self._doubted_until_s
            if jump_s > _SET_ANEW_S:
                if not doubted:
                    self._believed_s = ahead_s - jump_s
                self._doubted_until_s = now_s + _DOUBTED_S
                hours = jump_s / 3600
                log.warning("the clock was set %.0f h ahead: for a day no recording is too old", hours)
            elif doubted and ahead_s - self._believed_s <= _SET_ANEW_S:  # all of it was taken back
                self._doubted_until_s = 0.0
            return time.time() if now_s >= self._doubted_until_s else None


days_clock = DaysClock()
"""The process's: what it has seen of the clock is so for all recordings."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Which of a row's files stay; 0 means no limit. The newest file stays in any case.

    Attributes:
        segments: how many.
        days: how old the last picture in a file may be.
        gigabytes: how large all of them together, 10^9 bytes each.
    """

    segments: int = 0
    days: float = 0.0
    gigabytes: float = 0.0

    def __post_init__(self) -> None:
        if not all(0 <= number < math.inf for number in (self.segments, self.days, self.gigabytes)):
            raise StreamOptionError(
                "recordings to keep: expected 0 or more files, days and gigabytes,"
                f" got {self.segments}, {self.days:g}, {self.gigabytes:g}"
            )

    def __bool__(self) -> bool:
        return bool(self.segments or self.days or self.gigabytes)

    def surplus(self, files: list[Path]) -> Iterator[Path]:
        """The files to delete of a row that is in order of its numbers."""
        facts = facts_of(files)
        total = sum(stat.st_size for _, stat in facts)
        now_s = days_clock.now_s() if self.days else None
        for at, (path, stat) in enumerate(facts[:-1]):
            over = self.segments and len(facts) - at > self.segments
            late = now_s is not None and stat.st_mtime < now_s - self.days * _DAY_S
            large = self.gigabytes and total > self.gigabytes * 1e9
            if not (over or late or large):
                return
            total -= stat.st_size
            yield path


def facts_of(files: list[Path]) -> list[tuple[Path, os.stat_result]]:
    """Size and time of each file that still exists: files may be deleted meanwhile, by us or by a cleaner."""
    found = []
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            found.append((path, path.stat()))
    return found
