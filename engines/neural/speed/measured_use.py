"""What runs have really taken of the processor, in times of what was counted; remembered for the next ones.

Caches, the interpreter's lock, viewers: no measure before the first frame knows them.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from irchroma.engines.neural.speed.ladder import Rung

log = logging.getLogger(__name__)

LEAST, MOST = 0.7, 2.5
"""Lest a run beside something else spoil all that come after it."""
SETTLED_S, WATCHED_S = 3.0, 10.0
"""On one rung: before anything counts, and what does."""
_LEAST_RATE = 0.3
"""Share of the rate below which the camera is not one that is like the others."""


def read_used(path: Path | None, times: tuple[float, ...] = ()) -> float:
    """What was remembered; 1 for nothing, and where it was in times of something else.

    Args:
        path: where.
        times: of which what was counted is made; measured again they are others.
    """
    if path is None or not path.is_file():
        return 1.0
    try:
        told = json.loads(path.read_text("utf-8"))
        used = float(told["used"]) if tuple(told["of"]) == times else 1.0
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.info("%s cannot be used: %s", path.name, error)
        return 1.0
    return used if LEAST <= used <= MOST else 1.0


@dataclass(slots=True)
class UseMeter:
    """Watches one run, and remembers what it took; used by one thread.

    Attributes:
        path: where that is remembered; None for nowhere.
        used: what was remembered before, and is in what was counted.
        counted: seconds of CPU time that were counted for a frame of every camera, on a rung.
        rate: frames a second that were to be kept.
        times: of which what is counted is made.
        alike: whether at a rung and a time, seconds, all cameras of the process do what this one does: what
            the process takes says nothing of it else. None for one that is alone.
    """

    path: Path | None
    used: float
    counted: Callable[[Rung], float]
    rate: float
    times: tuple[float, ...] = ()
    alike: Callable[[Rung, float], bool] | None = None
    _rung: Rung | None = None
    _from_s: float = 0.0
    _begun: tuple[float, float, int] | None = field(default=None)

    def note(self, now_s: float, rung: Rung, frames: int) -> None:
        """One frame went through.

        Args:
            now_s: on any steady clock, seconds.
            rung: that colored it.
            frames: of this camera so far.
        """
        alike = self.alike is None or self.alike(rung, now_s)  # told to the others to the end
        if rung != self._rung or not alike:
            self._rung, self._from_s, self._begun = rung, now_s + SETTLED_S, None
        if self.path is None or now_s < self._from_s:
            return
        if self._begun is None:
            self._begun = now_s, time.process_time(), frames
        begun_s, cpu_s, before = self._begun
        if now_s < begun_s + WATCHED_S:
            return
        cpu_s, frames = time.process_time() - cpu_s, frames - before
        if frames >= _LEAST_RATE * self.rate * (now_s - begun_s):
            self._remember(cpu_s / (frames * self.counted(rung)))
        self.path = None

    def _remember(self, ratio: float) -> None:
        # Half of the way, in ratios: one run beside something else does not say what the next one has.
        used = min(max(self.used * math.sqrt(ratio), LEAST), MOST)
        try:
            if self.path is not None:
                text = json.dumps({"used": round(used, 3), "of": self.times})
                self.path.write_text(text, encoding="utf-8")
        except OSError as error:
            log.info("what this run took is not kept: %s", error)
